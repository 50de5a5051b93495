//! What outputs say about a case, without any statistics: predictions, and how far the outputs lie from those of the
//! reference. Pure functions of the record.
//!
//! Conventions: a prediction is the index of the greatest value of the first output, ties go to the
//! lowest index, and an output with a NaN predicts nothing; differences are taken in f64 over every value of every output.

use crate::record::{CaseIndex, OutputsRecord, Purpose, RunRecord, TrialRecord};
use protocol::Outcome;

/// Examples with the largest differences that are kept by name.
const WORST: usize = 10;

/// Outputs of one case, readable example by example.
#[derive(Clone, Copy, Debug)]
pub struct Outputs<'a> {
    values: &'a [f32],
    elements: &'a [u64],
    stride: usize,
    first: usize,
}

impl<'a> Outputs<'a> {
    /// `None` when the values are not there, or there are none.
    pub fn of(record: &'a OutputsRecord) -> Option<Self> {
        let values = record.values.as_deref()?;
        let count = |n: u64| usize::try_from(n).ok();
        let first = count(*record.elements.first()?)?;
        let stride = record.elements.iter().try_fold(0usize, |sum, n| sum.checked_add(count(*n)?))?;
        let expected = stride.checked_mul(count(record.examples)?)?;
        let elements = record.elements.as_slice();
        (stride > 0 && values.len() == expected).then_some(Self { values, elements, stride, first })
    }

    /// Number of examples.
    pub fn examples(&self) -> usize {
        self.values.len() / self.stride
    }

    /// Elements of the first output: the classes of a classifier.
    pub fn first(&self) -> usize {
        self.first
    }

    /// One output of each example; `None` where the model has no such output.
    pub fn part(&self, output: usize) -> Option<impl Iterator<Item = &'a [f32]> + use<'a>> {
        let start: u64 = self.elements.get(..output)?.iter().sum();
        let range = start as usize..(start + self.elements.get(output)?) as usize;
        Some(self.iter().map(move |example| example.get(range.clone()).unwrap_or_default()))
    }

    /// All outputs of each example, one after the other.
    pub fn iter(&self) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        self.values.chunks_exact(self.stride)
    }

    /// The predicted class of each example; `None` where the first output has fewer than two values or
    /// one that is NaN.
    pub fn predictions(&self) -> Vec<Option<u32>> {
        self.iter().map(|example| example.get(..self.first).and_then(top1)).collect()
    }
}

/// The class of the greatest value; a single value tells no classes apart.
fn top1(scores: &[f32]) -> Option<u32> {
    let class = greatest(scores.iter().copied()).filter(|_| scores.len() >= 2);
    u32::try_from(class?).ok()
}

/// The first of the greatest values; `None` of nothing, and with a NaN among them.
pub(crate) fn greatest(values: impl Iterator<Item = f32>) -> Option<usize> {
    let mut best = None::<(usize, f32)>;
    for (at, value) in values.enumerate() {
        if value.is_nan() {
            return None;
        }
        if best.is_none_or(|(_, most)| value > most) {
            best = Some((at, value));
        }
    }
    best.map(|(at, _)| at)
}

/// The trial whose outputs stand for a case: of its first accuracy unit in which it ended well.
pub fn accuracy_trial(record: &RunRecord, case: CaseIndex) -> Option<&TrialRecord> {
    let units = record.units.iter().filter(|unit| unit.purpose == Purpose::Accuracy);
    units.flat_map(|unit| &unit.trials).find(|trial| trial.case == case && trial.outcome == Outcome::Ok)
}

/// The outputs of a case, where its accuracy trial ended well and the file is whole.
pub fn outputs(record: &RunRecord, case: CaseIndex) -> Option<Outputs<'_>> {
    accuracy_trial(record, case)?.outputs.as_ref().and_then(Outputs::of)
}

/// An example that the reference has right and the candidate wrong, or the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flip {
    /// Index of the example.
    pub example: usize,
    /// The right class.
    pub label: u32,
    /// The reference was right.
    pub lost: bool,
    /// What the reference says.
    pub reference: Option<u32>,
    /// What the candidate says.
    pub candidate: Option<u32>,
}

/// How far the outputs of a candidate lie from those of its reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Differences {
    /// Examples compared.
    pub examples: usize,
    /// Values compared: those that are finite on both sides.
    pub values: u64,
    /// Every value has the same bits.
    pub identical: bool,
    /// NaN in the candidate's outputs.
    pub nan: u64,
    /// Infinities in the candidate's outputs.
    pub infinite: u64,
    /// NaN and infinities in the reference's outputs.
    pub reference_not_finite: u64,
    /// Largest |candidate − reference|; `None` when nothing was finite.
    pub max_abs_error: Option<f64>,
    /// Root of the mean squared difference.
    pub rmse: Option<f64>,
    /// Cosine of the angle between all values of one and of the other; `None` when one is all zero.
    pub cosine: Option<f64>,
    /// 10 log10(Σ reference² / Σ difference²); `None` when there is no difference or no signal.
    pub sqnr_db: Option<f64>,
    /// Share of examples with the same prediction; `None` where outputs have no two classes.
    pub agreement_top1: Option<f64>,
    /// Examples with the largest absolute difference, largest first, at most ten, those without any
    /// difference left out.
    pub worst: Vec<(usize, f64)>,
}

/// Outputs that cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccuracyError {
    /// Different numbers of examples.
    #[error("the candidate has outputs for {candidate} examples, the reference for {reference}")]
    Examples {
        /// Of the candidate.
        candidate: usize,
        /// Of the reference.
        reference: usize,
    },
    /// Different numbers of values.
    #[error("the candidate has {candidate} output values per example, the reference {reference}")]
    Elements {
        /// Of the candidate.
        candidate: usize,
        /// Of the reference.
        reference: usize,
    },
}

/// Sums over the values seen so far.
#[derive(Default)]
struct Sums {
    values: u64,
    differs: bool,
    nan: u64,
    infinite: u64,
    reference_not_finite: u64,
    max_abs: f64,
    noise: f64,
    dot: f64,
    signal: f64,
    candidate_signal: f64,
}

impl Sums {
    /// Takes in a value; its absolute difference, 0 when that is not a number.
    fn take(&mut self, candidate: f32, reference: f32) -> f64 {
        self.differs |= candidate.to_bits() != reference.to_bits();
        self.nan += u64::from(candidate.is_nan());
        self.infinite += u64::from(candidate.is_infinite());
        self.reference_not_finite += u64::from(!reference.is_finite());
        if !(candidate.is_finite() && reference.is_finite()) {
            return 0.0;
        }
        let (c, r) = (f64::from(candidate), f64::from(reference));
        let difference = (c - r).abs();
        self.values += 1;
        self.max_abs = self.max_abs.max(difference);
        self.noise += difference * difference;
        self.dot += c * r;
        self.signal += r * r;
        self.candidate_signal += c * c;
        difference
    }
}

/// Compares outputs value by value.
///
/// # Errors
/// They have different shapes.
pub fn differences(candidate: Outputs<'_>, reference: Outputs<'_>) -> Result<Differences, AccuracyError> {
    let (c, r) = (candidate.examples(), reference.examples());
    if c != r {
        return Err(AccuracyError::Examples { candidate: c, reference: r });
    }
    let (c, r) = (candidate.stride, reference.stride);
    if c != r || candidate.first != reference.first {
        return Err(AccuracyError::Elements { candidate: c, reference: r });
    }
    let mut sums = Sums::default();
    let mut worst = Vec::new();
    for (example, (c, r)) in candidate.iter().zip(reference.iter()).enumerate() {
        let largest = c.iter().zip(r).map(|(c, r)| sums.take(*c, *r)).fold(0.0, f64::max);
        if largest > 0.0 {
            worst.push((example, largest));
        }
    }
    worst.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    worst.truncate(WORST);
    let any = sums.values > 0;
    let norms = (sums.signal * sums.candidate_signal).sqrt();
    Ok(Differences {
        examples: candidate.examples(),
        values: sums.values,
        identical: !sums.differs,
        nan: sums.nan,
        infinite: sums.infinite,
        reference_not_finite: sums.reference_not_finite,
        max_abs_error: any.then_some(sums.max_abs),
        rmse: any.then(|| (sums.noise / sums.values as f64).sqrt()),
        cosine: (norms > 0.0).then(|| (sums.dot / norms).clamp(-1.0, 1.0)),
        sqnr_db: (sums.noise > 0.0 && sums.signal > 0.0).then(|| 10.0 * (sums.signal / sums.noise).log10()),
        agreement_top1: agreement(&candidate.predictions(), &reference.predictions()),
        worst,
    })
}

/// Share of equal predictions; an example without one on either side does not agree.
fn agreement(candidate: &[Option<u32>], reference: &[Option<u32>]) -> Option<f64> {
    let any = candidate.iter().chain(reference).any(Option::is_some);
    let same = candidate.iter().zip(reference).filter(|(c, r)| c.is_some() && c == r).count();
    any.then(|| same as f64 / candidate.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Sha256Hex;

    fn record(values: &[f32], elements: &[u64]) -> OutputsRecord {
        let stride: u64 = elements.iter().sum();
        OutputsRecord {
            sha256: Sha256Hex::of_bytes(b""),
            examples: (values.len() as u64).checked_div(stride).unwrap_or(3),
            elements: elements.to_vec(),
            values: Some(values.to_vec()),
        }
    }

    fn compare(candidate: &[f32], reference: &[f32]) -> Differences {
        let (c, r) = (record(candidate, &[2]), record(reference, &[2]));
        differences(Outputs::of(&c).unwrap(), Outputs::of(&r).unwrap()).unwrap()
    }

    #[test]
    fn ties_go_to_the_lowest_index_and_nan_predicts_nothing() {
        assert_eq!(top1(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(top1(&[f32::NAN, -1.0, 7.0]), None);
        assert_eq!(top1(&[f32::NEG_INFINITY, f32::NEG_INFINITY]), Some(0));
        assert_eq!(top1(&[-0.0, 0.0]), Some(0));
        assert_eq!(top1(&[5.0]), None);
    }

    #[test]
    fn only_the_first_output_predicts() {
        let outputs = record(&[0.0, 1.0, 9.0, 9.0, 1.0, 0.0, 8.0, 8.0], &[2, 2]);
        let outputs = Outputs::of(&outputs).unwrap();
        assert_eq!(outputs.predictions(), [Some(1), Some(0)]);
        assert_eq!(outputs.part(1).unwrap().collect::<Vec<_>>(), [[9.0, 9.0], [8.0, 8.0]]);
        assert!(outputs.part(2).is_none());
    }

    #[test]
    fn hand_computed_differences() {
        let d = compare(&[3.0, 4.0, 0.0, 1.0], &[3.0, 0.0, 0.0, 2.0]);
        assert_eq!((d.examples, d.values, d.identical), (2, 4, false));
        assert_eq!(d.max_abs_error, Some(4.0));
        assert_eq!(d.rmse, Some((17.0f64 / 4.0).sqrt()));
        assert_eq!(d.sqnr_db, Some(10.0 * (13.0f64 / 17.0).log10()));
        let cosine = 11.0 / (26.0f64.sqrt() * 13.0f64.sqrt());
        assert!((d.cosine.unwrap() - cosine).abs() < 1e-15);
        assert_eq!(d.agreement_top1, Some(0.5));
        assert_eq!(d.worst, [(0, 4.0), (1, 1.0)]);
    }

    #[test]
    fn identical_and_not_finite_outputs() {
        let d = compare(&[1.0, 2.0], &[1.0, 2.0]);
        assert!(d.identical && d.worst.is_empty());
        assert_eq!((d.max_abs_error, d.sqnr_db, d.cosine), (Some(0.0), None, Some(1.0)));
        let d = compare(&[f32::NAN, f32::INFINITY, 1.0, 1.0], &[1.0, 1.0, 1.0, f32::NAN]);
        assert_eq!((d.nan, d.infinite, d.reference_not_finite, d.values), (1, 1, 1, 1));
        let d = compare(&[f32::NAN, f32::NAN], &[1.0, 1.0]);
        assert_eq!((d.max_abs_error, d.rmse, d.cosine, d.agreement_top1), (None, None, None, Some(0.0)));
        assert_eq!(compare(&[0.0, 0.0], &[1.0, 1.0]).cosine, None);
    }

    #[test]
    fn other_shapes_are_told_apart() {
        let (two, three) = (record(&[0.0; 6], &[2]), record(&[0.0; 6], &[3]));
        let (two, three) = (Outputs::of(&two).unwrap(), Outputs::of(&three).unwrap());
        assert_eq!(differences(two, three), Err(AccuracyError::Examples { candidate: 3, reference: 2 }));
        let four = record(&[0.0; 12], &[4]);
        let four = Outputs::of(&four).unwrap();
        assert_eq!(differences(two, four), Err(AccuracyError::Elements { candidate: 2, reference: 4 }));
    }

    #[test]
    fn no_outputs_where_there_is_nothing_to_read() {
        for elements in [&[] as &[u64], &[0], &[u64::MAX, 2], &[7]] {
            assert!(Outputs::of(&record(&[0.0; 6], elements)).is_none(), "{elements:?}");
        }
        let none = OutputsRecord { values: None, ..record(&[0.0; 6], &[2]) };
        assert!(Outputs::of(&none).is_none());
    }

    #[test]
    fn a_case_is_found_in_its_accuracy_unit() {
        let record = crate::testing::Recipe::small().run().record();
        let reference = outputs(&record, 0).unwrap();
        let labels = record.plan.dataset.labels.classes();
        let score = |case| {
            let predictions = outputs(&record, case).unwrap().predictions();
            predictions.iter().zip(labels).filter(|(p, label)| **p == Some(**label)).count()
        };
        assert!(score(0) > 40 && score(7) > 35, "{} {}", score(0), score(7));
        let d = differences(outputs(&record, 7).unwrap(), reference).unwrap();
        assert!(d.agreement_top1.unwrap() > 0.7 && d.sqnr_db.unwrap() > 3.0, "{d:?}");
        assert!(outputs(&record, 99).is_none());
    }
}
