//! What a person writes for a machine: `HOST`, `USER@HOST`, `USER@HOST:PORT`, with an IPv6 address in brackets
//! where a port follows. Names end up on command lines of `ssh` and in files that others read, so whatever could
//! mean something there is refused.

use std::{fmt, str::FromStr};

/// See the module. `HOST` may be an alias of `~/.ssh/config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

/// A name longer than this is no name: DNS ends at 253.
const MAX_CHARS: usize = 255;

impl Address {
    /// What a person types to try it: `ssh`, `ssh-copy-id` or the like.
    pub(super) fn typed(&self, program: &str) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let port = self.port.map(|port| format!("-p {port} ")).unwrap_or_default();
        format!("{program} {port}{user}{}", self.host)
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (user, place) = match text.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, text),
        };
        let (host, port) = split_port(place).ok_or_else(|| unreadable(text))?;
        let port = port.map(str::parse).transpose().map_err(|_| unreadable(text))?;
        if !is_name(host) || user.is_some_and(|user| !is_name(user)) || port == Some(0) {
            return Err(unreadable(text));
        }
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// Host and port of `host`, `host:port`, `[v6]`, `[v6]:port` and `v6`.
fn split_port(place: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match place.split_once(':') {
        Some((host, port)) if !port.contains(':') => Some((host, Some(port))),
        _ => Some((place, None)),
    }
}

/// OpenSSH's own rules for names from outside, and no white space.
fn is_name(text: &str) -> bool {
    let meaningful = "'`\"\\$;&<>|(){}[]@/#!*?~^=,";
    !text.is_empty()
        && text.len() <= MAX_CHARS
        && !text.starts_with('-')
        && !text.chars().any(|c| c.is_control() || c.is_whitespace() || meaningful.contains(c))
}

fn unreadable(text: &str) -> String {
    format!(
        "{text:?} is no address: write HOST, USER@HOST or USER@HOST:PORT, and an IPv6 address with a port as \
         [::1]:22"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(text: &str) -> (Option<String>, String, Option<u16>) {
        let address: Address = text.parse().unwrap();
        (address.user, address.host, address.port)
    }

    #[test]
    fn addresses_are_read_as_written() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parts("pi5"), (None, "pi5".to_owned(), None));
        assert_eq!(parts("pi@pi5.local:2222"), (some("pi"), "pi5.local".to_owned(), Some(2222)));
        assert_eq!(parts("pi@::1"), (some("pi"), "::1".to_owned(), None));
        assert_eq!(parts("pi@[fe80::1%eth0]:22"), (some("pi"), "fe80::1%eth0".to_owned(), Some(22)));
        assert_eq!(parts("[::1]"), (None, "::1".to_owned(), None));
    }

    #[test]
    fn a_person_types_it_for_ssh() {
        let address: Address = "pi@[::1]:2222".parse().unwrap();
        assert_eq!(address.typed("ssh"), "ssh -p 2222 pi@::1");
        assert_eq!("pi5".parse::<Address>().unwrap().typed("ssh"), "ssh pi5");
    }

    #[test]
    fn what_could_mean_something_elsewhere_is_refused() {
        let hostile = [
            "",
            "@",
            "pi@",
            "@host",
            "-oProxyCommand=sh",
            "pi@-x",
            "a b",
            "a\nb",
            "$(id)",
            "a;b",
            "h:0",
            "h:",
            "h:99999",
            "h:2x",
            "[::1",
            "[::1]x",
            "[]:22",
            "a'b@h",
            "`id`@h",
            "h/..",
            "a\u{1b}[31m",
        ];
        for text in hostile {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_address_that_was_read_is_written_the_same(text in "\\PC{0,40}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert!(!address.host.starts_with('-'));
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }
    }
}
