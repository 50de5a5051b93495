//! Numbers from the type of an input file to the type of a model's input, and from a model's output to
//! f32. Pure; little-endian bytes in and out.

use half::{bf16, f16};
use protocol::{DType, Quantization, TensorInfo};

/// Appends `bytes` of type `source` to `out` as elements of `target`.
///
/// The same type is copied. `f32` becomes the input's quantised type by its own scale and zero point:
/// `round_half_even(x / scale) + zero_point`, clamped to the type; NaN counts as 0. `f32` becomes another
/// float type by rounding to nearest. Integers become other integers when each value fits.
///
/// # Errors
/// The types do not go together, or a value does not fit; in words for people.
pub(crate) fn to_input(
    source: DType,
    bytes: &[u8],
    target: &TensorInfo,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    if source == target.dtype {
        out.extend_from_slice(bytes);
        return Ok(());
    }
    match (source, target.dtype, &target.quantization) {
        (DType::F32, _, Some(quantization)) => quantize(bytes, target.dtype, quantization, out),
        (DType::F32, DType::F64 | DType::F16 | DType::BF16, None) => {
            narrow(bytes, target.dtype, out);
            Ok(())
        }
        (_, _, None) if is_integer(source) && is_integer(target.dtype) => {
            cast_integers(source, bytes, target.dtype, out)
        }
        (_, wanted, quantization) => {
            let wanted =
                if quantization.is_some() { format!("quantised {wanted}") } else { wanted.to_string() };
            let own =
                if target.dtype == DType::F32 { String::new() } else { format!(" or {}", target.dtype) };
            Err(format!(
                "{source} values cannot become {wanted}; give f32{own} values: save them so, or scale them in a \
                 suite's [dataset.preprocess]"
            ))
        }
    }
}

/// Appends the elements of an output as f32.
///
/// # Errors
/// The quantisation does not fit the tensor.
pub(crate) fn to_f32(info: &TensorInfo, bytes: &[u8], out: &mut Vec<f32>) -> Result<(), String> {
    let start = out.len();
    out.reserve(bytes.len() / info.dtype.size());
    each(info.dtype, bytes, |x| out.push(x as f32));
    let Some(quantization) = &info.quantization else { return Ok(()) };
    if !is_integer(info.dtype) {
        return Ok(());
    }
    let values = out.get_mut(start..).unwrap_or_default();
    let scales = Scales::new(quantization, info, values.len())?;
    // |value − zero point| is exact in f64, and its product with a binary32 scale is rounded only once.
    let mut index = 0;
    each(info.dtype, bytes, |x| {
        let (scale, zero) = scales.at(index);
        if let Some(value) = values.get_mut(index) {
            *value = (f64::from(scale) * (x - f64::from(zero))) as f32;
        }
        index += 1;
    });
    Ok(())
}

/// Which scale belongs to an element.
struct Scales {
    pairs: Vec<(f32, i32)>,
    /// Elements that follow one another with the same scale.
    inner: usize,
}

impl Scales {
    fn new(quantization: &Quantization, info: &TensorInfo, elements: usize) -> Result<Self, String> {
        let Quantization { scale, zero_point, axis } = quantization;
        let sane = scale.iter().all(|s| s.is_finite() && *s > 0.0);
        if scale.is_empty() || scale.len() != zero_point.len() || !sane {
            return Err(format!("output {:?} has a quantisation that is not one", info.name));
        }
        let pairs: Vec<(f32, i32)> = scale.iter().copied().zip(zero_point.iter().copied()).collect();
        if pairs.len() == 1 {
            return Ok(Self { pairs, inner: elements.max(1) });
        }
        let after = info.shape.get(*axis as usize + 1..).unwrap_or_default();
        let inner = after.iter().try_fold(1usize, |all, d| all.checked_mul(usize::try_from((*d)?).ok()?));
        let rows = inner.and_then(|inner| inner.checked_mul(pairs.len())).filter(|n| *n > 0);
        match (inner, rows) {
            (Some(inner), Some(rows)) if elements.is_multiple_of(rows) => Ok(Self { pairs, inner }),
            _ => Err(format!("output {:?}: {} scales do not fit its shape", info.name, pairs.len())),
        }
    }

    fn at(&self, index: usize) -> (f32, i32) {
        let row = index / self.inner % self.pairs.len();
        self.pairs.get(row).copied().unwrap_or((1.0, 0))
    }
}

fn quantize(bytes: &[u8], dtype: DType, q: &Quantization, out: &mut Vec<u8>) -> Result<(), String> {
    let ([scale], [zero]) = (q.scale.as_slice(), q.zero_point.as_slice()) else {
        return Err(format!("f32 values for an input with {} scales; give {dtype} values", q.scale.len()));
    };
    let Some((low, high)) = integer_range(dtype).filter(|_| scale.is_finite() && *scale > 0.0) else {
        return Err(format!("cannot quantise f32 to {dtype} with scale {scale}"));
    };
    each(DType::F32, bytes, |x| {
        let steps = (x as f32 / scale).round_ties_even();
        // A cast of a float saturates, and takes NaN to 0.
        let stored = (steps as i64).saturating_add(i64::from(*zero));
        put_integer(dtype, i128::from(stored).clamp(low, high), out);
    });
    Ok(())
}

fn narrow(bytes: &[u8], dtype: DType, out: &mut Vec<u8>) {
    each(DType::F32, bytes, |x| match dtype {
        DType::F16 => out.extend_from_slice(&f16::from_f32(x as f32).to_le_bytes()),
        DType::BF16 => out.extend_from_slice(&bf16::from_f32(x as f32).to_le_bytes()),
        _ => out.extend_from_slice(&x.to_le_bytes()),
    });
}

fn cast_integers(source: DType, bytes: &[u8], dtype: DType, out: &mut Vec<u8>) -> Result<(), String> {
    let Some((low, high)) = integer_range(dtype) else { return Err(format!("{dtype} is no integer")) };
    let mut misfit = None;
    each_integer(source, bytes, |x| {
        if !(low..=high).contains(&x) {
            misfit.get_or_insert(x);
        }
        put_integer(dtype, x.clamp(low, high), out);
    });
    misfit.map_or(Ok(()), |x| Err(format!("the value {x} does not fit {dtype}")))
}

fn is_integer(dtype: DType) -> bool {
    integer_range(dtype).is_some()
}

fn integer_range(dtype: DType) -> Option<(i128, i128)> {
    Some(match dtype {
        DType::I8 => (i8::MIN.into(), i8::MAX.into()),
        DType::U8 => (0, u8::MAX.into()),
        DType::I16 => (i16::MIN.into(), i16::MAX.into()),
        DType::U16 => (0, u16::MAX.into()),
        DType::I32 => (i32::MIN.into(), i32::MAX.into()),
        DType::U32 => (0, u32::MAX.into()),
        DType::I64 => (i64::MIN.into(), i64::MAX.into()),
        DType::U64 => (0, u64::MAX.into()),
        DType::F32 | DType::F64 | DType::F16 | DType::BF16 | DType::Bool => return None,
    })
}

/// The low bytes of a value that is known to fit.
fn put_integer(dtype: DType, value: i128, out: &mut Vec<u8>) {
    out.extend_from_slice(value.to_le_bytes().get(..dtype.size()).unwrap_or_default());
}

fn each_integer(dtype: DType, bytes: &[u8], mut take: impl FnMut(i128)) {
    let signed = integer_range(dtype).is_some_and(|(low, _)| low < 0);
    for element in bytes.chunks_exact(dtype.size()) {
        let negative = signed && element.last().is_some_and(|b| b & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0u8 }; 16];
        if let Some(low) = wide.get_mut(..element.len()) {
            low.copy_from_slice(element);
        }
        take(i128::from_le_bytes(wide));
    }
}

/// Every element as f64: exact but for 64-bit integers beyond 2⁵³.
fn each(dtype: DType, bytes: &[u8], mut take: impl FnMut(f64)) {
    match dtype {
        DType::F32 => bytes.as_chunks().0.iter().for_each(|b| take(f32::from_le_bytes(*b).into())),
        DType::F64 => bytes.as_chunks().0.iter().for_each(|b| take(f64::from_le_bytes(*b))),
        DType::F16 => bytes.as_chunks().0.iter().for_each(|b| take(f16::from_le_bytes(*b).into())),
        DType::BF16 => bytes.as_chunks().0.iter().for_each(|b| take(bf16::from_le_bytes(*b).into())),
        DType::I8 => bytes.iter().for_each(|b| take(f64::from(b.cast_signed()))),
        DType::U8 => bytes.iter().for_each(|b| take(f64::from(*b))),
        DType::Bool => bytes.iter().for_each(|b| take(f64::from(u8::from(*b != 0)))),
        _ => each_integer(dtype, bytes, |x| take(x as f64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(dtype: DType, shape: &[u64], quantization: Option<Quantization>) -> TensorInfo {
        let shape = shape.iter().copied().map(Some).collect();
        TensorInfo { name: "t".into(), dtype, shape, quantization }
    }

    fn per_tensor(scale: f32, zero: i32) -> Option<Quantization> {
        Some(Quantization { scale: vec![scale], zero_point: vec![zero], axis: 0 })
    }

    fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    fn input(source: DType, bytes: &[u8], target: &TensorInfo) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        to_input(source, bytes, target, &mut out).map(|()| out)
    }

    fn output(source: &TensorInfo, bytes: &[u8]) -> Result<Vec<f32>, String> {
        let mut out = Vec::new();
        to_f32(source, bytes, &mut out).map(|()| out)
    }

    #[test]
    fn quantising_rounds_half_to_even_and_clamps() {
        let target = info(DType::I8, &[9], per_tensor(0.5, -3));
        let values = [0.0, 0.25, 0.75, -0.25, -0.75, 1000.0, -1000.0, f32::NAN, f32::INFINITY];
        let got: Vec<i8> =
            input(DType::F32, &f32s(&values), &target).unwrap().iter().map(|b| b.cast_signed()).collect();
        assert_eq!(got, [-3, -3, -1, -3, -5, 127, -128, -3, 127]);
        let target = info(DType::U8, &[3], per_tensor(1.0 / 255.0, 0));
        assert_eq!(input(DType::F32, &f32s(&[0.0, 1.0]), &target).unwrap(), [0, 255]);
        let target = info(DType::I16, &[2], per_tensor(1.0, 0));
        let got = input(DType::F32, &f32s(&[-2.5, 40000.0]), &target).unwrap();
        assert_eq!(got, [(-2i16).to_le_bytes(), i16::MAX.to_le_bytes()].concat());
    }

    #[test]
    fn the_same_type_is_copied_even_when_quantised() {
        let target = info(DType::I8, &[2], per_tensor(0.5, -3));
        assert_eq!(input(DType::I8, &[1, 255], &target).unwrap(), [1, 255]);
    }

    #[test]
    fn integers_are_cast_when_they_fit() {
        let ids: Vec<u8> = [7i32, -1].iter().flat_map(|x| x.to_le_bytes()).collect();
        let wide = input(DType::I32, &ids, &info(DType::I64, &[2], None)).unwrap();
        assert_eq!(wide, [7i64.to_le_bytes(), (-1i64).to_le_bytes()].concat());
        let refused = input(DType::I32, &ids, &info(DType::U8, &[2], None)).unwrap_err();
        assert_eq!(refused, "the value -1 does not fit u8");
        assert_eq!(
            input(DType::U64, &u64::MAX.to_le_bytes(), &info(DType::U64, &[1], None)).unwrap(),
            [255; 8]
        );
        assert!(input(DType::U64, &u64::MAX.to_le_bytes(), &info(DType::I64, &[1], None)).is_err());
    }

    #[test]
    fn what_does_not_go_together_is_refused_in_words() {
        for (source, target) in [
            (DType::U8, info(DType::F32, &[1], None)),
            (DType::U8, info(DType::I8, &[1], per_tensor(1.0, 0))),
            (DType::F32, info(DType::I32, &[1], None)),
            (DType::F32, info(DType::Bool, &[1], None)),
            (DType::F32, info(DType::I8, &[1], per_tensor(0.0, 0))),
            (DType::F32, info(DType::I8, &[1], per_tensor(f32::NAN, 0))),
        ] {
            assert!(input(source, &[0; 8], &target).is_err(), "{source} to {}", target.dtype);
        }
        let axes = Some(Quantization { scale: vec![1.0, 2.0], zero_point: vec![0, 0], axis: 0 });
        assert!(input(DType::F32, &f32s(&[1.0, 1.0]), &info(DType::I8, &[2], axes)).is_err());
    }

    #[test]
    fn floats_narrow_to_nearest() {
        let got = input(DType::F32, &f32s(&[1.0, 65504.0, 1e9]), &info(DType::F16, &[3], None)).unwrap();
        assert_eq!(output(&info(DType::F16, &[3], None), &got).unwrap(), [1.0, 65504.0, f32::INFINITY]);
        let got = input(DType::F32, &f32s(&[0.1]), &info(DType::F64, &[1], None)).unwrap();
        assert_eq!(got, f64::from(0.1f32).to_le_bytes());
    }

    #[test]
    fn outputs_are_dequantised_per_tensor_and_per_axis() {
        let bytes = [0u8, 255, 127, 128];
        assert_eq!(
            output(&info(DType::I8, &[4], per_tensor(0.5, -1)), &bytes).unwrap(),
            [0.5, 0.0, 64.0, -63.5]
        );
        let axes = Some(Quantization { scale: vec![1.0, 10.0], zero_point: vec![0, 1], axis: 1 });
        let of_axis = info(DType::U8, &[1, 2, 2], axes.clone());
        assert_eq!(output(&of_axis, &[1, 2, 3, 4]).unwrap(), [1.0, 2.0, 20.0, 30.0]);
        assert!(output(&info(DType::U8, &[3], axes), &[1, 2, 3]).is_err());
        assert_eq!(output(&info(DType::I64, &[1], None), &(-5i64).to_le_bytes()).unwrap(), [-5.0]);
        assert_eq!(output(&info(DType::Bool, &[2], None), &[0, 7]).unwrap(), [0.0, 1.0]);
        // Beyond 2^24 a product in f32 would round twice.
        let wide = info(DType::I32, &[1], per_tensor(0.1, 0));
        assert_eq!(
            output(&wide, &16_777_217i32.to_le_bytes()).unwrap(),
            [(f64::from(0.1f32) * 16_777_217.0) as f32]
        );
    }
}
