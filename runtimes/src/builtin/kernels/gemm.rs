//! Products of matrices with packed weights: the inner loops of convolutions and fully connected layers,
//! in f32 and in int8 with exact 32-bit sums. A row of the left matrix is given as segments, so that a
//! convolution needs no copy of its input per kernel tap.
//!
//! Columns come in blocks of [`COLUMNS`]; the last may be half as wide.

#![expect(
    clippy::needless_range_loop,
    reason = "indices over small constant arrays are unrolled into registers"
)]

use super::memory::Buffer;
use super::quant::Requant;
use super::simd::{LANES, Simd};
use crate::Result;

/// Columns of a block of packed weights.
pub(crate) const COLUMNS: usize = 2 * LANES;
/// Rows of an f32 tile: 12 accumulators of 16 registers.
pub(crate) const ROWS_F32: usize = 6;
/// Rows of an int8 tile: 8 accumulators, and room for what the dot product needs.
pub(crate) const ROWS_I8: usize = 4;

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

/// Weights packed for f32: per block `[bias; 16]`, then 16 columns for every element of a row.
#[derive(Debug)]
pub(crate) struct PackedF32 {
    data: Buffer,
    columns: usize,
    depth: usize,
}

impl PackedF32 {
    /// From `weights[column][depth]` and `bias[column]` (or none).
    pub(crate) fn new(weights: &[f32], bias: Option<&[f32]>, columns: usize, depth: usize) -> Result<Self> {
        let mut data = Buffer::of::<f32>(Self::elements(columns, depth))?;
        pack_f32(data.elements_mut(), bias, columns, depth, |column, k| weights[column * depth + k]);
        Ok(Self { data, columns, depth })
    }

    /// Elements that packed weights take.
    pub(crate) fn elements(columns: usize, depth: usize) -> usize {
        columns.next_multiple_of(COLUMNS).saturating_mul(depth + 1)
    }

    /// The packed weights.
    pub(crate) fn view(&self) -> ViewF32<'_> {
        ViewF32 { data: self.data.elements(), columns: self.columns, depth: self.depth }
    }
}

/// Packs weights; `at(column, k)` reads them.
pub(crate) fn pack_f32(
    to: &mut [f32],
    bias: Option<&[f32]>,
    columns: usize,
    depth: usize,
    at: impl Fn(usize, usize) -> f32,
) {
    for (b, block) in to.chunks_exact_mut((depth + 1) * COLUMNS).enumerate() {
        let first = b * COLUMNS;
        for (j, value) in block[..COLUMNS].iter_mut().enumerate() {
            *value = bias.and_then(|b| b.get(first + j)).copied().unwrap_or(0.0);
        }
        let count = columns.saturating_sub(first).min(COLUMNS);
        for (k, row) in block[COLUMNS..].chunks_exact_mut(COLUMNS).enumerate() {
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
}

impl<'a> ViewF32<'a> {
    /// Number of blocks.
    pub(crate) fn blocks(&self) -> usize {
        self.columns.div_ceil(COLUMNS)
    }

    /// Bytes of all blocks.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.data)
    }

    fn block(&self, index: usize) -> &'a [f32] {
        let block = (self.depth + 1) * COLUMNS;
        &self.data[index * block..][..block]
    }
}

/// Rows of one tile, as pointers, and where its results go.
#[derive(Clone, Copy)]
pub(crate) struct Tile<T, O, const R: usize> {
    /// Start of every row; those beyond `rows` are not read.
    pub(crate) a: [*const T; R],
    /// Rows that are wanted.
    pub(crate) rows: usize,
    /// First result of the first row.
    pub(crate) out: *mut O,
    /// Elements from one row's results to the next.
    pub(crate) stride: usize,
}

/// All columns of block `index` for one tile, cut to `min..=max`.
///
/// # Safety
/// Every row is readable at all segments, which are as deep as the weights, every wanted row's results are writable for all columns, and
/// the processor has the instructions of `S`.
#[inline(always)]
pub(crate) unsafe fn tile_f32<S: Simd>(
    tile: &Tile<f32, f32, ROWS_F32>,
    segments: &Segments,
    packed: ViewF32<'_>,
    index: usize,
    range: (f32, f32),
) {
    let weights = packed.block(index).as_ptr();
    let columns = (packed.columns - index * COLUMNS).min(COLUMNS);
    // SAFETY: the caller's promise; the block has as many elements as the segments need.
    unsafe {
        let out = tile.out.add(index * COLUMNS);
        macro_rules! rows {
            ($($n:literal),*) => {
                match (tile.rows, columns <= LANES) {
                    $(($n, false) => inner_f32::<S, $n, 2>(tile, segments, weights, columns, out, range),
                    ($n, true) => inner_f32::<S, $n, 1>(tile, segments, weights, columns, out, range),)*
                    _ => unreachable!("a tile has 1 to 6 rows"),
                }
            };
        }
        rows!(1, 2, 3, 4, 5, 6);
    }
}

#[inline(always)]
unsafe fn inner_f32<S: Simd, const R: usize, const V: usize>(
    tile: &Tile<f32, f32, ROWS_F32>,
    segments: &Segments,
    weights: *const f32,
    columns: usize,
    out: *mut f32,
    range: (f32, f32),
) {
    // SAFETY: the contract of `tile_f32`.
    unsafe {
        let mut sums = [[S::splat(0.0); V]; R];
        let mut w = weights.add(COLUMNS);
        for v in 0..V {
            let bias = S::load(weights.add(v * LANES));
            for sum in &mut sums {
                sum[v] = bias;
            }
        }
        for offset in &segments.offsets {
            let mut a = [std::ptr::null::<f32>(); R];
            for r in 0..R {
                a[r] = tile.a[r].add(*offset);
            }
            for k in 0..segments.length {
                let mut block = [S::splat(0.0); V];
                for v in 0..V {
                    block[v] = S::load(w.add(v * LANES));
                }
                for r in 0..R {
                    let x = S::splat(*a[r].add(k));
                    for v in 0..V {
                        sums[r][v] = S::mul_add(x, block[v], sums[r][v]);
                    }
                }
                w = w.add(COLUMNS);
            }
        }
        let (min, max) = (S::splat(range.0), S::splat(range.1));
        if columns == V * LANES {
            for r in 0..R {
                for v in 0..V {
                    let sum = S::min(max, S::max(min, sums[r][v]));
                    S::store(out.add(r * tile.stride + v * LANES), sum);
                }
            }
            return;
        }
        for r in 0..R {
            let mut results = [0.0f32; COLUMNS];
            for v in 0..V {
                let sum = S::min(max, S::max(min, sums[r][v]));
                S::store(results.as_mut_ptr().add(v * LANES), sum);
            }
            std::ptr::copy_nonoverlapping(results.as_ptr(), out.add(r * tile.stride), columns);
        }
    }
}

/// Weights packed for int8: per block `[bias i32; 16][scale f32; 16][bias f32; 16]`, then for every pair
/// of elements of a segment 16 columns of two i8. An odd segment ends with a zero.
#[derive(Debug)]
pub(crate) struct PackedI8 {
    data: Buffer,
    block: usize,
    /// Columns in all.
    pub(crate) columns: usize,
}

/// Bytes of a block before its weights.
const HEAD: usize = COLUMNS * 12;

/// Per-column numbers of int8 weights.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Columns<'a> {
    /// Added to the sums; missing is 0.
    pub(crate) bias: Option<&'a [i32]>,
    /// Factor on the sums; one for all columns, or one each.
    pub(crate) scale: &'a [f32],
    /// Added after scaling, where results are f32; missing is 0.
    pub(crate) bias_f32: Option<&'a [f32]>,
}

impl PackedI8 {
    /// From `weights[column][segment][element]`.
    pub(crate) fn new(weights: &[i8], columns: usize, segments: &Segments, of: Columns<'_>) -> Result<Self> {
        let (count, length) = (segments.offsets.len(), segments.length);
        let pairs = length.div_ceil(2);
        let block = HEAD + count * pairs * 2 * COLUMNS;
        let mut data = Buffer::zeroed(columns.div_ceil(COLUMNS) * block)?;
        for column in 0..columns {
            let (b, j) = (column / COLUMNS, column % COLUMNS);
            let block = &mut data.bytes_mut()[b * block..][..block];
            let scale = if of.scale.len() == 1 { of.scale[0] } else { of.scale[column] };
            let bias = of.bias.map_or(0, |b| b[column]);
            let head = [
                bias.to_ne_bytes(),
                scale.to_ne_bytes(),
                of.bias_f32.map_or(0.0, |b| b[column]).to_ne_bytes(),
            ];
            for (i, bytes) in head.into_iter().enumerate() {
                block[(i * COLUMNS + j) * 4..][..4].copy_from_slice(&bytes);
            }
            let packed = &mut block[HEAD..];
            for (i, w) in weights[column * count * length..][..count * length].iter().enumerate() {
                let (segment, k) = (i / length, i % length);
                packed[((segment * pairs + k / 2) * COLUMNS + j) * 2 + k % 2] = w.cast_unsigned();
            }
        }
        Ok(Self { data, block, columns })
    }

    /// Number of blocks.
    pub(crate) fn blocks(&self) -> usize {
        self.columns.div_ceil(COLUMNS)
    }

    /// Bytes of all blocks.
    pub(crate) fn bytes(&self) -> usize {
        self.data.bytes().len()
    }
}

/// What becomes of exact sums.
pub(crate) trait Finish: Copy {
    /// Element type of the results.
    type Out: Copy + Default;

    /// Eight results of row `row` of the matrix; `scale` and `bias` belong to the columns.
    ///
    /// # Safety
    /// As [`Simd`]; `out` is writable for eight elements.
    unsafe fn finish<S: Simd>(self, sum: S::I, row: usize, scale: S::F, bias: S::F, out: *mut Self::Out);
}

/// 8-bit results.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToBytes(pub(crate) Requant);

impl Finish for ToBytes {
    type Out = u8;

    #[inline(always)]
    unsafe fn finish<S: Simd>(self, sum: S::I, _row: usize, scale: S::F, _bias: S::F, out: *mut u8) {
        // SAFETY: the trait's contract.
        unsafe {
            let scaled = S::mul(S::to_f32(sum), scale);
            store_requantized::<S>(self.0, scaled, out);
        }
    }
}

/// Rounds eight scaled sums to bytes.
///
/// # Safety
/// As [`Simd`]; `out` is writable for eight elements.
#[inline(always)]
pub(crate) unsafe fn store_requantized<S: Simd>(requant: Requant, scaled: S::F, out: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe {
        let cut = S::min(S::splat(requant.high), S::max(S::splat(requant.low), scaled));
        let zero = [requant.zero; LANES];
        S::store_low_bytes(out, S::add_i32(S::round(cut), S::load_i32(zero.as_ptr())));
    }
}

/// f32 results: sum · factor of the row · scale + bias, cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToF32<'a> {
    /// One factor per `rows_per_factor` rows.
    pub(crate) factors: &'a [f32],
    /// Rows that share a factor.
    pub(crate) rows_per_factor: usize,
    /// (sum · factor) · scale, as XNNPACK; else sum · (factor · scale), as ONNX graphs spell it.
    pub(crate) row_first: bool,
    /// Range of the results.
    pub(crate) range: (f32, f32),
}

impl Finish for ToF32<'_> {
    type Out = f32;

    #[inline(always)]
    unsafe fn finish<S: Simd>(self, sum: S::I, row: usize, scale: S::F, bias: S::F, out: *mut f32) {
        // SAFETY: the trait's contract.
        unsafe {
            let factor = S::splat(self.factors[row / self.rows_per_factor]);
            let sum = S::to_f32(sum);
            let v = if self.row_first {
                S::mul_add(S::mul(sum, factor), scale, bias)
            } else {
                S::add(S::mul(sum, S::mul(factor, scale)), bias)
            };
            let (min, max) = (S::splat(self.range.0), S::splat(self.range.1));
            S::store(out, S::min(max, S::max(min, v)));
        }
    }
}

/// All columns of block `index` for one tile. `first` is the number of the tile's first row.
///
/// # Safety
/// Every row is readable at all segments and one element beyond, every wanted row's results are writable
/// for all columns, and the processor has the instructions of `S`.
#[inline(always)]
pub(crate) unsafe fn tile_i8<S: Simd, E: Finish>(
    tile: &Tile<i16, E::Out, ROWS_I8>,
    first: usize,
    segments: &Segments,
    packed: &PackedI8,
    index: usize,
    finish: E,
) {
    let pairs = segments.length.div_ceil(2);
    debug_assert_eq!(packed.block, HEAD + segments.offsets.len() * pairs * 2 * COLUMNS);
    let block = packed.data.bytes()[index * packed.block..][..packed.block].as_ptr();
    let columns = (packed.columns - index * COLUMNS).min(COLUMNS);
    // SAFETY: the caller's promise; the block has as many elements as the segments need, as asserted.
    unsafe {
        let tile = Tile { out: tile.out.add(index * COLUMNS), ..*tile };
        macro_rules! rows {
            ($($n:literal),*) => {
                match (tile.rows, columns <= LANES) {
                    $(($n, false) => inner_i8::<S, E, $n, 2>(&tile, first, segments, block, columns, finish),
                    ($n, true) => inner_i8::<S, E, $n, 1>(&tile, first, segments, block, columns, finish),)*
                    _ => unreachable!("a tile has 1 to 4 rows"),
                }
            };
        }
        rows!(1, 2, 3, 4);
    }
}

#[inline(always)]
unsafe fn inner_i8<S: Simd, E: Finish, const R: usize, const V: usize>(
    tile: &Tile<i16, E::Out, ROWS_I8>,
    first: usize,
    segments: &Segments,
    block: *const u8,
    columns: usize,
    finish: E,
) {
    // SAFETY: the contract of `tile_i8`.
    unsafe {
        let mut sums = [[S::zero_i32(); V]; R];
        for v in 0..V {
            let bias = S::load_i32(block.cast::<i32>().add(v * LANES));
            for sum in &mut sums {
                sum[v] = bias;
            }
        }
        let mut w = block.add(HEAD).cast::<i8>();
        let pairs = segments.length.div_ceil(2);
        for offset in &segments.offsets {
            let mut a = [std::ptr::null::<i16>(); R];
            for r in 0..R {
                a[r] = tile.a[r].add(*offset);
            }
            for k in 0..pairs {
                let mut columns = [S::weights(w); V];
                for v in 1..V {
                    columns[v] = S::weights(w.add(v * 2 * LANES));
                }
                for r in 0..R {
                    let x = S::pair(a[r].add(2 * k));
                    for v in 0..V {
                        sums[r][v] = S::dot(sums[r][v], x, columns[v]);
                    }
                }
                w = w.add(2 * COLUMNS);
            }
        }
        let numbers = |row: usize, v: usize| block.cast::<f32>().add(row * COLUMNS + v * LANES);
        if columns == V * LANES {
            for r in 0..R {
                for v in 0..V {
                    let (scale, bias) = (S::load(numbers(1, v)), S::load(numbers(2, v)));
                    let out = tile.out.add(r * tile.stride + v * LANES);
                    finish.finish::<S>(sums[r][v], first + r, scale, bias, out);
                }
            }
            return;
        }
        for r in 0..R {
            let mut results = [E::Out::default(); COLUMNS];
            for v in 0..V {
                let (scale, bias) = (S::load(numbers(1, v)), S::load(numbers(2, v)));
                let out = results.as_mut_ptr().add(v * LANES);
                finish.finish::<S>(sums[r][v], first + r, scale, bias, out);
            }
            std::ptr::copy_nonoverlapping(results.as_ptr(), tile.out.add(r * tile.stride), columns);
        }
    }
}
