//! Products of matrices with packed weights: the inner loops of convolutions and fully connected layers,
//! in f32 here, in int8 in `gemm_i8`. A row of the left matrix is given as segments, so that a
//! convolution needs no copy of its input per kernel tap.
//!
//! Columns come in blocks of two vectors of the tier they are packed for; the last may be half as wide.

#![expect(
    clippy::needless_range_loop,
    reason = "indices over small constant arrays are unrolled into registers"
)]

use super::Tier;
use super::memory::Buffer;
use super::simd::{MAX_LANES, Simd, copy_few, unroll};
use crate::Result;

/// Columns of a block of packed weights, at most.
pub(super) const MAX_COLUMNS: usize = 2 * MAX_LANES;
/// Rows of a tile, at most.
pub(crate) const MAX_ROWS: usize = 8;
/// Blocks whose sums of a single row are taken at once: one row has too few to keep the processor busy.
pub(super) const ROW_BLOCKS: usize = 4;

/// Columns of a block of packed weights.
pub(crate) fn block_columns(tier: Tier) -> usize {
    2 * tier.lanes()
}

/// Where a row's elements are: `length` at each of `offsets` from the row's start.
#[derive(Clone, Debug)]
pub(crate) struct Segments {
    /// From the row's start, in elements.
    pub(crate) offsets: Vec<usize>,
    /// Elements of every segment.
    pub(crate) length: usize,
}

impl Segments {
    /// Elements of a row.
    pub(crate) fn depth(&self) -> usize {
        self.offsets.len() * self.length
    }

    /// Elements from a row's start to the end of its last segment.
    pub(crate) fn reach(&self) -> usize {
        self.offsets.iter().max().map_or(0, |o| o + self.length)
    }
}

/// Weights packed for f32: per block a bias per column, then all columns for every element of a row.
#[derive(Debug)]
pub(crate) struct PackedF32 {
    data: Buffer,
    columns: usize,
    depth: usize,
    width: usize,
}

impl PackedF32 {
    /// From `weights[column][depth]` and `bias[column]` (or none).
    pub(crate) fn new(
        tier: Tier,
        weights: &[f32],
        bias: Option<&[f32]>,
        columns: usize,
        depth: usize,
    ) -> Result<Self> {
        /// Elements of a cache line.
        const LINE: usize = 16;
        let mut data = Buffer::of::<f32>(Self::elements(tier, columns, depth))?;
        let width = block_columns(tier);
        for (b, block) in data.elements_mut().chunks_exact_mut((depth + 1) * width).enumerate() {
            let first = b * width;
            pack_bias(&mut block[..width], bias, first);
            let count = columns.saturating_sub(first).min(width);
            // Columns are far apart: a line of each is read, and as many rows are written.
            for (k, rows) in (0..depth).step_by(LINE).zip(block[width..].chunks_mut(LINE * width)) {
                for j in 0..count {
                    let column = &weights[(first + j) * depth + k..][..rows.len() / width];
                    column.iter().zip(rows[j..].iter_mut().step_by(width)).for_each(|(w, to)| *to = *w);
                }
            }
        }
        Ok(Self { data, columns, depth, width })
    }

    /// Elements that packed weights take.
    pub(crate) fn elements(tier: Tier, columns: usize, depth: usize) -> usize {
        columns.next_multiple_of(block_columns(tier)).saturating_mul(depth + 1)
    }

    /// The packed weights.
    pub(crate) fn view(&self) -> ViewF32<'_> {
        let Self { columns, depth, width, .. } = *self;
        ViewF32 { data: self.data.elements(), columns, depth, width }
    }
}

fn pack_bias(to: &mut [f32], bias: Option<&[f32]>, first: usize) {
    for (j, value) in to.iter_mut().enumerate() {
        *value = bias.and_then(|b| b.get(first + j)).copied().unwrap_or(0.0);
    }
}

/// Packs weights; `at(column, k)` reads them.
pub(crate) fn pack_f32(
    tier: Tier,
    to: &mut [f32],
    bias: Option<&[f32]>,
    columns: usize,
    depth: usize,
    at: impl Fn(usize, usize) -> f32,
) {
    let width = block_columns(tier);
    for (b, block) in to.chunks_exact_mut((depth + 1) * width).enumerate() {
        let first = b * width;
        pack_bias(&mut block[..width], bias, first);
        let count = columns.saturating_sub(first).min(width);
        for (k, row) in block[width..].chunks_exact_mut(width).enumerate() {
            for (j, value) in row.iter_mut().enumerate() {
                *value = if j < count { at(first + j, k) } else { 0.0 };
            }
        }
    }
}

/// Packed f32 weights, wherever they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ViewF32<'a> {
    /// As [`pack_f32`] wrote them.
    pub(crate) data: &'a [f32],
    /// Columns in all.
    pub(crate) columns: usize,
    /// Elements of a row.
    pub(crate) depth: usize,
    /// Columns of a block.
    pub(crate) width: usize,
}

impl<'a> ViewF32<'a> {
    /// Number of blocks.
    pub(crate) fn blocks(&self) -> usize {
        self.columns.div_ceil(self.width)
    }

    /// Bytes of all blocks.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.data)
    }

    fn block(&self, index: usize) -> &'a [f32] {
        let block = (self.depth + 1) * self.width;
        &self.data[index * block..][..block]
    }
}

/// Rows of one tile, as pointers, and where its results go.
#[derive(Clone, Copy)]
pub(crate) struct Tile<T, O> {
    /// Start of every row; those beyond `rows` are not read.
    pub(crate) a: [*const T; MAX_ROWS],
    /// Rows that are wanted.
    pub(crate) rows: usize,
    /// First result of the first row.
    pub(crate) out: *mut O,
    /// Elements from one row's results to the next.
    pub(crate) stride: usize,
}

/// Runs a block with constants `R`, the rows, and `V`, the vectors of columns.
macro_rules! each_size {
    ($most:expr, $rows:expr, $narrow:expr, |$r:ident, $v:ident| $body:block) => {
        $crate::builtin::kernels::gemm::each_size!(@ $most, $rows, $narrow, $r, $v, $body,
            1, 2, 3, 4, 5, 6, 7, 8)
    };
    (@ $most:expr, $rows:expr, $narrow:expr, $r:ident, $v:ident, $body:block, $($n:literal),*) => {
        match ($rows, $narrow) {
            $(($n, false) if $n <= $most => {
                const $r: usize = $n;
                const $v: usize = 2;
                $body
            }
            ($n, true) if $n <= $most => {
                const $r: usize = $n;
                const $v: usize = 1;
                $body
            })*
            _ => unreachable!("a tile has 1 to so many rows"),
        }
    };
}
pub(super) use each_size;

/// What becomes of f32 sums: what is added to them, then the range that they are cut to, then factors of what is below
/// zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndF32 {
    /// Smallest and largest result.
    pub(crate) range: (f32, f32),
    /// Where the first result of the first row has its summand; others lie as the results do.
    pub(crate) summand: Option<*const f32>,
    /// Of the first column.
    pub(crate) slopes: Option<*const f32>,
}

impl EndF32 {
    /// The same for columns from another one on.
    ///
    /// # Safety
    /// There are so many.
    #[inline(always)]
    unsafe fn from(self, column: usize) -> Self {
        // SAFETY: the caller's promise.
        let on = |p: Option<*const f32>| p.map(|p| unsafe { p.add(column) });
        Self { summand: on(self.summand), slopes: on(self.slopes), ..self }
    }

    /// A vector of results; `summand` and `slopes` are those of its columns.
    ///
    /// # Safety
    /// As [`Simd`].
    #[inline(always)]
    unsafe fn cut<S: Simd>(self, sum: S::F, slopes: Option<*const f32>) -> S::F {
        // SAFETY: the caller's promise.
        unsafe {
            let cut = S::min(S::splat(self.range.1), S::max(S::splat(self.range.0), sum));
            match slopes {
                None => cut,
                Some(slopes) => {
                    let zero = S::splat(0.0);
                    S::add(S::max(zero, cut), S::mul(S::min(zero, cut), S::load(slopes)))
                }
            }
        }
    }
}

/// All columns of blocks `indices` for one tile.
///
/// # Safety
/// Every row is readable at all segments, which are as deep as the weights, every wanted row's results are writable for
/// all columns, and so are summands readable; there are slopes for all columns of all blocks, the processor has the
/// instructions of `S`, and the weights are packed for them.
#[inline(always)]
pub(crate) unsafe fn tile_f32<S: Simd>(
    tile: &Tile<f32, f32>,
    segments: &Segments,
    packed: ViewF32<'_>,
    indices: std::ops::Range<usize>,
    end: EndF32,
) {
    let width = 2 * S::LANES;
    let mut index = indices.start;
    // SAFETY: the caller's promise; a block has as many elements as the segments need.
    unsafe {
        while tile.rows == 1
            && index + ROW_BLOCKS <= indices.end
            && (index + ROW_BLOCKS) * width <= packed.columns
        {
            row_f32::<S>(tile, segments, packed, index, end.from(index * width));
            index += ROW_BLOCKS;
        }
        while index < indices.end {
            let weights = packed.block(index).as_ptr();
            let columns = (packed.columns - index * width).min(width);
            let out = tile.out.add(index * width);
            let end = end.from(index * width);
            each_size!(S::ROWS_F32, tile.rows, columns <= S::LANES, |R, V| {
                inner_f32::<S, R, V>(tile, segments, weights, columns, out, end);
            });
            index += 1;
        }
    }
}

/// One row and several whole blocks of columns.
///
/// # Safety
/// As [`tile_f32`].
#[inline(always)]
unsafe fn row_f32<S: Simd>(
    tile: &Tile<f32, f32>,
    segments: &Segments,
    packed: ViewF32<'_>,
    index: usize,
    end: EndF32,
) {
    let (lanes, width) = (S::LANES, 2 * S::LANES);
    let block = (packed.depth + 1) * width;
    // SAFETY: the contract of `tile_f32`.
    unsafe {
        let mut w = packed.block(index).as_ptr();
        let mut sums = [[S::splat(0.0); 2]; ROW_BLOCKS];
        for b in 0..ROW_BLOCKS {
            for v in 0..2 {
                sums[b][v] = S::load(w.add(b * block + v * lanes));
            }
        }
        for offset in &segments.offsets {
            let a = tile.a[0].add(*offset);
            for k in 0..segments.length {
                w = w.add(width);
                let x = S::splat(*a.add(k));
                for b in 0..ROW_BLOCKS {
                    for v in 0..2 {
                        sums[b][v] = S::mul_add(x, S::load(w.add(b * block + v * lanes)), sums[b][v]);
                    }
                }
            }
        }
        let out = tile.out.add(index * width);
        for b in 0..ROW_BLOCKS {
            for v in 0..2 {
                let at = b * width + v * lanes;
                let sum = end.summand.map_or(sums[b][v], |s| S::add(sums[b][v], S::load(s.add(at))));
                S::store(out.add(at), end.cut::<S>(sum, end.slopes.map(|s| s.add(at))));
            }
        }
    }
}

#[inline(always)]
unsafe fn inner_f32<S: Simd, const R: usize, const V: usize>(
    tile: &Tile<f32, f32>,
    segments: &Segments,
    weights: *const f32,
    columns: usize,
    out: *mut f32,
    end: EndF32,
) {
    // SAFETY: the contract of `tile_f32`.
    unsafe {
        let mut sums = [[S::splat(0.0); V]; R];
        let lanes = S::LANES;
        let mut w = weights.add(2 * lanes);
        unroll!(v < V, {
            let bias = S::load(weights.add(v * lanes));
            unroll!(r < R, { sums[r][v] = bias });
        });
        for offset in &segments.offsets {
            let mut a = [std::ptr::null::<f32>(); R];
            unroll!(r < R, { a[r] = tile.a[r].add(*offset) });
            for k in 0..segments.length {
                let mut block = [S::splat(0.0); V];
                unroll!(v < V, { block[v] = S::load(w.add(v * lanes)) });
                unroll!(r < R, {
                    let x = S::splat(*a[r].add(k));
                    unroll!(v < V, { sums[r][v] = S::mul_add(x, block[v], sums[r][v]) });
                });
                w = w.add(2 * lanes);
            }
        }
        if let Some(summand) = end.summand {
            let mut few = [[0.0f32; MAX_COLUMNS]; MAX_ROWS];
            let (mut from, mut stride) = (summand, tile.stride);
            if columns < V * lanes {
                unroll!(r < R, { copy_few(summand.add(r * tile.stride), few[r].as_mut_ptr(), columns) });
                (from, stride) = (few.as_ptr().cast(), MAX_COLUMNS);
            }
            unroll!(r < R, {
                unroll!(v < V, {
                    sums[r][v] = S::add(sums[r][v], S::load(from.add(r * stride + v * lanes)));
                });
            });
        }
        unroll!(v < V, {
            let slopes = end.slopes.map(|s| s.add(v * lanes));
            unroll!(r < R, { sums[r][v] = end.cut::<S>(sums[r][v], slopes) });
        });
        if columns == V * lanes {
            unroll!(r < R, {
                let out = out.add(r * tile.stride);
                unroll!(v < V, { S::store(out.add(v * lanes), sums[r][v]) });
            });
            return;
        }
        let mut results = [0.0f32; MAX_COLUMNS];
        unroll!(r < R, {
            unroll!(v < V, { S::store(results.as_mut_ptr().add(v * lanes), sums[r][v]) });
            copy_few(results.as_ptr(), out.add(r * tile.stride), columns);
        });
    }
}
