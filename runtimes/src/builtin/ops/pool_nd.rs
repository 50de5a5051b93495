//! Pools over any number of dimensions, with the place of the largest element or a norm where that is asked for.

use super::window_nd::{Index, WindowNd};
use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::memory::Element;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// What becomes of the elements of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PoolNdKind {
    /// The largest, and as a second result its place in the operand (i64), where columns may come first.
    Max {
        /// There is a second result.
        places: bool,
        /// Places count the spatial dimensions from the first on.
        first_dimension_fastest: bool,
    },
    /// The mean; padding counts as zeros or not at all.
    Average {
        /// It counts.
        with_padding: bool,
    },
    /// (Σ |x|ᵖ)^(1/p)
    Norm {
        /// The power.
        p: f32,
    },
}

/// Operand: `[n, c, ...]`; f32, and any 8-bit integer for the maximum.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolNd {
    /// What becomes of the elements.
    pub kind: PoolNdKind,
    /// Geometry.
    pub window: WindowNd,
}

impl Operator for PoolNd {
    fn name(&self) -> &'static str {
        match self.kind {
            PoolNdKind::Max { .. } => "MaxPoolNd",
            PoolNdKind::Average { .. } => "AveragePoolNd",
            PoolNdKind::Norm { .. } => "LpPoolNd",
        }
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 1, 1)?;
        let x = inputs[0].fact;
        let [n, c, ref spatial @ ..] = x.shape[..] else {
            return Err(Error::ModelInvalid(format!("a pool of shape {:?}", x.shape)));
        };
        let mut shape = vec![n, c];
        shape.extend(self.window.output(spatial)?);
        let places = Fact::new(DType::I64, &shape);
        let max = matches!(self.kind, PoolNdKind::Max { .. });
        let result = Fact { shape, ..x.clone() };
        let mut facts = vec![if max { result } else { result.as_real() }];
        if matches!(self.kind, PoolNdKind::Max { places: true, .. }) {
            facts.push(places);
        }
        Ok(facts)
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (x, out) = (on.inputs[0].fact, &on.outputs[0]);
        let planes = Planes {
            window: self.window.clone(),
            count: x.shape[..2].iter().product(),
            input: x.shape[2..].to_vec(),
            output: out.shape[2..].to_vec(),
        };
        if let PoolNdKind::Max { places, first_dimension_fastest } = self.kind {
            if !super::same_elements(x, out) {
                return Ok(None);
            }
            let order = places.then_some(first_dimension_fastest);
            return Ok(match x.dtype {
                DType::F32 => Some(planes.max::<f32>(order)),
                DType::I8 => Some(planes.max::<i8>(order)),
                DType::U8 => Some(planes.max::<u8>(order)),
                _ => None,
            });
        }
        if x.dtype != DType::F32 || out.dtype != DType::F32 {
            return Ok(None);
        }
        let kind = self.kind;
        Ok(Some(Step::map("pool_nd.f32", move |x: &[f32], y: &mut [f32]| {
            planes.each(|plane, at, output| {
                let (mut sum, mut count) = (0.0, 0);
                planes.taps(output, |place, padded| {
                    count += usize::from(match kind {
                        PoolNdKind::Average { with_padding: true } => padded,
                        _ => place.is_some(),
                    });
                    let value = place.map_or(0.0, |p| x[plane * planes.area() + p]);
                    sum += if let PoolNdKind::Norm { p } = kind { value.abs().powf(p) } else { value };
                });
                y[at] = match kind {
                    PoolNdKind::Norm { p } => sum.powf(1.0 / p),
                    _ => sum / count.max(1) as f32,
                };
            });
        })))
    }

    fn work(&self, _inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        (outputs[0].len() as u64).saturating_mul(self.window.taps() as u64)
    }
}

/// The planes that a pool works on, one after the other.
struct Planes {
    window: WindowNd,
    count: usize,
    input: Vec<usize>,
    output: Vec<usize>,
}

impl Planes {
    fn area(&self) -> usize {
        self.input.iter().product()
    }

    /// Every output: its plane, its place in the result, its place in the plane.
    fn each(&self, mut run: impl FnMut(usize, usize, &Index)) {
        let mut at = 0;
        for plane in 0..self.count {
            for output in Index::all(&self.output) {
                run(plane, at, &output);
                at += 1;
            }
        }
    }

    /// Every tap of a window: its place if it lies inside, and whether it lies in the padding or inside.
    fn taps(&self, output: &Index, mut take: impl FnMut(Option<usize>, bool)) {
        for tap in Index::all(&self.window.kernel) {
            let place = self.window.inside(&self.input, output, &tap);
            take(place, self.window.in_padding(&self.input, output, &tap));
        }
    }

    /// A place with the first spatial dimension running fastest.
    fn turned(&self, place: usize) -> usize {
        let (mut rest, mut turned) = (place, 0);
        let mut scale = self.area();
        for length in self.input.iter().rev() {
            scale /= length;
            turned += rest % length * scale;
            rest /= length;
        }
        turned
    }

    /// Also the places, when an order is given.
    fn max<T: Element + PartialOrd>(self, order: Option<bool>) -> Step {
        Step::new("max_pool_nd", move |inputs, mut outputs, _| {
            let x = inputs.get::<T>(0);
            self.each(|plane, at, output| {
                let mut best: Option<(T, usize)> = None;
                self.taps(output, |place, _| {
                    let Some(place) = place else { return };
                    let value = x[plane * self.area() + place];
                    if best.is_none_or(|(largest, _)| value > largest) {
                        best = Some((value, place));
                    }
                });
                let (value, place) = best.unwrap_or_default();
                outputs.get::<T>(0)[at] = value;
                if let Some(turned) = order {
                    let place = if turned { self.turned(place) } else { place };
                    outputs.get::<i64>(1)[at] = (plane * self.area() + place) as i64;
                }
            });
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Session;
    use crate::builtin::graph::Graph;
    use crate::builtin::kernels::Tier;
    use crate::builtin::kernels::memory::{as_bytes, elements};
    use crate::builtin::ops::Op;
    use crate::builtin::prepare;
    use crate::builtin::testing::{Given, near, on_all_tiers};

    fn window(kernel: &[usize], pad: usize) -> WindowNd {
        let all = |value| vec![value; kernel.len()];
        WindowNd {
            kernel: kernel.to_vec(),
            stride: all(1),
            dilation: all(1),
            before: all(pad),
            after: all(pad),
            ceil: false,
        }
    }

    #[test]
    fn means_and_norms() {
        let x = [Given::input(&[1, 1, 1, 1, 3], &[3f32, -4.0, 5.0])];
        let op = |kind| PoolNd { kind, window: WindowNd { before: vec![0, 0, 1], ..window(&[1, 1, 2], 0) } };
        near(op(PoolNdKind::Average { with_padding: false }), &x, &[3.0, -0.5, 0.5], 1e-6);
        near(op(PoolNdKind::Average { with_padding: true }), &x, &[1.5, -0.5, 0.5], 1e-6);
        near(op(PoolNdKind::Norm { p: 2.0 }), &x, &[3.0, 5.0, 41f32.sqrt()], 1e-6);
    }

    #[test]
    fn the_largest_and_its_place() {
        for (first_dimension_fastest, places) in [(false, [1i64, 4]), (true, [2, 3])] {
            let kind = PoolNdKind::Max { places: true, first_dimension_fastest };
            let op = Op::from(PoolNd { kind, window: window(&[2, 2], 0) });
            let mut g = Graph::new();
            let x = g.input("x", Fact::new(DType::F32, &[1, 1, 2, 3])).unwrap();
            let both = g.add_node(&["y", "p"], op, &[x], &[None, None]).unwrap();
            both.iter().for_each(|id| g.output(*id));
            let mut session = prepare(&g, Tier::Portable).unwrap();
            session.set_input(0, as_bytes(&[1f32, 9.0, 2.0, 3.0, 9.5, 4.0])).unwrap();
            session.invoke().unwrap();
            assert_eq!(elements::<f32>(session.output(0).unwrap()).unwrap(), [9.5, 9.5]);
            let got = elements::<i64>(session.output(1).unwrap()).unwrap();
            assert_eq!(got, [if first_dimension_fastest { 3 } else { 4 }; 2], "of {places:?}");
        }
        let kind = PoolNdKind::Max { places: false, first_dimension_fastest: false };
        let x = [Given::input(&[1, 1, 3], &[-5i8, -7, -6])];
        let op = PoolNd { kind, window: window(&[2], 1) };
        assert_eq!(on_all_tiers::<i8>(op, &x, None)[0].1, [-5, -5, -6, -6]);
    }
}
