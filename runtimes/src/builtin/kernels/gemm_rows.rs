//! Products of int8 matrices as in `gemm_i8`, on processors that multiply two rows with two columns at once.

use super::gemm::{MAX_COLUMNS, Segments, Tile, each_size};
use super::gemm_i8::{Finish, HEAD, Head, PackedI8};
use super::simd::{RowPairs, copy_few, unroll};

/// Rows of a tile: 24 accumulators, as many registers of rows as there are pairs, and weights fit into 32.
pub(crate) const ROWS: usize = 6;

/// Bytes of a row that are multiplied at once.
const GROUP: usize = 8;

/// All columns of blocks `indices` for one tile. `first` is the number of the tile's first row.
///
/// # Safety
/// As `tile_i8`, for groups of eight.
#[inline(always)]
pub(crate) unsafe fn tile_rows<S: RowPairs, E: Finish>(
    tile: &Tile<u8, E::Out>,
    first: usize,
    segments: &Segments,
    packed: &PackedI8,
    indices: std::ops::Range<usize>,
    finish: E,
) {
    let width = 2 * S::LANES;
    for index in indices {
        let block = packed.data.bytes()[index * packed.block..][..packed.block].as_ptr();
        let columns = (packed.columns - index * width).min(width);
        // SAFETY: the caller's promise.
        unsafe {
            let tile = Tile { out: tile.out.add(index * width), ..*tile };
            each_size!(ROWS / 2, tile.rows.div_ceil(2), columns <= S::LANES, |P, V| {
                inner::<S, E, P, V>(&tile, first, segments, block, columns, finish);
            });
        }
    }
}

/// `P` pairs of rows, the last of which may have its first row twice, and `V` vectors of columns.
///
/// # Safety
/// As [`tile_rows`].
#[inline(always)]
unsafe fn inner<S: RowPairs, E: Finish, const P: usize, const V: usize>(
    tile: &Tile<u8, E::Out>,
    first: usize,
    segments: &Segments,
    block: *const u8,
    columns: usize,
    finish: E,
) {
    // SAFETY: the contract of `tile_rows`.
    unsafe {
        let (lanes, width) = (S::LANES, 2 * S::LANES);
        let head = |v: usize| Head { at: block.cast::<i32>().add(v * lanes), width };
        let mut sums = [[S::join(S::zero_i32()); V]; P];
        unroll!(v < V, {
            let bias = S::join(S::load_i32(head(v).row(0)));
            unroll!(p < P, { sums[p][v] = bias });
        });
        let mut w = block.add(HEAD * width).cast::<i8>();
        for offset in &segments.offsets {
            let mut a = [[std::ptr::null::<u8>(); 2]; P];
            let row = |row: usize| tile.a[row.min(tile.rows - 1)].add(*offset);
            unroll!(p < P, { a[p] = [row(2 * p), row(2 * p + 1)] });
            for k in 0..segments.length.div_ceil(GROUP) {
                let at = GROUP * k;
                let mut rows = [S::rows(a[0][0].add(at), a[0][1].add(at)); P];
                unroll!(p < P, { rows[p] = S::rows(a[p][0].add(at), a[p][1].add(at)) });
                unroll!(v < V, {
                    let weights = S::row_weights(w.add(v * lanes * GROUP));
                    unroll!(p < P, { sums[p][v] = S::dot_rows(sums[p][v], rows[p], weights) });
                });
                w = w.add(width * GROUP);
            }
        }
        unroll!(p < P, {
            let mut parts = [[S::zero_i32(); V]; 2];
            unroll!(v < V, { [parts[0][v], parts[1][v]] = S::part(sums[p][v]) });
            for (half, sums) in parts.into_iter().enumerate().take(tile.rows - 2 * p) {
                let row = 2 * p + half;
                let out = tile.out.add(row * tile.stride);
                if columns == V * lanes {
                    unroll!(v < V, { finish.finish::<S>(sums[v], first + row, head(v), out.add(v * lanes)) });
                    continue;
                }
                let mut results = [E::Out::default(); MAX_COLUMNS];
                unroll!(v < V, {
                    finish.finish::<S>(sums[v], first + row, head(v), results.as_mut_ptr().add(v * lanes));
                });
                copy_few(results.as_ptr(), out, columns);
            }
        });
    }
}
