//! Whether a host's key is the one that was seen before: the files that OpenSSH keeps, read line by line, so that
//! a line nobody understands never spoils the rest. Adds a line when it is told to; never takes one away.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// A file larger than this is none that OpenSSH would still search in bearable time.
const MAX_BYTES: u64 = 16 << 20;

/// Bytes of salt in a hashed name: as many as SHA-1 gives.
const SALT_BYTES: usize = 20;

/// What is known of a host's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is the one.
    Known,
    /// The host was never seen.
    New,
    /// Another key was seen, noted at this place.
    Changed(Place),
    /// It was said to be stolen or lost, at this place.
    Revoked(Place),
    /// Only a certificate could tell, by an authority named at this place.
    Certified(Place),
}

/// A line of a file, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: PathBuf,
    pub(super) line: usize,
}

/// All lines of all files.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownHosts(Vec<(Place, Entry)>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    mark: Mark,
    hosts: String,
    kind: String,
    key: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    None,
    Revoked,
    Authority,
}

impl KnownHosts {
    /// Reads files; one that is not there has no lines.
    ///
    /// # Errors
    /// A file is there and cannot be read: what it forbids must not be taken for allowed.
    pub(super) fn read(files: &[PathBuf]) -> io::Result<Self> {
        let mut all = Self::default();
        for path in files {
            let mut text = Vec::new();
            match File::open(path) {
                Ok(file) => file.take(MAX_BYTES).read_to_end(&mut text)?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            };
            all.add(path, &String::from_utf8_lossy(&text));
        }
        Ok(all)
    }

    fn add(&mut self, path: &Path, text: &str) {
        let numbered = text.lines().enumerate();
        self.0
            .extend(numbered.filter_map(|(at, line)| {
                Some((Place { file: path.to_owned(), line: at + 1 }, entry(line)?))
            }));
    }

    fn of<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a (Place, Entry)> {
        self.0.iter().filter(move |(_, entry)| is_meant(&entry.hosts, name))
    }

    /// Kinds of keys that are known of a host: it is to be asked for one of these.
    pub(super) fn kinds(&self, name: &str) -> Vec<&str> {
        self.of(name).filter(|(_, e)| e.mark == Mark::None).map(|(_, e)| e.kind.as_str()).collect()
    }

    /// What is known of a key that a host shows.
    pub(super) fn judge(&self, name: &str, key: &[u8]) -> Standing {
        let place = |mark: Mark, same: bool| {
            let found = self.of(name).find(|(_, e)| e.mark == mark && (!same || e.key == key));
            found.map(|(place, _)| place.clone())
        };
        if let Some(place) = place(Mark::Revoked, true) {
            return Standing::Revoked(place);
        }
        if place(Mark::None, true).is_some() {
            return Standing::Known;
        }
        if let Some(place) = place(Mark::None, false) {
            return Standing::Changed(place);
        }
        place(Mark::Authority, false).map_or(Standing::New, Standing::Certified)
    }
}

/// Notes the key of a host in a file, which is made where there is none.
pub(super) fn append(path: &Path, name: &str, key: &[u8], hashed: bool) -> io::Result<()> {
    let name = if hashed {
        let mut salt = [0; SALT_BYTES];
        File::open("/dev/urandom")?.read_exact(&mut salt)?;
        format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(digest(&salt, name)))
    } else {
        name.to_owned()
    };
    let kind = kind(key).ok_or_else(|| io::Error::other("the key says no kind"))?;
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path)?;
    // a last line without its end must not swallow ours
    let start = if fs::read(path)?.last().is_none_or(|b| *b == b'\n') { "" } else { "\n" };
    file.write_all(format!("{start}{name} {kind} {}\n", STANDARD.encode(key)).as_bytes())
}

/// The kind that a key says it is.
pub(super) fn kind(key: &[u8]) -> Option<&str> {
    let (length, rest) = key.split_first_chunk::<4>()?;
    let kind = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let fine = !kind.is_empty() && kind.iter().all(|b| b.is_ascii_graphic());
    std::str::from_utf8(kind).ok().filter(|_| fine)
}

/// The public key of a line `KIND BASE64 …`, as in files that end in `.pub`.
pub(super) fn public_key(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.split_whitespace().nth(1)?).ok()
}

/// How people compare keys.
pub(super) fn fingerprint(sha256: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(sha256))
}

fn entry(line: &str) -> Option<Entry> {
    let mut words = line.split_whitespace().peekable();
    let mark = match *words.peek()? {
        "@revoked" => Mark::Revoked,
        "@cert-authority" => Mark::Authority,
        word if word.starts_with(['@', '#']) => return None,
        _ => Mark::None,
    };
    if mark != Mark::None {
        words.next();
    }
    let hosts = words.next()?.to_owned();
    let said = words.next()?.to_owned();
    let key = STANDARD.decode(words.next()?).ok()?;
    (kind(&key) == Some(&said)).then_some(Entry { mark, hosts, kind: said, key })
}

/// Whether the names of a line mean this host.
fn is_meant(hosts: &str, name: &str) -> bool {
    if let Some(hashed) = hosts.strip_prefix("|1|") {
        let parts = hashed.split_once('|').map(|(salt, hash)| (STANDARD.decode(salt), STANDARD.decode(hash)));
        return matches!(parts, Some((Ok(salt), Ok(hash))) if digest(&salt, name) == hash);
    }
    let mut meant = false;
    for pattern in hosts.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if fits(pattern, name) => return false,
            Some(_) => {}
            None => meant |= fits(pattern, name),
        }
    }
    meant
}

fn digest(salt: &[u8], name: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(salt).expect("a key of HMAC may have any length");
    mac.update(name.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Whether a name fits a pattern in which `*` and `?` stand for others.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_lowercase().into_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // where the last star was, and how much of the name it has taken
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(b) if *b == b'?' || name.get(n) == Some(b) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    (p, n) = (at + 1, taken + 1);
                    star = Some((at, taken + 1));
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|b| *b == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(kind: &str, rest: &[u8]) -> Vec<u8> {
        [&u32::try_from(kind.len()).unwrap().to_be_bytes(), kind.as_bytes(), rest].concat()
    }

    fn line(start: &str, kind: &str, rest: &[u8]) -> String {
        format!("{start} {kind} {} comment\n", STANDARD.encode(key(kind, rest)))
    }

    fn known(text: &str) -> KnownHosts {
        let mut all = KnownHosts::default();
        all.add(Path::new("known"), text);
        all
    }

    fn at(line: usize) -> Place {
        Place { file: "known".into(), line }
    }

    #[test]
    fn a_bad_line_never_spoils_the_rest() {
        let text = format!(
            "# remark\n\n@odd x y z\npi ssh-ed25519\npi ssh-ed25519 %%%\npi ssh-rsa {}\n\u{1b}[2J\n{}",
            STANDARD.encode(key("ssh-ed25519", b"other kind than said")),
            line("pi,10.0.0.5", "ssh-ed25519", b"1")
        );
        let all = known(&text);
        assert_eq!(all.judge("pi", &key("ssh-ed25519", b"1")), Standing::Known);
        assert_eq!(all.judge("10.0.0.5", &key("ssh-ed25519", b"2")), Standing::Changed(at(8)));
        assert_eq!(all.judge("other", &key("ssh-ed25519", b"1")), Standing::New);
        assert_eq!(all.kinds("pi"), ["ssh-ed25519"]);
    }

    #[test]
    fn another_kind_of_key_is_a_change_too() {
        let all = known(&line("pi", "ssh-rsa", b"1"));
        assert_eq!(all.judge("pi", &key("ssh-ed25519", b"1")), Standing::Changed(at(1)));
    }

    #[test]
    fn marks_are_respected() {
        let text = [
            line("pi", "ssh-ed25519", b"1"),
            line("@revoked *", "ssh-ed25519", b"1"),
            line("@cert-authority *.lan", "ssh-ed25519", b"ca"),
        ]
        .concat();
        let all = known(&text);
        assert_eq!(all.judge("pi", &key("ssh-ed25519", b"1")), Standing::Revoked(at(2)));
        assert_eq!(all.judge("a.lan", &key("ssh-ed25519", b"2")), Standing::Certified(at(3)));
        assert_eq!(all.judge("a.lan", &key("ssh-ed25519", b"ca")), Standing::Certified(at(3)));
        assert_eq!(all.judge("b", &key("ssh-ed25519", b"2")), Standing::New);
    }

    #[test]
    fn patterns_mean_what_openssh_means() {
        assert!(fits("*.LAN", "pi.lan") && fits("p?", "pi") && fits("*", "") && fits("a*b*c", "a-b-b-c"));
        assert!(!fits("*.lan", "lan") && !fits("p?", "p") && !fits("", "x") && !fits("pi", "pi5"));
        assert!(is_meant("!bad.lan,*.lan", "pi.lan") && !is_meant("*.lan,!bad.lan", "bad.lan"));
        assert!(is_meant("[pi]:2222", "[pi]:2222") && !is_meant("pi", "[pi]:2222"));
        // as ssh-keygen -H wrote it
        let hashed = "|1|quwM5DlIfj8YMo4Snywsf3CnnTc=|xhqS4wwwQvcKKmlolKg82y2cDdE=";
        assert!(is_meant(hashed, "example.com") && !is_meant(hashed, "example.org"));
        assert!(!is_meant("|1|x", "x") && !is_meant("|1||", "x"));
    }

    #[test]
    fn a_key_that_was_noted_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/known_hosts");
        let shown = key("ssh-ed25519", b"1");
        append(&path, "pi", &shown, false).unwrap();
        fs::write(&path, fs::read_to_string(&path).unwrap().trim_end()).unwrap();
        append(&path, "[pi]:2222", &shown, true).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("pi ssh-ed25519 ") && text.lines().nth(1).unwrap().starts_with("|1|"),
            "{text}"
        );
        let all = KnownHosts::read(&[path.clone(), folder.path().join("none")]).unwrap();
        for name in ["pi", "[pi]:2222"] {
            assert_eq!(all.judge(name, &shown), Standing::Known, "{name}");
        }
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    proptest! {
        #[test]
        fn whatever_the_file_says_nothing_breaks(text in "(?s).{0,300}", name in "\\PC{0,20}") {
            let all = known(&text);
            all.judge(&name, text.as_bytes());
            all.kinds(&name);
            kind(text.as_bytes());
            fits(&text, &name);
        }

        #[test]
        fn a_name_fits_itself_with_stars_anywhere(name in "[a-z.:\\[\\]0-9]{0,20}", at in 0usize..20) {
            let mut pattern = name.clone();
            pattern.insert(at.min(name.len()), '*');
            prop_assert!(fits(&pattern, &name));
            prop_assert!(fits(&name, &name));
        }
    }
}
