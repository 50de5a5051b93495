//! The mapping itself.

#![expect(unsafe_code, reason = "a mapped file; every block says why it holds")]

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::{ffi::c_void, fs::File, io, ops, path::Path, ptr, slice};

/// A file that is read where the kernel keeps it.
pub(crate) struct Mapped {
    start: *mut c_void,
    length: usize,
}

impl Mapped {
    /// Maps a file for reading; an empty one is no bytes.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        if length == 0 {
            return Ok(Self { start: ptr::null_mut(), length });
        }
        // SAFETY: a new mapping, at a place that the kernel chooses, which nothing else knows.
        let start = unsafe { mmap(ptr::null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE, &file, 0) }?;
        Ok(Self { start, length })
    }
}

impl ops::Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        if self.length == 0 {
            return &[];
        }
        // SAFETY: mapped for reading until it is dropped. Models are pushed whole under the name of their hash, and
        // not written to again; one that is cut off all the same ends this process, and only it, with a signal.
        unsafe { slice::from_raw_parts(self.start.cast(), self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: mapped by `of` with this length, and not used any more. It cannot fail for such a range.
            unsafe { munmap(self.start, self.length) }.ok();
        }
    }
}
