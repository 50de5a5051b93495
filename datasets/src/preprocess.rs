//! From a decoded example to what the model is fed: resize or features first, then numbers, then layout.
//! One fixed order, so that a definition only says which steps there are. All arithmetic is f32 and
//! element by element, as numpy does it with `float32` arrays.

use crate::{DataError, LogMel, Resize, dataset::Encoded};
use protocol::DType;
use serde::Deserialize;

/// The `[dataset.preprocess]` table. Steps run in the order of the fields; an absent one changes nothing.
/// Without `log_mel`, `scale`, `offset`, `mean` and `std` the elements keep their type.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Images only: to one size.
    pub resize: Option<Resize>,
    /// Recordings only: to log-mel features.
    pub log_mel: Option<LogMel>,
    /// Multiplies,
    pub scale: Option<f64>,
    /// then adds,
    pub offset: Option<f64>,
    /// then subtracts,
    pub mean: Option<PerChannel>,
    /// then divides.
    pub std: Option<PerChannel>,
    /// Order of the dimensions of an image.
    #[serde(default)]
    pub layout: Layout,
}

/// One number, or one for each channel (the last dimension before `layout`).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected a number, or a list with one number for each channel")]
pub enum PerChannel {
    /// The same for all.
    One(f64),
    /// One each.
    Each(Vec<f64>),
}

/// Order of dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Height, width, channels: as TFLite models take it.
    #[default]
    Nhwc,
    /// Channels, height, width: as ONNX models exported from PyTorch take it.
    Nchw,
}

/// A decoded example.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decoded {
    pub(crate) shape: Vec<u64>,
    pub(crate) values: Values,
}

/// Elements in whatever type they were stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    F32(Vec<f32>),
    /// Little-endian.
    Raw(DType, Vec<u8>),
}

impl PerChannel {
    fn all(&self) -> &[f64] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Each(values) => values,
        }
    }

    fn check(&self, key: &str) -> Result<(), DataError> {
        let values = self.all();
        if values.is_empty() || values.iter().any(|v| !(*v as f32).is_finite()) {
            return Err(DataError::new(key, "must be a finite number, or one for each channel"));
        }
        Ok(())
    }
}

impl Preprocess {
    /// All checks that need no example.
    pub(crate) fn check(&self, images: bool, audio: bool) -> Result<(), DataError> {
        match (&self.resize, &self.log_mel) {
            (Some(_), _) if !images => {
                return Err(DataError::new("dataset.preprocess.resize", "works on [dataset.images] only"));
            }
            (_, Some(_)) if !audio => {
                return Err(DataError::new("dataset.preprocess.log_mel", "works on [dataset.audio] only"));
            }
            (Some(resize), _) => resize.check()?,
            (_, Some(log_mel)) => log_mel.check()?,
            (None, None) => {}
        }
        for (key, value) in [("scale", self.scale), ("offset", self.offset)] {
            if value.is_some_and(|v| !(v as f32).is_finite()) {
                return Err(DataError::new(
                    format_args!("dataset.preprocess.{key}"),
                    "must be a finite number",
                ));
            }
        }
        for (key, value) in [("mean", &self.mean), ("std", &self.std)] {
            if let Some(value) = value {
                value.check(&format!("dataset.preprocess.{key}"))?;
            }
        }
        if self.std.as_ref().is_some_and(|s| s.all().iter().any(|v| *v as f32 == 0.0)) {
            return Err(DataError::new("dataset.preprocess.std", "is 0, and nothing can be divided by that"));
        }
        Ok(())
    }

    fn computes(&self) -> bool {
        self.scale.is_some() || self.offset.is_some() || self.mean.is_some() || self.std.is_some()
    }

    /// The steps after `resize` and `log_mel`. The error is the problem alone; the caller knows the place.
    pub(crate) fn finish(&self, example: Decoded) -> Result<Encoded, String> {
        let values = match example.values {
            Values::F32(values) => Values::F32(values),
            Values::Raw(dtype, bytes) if self.computes() => Values::F32(to_f32(dtype, &bytes)),
            raw @ Values::Raw(..) => raw,
        };
        let (dtype, bytes) = match values {
            Values::F32(mut values) => {
                finite(&values)?;
                self.compute(&mut values, example.shape.last().copied().unwrap_or(1))?;
                finite(&values).map_err(|p| format!("{p} after scale, offset, mean and std"))?;
                (DType::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect())
            }
            Values::Raw(dtype, bytes) => {
                if matches!(dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64) {
                    finite(&to_f32(dtype, &bytes))?;
                }
                (dtype, bytes)
            }
        };
        match self.layout {
            Layout::Nhwc => Ok(Encoded { dtype, shape: example.shape, bytes }),
            Layout::Nchw => channels_first(dtype, &example.shape, &bytes),
        }
    }

    fn compute(&self, values: &mut [f32], channels: u64) -> Result<(), String> {
        if let Some(scale) = self.scale {
            values.iter_mut().for_each(|v| *v *= scale as f32);
        }
        if let Some(offset) = self.offset {
            values.iter_mut().for_each(|v| *v += offset as f32);
        }
        per_channel(values, self.mean.as_ref(), channels, "mean", |v, mean| v - mean)?;
        per_channel(values, self.std.as_ref(), channels, "std", |v, std| v / std)
    }
}

fn per_channel(
    values: &mut [f32],
    by: Option<&PerChannel>,
    channels: u64,
    key: &str,
    apply: impl Fn(f32, f32) -> f32,
) -> Result<(), String> {
    let Some(by) = by else { return Ok(()) };
    let by = by.all();
    if by.len() != 1 && by.len() as u64 != channels {
        return Err(format!(
            "has {channels} channels, and {key} has {} numbers: give one, or one each",
            by.len()
        ));
    }
    for (value, by) in values.iter_mut().zip(by.iter().cycle()) {
        *value = apply(*value, *by as f32);
    }
    Ok(())
}

fn finite(values: &[f32]) -> Result<(), String> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(at) => Err(format!("element {at} is not a finite number: remove or repair this example")),
        None => Ok(()),
    }
}

/// `[h, w, c]` to `[c, h, w]`.
fn channels_first(dtype: DType, shape: &[u64], bytes: &[u8]) -> Result<Encoded, String> {
    let &[height, width, channels] = shape else {
        let rank = shape.len();
        return Err(format!(
            "layout = \"nchw\" needs height, width and channels, and here are {rank} dimensions"
        ));
    };
    let size = dtype.size();
    let pixel = channels as usize * size;
    let mut moved = Vec::with_capacity(bytes.len());
    for channel in 0..channels as usize {
        let elements =
            bytes.chunks_exact(pixel.max(1)).filter_map(|p| p.get(channel * size..(channel + 1) * size));
        elements.for_each(|element| moved.extend_from_slice(element));
    }
    Ok(Encoded { dtype, shape: vec![channels, height, width], bytes: moved })
}

/// Elements as f32; integers beyond 2^24 and f64 are rounded.
pub(crate) fn to_f32(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    macro_rules! each {
        ($n:literal, $convert:expr) => {
            bytes.as_chunks::<$n>().0.iter().map(|b| $convert(*b)).collect()
        };
    }
    match dtype {
        DType::F32 => each!(4, f32::from_le_bytes),
        DType::F64 => each!(8, |b| f64::from_le_bytes(b) as f32),
        DType::F16 => each!(2, |b| half::f16::from_le_bytes(b).to_f32()),
        DType::BF16 => each!(2, |b| half::bf16::from_le_bytes(b).to_f32()),
        DType::I8 => each!(1, |b| f32::from(i8::from_le_bytes(b))),
        DType::U8 | DType::Bool => each!(1, |b: [u8; 1]| f32::from(b[0])),
        DType::I16 => each!(2, |b| f32::from(i16::from_le_bytes(b))),
        DType::U16 => each!(2, |b| f32::from(u16::from_le_bytes(b))),
        DType::I32 => each!(4, |b| i32::from_le_bytes(b) as f32),
        DType::U32 => each!(4, |b| u32::from_le_bytes(b) as f32),
        DType::I64 => each!(8, |b| i64::from_le_bytes(b) as f32),
        DType::U64 => each!(8, |b| u64::from_le_bytes(b) as f32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn image(values: &[u8], shape: &[u64]) -> Decoded {
        Decoded { shape: shape.to_vec(), values: Values::Raw(DType::U8, values.to_vec()) }
    }

    #[test]
    fn without_steps_the_elements_stay_as_they_are() {
        let encoded = Preprocess::default().finish(image(&[0, 7, 255], &[3])).unwrap();
        assert_eq!((encoded.dtype, encoded.bytes), (DType::U8, vec![0, 7, 255]));
    }

    #[test]
    fn scale_offset_mean_and_std_in_this_order() {
        let steps = Preprocess {
            scale: Some(2.0),
            offset: Some(1.0),
            mean: Some(PerChannel::Each(vec![1.0, 3.0])),
            std: Some(PerChannel::One(2.0)),
            ..Preprocess::default()
        };
        let encoded = steps.finish(image(&[1, 2, 3, 4], &[2, 1, 2])).unwrap();
        assert_eq!((encoded.dtype, encoded.bytes), (DType::F32, bytes_of(&[1.0, 1.0, 3.0, 3.0])));
        let error = steps.finish(image(&[1, 2, 3], &[1, 1, 3])).unwrap_err();
        assert!(error.contains("has 3 channels, and mean has 2 numbers"), "{error}");
    }

    #[test]
    fn channels_move_to_the_front() {
        let steps = Preprocess { layout: Layout::Nchw, ..Preprocess::default() };
        let encoded = steps.finish(image(&[1, 10, 2, 20, 3, 30], &[1, 3, 2])).unwrap();
        assert_eq!((encoded.shape, encoded.bytes), (vec![2, 1, 3], vec![1, 2, 3, 10, 20, 30]));
        assert!(steps.finish(image(&[1, 2], &[2])).unwrap_err().contains("1 dimensions"));
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        let example = |v: f32| Decoded { shape: vec![1], values: Values::Raw(DType::F32, bytes_of(&[v])) };
        assert!(
            Preprocess::default()
                .finish(example(f32::NAN))
                .unwrap_err()
                .contains("element 0 is not a finite")
        );
        let steps = Preprocess { scale: Some(10.0), ..Preprocess::default() };
        assert!(steps.finish(example(3e38)).unwrap_err().contains("after scale"));
    }

    #[test]
    fn hopeless_numbers_are_refused_early() {
        let check = |steps: Preprocess| steps.check(false, false).unwrap_err().to_string();
        let std = check(Preprocess { std: Some(PerChannel::Each(vec![1.0, 0.0])), ..Preprocess::default() });
        assert!(std.contains("dataset.preprocess.std: is 0"), "{std}");
        let scale = check(Preprocess { scale: Some(f64::INFINITY), ..Preprocess::default() });
        assert!(scale.contains("dataset.preprocess.scale"), "{scale}");
        let mean = check(Preprocess { mean: Some(PerChannel::Each(vec![])), ..Preprocess::default() });
        assert!(mean.contains("dataset.preprocess.mean"), "{mean}");
    }

    #[test]
    fn every_type_converts() {
        assert_eq!(to_f32(DType::I8, &[0x80, 0x7f]), [-128.0, 127.0]);
        assert_eq!(to_f32(DType::F16, &[0x00, 0x3c]), [1.0]);
        assert_eq!(to_f32(DType::BF16, &[0x80, 0x3f]), [1.0]);
        assert_eq!(to_f32(DType::I64, &(-3i64).to_le_bytes()), [-3.0]);
        assert_eq!(to_f32(DType::F64, &0.5f64.to_le_bytes()), [0.5]);
    }
}
