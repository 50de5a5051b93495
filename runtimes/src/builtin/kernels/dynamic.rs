//! Quantisation of f32 activations at run time, group by group: to int8 as XNNPACK (`qd8`) and as TFLite's
//! own kernels do it, to u8 as ONNX's `DynamicQuantizeLinear`. Elements come out as the kernels
//! read them, see [`Small`], and the border is real zeros.

use super::Tier;
use super::pixels::{Each, Geometry, Small, Spread};
use super::quant::{max, min, round_even};
use super::simd::{Kernel, MAX_LANES, Simd, dispatch};

/// Whose arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// int8, XNNPACK.
    Xnnpack,
    /// int8, TFLite's own kernels.
    Tflite,
    /// u8, ONNX.
    Onnx,
}

/// How a group is quantised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Group {
    /// What one step is worth.
    pub(crate) scale: f32,
    method: Method,
    inverse: f32,
    zero: f32,
}

impl Group {
    /// For elements that lie between `low` and `high`.
    pub(crate) fn new(method: Method, low: f32, high: f32) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        match method {
            Method::Xnnpack => {
                let inverse = if low == high { 1.0 } else { 255.0 / (high - low) };
                let (scaled_low, scaled_high) = (low * inverse, high * inverse);
                let lower_error = -128.0 + scaled_low;
                let upper_error = 127.0 + scaled_high;
                let zero =
                    if lower_error + upper_error > 0.0 { -128.0 - scaled_low } else { 127.0 - scaled_high };
                let zero = zero.clamp(-128.0, 127.0).round_ties_even();
                Self { scale: 1.0 / inverse, method, inverse, zero }
            }
            Method::Tflite => {
                let range = f64::from(high) - f64::from(low);
                let step = range / 255.0;
                if step == 0.0 {
                    return Self { scale: 1.0, method, inverse: 1.0, zero: 0.0 };
                }
                let (scaled_low, scaled_high) = (f64::from(low) / step, f64::from(high) / step);
                let from_low = 128.0 + scaled_low.abs() < 127.0 + scaled_high.abs();
                let zero = if from_low { -128.0 - scaled_low } else { 127.0 - scaled_high };
                let zero = zero.clamp(-128.0, 127.0).round() as f32;
                Self { scale: step as f32, method, inverse: 1.0 / step as f32, zero }
            }
            Method::Onnx => {
                let step = (high - low) / 255.0;
                let scale = if low == high { 1.0 } else { step };
                let zero = (0.0 - low / scale).clamp(0.0, 255.0).round_ties_even();
                Self { scale, method, inverse: 1.0, zero }
            }
        }
    }

    /// How far a quantised number of the group is from its zero point, as TFLite's own kernels round it.
    pub(crate) fn distance(&self, x: f32) -> i32 {
        let distance: i16 = AsTflite(*self).each(x);
        i32::from(distance)
    }
}

/// Quantises groups of elements into images with border.
pub(crate) struct Groups<'a, U> {
    /// One group: the images it has, or one pixel.
    pub(crate) piece: &'a Geometry,
    pub(crate) spread: Spread,
    pub(crate) method: Method,
    /// All groups.
    pub(crate) x: &'a [f32],
    pub(crate) y: &'a mut [U],
    /// The scale of every group.
    pub(crate) scales: &'a mut [f32],
    /// What stands for zero in every group; may be empty.
    pub(crate) origins: &'a mut [i32],
}

impl<U: Small> Groups<'_, U> {
    /// Quantises them.
    pub(crate) fn quantize(self, tier: Tier) {
        dispatch(tier, self);
    }
}

impl<U: Small> Kernel for Groups<'_, U> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { piece, spread, method, x, y, scales, origins } = self;
        let size = x.len() / scales.len().max(1);
        let bordered = piece.bordered(spread.padded).unwrap_or(0);
        if size == 0 || bordered == 0 {
            return;
        }
        let mut origins = origins.iter_mut();
        for ((x, y), scale) in x.chunks_exact(size).zip(y.chunks_exact_mut(bordered)).zip(scales) {
            // SAFETY: the caller's promise.
            let (low, high) = unsafe { extremes::<S>(x) };
            let group = Group::new(method, low, high);
            *scale = group.scale;
            let lowest = if method == Method::Onnx { 0 } else { -128 };
            if let Some(origin) = origins.next() {
                *origin = U::origin(group.zero as i32, lowest);
            }
            quantize(&group, piece, spread, x, y);
        }
    }
}

/// Smallest and largest of 0 and all elements.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn extremes<S: Simd>(x: &[f32]) -> (f32, f32) {
    let whole = x.chunks_exact(S::LANES);
    let rest = whole.remainder();
    // SAFETY: the chunks and arrays have as many elements as a vector.
    unsafe {
        let (mut low, mut high) = (S::splat(0.0), S::splat(0.0));
        for chunk in whole {
            let v = S::load(chunk.as_ptr());
            low = S::min(v, low);
            high = S::max(v, high);
        }
        let (mut lows, mut highs) = ([0.0f32; MAX_LANES], [0.0f32; MAX_LANES]);
        S::store(lows.as_mut_ptr(), low);
        S::store(highs.as_mut_ptr(), high);
        let smaller = |a: f32, b: &f32| if *b < a { *b } else { a };
        let larger = |a: f32, b: &f32| if *b > a { *b } else { a };
        (lows.iter().chain(rest).fold(0.0, smaller), highs.iter().chain(rest).fold(0.0, larger))
    }
}

/// Quantises one group.
#[inline(always)]
fn quantize<U: Small>(group: &Group, piece: &Geometry, spread: Spread, x: &[f32], y: &mut [U]) {
    match group.method {
        Method::Xnnpack => piece.copy(x, y, spread, AsXnnpack(*group)),
        Method::Tflite => piece.copy(x, y, spread, AsTflite(*group)),
        Method::Onnx => piece.copy(x, y, spread, AsOnnx(*group)),
    }
}

/// Far out of range before rounding is as good as just out of range.
#[inline(always)]
fn cut(v: f32) -> f32 {
    min(max(v, -1024.0), 1024.0)
}

#[derive(Clone, Copy)]
struct AsXnnpack(Group);

impl<U: Small> Each<f32, U> for AsXnnpack {
    #[inline(always)]
    fn zero(&self) -> U {
        let zero = self.0.zero as i32;
        U::small(zero, zero, -128)
    }
    #[inline(always)]
    fn each(&self, x: f32) -> U {
        let zero = self.0.zero as i32;
        U::small((round_even(cut(x * self.0.inverse)) + zero).clamp(-128, 127), zero, -128)
    }
}

#[derive(Clone, Copy)]
struct AsTflite(Group);

impl<U: Small> Each<f32, U> for AsTflite {
    #[inline(always)]
    fn zero(&self) -> U {
        let zero = self.0.zero as i32;
        U::small(zero, zero, -128)
    }
    #[inline(always)]
    fn each(&self, x: f32) -> U {
        let v = cut(x * self.0.inverse);
        // Ties away from zero: the nearest even, then one further where a tie went inwards.
        let near = round_even(v);
        let tie = v - near as f32;
        let away = i32::from(tie == 0.5 && v > 0.0) - i32::from(tie == -0.5 && v < 0.0);
        let zero = self.0.zero as i32;
        U::small((near + away + zero).clamp(-128, 127), zero, -128)
    }
}

#[derive(Clone, Copy)]
struct AsOnnx(Group);

impl<U: Small> Each<f32, U> for AsOnnx {
    #[inline(always)]
    fn zero(&self) -> U {
        let zero = self.0.zero as i32;
        U::small(zero, zero, 0)
    }
    #[inline(always)]
    fn each(&self, x: f32) -> U {
        let zero = self.0.zero as i32;
        U::small((round_even(cut(x / self.0.scale)) + zero).clamp(0, 255), zero, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::ops::Window;

    fn flat(c: usize) -> Geometry {
        Geometry { input: [1, 1, 1, c], kernel: [1, 1], output: [1, 1], window: Window::default() }
    }

    #[test]
    fn known_groups() {
        let g = Group::new(Method::Xnnpack, -1.0, 1.0);
        assert_eq!((g.scale, g.zero), (1.0 / 127.5, 0.0));
        let g = Group::new(Method::Xnnpack, 0.0, 2.55);
        assert_eq!(g.zero, -128.0);
        let g = Group::new(Method::Onnx, -1.0, 1.0);
        assert_eq!((g.scale, g.zero), (2.0 / 255.0, 127.0));
        let g = Group::new(Method::Onnx, 0.0, 0.0);
        assert_eq!((g.scale, g.zero), (1.0, 0.0));
    }

    #[test]
    fn groups_of_any_length_on_any_tier_have_their_extremes() {
        for n in 1..40 {
            let x: Vec<f32> = (0..2 * n).map(|i| ((i * 7919) % 31) as f32 - 15.0).collect();
            for tier in Tier::available() {
                let (mut y, mut scales) = (vec![0i16; 2 * n], [0.0; 2]);
                let (piece, spread) = (&flat(n), Spread::none(n));
                Groups {
                    piece,
                    spread,
                    method: Method::Onnx,
                    x: &x,
                    y: &mut y,
                    scales: &mut scales,
                    origins: &mut [],
                }
                .quantize(tier);
                for (x, scale) in x.chunks(n).zip(scales) {
                    let low = x.iter().copied().fold(0.0, f32::min);
                    let high = x.iter().copied().fold(0.0, f32::max);
                    assert_eq!(scale, Group::new(Method::Onnx, low, high).scale);
                }
            }
        }
    }

    #[test]
    fn ties_go_where_each_says() {
        let x = [0.5, 1.5, 2.5, -0.5, -1.5, 300.0, -300.0];
        let with = |method, zero| {
            let group = Group { scale: 1.0, method, inverse: 1.0, zero };
            let mut y = [0i16; 7];
            quantize(&group, &flat(7), Spread::none(7), &x, &mut y);
            y
        };
        let all = |method| with(method, 0.0);
        // A number is rounded before its zero point is added: which way a tie goes is its own sign's matter.
        assert_eq!(with(Method::Tflite, -3.0), [1, 2, 3, -1, -2, 130, -125]);
        assert_eq!(all(Method::Xnnpack), [0, 2, 2, 0, -2, 127, -128]);
        assert_eq!(all(Method::Tflite), [1, 2, 3, -1, -2, 127, -128]);
        assert_eq!(all(Method::Onnx), [0, 2, 2, 0, 0, 255, 0]);
    }
}
