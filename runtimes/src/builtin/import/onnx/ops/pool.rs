//! Pools.

use super::super::call::Call;
use super::Import;
use super::window::{pair, result_from_nhwc, size, spatial, to_nhwc, window};
use crate::builtin::ops::{Clamp, Pool2d, PoolKind, Reduce, ReduceKind, Window};
use crate::{Error, Result};

pub(super) const OPS: &[(&str, Import)] = &[
    ("AveragePool", average_pool),
    ("GlobalAveragePool", |call| global(call, ReduceKind::Mean)),
    ("GlobalMaxPool", |call| global(call, ReduceKind::Max)),
    ("MaxPool", max_pool),
];

fn average_pool(call: &mut Call<'_, '_>) -> Result<()> {
    let with_padding = call.int_or("count_include_pad", 0)? != 0;
    pool(call, if with_padding { PoolKind::AverageWithPadding } else { PoolKind::Average })
}

fn max_pool(call: &mut Call<'_, '_>) -> Result<()> {
    call.ignore(&["storage_order"]);
    if call.wants(1) {
        return Err(Error::Unsupported("the indices of the largest elements".to_owned()));
    }
    pool(call, PoolKind::Max)
}

fn pool(call: &mut Call<'_, '_>, kind: PoolKind) -> Result<()> {
    let x = call.input(0)?;
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
        let message = format!("padding {:?} {:?} of a kernel {kernel:?}", window.before, window.after);
        return Err(Error::ModelInvalid(message));
    }
    if call.int_or("ceil_mode", 0)? != 0 {
        let extended = ceil(&window, input, kernel)?;
        if extended != window && kind == PoolKind::AverageWithPadding {
            return Err(Error::Unsupported("ceil_mode together with count_include_pad".to_owned()));
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
