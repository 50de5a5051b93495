//! Sixteen lanes as one AVX-512 register.

use super::{ByteKernel, Kernel, Quads, Simd};
use std::arch::x86_64::*;

/// AVX-512 with VNNI.
#[derive(Clone, Copy)]
pub(crate) struct Avx512;

/// Runs a kernel in code compiled for AVX-512 with VNNI.
///
/// # Safety
/// The processor has all that is enabled here.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) unsafe fn run<K: Kernel>(kernel: K) {
    // SAFETY: the caller's promise.
    unsafe { kernel.run::<Avx512>() }
}

/// As [`run`], for kernels that multiply bytes.
///
/// # Safety
/// The processor has all that is enabled here.
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) unsafe fn run_quads<K: ByteKernel>(kernel: K) {
    // SAFETY: the caller's promise.
    unsafe { kernel.quads::<Avx512>() }
}

// SAFETY of every block below: the processor has what `run` enables and pointers are valid for what is read or
// written without alignment, by the contract of the trait.
impl Simd for Avx512 {
    const LANES: usize = 16;
    const ROWS_F32: usize = 8;
    const ROWS_I8: usize = 8;

    type F = __m512;
    type I = __m512i;
    type Pair = __m512i;
    type Weights = __m512i;

    #[inline(always)]
    unsafe fn splat(v: f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(v) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m512) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn load_i32(p: *const i32) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn zero_i32() -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn add_i32(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn sub_i32(a: Self::I, b: Self::I) -> Self::I {
        // SAFETY: see above.
        unsafe { _mm512_sub_epi32(a, b) }
    }
    #[inline(always)]
    unsafe fn mul_i32(a: Self::I, b: i32) -> Self::I {
        // SAFETY: see above.
        unsafe { _mm512_mullo_epi32(a, _mm512_set1_epi32(b)) }
    }
    #[inline(always)]
    unsafe fn to_f32(v: __m512i) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_cvtepi32_ps(v) }
    }
    #[inline(always)]
    unsafe fn to_i32(v: Self::F) -> Self::I {
        // SAFETY: see above.
        unsafe { _mm512_cvttps_epi32(v) }
    }
    #[inline(always)]
    unsafe fn round(v: __m512) -> __m512i {
        // SAFETY: see above. The rounding mode is the default, to nearest, ties to even.
        unsafe { _mm512_cvtps_epi32(v) }
    }
    #[inline(always)]
    unsafe fn store_low_bytes(p: *mut u8, v: __m512i) {
        // SAFETY: see above; sixteen bytes are written.
        unsafe {
            _mm_storeu_si128(p.cast(), _mm512_cvtepi32_epi8(v));
        }
    }
    #[inline(always)]
    unsafe fn pair(p: *const i16) -> __m512i {
        // SAFETY: see above; four bytes are read.
        unsafe { _mm512_set1_epi32(p.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn weights(p: *const i8) -> __m512i {
        // SAFETY: see above; 32 bytes are read.
        unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m512i, a: __m512i, w: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_dpwssd_epi32(sum, a, w) }
    }
}

impl Quads for Avx512 {
    const ROWS_QUADS: usize = 8;

    type Quad = __m512i;
    type QuadWeights = __m512i;

    #[inline(always)]
    unsafe fn quad(p: *const u8) -> __m512i {
        // SAFETY: see above; four bytes are read.
        unsafe { _mm512_set1_epi32(p.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn quad_weights(p: *const i8) -> __m512i {
        // SAFETY: see above; 64 bytes are read.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn dot_quads(sum: __m512i, a: __m512i, w: __m512i) -> __m512i {
        // SAFETY: see above.
        unsafe { _mm512_dpbusd_epi32(sum, a, w) }
    }
}
