//! Vectors of f32 or i32, of eight lanes or more by tier, and the way from a [`Tier`] to code compiled for it. Kernels
//! are written once over [`Simd`] and inlined into a function with the tier's target features.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod portable;
#[cfg(target_arch = "x86_64")]
mod sse2;

use super::Tier;

#[cfg(target_arch = "aarch64")]
use neon::Neon as Baseline;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use portable::Portable as Baseline;
#[cfg(target_arch = "x86_64")]
use sse2::Sse2 as Baseline;

/// Lanes of a vector on most tiers; the fewest that any has.
pub(crate) const LANES: usize = 8;
/// The most lanes that any tier has.
pub(crate) const MAX_LANES: usize = 16;

/// Vectors of [`Simd::LANES`] lanes.
///
/// # Safety
/// All functions need the tier's instructions, which [`dispatch`] makes sure of, and valid pointers to as
/// many elements as they say, without alignment.
pub(crate) trait Simd: Copy {
    /// Lanes of a vector.
    const LANES: usize = LANES;
    /// Rows of an f32 tile of two vectors, by how many accumulators the registers hold.
    const ROWS_F32: usize = 6;
    /// The same for int8, where the dot product needs room.
    const ROWS_I8: usize = 4;

    /// One f32 per lane.
    type F: Copy;
    /// One i32 per lane.
    type I: Copy;
    /// Two i16 of one operand of a dot product, for all lanes.
    type Pair: Copy;
    /// Two i16 per lane, the other operand.
    type Weights: Copy;

    unsafe fn splat(v: f32) -> Self::F;
    unsafe fn load(p: *const f32) -> Self::F;
    unsafe fn store(p: *mut f32, v: Self::F);
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    /// a · b + c, rounded once where the tier can.
    unsafe fn mul_add(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The larger; NaN in `b` stays.
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    /// The smaller; NaN in `b` stays.
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F;

    unsafe fn load_i32(p: *const i32) -> Self::I;
    unsafe fn zero_i32() -> Self::I;
    unsafe fn add_i32(a: Self::I, b: Self::I) -> Self::I;
    unsafe fn sub_i32(a: Self::I, b: Self::I) -> Self::I;
    /// The low halves of products.
    unsafe fn mul_i32(a: Self::I, b: i32) -> Self::I;
    unsafe fn to_f32(v: Self::I) -> Self::F;
    /// Whole numbers of up to 24 bits.
    unsafe fn to_i32(v: Self::F) -> Self::I;
    /// The nearest integers, ties to even, of numbers below 2²² in magnitude.
    unsafe fn round(v: Self::F) -> Self::I;
    /// The low bytes of i32 that are each within the range of i8 or of u8.
    unsafe fn store_low_bytes(p: *mut u8, v: Self::I);

    /// Two i16.
    unsafe fn pair(p: *const i16) -> Self::Pair;
    /// Two i8 per lane, lane after lane.
    unsafe fn weights(p: *const i8) -> Self::Weights;
    /// Adds the dot product of two pairs to every lane; exact but for overflow of the sum.
    unsafe fn dot(sum: Self::I, a: Self::Pair, w: Self::Weights) -> Self::I;
}

/// Vectors on processors that multiply and add four bytes at once.
///
/// # Safety
/// As [`Simd`].
pub(crate) trait Quads: Simd {
    /// Rows of a tile of two vectors.
    const ROWS_QUADS: usize;

    /// Four bytes of one operand of a dot product, for all lanes.
    type Quad: Copy;
    /// Four i8 per lane, the other operand.
    type QuadWeights: Copy;

    /// Four bytes.
    unsafe fn quad(p: *const u8) -> Self::Quad;
    /// Four i8 per lane, lane after lane.
    unsafe fn quad_weights(p: *const i8) -> Self::QuadWeights;
    /// Adds the dot product of four to every lane; exact but for overflow of the sum.
    unsafe fn dot_quads(sum: Self::I, a: Self::Quad, w: Self::QuadWeights) -> Self::I;
}

/// Vectors on processors that multiply two rows of eight bytes with two columns of them at once.
///
/// # Safety
/// As [`Simd`].
pub(crate) trait RowPairs: Simd {
    /// Eight bytes of two rows.
    type Rows: Copy;
    /// Eight i8 per lane.
    type RowWeights: Copy;
    /// Sums of two rows, one per lane each.
    type Sums: Copy;

    /// Eight bytes of each.
    unsafe fn rows(first: *const u8, second: *const u8) -> Self::Rows;
    /// Eight i8 per lane, lane after lane.
    unsafe fn row_weights(p: *const i8) -> Self::RowWeights;
    /// The same sums for both rows.
    unsafe fn join(sums: Self::I) -> Self::Sums;
    /// Adds the dot product of eight to every lane of both rows; exact but for overflow of the sum.
    unsafe fn dot_rows(sums: Self::Sums, a: Self::Rows, w: Self::RowWeights) -> Self::Sums;
    /// The sums of each row.
    unsafe fn part(sums: Self::Sums) -> [Self::I; 2];
}

/// Something to compute with the vectors of tiers that multiply bytes.
pub(crate) trait ByteKernel {
    /// As [`Kernel::run`], four at once.
    ///
    /// # Safety
    /// The processor has the instructions of `S`.
    unsafe fn quads<S: Quads>(self);

    /// As [`Kernel::run`], eight at once, of two rows.
    ///
    /// # Safety
    /// The processor has the instructions of `S`.
    #[cfg_attr(not(target_arch = "aarch64"), expect(dead_code, reason = "no tier of others has it"))]
    unsafe fn row_pairs<S: RowPairs>(self);
}

/// Something to compute with whatever vectors there are.
pub(crate) trait Kernel {
    /// Computes it. Implementations and all they call are `#[inline(always)]`.
    ///
    /// # Safety
    /// The processor has the instructions of `S`.
    unsafe fn run<S: Simd>(self);
}

/// Runs a kernel compiled for a tier, or for the portable one where the processor lacks the tier.
pub(crate) fn dispatch<K: Kernel>(tier: Tier, kernel: K) {
    #[cfg(test)]
    dispatched::note(dispatched::Dispatched::VECTORS);
    match tier {
        #[cfg(target_arch = "x86_64")]
        Tier::Avx512 if Tier::detect() == Tier::Avx512 => {
            // SAFETY: the processor has what the tier names, as just detected.
            unsafe { avx512::run(kernel) }
        }
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 if Tier::detect().includes(Tier::Avx2) => {
            // SAFETY: the processor has AVX2 and FMA, as just detected.
            unsafe { avx2::run(kernel) }
        }
        // SAFETY: needs nothing beyond the target's baseline.
        _ => unsafe { kernel.run::<Baseline>() },
    }
}

/// As [`dispatch`], for kernels that are not for tiers that multiply bytes, which have better ones.
///
/// # Panics
/// The tier is one of those.
pub(crate) fn dispatch_pairs<K: Kernel>(tier: Tier, kernel: K) {
    #[cfg(test)]
    dispatched::note(dispatched::Dispatched::VECTORS);
    match tier {
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 if Tier::detect().includes(Tier::Avx2) => {
            // SAFETY: the processor has AVX2 and FMA, as just detected.
            unsafe { avx2::run(kernel) }
        }
        _ if tier.bytes_at_once().is_some() => unreachable!("{} multiplies bytes", tier.name()),
        // SAFETY: needs nothing beyond the target's baseline.
        _ => unsafe { kernel.run::<Baseline>() },
    }
}

/// As [`dispatch`], for kernels that use no vectors by name: loops of which the compiler makes vectors, of the same
/// length for some tiers.
pub(crate) fn dispatch_loops<K: Kernel>(tier: Tier, kernel: K) {
    #[cfg(test)]
    dispatched::note(dispatched::Dispatched::LOOPS);
    match tier {
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 | Tier::Avx512 if Tier::detect().includes(Tier::Avx2) => {
            // SAFETY: the processor has AVX2 and FMA, as just detected.
            unsafe { avx2::run(kernel) }
        }
        // SAFETY: needs nothing beyond the target's baseline.
        _ => unsafe { kernel.run::<Baseline>() },
    }
}

/// Runs a kernel compiled for a tier that has [`Tier::bytes_at_once`].
///
/// # Panics
/// It has not, or the processor lacks the tier.
pub(crate) fn dispatch_bytes<K: ByteKernel>(tier: Tier, kernel: K) {
    #[cfg(test)]
    dispatched::note(dispatched::Dispatched::VECTORS);
    match tier {
        #[cfg(target_arch = "x86_64")]
        Tier::Avx512 if Tier::detect() == Tier::Avx512 => {
            // SAFETY: the processor has what the tier names, as just detected.
            unsafe { avx512::run_quads(kernel) }
        }
        #[cfg(target_arch = "aarch64")]
        Tier::Dotprod if Tier::detect().includes(Tier::Dotprod) => {
            // SAFETY: the processor has what the tier names, as just detected.
            unsafe { neon::run_quads(kernel) }
        }
        #[cfg(target_arch = "aarch64")]
        Tier::I8mm if Tier::detect() == Tier::I8mm => {
            // SAFETY: the processor has what the tier names, as just detected.
            unsafe { neon::run_row_pairs(kernel) }
        }
        _ => {
            let _unused = &kernel;
            unreachable!("{} does not multiply bytes here", tier.name())
        }
    }
}

/// Copies fewer than 32 elements in a few moves.
///
/// # Safety
/// As `std::ptr::copy_nonoverlapping`.
#[inline(always)]
pub(crate) unsafe fn copy_few<T: Copy>(from: *const T, to: *mut T, count: usize) {
    let mut at = 0;
    for size in [16, 8, 4, 2, 1] {
        if count & size != 0 {
            // SAFETY: the caller's promise; the sizes add up to the count.
            unsafe { std::ptr::copy_nonoverlapping(from.add(at), to.add(at), size) };
            at += size;
        }
    }
}

/// Repeats a block for every index below a constant of at most eight: unlike a loop, at once, so that arrays that
/// are indexed by it become registers.
macro_rules! unroll {
    ($i:ident < $n:ident, $body:block) => {
        $crate::builtin::kernels::simd::unroll!(@ $i, $n, $body, 0, 1, 2, 3, 4, 5, 6, 7)
    };
    (@ $i:ident, $n:ident, $body:block, $($at:literal),*) => {
        $(if $n > $at {
            let $i = $at;
            $body
        })*
    };
}
pub(crate) use unroll;

/// What was dispatched on this thread, for the table of operators.
#[cfg(test)]
pub(crate) mod dispatched {
    use std::cell::Cell;

    /// Which kinds of kernels ran.
    #[derive(Clone, Copy, Debug, Default)]
    pub(crate) struct Dispatched {
        pub(crate) vectors: bool,
        pub(crate) loops: bool,
    }

    impl Dispatched {
        pub(crate) const VECTORS: Self = Self { vectors: true, loops: false };
        pub(crate) const LOOPS: Self = Self { vectors: false, loops: true };

        pub(crate) fn or(self, other: Self) -> Self {
            Self { vectors: self.vectors || other.vectors, loops: self.loops || other.loops }
        }
    }

    thread_local! {
        static SEEN: Cell<Dispatched> = const { Cell::new(Dispatched { vectors: false, loops: false }) };
    }

    pub(super) fn note(one: Dispatched) {
        SEEN.set(SEEN.get().or(one));
    }

    /// What ran since this was last asked.
    pub(crate) fn take() -> Dispatched {
        SEEN.take()
    }
}
