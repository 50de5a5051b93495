//! An image in strips of output lines: each is copied with its border, where that is needed, and computed, before the
//! next. So the copy stays in the cache, scratch memory small, and threads have parts to take.

use super::pixels::{Geometry, Walk};
use super::threads::Threads;
use crate::Result;
use crate::builtin::limits;
use std::ops::Range;

/// Bytes of a strip's copy: it shares the second cache with weights and results.
const COPY_BYTES: usize = 96 * 1024;
/// Pixels that a strip has at least: below, weights are read again too often.
const MIN_PIXELS: usize = 64;
/// Strips per thread, so that none waits long for another.
const PER_THREAD: usize = 3;
/// Multiplications below which a second thread costs more than it gives.
pub(crate) const MIN_WORK: usize = 250_000;

/// A geometry in strips.
#[derive(Clone, Debug)]
pub(crate) struct Strips {
    geometry: Geometry,
    /// Channels of a pixel of the copy.
    channels: usize,
    /// The image is copied.
    copied: bool,
    /// Output lines of a strip; the last of an image may have fewer.
    lines: usize,
}

/// One strip.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strip {
    /// What is copied: an image that is as high as what the strip reads.
    pub(crate) geometry: Geometry,
    /// First input line.
    pub(crate) first_line: usize,
    /// First output pixel.
    pub(crate) first_pixel: usize,
    /// Where output pixels start: in the copy, or where there is none in the operand from the first input line on.
    pub(crate) walk: Walk,
}

impl Strips {
    /// Strips of an image whose copy, if there is one, has `channels` of `size` bytes per pixel, for `work`
    /// multiplications per output pixel.
    pub(crate) fn new(
        geometry: Geometry,
        channels: usize,
        size: usize,
        copied: bool,
        work: usize,
        threads: &Threads,
    ) -> Self {
        // Pixels that only have channels in common may be cut anywhere.
        let geometry = if geometry.pointwise() { flat(geometry) } else { geometry };
        let [height, width] = geometry.output;
        let line = geometry.padded()[1] * channels * size * geometry.window.stride[0];
        let mut lines = if copied { COPY_BYTES / line.max(1) } else { height };
        if threads.count() > 1 && geometry.pixels().saturating_mul(work) >= MIN_WORK {
            lines = lines.min(height.div_ceil(threads.count() * PER_THREAD));
        }
        let lines = lines.max(MIN_PIXELS.div_ceil(width.max(1))).clamp(1, height.max(1));
        // As many strips, of the same height.
        let lines = height.div_ceil(height.div_ceil(lines).max(1)).max(1);
        Self { geometry, channels, copied, lines }
    }

    /// Number of strips of all images.
    pub(crate) fn count(&self) -> usize {
        self.geometry.input[0] * self.per_image()
    }

    fn per_image(&self) -> usize {
        self.geometry.output[0].div_ceil(self.lines)
    }

    /// Elements of the largest copy.
    ///
    /// # Errors
    /// Too many.
    pub(crate) fn copy_elements(&self) -> Result<usize> {
        if !self.copied {
            return Ok(0);
        }
        let g = &self.geometry;
        let high =
            (self.lines.max(1) - 1) * g.window.stride[0] + (g.kernel[0] - 1) * g.window.dilation[0] + 1;
        limits::elements(&[high.min(g.padded()[0]), g.padded()[1], self.channels])
    }

    /// Output pixels of a strip.
    pub(crate) fn pixels(&self, part: usize) -> Range<usize> {
        let [height, width] = self.geometry.output;
        let (image, first) = (part / self.per_image(), part % self.per_image() * self.lines);
        let last = (first + self.lines).min(height);
        (image * height + first) * width..(image * height + last) * width
    }

    /// A strip.
    pub(crate) fn strip(&self, part: usize) -> Strip {
        let g = self.geometry;
        let (image, first) = (part / self.per_image(), part % self.per_image() * self.lines);
        let lines = self.lines.min(g.output[0] - first);
        let [_, height, width, channels] = g.input;
        let ([top, left], [_, right]) = (g.window.before, g.window.after);
        // Lines of the image with border, of which the input has those from `top` to `top + height`.
        let start = first * g.window.stride[0];
        let end = start + (lines - 1) * g.window.stride[0] + (g.kernel[0] - 1) * g.window.dilation[0] + 1;
        let above = top.saturating_sub(start).min(end - start);
        let (low, high) = (start.max(top) - top, end.min(top + height).max(top) - top);
        let real = high.saturating_sub(low);
        let mut geometry = g;
        geometry.input = [1, real, width, channels];
        geometry.output[0] = lines;
        geometry.window.before = [above, left];
        geometry.window.after = [end - start - above - real, right];
        let first_line = image * height + low.min(height);
        let first_pixel = self.pixels(part).start;
        Strip { geometry, first_line, first_pixel, walk: geometry.walk(self.channels) }
    }
}

/// Pixels below each other.
fn flat(geometry: Geometry) -> Geometry {
    let pixels = geometry.pixels();
    Geometry { input: [1, pixels, 1, geometry.input[3]], output: [pixels, 1], ..geometry }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::kernels::Tier;
    use crate::builtin::kernels::pixels::{Same, Spread, bordered};
    use crate::builtin::ops::Window;
    use crate::builtin::testing::Numbers;

    /// Every pixel of every strip sees the same elements as in a copy of the whole.
    #[test]
    fn strips_are_parts_of_the_whole() {
        for seed in 0..200 {
            let mut n = Numbers::new(seed);
            let window = Window {
                stride: [n.size(1, 3), n.size(1, 2)],
                dilation: [n.size(1, 2), 1],
                before: [n.size(0, 4), n.size(0, 2)],
                after: [n.size(0, 4), n.size(0, 2)],
            };
            let (input, kernel) =
                ([n.size(1, 2), n.size(1, 40), n.size(2, 9), 3], [n.size(1, 3), n.size(1, 2)]);
            let Ok(output) = window.output([input[1], input[2]], kernel) else { continue };
            let g = Geometry { input, kernel, output, window };
            let x: Vec<f32> = (0..input.iter().product::<usize>()).map(|i| i as f32 + 1.0).collect();
            let mut whole = vec![-1.0; g.bordered(3).unwrap()];
            bordered(Tier::Portable, &g, Spread::none(3), &x, &mut whole, Same);
            let seen = |x: &[f32], walk: &Walk| {
                let taps = g.taps(3);
                let [images, rows, columns] = walk.counts;
                let mut all = Vec::new();
                for at in 0..images * rows * columns {
                    let (c, r, i) = (at % columns, at / columns % rows, at / columns / rows);
                    let start = i * walk.strides[0] + r * walk.strides[1] + c * walk.strides[2];
                    all.extend(taps.iter().map(|t| x[start + t]));
                }
                all
            };
            let threads = Threads::new(n.size(1, 3)).unwrap();
            let strips = Strips::new(g, 3, 4 * n.size(1, 3000), true, 1000, &threads);
            let (mut parts, mut pixels) = (Vec::new(), 0);
            for part in 0..strips.count() {
                let strip = strips.strip(part);
                assert_eq!(strips.pixels(part).start, pixels);
                pixels = strips.pixels(part).end;
                let mut copy = vec![-1.0; strips.copy_elements().unwrap()];
                let from = &x[strip.first_line * strip.geometry.input[2] * 3..];
                bordered(Tier::Portable, &strip.geometry, Spread::none(3), from, &mut copy, Same);
                parts.extend(seen(&copy, &strip.walk));
            }
            assert_eq!(pixels, g.pixels());
            assert_eq!(parts, seen(&whole, &g.walk(3)), "{g:?}");
        }
    }
}
