//! Libraries that believe to be on a processor without AVX-512, although it has it: copies of them in which every
//! `cpuid` is a breakpoint, answered as the processor does it but for what is left out. Nothing else changes, and
//! after their start they ask no more. Needs `objdump`, on x86-64 Linux.

#[cfg(target_arch = "x86_64")]
mod ffi;

use super::{newest, wrong};
use runtimes::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

#[cfg(target_arch = "x86_64")]
pub(super) use ffi::answer;

/// Breakpoints are answered: nowhere else is there a `cpuid`.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn answer() -> Result<()> {
    Err(wrong("cap=avx2: only on x86-64"))
}

/// The instruction, and the breakpoint of the same length.
const CPUID: [u8; 2] = [0x0f, 0xa2];
const BREAKPOINT: [u8; 2] = [0xcc, 0x90];

/// A folder of libraries as [`newest`] looks for them, with the newest of each runtime.
///
/// # Errors
/// There is none, or no `objdump`.
pub(super) fn libraries(from: &Path) -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir().map_err(|source| Error::Io { path: std::env::temp_dir(), source })?;
    for runtime in ["litert", "onnxruntime"] {
        let (version, library) = newest(from, runtime)?;
        let to = folder.path().join(runtime).join(version).join(std::env::consts::ARCH);
        let name = library.file_name().unwrap_or_default();
        std::fs::create_dir_all(&to).map_err(|source| Error::Io { path: to.clone(), source })?;
        copy(&library, &to.join(name))?;
    }
    Ok(folder)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let at = |path: &Path| {
        let path = PathBuf::from(path);
        move |source| Error::Io { path, source }
    };
    let mut bytes = std::fs::read(from).map_err(at(from))?;
    // Addresses, which `-F` turns into places in the file for the sections' names only.
    let disassembled = Command::new("objdump").args(["-d", "--no-show-raw-insn"]).arg(from).output();
    let text = String::from_utf8_lossy(&disassembled.map_err(at(Path::new("objdump")))?.stdout).into_owned();
    let found = text.lines().filter(|line| line.trim_end().ends_with("\tcpuid"));
    let addresses = found.filter_map(|line| u64::from_str_radix(line.trim().split(':').next()?, 16).ok());
    let mut count = 0;
    for address in addresses {
        let offset = offset(&bytes, address).unwrap_or(usize::MAX);
        let place = bytes.get_mut(offset..offset.saturating_add(2)).filter(|place| **place == CPUID);
        place.ok_or_else(|| wrong("objdump sees a cpuid where there is none"))?.copy_from_slice(&BREAKPOINT);
        count += 1;
    }
    if count == 0 {
        return Err(wrong(&format!("{}: no cpuid in what objdump prints", from.display())));
    }
    std::fs::write(to, bytes).map_err(at(to))
}

/// Where an address of a 64-bit ELF file lies in it.
fn offset(file: &[u8], address: u64) -> Option<usize> {
    let number = |at: usize, size: usize| {
        let mut all = [0; 8];
        all[..size].copy_from_slice(file.get(at..at.checked_add(size)?)?);
        Some(u64::from_le_bytes(all))
    };
    let (table, entry, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    (0..count).find_map(|i| {
        let at = usize::try_from(table + i * entry).ok()?;
        let (kind, from, start, size) =
            (number(at, 4)?, number(at + 8, 8)?, number(at + 16, 8)?, number(at + 32, 8)?);
        let inside = kind == 1 && (start..start.checked_add(size)?).contains(&address);
        inside.then(|| usize::try_from(from + (address - start)).ok())?
    })
}
