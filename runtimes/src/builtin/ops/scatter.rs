//! Elements or slices put to given places of a copy of a tensor.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::kernels::io::Inputs;
use crate::builtin::kernels::memory::Element;
use crate::builtin::kernels::nest::dense_strides;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// What the indices are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScatterKind {
    /// One index per update, along this dimension; the others are the update's own.
    Elements {
        /// The dimension.
        axis: usize,
    },
    /// The last dimension of the indices is a place among the data's first dimensions.
    Nd,
}

/// What becomes of the element that was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// It goes.
    Replace,
    /// Their sum.
    Add,
    /// Their product.
    Mul,
    /// The larger.
    Max,
    /// The smaller.
    Min,
}

/// Operands: data, indices (i32 or i64; negative ones count from the end), updates of the data's type. An update for
/// a place outside the data is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scatter {
    /// What the indices are.
    pub kind: ScatterKind,
    /// What becomes of the element that was there.
    pub reduction: Reduction,
}

impl Operator for Scatter {
    fn name(&self) -> &'static str {
        match self.kind {
            ScatterKind::Elements { .. } => "ScatterElements",
            ScatterKind::Nd => "ScatterNd",
        }
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 3, 3)?;
        let [data, indices, updates] = [inputs[0].fact, inputs[1].fact, inputs[2].fact];
        let fits = match self.kind {
            ScatterKind::Elements { axis } => {
                let others = |d: usize| d == axis || indices.shape[d] <= data.shape[d];
                axis < data.shape.len()
                    && indices.shape.len() == data.shape.len()
                    && (0..data.shape.len()).all(others)
                    && updates.shape == indices.shape
            }
            ScatterKind::Nd => match indices.shape.split_last() {
                Some((depth, outer)) if *depth <= data.shape.len() => {
                    updates.shape == [outer, &data.shape[*depth..]].concat()
                }
                _ => false,
            },
        };
        if !fits
            || data.as_output() != updates.as_output()
            || !matches!(indices.dtype, DType::I32 | DType::I64)
        {
            return Err(Error::ModelInvalid(format!(
                "updates {:?} at {} indices {:?} of {:?}",
                updates.shape, indices.dtype, indices.shape, data.shape
            )));
        }
        Ok(vec![data.clone()])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        let (data, out) = (on.inputs[0].fact, &on.outputs[0]);
        if !super::same_elements(data, out) {
            return Ok(None);
        }
        let target = Target::new(self.kind, data, on.inputs[1].fact);
        if self.reduction == Reduction::Replace {
            return Ok(Some(match data.dtype.size() {
                1 => target.step::<u8>(|_, new| new),
                2 => target.step::<u16>(|_, new| new),
                4 => target.step::<u32>(|_, new| new),
                _ => target.step::<u64>(|_, new| new),
            }));
        }
        if data.quant.is_some() {
            return Ok(None);
        }
        Ok(match data.dtype {
            DType::F32 => Some(target.reducing::<f32>(self.reduction, |a, b| a + b, |a, b| a * b)),
            DType::I32 => Some(target.reducing(self.reduction, i32::wrapping_add, i32::wrapping_mul)),
            DType::I64 => Some(target.reducing(self.reduction, i64::wrapping_add, i64::wrapping_mul)),
            _ => None,
        })
    }
}

/// Where updates go.
struct Target {
    kind: ScatterKind,
    data: Vec<usize>,
    strides: Vec<isize>,
    indices: Vec<usize>,
    wide: bool,
}

impl Target {
    fn new(kind: ScatterKind, data: &Fact, indices: &Fact) -> Self {
        let strides = dense_strides(&data.shape);
        let wide = indices.dtype == DType::I64;
        Self { kind, data: data.shape.clone(), strides, indices: indices.shape.clone(), wide }
    }

    fn index(&self, inputs: &Inputs<'_>, at: usize, dimension: usize) -> Option<usize> {
        super::gather::index(inputs, 1, self.wide, at, self.data[dimension])
    }

    /// First element in the data of each group of updates, and how many elements a group has.
    fn places<'a>(&'a self, inputs: &'a Inputs<'a>) -> (usize, impl Iterator<Item = Option<usize>> + 'a) {
        let depth = self.indices.last().copied().unwrap_or(1);
        let (groups, length) = match self.kind {
            ScatterKind::Elements { .. } => (self.indices.iter().product(), 1),
            ScatterKind::Nd => (
                self.indices.split_last().map_or(1, |(_, outer)| outer.iter().product()),
                self.data[depth.min(self.data.len())..].iter().product(),
            ),
        };
        let own_strides = dense_strides(&self.indices);
        let place = move |group: usize| match self.kind {
            ScatterKind::Elements { axis } => {
                let own = |(d, stride): (usize, &isize)| match d == axis {
                    true => self.index(inputs, group, d),
                    false => Some(group / *stride as usize % self.indices[d].max(1)),
                };
                let place = own_strides.iter().enumerate().map(own).zip(&self.strides);
                place.map(|(index, stride)| Some(index? * *stride as usize)).sum()
            }
            ScatterKind::Nd => {
                let mut at = 0;
                for d in 0..depth {
                    at += self.index(inputs, group * depth + d, d)? * self.strides[d] as usize;
                }
                Some(at)
            }
        };
        (length, (0..groups).map(place))
    }

    fn step<T: Element>(self, take: impl Fn(T, T) -> T + Send + 'static) -> Step {
        Step::new("scatter", move |inputs, mut outputs, _| {
            let (data, updates, y) = (inputs.get::<T>(0), inputs.get::<T>(2), outputs.get::<T>(0));
            y.copy_from_slice(data);
            let (length, places) = self.places(&inputs);
            if y.is_empty() {
                return;
            }
            for (group, place) in places.enumerate() {
                let Some(place) = place else { continue };
                let new = &updates[group * length..][..length];
                y[place..place + length].iter_mut().zip(new).for_each(|(y, new)| *y = take(*y, *new));
            }
        })
    }

    fn reducing<T: Element + PartialOrd>(
        self,
        reduction: Reduction,
        add: fn(T, T) -> T,
        mul: fn(T, T) -> T,
    ) -> Step {
        self.step(match reduction {
            Reduction::Add => add,
            Reduction::Mul => mul,
            Reduction::Max => |a: T, b: T| if b > a { b } else { a },
            Reduction::Min => |a: T, b: T| if b < a { b } else { a },
            Reduction::Replace => |_: T, b: T| b,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::testing::{Given, on_all_tiers};

    #[test]
    fn elements_along_a_dimension() {
        let op = |reduction| Scatter { kind: ScatterKind::Elements { axis: 1 }, reduction };
        let x = [
            Given::input(&[2, 3], &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]),
            Given::input(&[2, 2], &[0i64, -1, 0, 0]),
            Given::input(&[2, 2], &[10f32, 20.0, 30.0, 40.0]),
        ];
        let got = |reduction| on_all_tiers::<f32>(op(reduction), &x, None).swap_remove(0).1;
        assert_eq!(got(Reduction::Replace), [10.0, 2.0, 20.0, 40.0, 5.0, 6.0]);
        assert_eq!(got(Reduction::Add), [11.0, 2.0, 23.0, 74.0, 5.0, 6.0]);
        assert_eq!(got(Reduction::Min), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    #[test]
    fn slices_and_places_outside() {
        let op = Scatter { kind: ScatterKind::Nd, reduction: Reduction::Replace };
        let x = [
            Given::input(&[3, 2], &[1i8, 2, 3, 4, 5, 6]),
            Given::input(&[3, 1], &[2i32, 3, i32::MIN]),
            Given::input(&[3, 2], &[7i8, 8, 9, 9, 9, 9]),
        ];
        assert_eq!(on_all_tiers::<i8>(op, &x, None)[0].1, [1, 2, 3, 4, 7, 8]);
        let x = [Given::input(&[2], &[1i8, 2]), Given::input(&[1, 2], &[0i32, 0]), Given::input(&[1], &[1i8])];
        let empty = [Given::input::<i8>(&[2, 0], &[]), Given::input(&[1, 1], &[1i32]), Given::input::<i8>(&[1, 0], &[])];
        assert!(on_all_tiers::<i8>(op, &empty, None)[0].1.is_empty());
        let facts: Vec<Fact> = [&[2][..], &[1, 2], &[1]].map(|s| Fact::new(DType::I8, s)).to_vec();
        let operands: Vec<Operand<'_>> = facts.iter().map(|fact| Operand { fact, constant: None }).collect();
        assert!(op.infer(&operands).is_err(), "deeper than the data: {}", x.len());
    }
}
