//! The adb server's list of devices, taken apart line by line, and what each state means for a person. A line
//! that cannot be understood hides no other. Asks nobody.

use super::super::remote::harmless;

/// A device that the server knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) serial: String,
    pub(super) state: State,
    /// Model and product, where the server knows them.
    pub(super) about: String,
}

/// What the server thinks of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Android runs and takes commands.
    Device,
    /// Known, and does not answer.
    Offline,
    /// It does not know this computer.
    Unauthorized,
    /// Keys are being exchanged.
    Authorizing,
    /// Its connection is being made.
    Connecting,
    /// This user may not open its USB port.
    NoPermissions,
    /// No Android runs on it, but its recovery system, or one of its kin.
    Recovery(&'static str),
    /// No Android runs on it yet.
    Bootloader,
    /// Another word of the server's.
    Other(String),
}

/// The words of the server; the longer first where one begins another.
const WORDS: &[(&str, State)] = &[
    ("device", State::Device),
    ("offline", State::Offline),
    ("unauthorized", State::Unauthorized),
    ("authorizing", State::Authorizing),
    ("connecting", State::Connecting),
    ("no permissions", State::NoPermissions),
    ("recovery", State::Recovery("recovery")),
    ("sideload", State::Recovery("sideload")),
    ("rescue", State::Recovery("rescue")),
    ("bootloader", State::Bootloader),
];

/// What may follow a state.
const FACTS: &[&str] = &["usb:", "product:", "model:", "device:", "transport_id:"];

/// Longest serial that is believed.
const MAX_SERIAL: usize = 256;

impl State {
    /// Why a device in this state cannot be used, and what to do; `None` when it can.
    pub(super) fn obstacle(&self) -> Option<String> {
        let sentence = match self {
            Self::Device => return None,
            Self::Offline => {
                "is offline: adb knows it and it does not answer; wake it, plug it in again or reconnect it \
                 (`bench devices connect ADDRESS` when it is on the network)"
            }
            Self::Unauthorized => {
                "is unauthorized: unlock it and accept this computer's key on its screen; where it does not ask, \
                 switch its USB debugging off and on"
            }
            Self::Authorizing | Self::Connecting => {
                "is still connecting: wait a moment, unlock it, and try again"
            }
            Self::NoPermissions => {
                "is there, but this user may not open its USB port (no permissions): install the udev rules \
                 (Debian: apt install android-udev-rules), join the group plugdev, and plug it in again"
            }
            Self::Recovery(word) => {
                return Some(format!("is in {word} mode, where no Android runs: start it with `adb reboot`"));
            }
            Self::Bootloader => {
                "is in its bootloader, where no Android runs: start it with `fastboot reboot`"
            }
            Self::Other(word) => return Some(format!("is in a state that adb calls {word:?}: restart it")),
        };
        Some(sentence.to_owned())
    }

    /// Does a person have to do something before it can be used?
    pub(super) fn needs_hands(&self) -> bool {
        !matches!(self, Self::Device | Self::Offline | Self::Authorizing | Self::Connecting)
    }

    fn at_start_of(text: &str) -> Option<Self> {
        WORDS.iter().find_map(|(word, state)| {
            let rest = text.strip_prefix(word)?;
            (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| state.clone())
        })
    }
}

/// The list, short or long.
pub(super) fn parse(list: &str) -> Vec<Listed> {
    list.lines().filter_map(line).collect()
}

/// `SERIAL`, white space, `STATE` in one or more words, then perhaps facts. A serial may have blanks in it.
fn line(text: &str) -> Option<Listed> {
    let text = text.trim_end();
    let mut borders = text.char_indices().filter(|(_, c)| c.is_whitespace()).map(|(at, _)| text.split_at(at));
    let known = borders.clone().find_map(|(serial, rest)| {
        let rest = rest.trim_start();
        Some((serial, State::at_start_of(rest)?, rest))
    });
    let (serial, state, rest) = match known {
        Some(found) => found,
        None => {
            let (serial, rest) = borders.find(|(serial, _)| !serial.trim().is_empty())?;
            let rest = rest.trim_start();
            let words: Vec<&str> = rest.split_whitespace().take_while(|word| !is_fact(word)).collect();
            (serial, State::Other(harmless(&words.join(" "))), rest)
        }
    };
    let serial = serial.trim();
    let believable = !serial.is_empty() && serial.len() <= MAX_SERIAL && !serial.contains(char::is_control);
    believable.then(|| Listed { serial: serial.to_owned(), state, about: about(rest) })
}

fn is_fact(word: &str) -> bool {
    FACTS.iter().any(|fact| word.starts_with(fact))
}

fn about(facts: &str) -> String {
    let fact = |name: &str| facts.split_whitespace().find_map(|word| word.strip_prefix(name));
    // adb writes an underline for whatever is no letter
    let model = fact("model:").map(|model| model.replace('_', " "));
    let about = match (model, fact("product:")) {
        (Some(model), Some(product)) => format!("{model}, {product}"),
        (Some(model), None) => model,
        (None, Some(product)) => product.to_owned(),
        (None, None) => String::new(),
    };
    harmless(&about)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn states(list: &str) -> Vec<(String, State)> {
        parse(list).into_iter().map(|listed| (listed.serial, listed.state)).collect()
    }

    #[test]
    fn every_line_is_read_for_itself() {
        let list = "\
8A2X0  device usb:1-1 product:oriole model:Pixel_6 device:oriole transport_id:1
10.0.0.7:5555          offline transport_id:2
garbage
????????????           no permissions (missing udev rules? user is in the plugdev group); see [http://d.a.com] usb:1-4 transport_id:3
(no serial number)     unauthorized usb:1-5 transport_id:4
adb-R5CT (2)._adb-tls-connect._tcp device product:p model:m device:d transport_id:5

emulator-5554\tauthorizing
x connecting
y recovery
z sideload
b bootloader
r rescue
w frobnicating now usb:1-9
devices device
";
        let found = states(list);
        let serials: Vec<&str> = found.iter().map(|(serial, _)| serial.as_str()).collect();
        let words = [
            "8A2X0",
            "10.0.0.7:5555",
            "????????????",
            "(no serial number)",
            "adb-R5CT (2)._adb-tls-connect._tcp",
            "emulator-5554",
            "x",
            "y",
            "z",
            "b",
            "r",
            "w",
            "devices",
        ];
        assert_eq!(serials, words);
        let expected = [
            State::Device,
            State::Offline,
            State::NoPermissions,
            State::Unauthorized,
            State::Device,
            State::Authorizing,
            State::Connecting,
            State::Recovery("recovery"),
            State::Recovery("sideload"),
            State::Bootloader,
            State::Recovery("rescue"),
            State::Other("frobnicating now".to_owned()),
            State::Device,
        ];
        assert_eq!(found.into_iter().map(|(_, state)| state).collect::<Vec<_>>(), expected);
        assert_eq!(parse(list)[0].about, "Pixel 6, oriole");
        assert_eq!(parse(list)[1].about, "");
    }

    #[test]
    fn every_state_but_one_says_what_to_do() {
        for (word, state) in WORDS {
            assert_eq!(state.obstacle().is_none(), *word == "device", "{word}");
            assert!(state.obstacle().is_none_or(|text| text.contains(": ")), "{word}");
        }
        assert!(State::Other("odd".to_owned()).obstacle().unwrap().contains("odd"));
    }

    proptest! {
        #[test]
        fn whatever_the_server_lists_is_shown_harmlessly(list in "(\\PC|[ \t\n\r\u{1b}\u{7}]){0,300}") {
            for listed in parse(&list) {
                prop_assert!(!listed.serial.contains(char::is_control) && !listed.serial.is_empty());
                prop_assert!(!listed.about.contains(char::is_control));
                let obstacle = listed.state.obstacle().unwrap_or_default();
                prop_assert!(!obstacle.contains(char::is_control), "{obstacle:?}");
            }
        }

        #[test]
        fn a_device_is_found_whatever_stands_around_it(before in "\\PC{0,80}", after in "\\PC{0,80}") {
            let list = format!("{before}\nPHONE\tdevice\n{after}\n");
            prop_assert!(states(&list).contains(&("PHONE".to_owned(), State::Device)));
        }
    }
}
