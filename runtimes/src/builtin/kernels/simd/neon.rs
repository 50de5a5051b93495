//! Eight lanes as two Advanced SIMD registers.

use super::Simd;
use std::arch::aarch64::*;

/// Advanced SIMD, the baseline of AArch64.
#[derive(Clone, Copy)]
pub(crate) struct Neon;

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
