//! Shapes and sizes that depend on what a model is fed. What has to be known while the graph is built, and is not, is
//! remembered; the graph is then built anew for the values of the inputs behind it. Also the operators whose results
//! have as many elements as the data says, which are computed here, because their operands are known by then.

use super::importer::{Importer, invalid};
use super::schema::Operator;
use crate::builtin::graph::ValueId;
use crate::builtin::limits;
use crate::builtin::tensor::Tensor as Constant;
use crate::{Error, Result};
use protocol::DType;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Values of a graph that should have been known.
pub(super) type Needs = Vec<ValueId>;

impl Importer<'_, '_> {
    /// The elements of an operand that have to be known.
    pub(super) fn known_operand(&mut self, operator: &Operator<'_>, position: usize) -> Result<Constant> {
        let value = self.operand(operator, position)?;
        if let Some(constant) = self.graph.constant_value(value) {
            return Ok(constant.clone());
        }
        self.needs.push(value);
        Err(Error::Unsupported(format!("operand {position} is only known when the model runs")))
    }

    /// Which inputs of the graph the values that should have been known are computed from.
    pub(super) fn inputs_behind(&self) -> Vec<usize> {
        let places: HashMap<ValueId, usize> =
            self.graph.inputs().iter().enumerate().map(|(i, id)| (*id, i)).collect();
        let (mut queue, mut seen, mut found) = (self.needs.clone(), HashSet::new(), BTreeSet::new());
        while let Some(value) = queue.pop() {
            found.extend(places.get(&value));
            if let Some((_, node)) = self.graph.producer(value).filter(|(id, _)| seen.insert(*id)) {
                queue.extend(&node.inputs);
            }
        }
        found.into_iter().collect()
    }

    /// A constant as result `position`.
    fn constant_result(&mut self, operator: &Operator<'_>, position: usize, tensor: Constant) -> Result<()> {
        let index = self.result(operator, position)?;
        let quant = self.output_type(index)?.quant.as_deref().cloned();
        let value = self.graph.constant(&self.tensor(index)?.name, tensor, quant)?;
        self.set(index, value);
        Ok(())
    }

    /// Places of elements that are not 0, `[count, rank]`.
    pub(super) fn where_(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.known_operand(operator, 0)?;
        let shape = x.shape().to_vec();
        let hits: Vec<usize> =
            x.to_f64()?.iter().enumerate().filter(|(_, v)| **v != 0.0).map(|(i, _)| i).collect();
        limits::bytes(&[hits.len(), shape.len()], 8)?;
        let mut places = Vec::with_capacity(hits.len() * shape.len());
        for hit in &hits {
            let (mut rest, start) = (*hit, places.len());
            for d in shape.iter().rev() {
                places.push((rest % d) as i64);
                rest /= d;
            }
            places[start..].reverse();
        }
        self.constant_result(operator, 0, Constant::from_elements(&[hits.len(), shape.len()], &places)?)
    }

    /// The different elements in the order in which they come, and for every element which of them it is.
    pub(super) fn unique(&mut self, operator: &Operator<'_>) -> Result<()> {
        let x = self.known_operand(operator, 0)?;
        let size = x.dtype().size();
        let (mut known, mut first, mut numbers) = (HashMap::new(), Vec::new(), Vec::new());
        for element in x.bytes().chunks_exact(size) {
            let next = known.len();
            let number = *known.entry(element.to_vec()).or_insert_with(|| {
                first.extend_from_slice(element);
                next
            });
            numbers.push(number as i64);
        }
        self.constant_result(operator, 0, Constant::from_bytes(x.dtype(), &[known.len()], &first)?)?;
        let wide = self.output_type(self.result(operator, 1)?)?.dtype == DType::I64;
        let narrow: Vec<i32> = numbers.iter().map(|n| i32::try_from(*n).unwrap_or(i32::MAX)).collect();
        let numbers = if wide {
            Constant::from_elements(&[numbers.len()], &numbers)?
        } else {
            Constant::from_elements(&[narrow.len()], &narrow)?
        };
        self.constant_result(operator, 1, numbers)
    }

    /// A range of f32.
    pub(super) fn real_range(&mut self, operator: &Operator<'_>) -> Result<()> {
        let mut bounds = [0f32; 3];
        for (position, bound) in bounds.iter_mut().enumerate() {
            *bound = match self.known_operand(operator, position)?.elements::<f32>()? {
                [v] => *v,
                other => return Err(invalid(format!("{} numbers for one", other.len()))),
            };
        }
        let [first, limit, step] = bounds;
        let count = ((limit - first) / step).ceil().max(0.0);
        if count.is_nan() || count > limits::MAX_TENSOR_BYTES as f32 {
            return Err(Error::Unsupported(format!("a range from {first} to {limit} by {step}")));
        }
        let count = count as usize;
        limits::bytes(&[count], 4)?;
        let values: Vec<f32> = (0..count).map(|i| first + i as f32 * step).collect();
        self.constant_result(operator, 0, Constant::from_elements(&[count], &values)?)
    }
}
