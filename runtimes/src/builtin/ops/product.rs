//! What convolutions and fully connected layers come down to, type by type: packing, scratch memory, and
//! the step that runs. A fully connected layer is a 1 × 1 convolution over as many images as it has rows.

use super::conv2d::Dynamic;
use super::{Clamp, Prepare};
use crate::builtin::kernels::Tier;
use crate::builtin::kernels::conv::{Activation, Layout, Rows, Then, conv_f32, conv_i8};
use crate::builtin::kernels::dynamic::{Groups, Method};
use crate::builtin::kernels::gemm::{PackedF32, block_columns};
use crate::builtin::kernels::gemm_i8::{Columns, PackedI8, ToBytes, ToF32};
use crate::builtin::kernels::memory::{self, ALIGN, Element};
use crate::builtin::kernels::pixels::{Centred, Geometry, Same, Small, Spread, bordered};
use crate::builtin::kernels::quant::{Quantized, Requant};
use crate::builtin::kernels::simd::LANES;
use crate::builtin::kernels::strips::{MIN_WORK, Strip, Strips};
use crate::builtin::kernels::threads::Threads;
use crate::builtin::kernels::wide::{Multiplier, WideRows};
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};
use protocol::DType;

/// A convolution with everything but types.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    pub(crate) geometry: Geometry,
    pub(crate) groups: usize,
    pub(crate) channels: usize,
    pub(crate) clamp: Clamp,
    pub(crate) dynamic: Dynamic,
    pub(crate) fully_connected: bool,
    /// Kernels to use.
    pub(crate) tier: Tier,
}

/// What follows an f32 product of one group, before its range and after it.
#[derive(Clone, Debug, Default)]
pub(crate) struct After {
    /// The operand that is added.
    pub(crate) summand: Option<usize>,
    /// What is below zero is multiplied by, per channel; none where empty.
    pub(crate) slopes: Vec<f32>,
}

/// Constant weights: int8 around zero, with a scale for all or for each output channel.
pub(crate) struct Weights<'a> {
    pub(crate) values: Vec<i8>,
    pub(crate) scale: &'a [f32],
}

impl<'a> Weights<'a> {
    /// From operand 1; `None` unless it is int8 and fits int8 without its zero point.
    pub(crate) fn of(on: &Prepare<'a>, axis: u32) -> Result<Option<Self>> {
        let (fact, Some(tensor)) = (on.inputs[1].fact, on.inputs[1].constant) else { return Ok(None) };
        let Some(quant) = fact.quant.as_deref().filter(|_| fact.dtype == DType::I8) else { return Ok(None) };
        if quant.scale.len() > 1 && quant.axis != axis {
            return Ok(None);
        }
        let values = tensor.elements::<i8>()?;
        if quant.zero_point.iter().all(|z| *z == 0) {
            return Ok(Some(Self { values: values.to_vec(), scale: &quant.scale }));
        }
        let [zero] = quant.zero_point[..] else { return Ok(None) };
        let shifted: Option<Vec<i8>> =
            values.iter().map(|v| i8::try_from(i32::from(*v) - zero).ok()).collect();
        Ok(shifted.map(|values| Self { values, scale: &quant.scale }))
    }
}

/// A constant bias of i32 as it is; none is none.
pub(crate) enum Bias {
    /// There is none.
    None,
    /// Of sums.
    Integers(Vec<i64>),
    /// Of real results.
    Reals(Vec<f32>),
    /// Not constant, or of another type.
    Other,
}

impl Bias {
    /// From operand 2.
    pub(crate) fn of(on: &Prepare<'_>) -> Result<Self> {
        let Some(operand) = on.inputs.get(2) else { return Ok(Self::None) };
        let Some(tensor) = operand.constant else { return Ok(Self::Other) };
        Ok(match tensor.dtype() {
            DType::I32 | DType::I64 => Self::Integers(tensor.to_i64()?),
            DType::F32 => Self::Reals(tensor.elements::<f32>()?.to_vec()),
            _ => Self::Other,
        })
    }

    /// As i32, zeros for none.
    pub(crate) fn i32s(&self, channels: usize) -> Option<Vec<i32>> {
        match self {
            Self::None => Some(vec![0; channels]),
            Self::Integers(all) => all.iter().map(|b| i32::try_from(*b).ok()).collect(),
            _ => None,
        }
    }

    /// As i64, zeros for none.
    pub(crate) fn i64s(&self, channels: usize) -> Option<Vec<i64>> {
        match self {
            Self::None => Some(vec![0; channels]),
            Self::Integers(all) => Some(all.clone()),
            _ => None,
        }
    }

    /// As f32, zeros for none.
    pub(crate) fn reals(&self, channels: usize) -> Option<Vec<f32>> {
        match self {
            Self::None => Some(vec![0.0; channels]),
            Self::Reals(all) => Some(all.clone()),
            _ => None,
        }
    }
}

/// Factors from sums to results: input scale · weight scale / output scale, in f32.
pub(crate) fn factors(input: f32, weights: &[f32], output: f32) -> Vec<f32> {
    weights.iter().map(|w| input * w / output).collect()
}

impl Product {
    /// The step for the operands' types.
    pub(crate) fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, w, out) = (on.inputs[0].fact, on.inputs[1].fact, &on.outputs[0]);
        if on.inputs[1].constant.is_none() {
            return Err(Error::Unsupported("weights that are only known when the model runs".to_owned()));
        }
        let packed = self.packed_bytes(w.dtype.size())?;
        let weights = Weights::of(on, 0)?;
        let step = match (x.dtype, x.quant.is_some(), weights, out.dtype, out.quant.is_some()) {
            (DType::F32, false, None, DType::F32, false) if w.dtype == DType::F32 => {
                self.float(on, &After::default())?
            }
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

    /// Bytes that the weights take when they are packed, heads of blocks included.
    fn packed_bytes(&self, element: usize) -> Result<usize> {
        let Geometry { kernel: [kh, kw], input: [.., c], .. } = self.geometry;
        let columns = (self.channels / self.groups).next_multiple_of(block_columns(self.tier));
        let depth = kh * kw * (c / self.groups + 3) + 16;
        limits::bytes(&[self.groups, columns, depth], element)
    }

    fn layouts(&self) -> Vec<Layout> {
        let c = self.geometry.input[3];
        let length = c / self.groups;
        let columns = self.channels / self.groups;
        let layout = |group: usize| Layout {
            segments: self.geometry.segments(c, length),
            input_offset: group * length,
            output_offset: group * columns,
            stride: self.channels,
        };
        (0..self.groups).map(layout).collect()
    }

    /// The step for f32, with what follows it.
    pub(crate) fn prepare_f32(&self, on: &Prepare<'_>, after: &After) -> Result<Option<Step>> {
        let packed = self.packed_bytes(size_of::<f32>())?;
        Ok(self.float(on, after)?.map(|step| step.packed(packed)))
    }

    fn float(&self, on: &Prepare<'_>, after: &After) -> Result<Option<Step>> {
        let weights = on.inputs[1].constant.map(Tensor::elements::<f32>).transpose()?.unwrap_or(&[]);
        let Some(bias) = Bias::of(on)?.reals(self.channels) else { return Ok(None) };
        let columns = self.channels / self.groups;
        let tier = if columns <= LANES { self.tier.for_channels(columns) } else { self.tier };
        let mut parts = Vec::new();
        for (g, layout) in self.layouts().into_iter().enumerate() {
            let depth = layout.segments.length * layout.segments.offsets.len();
            let weights = &weights[g * columns * depth..][..columns * depth];
            let packed =
                PackedF32::new(tier, weights, Some(&bias[g * columns..][..columns]), columns, depth)?;
            parts.push((layout, packed));
        }
        let range = (self.clamp.min, self.clamp.max);
        let (channels, summand, mut slopes) = (self.channels, after.summand, after.slopes.clone());
        if !slopes.is_empty() {
            slopes.resize(columns.next_multiple_of(block_columns(tier)), 0.0);
        }
        let over = self.over(size_of::<f32>(), self.geometry.has_border(), on.threads);
        let bytes = over.scratch(1)?;
        let step = Step::new(
            self.label(["conv2d.f32", "fully_connected.f32"]),
            move |inputs, mut outputs, scratch| {
                let x = inputs.get::<f32>(0);
                let summand = summand.map(|operand| inputs.get::<f32>(operand));
                over.run(outputs.get::<f32>(0), scratch, |strip, threads, y, scratch| {
                    let from = over.from(strip, x);
                    let summand = summand.map(|s| &s[strip.first_pixel * channels..][..y.len()]);
                    let then = Then { range, summand, slopes: &slopes };
                    let image =
                        memory::elements_mut::<f32>(scratch).expect("scratch memory of whole elements");
                    let image = if over.copied {
                        bordered(tier, &strip.geometry, over.spread(), from, image, Same);
                        &*image
                    } else {
                        from
                    };
                    let rows = Rows { tier, threads, walk: &strip.walk };
                    parts
                        .iter()
                        .for_each(|(layout, packed)| conv_f32(rows, layout, packed.view(), then, image, y));
                });
            },
        );
        Ok(Some(step.with_scratch(bytes)))
    }

    /// How the product runs over strips of its image, of which a copy has elements of `size` bytes.
    fn over(&self, size: usize, copied: bool, threads: &Threads) -> Over {
        let Geometry { input: [.., c], kernel: [kh, kw], .. } = self.geometry;
        let work = self.channels * kh * kw * (c / self.groups);
        let strips = Strips::new(self.geometry, c, size, copied, work, threads);
        let mut over = Over::new(strips, threads, copied, size, [c, self.channels]);
        // Too few strips for all threads: then they share the columns, if there is enough to do.
        let few = over.strips.count() < threads.count();
        if few && self.geometry.pixels().saturating_mul(work) >= MIN_WORK {
            over.columns = std::mem::replace(&mut over.threads, Threads::one());
        }
        over
    }

    /// Packs int8 weights group by group.
    fn pack(&self, group: usize, weights: &Weights<'_>, of: Columns<'_>) -> Result<Vec<(Layout, PackedI8)>> {
        let columns = self.channels / self.groups;
        let mut parts = Vec::new();
        for (g, layout) in self.layouts().into_iter().enumerate() {
            let depth = layout.segments.length * layout.segments.offsets.len();
            let range = g * columns..(g + 1) * columns;
            let of = Columns {
                bias: of.bias.map(|b| &b[range.clone()]),
                scale: if of.scale.len() == 1 { of.scale } else { &of.scale[range.clone()] },
                bias_f32: of.bias_f32.map(|b| &b[range.clone()]),
                origin: of.origin,
            };
            let weights = &weights.values[g * columns * depth..][..columns * depth];
            parts.push((
                layout.clone(),
                PackedI8::new(self.tier, group, weights, columns, &layout.segments, of)?,
            ));
        }
        Ok(parts)
    }

    /// Elements of the copy of the input: the image with border, and those of a group to read beyond it.
    fn copied_elements(&self, group: usize) -> Result<usize> {
        Ok(self.geometry.bordered(self.geometry.input[3])? + group - 1)
    }

    fn bytes<A: Quantized, B: Quantized>(&self, on: &Prepare<'_>, w: &Weights<'_>) -> Result<Option<Step>> {
        if self.tier.bytes_at_once().is_some() {
            self.bytes_as::<A, B, u8>(on, w)
        } else {
            self.bytes_as::<A, B, i16>(on, w)
        }
    }

    fn bytes_as<A: Quantized, B: Quantized, U: Activation + Element>(
        &self,
        on: &Prepare<'_>,
        w: &Weights<'_>,
    ) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        let (Some((sx, zx)), Some((sy, zy))) = (x.per_tensor(), out.per_tensor()) else { return Ok(None) };
        let Some(bias) = Bias::of(on)?.i32s(self.channels) else { return Ok(None) };
        let scale = factors(sx, w.scale, sy);
        let origin = U::origin(zx, A::MIN);
        let of = Columns { bias: Some(&bias), scale: &scale, bias_f32: None, origin };
        let group = U::at_once(self.tier);
        let parts = self.pack(group, w, of)?;
        let (min, max) = self.clamp.quantized::<B>(sy, zy);
        let finish = ToBytes(Requant::new(min, max, zy));
        // Bytes that are read as they are need no copy.
        let whole = parts.iter().all(|(layout, _)| layout.segments.length.is_multiple_of(group));
        let copied = self.geometry.has_border() || !U::same(A::MIN) || !whole;
        let over = self.over(size_of::<U>(), copied, on.threads);
        let bytes = over.scratch(group)?;
        let tier = self.tier;
        let step = Step::new(
            self.label(["conv2d.i8", "fully_connected.i8"]),
            move |inputs, mut outputs, scratch| {
                let x = inputs.get::<A>(0);
                over.run(outputs.bytes(0), scratch, |strip, threads, y, scratch| {
                    let from = over.from(strip, x);
                    let image = memory::elements_mut::<U>(scratch).expect("scratch memory of whole elements");
                    let image = if over.copied {
                        bordered(tier, &strip.geometry, over.spread(), from, image, Centred(zx));
                        &*image
                    } else {
                        memory::elements::<U>(memory::as_bytes(from)).expect("bytes as they are")
                    };
                    let rows = Rows { tier, threads, walk: &strip.walk };
                    parts.iter().for_each(|(layout, packed)| conv_i8(rows, layout, packed, finish, image, y));
                });
            },
        );
        Ok(Some(step.with_scratch(bytes)))
    }

    fn hybrid(&self, on: &Prepare<'_>, w: &Weights<'_>) -> Result<Option<Step>> {
        if self.tier.bytes_at_once().is_some() {
            self.hybrid_as::<u8>(on, w)
        } else {
            self.hybrid_as::<i16>(on, w)
        }
    }

    fn hybrid_as<U: Activation + Element>(&self, on: &Prepare<'_>, w: &Weights<'_>) -> Result<Option<Step>> {
        let Some(bias) = Bias::of(on)?.reals(self.channels) else { return Ok(None) };
        let of = Columns { bias: None, scale: w.scale, bias_f32: Some(&bias), origin: 0 };
        let group = U::at_once(self.tier);
        let parts = self.pack(group, w, of)?;
        let geometry = self.geometry;
        let (method, piece) = self.piece();
        let count = geometry.input.iter().product::<usize>() / piece.input.iter().product::<usize>().max(1);
        let rows_per_factor = (geometry.pixels() / count.max(1)).max(1);
        let (tier, range) = (self.tier, (self.clamp.min, self.clamp.max));
        let (walk, threads) = (geometry.walk(geometry.input[3]), on.threads.clone());
        let work = self.channels.saturating_mul(geometry.kernel[0] * geometry.kernel[1] * geometry.input[3]);
        let threads =
            if geometry.pixels().saturating_mul(work) < MIN_WORK { Threads::one() } else { threads };
        let elements = self.copied_elements(group)?;
        let image_bytes = limits::bytes(&[elements], size_of::<U>())?;
        let factors_at = image_bytes.next_multiple_of(ALIGN);
        let label = self.label(["conv2d.dynamic", "fully_connected.dynamic"]);
        let step = Step::new(label, move |inputs, mut outputs, scratch| {
            let (image, rest) = scratch.split_at_mut(factors_at);
            let image = memory::elements_mut::<U>(&mut image[..image_bytes]).expect("whole elements");
            let (factors, origins) = rest.split_at_mut(count * 4);
            let factors = memory::elements_mut::<f32>(factors).expect("whole elements");
            let origins = memory::elements_mut::<i32>(origins).expect("whole elements");
            let origins = if tier.bytes_at_once().is_none() { &mut [] } else { origins };
            let (x, spread) = (inputs.get(0), Spread::none(geometry.input[3]));
            let (y, scales) = (&mut *image, &mut *factors);
            Groups { piece: &piece, spread, method, x, y, scales, origins: &mut *origins }.quantize(tier);
            let row_first = method == Method::Xnnpack;
            let finish = ToF32 { factors, origins, rows_per_factor, row_first, range };
            let (y, rows) = (outputs.get(0), Rows { tier, threads: &threads, walk: &walk });
            parts.iter().for_each(|(layout, packed)| conv_i8(rows, layout, packed, finish, image, y));
        });
        let scratch = limits::bytes(&[factors_at + count * 8], 1)?;
        Ok(Some(step.with_scratch(scratch)))
    }

    /// What shares a scale when activations are quantised at run time.
    fn piece(&self) -> (Method, Geometry) {
        let Geometry { input: [_, h, w, c], .. } = self.geometry;
        match self.dynamic {
            Dynamic::PerRow if self.geometry.pointwise() => {
                (Method::Xnnpack, Geometry { input: [1, 1, 1, c], ..self.geometry })
            }
            Dynamic::PerRow => (Method::Xnnpack, Geometry { input: [1, h, w, c], ..self.geometry }),
            Dynamic::PerTensorU8 => (Method::Onnx, self.geometry),
        }
    }

    fn words(&self, on: &Prepare<'_>, w: Weights<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        let (Some((sx, 0)), Some((sy, 0))) = (x.per_tensor(), out.per_tensor()) else { return Ok(None) };
        let Some(bias) = Bias::of(on)?.i64s(self.channels) else { return Ok(None) };
        let rescale = WordScales::new(sx, w.scale, sy, self.channels, self.fully_connected);
        let (min, max) = self.clamp.words(sy);
        let (layouts, columns) = (self.layouts(), self.channels / self.groups);
        let walk = self.geometry.walk(self.geometry.input[3]);
        let (geometry, tier, channels, values) = (self.geometry, self.tier, self.channels, w.values);
        let elements = self.copied_elements(i16::at_once(self.tier))?;
        let label = self.label(["conv2d.i16", "fully_connected.i16"]);
        let step = Step::new(label, move |inputs, mut outputs, scratch| {
            let image = memory::elements_mut::<i16>(scratch).expect("scratch memory of whole elements");
            bordered(tier, &geometry, Spread::none(geometry.input[3]), inputs.get::<i16>(0), image, Same);
            let y = outputs.get::<i16>(0);
            for (g, Layout { segments, input_offset, .. }) in layouts.iter().enumerate() {
                let depth = columns * segments.length * segments.offsets.len();
                let (weights, bias) = (&values[g * depth..][..depth], &bias[g * columns..][..columns]);
                let rows = WideRows { walk: &walk, segments, weights, bias };
                rows.run(&image[*input_offset..], |row, column, sum| {
                    let column = g * columns + column;
                    y[row * channels + column] = rescale.apply(sum, column).clamp(min, max) as i16;
                });
            }
        });
        Ok(Some(step.with_scratch(limits::bytes(&[elements], 2)?)))
    }

    fn label(&self, labels: [&'static str; 2]) -> &'static str {
        labels[usize::from(self.fully_connected)]
    }
}

/// A step over strips.
#[derive(Clone, Debug)]
pub(crate) struct Over {
    strips: Strips,
    /// The strip, when there is one.
    only: Option<Strip>,
    /// Threads that share the strips.
    threads: Threads,
    /// Threads that share the columns of a strip.
    columns: Threads,
    /// Strips are copied, to elements of `size` bytes.
    copied: bool,
    size: usize,
    /// Channels.
    inputs: usize,
    outputs: usize,
}

impl Over {
    /// Over strips that `threads` share, with channels of the operand and of the result.
    pub(crate) fn new(
        strips: Strips,
        threads: &Threads,
        copied: bool,
        size: usize,
        [inputs, outputs]: [usize; 2],
    ) -> Self {
        let only = (strips.count() == 1).then(|| strips.strip(0));
        let (threads, columns) = (threads.clone(), Threads::one());
        Self { strips, only, threads, columns, copied, size, inputs, outputs }
    }

    /// Bytes of scratch memory for all threads, each with `group` − 1 elements beyond its copy.
    pub(crate) fn scratch(&self, group: usize) -> Result<usize> {
        if !self.copied {
            return Ok(0);
        }
        let one =
            limits::bytes(&[self.strips.copy_elements()? + group - 1], self.size)?.next_multiple_of(ALIGN);
        limits::bytes(&[one, self.threads.count()], 1)
    }

    fn spread(&self) -> Spread {
        Spread::none(self.inputs)
    }

    /// The operand from a strip's first line on.
    pub(crate) fn from<'x, T>(&self, strip: &Strip, x: &'x [T]) -> &'x [T] {
        &x[strip.first_line * strip.geometry.input[2] * self.inputs..]
    }

    /// Does all strips: `work` with the threads that share its columns, its results and scratch memory.
    pub(crate) fn run<T: Send>(
        &self,
        y: &mut [T],
        scratch: &mut [u8],
        work: impl Fn(&Strip, &Threads, &mut [T], &mut [u8]) + Sync,
    ) {
        if let Some(strip) = &self.only {
            return work(strip, &self.columns, y, scratch);
        }
        let bounds = |part: usize| {
            let pixels = self.strips.pixels(part);
            pixels.start * self.outputs..pixels.end * self.outputs
        };
        self.threads.split(self.strips.count(), y, scratch, bounds, |part, y, scratch| {
            work(&self.strips.strip(part), &self.columns, y, scratch);
        });
    }
}

/// From 64-bit sums to int16, as TFLite's reference kernels do it.
pub(crate) enum WordScales {
    /// Convolutions: fixed point.
    Fixed(Vec<Multiplier>),
    /// Fully connected layers: f64.
    Reals(Vec<f64>),
}

impl WordScales {
    pub(crate) fn new(x: f32, w: &[f32], y: f32, channels: usize, fully_connected: bool) -> Self {
        let real = |c: usize| {
            let w = w[if w.len() == 1 { 0 } else { c }];
            f64::from(x) * f64::from(w) / f64::from(y)
        };
        let reals = (0..channels).map(real);
        if fully_connected {
            Self::Reals(reals.collect())
        } else {
            Self::Fixed(reals.map(Multiplier::new).collect())
        }
    }

    pub(crate) fn apply(&self, sum: i64, channel: usize) -> i32 {
        match self {
            Self::Fixed(all) => all[channel].sixteen_bits(sum),
            Self::Reals(all) => (sum as f64 * all[channel]).round() as i32,
        }
    }
}
