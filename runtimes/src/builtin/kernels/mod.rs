//! The loops that do the work, by SIMD tier. Every integer kernel gives the same bits on all tiers;
//! float kernels may differ in rounding (fused multiply-add, order of sums). No graph and no planning
//! here. This folder is the only part of the engine that may use `unsafe`.

#![expect(unsafe_code, reason = "typed views of memory and SIMD instructions; every block says why it holds")]

pub(crate) mod conv;
pub(crate) mod depthwise;
pub(crate) mod dynamic;
pub(crate) mod fixed;
pub(crate) mod gemm;
pub mod io;
pub mod memory;
pub mod nest;
pub(crate) mod pixels;
pub mod quant;
pub(crate) mod simd;
pub(crate) mod wide;

/// A set of kernels, by what the processor must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Nothing beyond the target's baseline: SSE2 on x86-64.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// AArch64 with Advanced SIMD, which is its baseline.
    Neon,
}

impl Tier {
    /// The best tier this processor has.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            return Self::Avx2;
        }
        if cfg!(target_arch = "aarch64") { Self::Neon } else { Self::Portable }
    }

    /// Every tier this processor can run, `Portable` first.
    pub fn available() -> Vec<Self> {
        let best = Self::detect();
        if best == Self::Portable { vec![best] } else { vec![Self::Portable, best] }
    }

    /// Name in proofs and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2-fma",
            Self::Neon => "neon",
        }
    }
}
