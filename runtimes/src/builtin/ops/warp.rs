//! A picture seen through a matrix: MediaPipe's `TransformTensorBilinear`.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operands: picture `[1, h, w, c]` and matrix `[1, 4, 4]`, f32. Result `[1, height, width, c]`: at every pixel, the
/// picture at the place that the matrix makes of the pixel's, pixels as areas, interpolated linearly; zeros outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warp {
    /// Height and width of the result.
    pub output: [usize; 2],
}

impl Operator for Warp {
    fn name(&self) -> &'static str {
        "Warp"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 2)?;
        let (x, m) = (&inputs[0].fact.shape, &inputs[1].fact.shape);
        let &[1, _, _, c] = &x[..] else {
            return Err(Error::ModelInvalid(format!("one picture is needed, not {x:?}")));
        };
        if inputs[1].fact.len() != 16 {
            return Err(Error::ModelInvalid(format!("a matrix of shape {m:?}")));
        }
        let shape = vec![1, self.output[0], self.output[1], c];
        limits::bytes(&shape, size_of::<f32>())?;
        Ok(vec![Fact::new(DType::F32, &shape)])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        if on.inputs.iter().map(|i| i.fact).chain(on.outputs).any(|f| f.dtype != DType::F32) {
            return Ok(None);
        }
        let (op, shape) = (*self, &on.inputs[0].fact.shape);
        let size = [shape[1], shape[2], shape[3]];
        Ok(Some(Step::map2("warp.f32", move |x: &[f32], m: &[f32], y: &mut [f32]| op.run(size, x, m, y))))
    }
}

impl Warp {
    fn run(&self, [h, w, c]: [usize; 3], x: &[f32], m: &[f32], y: &mut [f32]) {
        // From the middle of a pixel to the middle of a pixel.
        let row = |r: usize| [m[r], m[r + 1], m[r + 3] + (m[r] * 0.5 + m[r + 1] * 0.5 - 0.5)];
        let (to_x, to_y) = (row(0), row(4));
        let at = |[a, b, shift]: [f32; 3], px: f32, py: f32| a * px + b * py + shift;
        let most = (w as f32 - 1.0, h as f32 - 1.0);
        for (i, y) in y.chunks_exact_mut(c.max(1)).enumerate() {
            let (px, py) = ((i % self.output[1]) as f32, (i / self.output[1]) as f32);
            let (sx, sy) = (at(to_x, px, py), at(to_y, px, py));
            if !(sx >= 0.0 && sx <= most.0 && sy >= 0.0 && sy <= most.1) {
                y.fill(0.0);
                continue;
            }
            let (left, top) = (sx as usize, sy as usize);
            let (right, bottom) = ((left + 1).min(w - 1), (top + 1).min(h - 1));
            let (fx, fy) = (sx - left as f32, sy - top as f32);
            let pixel = |row: usize, column: usize| &x[(row * w + column) * c..][..c];
            let corners = [pixel(top, left), pixel(top, right), pixel(bottom, left), pixel(bottom, right)];
            for (k, y) in y.iter_mut().enumerate() {
                let upper = (1.0 - fx) * corners[0][k] + fx * corners[1][k];
                let lower = (1.0 - fx) * corners[2][k] + fx * corners[3][k];
                *y = fy * lower + (1.0 - fy) * upper;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, near};

    #[test]
    fn half_a_picture_twice_as_large() {
        let x = Given::input(&[1, 2, 2, 1], &[0.0f32, 4.0, 8.0, 12.0]);
        #[rustfmt::skip]
        let m = Given::input(&[1, 4, 4], &[
            0.5f32, 0.0, 0.0, 0.5,
            0.0, 0.5, 0.0, 0.25,
            0.0, 0.0, 1.0, 0.0,
            0.0, 0.0, 0.0, 1.0,
        ]);
        // x is 0.25, 0.75, 1.25 and y 0, 0.5 of the picture's pixels
        near(Warp { output: [2, 3] }, &[x, m], &[1.0, 3.0, 0.0, 5.0, 7.0, 0.0], 1e-6);
    }

    #[test]
    fn matrices_of_other_sizes_are_refused() {
        let x = Fact::new(DType::F32, &[1, 2, 2, 1]);
        let m = Fact::new(DType::F32, &[1, 3, 3]);
        let operands = [&x, &m].map(|fact| Operand { fact, constant: None });
        assert!(Warp { output: [2, 3] }.infer(&operands).is_err());
    }
}
