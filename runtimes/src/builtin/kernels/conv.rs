//! Convolutions and fully connected layers as products of matrices: every output pixel is a row, every
//! output channel a column.

use super::Tier;
use super::gemm::{Finish, PackedI8, ROWS_F32, ROWS_I8, Segments, Tile, ViewF32, tile_f32, tile_i8};
use super::pixels::{Starts, Walk};
use super::simd::{Kernel, Simd, dispatch};

/// Packed weights are walked once per tile while they are this small, else once in all.
const CACHE_BYTES: usize = 256 * 1024;

/// Which rows there are and where their results go.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Starts of rows.
    pub(crate) walk: Walk,
    /// Elements of a row.
    pub(crate) segments: Segments,
    /// First channel read, of a group.
    pub(crate) input_offset: usize,
    /// First channel written, of a group.
    pub(crate) output_offset: usize,
    /// Output channels of all groups.
    pub(crate) stride: usize,
}

impl Layout {
    /// Panics unless all rows lie in an input of `input` elements with `spare` beyond each, and all
    /// results in an output of `output`.
    fn check(&self, input: usize, spare: usize, columns: usize, output: usize) {
        if let Some(last) = self.walk.last() {
            let end = self.input_offset + last + self.segments.reach() + spare;
            assert!(end <= input, "rows end at {end} of {input}");
            assert!(self.output_offset + columns <= self.stride);
            assert!(self.walk.pixels() * self.stride <= output);
        }
    }
}

/// f32 product; `range` is the smallest and the largest result.
pub(crate) fn conv_f32(
    tier: Tier,
    layout: &Layout,
    packed: ViewF32<'_>,
    range: (f32, f32),
    x: &[f32],
    y: &mut [f32],
) {
    assert_eq!(layout.segments.depth(), packed.depth);
    layout.check(x.len(), 0, packed.columns, y.len());
    dispatch(tier, ConvF32 { layout, packed, range, x, y });
}

struct ConvF32<'a> {
    layout: &'a Layout,
    packed: ViewF32<'a>,
    range: (f32, f32),
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for ConvF32<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { layout, packed, range, x, y } = self;
        let blocks = packed.blocks();
        let panel = if packed.bytes() > CACHE_BYTES { 1 } else { blocks };
        let pixels = layout.walk.pixels();
        for first in (0..blocks).step_by(panel.max(1)) {
            let mut starts = Starts::new(&layout.walk);
            let mut done = 0;
            while done < pixels {
                let rows = (pixels - done).min(ROWS_F32);
                // SAFETY: `Layout::check` was passed: starts and results lie inside `x` and `y`.
                unsafe {
                    let mut a = [x.as_ptr(); ROWS_F32];
                    for a in &mut a[..rows] {
                        *a = a.add(layout.input_offset + starts.take());
                    }
                    let out = y.as_mut_ptr().add(done * layout.stride + layout.output_offset);
                    let tile = Tile { a, rows, out, stride: layout.stride };
                    for block in first..(first + panel).min(blocks) {
                        tile_f32::<S>(&tile, &layout.segments, packed, block, range);
                    }
                }
                done += rows;
            }
        }
    }
}

/// int8 product of elements that were centred on their zero point. `x` has an element beyond the last
/// that is read.
pub(crate) fn conv_i8<E: Finish>(
    tier: Tier,
    layout: &Layout,
    packed: &PackedI8,
    finish: E,
    x: &[i16],
    y: &mut [E::Out],
) {
    layout.check(x.len(), layout.segments.length % 2, packed.columns, y.len());
    dispatch(tier, ConvI8 { layout, packed, finish, x, y });
}

struct ConvI8<'a, E: Finish> {
    layout: &'a Layout,
    packed: &'a PackedI8,
    finish: E,
    x: &'a [i16],
    y: &'a mut [E::Out],
}

impl<E: Finish> Kernel for ConvI8<'_, E> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { layout, packed, finish, x, y } = self;
        let blocks = packed.blocks();
        let panel = if packed.bytes() > CACHE_BYTES { 1 } else { blocks };
        let pixels = layout.walk.pixels();
        for first in (0..blocks).step_by(panel.max(1)) {
            let mut starts = Starts::new(&layout.walk);
            let mut done = 0;
            while done < pixels {
                let rows = (pixels - done).min(ROWS_I8);
                // SAFETY: `Layout::check` was passed: starts and results lie inside `x` and `y`.
                unsafe {
                    let mut a = [x.as_ptr(); ROWS_I8];
                    for a in &mut a[..rows] {
                        *a = a.add(layout.input_offset + starts.take());
                    }
                    let out = y.as_mut_ptr().add(done * layout.stride + layout.output_offset);
                    let tile = Tile { a, rows, out, stride: layout.stride };
                    for block in first..(first + panel).min(blocks) {
                        tile_i8::<S, E>(&tile, done, &layout.segments, packed, block, finish);
                    }
                }
                done += rows;
            }
        }
    }
}
