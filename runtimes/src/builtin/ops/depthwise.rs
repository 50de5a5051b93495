//! What depthwise convolutions come down to, type by type.

use super::conv2d::Dynamic;
use super::product::{Bias, Over, Weights, WordScales, factors};
use super::{Clamp, Prepare};
use crate::builtin::kernels::Tier;
use crate::builtin::kernels::depthwise::{
    BiasedBytes, Bytes, Cut, FinishDepthwise, PackedDepthwise, Rescaled, depthwise,
};
use crate::builtin::kernels::dynamic::{Groups, Method};
use crate::builtin::kernels::memory::{self, ALIGN};
use crate::builtin::kernels::pixels::{Centred, Geometry, Same, Spread, bordered};
use crate::builtin::kernels::quant::{Quantized, Requant};
use crate::builtin::kernels::strips::Strips;
use crate::builtin::kernels::threads::Threads;
use crate::builtin::kernels::wide::WideDepthwise;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};
use protocol::DType;

/// Multiplications of a product that take as long as one here, where nothing is read twice.
const COST: usize = 4;

/// A depthwise convolution with everything but types.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depthwise {
    pub(crate) geometry: Geometry,
    /// Output channels.
    pub(crate) channels: usize,
    pub(crate) clamp: Clamp,
    pub(crate) dynamic: Dynamic,
    /// Kernels to use.
    pub(crate) tier: Tier,
}

impl Depthwise {
    /// The step for the operands' types.
    pub(crate) fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, w, out) = (on.inputs[0].fact, on.inputs[1].fact, &on.outputs[0]);
        if on.inputs[1].constant.is_none() {
            return Err(Error::Unsupported("weights that are only known when the model runs".to_owned()));
        }
        let [kh, kw] = self.geometry.kernel;
        let padded = self.channels.next_multiple_of(self.tier.lanes());
        let packed = limits::bytes(&[kh * kw + 3, padded], size_of::<f32>())?;
        let weights =
            Weights::of(on, 3)?.map(|w| Weights { values: self.geometry.by_columns(&w.values), ..w });
        let step = match (x.dtype, x.quant.is_some(), weights, out.dtype, out.quant.is_some()) {
            (DType::F32, false, None, DType::F32, false) if w.dtype == DType::F32 => self.float(on)?,
            (DType::F32, false, Some(w), DType::F32, false) => self.hybrid(on, &w)?,
            (DType::I8, true, Some(w), DType::I8, true) => self.bytes::<i8, i8>(on, &w)?,
            (DType::U8, true, Some(w), DType::U8, true) => self.bytes::<u8, u8>(on, &w)?,
            (DType::I8, true, Some(w), DType::U8, true) => self.bytes::<i8, u8>(on, &w)?,
            (DType::U8, true, Some(w), DType::I8, true) => self.bytes::<u8, i8>(on, &w)?,
            (DType::I16, true, Some(w), DType::I16, true) => self.words(on, w)?,
            _ => None,
        };
        Ok(step.map(|step| step.packed(packed)))
    }

    fn spread(&self) -> Spread {
        let channels = self.geometry.input[3];
        let padded = self.channels.next_multiple_of(self.tier.lanes());
        Spread { channels, multiplier: self.channels / channels.max(1), padded }
    }

    fn float(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let weights = on.inputs[1].constant.map(Tensor::elements::<f32>).transpose()?.unwrap_or(&[]);
        let Some(bias) = Bias::of(on)?.reals(self.channels) else { return Ok(None) };
        let packed = PackedDepthwise::new(
            self.tier,
            &self.geometry.by_columns(weights),
            &bias,
            &[],
            &[],
            self.channels,
        )?;
        let (spread, tier) = (self.spread(), self.tier);
        let copied = self.geometry.has_border() || spread.padded != spread.channels;
        let cut = Cut(self.clamp.min, self.clamp.max);
        let over = self.over(copied, on.threads);
        let (bytes, taps) = (over.scratch(1)?, self.geometry.taps(spread.padded));
        let step = Step::new("depthwise_conv2d.f32", move |inputs, mut outputs, scratch| {
            let x = inputs.get::<f32>(0);
            over.run(outputs.get::<f32>(0), scratch, |strip, _, y, scratch| {
                let from = over.from(strip, x);
                let image = memory::elements_mut::<f32>(scratch).expect("scratch memory of whole elements");
                let image = if copied {
                    bordered(tier, &strip.geometry, spread, from, image, Same);
                    &*image
                } else {
                    from
                };
                depthwise(tier, &strip.walk, &taps, &packed, cut, image, y);
            });
        });
        Ok(Some(step.with_scratch(bytes)))
    }

    /// How it runs over strips of its image, of which a copy has f32.
    fn over(&self, copied: bool, threads: &Threads) -> Over {
        let Geometry { kernel: [kh, kw], input: [.., c], .. } = self.geometry;
        let (spread, work) = (self.spread(), self.channels * kh * kw * COST);
        let strips = Strips::new(self.geometry, spread.padded, size_of::<f32>(), copied, work, threads);
        Over::new(strips, threads, copied, size_of::<f32>(), [c, self.channels])
    }

    fn bytes<A: Quantized, B: Quantized>(&self, on: &Prepare<'_>, w: &Weights<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        let (Some((sx, zx)), Some((sy, zy))) = (x.per_tensor(), out.per_tensor()) else { return Ok(None) };
        let Some(bias) = Bias::of(on)?.i32s(self.channels) else { return Ok(None) };
        let scale = factors(sx, w.scale, sy);
        let (min, max) = self.clamp.quantized::<B>(sy, zy);
        let requant = Requant::new(min, max, zy);
        // Elements less their zero point are at most 255 in magnitude.
        let exact = |bias: &[i32]| PackedDepthwise::exact(&w.values, bias, self.channels, 255);
        let reals: Vec<f32> = w.values.iter().map(|w| f32::from(*w)).collect();
        if exact(&bias) {
            let bias: Vec<f32> = bias.iter().map(|b| *b as f32).collect();
            let packed = PackedDepthwise::new(self.tier, &reals, &bias, &scale, &[], self.channels)?;
            return self.sums::<A, _>(packed, zx, Bytes(requant), on.threads).map(Some);
        }
        if exact(&[]) {
            let bits: Vec<f32> = bias.iter().map(|b| f32::from_bits(b.cast_unsigned())).collect();
            let packed = PackedDepthwise::new(self.tier, &reals, &[], &scale, &bits, self.channels)?;
            return self.sums::<A, _>(packed, zx, BiasedBytes(requant), on.threads).map(Some);
        }
        self.wide_bytes::<A, B>(w, &bias, scale, zx, requant, self.tier).map(Some)
    }

    /// Integers that f32 adds exactly.
    fn sums<A: Quantized, E: FinishDepthwise<Out = u8> + Send + Sync + 'static>(
        &self,
        packed: PackedDepthwise,
        zero: i32,
        finish: E,
        threads: &Threads,
    ) -> Result<Step> {
        let (spread, tier, over) = (self.spread(), self.tier, self.over(true, threads));
        let (bytes, taps) = (over.scratch(1)?, self.geometry.taps(spread.padded));
        let step = Step::new("depthwise_conv2d.i8", move |inputs, mut outputs, scratch| {
            let x = inputs.get::<A>(0);
            over.run(outputs.bytes(0), scratch, |strip, _, y, scratch| {
                let image = memory::elements_mut::<f32>(scratch).expect("scratch memory of whole elements");
                bordered(tier, &strip.geometry, spread, over.from(strip, x), image, Centred(zero));
                depthwise(tier, &strip.walk, &taps, &packed, finish, image, y);
            });
        });
        Ok(step.with_scratch(bytes))
    }

    /// For weights so large that f32 sums would not be exact.
    fn wide_bytes<A: Quantized, B: Quantized>(
        &self,
        w: &Weights<'_>,
        bias: &[i32],
        scale: Vec<f32>,
        zero: i32,
        requant: Requant,
        tier: Tier,
    ) -> Result<Step> {
        let bias: Vec<i64> = bias.iter().map(|b| i64::from(*b)).collect();
        let channels = self.channels;
        let run = self.wide(w.values.clone(), bias)?;
        let (geometry, spread) = (self.geometry, self.spread());
        let bytes = limits::bytes(&[geometry.bordered(spread.padded)?], 2)?;
        let step = Step::new("depthwise_conv2d.i8.wide", move |inputs, mut outputs, scratch| {
            let image = memory::elements_mut::<i16>(scratch).expect("scratch memory of whole elements");
            bordered(tier, &geometry, spread, inputs.get::<A>(0), image, Centred(zero));
            let y = outputs.get::<B>(0);
            run(image, &mut |pixel, channel, sum| {
                let scale = scale[if scale.len() == 1 { 0 } else { channel }];
                y[pixel * channels + channel] = B::narrow(requant.apply(sum as i32 as f32 * scale));
            });
        });
        Ok(step.with_scratch(bytes))
    }

    fn words(&self, on: &Prepare<'_>, w: Weights<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        let (Some((sx, 0)), Some((sy, 0))) = (x.per_tensor(), out.per_tensor()) else { return Ok(None) };
        let Some(bias) = Bias::of(on)?.i64s(self.channels) else { return Ok(None) };
        let rescale = WordScales::new(sx, w.scale, sy, self.channels, false);
        let (min, max) = self.clamp.words(sy);
        let channels = self.channels;
        let run = self.wide(w.values, bias)?;
        let (geometry, spread, tier) = (self.geometry, self.spread(), self.tier);
        let bytes = limits::bytes(&[geometry.bordered(spread.padded)?], 2)?;
        let step = Step::new("depthwise_conv2d.i16", move |inputs, mut outputs, scratch| {
            let image = memory::elements_mut::<i16>(scratch).expect("scratch memory of whole elements");
            bordered(tier, &geometry, spread, inputs.get::<i16>(0), image, Same);
            let y = outputs.get::<i16>(0);
            run(image, &mut |pixel, channel, sum| {
                y[pixel * channels + channel] = rescale.apply(sum, channel).clamp(min, max) as i16;
            });
        });
        Ok(Some(step.with_scratch(bytes)))
    }

    #[expect(clippy::type_complexity, reason = "a closure that takes a closure")]
    fn wide(
        &self,
        weights: Vec<i8>,
        bias: Vec<i64>,
    ) -> Result<impl Fn(&[i16], &mut dyn FnMut(usize, usize, i64)) + use<>> {
        let (geometry, spread, channels) = (self.geometry, self.spread(), self.channels);
        let (walk, taps) = (geometry.image_walk(spread.padded), geometry.taps(spread.padded));
        Ok(move |image: &[i16], put: &mut dyn FnMut(usize, usize, i64)| {
            WideDepthwise { walk: &walk, taps: &taps, weights: &weights, bias: &bias, channels }
                .run(image, put);
        })
    }

    fn hybrid(&self, on: &Prepare<'_>, w: &Weights<'_>) -> Result<Option<Step>> {
        let Some(bias) = Bias::of(on)?.reals(self.channels) else { return Ok(None) };
        if !PackedDepthwise::exact(&w.values, &[], self.channels, 255) {
            return Err(Error::Unsupported("a dynamic depthwise convolution of that many taps".to_owned()));
        }
        let [n, h, wide, c] = self.geometry.input;
        let (method, count) = match self.dynamic {
            Dynamic::PerRow => (Method::Tflite, n),
            Dynamic::PerTensorU8 => (Method::Onnx, 1),
        };
        let piece = Geometry { input: [n / count.max(1), h, wide, c], ..self.geometry };
        let reals: Vec<f32> = w.values.iter().map(|w| f32::from(*w)).collect();
        let packed = PackedDepthwise::new(self.tier, &reals, &[], w.scale, &bias, self.channels)?;
        let (spread, tier, channels) = (self.spread(), self.tier, self.channels);
        let (walk, taps) = (piece.image_walk(spread.padded), piece.taps(spread.padded));
        let range = (self.clamp.min, self.clamp.max);
        let elements = self.geometry.bordered(spread.padded)?;
        let scales_at = limits::bytes(&[elements], 4)?.next_multiple_of(ALIGN);
        let step = Step::new("depthwise_conv2d.dynamic", move |inputs, mut outputs, scratch| {
            let (image, scales) = scratch.split_at_mut(scales_at);
            let image = memory::elements_mut::<f32>(&mut image[..elements * 4]).expect("whole elements");
            let scales = memory::elements_mut::<f32>(scales).expect("whole elements");
            let x = inputs.get(0);
            Groups {
                piece: &piece,
                spread,
                method,
                x,
                y: &mut *image,
                scales: &mut *scales,
                origins: &mut [],
            }
            .quantize(tier);
            let y = outputs.get(0);
            let (from, to) = (image.len() / scales.len().max(1), piece.pixels() * channels);
            for (i, factor) in scales.iter().enumerate() {
                let finish = Rescaled { factor: *factor, channel_first: method == Method::Tflite, range };
                let (x, y) = (&image[i * from..][..from], &mut y[i * to..][..to]);
                depthwise(tier, &walk, &taps, &packed, finish, x, y);
            }
        });
        Ok(Some(step.with_scratch(limits::bytes(&[scales_at + count * 4], 1)?)))
    }
}
