//! Pools.

use super::super::call::Call;
use super::Import;
use super::window::{pair, result_from_nhwc, size, spatial, to_nhwc, window, window_nd};
use crate::builtin::graph::ValueId;
use crate::builtin::ops::{
    Clamp, Op, Pool2d, PoolKind, PoolNd, PoolNdKind, Reduce, ReduceKind, Window, WindowNd,
};
use crate::{Error, Result};
use protocol::DType;

pub(super) const OPS: &[(&str, Import)] = &[
    ("AveragePool", average_pool),
    ("GlobalAveragePool", |call| global(call, ReduceKind::Mean)),
    ("GlobalMaxPool", |call| global(call, ReduceKind::Max)),
    ("LpPool", lp_pool),
    ("GlobalLpPool", global_lp_pool),
    ("MaxPool", max_pool),
];

fn average_pool(call: &mut Call<'_, '_>) -> Result<()> {
    let with_padding = call.int_or("count_include_pad", 0)? != 0;
    pool(call, if with_padding { PoolKind::AverageWithPadding } else { PoolKind::Average })
}

fn max_pool(call: &mut Call<'_, '_>) -> Result<()> {
    let first_dimension_fastest = call.int_or("storage_order", 0)? != 0;
    if call.wants(1) {
        return any(call, PoolNdKind::Max { places: true, first_dimension_fastest });
    }
    pool(call, PoolKind::Max)
}

fn lp_pool(call: &mut Call<'_, '_>) -> Result<()> {
    let p = call.int_or("p", 2)? as f32;
    any(call, PoolNdKind::Norm { p })
}

/// The norm of a whole plane.
fn global_lp_pool(call: &mut Call<'_, '_>) -> Result<()> {
    match call.int_or("p", 2)? {
        1 => global(call, ReduceKind::L1),
        2 => global(call, ReduceKind::L2),
        p => Err(Error::Unsupported(format!("p = {p}"))),
    }
}

/// Geometry of a pool over any number of dimensions.
fn window_of(call: &Call<'_, '_>, x: ValueId) -> Result<WindowNd> {
    let shape = call.shape(x);
    let kernel = call.ints("kernel_shape")?.unwrap_or_default();
    let sizes: Option<Vec<usize>> = kernel.iter().map(|v| usize::try_from(*v).ok()).collect();
    let sizes = sizes.filter(|sizes| sizes.len() + 2 == shape.len() && shape.len() > 2);
    let sizes = sizes.ok_or_else(|| Error::ModelInvalid(format!("kernel_shape {kernel:?} for {shape:?}")))?;
    let mut window = window_nd(call, &shape[2..], &sizes)?;
    window.ceil = call.int_or("ceil_mode", 0)? != 0;
    Ok(window)
}

/// A pool over any number of dimensions, with one result.
pub(super) fn pooled(call: &mut Call<'_, '_>, x: ValueId, kind: PoolNdKind) -> Result<ValueId> {
    let window = window_of(call, x)?;
    call.add(PoolNd { kind, window }, &[x])
}

/// The operator as a pool over any number of dimensions.
fn any(call: &mut Call<'_, '_>, kind: PoolNdKind) -> Result<()> {
    let x = call.input(0)?;
    let window = window_of(call, x)?;
    if !matches!(kind, PoolNdKind::Max { places: true, .. }) {
        return call.result(PoolNd { kind, window }, &[x]);
    }
    let names = [call.name(0), call.name(1)];
    let op = Op::from(PoolNd { kind, window });
    let both = call.graph().add_node(&names, op, &[x], &[None, None])?;
    both.into_iter().enumerate().try_for_each(|(index, value)| call.set(index, value))
}

/// Whether the kernels for one or two dimensions do it.
fn common(call: &Call<'_, '_>, x: ValueId) -> bool {
    matches!(call.rank(x), 3 | 4) && (call.fact(x).dtype == DType::F32 || call.fact(x).quant.is_some())
}

fn pool(call: &mut Call<'_, '_>, kind: PoolKind) -> Result<()> {
    let x = call.input(0)?;
    let nd = match kind {
        PoolKind::Max => PoolNdKind::Max { places: false, first_dimension_fastest: false },
        PoolKind::Average => PoolNdKind::Average { with_padding: false },
        PoolKind::AverageWithPadding => PoolNdKind::Average { with_padding: true },
    };
    if !common(call, x) {
        return any(call, nd);
    }
    let spatial = spatial(call, x)?;
    let input = size(&call.shape(x));
    let kernel = call.ints("kernel_shape")?;
    if kernel.is_none() {
        return Err(Error::ModelInvalid("attribute `kernel_shape` is missing".to_owned()));
    }
    let kernel = pair(kernel, spatial, 1, "kernel_shape")?;
    let mut window = window(call, spatial, input, kernel)?;
    // a window wholly outside the input has no maximum and no mean
    if (0..2).any(|d| window.before[d] >= kernel[d] || window.after[d] >= kernel[d])
        && (kernel[0] * kernel[1] > 1)
    {
        return any(call, nd);
    }
    if call.int_or("ceil_mode", 0)? != 0 {
        let extended = ceil(&window, input, kernel)?;
        if extended != window && kind == PoolKind::AverageWithPadding {
            return any(call, nd);
        }
        window = extended;
    }
    let x = to_nhwc(call, x)?;
    let y = call.add(Pool2d { kind, kernel, window, clamp: Clamp::NONE }, &[x])?;
    result_from_nhwc(call, y, spatial)
}

/// More padding at the end, so that the last windows count that only begin inside the input.
fn ceil(window: &Window, input: [usize; 2], kernel: [usize; 2]) -> Result<Window> {
    let floor = window.output(input, kernel)?;
    let mut extended = *window;
    for d in 0..2 {
        let reach = (kernel[d] - 1) * window.dilation[d] + 1;
        let padded = input[d] + window.before[d] + window.after[d];
        let begins_inside = floor[d] * window.stride[d] < input[d] + window.before[d];
        if !(padded - reach).is_multiple_of(window.stride[d]) && begins_inside {
            extended.after[d] += floor[d] * window.stride[d] + reach - padded;
        }
    }
    Ok(extended)
}

fn global(call: &mut Call<'_, '_>, kind: ReduceKind) -> Result<()> {
    let x = call.input(0)?;
    let axes = (2..call.rank(x)).collect();
    call.result(Reduce { kind, axes, keep_dims: true }, &[x])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceil_mode_adds_the_last_window_only_if_it_begins_inside() {
        let window = Window { stride: [2, 2], ..Window::default() };
        assert_eq!(ceil(&window, [6, 5], [3, 3]).unwrap().after, [1, 0]);
        let window = Window { stride: [3, 3], after: [1, 1], ..Window::default() };
        // floor gives one window; the next would begin at 3, which is padding only for an input of 3
        assert_eq!(ceil(&window, [3, 4], [2, 2]).unwrap().after, [1, 1]);
    }
}
