//! Eight lanes as arrays: whatever the compiler makes of them for the target's baseline. No fused
//! multiply-add and no libm calls.

use super::{LANES, Simd};
use crate::builtin::kernels::quant::round_even;
use std::array::from_fn;

/// No instructions beyond the baseline.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

type F = [f32; LANES];
type I = [i32; LANES];

impl Simd for Portable {
    type F = F;
    type I = I;
    type Pair = [i32; 2];
    type Weights = [[i32; 2]; LANES];

    #[inline(always)]
    unsafe fn splat(v: f32) -> F {
        [v; LANES]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> F {
        // SAFETY: valid by the trait's contract.
        unsafe { p.cast::<F>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: F) {
        // SAFETY: valid by the trait's contract.
        unsafe { p.cast::<F>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn add(a: F, b: F) -> F {
        from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: F, b: F) -> F {
        from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn mul_add(a: F, b: F, c: F) -> F {
        from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn max(a: F, b: F) -> F {
        from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn min(a: F, b: F) -> F {
        from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn load_i32(p: *const i32) -> I {
        // SAFETY: valid by the trait's contract.
        unsafe { p.cast::<I>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn zero_i32() -> I {
        [0; LANES]
    }
    #[inline(always)]
    unsafe fn add_i32(a: I, b: I) -> I {
        from_fn(|i| a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    unsafe fn sub_i32(a: Self::I, b: Self::I) -> Self::I {
        from_fn(|i| a[i].wrapping_sub(b[i]))
    }
    #[inline(always)]
    unsafe fn mul_i32(a: Self::I, b: i32) -> Self::I {
        a.map(|a| a.wrapping_mul(b))
    }
    #[inline(always)]
    unsafe fn to_f32(v: I) -> F {
        from_fn(|i| v[i] as f32)
    }
    #[inline(always)]
    unsafe fn to_i32(v: Self::F) -> Self::I {
        v.map(|v| v as i32)
    }
    #[inline(always)]
    unsafe fn round(v: F) -> I {
        from_fn(|i| round_even(v[i]))
    }
    #[inline(always)]
    unsafe fn store_low_bytes(p: *mut u8, v: I) {
        // SAFETY: valid by the trait's contract.
        unsafe { p.cast::<[u8; LANES]>().write_unaligned(from_fn(|i| v[i] as u8)) }
    }
    #[inline(always)]
    unsafe fn pair(p: *const i16) -> [i32; 2] {
        // SAFETY: valid by the trait's contract.
        let pair = unsafe { p.cast::<[i16; 2]>().read_unaligned() };
        pair.map(i32::from)
    }
    #[inline(always)]
    unsafe fn weights(p: *const i8) -> [[i32; 2]; LANES] {
        // SAFETY: valid by the trait's contract.
        let all = unsafe { p.cast::<[[i8; 2]; LANES]>().read_unaligned() };
        all.map(|w| w.map(i32::from))
    }
    #[inline(always)]
    unsafe fn dot(sum: I, a: [i32; 2], w: [[i32; 2]; LANES]) -> I {
        from_fn(|i| sum[i].wrapping_add(a[0] * w[i][0] + a[1] * w[i][1]))
    }
}
