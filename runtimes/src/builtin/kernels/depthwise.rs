//! Depthwise convolution: every channel by itself. The input has a border and a whole number of vectors
//! of channels per pixel.
//!
//! int8 runs here too: elements less their zero point times weights are small integers, and f32 adds and
//! multiplies them exactly as long as no partial sum reaches 2²⁴, which [`PackedDepthwise::exact`] checks.
//! So the sums have the same bits on every tier.

#![expect(
    clippy::needless_range_loop,
    reason = "indices over small constant arrays are unrolled into registers"
)]

use super::Tier;
use super::gemm_i8::store_requantized;
use super::memory::Buffer;
use super::pixels::Walk;
use super::quant::Requant;
use super::simd::{Kernel, MAX_LANES, Simd, copy_few, dispatch};
use crate::Result;

/// Weights as `[bias; c] [tap; c]... [scale; c] [late bias; c]`, `c` rounded up to whole vectors.
#[derive(Debug)]
pub(crate) struct PackedDepthwise {
    data: Buffer,
    /// Channels rounded up.
    padded: usize,
    /// Channels.
    channels: usize,
    taps: usize,
}

impl PackedDepthwise {
    /// From `weights[tap][channel]`. `scale` is one for all or one per channel, and both it and the late
    /// bias are for those that finish with them. What is missing is 1, or 0.
    pub(crate) fn new(
        tier: Tier,
        weights: &[f32],
        bias: &[f32],
        scale: &[f32],
        late_bias: &[f32],
        channels: usize,
    ) -> Result<Self> {
        let padded = channels.next_multiple_of(tier.lanes());
        let taps = weights.len() / channels.max(1);
        let mut data = Buffer::of::<f32>((taps + 3) * padded)?;
        let all = data.elements_mut::<f32>();
        for c in 0..channels {
            let mut put = |row: usize, v: f32| all[row * padded + c] = v;
            put(0, bias.get(c).copied().unwrap_or(0.0));
            (0..taps).for_each(|t| put(t + 1, weights[t * channels + c]));
            put(taps + 1, scale.get(if scale.len() == 1 { 0 } else { c }).copied().unwrap_or(1.0));
            put(taps + 2, late_bias.get(c).copied().unwrap_or(0.0));
        }
        Ok(Self { data, padded, channels, taps })
    }

    /// Whether integer weights and biases give exact sums for inputs of at most `largest` in magnitude.
    pub(crate) fn exact(weights: &[i8], bias: &[i32], channels: usize, largest: i32) -> bool {
        (0..channels).all(|c| {
            let sum: i64 = weights.iter().skip(c).step_by(channels).map(|w| i64::from(*w).abs()).sum();
            let bias = bias.get(c).map_or(0, |b| i64::from(*b).abs());
            sum * i64::from(largest) + bias < 1 << 24
        })
    }
}

/// What becomes of sums.
pub(crate) trait FinishDepthwise: Copy {
    /// Element type of the results.
    type Out: Copy + Default + Send + Sync;
    /// A vector of results; `scale` and `bias` point to those of the channels.
    ///
    /// # Safety
    /// As [`Simd`]; `scale` and `bias` are readable and `out` writable for a vector's elements.
    unsafe fn finish<S: Simd>(self, sum: S::F, scale: *const f32, bias: *const f32, out: *mut Self::Out);
}

/// f32 results, cut to a range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut(pub(crate) f32, pub(crate) f32);

impl FinishDepthwise for Cut {
    type Out = f32;
    #[inline(always)]
    unsafe fn finish<S: Simd>(self, sum: S::F, _scale: *const f32, _bias: *const f32, out: *mut f32) {
        // SAFETY: the trait's contract.
        unsafe { S::store(out, S::min(S::splat(self.1), S::max(S::splat(self.0), sum))) }
    }
}

/// 8-bit results.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes(pub(crate) Requant);

impl FinishDepthwise for Bytes {
    type Out = u8;
    #[inline(always)]
    unsafe fn finish<S: Simd>(self, sum: S::F, scale: *const f32, _bias: *const f32, out: *mut u8) {
        // SAFETY: the trait's contract.
        unsafe { store_requantized::<S>(self.0, S::mul(sum, S::load(scale)), out) }
    }
}

/// 8-bit results where sums are only exact without their bias: it is added as an integer, whose bits are those of the
/// late bias.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BiasedBytes(pub(crate) Requant);

impl FinishDepthwise for BiasedBytes {
    type Out = u8;
    #[inline(always)]
    unsafe fn finish<S: Simd>(self, sum: S::F, scale: *const f32, bias: *const f32, out: *mut u8) {
        // SAFETY: the trait's contract.
        unsafe {
            let sum = S::to_f32(S::add_i32(S::to_i32(sum), S::load_i32(bias.cast())));
            store_requantized::<S>(self.0, S::mul(sum, S::load(scale)), out);
        }
    }
}

/// f32 results of integers that were quantised at run time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rescaled {
    /// Scale of the activations.
    pub(crate) factor: f32,
    /// (sum · scale) · factor, as TFLite; else sum · (factor · scale), as ONNX graphs spell it.
    pub(crate) channel_first: bool,
    /// Range of the results.
    pub(crate) range: (f32, f32),
}

impl FinishDepthwise for Rescaled {
    type Out = f32;
    #[inline(always)]
    unsafe fn finish<S: Simd>(self, sum: S::F, scale: *const f32, bias: *const f32, out: *mut f32) {
        // SAFETY: the trait's contract.
        unsafe {
            let (factor, scale, bias) = (S::splat(self.factor), S::load(scale), S::load(bias));
            let product = if self.channel_first {
                S::mul(S::mul(sum, scale), factor)
            } else {
                S::mul(sum, S::mul(factor, scale))
            };
            Cut(self.range.0, self.range.1).finish::<S>(
                S::add(product, bias),
                std::ptr::null(),
                std::ptr::null(),
                out,
            );
        }
    }
}

/// Depthwise convolution of `x`, whose pixels have `padded` channels, to `y`, whose pixels have `channels`.
pub(crate) fn depthwise<E: FinishDepthwise>(
    tier: Tier,
    walk: &Walk,
    taps: &[usize],
    packed: &PackedDepthwise,
    finish: E,
    x: &[f32],
    y: &mut [E::Out],
) {
    assert!(taps.len() == packed.taps && packed.padded.is_multiple_of(tier.lanes()));
    if let Some(last) = walk.last() {
        let reach = taps.iter().max().map_or(0, |t| t + packed.padded);
        assert!(last + reach <= x.len() && walk.pixels() * packed.channels <= y.len());
        dispatch(tier, Depthwise { walk, taps, packed, finish, x, y });
    }
}

struct Depthwise<'a, E: FinishDepthwise> {
    walk: &'a Walk,
    taps: &'a [usize],
    packed: &'a PackedDepthwise,
    finish: E,
    x: &'a [f32],
    y: &'a mut [E::Out],
}

/// Neighbouring output pixels that share the weights in registers.
const PIXELS: usize = 4;

impl<E: FinishDepthwise> Kernel for Depthwise<'_, E> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Walk { counts: [images, rows, columns], strides } = *self.walk;
        let channels = self.packed.channels;
        for line in 0..images * rows {
            let start = line / rows * strides[0] + line % rows * strides[1];
            for column in (0..columns).step_by(PIXELS) {
                let pixel = line * columns + column;
                // SAFETY: all starts, taps and results were checked to lie inside by `depthwise`.
                unsafe {
                    let x = self.x.as_ptr().add(start + column * strides[2]);
                    let y = self.y.as_mut_ptr().add(pixel * channels);
                    match columns - column {
                        1 => self.pixels::<S, 1>(x, y),
                        2 => self.pixels::<S, 2>(x, y),
                        3 => self.pixels::<S, 3>(x, y),
                        _ => self.pixels::<S, PIXELS>(x, y),
                    }
                }
            }
        }
    }
}

impl<E: FinishDepthwise> Depthwise<'_, E> {
    /// All channels of `P` neighbouring pixels.
    #[inline(always)]
    unsafe fn pixels<S: Simd, const P: usize>(&self, x: *const f32, y: *mut E::Out) {
        let PackedDepthwise { padded, channels, .. } = *self.packed;
        let mut c = 0;
        // SAFETY: the contract of `run`.
        unsafe {
            while c + 2 * S::LANES <= channels {
                self.block::<S, P, 2>(x, y, c);
                c += 2 * S::LANES;
            }
            while c < padded {
                self.block::<S, P, 1>(x, y, c);
                c += S::LANES;
            }
        }
    }

    /// `V` vectors of channels from `c` on.
    #[inline(always)]
    unsafe fn block<S: Simd, const P: usize, const V: usize>(&self, x: *const f32, y: *mut E::Out, c: usize) {
        let PackedDepthwise { padded, channels, taps, .. } = *self.packed;
        let step = self.walk.strides[2];
        let weights = self.packed.data.elements::<f32>().as_ptr();
        // SAFETY: the contract of `run`; weights have `taps + 3` rows of `padded`.
        unsafe {
            let weights = weights.add(c);
            let x = x.add(c);
            let mut sums = [[S::splat(0.0); V]; P];
            for v in 0..V {
                let bias = S::load(weights.add(v * S::LANES));
                for sum in &mut sums {
                    sum[v] = bias;
                }
            }
            let mut w = weights.add(padded);
            for offset in self.taps {
                let x = x.add(*offset);
                for v in 0..V {
                    let weight = S::load(w.add(v * S::LANES));
                    for p in 0..P {
                        sums[p][v] = S::mul_add(S::load(x.add(p * step + v * S::LANES)), weight, sums[p][v]);
                    }
                }
                w = w.add(padded);
            }
            let scale = weights.add((taps + 1) * padded);
            let bias = scale.add(padded);
            if c + V * S::LANES <= channels {
                for p in 0..P {
                    for v in 0..V {
                        let (scale, bias) = (scale.add(v * S::LANES), bias.add(v * S::LANES));
                        let out = y.add(p * channels + c + v * S::LANES);
                        self.finish.finish::<S>(sums[p][v], scale, bias, out);
                    }
                }
                return;
            }
            let rest = channels - c;
            for p in 0..P {
                let mut results = [E::Out::default(); 2 * MAX_LANES];
                for v in 0..V {
                    let (scale, bias) = (scale.add(v * S::LANES), bias.add(v * S::LANES));
                    self.finish.finish::<S>(sums[p][v], scale, bias, results.as_mut_ptr().add(v * S::LANES));
                }
                copy_few(results.as_ptr(), y.add(p * channels + c), rest);
            }
        }
    }
}
