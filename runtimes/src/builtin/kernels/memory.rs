//! Aligned, zeroed, bounded memory that can be seen as elements of any plain type. All of the
//! reinterpretation of bytes in the engine happens here.

use crate::builtin::limits::MAX_ARENA_BYTES;
use crate::{Error, Result};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// Alignment of every buffer and of every value in an arena: a cache line, and the widest vector.
pub const ALIGN: usize = 64;

/// Plain element types: every bit pattern is a value, no padding.
pub trait Element: Copy + Default + Send + Sync + 'static + sealed::Plain {
    /// The type's name on the wire.
    const DTYPE: protocol::DType;
}

mod sealed {
    pub trait Plain {}
}

macro_rules! elements {
    ($($t:ty => $d:ident),*) => { $(
        impl sealed::Plain for $t {}
        impl Element for $t {
            const DTYPE: protocol::DType = protocol::DType::$d;
        }
    )* };
}
elements!(f32 => F32, f64 => F64, half::f16 => F16, half::bf16 => BF16, i8 => I8, u8 => U8, i16 => I16,
    u16 => U16, i32 => I32, u32 => U32, i64 => I64, u64 => U64);

/// Bytes as elements, or `None` where length or alignment do not fit.
pub fn elements<T: Element>(bytes: &[u8]) -> Option<&[T]> {
    // SAFETY: `Element` is only implemented for types of which every bit pattern is a value.
    let (head, body, tail) = unsafe { bytes.align_to::<T>() };
    (head.is_empty() && tail.is_empty()).then_some(body)
}

/// As [`elements`], mutable.
pub fn elements_mut<T: Element>(bytes: &mut [u8]) -> Option<&mut [T]> {
    // SAFETY: `Element` is only implemented for types of which every bit pattern is a value, and which
    // have no padding, so that whatever is written are initialised bytes.
    let (head, body, tail) = unsafe { bytes.align_to_mut::<T>() };
    (head.is_empty() && tail.is_empty()).then_some(body)
}

/// Elements as bytes.
pub fn as_bytes<T: Element>(elements: &[T]) -> &[u8] {
    // SAFETY: plain types without padding; length in bytes of an existing slice does not overflow.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) }
}

/// Copies a row that is often short: without a call while it is.
///
/// # Panics
/// The lengths differ.
#[inline(always)]
pub fn copy_row<T: Copy>(from: &[T], to: &mut [T]) {
    const SHORT: usize = 512;
    let bytes = size_of_val(from);
    assert_eq!(from.len(), to.len());
    if bytes > SHORT {
        to.copy_from_slice(from);
        return;
    }
    let (from, to) = (from.as_ptr().cast::<u8>(), to.as_mut_ptr().cast::<u8>());
    /// Pieces of `N` bytes, the last of which may overlap the one before.
    ///
    /// # Safety
    /// There are at least `N` bytes on both sides, which do not overlap.
    #[inline(always)]
    unsafe fn pieces<const N: usize>(from: *const u8, to: *mut u8, bytes: usize) {
        let mut at = 0;
        // SAFETY: every piece ends at `bytes` at most.
        unsafe {
            while at + N < bytes {
                to.add(at).cast::<[u8; N]>().write_unaligned(from.add(at).cast::<[u8; N]>().read_unaligned());
                at += N;
            }
            let last = bytes - N;
            to.add(last).cast::<[u8; N]>().write_unaligned(from.add(last).cast::<[u8; N]>().read_unaligned());
        }
    }
    // SAFETY: both slices have so many bytes, and one is borrowed mutably.
    unsafe {
        match bytes {
            0 => {}
            1..4 => pieces::<1>(from, to, bytes),
            4..8 => pieces::<4>(from, to, bytes),
            8..16 => pieces::<8>(from, to, bytes),
            16..32 => pieces::<16>(from, to, bytes),
            _ => pieces::<32>(from, to, bytes),
        }
    }
}

/// A zeroed buffer whose start is aligned to [`ALIGN`].
pub struct Buffer {
    /// Where its memory begins, less than [`ALIGN`] before `start`.
    base: NonNull<u8>,
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the buffer owns its memory and has no interior mutability.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A buffer of `len` zero bytes.
    ///
    /// # Errors
    /// More than [`MAX_ARENA_BYTES`], or the system has no memory left.
    pub fn zeroed(len: usize) -> Result<Self> {
        let layout = Self::layout(len)?;
        // SAFETY: the layout's size is not zero.
        let base = unsafe { alloc_zeroed(layout) };
        let base = NonNull::new(base).ok_or_else(|| Error::Runtime(format!("no memory for {len} bytes")))?;
        let ahead = base.addr().get().next_multiple_of(ALIGN) - base.addr().get();
        // SAFETY: less than `ALIGN`, by which the memory is longer than `len`.
        let start = unsafe { base.add(ahead) };
        Ok(Self { base, start, len })
    }

    /// A buffer of `count` zero elements.
    ///
    /// # Errors
    /// As [`Buffer::zeroed`].
    pub fn of<T: Element>(count: usize) -> Result<Self> {
        Self::zeroed(count.saturating_mul(size_of::<T>()))
    }

    fn layout(len: usize) -> Result<Layout> {
        let too_large = || Error::Unsupported(format!("{len} bytes of memory, at most {MAX_ARENA_BYTES}"));
        if len > MAX_ARENA_BYTES {
            return Err(too_large());
        }
        // Aligned by hand: the system has zeroed pages ready, but not of an alignment that is asked for.
        Layout::from_size_align(len + ALIGN, 1).map_err(|_| too_large())
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `start` is valid for `len` initialised bytes as long as `self` lives.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The bytes, mutable.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }

    /// The elements; a rest shorter than an element is left out.
    pub fn elements<T: Element>(&self) -> &[T] {
        let whole = self.len - self.len % size_of::<T>();
        elements(&self.bytes()[..whole]).expect("aligned, and a whole number of elements")
    }

    /// The elements, mutable; a rest shorter than an element is left out.
    pub fn elements_mut<T: Element>(&mut self) -> &mut [T] {
        let whole = self.len - self.len % size_of::<T>();
        elements_mut(&mut self.bytes_mut()[..whole]).expect("aligned, and a whole number of elements")
    }

    /// Address of the first byte; stays the same while the buffer lives.
    pub(crate) fn address(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let layout = Self::layout(self.len).expect("the same layout was good when it was allocated");
        // SAFETY: allocated in `zeroed` with the same layout.
        unsafe { dealloc(self.base.as_ptr(), layout) }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} bytes)", self.len)
    }
}
