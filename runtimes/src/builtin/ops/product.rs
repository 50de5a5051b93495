//! What convolutions and fully connected layers come down to, type by type: packing, scratch memory, and
//! the step that runs. A fully connected layer is a 1 × 1 convolution over as many images as it has rows.

use super::conv2d::Dynamic;
use super::{Clamp, Prepare};
use crate::builtin::kernels::conv::{Layout, conv_f32, conv_i8};
use crate::builtin::kernels::dynamic::{Groups, Method};
use crate::builtin::kernels::gemm::{COLUMNS, Columns, PackedF32, PackedI8, ToBytes, ToF32};
use crate::builtin::kernels::memory::{self, ALIGN};
use crate::builtin::kernels::pixels::{Geometry, Less, Same, Spread, bordered};
use crate::builtin::kernels::quant::{Quantized, Requant};
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

    /// Bytes that the weights take when they are packed, heads of blocks included.
    fn packed_bytes(&self, element: usize) -> Result<usize> {
        let Geometry { kernel: [kh, kw], input: [.., c], .. } = self.geometry;
        let columns = (self.channels / self.groups).next_multiple_of(COLUMNS);
        let depth = kh * kw * (c / self.groups + 1) + 12;
        limits::bytes(&[self.groups, columns, depth], element)
    }

    fn layouts(&self) -> Vec<Layout> {
        let c = self.geometry.input[3];
        let length = c / self.groups;
        let columns = self.channels / self.groups;
        let layout = |group: usize| Layout {
            walk: self.geometry.walk(c),
            segments: self.geometry.segments(c, length),
            input_offset: group * length,
            output_offset: group * columns,
            stride: self.channels,
        };
        (0..self.groups).map(layout).collect()
    }

    fn float(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let weights = on.inputs[1].constant.map(Tensor::elements::<f32>).transpose()?.unwrap_or(&[]);
        let Some(bias) = Bias::of(on)?.reals(self.channels) else { return Ok(None) };
        let columns = self.channels / self.groups;
        let mut parts = Vec::new();
        for (g, layout) in self.layouts().into_iter().enumerate() {
            let depth = layout.segments.length * layout.segments.offsets.len();
            let weights = &weights[g * columns * depth..][..columns * depth];
            let packed = PackedF32::new(weights, Some(&bias[g * columns..][..columns]), columns, depth)?;
            parts.push((layout, packed));
        }
        let (geometry, tier, range) = (self.geometry, on.tier, (self.clamp.min, self.clamp.max));
        let c = geometry.input[3];
        let label = self.label(["conv2d.f32", "fully_connected.f32"]);
        if !geometry.has_border() {
            return Ok(Some(Step::map(label, move |x: &[f32], y: &mut [f32]| {
                parts.iter().for_each(|(layout, packed)| conv_f32(tier, layout, packed.view(), range, x, y));
            })));
        }
        let bytes = limits::bytes(&[geometry.bordered(c)?], 4)?;
        let step = Step::new(label, move |inputs, mut outputs, scratch| {
            let image = memory::elements_mut::<f32>(scratch).expect("scratch memory of whole elements");
            let spread = Spread::none(c);
            bordered(tier, &geometry, spread, inputs.get::<f32>(0), image, Same);
            let y = outputs.get(0);
            parts.iter().for_each(|(layout, packed)| conv_f32(tier, layout, packed.view(), range, image, y));
        });
        Ok(Some(step.with_scratch(bytes)))
    }

    /// Packs int8 weights group by group.
    fn pack(&self, weights: &Weights<'_>, of: Columns<'_>) -> Result<Vec<(Layout, PackedI8)>> {
        let columns = self.channels / self.groups;
        let mut parts = Vec::new();
        for (g, layout) in self.layouts().into_iter().enumerate() {
            let depth = layout.segments.length * layout.segments.offsets.len();
            let range = g * columns..(g + 1) * columns;
            let of = Columns {
                bias: of.bias.map(|b| &b[range.clone()]),
                scale: if of.scale.len() == 1 { of.scale } else { &of.scale[range.clone()] },
                bias_f32: of.bias_f32.map(|b| &b[range.clone()]),
            };
            let weights = &weights.values[g * columns * depth..][..columns * depth];
            parts.push((layout.clone(), PackedI8::new(weights, columns, &layout.segments, of)?));
        }
        Ok(parts)
    }

    /// Elements of the centred copy of the input: the image with border, and one to read beyond it.
    fn centred_elements(&self) -> Result<usize> {
        Ok(self.geometry.bordered(self.geometry.input[3])? + 1)
    }

    fn bytes<A: Quantized, B: Quantized>(&self, on: &Prepare<'_>, w: &Weights<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        let (Some((sx, zx)), Some((sy, zy))) = (x.per_tensor(), out.per_tensor()) else { return Ok(None) };
        let Some(bias) = Bias::of(on)?.i32s(self.channels) else { return Ok(None) };
        let scale = factors(sx, w.scale, sy);
        let parts = self.pack(w, Columns { bias: Some(&bias), scale: &scale, bias_f32: None })?;
        let (min, max) = self.clamp.quantized::<B>(sy, zy);
        let finish = ToBytes(Requant::new(min, max, zy));
        let (geometry, tier) = (self.geometry, on.tier);
        let elements = self.centred_elements()?;
        let label = self.label(["conv2d.i8", "fully_connected.i8"]);
        let step = Step::new(label, move |inputs, mut outputs, scratch| {
            let image = memory::elements_mut::<i16>(scratch).expect("scratch memory of whole elements");
            let spread = Spread::none(geometry.input[3]);
            bordered(tier, &geometry, spread, inputs.get::<A>(0), image, Less(zx));
            let y = outputs.bytes(0);
            parts.iter().for_each(|(layout, packed)| conv_i8(tier, layout, packed, finish, image, y));
        });
        Ok(Some(step.with_scratch(limits::bytes(&[elements], 2)?)))
    }

    fn hybrid(&self, on: &Prepare<'_>, w: &Weights<'_>) -> Result<Option<Step>> {
        let Some(bias) = Bias::of(on)?.reals(self.channels) else { return Ok(None) };
        let parts = self.pack(w, Columns { bias: None, scale: w.scale, bias_f32: Some(&bias) })?;
        let geometry = self.geometry;
        let (method, piece) = self.piece();
        let count = geometry.input.iter().product::<usize>() / piece.input.iter().product::<usize>().max(1);
        let rows = geometry.pixels() / count.max(1);
        let (tier, range) = (on.tier, (self.clamp.min, self.clamp.max));
        let elements = self.centred_elements()?;
        let factors_at = limits::bytes(&[elements], 2)?.next_multiple_of(ALIGN);
        let label = self.label(["conv2d.dynamic", "fully_connected.dynamic"]);
        let step = Step::new(label, move |inputs, mut outputs, scratch| {
            let (image, factors) = scratch.split_at_mut(factors_at);
            let image = memory::elements_mut::<i16>(&mut image[..elements * 2]).expect("whole elements");
            let scales = memory::elements_mut::<f32>(factors).expect("whole elements");
            let (x, spread) = (inputs.get(0), Spread::none(geometry.input[3]));
            Groups { piece: &piece, spread, method, x, y: &mut *image, scales: &mut *scales }.quantize(tier);
            let row_first = method == Method::Xnnpack;
            let finish = ToF32 { factors: scales, rows_per_factor: rows.max(1), row_first, range };
            let y = outputs.get(0);
            parts.iter().for_each(|(layout, packed)| conv_i8(tier, layout, packed, finish, image, y));
        });
        let scratch = limits::bytes(&[factors_at + count * 4], 1)?;
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
        let Some(bias) = Bias::of(on)?.i64s(self.channels).filter(|_| self.groups == 1) else {
            return Ok(None);
        };
        let rescale = WordScales::new(sx, w.scale, sy, self.channels, self.fully_connected);
        let (min, max) = self.clamp.words(sy);
        let layout = self.layouts().swap_remove(0);
        let (geometry, tier, channels, values) = (self.geometry, on.tier, self.channels, w.values);
        let elements = self.centred_elements()?;
        let label = self.label(["conv2d.i16", "fully_connected.i16"]);
        let step = Step::new(label, move |inputs, mut outputs, scratch| {
            let image = memory::elements_mut::<i16>(scratch).expect("scratch memory of whole elements");
            bordered(tier, &geometry, Spread::none(geometry.input[3]), inputs.get::<i16>(0), image, Same);
            let y = outputs.get::<i16>(0);
            let rows =
                WideRows { walk: &layout.walk, segments: &layout.segments, weights: &values, bias: &bias };
            rows.run(image, |row, column, sum| {
                y[row * channels + column] = rescale.apply(sum, column).clamp(min, max) as i16;
            });
        });
        Ok(Some(step.with_scratch(limits::bytes(&[elements], 2)?)))
    }

    fn label(&self, labels: [&'static str; 2]) -> &'static str {
        labels[usize::from(self.fully_connected)]
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
