//! Operations with a sliding window or a matrix of weights.

use super::{Importer, invalid, unsupported};
use protocol::{DType, Quantization};
use runtimes::Result;
use runtimes::builtin::graph::ValueId;
use runtimes::builtin::nnapi::codes::{operand, padding};
use runtimes::builtin::nnapi::model::{Operation, Value};
use runtimes::builtin::ops::{Conv2d, DepthwiseConv2d, Dynamic, FullyConnected, Pool2d, PoolKind, Window};
use runtimes::builtin::tensor::Tensor;

/// Where the attributes of a windowed operation begin, by whether its padding is implicit.
struct Place {
    implicit: bool,
    stride: usize,
}

impl Importer<'_> {
    pub(super) fn convolution(&mut self, operation: &Operation, depthwise: bool) -> Result<()> {
        let place = self.place(operation, 3, 7 + usize::from(depthwise))?;
        let (x, w) = (self.tensor(operation, 0)?, self.weights(operation)?);
        let bias = self.bias(operation, x, w)?;
        let ([_, h, iw, c], [_, kh, kw, ic]) = (self.dims4(x)?, self.dims4(w)?);
        let activation = place.stride + 2 + usize::from(depthwise);
        let clamp = self.clamp(operation, activation)?;
        self.check_layout(operation, activation + 1)?;
        let dilation = match operation.inputs.len() > activation + 2 {
            true => [self.size(operation, activation + 3)?, self.size(operation, activation + 2)?],
            false => [1, 1],
        };
        let window = self.window(operation, &place, [h, iw], [kh, kw], dilation)?;
        if depthwise {
            let multiplier = self.size(operation, place.stride + 2)?;
            if c.checked_mul(multiplier) != Some(ic) {
                return Err(invalid(format!("{c} channels times {multiplier} are not {ic}")));
            }
            let op = DepthwiseConv2d { window, clamp, dynamic: Dynamic::PerRow };
            return self.compute(operation, op, &[x, w, bias]);
        }
        let op = Conv2d { window, groups: 1, clamp, dynamic: Dynamic::PerRow };
        self.compute(operation, op, &[x, w, bias])
    }

    pub(super) fn fully_connected(&mut self, operation: &Operation) -> Result<()> {
        let (x, w) = (self.tensor(operation, 0)?, self.weights(operation)?);
        let bias = self.bias(operation, x, w)?;
        let clamp = self.clamp(operation, 3)?;
        let op = FullyConnected { keep_dims: false, clamp, dynamic: Dynamic::PerRow };
        self.compute(operation, op, &[x, w, bias])
    }

    pub(super) fn pool(&mut self, operation: &Operation, kind: PoolKind) -> Result<()> {
        let place = self.place(operation, 1, 7)?;
        let x = self.tensor(operation, 0)?;
        let [_, h, w, _] = self.dims4(x)?;
        let kernel = [self.size(operation, place.stride + 3)?, self.size(operation, place.stride + 2)?];
        let clamp = self.clamp(operation, place.stride + 4)?;
        self.check_layout(operation, place.stride + 5)?;
        let window = self.window(operation, &place, [h, w], kernel, [1, 1])?;
        self.compute(operation, Pool2d { kind, kernel, window, clamp }, &[x])
    }

    /// `first` is the number of the first attribute, `implicit` the number of inputs with implicit padding and no
    /// optional ones. As NNAPI has it, a BOOL after those says that the padding is implicit.
    fn place(&self, operation: &Operation, first: usize, implicit: usize) -> Result<Place> {
        let count = operation.inputs.len();
        let is_bool = |position: usize| {
            let index = self.input(operation, position)?;
            Ok::<_, runtimes::Error>(self.operand(index)?.code == operand::BOOL)
        };
        let implicit = count == implicit || (count > implicit && is_bool(implicit)?);
        Ok(Place { implicit, stride: first + if implicit { 1 } else { 4 } })
    }

    fn window(
        &self,
        operation: &Operation,
        place: &Place,
        input: [usize; 2],
        kernel: [usize; 2],
        dilation: [usize; 2],
    ) -> Result<Window> {
        let stride = [self.size(operation, place.stride + 1)?, self.size(operation, place.stride)?];
        if !place.implicit {
            let size = |before: usize| self.size(operation, place.stride - before);
            let ([left, right], [top, bottom]) = ([size(4)?, size(3)?], [size(2)?, size(1)?]);
            return Ok(Window { stride, dilation, before: [top, left], after: [bottom, right] });
        }
        match self.int(operation, place.stride - 1)? {
            padding::SAME => Window::same(input, kernel, stride, dilation),
            padding::VALID => Ok(Window { stride, dilation, ..Window::default() }),
            other => Err(invalid(format!("no padding {other}"))),
        }
    }

    /// Input 1, which must be constant. Unsigned weights become signed ones with the same meaning: the engine's
    /// kernels take those.
    fn weights(&mut self, operation: &Operation) -> Result<ValueId> {
        let w = self.tensor(operation, 1)?;
        let Some(tensor) = self.graph.constant_value(w) else {
            return Err(unsupported("weights that are only known when the model runs".to_owned()));
        };
        let fact = self.graph.fact(w);
        let (DType::U8, Some((scale, zero))) = (fact.dtype, fact.per_tensor()) else { return Ok(w) };
        let signed: Vec<u8> = tensor.bytes().iter().map(|b| b ^ 0x80).collect();
        let tensor = Tensor::from_bytes(DType::I8, &fact.shape, &signed)?;
        let quant = Quantization { scale: vec![scale], zero_point: vec![zero - 128], axis: 0 };
        self.graph.constant("weights", tensor, Some(quant))
    }

    /// Input 2. NNAPI leaves the scales of a bias to those of input and weights.
    fn bias(&mut self, operation: &Operation, x: ValueId, w: ValueId) -> Result<ValueId> {
        let index = self.input(operation, 2)?;
        let (input, weights) = (self.graph.fact(x).per_tensor(), self.graph.fact(w).quant.clone());
        let (Some((input, _)), Some(weights)) = (input, weights) else { return self.value(index) };
        let operand = self.operand(index)?;
        let Value::Constant(bytes) = &operand.value else { return self.value(index) };
        if operand.code != operand::TENSOR_INT32 {
            return Err(invalid(format!("a bias of code {}", operand.code)));
        }
        let tensor = Tensor::from_bytes(DType::I32, &super::shape(operand), bytes)?;
        let scale: Vec<f32> = weights.scale.iter().map(|s| s * input).collect();
        let quant = Quantization { zero_point: vec![0; scale.len()], scale, axis: 0 };
        self.graph.constant("bias", tensor, Some(quant))
    }

    fn dims4(&self, value: ValueId) -> Result<[usize; 4]> {
        let shape = self.graph.shape(value);
        shape.try_into().map_err(|_| invalid(format!("4 dimensions are needed, not {shape:?}")))
    }
}
