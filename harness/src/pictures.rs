//! From the tensors that models are fed to pictures small enough to be kept with a run. Draws what the model sees: an
//! image after its preparation, a spectrogram.

use datasets::TensorData;
use protocol::DType;
use reports::record::Pictures;

/// Longest edge of a picture; what is larger is averaged down by a whole number.
const MAX_EDGE: usize = 64;
/// All pictures of a run together; of more examples there are none.
const MAX_BYTES: usize = 16 << 20;

/// Where the numbers of a picture lie within an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    height: usize,
    width: usize,
    channels: usize,
    /// Channel after channel, instead of pixel after pixel.
    planar: bool,
}

/// Pictures of all examples; `None` where the tensor is no picture: another shape or type, or too much of it.
pub(crate) fn of(tensor: &TensorData) -> Option<Pictures> {
    let layout = layout(&tensor.shape)?;
    let numbers = layout.height * layout.width * layout.channels;
    let factor = layout.height.max(layout.width).div_ceil(MAX_EDGE);
    let (height, width) = (layout.height.div_ceil(factor), layout.width.div_ceil(factor));
    let examples = usize::try_from(*tensor.shape.first()?).ok()?;
    let bytes = examples.checked_mul(height * width * layout.channels)?;
    let size = tensor.dtype.size();
    if bytes == 0
        || bytes > MAX_BYTES
        || tensor.bytes.len() != examples.checked_mul(numbers)?.checked_mul(size)?
    {
        return None;
    }
    let mut pixels = Vec::with_capacity(bytes);
    for example in tensor.bytes.chunks_exact(numbers * size) {
        let values = values(tensor.dtype, example)?;
        let (low, high) = range(tensor.dtype, &values);
        let span = if high > low { high - low } else { 1.0 };
        for cell in cells(layout, factor) {
            let mean = cell.iter().filter_map(|at| values.get(*at)).sum::<f32>() / cell.len() as f32;
            // a cast of what is not finite or lies outside ends at 0 or 255
            pixels.push(((mean - low) / span * 255.0).round() as u8);
        }
    }
    let edge = |n: usize| u32::try_from(n).ok();
    Some(Pictures::new(edge(width)?, edge(height)?, layout.channels as u8, pixels))
}

/// `[n, h, w]`, `[n, h, w, c]` or `[n, c, h, w]` with one or three channels.
fn layout(shape: &[u64]) -> Option<Layout> {
    let edge = |n: u64| usize::try_from(n).ok().filter(|n| (4..=4096).contains(n));
    let color = |n: u64| matches!(n, 1 | 3).then_some(n as usize);
    let (height, width, channels, planar) = match *shape {
        [_, h, w] => (edge(h)?, edge(w)?, 1, false),
        [_, h, w, c] if color(c).is_some() => (edge(h)?, edge(w)?, color(c)?, false),
        [_, c, h, w] => (edge(h)?, edge(w)?, color(c)?, true),
        _ => return None,
    };
    Some(Layout { height, width, channels, planar })
}

fn values(dtype: DType, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match dtype {
        DType::F32 => bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        DType::U8 => bytes.iter().map(|b| f32::from(*b)).collect(),
        DType::I8 => bytes.iter().map(|b| f32::from(*b as i8)).collect(),
        _ => return None,
    })
}

/// What is black and what is white: the whole range of small integers, else the least and greatest of the example.
fn range(dtype: DType, values: &[f32]) -> (f32, f32) {
    match dtype {
        DType::U8 => (0.0, 255.0),
        DType::I8 => (-128.0, 127.0),
        _ => {
            let finite = || values.iter().copied().filter(|v| v.is_finite());
            (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max))
        }
    }
}

/// Positions of the numbers behind each value of the picture, in its order.
fn cells(layout: Layout, factor: usize) -> impl Iterator<Item = Vec<usize>> {
    let Layout { height, width, channels, planar } = layout;
    let at = move |y: usize, x: usize, c: usize| match planar {
        true => (c * height + y) * width + x,
        false => (y * width + x) * channels + c,
    };
    let (rows, columns) = (height.div_ceil(factor), width.div_ceil(factor));
    (0..rows * columns * channels).map(move |i| {
        let (y, x, c) = (i / channels / columns, i / channels % columns, i % channels);
        let rows = y * factor..((y + 1) * factor).min(height);
        rows.flat_map(|y| (x * factor..((x + 1) * factor).min(width)).map(move |x| at(y, x, c))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[u64], dtype: DType, bytes: Vec<u8>) -> TensorData {
        TensorData { dtype, shape: shape.to_vec(), bytes }
    }

    #[test]
    fn floats_are_stretched_and_bytes_are_not() {
        let values: Vec<f32> = (0..16).map(|i| i as f32 - 5.0).collect();
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let pictures = of(&tensor(&[1, 4, 4, 1], DType::F32, bytes)).unwrap();
        assert_eq!((pictures.width, pictures.height, pictures.channels), (4, 4, 1));
        assert_eq!(pictures.of(0).unwrap()[..3], [0, 17, 34]);
        assert_eq!(pictures.of(0).unwrap()[15], 255);
        let grey = of(&tensor(&[2, 4, 4], DType::U8, vec![7; 32])).unwrap();
        assert_eq!((grey.of(1), grey.of(2)), (Some(&[7u8; 16][..]), None));
    }

    #[test]
    fn planes_become_pixels_and_large_ones_are_averaged() {
        let planes: Vec<u8> = [10u8, 20, 30].iter().flat_map(|v| vec![*v; 16]).collect();
        let pictures = of(&tensor(&[1, 3, 4, 4], DType::U8, planes)).unwrap();
        assert_eq!(pictures.of(0).unwrap()[..6], [10, 20, 30, 10, 20, 30]);
        let stripes: Vec<u8> = (0..128 * 128).map(|i| if i % 2 == 0 { 0 } else { 100 }).collect();
        let large = of(&tensor(&[1, 128, 128], DType::U8, stripes)).unwrap();
        assert_eq!((large.width, large.height), (64, 64));
        assert!(large.of(0).unwrap().iter().all(|v| *v == 50));
    }

    #[test]
    fn what_is_no_picture_has_none() {
        for shape in [&[2u64, 40][..], &[2, 4, 4, 7], &[2, 2, 2, 1], &[2, 1, 4, 4, 1], &[]] {
            let n = shape.iter().product::<u64>() as usize;
            assert_eq!(of(&tensor(shape, DType::U8, vec![0; n])), None, "{shape:?}");
        }
        assert_eq!(of(&tensor(&[1, 4, 4], DType::I64, vec![0; 128])), None);
        assert_eq!(of(&tensor(&[1, 4, 4], DType::U8, vec![0; 15])), None);
        let nan = f32::NAN.to_le_bytes().repeat(16);
        assert!(of(&tensor(&[1, 4, 4], DType::F32, nan)).unwrap().of(0).is_some());
    }
}
