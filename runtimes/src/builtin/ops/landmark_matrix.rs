//! The part of a picture around some landmarks, as a matrix: MediaPipe's `Landmarks2TransformMatrix`.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operand: landmarks `[1, points, 2 or more]`, f32. Result `[1, 4, 4]`: from places in an output of the given size
/// to places in the picture. The output is the smallest rectangle around the `subset`, turned so that the line
/// from `left` to `right` has the angle `rotation` in it, and scaled.
#[derive(Clone, Debug, PartialEq)]
pub struct LandmarkMatrix {
    /// Points between which the angle is taken.
    pub line: [usize; 2],
    /// The line's angle in the output, in radians.
    pub rotation: f32,
    /// Points that the output shows.
    pub subset: Vec<usize>,
    /// Width and height of the output.
    pub size: [f32; 2],
    /// What the rectangle is widened by, along its width and height.
    pub scale: [f32; 2],
}

impl Operator for LandmarkMatrix {
    fn name(&self) -> &'static str {
        "LandmarkMatrix"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let shape = &inputs[0].fact.shape;
        let most = self.subset.iter().chain(&self.line).max();
        match (&shape[..], most) {
            (&[1, points, c], Some(most)) if c >= 2 && *most < points && !self.subset.is_empty() => {}
            _ => return Err(Error::ModelInvalid(format!("landmarks {most:?} of shape {shape:?}"))),
        }
        Ok(vec![Fact::new(DType::F32, &[1, 4, 4])])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        if on.inputs[0].fact.dtype != DType::F32 || on.outputs[0].dtype != DType::F32 {
            return Ok(None);
        }
        let (op, width) = (self.clone(), on.inputs[0].fact.shape[2]);
        Ok(Some(Step::map("landmark_matrix", move |x: &[f32], y: &mut [f32]| op.run(x, width, y))))
    }
}

impl LandmarkMatrix {
    fn run(&self, x: &[f32], width: usize, y: &mut [f32]) {
        let point = |i: usize| [x[i * width], x[i * width + 1]];
        let [left, right] = self.line.map(point);
        let angle = self.rotation - (right[1] - left[1]).atan2(right[0] - left[0]);
        let (sin, cos) = angle.sin_cos();
        let (mut low, mut high) = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
        for [px, py] in self.subset.iter().map(|i| point(*i)) {
            for (axis, v) in [cos * px - sin * py, sin * px + cos * py].into_iter().enumerate() {
                low[axis] = low[axis].min(v);
                high[axis] = high[axis].max(v);
            }
        }
        let centre = [(low[0] + high[0]) / 2.0, (low[1] + high[1]) / 2.0];
        let scale = |axis: usize| self.scale[axis] * (high[axis] - low[axis]) / self.size[axis];
        // Turned back, the axes of the output are (cos, -sin) and (sin, cos).
        let rows = [[cos * scale(0), sin * scale(1)], [-sin * scale(0), cos * scale(1)]];
        let centre = [cos * centre[0] + sin * centre[1], -sin * centre[0] + cos * centre[1]];
        y.fill(0.0);
        for (row, ([a, b], c)) in rows.into_iter().zip(centre).enumerate() {
            let shift = c - (a * self.size[0] + b * self.size[1]) / 2.0;
            y[4 * row..4 * row + 4].copy_from_slice(&[a, b, 0.0, shift]);
        }
        (y[10], y[15]) = (1.0, 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, near};

    fn op() -> LandmarkMatrix {
        LandmarkMatrix { line: [0, 1], rotation: 0.0, subset: vec![0, 1, 2], size: [4.0, 2.0], scale: [1.0, 1.0] }
    }

    #[test]
    fn an_upright_rectangle() {
        let x = [Given::input(&[1, 3, 3], &[10.0f32, 20.0, 9.0, 18.0, 20.0, 9.0, 14.0, 24.0, 9.0])];
        #[rustfmt::skip]
        let expected = [
            2.0, 0.0, 0.0, 10.0,
            0.0, 2.0, 0.0, 20.0,
            0.0, 0.0, 1.0, 0.0,
            0.0, 0.0, 0.0, 1.0,
        ];
        near(op(), &x, &expected, 1e-6);
    }

    #[test]
    fn a_line_that_goes_down() {
        // A quarter turn: the output's width runs along y, its height against x.
        let x = [Given::input(&[1, 3, 2], &[20.0f32, 10.0, 20.0, 18.0, 16.0, 14.0])];
        #[rustfmt::skip]
        let expected = [
            0.0, -2.0, 0.0, 20.0,
            2.0, 0.0, 0.0, 10.0,
            0.0, 0.0, 1.0, 0.0,
            0.0, 0.0, 0.0, 1.0,
        ];
        near(op(), &x, &expected, 1e-6);
    }
}
