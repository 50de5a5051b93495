//! Eight lanes as two Advanced SIMD registers. The products of bytes that later processors have are instructions
//! spelled out, for Rust has no stable functions for them.

use super::{ByteKernel, Quads, RowPairs, Simd};
use std::arch::{aarch64::*, asm};

/// Advanced SIMD, the baseline of AArch64.
#[derive(Clone, Copy)]
pub(crate) struct Neon;

/// Runs a kernel in code compiled for dot products of bytes.
///
/// # Safety
/// The processor has them.
#[target_feature(enable = "dotprod")]
pub(crate) unsafe fn run_quads<K: ByteKernel>(kernel: K) {
    // SAFETY: the caller's promise.
    unsafe { kernel.quads::<Neon>() }
}

/// Runs a kernel in code compiled for products of matrices of bytes.
///
/// # Safety
/// The processor has them.
#[target_feature(enable = "i8mm")]
pub(crate) unsafe fn run_row_pairs<K: ByteKernel>(kernel: K) {
    // SAFETY: the caller's promise.
    unsafe { kernel.row_pairs::<Neon>() }
}

/// Two i16 of every lane, apart: lanes 0 to 3 and 4 to 7 of the first, then of the second.
type Apart = [int16x4_t; 4];

// SAFETY of every block below: Advanced SIMD is in the baseline, and pointers are valid for what is read
// or written without alignment, by the contract of the trait.
impl Simd for Neon {
    type F = [float32x4_t; 2];
    type I = [int32x4_t; 2];
    type Pair = int16x4_t;
    type Weights = Apart;

    #[inline(always)]
    unsafe fn splat(v: f32) -> Self::F {
        // SAFETY: see above.
        unsafe { [vdupq_n_f32(v); 2] }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::F {
        // SAFETY: see above.
        unsafe { [vld1q_f32(p), vld1q_f32(p.add(4))] }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::F) {
        // SAFETY: see above.
        unsafe {
            vst1q_f32(p, v[0]);
            vst1q_f32(p.add(4), v[1]);
        }
    }
    #[inline(always)]
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: see above.
        unsafe { [vaddq_f32(a[0], b[0]), vaddq_f32(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: see above.
        unsafe { [vmulq_f32(a[0], b[0]), vmulq_f32(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn mul_add(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // SAFETY: see above.
        unsafe { [vfmaq_f32(c[0], a[0], b[0]), vfmaq_f32(c[1], a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: see above.
        unsafe { [vmaxq_f32(a[0], b[0]), vmaxq_f32(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: see above.
        unsafe { [vminq_f32(a[0], b[0]), vminq_f32(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn load_i32(p: *const i32) -> Self::I {
        // SAFETY: see above.
        unsafe { [vld1q_s32(p), vld1q_s32(p.add(4))] }
    }
    #[inline(always)]
    unsafe fn zero_i32() -> Self::I {
        // SAFETY: see above.
        unsafe { [vdupq_n_s32(0); 2] }
    }
    #[inline(always)]
    unsafe fn add_i32(a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: see above.
        unsafe { [vaddq_s32(a[0], b[0]), vaddq_s32(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn sub_i32(a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: see above.
        unsafe { [vsubq_s32(a[0], b[0]), vsubq_s32(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn mul_i32(a: Self::I, b: i32) -> Self::I {
        // SAFETY: see above.
        unsafe { [vmulq_n_s32(a[0], b), vmulq_n_s32(a[1], b)] }
    }
    #[inline(always)]
    unsafe fn to_f32(v: Self::I) -> Self::F {
        // SAFETY: see above.
        unsafe { [vcvtq_f32_s32(v[0]), vcvtq_f32_s32(v[1])] }
    }
    #[inline(always)]
    unsafe fn to_i32(v: Self::F) -> Self::I {
        // SAFETY: see above.
        unsafe { [vcvtq_s32_f32(v[0]), vcvtq_s32_f32(v[1])] }
    }
    #[inline(always)]
    unsafe fn round(v: Self::F) -> Self::I {
        // SAFETY: see above.
        unsafe { [vcvtnq_s32_f32(v[0]), vcvtnq_s32_f32(v[1])] }
    }
    #[inline(always)]
    unsafe fn store_low_bytes(p: *mut u8, v: Self::I) {
        // SAFETY: see above; eight bytes are written.
        unsafe {
            let half = vcombine_s16(vmovn_s32(v[0]), vmovn_s32(v[1]));
            vst1_u8(p, vreinterpret_u8_s8(vmovn_s16(half)));
        }
    }
    #[inline(always)]
    unsafe fn pair(p: *const i16) -> int16x4_t {
        // SAFETY: see above; four bytes are read.
        unsafe { vreinterpret_s16_s32(vdup_n_s32(p.cast::<i32>().read_unaligned())) }
    }
    #[inline(always)]
    unsafe fn weights(p: *const i8) -> Apart {
        // SAFETY: see above; sixteen bytes are read.
        unsafe {
            let apart = vld2_s8(p);
            let (first, second) = (vmovl_s8(apart.0), vmovl_s8(apart.1));
            [vget_low_s16(first), vget_high_s16(first), vget_low_s16(second), vget_high_s16(second)]
        }
    }
    #[inline(always)]
    unsafe fn dot(sum: Self::I, a: int16x4_t, w: Apart) -> Self::I {
        // SAFETY: see above.
        unsafe {
            let low = vmlal_lane_s16::<1>(vmlal_lane_s16::<0>(sum[0], w[0], a), w[2], a);
            let high = vmlal_lane_s16::<1>(vmlal_lane_s16::<0>(sum[1], w[1], a), w[3], a);
            [low, high]
        }
    }
}

impl Quads for Neon {
    /// 24 accumulators, four registers of weights and those of a group fit into 32.
    const ROWS_QUADS: usize = 6;

    /// In the first lane: `sdot` takes it for all.
    type Quad = int32x4_t;
    type QuadWeights = [int8x16_t; 2];

    #[inline(always)]
    unsafe fn quad(p: *const u8) -> int32x4_t {
        // SAFETY: see above; four bytes are read.
        unsafe { vsetq_lane_s32::<0>(p.cast::<i32>().read_unaligned(), vdupq_n_s32(0)) }
    }
    #[inline(always)]
    unsafe fn quad_weights(p: *const i8) -> [int8x16_t; 2] {
        // SAFETY: see above; 32 bytes are read.
        unsafe { [vld1q_s8(p), vld1q_s8(p.add(16))] }
    }
    #[inline(always)]
    unsafe fn dot_quads(sum: Self::I, a: int32x4_t, w: [int8x16_t; 2]) -> Self::I {
        // SAFETY: the processor has the instruction, by the contract of the trait.
        unsafe { [sdot(sum[0], w[0], a), sdot(sum[1], w[1], a)] }
    }
}

/// Adds the dot products of every four bytes with the first four of `a`.
///
/// # Safety
/// The processor has dot products of bytes.
#[inline(always)]
unsafe fn sdot(mut sum: int32x4_t, w: int8x16_t, a: int32x4_t) -> int32x4_t {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {w:v}.16b, {a:v}.4b[0]",
            sum = inout(vreg) sum, w = in(vreg) w, a = in(vreg) a,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

impl RowPairs for Neon {
    type Rows = int8x16_t;
    /// Two lanes each.
    type RowWeights = [int8x16_t; 4];
    /// Two lanes of the first row and of the second each.
    type Sums = [int32x4_t; 4];

    #[inline(always)]
    unsafe fn rows(first: *const u8, second: *const u8) -> int8x16_t {
        // SAFETY: see above; eight bytes of each are read.
        unsafe { vcombine_s8(vld1_s8(first.cast()), vld1_s8(second.cast())) }
    }
    #[inline(always)]
    unsafe fn row_weights(p: *const i8) -> Self::RowWeights {
        // SAFETY: see above; 64 bytes are read.
        unsafe { [0, 1, 2, 3].map(|i| vld1q_s8(p.add(16 * i))) }
    }
    #[inline(always)]
    unsafe fn join(sums: Self::I) -> Self::Sums {
        // SAFETY: see above.
        let twice = |v| unsafe {
            let v = vreinterpretq_s64_s32(v);
            [vreinterpretq_s32_s64(vzip1q_s64(v, v)), vreinterpretq_s32_s64(vzip2q_s64(v, v))]
        };
        let ([a, b], [c, d]) = (twice(sums[0]), twice(sums[1]));
        [a, b, c, d]
    }
    #[inline(always)]
    unsafe fn dot_rows(sums: Self::Sums, a: int8x16_t, w: Self::RowWeights) -> Self::Sums {
        // SAFETY: the processor has the instruction, by the contract of the trait.
        unsafe {
            [
                smmla(sums[0], a, w[0]),
                smmla(sums[1], a, w[1]),
                smmla(sums[2], a, w[2]),
                smmla(sums[3], a, w[3]),
            ]
        }
    }
    #[inline(always)]
    unsafe fn part(sums: Self::Sums) -> [Self::I; 2] {
        // SAFETY: see above.
        unsafe {
            let [a, b, c, d] = sums.map(|v| vreinterpretq_s64_s32(v));
            let first = [vzip1q_s64(a, b), vzip1q_s64(c, d)];
            let second = [vzip2q_s64(a, b), vzip2q_s64(c, d)];
            [first.map(|v| vreinterpretq_s32_s64(v)), second.map(|v| vreinterpretq_s32_s64(v))]
        }
    }
}

/// Adds the dot products of two rows of eight bytes with two columns of them: first row, then second.
///
/// # Safety
/// The processor has products of matrices of bytes.
#[inline(always)]
unsafe fn smmla(mut sum: int32x4_t, a: int8x16_t, w: int8x16_t) -> int32x4_t {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "smmla {sum:v}.4s, {a:v}.16b, {w:v}.16b",
            sum = inout(vreg) sum, a = in(vreg) a, w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
