//! How a window walks over an image, and the copy of the image with its border that it walks over. With
//! the border in memory no inner loop ever asks whether a pixel exists.

use super::Tier;
use super::gemm::Segments;
use super::quant::Quantized;
use super::simd::{Kernel, Simd, dispatch_loops};
use crate::Result;
use crate::builtin::limits;
use crate::builtin::ops::Window;

/// Sizes of a convolution or pool over `[n, h, w, c]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// `[n, h, w, c]`
    pub(crate) input: [usize; 4],
    /// Height and width of the kernel.
    pub(crate) kernel: [usize; 2],
    /// Height and width of the output.
    pub(crate) output: [usize; 2],
    /// Stride, dilation, padding.
    pub(crate) window: Window,
}

impl Geometry {
    /// Output pixels of all images.
    pub(crate) fn pixels(&self) -> usize {
        self.input[0] * self.output[0] * self.output[1]
    }

    /// Height and width with the border.
    pub(crate) fn padded(&self) -> [usize; 2] {
        let w = &self.window;
        [0, 1].map(|d| self.input[d + 1] + w.before[d] + w.after[d])
    }

    /// Whether there is a border.
    pub(crate) fn has_border(&self) -> bool {
        self.window.before != [0, 0] || self.window.after != [0, 0]
    }

    /// Whether every output pixel is made of just the same input pixel.
    pub(crate) fn pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.window.stride == [1, 1] && !self.has_border()
    }

    /// Elements of the image with border, `channels` per pixel.
    ///
    /// # Errors
    /// Too many.
    pub(crate) fn bordered(&self, channels: usize) -> Result<usize> {
        let [h, w] = self.padded();
        limits::elements(&[self.input[0], h, w, channels])
    }

    /// Where output pixels start in the image with border.
    pub(crate) fn walk(&self, channels: usize) -> Walk {
        if self.pointwise() {
            return Walk { counts: [1, 1, self.pixels()], strides: [0, 0, channels] };
        }
        self.image_walk(channels)
    }

    /// As [`Geometry::walk`], line by line even where lines touch.
    pub(crate) fn image_walk(&self, channels: usize) -> Walk {
        let [h, w] = self.padded();
        let [sh, sw] = self.window.stride;
        Walk {
            counts: [self.input[0], self.output[0], self.output[1]],
            strides: [h * w * channels, sh * w * channels, sw * channels],
        }
    }

    /// Where the kernel's taps lie from a start, each `length` channels of `channels`. Taps that touch
    /// become one segment when all channels are read.
    pub(crate) fn segments(&self, channels: usize, length: usize) -> Segments {
        let [kh, kw] = self.kernel;
        let [dh, dw] = self.window.dilation;
        let row = self.padded()[1] * channels;
        if length == channels && (dw == 1 || kw == 1) {
            return Segments { offsets: (0..kh).map(|y| y * dh * row).collect(), length: kw * channels };
        }
        let taps = (0..kh).flat_map(|y| (0..kw).map(move |x| y * dh * row + x * dw * channels));
        Segments { offsets: taps.collect(), length }
    }

    /// Offsets of the taps from a start, one by one, column after column: the order in which XNNPACK sums a
    /// depthwise convolution, so that f32 results get the same roundings.
    pub(crate) fn taps(&self, channels: usize) -> Vec<usize> {
        let [kh, kw] = self.kernel;
        let [dh, dw] = self.window.dilation;
        let row = self.padded()[1] * channels;
        (0..kw).flat_map(|x| (0..kh).map(move |y| y * dh * row + x * dw * channels)).collect()
    }

    /// Weights `[row][column][channel]` in the order of [`Geometry::taps`].
    pub(crate) fn by_columns<T: Copy>(&self, weights: &[T]) -> Vec<T> {
        let [kh, kw] = self.kernel;
        let channels = weights.len() / (kh * kw).max(1);
        let taps = (0..kw).flat_map(|x| (0..kh).map(move |y| y * kw + x));
        let mut all = Vec::with_capacity(weights.len());
        taps.for_each(|tap| all.extend_from_slice(&weights[tap * channels..][..channels]));
        all
    }

    /// Copies an image into one with border, element by element.
    #[inline(always)]
    pub(crate) fn copy<T: Copy, U: Copy, E: Each<T, U>>(
        &self,
        x: &[T],
        y: &mut [U],
        spread: Spread,
        each: E,
    ) {
        let [n, h, w, c] = self.input;
        let channels = spread.padded;
        if !self.has_border() {
            spread.row(&x[..n * h * w * c], &mut y[..n * h * w * channels], each);
            return;
        }
        let [_, pw] = self.padded();
        let ([top, left], [bottom, right]) = (self.window.before, self.window.after);
        let (row, inner) = (pw * channels, w * channels);
        let mut at = 0;
        // The border between two lines is one run of zeros.
        let mut border = top * row + left * channels;
        for image in 0..n {
            for line in 0..h {
                y[at..at + border].fill(each.zero());
                at += border;
                spread.row(&x[(image * h + line) * w * c..][..w * c], &mut y[at..at + inner], each);
                at += inner;
                border = (left + right) * channels;
            }
            border = right * channels + (bottom + top) * row + left * channels;
        }
        let end = n * self.padded()[0] * row;
        if at < end {
            y[at..end].fill(each.zero());
        }
    }
}

/// Starts of output pixels: images, rows, columns, and the distance between neighbours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    pub(crate) counts: [usize; 3],
    pub(crate) strides: [usize; 3],
}

impl Walk {
    /// Elements from the beginning to the last start; `None` when there are no pixels.
    pub(crate) fn last(&self) -> Option<usize> {
        let last = |d: usize| Some(self.counts[d].checked_sub(1)? * self.strides[d]);
        Some(last(0)? + last(1)? + last(2)?)
    }

    /// Number of pixels.
    pub(crate) fn pixels(&self) -> usize {
        self.counts.iter().product()
    }
}

/// Walks starts one by one without multiplying.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Starts<'a> {
    walk: &'a Walk,
    index: [usize; 3],
    at: [usize; 3],
}

impl<'a> Starts<'a> {
    pub(crate) fn new(walk: &'a Walk) -> Self {
        Self { walk, index: [0; 3], at: [0; 3] }
    }

    /// The next start.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> usize {
        let start = self.at[2];
        self.index[2] += 1;
        self.at[2] += self.walk.strides[2];
        if self.index[2] == self.walk.counts[2] {
            self.next_row();
        }
        start
    }

    #[inline(never)]
    fn next_row(&mut self) {
        let Walk { counts, strides } = self.walk;
        self.index[2] = 0;
        self.index[1] += 1;
        self.at[1] += strides[1];
        if self.index[1] == counts[1] {
            self.index[1] = 0;
            self.at[0] += strides[0];
            self.at[1] = self.at[0];
        }
        self.at[2] = self.at[1];
    }
}

/// How the channels of a pixel are laid out in the image with border: each `multiplier` times, and a rest
/// up to `padded` that nobody reads the results of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    /// Channels of a pixel of the input.
    pub(crate) channels: usize,
    /// Copies of each.
    pub(crate) multiplier: usize,
    /// Channels of a pixel of the image with border.
    pub(crate) padded: usize,
}

impl Spread {
    /// Channels as they are.
    pub(crate) fn none(channels: usize) -> Self {
        Self { channels, multiplier: 1, padded: channels }
    }

    /// Writes a row of pixels.
    #[inline(always)]
    fn row<T: Copy, U: Copy, E: Each<T, U>>(&self, x: &[T], y: &mut [U], each: E) {
        if self.padded == self.channels {
            x.iter().zip(y).for_each(|(x, y)| *y = each.each(*x));
            return;
        }
        for (x, y) in x.chunks_exact(self.channels).zip(y.chunks_exact_mut(self.padded)) {
            if self.multiplier == 1 {
                x.iter().zip(y).for_each(|(x, y)| *y = each.each(*x));
            } else {
                for (x, y) in x.iter().zip(y.chunks_exact_mut(self.multiplier)) {
                    y.fill(each.each(*x));
                }
            }
        }
    }
}

/// What is done with every element of an image while it is copied. A trait and not a closure, so that it is
/// inlined wherever it is compiled for vectors.
pub(crate) trait Each<T, U>: Copy {
    /// The border; `#[inline(always)]`.
    fn zero(&self) -> U;
    /// An element; `#[inline(always)]`.
    fn each(&self, x: T) -> U;
}

/// As it is.
#[derive(Clone, Copy)]
pub(crate) struct Same;

impl Each<f32, f32> for Same {
    #[inline(always)]
    fn zero(&self) -> f32 {
        0.0
    }
    #[inline(always)]
    fn each(&self, x: f32) -> f32 {
        x
    }
}

impl Each<i16, i16> for Same {
    #[inline(always)]
    fn zero(&self) -> i16 {
        0
    }
    #[inline(always)]
    fn each(&self, x: i16) -> i16 {
        x
    }
}

/// As kernels read quantised elements of that zero point.
#[derive(Clone, Copy)]
pub(crate) struct Centred(pub(crate) i32);

impl<T: Quantized, U: Small> Each<T, U> for Centred {
    #[inline(always)]
    fn zero(&self) -> U {
        U::small(self.0, self.0, T::MIN)
    }
    #[inline(always)]
    fn each(&self, x: T) -> U {
        U::small(x.wide(), self.0, T::MIN)
    }
}

/// Small numbers that kernels read quantised elements as.
pub(crate) trait Small: Copy {
    /// How many of them a tier multiplies at once.
    fn at_once(tier: Tier) -> usize;
    /// What stands for zero, where the elements' zero point is `zero` and their type begins at `lowest`.
    fn origin(zero: i32, lowest: i32) -> i32;
    /// Whether it is what elements of a type that begins at `lowest` are anyway.
    fn same(lowest: i32) -> bool;
    /// An element.
    fn small(v: i32, zero: i32, lowest: i32) -> Self;
}

/// The distance from the zero point.
impl Small for i16 {
    fn at_once(_tier: Tier) -> usize {
        2
    }
    #[inline(always)]
    fn origin(_zero: i32, _lowest: i32) -> i32 {
        0
    }
    fn same(_lowest: i32) -> bool {
        false
    }
    #[inline(always)]
    fn small(v: i32, zero: i32, _lowest: i32) -> Self {
        (v - zero) as i16
    }
}

/// The distance from the zero point.
impl Small for f32 {
    fn at_once(_tier: Tier) -> usize {
        1
    }
    #[inline(always)]
    fn origin(_zero: i32, _lowest: i32) -> i32 {
        0
    }
    fn same(_lowest: i32) -> bool {
        false
    }
    #[inline(always)]
    fn small(v: i32, zero: i32, _lowest: i32) -> Self {
        (v - zero) as f32
    }
}

/// What bytes begin at for the dot products of the processor: x86-64 takes them without sign, AArch64 with it.
const FIRST_BYTE: i32 = if cfg!(target_arch = "aarch64") { -128 } else { 0 };

/// The element itself, moved to where the processor's bytes begin.
impl Small for u8 {
    fn at_once(tier: Tier) -> usize {
        tier.bytes_at_once().unwrap_or(1)
    }
    #[inline(always)]
    fn origin(zero: i32, lowest: i32) -> i32 {
        zero - lowest + FIRST_BYTE
    }
    fn same(lowest: i32) -> bool {
        lowest == FIRST_BYTE
    }
    #[inline(always)]
    fn small(v: i32, _zero: i32, lowest: i32) -> Self {
        (v - lowest + FIRST_BYTE) as u8
    }
}

/// Copies an image into one with border, compiled for a tier.
pub(crate) fn bordered<T: Copy, U: Copy, E: Each<T, U>>(
    tier: Tier,
    geometry: &Geometry,
    spread: Spread,
    x: &[T],
    y: &mut [U],
    each: E,
) {
    dispatch_loops(tier, Bordered { geometry, spread, x, y, each });
}

struct Bordered<'a, T, U, E> {
    geometry: &'a Geometry,
    spread: Spread,
    x: &'a [T],
    y: &'a mut [U],
    each: E,
}

impl<T: Copy, U: Copy, E: Each<T, U>> Kernel for Bordered<'_, T, U, E> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        self.geometry.copy(self.x, self.y, self.spread, self.each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry() -> Geometry {
        let window = Window { stride: [1, 2], dilation: [1, 1], before: [1, 0], after: [0, 1] };
        Geometry { input: [2, 2, 3, 2], kernel: [2, 2], output: [2, 2], window }
    }

    #[test]
    fn a_walk_visits_every_start_in_order() {
        let walk = geometry().walk(2);
        let mut starts = Starts::new(&walk);
        let all: Vec<usize> = (0..walk.pixels()).map(|_| starts.take()).collect();
        assert_eq!(all, [0, 4, 8, 12, 24, 28, 32, 36]);
        assert_eq!(walk.last(), Some(36));
    }

    #[test]
    fn the_border_is_filled() {
        let g = geometry();
        let x: Vec<i16> = (1..=24).collect();
        let mut y = vec![-1; g.bordered(2).unwrap()];
        bordered(Tier::Portable, &g, Spread::none(2), &x, &mut y, Same);
        assert_eq!(y[..16], [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 0, 0]);
        assert_eq!(y[40..], [19, 20, 21, 22, 23, 24, 0, 0]);
        assert!(y.iter().all(|v| *v >= 0));
    }

    #[test]
    fn kernel_rows_are_one_segment() {
        let s = geometry().segments(2, 2);
        assert_eq!((s.offsets, s.length), (vec![0, 8], 4));
        assert_eq!(geometry().segments(2, 1).offsets, [0, 2, 8, 10]);
    }
}
