//! Loops over several tensors with strides: what broadcasting, transposing, slicing and expanding come
//! down to. Dimensions that can be walked as one are merged, and the innermost is left to the caller.

use super::Tier;
use super::memory::copy_row;
use super::simd::{Kernel, Simd, dispatch, dispatch_loops};
use super::threads::{Shares, Threads};
use crate::builtin::limits::MAX_RANK;
use std::ops::Range;

/// A nest of loops that walks one dense result and `N` operands with strides, in elements.
#[derive(Clone, Debug)]
pub struct Nest<const N: usize> {
    outer: Vec<(usize, [isize; N])>,
    start: [isize; N],
    /// Elements of a row of the result.
    pub length: usize,
    /// How each operand advances within a row.
    pub strides: [isize; N],
}

impl<const N: usize> Nest<N> {
    /// Over a result of `shape`; `strides` has one entry per dimension and operand, `start` says where
    /// each operand begins.
    pub fn new(shape: &[usize], strides: &[[isize; N]], start: [isize; N]) -> Self {
        let mut loops: Vec<(usize, [isize; N])> = Vec::new();
        for (&length, &stride) in shape.iter().zip(strides) {
            if length == 1 {
                continue;
            }
            let joins = |outer: &[isize; N]| (0..N).all(|k| outer[k] == stride[k] * length as isize);
            match loops.last_mut() {
                Some((count, outer)) if joins(outer) => {
                    *count *= length;
                    *outer = stride;
                }
                _ => loops.push((length, stride)),
            }
        }
        let (length, strides) = loops.pop().unwrap_or((1, [1; N]));
        Self { outer: loops, start, length, strides }
    }

    /// Over two or more operands broadcast to `shape`.
    pub fn broadcast(shape: &[usize], operands: [&[usize]; N]) -> Self {
        let all: [Vec<isize>; N] = operands.map(|o| broadcast_strides(shape, o));
        let strides: Vec<[isize; N]> = (0..shape.len()).map(|d| std::array::from_fn(|k| all[k][d])).collect();
        Self::new(shape, &strides, [0; N])
    }

    /// Elements of the first operand from the lowest to the highest that is visited.
    pub fn reach(&self) -> usize {
        let inner = (self.length.saturating_sub(1), self.strides);
        let steps = self.outer.iter().map(|(n, s)| (n.saturating_sub(1), *s)).chain([inner]);
        steps.map(|(n, s)| n * s[0].unsigned_abs()).sum::<usize>() + 1
    }

    /// Lines of the result, of the same length: what the outermost loop walks.
    pub(crate) fn lines(&self) -> usize {
        self.outer.first().map_or(self.length, |(count, _)| *count)
    }

    /// Some lines.
    fn part(&self, lines: Range<usize>) -> Part<'_, N> {
        let strides = self.outer.first().map_or(&self.strides, |(_, strides)| strides);
        let start = std::array::from_fn(|k| self.start[k] + strides[k] * lines.start as isize);
        let length = if self.outer.is_empty() { lines.len() } else { self.length };
        Part { outer: &self.outer, lines: lines.len(), start, length, strides: self.strides }
    }

    fn whole(&self) -> Part<'_, N> {
        self.part(0..self.lines())
    }

    /// Calls `row` with the place in the result and in each operand of every row.
    #[inline(always)]
    pub fn rows(&self, row: impl FnMut(usize, [usize; N])) {
        let part = self.whole();
        part.pieces(part.outer, part.length, row);
    }
}

/// Some lines of a nest.
#[derive(Clone, Copy)]
struct Part<'a, const N: usize> {
    outer: &'a [(usize, [isize; N])],
    /// Of the outermost loop, whatever it says itself.
    lines: usize,
    start: [isize; N],
    length: usize,
    strides: [isize; N],
}

impl<const N: usize> Part<'_, N> {
    /// Calls `row` for pieces of `length` elements of the result, around which there are some loops.
    #[inline(always)]
    fn pieces(&self, outer: &[(usize, [isize; N])], length: usize, mut row: impl FnMut(usize, [usize; N])) {
        let count = |d: usize| if d == 0 { self.lines } else { outer[d].0 };
        let rank = outer.len();
        if length == 0 || (0..rank).any(|d| count(d) == 0) {
            return;
        }
        let mut index = [0usize; MAX_RANK];
        let mut at = self.start;
        let mut out = 0;
        loop {
            row(out, at.map(|p| p as usize));
            out += length;
            let mut d = rank;
            loop {
                if d == 0 {
                    return;
                }
                d -= 1;
                let strides = &outer[d].1;
                index[d] += 1;
                if index[d] < count(d) {
                    (0..N).for_each(|k| at[k] += strides[k]);
                    break;
                }
                index[d] = 0;
                (0..N).for_each(|k| at[k] -= strides[k] * (count(d) as isize - 1));
            }
        }
    }
}

impl Nest<1> {
    /// Copies an operand in the order of the nest.
    pub fn copy<T: Copy>(&self, from: &[T], to: &mut [T]) {
        self.whole().copy(from, to);
    }

    /// The same for some lines, to which `to` belongs.
    pub(crate) fn copy_lines<T: Copy>(&self, lines: Range<usize>, from: &[T], to: &mut [T]) {
        self.part(lines).copy(from, to);
    }
}

impl Part<'_, 1> {
    fn copy<T: Copy>(&self, from: &[T], to: &mut [T]) {
        let (n, stride) = (self.length, self.strides[0]);
        if let (Some(((m, [1]), outer)), 2..) = (self.outer.split_last(), stride) {
            let m = if outer.is_empty() { self.lines } else { *m };
            self.pieces(outer, m * n, |out, [at]| {
                turn(&from[at..], stride.unsigned_abs(), &mut to[out..out + m * n], [m, n]);
            });
            return;
        }
        self.pieces(self.outer, n, |out, [at]| {
            let to = &mut to[out..out + n];
            match stride {
                1 => copy_row(&from[at..at + n], to),
                0 => to.fill(from[at]),
                _ => (0..n).for_each(|i| to[i] = from[at.wrapping_add_signed(stride * i as isize)]),
            }
        });
    }
}

/// Writes an `[n, m]` matrix, whose rows are `stride` apart, as `[m, n]`.
fn turn<T: Copy>(from: &[T], stride: usize, to: &mut [T], [m, n]: [usize; 2]) {
    /// Elements of a row that are read at once, and lines of the result that are written side by side.
    const SIDE: usize = 16;
    for first in (0..m).step_by(SIDE) {
        let side = SIDE.min(m - first);
        let lines = &mut to[first * n..(first + side) * n];
        for column in 0..n {
            let row = &from[column * stride + first..][..side];
            row.iter().zip(lines[column..].iter_mut().step_by(n)).for_each(|(x, y)| *y = *x);
        }
    }
}

impl Nest<2> {
    /// Computes the result from two operands.
    #[inline(always)]
    pub fn map<A: Copy, B: Copy, C>(&self, a: &[A], b: &[B], c: &mut [C], f: impl Fn(A, B) -> C) {
        self.whole().map(a, b, c, f);
    }
}

impl Part<'_, 2> {
    #[inline(always)]
    fn map<A: Copy, B: Copy, C>(&self, a: &[A], b: &[B], c: &mut [C], f: impl Fn(A, B) -> C) {
        let n = self.length;
        self.pieces(self.outer, n, |out, [pa, pb]| {
            let c = &mut c[out..out + n];
            match self.strides {
                [1, 1] => {
                    for ((c, a), b) in c.iter_mut().zip(&a[pa..pa + n]).zip(&b[pb..pb + n]) {
                        *c = f(*a, *b);
                    }
                }
                [1, 0] => c.iter_mut().zip(&a[pa..pa + n]).for_each(|(c, a)| *c = f(*a, b[pb])),
                [0, 1] => c.iter_mut().zip(&b[pb..pb + n]).for_each(|(c, b)| *c = f(a[pa], *b)),
                [sa, sb] => {
                    for (i, c) in c.iter_mut().enumerate() {
                        let i = i as isize;
                        *c = f(a[pa.wrapping_add_signed(sa * i)], b[pb.wrapping_add_signed(sb * i)]);
                    }
                }
            }
        });
    }
}

/// Computes every element of a result from that of an operand, compiled for a tier.
pub(crate) fn map1<A: Copy, B>(tier: Tier, x: &[A], y: &mut [B], f: impl Fn(A) -> B) {
    on_tier(tier, || x.iter().zip(y).for_each(|(x, y)| *y = f(*x)));
}

/// Runs plain loops compiled for a tier: the compiler makes vectors of them.
pub(crate) fn on_tier(tier: Tier, loops: impl FnOnce()) {
    dispatch_loops(tier, Loops(loops));
}

struct Loops<F>(F);

impl<F: FnOnce()> Kernel for Loops<F> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        self.0();
    }
}

/// A nest whose lines threads share.
#[derive(Clone, Debug)]
pub(crate) struct SharedNest<const N: usize> {
    pub(crate) nest: Nest<N>,
    shares: Shares,
}

impl<const N: usize> SharedNest<N> {
    /// Over a result of `elements` elements.
    pub(crate) fn new(nest: Nest<N>, elements: usize, threads: &Threads) -> Self {
        let lines = nest.lines();
        Self { shares: Shares::new(threads, lines, elements / lines.max(1)), nest }
    }
}

impl SharedNest<1> {
    /// As [`Nest::copy`].
    pub(crate) fn copy<T: Copy + Send + Sync>(&self, from: &[T], to: &mut [T]) {
        self.shares.run(to, &|lines, to| self.nest.copy_lines(lines, from, to));
    }
}

/// As [`Nest::map`], compiled for a tier.
pub(crate) fn map2<A: Copy + Sync, B: Copy + Sync, C: Send>(
    tier: Tier,
    over: &SharedNest<2>,
    (a, b): (&[A], &[B]),
    c: &mut [C],
    // A copy for every part: what lies behind a reference may change with every result, for all the compiler knows.
    f: impl Fn(A, B) -> C + Copy + Sync,
) {
    over.shares.run(c, &|lines, c| dispatch_loops(tier, Map2 { part: over.nest.part(lines), a, b, c, f }));
}

struct Map2<'a, A, B, C, F> {
    part: Part<'a, 2>,
    a: &'a [A],
    b: &'a [B],
    c: &'a mut [C],
    f: F,
}

impl<A: Copy, B: Copy, C, F: Fn(A, B) -> C> Kernel for Map2<'_, A, B, C, F> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        self.part.map(self.a, self.b, self.c, self.f);
    }
}

/// Takes every element of `x`, in order, into the result that the nest puts it to.
pub(crate) fn accumulate<T: Copy, A: Copy>(
    tier: Tier,
    nest: &Nest<1>,
    x: &[T],
    y: &mut [A],
    take: impl Fn(A, T) -> A,
) {
    dispatch(tier, Accumulate { nest, x, y, take });
}

struct Accumulate<'a, T, A, F> {
    nest: &'a Nest<1>,
    x: &'a [T],
    y: &'a mut [A],
    take: F,
}

impl<T: Copy, A: Copy, F: Fn(A, T) -> A> Kernel for Accumulate<'_, T, A, F> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { nest, x, y, take } = self;
        let (length, stride) = (nest.length, nest.strides[0]);
        nest.rows(|at, [out]| {
            let row = &x[at..at + length];
            match stride {
                0 => y[out] = row.iter().fold(y[out], |a, x| take(a, *x)),
                1 => row.iter().zip(&mut y[out..out + length]).for_each(|(x, y)| *y = take(*y, *x)),
                _ => {
                    let target = y[out..].iter_mut().step_by(stride.unsigned_abs());
                    row.iter().zip(target).for_each(|(x, y)| *y = take(*y, *x));
                }
            }
        });
    }
}

/// Strides of a dense tensor.
pub fn dense_strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1isize; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d] * shape[d].max(1) as isize;
    }
    strides
}

/// Strides that walk `operand` along with a result of `shape` that it is broadcast to.
pub fn broadcast_strides(shape: &[usize], operand: &[usize]) -> Vec<isize> {
    let dense = dense_strides(operand);
    let lead = shape.len() - operand.len();
    let stride = |d: usize| match d.checked_sub(lead) {
        Some(k) if operand[k] != 1 => dense[k],
        _ => 0,
    };
    (0..shape.len()).map(stride).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposes() {
        let x: Vec<i32> = (0..6).collect();
        let mut y = [0; 6];
        Nest::new(&[3, 2], &[[1], [3]], [0]).copy(&x, &mut y);
        assert_eq!(y, [0, 3, 1, 4, 2, 5]);
    }

    #[test]
    fn goes_backwards() {
        let x: Vec<i32> = (0..6).collect();
        let mut y = [0; 4];
        Nest::new(&[2, 2], &[[3], [-2]], [2]).copy(&x, &mut y);
        assert_eq!(y, [2, 0, 5, 3]);
    }

    #[test]
    fn broadcasts_both_ways() {
        let nest = Nest::broadcast(&[2, 3], [&[2, 1], &[3]]);
        let mut y = [0; 6];
        nest.map(&[10, 20], &[1, 2, 3], &mut y, |a, b| a + b);
        assert_eq!(y, [11, 12, 13, 21, 22, 23]);
    }

    #[test]
    fn merges_what_is_dense() {
        let nest = Nest::broadcast(&[2, 3, 4], [&[2, 3, 4], &[2, 3, 4]]);
        assert_eq!((nest.length, nest.outer.len()), (24, 0));
        assert_eq!(Nest::broadcast(&[2, 3, 4], [&[2, 3, 4], &[4]]).outer.len(), 1);
    }

    #[test]
    fn lines_are_parts_of_the_whole() {
        let (a, b): (Vec<i32>, Vec<i32>) = ((0..60).collect(), (0..5).map(|v| 100 * v).collect());
        for (shape, operand) in
            [(&[3, 4, 5][..], &[5][..]), (&[12, 5], &[1, 5]), (&[60], &[1]), (&[4, 3, 5], &[4, 1, 1])]
        {
            let nest = Nest::broadcast(shape, [shape, operand]);
            let mut whole = [0; 60];
            nest.map(&a, &b, &mut whole, |a, b| a + b);
            let length = 60 / nest.lines();
            let mut parts = [0; 60];
            for lines in [0..1, 1..3.min(nest.lines()), 3.min(nest.lines())..nest.lines()] {
                let y = &mut parts[lines.start * length..lines.end * length];
                nest.part(lines).map(&a, &b, y, |a, b| a + b);
            }
            assert_eq!(parts, whole, "{shape:?} {operand:?}");
        }
        let turned = Nest::new(&[5, 12], &[[1], [5]], [0]);
        let (mut whole, mut parts) = ([0; 60], [0; 60]);
        turned.copy(&a, &mut whole);
        turned.copy_lines(0..2, &a, &mut parts[..24]);
        turned.copy_lines(2..5, &a, &mut parts[24..]);
        assert_eq!(parts, whole);
    }

    #[test]
    fn empty_and_scalar() {
        let mut y = [7];
        Nest::broadcast(&[], [&[], &[]]).map(&[3], &[4], &mut y, |a, b| a * b);
        assert_eq!(y, [12]);
        let mut none: [i32; 0] = [];
        Nest::broadcast(&[0, 3], [&[0, 3], &[3]]).map(&[], &[1, 2, 3], &mut none, |a: i32, b: i32| a + b);
    }
}
