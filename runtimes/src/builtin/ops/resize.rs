//! Height and width of `[n, h, w, c]` scaled up or down.

use super::conv2d::dims4;
use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::memory::copy_row;
use crate::builtin::kernels::threads::Shares;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Where an output pixel lies in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinates {
    /// Pixels are areas: (i + ½) · scale − ½.
    HalfPixel,
    /// The same, but 0 where there is one output pixel.
    PytorchHalfPixel,
    /// The corner pixels of both lie on each other.
    AlignCorners,
    /// Pixels are points: i · scale.
    Asymmetric,
}

/// What is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResizeMode {
    /// The pixel below.
    Floor,
    /// The pixel above.
    Ceil,
    /// The nearest, of two the lower one.
    NearestFloor,
    /// The nearest, of two the upper one.
    NearestCeil,
    /// Between the four around it.
    Linear,
}

/// Operand: `[n, h, w, c]`. A nearest mode moves elements of any type; `Linear` computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resize {
    /// Height and width of the result.
    pub output: [usize; 2],
    /// Output pixels per input pixel, by which coordinates are divided, as ONNX states it; else they are
    /// multiplied by input size / output size, as in TFLite.
    pub scale: Option<[f32; 2]>,
    /// Where output pixels lie.
    pub coordinates: Coordinates,
    /// What is made of it.
    pub mode: ResizeMode,
}

/// Elementary operations of an element that is mixed.
const MIXING: usize = 4;

/// Weight of one in the fixed point that int8 pixels are mixed with: 11 bits, as XNNPACK has it.
const ONE: f32 = 2048.0;

/// The two pixels that an output pixel lies between, and how far it is from the first.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Between {
    low: usize,
    high: usize,
    part: f32,
}

impl Operator for Resize {
    fn name(&self) -> &'static str {
        if self.mode == ResizeMode::Linear { "ResizeLinear" } else { "ResizeNearest" }
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        let [n, h, w, c] = dims4(x)?;
        let good = |s: &f32| s.is_finite() && *s > 0.0;
        if h == 0 || w == 0 || !self.scale.iter().flatten().all(good) {
            return Err(Error::ModelInvalid(format!("{self:?} of shape {:?}", x.shape)));
        }
        let shape = vec![n, self.output[0], self.output[1], c];
        limits::elements(&shape)?;
        let fact = Fact { shape, ..x.clone() };
        Ok(vec![if self.mode == ResizeMode::Linear { fact.as_real() } else { fact }])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        let [n, h, w, c] = dims4(x)?;
        let (rows, columns) = (self.axis(0, h), self.axis(1, w));
        let shares = Shares::new(on.threads, n * self.output[0], self.output[1] * c * MIXING);
        let grid = Grid { size: [h, w], channels: c, rows, columns, shares };
        if self.mode != ResizeMode::Linear {
            return Ok((x.as_output() == out.as_output()).then(|| nearest(grid, x.dtype)));
        }
        let same = x.per_tensor().is_some() && x.as_output() == out.as_output();
        Ok(match (x.dtype, out.dtype) {
            (DType::F32, DType::F32) => Some(Step::map("resize_linear.f32", move |x, y| {
                grid.mix(x, y, |part| part, mix_f32);
            })),
            (DType::I8, DType::I8) if same => Some(Step::map("resize_linear.i8", move |x, y| {
                grid.mix(x, y, fixed, |[a, b, c, d]: [i8; 4], row, column| {
                    mix_fixed([a, b, c, d].map(i32::from), row, column) as i8
                });
            })),
            (DType::I16, DType::I16) if same && self.scale.is_none() => Some(self.words(n, [h, w], x.shape[3])),
            (DType::U8, DType::U8) if same => Some(Step::map("resize_linear.u8", move |x, y| {
                grid.mix(x, y, fixed, |[a, b, c, d]: [u8; 4], row, column| {
                    mix_fixed([a, b, c, d].map(i32::from), row, column) as u8
                });
            })),
            _ => None,
        })
    }
}

/// Weight of one for int16 pixels: 10 bits, as TFLite's own kernel has it.
const WORD_ONE: i64 = 1 << 10;

impl Resize {
    /// Where output pixels lie in an input of `length` pixels: low, high, and the weight of the high one.
    fn word_axis(&self, dimension: usize, length: usize) -> Vec<(usize, usize, i64)> {
        let (outputs, inputs) = (self.output[dimension] as i64, length as i64);
        let scale = match self.coordinates {
            Coordinates::AlignCorners if outputs > 1 => {
                (WORD_ONE * (inputs - 1) + (outputs - 1) / 2) / (outputs - 1)
            }
            _ => (WORD_ONE * inputs + outputs / 2) / outputs.max(1),
        };
        let half = matches!(self.coordinates, Coordinates::HalfPixel | Coordinates::PytorchHalfPixel);
        let place = |i: i64| {
            let at = i * scale + if half { scale / 2 - WORD_ONE / 2 } else { 0 };
            let low = (at / WORD_ONE).clamp(0, inputs - 1);
            let high = ((at + WORD_ONE - 1) / WORD_ONE).clamp(0, inputs - 1);
            (low as usize, high as usize, at - WORD_ONE * low)
        };
        (0..outputs).map(place).collect()
    }

    fn words(&self, images: usize, [h, w]: [usize; 2], c: usize) -> Step {
        let (rows, columns) = (self.word_axis(0, h), self.word_axis(1, w));
        Step::map("resize_linear.i16", move |x: &[i16], y: &mut [i16]| {
            let mut results = y.chunks_exact_mut(c.max(1));
            for image in 0..images {
                let pixel = |row: usize, column: usize| &x[((image * h + row) * w + column) * c..][..c];
                for (top, bottom, down) in &rows {
                    for ((left, right, over), y) in columns.iter().zip(&mut results) {
                        let corners = [(top, left), (top, right), (bottom, left), (bottom, right)];
                        let weights = [
                            (WORD_ONE - down) * (WORD_ONE - over),
                            (WORD_ONE - down) * over,
                            down * (WORD_ONE - over),
                            down * over,
                        ];
                        let corners = corners.map(|(row, column)| pixel(*row, *column));
                        for (k, y) in y.iter_mut().enumerate() {
                            let part = |(pixel, weight): (&&[i16], &i64)| i64::from(pixel[k]) * weight;
                            let sum: i64 = corners.iter().zip(&weights).map(part).sum();
                            let round = if sum > 0 { 1 << 19 } else { -(1 << 19) };
                            *y = ((sum + round) / (1 << 20)).clamp(-32768, 32767) as i16;
                        }
                    }
                }
            }
        })
    }

    /// Where the output pixels of one dimension lie in an input of `length` pixels.
    fn axis(&self, dimension: usize, length: usize) -> Vec<Between> {
        let outputs = self.output[dimension];
        let aligned = self.coordinates == Coordinates::AlignCorners && outputs > 1;
        let scale = match self.scale {
            _ if aligned => (length - 1) as f32 / (outputs - 1) as f32,
            _ => length as f32 / outputs as f32,
        };
        let divisor = self.scale.map(|scale| scale[dimension]);
        let half = match self.coordinates {
            Coordinates::HalfPixel => true,
            Coordinates::PytorchHalfPixel => outputs > 1,
            Coordinates::AlignCorners | Coordinates::Asymmetric => false,
        };
        let last = length - 1;
        let place = |i: usize| {
            let i = i as f32;
            // Nearest pixels are taken of the unshifted coordinate: ½ less and ½ more need not cancel.
            let (point, nearest) = if let Some(divisor) = divisor {
                let point = match (aligned, half) {
                    (true, _) => i * last as f32 / (outputs - 1) as f32,
                    (false, true) => (i + 0.5) / divisor - 0.5,
                    (false, false) => i / divisor,
                };
                (point, (point + 0.5).floor())
            } else if half {
                ((i * scale) + (0.5 * scale - 0.5), ((i + 0.5) * scale).floor())
            } else {
                (i * scale, (i * scale + 0.5).floor())
            };
            let low = point.floor();
            let pick = match self.mode {
                ResizeMode::Floor => low,
                ResizeMode::Ceil => point.ceil(),
                ResizeMode::NearestCeil => nearest,
                ResizeMode::NearestFloor => (point - 0.5).ceil(),
                ResizeMode::Linear => low.max(0.0),
            };
            let low = (pick.max(0.0) as usize).min(last);
            let part = (point.clamp(0.0, last as f32) - low as f32).clamp(0.0, 1.0);
            Between { low, high: (low + 1).min(last), part }
        };
        (0..outputs).map(place).collect()
    }
}

/// Output pixels over input pixels.
#[derive(Debug)]
struct Grid {
    size: [usize; 2],
    channels: usize,
    rows: Vec<Between>,
    columns: Vec<Between>,
    /// Lines of all results.
    shares: Shares,
}

impl Grid {
    /// Mixes the four pixels around each output pixel; `weight` prepares a part for `mix`.
    fn mix<T: Copy + Send + Sync, W: Copy>(
        &self,
        x: &[T],
        y: &mut [T],
        weight: impl Fn(f32) -> W + Sync,
        mix: impl Fn([T; 4], W, W) -> T + Sync,
    ) {
        let c = self.channels;
        self.lines(y, c, |[low, high], part, y| {
            let pixel = |line: usize, column: usize| &x[(line + column) * c..][..c];
            for (column, y) in self.columns.iter().zip(y.chunks_exact_mut(c)) {
                let (top, bottom) = (pixel(low, column.low), pixel(high, column.low));
                let (top2, bottom2) = (pixel(low, column.high), pixel(high, column.high));
                let (vertical, horizontal) = (weight(part), weight(column.part));
                let corners = top.iter().zip(top2).zip(bottom.iter().zip(bottom2));
                for (((a, b), (c, d)), y) in corners.zip(y) {
                    *y = mix([*a, *b, *c, *d], vertical, horizontal);
                }
            }
        });
    }

    /// Calls `work` for every line of the result, of pixels of `size` elements, with the numbers of the pixels that the
    /// two input lines start with, and how far it is from the first.
    fn lines<T: Send>(&self, y: &mut [T], size: usize, work: impl Fn([usize; 2], f32, &mut [T]) + Sync) {
        let ([h, w], length) = (self.size, self.columns.len() * size);
        self.shares.run(y, &|lines, y| {
            for (line, y) in lines.zip(y.chunks_exact_mut(length.max(1))) {
                let (image, row) = (line / self.rows.len(), self.rows[line % self.rows.len()]);
                work([row.low, row.high].map(|row| (image * h + row) * w), row.part, y);
            }
        });
    }
}

/// Copies the first of the pixels around each output pixel, whatever the elements are.
fn nearest(grid: Grid, dtype: DType) -> Step {
    let size = dtype.size() * grid.channels;
    Step::new("resize_nearest", move |inputs, mut outputs, _| {
        let x = inputs.bytes(0);
        grid.lines(outputs.bytes(0), size, |[low, _], _, y| {
            for (column, y) in grid.columns.iter().zip(y.chunks_exact_mut(size)) {
                copy_row(&x[(low + column.low) * size..][..size], y);
            }
        });
    })
}

fn mix_f32([a, b, c, d]: [f32; 4], row: f32, column: f32) -> f32 {
    let (top, bottom) = (a + (b - a) * column, c + (d - c) * column);
    top + (bottom - top) * row
}

/// A part in 11 bits.
fn fixed(part: f32) -> i32 {
    (part * ONE).round_ties_even() as i32
}

fn mix_fixed([a, b, c, d]: [i32; 4], row: i32, column: i32) -> i32 {
    let (top, bottom) = ((a << 11) + (b - a) * column, (c << 11) + (d - c) * column);
    ((top << 11) + (bottom - top) * row + (1 << 21)) >> 22
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::graph::Graph;
    use crate::builtin::tensor::Tensor;

    fn resize(coordinates: Coordinates, mode: ResizeMode, output: [usize; 2]) -> Vec<f32> {
        let mut g = Graph::new();
        let x = Tensor::from_elements(&[1, 2, 2, 1], &[0.0f32, 1.0, 2.0, 3.0]).unwrap();
        let x = g.constant("x", x, None).unwrap();
        let y = g.add("y", Resize { output, scale: None, coordinates, mode }, &[x]).unwrap();
        g.constant_value(y).unwrap().elements::<f32>().unwrap().to_vec()
    }

    #[test]
    fn known_pictures() {
        use Coordinates::{AlignCorners, Asymmetric, HalfPixel};
        use ResizeMode::{Floor, Linear, NearestCeil};
        assert_eq!(resize(AlignCorners, Linear, [3, 3]), [0.0, 0.5, 1.0, 1.0, 1.5, 2.0, 2.0, 2.5, 3.0]);
        assert_eq!(resize(HalfPixel, Linear, [1, 4]), [1.0, 1.25, 1.75, 2.0]);
        assert_eq!(resize(Asymmetric, Linear, [2, 4]), [0.0, 0.5, 1.0, 1.0, 2.0, 2.5, 3.0, 3.0]);
        assert_eq!(resize(Asymmetric, Floor, [2, 4]), [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
        assert_eq!(resize(AlignCorners, NearestCeil, [3, 1]), [0.0, 2.0, 2.0]);
        assert_eq!(resize(HalfPixel, NearestCeil, [1, 1]), [3.0]);
    }

    #[test]
    fn fixed_point_is_exact_at_the_pixels_and_rounds_between() {
        let pixels = [-128, 127, 5, -7];
        assert_eq!(mix_fixed(pixels, 0, 0), -128);
        assert_eq!(mix_fixed(pixels, 0, 2048), 127);
        assert_eq!(mix_fixed(pixels, 2048, 2048), -7);
        assert_eq!(mix_fixed([0, 1, 0, 1], 0, 1024), 1, "a half rounds up");
    }

    #[test]
    fn empty_and_absurd_sizes_are_refused() {
        let mut g = Graph::new();
        let x = g.input("x", Fact::new(DType::F32, &[1, 0, 2, 1])).unwrap();
        let op = |output| Resize {
            output,
            scale: None,
            coordinates: Coordinates::HalfPixel,
            mode: ResizeMode::Linear,
        };
        assert!(g.add("y", op([2, 2]), &[x]).is_err());
        let x = g.input("x", Fact::new(DType::F32, &[1, 2, 2, 1])).unwrap();
        assert!(g.add("y", op([1 << 20, 1 << 20]), &[x]).is_err());
    }
}
