//! Blocks put back to where they were taken from, and summed where they overlap.

use super::window_nd::{Index, WindowNd};
use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operand: f32 `[n, c · elements of a block, blocks]`. Result: `[n, c, ...]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Col2Im {
    /// How blocks lie in the image.
    pub window: WindowNd,
    /// Lengths of the image.
    pub image: Vec<usize>,
}

impl Operator for Col2Im {
    fn name(&self) -> &'static str {
        "Col2Im"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        let blocks: usize = self.window.output(&self.image)?.iter().product();
        let unfit = || Error::ModelInvalid(format!("{:?} for {self:?}", x.shape));
        let &[n, rows, columns] = &x.shape[..] else { return Err(unfit()) };
        if columns != blocks || rows % self.window.taps() != 0 {
            return Err(unfit());
        }
        let shape = [&[n, rows / self.window.taps()], &self.image[..]].concat();
        limits::elements(&shape)?;
        Ok(vec![Fact { shape, ..x.clone() }.as_real()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        if x.dtype != DType::F32 || out.dtype != DType::F32 {
            return Ok(None);
        }
        let (window, image) = (self.window.clone(), self.image.clone());
        let blocks = window.output(&image)?;
        let (count, area) = (blocks.iter().product::<usize>(), image.iter().product::<usize>());
        let planes = out.shape[..2].iter().product::<usize>();
        Ok(Some(Step::map("col2im.f32", move |x: &[f32], y: &mut [f32]| {
            y.fill(0.0);
            if x.is_empty() || y.is_empty() {
                return;
            }
            for (k, tap) in Index::all(&window.kernel).enumerate() {
                for (b, block) in Index::all(&blocks).enumerate() {
                    let Some(place) = window.inside(&image, &block, &tap) else { continue };
                    for plane in 0..planes {
                        y[plane * area + place] += x[(plane * window.taps() + k) * count + b];
                    }
                }
            }
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, near};

    #[test]
    fn overlaps_are_summed() {
        let window = WindowNd {
            kernel: vec![2],
            stride: vec![1],
            dilation: vec![1],
            before: vec![0],
            after: vec![0],
            ceil: false,
        };
        let x = [Given::input(&[1, 2, 2], &[1f32, 2.0, 10.0, 20.0])];
        near(Col2Im { window, image: vec![3] }, &x, &[1.0, 12.0, 20.0], 1e-6);
    }
}
