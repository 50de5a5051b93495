//! Memory that a client shares: files by descriptor, and memory of the driver's own. Files are read and written by
//! position and not mapped: one that is cut short while in use is an error and no fault of the process.

use super::compilation::Ready;
use super::{Done, ensure, lock};
use runtimes::builtin::limits::MAX_TENSOR_BYTES;
use runtimes::builtin::nnapi::codes::result;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

const PROT_READ: i32 = 1;
const PROT_WRITE: i32 = 2;

/// Memory.
pub(crate) enum Memory {
    /// A part of a file.
    File {
        /// The file, duplicated from the client's descriptor.
        file: File,
        /// Where the part begins.
        offset: u64,
        /// Its length.
        size: usize,
    },
    /// Memory of the driver, without contents until something writes it.
    Device {
        /// The contents.
        content: Mutex<Option<Vec<u8>>>,
        /// Number of bytes.
        size: usize,
        /// What it may be used for.
        roles: Vec<Role>,
    },
}

/// One use of memory: as input or output number `index` of a compilation.
#[derive(Clone)]
pub(crate) struct Role {
    pub(crate) ready: Arc<Ready>,
    pub(crate) input: bool,
    pub(crate) index: usize,
}

impl Memory {
    /// From a descriptor that was duplicated.
    pub(crate) fn of_file(fd: OwnedFd, size: usize, protect: i32, offset: usize) -> Done<Self> {
        ensure(size > 0 && protect & !(PROT_READ | PROT_WRITE) == 0)?;
        let offset = u64::try_from(offset).map_err(|_| result::BAD_DATA)?;
        let end = u64::try_from(size).ok().and_then(|n| offset.checked_add(n)).ok_or(result::BAD_DATA)?;
        let file = File::from(fd);
        let meta = file.metadata().map_err(|_| result::UNMAPPABLE)?;
        let flags = rustix::fs::fcntl_getfl(&file).map_err(|_| result::UNMAPPABLE)?;
        let access = flags & rustix::fs::OFlags::RWMODE;
        let writes = protect & PROT_WRITE == 0 || access == rustix::fs::OFlags::RDWR;
        let reads = access != rustix::fs::OFlags::WRONLY;
        match meta.is_file() && meta.len() >= end && writes && reads {
            true => Ok(Self::File { file, offset, size }),
            false => Err(result::UNMAPPABLE),
        }
    }

    /// The part that an argument means; nothing and nothing is all of the driver's own memory.
    pub(crate) fn part(&self, offset: usize, length: usize) -> Done<(usize, usize)> {
        let size = self.size();
        let whole = matches!(self, Self::Device { .. });
        let (offset, length) = if whole && (offset, length) == (0, 0) { (0, size) } else { (offset, length) };
        ensure(!whole || (offset == 0 && length == size))?;
        ensure(offset.checked_add(length).is_some_and(|end| end <= size))?;
        Ok((offset, length))
    }

    pub(crate) fn size(&self) -> usize {
        match self {
            Self::File { size, .. } | Self::Device { size, .. } => *size,
        }
    }

    /// Whether an execution of `ready` may use it so. Files may be used for anything.
    pub(crate) fn serves(&self, ready: &Arc<Ready>, input: bool, index: usize) -> bool {
        match self {
            Self::File { .. } => true,
            Self::Device { roles, .. } => {
                roles.iter().any(|r| Arc::ptr_eq(&r.ready, ready) && r.input == input && r.index == index)
            }
        }
    }

    /// Appends bytes of a part to a buffer.
    pub(crate) fn read(&self, offset: usize, length: usize, into: &mut Vec<u8>) -> Done {
        ensure(length <= MAX_TENSOR_BYTES)?;
        let end = offset.checked_add(length).filter(|end| *end <= self.size()).ok_or(result::BAD_DATA)?;
        match self {
            Self::File { file, offset: base, .. } => {
                let start = into.len();
                into.resize(start + length, 0);
                file.read_exact_at(&mut into[start..], base + offset as u64).map_err(|_| result::OP_FAILED)
            }
            Self::Device { content, .. } => {
                let content = lock(content);
                let bytes = content.as_ref().and_then(|c| c.get(offset..end)).ok_or(result::OP_FAILED)?;
                into.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Writes bytes at a place.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> Done {
        let end =
            offset.checked_add(bytes.len()).filter(|end| *end <= self.size()).ok_or(result::BAD_DATA)?;
        match self {
            Self::File { file, offset: base, .. } => {
                file.write_all_at(bytes, base + offset as u64).map_err(|_| result::OP_FAILED)
            }
            Self::Device { content, size, .. } => {
                let mut content = lock(content);
                let content = content.get_or_insert_with(|| vec![0; *size]);
                content[offset..end].copy_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Copies all of one memory to another.
    pub(crate) fn copy(&self, to: &Self) -> Done {
        ensure(self.size() == to.size())?;
        let mut bytes = Vec::new();
        self.read(0, self.size(), &mut bytes).map_err(|_| result::BAD_DATA)?;
        to.write(0, &bytes)
    }
}

/// A description of memory that the driver is to make.
#[derive(Default)]
pub(crate) struct Description {
    roles: Vec<Role>,
    dimensions: Option<Vec<u32>>,
    finished: Option<usize>,
}

impl Description {
    /// Adds a use.
    pub(crate) fn role(&mut self, role: Role, frequency: f32) -> Done {
        super::in_state(self.finished.is_none())?;
        let new = !self
            .roles
            .iter()
            .any(|r| Arc::ptr_eq(&r.ready, &role.ready) && (r.input, r.index) == (role.input, role.index));
        ensure(new && frequency > 0.0 && frequency <= 1.0 && role.argument().is_some())?;
        self.roles.push(role);
        Ok(())
    }

    /// States dimensions; those of the uses are known already, so they can only be the same.
    pub(crate) fn dimensions(&mut self, dimensions: Vec<u32>) -> Done {
        super::in_state(self.finished.is_none())?;
        self.dimensions = Some(dimensions);
        Ok(())
    }

    /// Checks that all uses agree.
    pub(crate) fn finish(&mut self) -> Done {
        super::in_state(self.finished.is_none())?;
        let arguments = self.roles.iter().map(|r| r.argument().ok_or(result::BAD_DATA));
        let arguments = arguments.collect::<Done<Vec<_>>>()?;
        let first = arguments.first().ok_or(result::BAD_DATA)?;
        ensure(arguments.iter().all(|a| a == first))?;
        let stated = self.dimensions.as_deref().unwrap_or(&[]);
        let fits = |(d, is): (&u32, &u32)| *d == 0 || d == is;
        ensure(stated.is_empty() || stated.len() == first.dimensions.len())?;
        ensure(stated.iter().zip(&first.dimensions).all(fits))?;
        self.finished = Some(first.bytes);
        Ok(())
    }

    /// Makes memory as described.
    pub(crate) fn make(&self) -> Done<Memory> {
        let size = self.finished.ok_or(result::BAD_STATE)?;
        Ok(Memory::Device { content: Mutex::default(), size, roles: self.roles.clone() })
    }
}

impl Role {
    fn argument(&self) -> Option<&super::compilation::Argument> {
        let all = if self.input { &self.ready.inputs } else { &self.ready.outputs };
        all.get(self.index)
    }
}
