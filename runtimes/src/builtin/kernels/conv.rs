//! Convolutions and fully connected layers as products of matrices: every output pixel is a row, every
//! output channel a column.

use super::Tier;
use super::gemm::{EndF32, MAX_ROWS, Segments, Tile, ViewF32, block_columns, tile_f32};
use super::gemm_i8::{Dot, Finish, PackedI8, tile_i8};
use super::gemm_rows::{self, tile_rows};
use super::pixels::{Small, Starts, Walk};
use super::simd::{ByteKernel, Kernel, Quads, RowPairs, Simd, dispatch, dispatch_bytes, dispatch_pairs};
use super::threads::{Start, Threads};
use std::ops::Range;

/// Packed weights are walked once per tile while they are this small, else once in all.
const CACHE_BYTES: usize = 256 * 1024;

/// What rows are made of and where their results go.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
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
    fn check(&self, walk: &Walk, input: usize, spare: usize, columns: usize, output: usize) {
        if let Some(last) = walk.last() {
            let end = self.input_offset + last + self.segments.reach() + spare;
            assert!(end <= input, "rows end at {end} of {input}");
            assert!(self.output_offset + columns <= self.stride);
            assert!(walk.pixels() * self.stride <= output);
        }
    }
}

/// Rows of the next tile, so that no tile is much smaller than another.
#[inline(always)]
fn balanced(left: usize, most: usize) -> usize {
    if left >= 2 * most { most } else { left.div_ceil(left.div_ceil(most)) }
}

/// Where a product's rows start, and who computes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) tier: Tier,
    /// They share the columns.
    pub(crate) threads: &'a Threads,
    /// Starts of rows.
    pub(crate) walk: &'a Walk,
}

impl Rows<'_> {
    /// Calls `work` with the blocks of columns of every part.
    fn share(&self, blocks: usize, work: &(dyn Fn(Range<usize>) + Sync)) {
        let each = blocks.div_ceil(self.threads.count()).max(1);
        self.threads
            .each(blocks.div_ceil(each), &|part, _| work(part * each..((part + 1) * each).min(blocks)));
    }
}

/// What becomes of f32 sums, see [`EndF32`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Then<'a> {
    /// Smallest and largest result.
    pub(crate) range: (f32, f32),
    /// As many as results.
    pub(crate) summand: Option<&'a [f32]>,
    /// Of all columns of all blocks; empty for none.
    pub(crate) slopes: &'a [f32],
}

impl Then<'_> {
    /// Sums are results.
    pub(crate) const NOTHING: Self =
        Self { range: (f32::NEG_INFINITY, f32::INFINITY), summand: None, slopes: &[] };

    /// From a result and from the first column on.
    ///
    /// # Safety
    /// There is such a result.
    #[inline(always)]
    unsafe fn from(&self, result: usize) -> EndF32 {
        EndF32 {
            range: self.range,
            // SAFETY: there are as many summands as results.
            summand: self.summand.map(|s| unsafe { s.as_ptr().add(result) }),
            slopes: (!self.slopes.is_empty()).then_some(self.slopes.as_ptr()),
        }
    }
}

/// f32 product.
pub(crate) fn conv_f32(
    rows: Rows<'_>,
    layout: &Layout,
    packed: ViewF32<'_>,
    then: Then<'_>,
    x: &[f32],
    y: &mut [f32],
) {
    let Rows { tier, walk, .. } = rows;
    assert!(then.summand.is_none_or(|s| s.len() == y.len()), "as many summands as results");
    assert!(then.slopes.is_empty() || then.slopes.len() >= packed.blocks() * packed.width);
    assert_eq!((layout.segments.depth(), block_columns(tier)), (packed.depth, packed.width));
    layout.check(walk, x.len(), 0, packed.columns, y.len());
    let y = Start(y.as_mut_ptr());
    rows.share(packed.blocks(), &|blocks| {
        dispatch(tier, ConvF32 { layout, walk, packed, blocks, then, x, y });
    });
}

struct ConvF32<'a> {
    layout: &'a Layout,
    walk: &'a Walk,
    packed: ViewF32<'a>,
    blocks: Range<usize>,
    then: Then<'a>,
    x: &'a [f32],
    /// Only results of `blocks` are written.
    y: Start<f32>,
}

impl Kernel for ConvF32<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let block_bytes = self.packed.bytes() / self.packed.blocks().max(1);
        // SAFETY: the caller's promise.
        unsafe { each_tile::<S, _>(&self, self.walk, self.blocks.clone(), block_bytes, S::ROWS_F32) }
    }
}

impl<S: Simd> Tiles<S> for ConvF32<'_> {
    #[inline(always)]
    unsafe fn tile(&self, place: &Place, blocks: Range<usize>) {
        // SAFETY: `Layout::check` was passed: starts and results lie inside `x` and `y`.
        unsafe {
            let tile = place.tile(self.layout, self.x, self.y);
            let end = self.then.from(place.first * self.layout.stride + self.layout.output_offset);
            tile_f32::<S>(&tile, &self.layout.segments, self.packed, blocks, end);
        }
    }
}

/// Rows of a tile.
struct Place {
    first: usize,
    rows: usize,
    starts: [usize; MAX_ROWS],
}

impl Place {
    /// # Safety
    /// Starts lie inside `x`, results inside `y`.
    #[inline(always)]
    unsafe fn tile<T, O>(&self, layout: &Layout, x: &[T], y: Start<O>) -> Tile<T, O> {
        // SAFETY: the caller's promise.
        unsafe {
            let mut a = [x.as_ptr(); MAX_ROWS];
            for (a, start) in a.iter_mut().zip(&self.starts) {
                *a = a.add(layout.input_offset + start);
            }
            let out = y.get().add(self.first * layout.stride + layout.output_offset);
            Tile { a, rows: self.rows, out, stride: layout.stride }
        }
    }
}

/// Computes tiles. A trait and not a closure, so that it is inlined wherever it is compiled for vectors.
trait Tiles<S: Simd> {
    /// Some blocks of columns of a tile; `#[inline(always)]`.
    ///
    /// # Safety
    /// The processor has the instructions of `S`.
    unsafe fn tile(&self, place: &Place, blocks: Range<usize>);
}

/// Computes every tile of rows and all of its blocks of columns: all at once, or block by block where all weights
/// together would not stay in the cache.
///
/// # Safety
/// As [`Tiles::tile`].
#[inline(always)]
unsafe fn each_tile<S: Simd, K: Tiles<S>>(
    tiles: &K,
    walk: &Walk,
    blocks: Range<usize>,
    block_bytes: usize,
    most: usize,
) {
    let pixels = walk.pixels();
    // A single row takes several blocks at once.
    let all = blocks.len() * block_bytes <= CACHE_BYTES || pixels == 1;
    let panel = if all { blocks.len() } else { 1 };
    for first in blocks.clone().step_by(panel.max(1)) {
        let mut starts = Starts::new(walk);
        let mut done = 0;
        while done < pixels {
            let rows = balanced(pixels - done, most);
            let mut place = Place { first: done, rows, starts: [0; MAX_ROWS] };
            place.starts[..rows].iter_mut().for_each(|start| *start = starts.take());
            // SAFETY: the caller's promise.
            unsafe { tiles.tile(&place, first..(first + panel).min(blocks.end)) };
            done += rows;
        }
    }
}

/// Elements of activations that there is an int8 product for.
pub(crate) trait Activation: Small {
    /// Runs a product on a tier.
    fn product<E: Finish>(tier: Tier, product: ConvI8<'_, Self, E>);
}

impl Activation for i16 {
    fn product<E: Finish>(tier: Tier, product: ConvI8<'_, i16, E>) {
        dispatch_pairs(tier, product);
    }
}

impl Activation for u8 {
    fn product<E: Finish>(tier: Tier, product: ConvI8<'_, u8, E>) {
        dispatch_bytes(tier, product);
    }
}

/// int8 product of elements as [`Small`] has them. `x` has those of a group, less one, beyond the last.
pub(crate) fn conv_i8<T: Activation + Sync, E: Finish + Sync>(
    rows: Rows<'_>,
    layout: &Layout,
    packed: &PackedI8,
    finish: E,
    x: &[T],
    y: &mut [E::Out],
) {
    let Rows { tier, walk, .. } = rows;
    let group = T::at_once(tier);
    packed.check(tier, group, &layout.segments);
    let spare = layout.segments.length.next_multiple_of(group) - layout.segments.length;
    layout.check(walk, x.len(), spare, packed.columns, y.len());
    let y = Start(y.as_mut_ptr());
    rows.share(packed.blocks(), &|blocks| {
        T::product(tier, ConvI8 { layout, walk, packed, blocks, finish, x, y });
    });
}

/// A product and its operands.
pub(crate) struct ConvI8<'a, T, E: Finish> {
    layout: &'a Layout,
    walk: &'a Walk,
    packed: &'a PackedI8,
    blocks: Range<usize>,
    finish: E,
    x: &'a [T],
    /// Only results of `blocks` are written.
    y: Start<E::Out>,
}

impl<E: Finish> Kernel for ConvI8<'_, i16, E> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe { self.tiles::<S>() }
    }
}

impl<E: Finish> ByteKernel for ConvI8<'_, u8, E> {
    #[inline(always)]
    unsafe fn quads<S: Quads>(self) {
        // SAFETY: the caller's promise.
        unsafe { self.tiles::<S>() }
    }

    #[inline(always)]
    unsafe fn row_pairs<S: RowPairs>(self) {
        let block_bytes = self.packed.bytes() / self.packed.blocks().max(1);
        let (walk, blocks) = (self.walk, self.blocks.clone());
        // SAFETY: the caller's promise.
        unsafe { each_tile::<S, _>(&InPairs(self), walk, blocks, block_bytes, gemm_rows::ROWS) }
    }
}

/// Computed two rows at once.
struct InPairs<K>(K);

impl<S: RowPairs, E: Finish> Tiles<S> for InPairs<ConvI8<'_, u8, E>> {
    #[inline(always)]
    unsafe fn tile(&self, place: &Place, blocks: Range<usize>) {
        let ConvI8 { layout, packed, finish, x, y, .. } = &self.0;
        // SAFETY: as for `ConvI8` itself.
        unsafe {
            let tile = place.tile(layout, x, *y);
            tile_rows::<S, E>(&tile, place.first, &layout.segments, packed, blocks, *finish);
        }
    }
}

impl<T, E: Finish> ConvI8<'_, T, E> {
    /// # Safety
    /// The processor has the instructions of `S`.
    #[inline(always)]
    unsafe fn tiles<S: Simd>(self)
    where
        T: Dot<S>,
    {
        let block_bytes = self.packed.bytes() / self.packed.blocks().max(1);
        // SAFETY: the caller's promise.
        unsafe { each_tile::<S, _>(&self, self.walk, self.blocks.clone(), block_bytes, T::ROWS) }
    }
}

impl<S: Simd, T: Dot<S>, E: Finish> Tiles<S> for ConvI8<'_, T, E> {
    #[inline(always)]
    unsafe fn tile(&self, place: &Place, blocks: Range<usize>) {
        let Self { layout, packed, finish, x, y, .. } = self;
        // SAFETY: `Layout::check` was passed: starts and results lie inside `x` and `y`, and so was
        // `PackedI8::check`.
        unsafe {
            let tile = place.tile(layout, x, *y);
            tile_i8::<S, T, E>(&tile, place.first, &layout.segments, packed, blocks, *finish);
        }
    }
}
