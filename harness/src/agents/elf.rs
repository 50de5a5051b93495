//! What the header of an executable says about where it can run.

use object::{
    Endianness, FileKind,
    elf::{FileHeader32, FileHeader64, PT_INTERP},
    read::elf::{FileHeader, ProgramHeader},
};
use std::{fs::File, io::Read, path::Path};

/// Headers and the name of the interpreter lie at the beginning.
const MAX_BYTES: u64 = 64 * 1024;

/// An executable.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Executable {
    /// Number of its instruction set.
    pub(super) machine: u16,
    /// Program of the device that would have to load it; `None`: it is static.
    pub(super) interpreter: Option<String>,
}

impl Executable {
    /// Reads the beginning of a file.
    ///
    /// # Errors
    /// Continues a sentence whose subject is the file.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
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
