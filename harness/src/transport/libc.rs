//! Which C library a device has: what decides whether it can load a library of a runtime. Asked through a shell.

use crate::elf::Version;
use std::fmt;

/// A device's C library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Libc {
    /// GNU's, of this version.
    Glibc(Glibc),
    /// musl.
    Musl,
    /// Android's, with its API level where that is known.
    Bionic(Option<u32>),
    /// Nothing told.
    #[default]
    Unknown,
}

/// Version of GNU's C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glibc(pub(crate) Version);

impl fmt::Display for Libc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Glibc(Glibc(version)) => write!(f, "glibc {version}"),
            Self::Musl => f.write_str("musl"),
            Self::Bionic(Some(api)) => write!(f, "Android’s C library, API level {api}"),
            Self::Bionic(None) => f.write_str("Android’s C library"),
            Self::Unknown => f.write_str("a C library that could not be told"),
        }
    }
}

/// Prints one line for [`parsed`], which begins with `libc `. Not every system has all of these programs.
pub(super) const SCRIPT: &str = "printf 'libc '; \
    { if [ -e /system/bin/linker64 ] || [ -e /system/bin/linker ]; then echo \"bionic $(getprop ro.build.version.sdk)\"; \
    else getconf GNU_LIBC_VERSION || ldd --version || \
    for l in /lib*/ld-linux*.so.* /lib/*/ld-linux*.so.*; do [ -x \"$l\" ] && \"$l\" --version && break; done; \
    fi; } 2>&1 | { read -r first || true; echo \"$first\"; }";

/// Reads the line.
pub(super) fn parsed(line: &str) -> Libc {
    let Some(told) = line.strip_prefix("libc ").map(str::trim) else { return Libc::Unknown };
    if let Some(api) = told.strip_prefix("bionic") {
        return Libc::Bionic(api.trim().parse().ok());
    }
    let lower = told.to_ascii_lowercase();
    if lower.starts_with("musl") {
        return Libc::Musl;
    }
    // `glibc 2.36`, `ldd (Debian GLIBC 2.36-9+deb12u10) 2.36`, `ld.so (...) stable release version 2.36.`
    let last = told.split_whitespace().next_back().map(|word| word.trim_end_matches('.'));
    match last.and_then(Version::parse) {
        Some(version) if ["glibc", "gnu"].iter().any(|word| lower.contains(word)) => {
            Libc::Glibc(Glibc(version))
        }
        _ => Libc::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_answer_is_understood() {
        let glibc = |text| Libc::Glibc(Glibc(Version::parse(text).unwrap()));
        for (line, expected) in [
            ("libc glibc 2.36", glibc("2.36")),
            ("libc ldd (Debian GLIBC 2.31-13+deb11u11) 2.31", glibc("2.31")),
            ("libc ld.so (Ubuntu GLIBC 2.39-0ubuntu8) stable release version 2.39.", glibc("2.39")),
            ("libc musl libc (x86_64)", Libc::Musl),
            ("libc bionic 34", Libc::Bionic(Some(34))),
            ("libc bionic ", Libc::Bionic(None)),
            ("libc ", Libc::Unknown),
            ("libc sh: getconf: not found", Libc::Unknown),
            ("/dev/sda1 1 2 3", Libc::Unknown),
        ] {
            assert_eq!(parsed(line), expected, "{line}");
        }
    }

    #[test]
    fn the_script_answers_on_this_machine() {
        let output = std::process::Command::new("sh").args(["-c", SCRIPT]).output().unwrap();
        let line = String::from_utf8(output.stdout).unwrap();
        assert!(matches!(parsed(line.trim_end()), Libc::Glibc(_) | Libc::Musl), "{line}");
    }
}
