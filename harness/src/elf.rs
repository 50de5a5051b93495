//! What the headers of executables and libraries say about where they can run. Runs none.

use object::{
    Endianness, FileKind,
    elf::{DT_NEEDED, ET_DYN, FileHeader32, FileHeader64, PT_INTERP},
    read::elf::{Dyn, FileHeader, ProgramHeader, SectionTable},
};
use std::{fmt, fs::File, io::Read, path::Path};

/// Headers and the name of the interpreter lie at the beginning.
const MAX_BYTES: u64 = 64 * 1024;

/// An executable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Executable {
    /// Number of its instruction set.
    pub(crate) machine: u16,
    /// Program of the device that would have to load it; `None`: it is static.
    pub(crate) interpreter: Option<String>,
}

impl Executable {
    /// Reads the beginning of a file.
    ///
    /// # Errors
    /// Continues a sentence whose subject is the file.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let mut bytes = Vec::new();
        let length = File::open(path)
            .and_then(|file| {
                let length = file.metadata()?.len();
                file.take(MAX_BYTES).read_to_end(&mut bytes)?;
                Ok(length)
            })
            .map_err(|e| format!("cannot be read: {e}"))?;
        let parsed = match FileKind::parse(bytes.as_slice()) {
            Ok(FileKind::Elf32) => parse::<FileHeader32<Endianness>>(&bytes),
            Ok(FileKind::Elf64) => parse::<FileHeader64<Endianness>>(&bytes),
            _ => return Err("is no executable of Linux".to_owned()),
        };
        let (executable, end) = parsed.map_err(|e| format!("is damaged: {e}"))?;
        if length < end {
            return Err(format!("is cut off: it has {length} bytes of at least {end}"));
        }
        Ok(executable)
    }
}

/// What the headers say, and how long the file must be for all that they name.
fn parse<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> object::read::Result<(Executable, u64)> {
    let header = H::parse(bytes)?;
    let endian = header.endian()?;
    let sections = u64::from(header.e_shnum(endian)) * u64::from(header.e_shentsize(endian));
    let mut end = header.e_shoff(endian).into().saturating_add(sections);
    let mut interpreter = None;
    for program in header.program_headers(endian, bytes)? {
        end = end.max(program.p_offset(endian).into().saturating_add(program.p_filesz(endian).into()));
        if program.p_type(endian) == PT_INTERP {
            let name = program.data(endian, bytes).unwrap_or_default();
            interpreter = Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned());
        }
    }
    Ok((Executable { machine: header.e_machine(endian), interpreter }, end))
}

/// Largest library that is looked into.
const MAX_LIBRARY_BYTES: u64 = 1 << 30;

/// Versions of symbols that a library asks the device's C and C++ libraries for, as `major.minor` and a third part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) [u32; 3]);

impl Version {
    /// Reads `2.34`, `3.4.30`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut version = [0; 3];
        let mut parts = text.split('.');
        for (place, part) in version.iter_mut().zip(&mut parts) {
            *place = part.parse().ok()?;
        }
        parts.next().is_none().then_some(Self(version))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}")?;
        if patch > 0 { write!(f, ".{patch}") } else { Ok(()) }
    }
}

/// What a file that is linked at run time needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Number of its instruction set.
    pub(crate) machine: u16,
    /// It is a library, or a program that can be loaded at any address.
    pub(crate) shared: bool,
    /// Names of the libraries that it is linked to.
    pub(crate) libraries: Vec<String>,
    /// Least version of glibc.
    pub(crate) glibc: Option<Version>,
    /// Least version of the symbols of libstdc++.
    pub(crate) glibcxx: Option<Version>,
}

impl Needs {
    /// Reads a whole file.
    ///
    /// # Errors
    /// Continues a sentence whose subject is the file.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(|e| format!("cannot be read: {e}"))?;
        if !file.metadata().is_ok_and(|facts| facts.is_file()) {
            return Err("is no file".to_owned());
        }
        file.take(MAX_LIBRARY_BYTES).read_to_end(&mut bytes).map_err(|e| format!("cannot be read: {e}"))?;
        Self::parse(&bytes)
    }

    /// As [`Needs::read`].
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let found = match FileKind::parse(bytes) {
            Ok(FileKind::Elf32) => needs::<FileHeader32<Endianness>>(bytes),
            Ok(FileKind::Elf64) => needs::<FileHeader64<Endianness>>(bytes),
            _ => return Err("is no library of Linux or Android".to_owned()),
        };
        found.map_err(|e| format!("is damaged or cut off: {e}"))
    }

    /// It is linked to Android's C library.
    pub(crate) fn is_android(&self) -> bool {
        self.libraries.iter().any(|name| name == "libc.so" || name == "liblog.so")
    }
}

fn needs<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> object::read::Result<Needs> {
    let header = H::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let mut needs = Needs {
        machine: header.e_machine(endian),
        shared: header.e_type(endian) == ET_DYN,
        libraries: linked::<H>(&sections, endian, bytes)?,
        ..Needs::default()
    };
    let Some((mut files, link)) = sections.gnu_verneed(endian, bytes)? else { return Ok(needs) };
    let strings = sections.strings(endian, bytes, link)?;
    while let Some((_, mut symbols)) = files.next()? {
        while let Some(symbol) = symbols.next()? {
            let name = String::from_utf8_lossy(symbol.name(endian, strings)?).into_owned();
            let version = |prefix: &str| name.strip_prefix(prefix).and_then(Version::parse);
            needs.glibc = needs.glibc.max(version("GLIBC_"));
            needs.glibcxx = needs.glibcxx.max(version("GLIBCXX_"));
        }
    }
    Ok(needs)
}

/// Names of the libraries that the dynamic section asks for.
fn linked<H: FileHeader<Endian = Endianness>>(
    sections: &SectionTable<'_, H>,
    endian: Endianness,
    bytes: &[u8],
) -> object::read::Result<Vec<String>> {
    let Some((entries, link)) = sections.dynamic(endian, bytes)? else { return Ok(Vec::new()) };
    let strings = sections.strings(endian, bytes, link)?;
    let mut names = Vec::new();
    for entry in entries.iter().filter(|entry| entry.tag(endian) == DT_NEEDED) {
        names.push(String::from_utf8_lossy(entry.string(endian, strings)?).into_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Rng;

    #[test]
    fn a_program_of_this_machine_needs_its_c_library() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let needs = Needs::parse(&own).unwrap();
        assert!(needs.libraries.iter().any(|name| name.starts_with("libc.so")), "{needs:?}");
        assert!(needs.glibc.is_none_or(|v| v >= Version([2, 2, 0])) && !needs.is_android(), "{needs:?}");
        let mut rng = Rng::new(5);
        for _ in 0..200 {
            let mut broken = own.get(..own.len().min(1 << 20)).unwrap().to_vec();
            for _ in 0..20 {
                let at = rng.below(4096) as usize;
                broken[at] = (rng.next_u64() & 255) as u8;
            }
            Needs::parse(&broken).ok();
        }
        assert!(Needs::parse(&own[..own.len() / 2]).unwrap_err().contains("cut off"));
        assert!(Needs::parse(b"#!/bin/sh").unwrap_err().contains("no library"));
    }

    #[test]
    fn versions_are_ordered_as_numbers() {
        let version = |text| Version::parse(text).unwrap();
        assert!(version("2.9") < version("2.34") && version("3.4.30") > version("3.4.4"));
        assert_eq!(version("2.34").to_string(), "2.34");
        assert_eq!(version("3.4.30").to_string(), "3.4.30");
        assert_eq!(
            (Version::parse("2.x"), Version::parse("1.2.3.4"), Version::parse("")),
            (None, None, None)
        );
    }
}
