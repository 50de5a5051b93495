//! Operators with a sliding window or a matrix of weights.

use super::importer::{Importer, clamp, invalid, sizes};
use super::options::{self, Padding, Window as Options};
use super::schema::Operator;
use crate::Result;
use crate::builtin::graph::ValueId;
use crate::builtin::ops::{
    Clamp, Clip, Conv2d, ConvNd, DepthwiseConv2d, Dynamic, FullyConnected, MatMul, Pool2d, PoolKind,
    Transpose, TransposeConv2d, Unary, UnaryKind, Window, WindowNd,
};

impl Importer<'_, '_> {
    /// Input, weights and, when given, bias.
    fn weighted(&mut self, operator: &Operator<'_>) -> Result<Vec<ValueId>> {
        let mut values = vec![self.operand(operator, 0)?, self.operand(operator, 1)?];
        if let Some(bias) = self.optional(operator, 2) {
            values.push(self.value(bias)?);
        }
        Ok(values)
    }

    pub(super) fn conv_2d(&mut self, operator: &Operator<'_>) -> Result<()> {
        let options = options::conv_2d(operator)?;
        let values = self.weighted(operator)?;
        let ([_, h, w, c], [_, kh, kw, ic]) = (self.dims4(values[0])?, self.dims4(values[1])?);
        if ic == 0 || c % ic != 0 {
            return Err(invalid(format!("weights for {ic} channels, the input has {c}")));
        }
        let window = window(&options, [h, w], [kh, kw])?;
        let op = Conv2d { window, groups: c / ic, clamp: clamp(options.clamp), dynamic: Dynamic::PerRow };
        self.compute(operator, op, &values)
    }

    pub(super) fn depthwise_conv_2d(&mut self, operator: &Operator<'_>) -> Result<()> {
        let options = options::depthwise_conv_2d(operator)?;
        let values = self.weighted(operator)?;
        let ([_, h, w, _], [_, kh, kw, _]) = (self.dims4(values[0])?, self.dims4(values[1])?);
        let window = window(&options, [h, w], [kh, kw])?;
        let op = DepthwiseConv2d { window, clamp: clamp(options.clamp), dynamic: Dynamic::PerRow };
        self.compute(operator, op, &values)
    }

    pub(super) fn fully_connected(&mut self, operator: &Operator<'_>) -> Result<()> {
        let options = options::fully_connected(operator)?;
        let values = self.weighted(operator)?;
        let op = FullyConnected {
            keep_dims: options.keep_num_dims,
            clamp: clamp(options.clamp),
            dynamic: Dynamic::PerRow,
        };
        self.compute(operator, op, &values)
    }

    /// Operands: shape of the output, weights, input, bias.
    pub(super) fn transpose_conv(&mut self, operator: &Operator<'_>) -> Result<()> {
        let options = options::transpose_conv(operator)?;
        let output = sizes(&self.integers(operator, 0)?)?;
        let &[_, oh, ow, _] = &output[..] else {
            return Err(invalid(format!("an output of shape {output:?}")));
        };
        let mut values = vec![self.operand(operator, 2)?, self.operand(operator, 1)?];
        if let Some(bias) = self.optional(operator, 3) {
            values.push(self.value(bias)?);
        }
        let [_, kh, kw, _] = self.dims4(values[1])?;
        // The padding is that of the convolution which would make the input out of the output.
        let inverse = window(&options, [oh, ow], [kh, kw])?;
        let op = TransposeConv2d {
            stride: options.stride,
            dilation: [1, 1],
            before: inverse.before,
            output: [oh, ow],
            clamp: clamp(options.clamp),
        };
        self.compute(operator, op, &values)
    }

    pub(super) fn pool_2d(&mut self, operator: &Operator<'_>, kind: PoolKind) -> Result<()> {
        let (options, kernel) = options::pool_2d(operator)?;
        let x = self.operand(operator, 0)?;
        let [_, h, w, _] = self.dims4(x)?;
        let window = window(&options, [h, w], kernel)?;
        self.compute(operator, Pool2d { kind, kernel, window, clamp: clamp(options.clamp) }, &[x])
    }

    /// Over depth, height and width; channels last here, second in the operator.
    pub(super) fn conv_3d(&mut self, operator: &Operator<'_>) -> Result<()> {
        let options = options::conv_3d(operator)?;
        let values = self.weighted(operator)?;
        let x = self.step(operator, Transpose { perm: vec![0, 4, 1, 2, 3] }, &values[..1])?;
        let w = self.step(operator, Transpose { perm: vec![4, 3, 0, 1, 2] }, &values[1..2])?;
        let (lengths, kernel) = (self.graph.shape(x)[2..].to_vec(), self.graph.shape(w)[2..].to_vec());
        let window = window_3d(&options, &lengths, kernel)?;
        let mut operands = vec![x, w];
        operands.extend(&values[2..]);
        let y = self.step(operator, ConvNd { window, groups: 1, transposed: None }, &operands)?;
        let y = self.step(operator, Transpose { perm: vec![0, 2, 3, 4, 1] }, &[y])?;
        self.compute(operator, Clip { clamp: clamp(options.clamp) }, &[y])
    }

    /// Operands: shape of the output, weights, input, bias.
    pub(super) fn conv_3d_transpose(&mut self, operator: &Operator<'_>) -> Result<()> {
        let options = options::conv_3d(operator)?;
        let output = sizes(&self.integers(operator, 0)?)?;
        let (x, w) = (self.operand(operator, 2)?, self.operand(operator, 1)?);
        let x = self.step(operator, Transpose { perm: vec![0, 4, 1, 2, 3] }, &[x])?;
        let w = self.step(operator, Transpose { perm: vec![4, 3, 0, 1, 2] }, &[w])?;
        let lengths = output.get(1..4).ok_or_else(|| invalid(format!("an output of {output:?}")))?.to_vec();
        let kernel = self.graph.shape(w)[2..].to_vec();
        let window = window_3d(&options, &lengths, kernel)?;
        let mut operands = vec![x, w];
        if let Some(bias) = self.optional(operator, 3) {
            operands.push(self.value(bias)?);
        }
        let y = self.step(operator, ConvNd { window, groups: 1, transposed: Some(lengths) }, &operands)?;
        let y = self.step(operator, Transpose { perm: vec![0, 2, 3, 4, 1] }, &[y])?;
        self.compute(operator, Clip { clamp: clamp(options.clamp) }, &[y])
    }

    /// The root of the mean of squares.
    pub(super) fn l2_pool_2d(&mut self, operator: &Operator<'_>) -> Result<()> {
        let (options, kernel) = options::pool_2d(operator)?;
        let x = self.operand(operator, 0)?;
        let [_, h, w, _] = self.dims4(x)?;
        let window = window(&options, [h, w], kernel)?;
        let square = self.step(operator, Unary { kind: UnaryKind::Square }, &[x])?;
        let mean = Pool2d { kind: PoolKind::Average, kernel, window, clamp: Clamp::NONE };
        let mean = self.step(operator, mean, &[square])?;
        let root = self.step(operator, Unary { kind: UnaryKind::Sqrt }, &[mean])?;
        self.compute(operator, Clip { clamp: clamp(options.clamp) }, &[root])
    }

    pub(super) fn batch_matmul(&mut self, operator: &Operator<'_>) -> Result<()> {
        let (transpose_a, transpose_b) = options::batch_matmul(operator)?;
        let values = self.operands(operator)?;
        self.compute(operator, MatMul { transpose_a, transpose_b }, &values)
    }

    fn dims4(&self, value: ValueId) -> Result<[usize; 4]> {
        let shape = self.graph.shape(value);
        shape.try_into().map_err(|_| invalid(format!("4 dimensions are needed, not {shape:?}")))
    }
}

/// Geometry of a window over an input of these lengths.
fn window_3d(options: &options::Conv3d, lengths: &[usize], kernel: Vec<usize>) -> Result<WindowNd> {
    let (mut before, mut after) = (vec![0; 3], vec![0; 3]);
    let three = <[usize; 3]>::try_from(lengths).ok().zip(<[usize; 3]>::try_from(&kernel[..]).ok());
    let (lengths, taps) = three.ok_or_else(|| invalid(format!("lengths {lengths:?}, kernel {kernel:?}")))?;
    for d in (0..3).filter(|_| options.padding == Padding::Same) {
        let line =
            Window::same([lengths[d], 1], [taps[d], 1], [options.stride[d], 1], [options.dilation[d], 1])?;
        (before[d], after[d]) = (line.before[0], line.after[0]);
    }
    let (stride, dilation) = (options.stride.to_vec(), options.dilation.to_vec());
    Ok(WindowNd { kernel, stride, dilation, before, after, ceil: false })
}

/// Geometry of a window over an input of the given height and width.
fn window(options: &Options, input: [usize; 2], kernel: [usize; 2]) -> Result<Window> {
    match options.padding {
        Padding::Same => Window::same(input, kernel, options.stride, options.dilation),
        Padding::Valid => {
            Ok(Window { stride: options.stride, dilation: options.dilation, ..Window::default() })
        }
    }
}
