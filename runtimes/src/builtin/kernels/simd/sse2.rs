//! Eight lanes as two SSE2 registers: what every x86-64 processor has. No fused multiply-add.

use super::Simd;
use std::arch::x86_64::*;

/// SSE2, the baseline of x86-64.
#[derive(Clone, Copy)]
pub(crate) struct Sse2;

// SAFETY of every block below: SSE2 is in the baseline, and pointers are valid for what is read or written
// without alignment, by the contract of the trait.
impl Simd for Sse2 {
    type F = [__m128; 2];
    type I = [__m128i; 2];
    type Pair = __m128i;
    type Weights = [__m128i; 2];

    #[inline(always)]
    unsafe fn splat(v: f32) -> Self::F {
        // SAFETY: see above.
        unsafe { [_mm_set1_ps(v); 2] }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> Self::F {
        // SAFETY: see above.
        unsafe { [_mm_loadu_ps(p), _mm_loadu_ps(p.add(4))] }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: Self::F) {
        // SAFETY: see above.
        unsafe {
            _mm_storeu_ps(p, v[0]);
            _mm_storeu_ps(p.add(4), v[1]);
        }
    }
    #[inline(always)]
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: see above.
        unsafe { [_mm_add_ps(a[0], b[0]), _mm_add_ps(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: see above.
        unsafe { [_mm_mul_ps(a[0], b[0]), _mm_mul_ps(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: see above.
        unsafe { [_mm_max_ps(a[0], b[0]), _mm_max_ps(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: see above.
        unsafe { [_mm_min_ps(a[0], b[0]), _mm_min_ps(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn mul_add(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // SAFETY: see above.
        unsafe { Self::add(Self::mul(a, b), c) }
    }
    #[inline(always)]
    unsafe fn load_i32(p: *const i32) -> Self::I {
        // SAFETY: see above.
        unsafe { [_mm_loadu_si128(p.cast()), _mm_loadu_si128(p.add(4).cast())] }
    }
    #[inline(always)]
    unsafe fn zero_i32() -> Self::I {
        // SAFETY: see above.
        unsafe { [_mm_setzero_si128(); 2] }
    }
    #[inline(always)]
    unsafe fn add_i32(a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: see above.
        unsafe { [_mm_add_epi32(a[0], b[0]), _mm_add_epi32(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn sub_i32(a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: see above.
        unsafe { [_mm_sub_epi32(a[0], b[0]), _mm_sub_epi32(a[1], b[1])] }
    }
    #[inline(always)]
    unsafe fn mul_i32(a: Self::I, b: i32) -> Self::I {
        // SAFETY: see above.
        unsafe {
            let b = _mm_set1_epi32(b);
            a.map(|a| {
                // Even and odd lanes apart, and their low halves side by side again.
                let (even, odd) = (_mm_mul_epu32(a, b), _mm_mul_epu32(_mm_srli_epi64::<32>(a), b));
                let (even, odd) = (_mm_shuffle_epi32::<0b1000>(even), _mm_shuffle_epi32::<0b1000>(odd));
                _mm_unpacklo_epi32(even, odd)
            })
        }
    }
    #[inline(always)]
    unsafe fn to_f32(v: Self::I) -> Self::F {
        // SAFETY: see above.
        unsafe { [_mm_cvtepi32_ps(v[0]), _mm_cvtepi32_ps(v[1])] }
    }
    #[inline(always)]
    unsafe fn to_i32(v: Self::F) -> Self::I {
        // SAFETY: see above.
        unsafe { [_mm_cvttps_epi32(v[0]), _mm_cvttps_epi32(v[1])] }
    }
    #[inline(always)]
    unsafe fn round(v: Self::F) -> Self::I {
        // SAFETY: see above.
        unsafe {
            // The rounding mode is the default, to nearest, ties to even.
            [_mm_cvtps_epi32(v[0]), _mm_cvtps_epi32(v[1])]
        }
    }
    #[inline(always)]
    unsafe fn store_low_bytes(p: *mut u8, v: Self::I) {
        // SAFETY: see above; eight bytes are written.
        unsafe {
            let low = _mm_set1_epi32(0xff);
            let words = _mm_packs_epi32(_mm_and_si128(v[0], low), _mm_and_si128(v[1], low));
            _mm_storel_epi64(p.cast(), _mm_packus_epi16(words, words));
        }
    }
    #[inline(always)]
    unsafe fn pair(p: *const i16) -> __m128i {
        // SAFETY: see above; four bytes are read.
        unsafe { _mm_set1_epi32(p.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn weights(p: *const i8) -> [__m128i; 2] {
        // SAFETY: see above; sixteen bytes are read.
        unsafe {
            let bytes = _mm_loadu_si128(p.cast());
            // Doubled bytes shifted down are the bytes with their sign.
            let (low, high) = (_mm_unpacklo_epi8(bytes, bytes), _mm_unpackhi_epi8(bytes, bytes));
            [_mm_srai_epi16::<8>(low), _mm_srai_epi16::<8>(high)]
        }
    }
    #[inline(always)]
    unsafe fn dot(sum: Self::I, a: __m128i, w: [__m128i; 2]) -> Self::I {
        // SAFETY: see above.
        unsafe { Self::add_i32(sum, [_mm_madd_epi16(a, w[0]), _mm_madd_epi16(a, w[1])]) }
    }
}
