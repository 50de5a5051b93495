//! Convolutions, also transposed, over any number of dimensions, whose weights need not be known before the model runs.

use super::conv2d::check_bias;
use super::window_nd::{Index, WindowNd};
use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operands, all f32: input `[n, c, ...]`, weights `[oc, c / groups, ...]`, optionally bias `[oc]`. Transposed, the
/// weights are `[c, oc / groups, ...]`, and every element of the input is spread over a window of the output.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvNd {
    /// Geometry; of the output when transposed.
    pub window: WindowNd,
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Lengths of the output of a transposed convolution; none when it is not.
    pub transposed: Option<Vec<usize>>,
}

/// What the loops run over.
struct Loops {
    window: WindowNd,
    images: usize,
    groups: usize,
    /// Channels of a group, of the input and of the output.
    inputs: usize,
    outputs: usize,
    input: Vec<usize>,
    output: Vec<usize>,
}

impl ConvNd {
    fn loops(&self, inputs: &[Operand<'_>]) -> Result<Loops> {
        arity(inputs, 2, 3)?;
        let (x, w) = (&inputs[0].fact.shape, &inputs[1].fact.shape);
        let unfit =
            || Error::ModelInvalid(format!("weights {w:?} for input {x:?} in {} groups", self.groups));
        let (&[n, c, ref input @ ..], &[rows, columns, ref kernel @ ..]) = (&x[..], &w[..]) else {
            return Err(unfit());
        };
        let transposed = self.transposed.is_some();
        let outputs =
            if transposed { columns } else { rows.checked_div(self.groups).unwrap_or(0) };
        let channels = if transposed { rows } else { columns.saturating_mul(self.groups) };
        let fits = (1..=c.max(1)).contains(&self.groups)
            && channels == c
            && c % self.groups == 0
            && (transposed || rows % self.groups == 0)
            && kernel == self.window.kernel;
        if !fits || input.is_empty() {
            return Err(unfit());
        }
        let output = match &self.transposed {
            None => self.window.output(input)?,
            Some(output) => {
                self.window.check(output)?;
                limits::elements(output)?;
                output.clone()
            }
        };
        check_bias(inputs.get(2), outputs * self.groups)?;
        Ok(Loops {
            window: self.window.clone(),
            images: n,
            groups: self.groups,
            inputs: c / self.groups,
            outputs,
            input: input.to_vec(),
            output,
        })
    }
}

impl Operator for ConvNd {
    fn name(&self) -> &'static str {
        if self.transposed.is_some() { "TransposeConvNd" } else { "ConvNd" }
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        let loops = self.loops(inputs)?;
        let mut shape = vec![loops.images, loops.outputs * loops.groups];
        shape.extend(loops.output);
        limits::elements(&shape)?;
        Ok(vec![Fact { shape, ..inputs[0].fact.clone() }.as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        if on.inputs.iter().map(|i| i.fact).chain(on.outputs).any(|f| f.dtype != DType::F32) {
            return Ok(None);
        }
        let loops = self.loops(on.inputs)?;
        let transposed = self.transposed.is_some();
        let area: usize = loops.output.iter().product();
        let channels = loops.outputs * loops.groups;
        let label = if transposed { "transpose_conv_nd.f32" } else { "conv_nd.f32" };
        Ok(Some(Step::new(label, move |inputs, mut outputs, _| {
            let (x, w, y) = (inputs.get::<f32>(0), inputs.get::<f32>(1), outputs.get::<f32>(0));
            let bias = if inputs.len() > 2 { inputs.get::<f32>(2) } else { &[] };
            for (i, plane) in y.chunks_exact_mut(area.max(1)).enumerate() {
                plane.fill(bias.get(i % channels.max(1)).copied().unwrap_or(0.0));
            }
            // places without channels or images are no work, and could be any number
            if !(x.is_empty() || y.is_empty()) {
                if transposed { loops.spread(x, w, y) } else { loops.gather(x, w, y) }
            }
        })))
    }

    fn work(&self, inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        let elements = if self.transposed.is_some() { inputs[0].fact.len() } else { outputs[0].len() };
        let per_channel: usize = inputs[1].fact.shape[1..].iter().product();
        (elements as u64).saturating_mul(per_channel as u64)
    }
}

impl Loops {
    fn gather(&self, x: &[f32], w: &[f32], y: &mut [f32]) {
        let (taps, area) = (self.window.taps(), self.input.iter().product::<usize>());
        let result: usize = self.output.iter().product();
        let mut inside = Vec::with_capacity(taps);
        for (at, output) in Index::all(&self.output).enumerate() {
            inside.clear();
            let places = Index::all(&self.window.kernel).enumerate();
            inside.extend(places.filter_map(|(k, tap)| {
                self.window.inside(&self.input, &output, &tap).map(|place| (k, place))
            }));
            for (image, channel) in self.channels() {
                let group = channel / self.outputs;
                let mut sum = 0.0;
                for c in 0..self.inputs {
                    let weights = &w[(channel * self.inputs + c) * taps..][..taps];
                    let plane = &x[((image * self.groups + group) * self.inputs + c) * area..][..area];
                    sum += inside.iter().map(|(k, place)| weights[*k] * plane[*place]).sum::<f32>();
                }
                y[(image * self.groups * self.outputs + channel) * result + at] += sum;
            }
        }
    }

    fn spread(&self, x: &[f32], w: &[f32], y: &mut [f32]) {
        let (taps, area) = (self.window.taps(), self.input.iter().product::<usize>());
        let result: usize = self.output.iter().product();
        let mut inside = Vec::with_capacity(taps);
        for (at, input) in Index::all(&self.input).enumerate() {
            inside.clear();
            let places = Index::all(&self.window.kernel).enumerate();
            inside.extend(places.filter_map(|(k, tap)| {
                self.window.inside(&self.output, &input, &tap).map(|place| (k, place))
            }));
            for (image, channel) in self.channels() {
                let (group, own) = (channel / self.outputs, channel % self.outputs);
                let plane = &mut y[(image * self.groups * self.outputs + channel) * result..][..result];
                for c in 0..self.inputs {
                    let from = group * self.inputs + c;
                    let value = x[(image * self.groups * self.inputs + from) * area + at];
                    let weights = &w[(from * self.outputs + own) * taps..][..taps];
                    inside.iter().for_each(|(k, place)| plane[*place] += weights[*k] * value);
                }
            }
        }
    }

    /// Every image with every channel of the output.
    fn channels(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let channels = self.groups * self.outputs;
        (0..self.images).flat_map(move |image| (0..channels).map(move |channel| (image, channel)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::graph::Graph;
    use crate::builtin::testing::{Given, Numbers, near};

    fn window(kernel: &[usize], stride: usize, before: usize) -> WindowNd {
        let all = |value| vec![value; kernel.len()];
        WindowNd {
            kernel: kernel.to_vec(),
            stride: all(stride),
            dilation: all(1),
            before: all(before),
            after: all(0),
            ceil: false,
        }
    }

    #[test]
    fn one_dimension_with_groups_and_bias() {
        let x = [
            Given::input(&[1, 2, 3], &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]),
            Given::input(&[2, 1, 2], &[1f32, 10.0, 2.0, 20.0]),
            Given::input(&[2], &[100f32, 200.0]),
        ];
        let op = ConvNd { window: window(&[2], 1, 0), groups: 2, transposed: None };
        near(op, &x, &[121.0, 132.0, 308.0, 330.0], 1e-6);
        let op = ConvNd { window: window(&[2], 2, 0), groups: 2, transposed: Some(vec![6]) };
        let expected = [101.0, 110.0, 102.0, 120.0, 103.0, 130.0, 208.0, 280.0, 210.0, 300.0, 212.0, 320.0];
        near(op, &x, &expected, 1e-6);
    }

    /// What convolution and transposed convolution do to two tensors gives the same product.
    #[test]
    fn transposed_is_the_adjoint() {
        let mut random = Numbers::new(7);
        let (x, w) = (random.f32s(2 * 2 * 3 * 4), random.f32s(3 * 2 * 2 * 2));
        let window = window(&[2, 2], 2, 1);
        let output = window.output(&[3, 4]).unwrap();
        let y = random.f32s(2 * 3 * output.iter().product::<usize>());
        let given = |shape: &[usize], values: &[f32]| Given::input(shape, values);
        let run = |op: ConvNd, x: Given| {
            let operands = [x, given(&[3, 2, 2, 2], &w)];
            crate::builtin::testing::on_all_tiers::<f32>(op, &operands, None).swap_remove(0).1
        };
        let op = ConvNd { window: window.clone(), groups: 1, transposed: None };
        let forward = run(op, given(&[2, 2, 3, 4], &x));
        let op = ConvNd { window, groups: 1, transposed: Some(vec![3, 4]) };
        let back = run(op, given(&[2, 3, output[0], output[1]], &y));
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        assert!((dot(&forward, &y) - dot(&x, &back)).abs() < 1e-4);
    }

    #[test]
    fn absurd_sizes_are_refused() {
        let mut g = Graph::new();
        let x = g.input("x", Fact::new(DType::F32, &[1, 1, 4])).unwrap();
        let w = g.input("w", Fact::new(DType::F32, &[1, 1, 2])).unwrap();
        for transposed in [Some(vec![usize::MAX]), Some(vec![]), None] {
            let op = ConvNd { window: window(&[2], usize::MAX, 0), groups: 1, transposed };
            assert!(g.add("y", op, &[x, w]).is_err());
        }
        let op = ConvNd { window: window(&[2], 1, 0), groups: 0, transposed: None };
        assert!(g.add("y", op, &[x, w]).is_err());
    }
}
