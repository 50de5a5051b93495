//! Eight lanes of f32 or i32 on every tier, and the way from a [`Tier`] to code compiled for it. Kernels
//! are written once over [`Simd`] and inlined into a function with the tier's target features.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(not(target_arch = "x86_64"))]
mod portable;
#[cfg(target_arch = "x86_64")]
mod sse2;

use super::Tier;

#[cfg(not(target_arch = "x86_64"))]
use portable::Portable as Baseline;
#[cfg(target_arch = "x86_64")]
use sse2::Sse2 as Baseline;

/// Lanes of a vector.
pub(crate) const LANES: usize = 8;

/// Vectors of eight lanes.
///
/// # Safety
/// All functions need the tier's instructions, which [`dispatch`] makes sure of, and valid pointers to as
/// many elements as they say, without alignment.
pub(crate) trait Simd: Copy {
    /// Eight f32.
    type F: Copy;
    /// Eight i32.
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
    unsafe fn to_f32(v: Self::I) -> Self::F;
    /// The nearest integers, ties to even, of numbers below 2²² in magnitude.
    unsafe fn round(v: Self::F) -> Self::I;
    /// The low bytes of eight i32 that are each within the range of i8 or of u8.
    unsafe fn store_low_bytes(p: *mut u8, v: Self::I);

    /// Two i16.
    unsafe fn pair(p: *const i16) -> Self::Pair;
    /// Sixteen i8: two per lane, lane after lane.
    unsafe fn weights(p: *const i8) -> Self::Weights;
    /// Adds the dot product of two pairs to every lane; exact but for overflow of the sum.
    unsafe fn dot(sum: Self::I, a: Self::Pair, w: Self::Weights) -> Self::I;
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
    match tier {
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 if Tier::detect() == Tier::Avx2 => {
            // SAFETY: the processor has AVX2 and FMA, as just detected.
            unsafe { avx2::run(kernel) }
        }
        #[cfg(target_arch = "aarch64")]
        Tier::Neon => {
            // SAFETY: every AArch64 processor this can be built for has Advanced SIMD.
            unsafe { kernel.run::<neon::Neon>() }
        }
        // SAFETY: needs nothing beyond the target's baseline.
        _ => unsafe { kernel.run::<Baseline>() },
    }
}
