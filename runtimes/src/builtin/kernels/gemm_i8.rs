//! Products of int8 matrices with packed weights and exact 32-bit sums: what `gemm` is for f32. Activations are i16,
//! less their zero point, two to a dot product; or, where the processor multiplies four bytes at once, the bytes
//! themselves, and what their zero point adds to a sum is taken off it afterwards. For processors that multiply two rows
//! at once there is `gemm_rows`.

use super::Tier;
use super::gemm::{MAX_COLUMNS, ROW_BLOCKS, Segments, Tile, block_columns, each_size};
use super::memory::Buffer;
use super::pixels::Small;
use super::quant::Requant;
use super::simd::{MAX_LANES, Quads, Simd, copy_few, unroll};
use crate::Result;

/// Elements that int8 products read: i16 less their zero point on any tier, bytes on those with [`Quads`].
pub(crate) trait Dot<S: Simd>: Small {
    /// Elements of a group.
    const GROUP: usize;
    /// Rows of a tile.
    const ROWS: usize;
    /// A group of elements of a row, for all lanes.
    type Group: Copy;
    /// As many weights for every lane.
    type Weights: Copy;

    /// # Safety
    /// As [`Simd`].
    unsafe fn group(p: *const Self) -> Self::Group;
    /// # Safety
    /// As [`Simd`].
    unsafe fn weights(p: *const i8) -> Self::Weights;
    /// # Safety
    /// As [`Simd`].
    unsafe fn dot(sum: S::I, a: Self::Group, w: Self::Weights) -> S::I;
}

impl<S: Simd> Dot<S> for i16 {
    const GROUP: usize = 2;
    const ROWS: usize = S::ROWS_I8;
    type Group = S::Pair;
    type Weights = S::Weights;

    #[inline(always)]
    unsafe fn group(p: *const i16) -> S::Pair {
        // SAFETY: the trait's contract.
        unsafe { S::pair(p) }
    }
    #[inline(always)]
    unsafe fn weights(p: *const i8) -> S::Weights {
        // SAFETY: the trait's contract.
        unsafe { S::weights(p) }
    }
    #[inline(always)]
    unsafe fn dot(sum: S::I, a: S::Pair, w: S::Weights) -> S::I {
        // SAFETY: the trait's contract.
        unsafe { S::dot(sum, a, w) }
    }
}

impl<S: Quads> Dot<S> for u8 {
    const GROUP: usize = 4;
    const ROWS: usize = S::ROWS_QUADS;
    type Group = S::Quad;
    type Weights = S::QuadWeights;

    #[inline(always)]
    unsafe fn group(p: *const u8) -> S::Quad {
        // SAFETY: the trait's contract.
        unsafe { S::quad(p) }
    }
    #[inline(always)]
    unsafe fn weights(p: *const i8) -> S::QuadWeights {
        // SAFETY: the trait's contract.
        unsafe { S::quad_weights(p) }
    }
    #[inline(always)]
    unsafe fn dot(sum: S::I, a: S::Quad, w: S::QuadWeights) -> S::I {
        // SAFETY: the trait's contract.
        unsafe { S::dot_quads(sum, a, w) }
    }
}

/// Weights packed for int8: per block four numbers for every column, see [`Head`], then for every group of elements
/// of a segment all columns of as many i8. A segment that is no whole number of groups ends with zeros.
#[derive(Debug)]
pub(crate) struct PackedI8 {
    pub(super) data: Buffer,
    pub(super) block: usize,
    width: usize,
    group: usize,
    /// Columns in all.
    pub(crate) columns: usize,
}

/// Bytes per column of a block before its weights.
pub(super) const HEAD: usize = 16;

/// Per-column numbers of int8 weights.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Columns<'a> {
    /// Added to the sums; missing is 0.
    pub(crate) bias: Option<&'a [i32]>,
    /// Factor on the sums; one for all columns, or one each.
    pub(crate) scale: &'a [f32],
    /// Added after scaling, where results are f32; missing is 0.
    pub(crate) bias_f32: Option<&'a [f32]>,
    /// What stands for zero among the activations.
    pub(crate) origin: i32,
}

impl PackedI8 {
    /// From `weights[column][segment][element]`, for products of `group` elements at once.
    pub(crate) fn new(
        tier: Tier,
        group: usize,
        weights: &[i8],
        columns: usize,
        segments: &Segments,
        of: Columns<'_>,
    ) -> Result<Self> {
        let (count, length) = (segments.offsets.len(), segments.length);
        let (width, groups) = (block_columns(tier), length.div_ceil(group));
        let block = width * (HEAD + count * groups * group);
        let mut data = Buffer::zeroed(columns.div_ceil(width) * block)?;
        for column in 0..columns {
            let (b, j) = (column / width, column % width);
            let block = &mut data.bytes_mut()[b * block..][..block];
            let weights = &weights[column * count * length..][..count * length];
            let sum = weights.iter().fold(0i32, |sum, w| sum.wrapping_add(i32::from(*w)));
            let bias = of.bias.map_or(0, |b| b[column]).wrapping_sub(of.origin.wrapping_mul(sum));
            let scale = if of.scale.len() == 1 { of.scale[0] } else { of.scale[column] };
            let bias_f32 = of.bias_f32.map_or(0.0, |b| b[column]);
            let head = [bias.to_ne_bytes(), scale.to_ne_bytes(), bias_f32.to_ne_bytes(), sum.to_ne_bytes()];
            for (i, bytes) in head.into_iter().enumerate() {
                block[(i * width + j) * 4..][..4].copy_from_slice(&bytes);
            }
            let mut at = HEAD * width + j * group;
            let segments = weights.chunks_exact(length.max(1));
            for weights in segments.flat_map(|segment| segment.chunks(group)) {
                let packed = &mut block[at..at + weights.len()];
                match (<&mut [u8; 4]>::try_from(&mut *packed), <[i8; 4]>::try_from(weights)) {
                    // At once, because most are.
                    (Ok(packed), Ok(weights)) => *packed = weights.map(i8::cast_unsigned),
                    _ => packed.iter_mut().zip(weights).for_each(|(p, w)| *p = w.cast_unsigned()),
                }
                at += width * group;
            }
        }
        Ok(Self { data, block, width, group, columns })
    }

    /// Number of blocks.
    pub(crate) fn blocks(&self) -> usize {
        self.columns.div_ceil(self.width)
    }

    /// Panics unless packed for a tier and groups of so many elements of rows of these segments.
    pub(crate) fn check(&self, tier: Tier, group: usize, segments: &Segments) {
        let groups = segments.offsets.len() * segments.length.div_ceil(group);
        assert_eq!((self.width, self.group), (block_columns(tier), group));
        assert_eq!(self.block, self.width * (HEAD + groups * group));
    }

    /// Bytes of all blocks.
    pub(crate) fn bytes(&self) -> usize {
        self.data.bytes().len()
    }
}

/// What is known of a vector of columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(super) at: *const i32,
    pub(super) width: usize,
}

impl Head {
    #[inline(always)]
    pub(super) unsafe fn row(self, index: usize) -> *const i32 {
        // SAFETY: a block has four rows of so many columns, as the caller of `tile_i8` promises.
        unsafe { self.at.add(index * self.width) }
    }
}

/// What becomes of exact sums.
pub(crate) trait Finish: Copy {
    /// Element type of the results.
    type Out: Copy + Default + Send + Sync;

    /// A vector of results of row `row` of the matrix.
    ///
    /// # Safety
    /// As [`Simd`]; `out` is writable for as many elements as a vector has.
    unsafe fn finish<S: Simd>(self, sum: S::I, row: usize, head: Head, out: *mut Self::Out);
}

/// 8-bit results.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToBytes(pub(crate) Requant);

impl Finish for ToBytes {
    type Out = u8;

    #[inline(always)]
    unsafe fn finish<S: Simd>(self, sum: S::I, _row: usize, head: Head, out: *mut u8) {
        // SAFETY: the trait's contract.
        unsafe {
            let scaled = S::mul(S::to_f32(sum), S::load(head.row(1).cast()));
            store_requantized::<S>(self.0, scaled, out);
        }
    }
}

/// Rounds a vector of scaled sums to bytes.
///
/// # Safety
/// As [`Simd`]; `out` is writable for as many elements as a vector has.
#[inline(always)]
pub(crate) unsafe fn store_requantized<S: Simd>(requant: Requant, scaled: S::F, out: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe {
        let cut = S::min(S::splat(requant.high), S::max(S::splat(requant.low), scaled));
        let zero = [requant.zero; MAX_LANES];
        S::store_low_bytes(out, S::add_i32(S::round(cut), S::load_i32(zero.as_ptr())));
    }
}

/// f32 results: (sum - origin of the row · sum of the weights) · factor of the row · scale + bias, cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToF32<'a> {
    /// One factor per `rows_per_factor` rows.
    pub(crate) factors: &'a [f32],
    /// What stands for zero in those rows; empty where it is zero.
    pub(crate) origins: &'a [i32],
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
    unsafe fn finish<S: Simd>(self, sum: S::I, row: usize, head: Head, out: *mut f32) {
        // SAFETY: the trait's contract.
        unsafe {
            let row = row / self.rows_per_factor;
            let sum = match self.origins.get(row) {
                None => sum,
                Some(origin) => S::sub_i32(sum, S::mul_i32(S::load_i32(head.row(3)), *origin)),
            };
            let (factor, scale) = (S::splat(self.factors[row]), S::load(head.row(1).cast()));
            let (bias, sum) = (S::load(head.row(2).cast()), S::to_f32(sum));
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

/// All columns of blocks `indices` for one tile. `first` is the number of the tile's first row.
///
/// # Safety
/// Every row is readable at all segments, and up to a whole number of groups beyond; every wanted row's results are
/// writable for all columns, the processor has the instructions of `S`, and the weights are packed for them and for
/// groups as `T` has them.
#[inline(always)]
pub(crate) unsafe fn tile_i8<S: Simd, T: Dot<S>, E: Finish>(
    tile: &Tile<T, E::Out>,
    first: usize,
    segments: &Segments,
    packed: &PackedI8,
    indices: std::ops::Range<usize>,
    finish: E,
) {
    let width = 2 * S::LANES;
    let mut index = indices.start;
    // SAFETY: the caller's promise.
    unsafe {
        while tile.rows == 1
            && index + ROW_BLOCKS <= indices.end
            && (index + ROW_BLOCKS) * width <= packed.columns
        {
            row_i8::<S, T, E>(tile, first, segments, packed, index, finish);
            index += ROW_BLOCKS;
        }
        while index < indices.end {
            let block = packed.data.bytes()[index * packed.block..][..packed.block].as_ptr();
            let columns = (packed.columns - index * width).min(width);
            let tile = Tile { out: tile.out.add(index * width), ..*tile };
            each_size!(T::ROWS, tile.rows, columns <= S::LANES, |R, V| {
                inner_i8::<S, T, E, R, V>(&tile, first, segments, block, columns, finish);
            });
            index += 1;
        }
    }
}

/// One row and several whole blocks of columns.
///
/// # Safety
/// As [`tile_i8`].
#[inline(always)]
unsafe fn row_i8<S: Simd, T: Dot<S>, E: Finish>(
    tile: &Tile<T, E::Out>,
    first: usize,
    segments: &Segments,
    packed: &PackedI8,
    index: usize,
    finish: E,
) {
    const B: usize = ROW_BLOCKS;
    let (lanes, width) = (S::LANES, 2 * S::LANES);
    // SAFETY: the contract of `tile_i8`.
    unsafe {
        let start = packed.data.bytes()[index * packed.block..][..B * packed.block].as_ptr();
        let head =
            |b: usize, v: usize| Head { at: start.add(b * packed.block).cast::<i32>().add(v * lanes), width };
        let mut sums = [[S::zero_i32(); 2]; B];
        unroll!(b < B, {
            sums[b] = [S::load_i32(head(b, 0).row(0)), S::load_i32(head(b, 1).row(0))];
        });
        let mut w = start.add(HEAD * width).cast::<i8>();
        for offset in &segments.offsets {
            let a = tile.a[0].add(*offset);
            for k in 0..segments.length.div_ceil(T::GROUP) {
                let x = T::group(a.add(T::GROUP * k));
                unroll!(b < B, {
                    let w = w.add(b * packed.block);
                    sums[b] = [
                        T::dot(sums[b][0], x, T::weights(w)),
                        T::dot(sums[b][1], x, T::weights(w.add(lanes * T::GROUP))),
                    ];
                });
                w = w.add(width * T::GROUP);
            }
        }
        let out = tile.out.add(index * width);
        unroll!(b < B, {
            finish.finish::<S>(sums[b][0], first, head(b, 0), out.add(b * width));
            finish.finish::<S>(sums[b][1], first, head(b, 1), out.add(b * width + lanes));
        });
    }
}

#[inline(always)]
unsafe fn inner_i8<S: Simd, T: Dot<S>, E: Finish, const R: usize, const V: usize>(
    tile: &Tile<T, E::Out>,
    first: usize,
    segments: &Segments,
    block: *const u8,
    columns: usize,
    finish: E,
) {
    // SAFETY: the contract of `tile_i8`.
    unsafe {
        let (lanes, width) = (S::LANES, 2 * S::LANES);
        let head = |v: usize| Head { at: block.cast::<i32>().add(v * lanes), width };
        let mut sums = [[S::zero_i32(); V]; R];
        unroll!(v < V, {
            let bias = S::load_i32(head(v).row(0));
            unroll!(r < R, { sums[r][v] = bias });
        });
        let mut w = block.add(HEAD * width).cast::<i8>();
        for offset in &segments.offsets {
            let mut a = [std::ptr::null::<T>(); R];
            unroll!(r < R, { a[r] = tile.a[r].add(*offset) });
            for k in 0..segments.length.div_ceil(T::GROUP) {
                let mut columns = [T::weights(w); V];
                unroll!(v < V, { columns[v] = T::weights(w.add(v * lanes * T::GROUP)) });
                unroll!(r < R, {
                    let x = T::group(a[r].add(T::GROUP * k));
                    unroll!(v < V, { sums[r][v] = T::dot(sums[r][v], x, columns[v]) });
                });
                w = w.add(width * T::GROUP);
            }
        }
        if columns == V * lanes {
            unroll!(r < R, {
                let (row, out) = (first + r, tile.out.add(r * tile.stride));
                unroll!(v < V, { finish.finish::<S>(sums[r][v], row, head(v), out.add(v * lanes)) });
            });
            return;
        }
        let mut results = [E::Out::default(); MAX_COLUMNS];
        unroll!(r < R, {
            unroll!(v < V, {
                finish.finish::<S>(sums[r][v], first + r, head(v), results.as_mut_ptr().add(v * lanes));
            });
            copy_few(results.as_ptr(), tile.out.add(r * tile.stride), columns);
        });
    }
}
