//! A file in memory without reading it, so that looking at a model's structure costs a device no memory that a
//! measurement would see.

#![expect(unsafe_code, reason = "a mapped file; every block says why it holds")]

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::{ffi::c_void, fs::File, io, path::Path, ptr, slice};

/// A mapped file.
pub(super) struct Mapped {
    at: *mut c_void,
    length: usize,
}

impl Mapped {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        if length == 0 {
            return Ok(Self { at: ptr::null_mut(), length });
        }
        // SAFETY: a new mapping, where the system chooses, for reading only.
        let at = unsafe { mmap(ptr::null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE, &file, 0) }?;
        Ok(Self { at, length })
    }

    /// The file's bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: mapped for as long as this lives. Models on a device are pushed whole, under the name of their
        // hash, and not written to again.
        unsafe { slice::from_raw_parts(self.at.cast(), self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: this mapping, once.
            let unmapped = unsafe { munmap(self.at, self.length) };
            debug_assert!(unmapped.is_ok(), "a mapping that exists can be taken back");
        }
    }
}
