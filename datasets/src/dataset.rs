//! What a dataset becomes: tensors, labels, names. Plain values.

use crate::{DataError, MAX_TENSOR_BYTES};
use protocol::{DType, Labels};

/// All examples of one model input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorData {
    /// Element type.
    pub dtype: DType,
    /// `[examples, ...]`.
    pub shape: Vec<u64>,
    /// Little-endian, row-major.
    pub bytes: Vec<u8>,
}

/// Examples, ready to be fed.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Name.
    pub name: String,
    /// Where it comes from, with licence where the definition says so.
    pub source: String,
    /// One per model input, all with the same number of examples.
    pub inputs: Vec<TensorData>,
    /// What is right.
    pub labels: Labels,
    /// Names of the classes; empty when they have none.
    pub classes: Vec<String>,
    /// Names of the examples; empty when they have none.
    pub names: Vec<String>,
    /// What belongs together, per example (its speaker, its document); empty when each stands for itself.
    pub groups: Vec<String>,
}

impl Dataset {
    /// Number of examples.
    pub fn examples(&self) -> u64 {
        self.inputs.first().and_then(|t| t.shape.first()).copied().unwrap_or(0)
    }

    /// What every loader must have made true, whatever it read.
    pub(crate) fn check(&self) -> Result<(), DataError> {
        let examples = self.examples();
        if examples == 0 {
            return Err(DataError::new(&self.name, "holds no examples"));
        }
        for (index, input) in self.inputs.iter().enumerate() {
            let counted = input.shape.first().copied().unwrap_or(0);
            if counted != examples {
                let problem = format!("input {index} has {counted} examples, and input 0 has {examples}");
                return Err(DataError::new(&self.name, problem));
            }
            debug_assert_eq!(
                input.shape.iter().product::<u64>() * input.dtype.size() as u64,
                input.bytes.len() as u64
            );
        }
        let labels = self.labels.examples().unwrap_or(0);
        for (what, count) in
            [("labels", labels), ("names", self.names.len() as u64), ("groups", self.groups.len() as u64)]
        {
            if count != 0 && count != examples {
                let problem = format!("there are {count} {what} for {examples} examples: give one for each");
                return Err(DataError::new(&self.name, problem));
            }
        }
        let classes = self.classes.len();
        let beyond = |(_, label): &(usize, &u32)| classes != 0 && **label as usize >= classes;
        if let Some((row, label)) = self.labels.classes().iter().enumerate().find(beyond) {
            let place = format!("{}, example {}", self.name, self.example_name(row));
            let problem =
                format!("the label {label} is out of range: there are {classes} classes, counted from 0");
            return Err(DataError::new(place, problem));
        }
        Ok(())
    }

    fn example_name(&self, row: usize) -> String {
        self.names.get(row).cloned().unwrap_or_else(|| row.to_string())
    }
}

/// One prepared example.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Encoded {
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<u64>,
    pub(crate) bytes: Vec<u8>,
}

/// Collects examples of one input, all of one type and shape, within [`MAX_TENSOR_BYTES`].
#[derive(Debug, Default)]
pub(crate) struct Collector {
    first: Option<(DType, Vec<u64>)>,
    count: u64,
    bytes: Vec<u8>,
}

impl Collector {
    /// Adds an example. The error is the problem alone; the caller knows the place.
    pub(crate) fn push(&mut self, example: &Encoded) -> Result<(), String> {
        let (dtype, shape) = self.first.get_or_insert_with(|| (example.dtype, example.shape.clone()));
        if *dtype != example.dtype || *shape != example.shape {
            let (now, before) = (sizes(&example.shape), sizes(shape));
            return Err(format!("is {now}, and the examples before it are {before}: all must have one size"));
        }
        if self.bytes.len() as u64 + example.bytes.len() as u64 > MAX_TENSOR_BYTES {
            return Err(format!(
                "the examples up to here fill the limit of {MAX_TENSOR_BYTES} bytes: use fewer (max_examples)"
            ));
        }
        self.bytes.extend_from_slice(&example.bytes);
        self.count += 1;
        Ok(())
    }

    /// `None` without any example.
    pub(crate) fn finish(self) -> Option<TensorData> {
        let (dtype, mut shape) = self.first?;
        shape.insert(0, self.count);
        Some(TensorData { dtype, shape, bytes: self.bytes })
    }
}

/// `28 × 28 × 1`.
pub(crate) fn sizes(shape: &[u64]) -> String {
    if shape.is_empty() {
        return "a single number".to_owned();
    }
    shape.iter().map(u64::to_string).collect::<Vec<_>>().join(" × ")
}

/// Positions of `limit` examples among `count`, at even distances; all of them when there are fewer.
pub(crate) fn spread(count: u64, limit: u64) -> impl Iterator<Item = u64> {
    let taken = count.min(limit);
    (0..taken).map(move |i| (u128::from(i) * u128::from(count) / u128::from(taken)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_taken_at_even_distances() {
        assert_eq!(spread(10, 3).collect::<Vec<_>>(), [0, 3, 6]);
        assert_eq!(spread(3, 10).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(spread(0, 10).count(), 0);
        assert_eq!(spread(u64::MAX, 2).collect::<Vec<_>>(), [0, u64::MAX / 2]);
    }

    #[test]
    fn sizes_do_not_mix() {
        let mut collector = Collector::default();
        let example = |n: u64| Encoded { dtype: DType::U8, shape: vec![n], bytes: vec![0; n as usize] };
        collector.push(&example(4)).unwrap();
        assert!(collector.push(&example(5)).unwrap_err().contains("is 5, and the examples before it are 4"));
        assert_eq!(collector.finish().unwrap().shape, [1, 4]);
    }

    fn dataset(labels: Vec<u32>, classes: usize) -> Dataset {
        let tensor = TensorData { dtype: DType::U8, shape: vec![2, 1], bytes: vec![0; 2] };
        let classes = (0..classes).map(|c| c.to_string()).collect();
        Dataset {
            name: "d".into(),
            source: String::new(),
            inputs: vec![tensor],
            labels: Labels::Classes(labels),
            classes,
            names: vec![],
            groups: vec![],
        }
    }

    #[test]
    fn labels_fit_examples_and_classes() {
        assert!(dataset(vec![0, 1], 2).check().is_ok());
        assert!(dataset(vec![], 2).check().is_ok());
        let error = dataset(vec![0, 2], 2).check().unwrap_err().to_string();
        assert!(error.contains("example 1: the label 2 is out of range"), "{error}");
        let error = dataset(vec![0], 2).check().unwrap_err().to_string();
        assert!(error.contains("1 labels for 2 examples"), "{error}");
    }
}
