//! The loops that do the work, by SIMD tier. Every integer kernel gives the same bits on all tiers;
//! float kernels may differ in rounding (fused multiply-add, order of sums). No graph and no planning
//! here. This folder is the only part of the engine that may use `unsafe`.

#![expect(unsafe_code, reason = "typed views of memory and SIMD instructions; every block says why it holds")]

pub(crate) mod conv;
pub(crate) mod cores;
pub(crate) mod depthwise;
pub(crate) mod dynamic;
pub(crate) mod fixed;
pub(crate) mod gemm;
pub(crate) mod gemm_i8;
pub(crate) mod gemm_rows;
pub mod io;
pub(crate) mod math;
pub mod memory;
pub mod nest;
pub(crate) mod pixels;
pub mod quant;
pub(crate) mod simd;
pub(crate) mod strips;
pub mod threads;
pub(crate) mod wide;

/// A set of kernels, by what the processor must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Nothing beyond the target's baseline: SSE2 on x86-64.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 (F, BW, DQ, VL) and its dot products of small integers (VNNI).
    Avx512,
    /// AArch64 with Advanced SIMD, which is its baseline.
    Neon,
    /// AArch64 with dot products of four bytes (`sdot`).
    Dotprod,
    /// AArch64 with those and products of two rows and two columns of eight bytes (`smmla`).
    I8mm,
}

impl Tier {
    /// The best tier this processor has.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma");
            let avx512 = has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
            if avx2 && avx512 && has!("avx512vnni") {
                return Self::Avx512;
            }
            if avx2 {
                return Self::Avx2;
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            use std::arch::is_aarch64_feature_detected as has;
            return match (has!("dotprod"), has!("i8mm")) {
                (true, true) => Self::I8mm,
                (true, false) => Self::Dotprod,
                (false, _) => Self::Neon,
            };
        }
        #[cfg(not(target_arch = "aarch64"))]
        Self::Portable
    }

    /// The tier that every processor has for which this is compiled.
    pub const BASELINE: Self = if cfg!(target_arch = "aarch64") { Self::Neon } else { Self::Portable };

    /// Every tier this processor can run, the baseline first.
    pub fn available() -> Vec<Self> {
        let best = Self::detect();
        let all = [Self::Portable, Self::Avx2, Self::Avx512, Self::Neon, Self::Dotprod, Self::I8mm];
        all.into_iter().filter(|tier| best.includes(*tier)).collect()
    }

    /// Whether a processor of this tier can run another's kernels.
    pub(crate) fn includes(self, other: Self) -> bool {
        let below = |tier| match tier {
            Self::I8mm => Some(Self::Dotprod),
            Self::Dotprod => Some(Self::Neon),
            Self::Avx512 => Some(Self::Avx2),
            Self::Avx2 => Some(Self::Portable),
            Self::Neon | Self::Portable => None,
        };
        std::iter::successors(Some(self), |tier| below(*tier)).any(|tier| tier == other)
    }

    /// Lanes of its vectors of f32.
    pub(crate) fn lanes(self) -> usize {
        if self == Self::Avx512 { 2 * simd::LANES } else { simd::LANES }
    }

    /// How many bytes of a row it multiplies and adds at once, if it multiplies bytes.
    pub(crate) fn bytes_at_once(self) -> Option<usize> {
        match self {
            Self::Avx512 | Self::Dotprod => Some(4),
            Self::I8mm => Some(8),
            Self::Portable | Self::Avx2 | Self::Neon => None,
        }
    }

    /// The tier that wastes the least of its lanes on so many channels.
    pub(crate) fn for_channels(self, channels: usize) -> Self {
        let rest = channels % self.lanes();
        if self == Self::Avx512 && (1..=simd::LANES).contains(&rest) { Self::Avx2 } else { self }
    }

    /// Name in proofs and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2-fma",
            Self::Avx512 => "avx512-vnni",
            Self::Neon => "neon",
            Self::Dotprod => "neon-dotprod",
            Self::I8mm => "neon-i8mm",
        }
    }
}
