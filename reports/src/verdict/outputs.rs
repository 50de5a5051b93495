//! Outputs of accuracy trials, example by example: predictions and differences. Knows no labels.

use super::guard::failure;
use crate::record::{CaseIndex, Purpose, RunRecord};

/// All outputs of a case.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CaseOutputs<'a> {
    /// Values of one example after the other.
    values: &'a [f32],
    /// Values per example.
    per_example: usize,
    /// Values per example of the first output.
    first: usize,
    /// Index of the greatest value of the first output per example; `None` where one is NaN.
    pub(super) top1: Vec<Option<u32>>,
}

/// How far two cases' outputs are apart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Differences {
    /// Largest absolute difference; `None` where a value is not finite on one side only.
    pub(super) max_abs: Option<f64>,
    /// Cosine of the two vectors of all outputs of all examples; `None` for a vector of zeros.
    pub(super) cosine: Option<f64>,
    /// 10 log10 of the reference's power over the difference's; `None` without a difference or a signal.
    pub(super) sqnr_db: Option<f64>,
    /// Bit for bit the same.
    pub(super) identical: bool,
}

impl<'a> CaseOutputs<'a> {
    /// From the first accuracy trial that ended well; why not, in words.
    pub(super) fn of(record: &'a RunRecord, case: CaseIndex) -> Result<Self, String> {
        let mut why = "no accuracy trial was run".to_owned();
        let accuracy = record.units.iter().filter(|unit| unit.purpose == Purpose::Accuracy);
        for trial in accuracy.flat_map(|unit| &unit.trials).filter(|t| t.case == case) {
            if let Some(text) = failure(&trial.outcome) {
                why = text;
                continue;
            }
            let Some(outputs) = &trial.outputs else {
                why = "the trial left no outputs".to_owned();
                continue;
            };
            let Some(values) = &outputs.values else {
                why = "the file of outputs is missing or damaged".to_owned();
                continue;
            };
            return Self::shaped(values, outputs.examples, &outputs.elements);
        }
        Err(why)
    }

    fn shaped(values: &'a [f32], examples: u64, elements: &[u64]) -> Result<Self, String> {
        let whole = elements.iter().try_fold(0u64, |sum, n| sum.checked_add(*n));
        let expected = whole.and_then(|n| n.checked_mul(examples));
        let (Some(per_example), Some(first)) = (whole.filter(|n| *n > 0), elements.first()) else {
            return Err("the outputs have no elements".to_owned());
        };
        if expected != Some(values.len() as u64) {
            return Err(format!("{} values for {examples} examples of {per_example}", values.len()));
        }
        // both are at most the number of values, which is in memory
        let (per_example, first) = (per_example as usize, *first as usize);
        let top1 = values.chunks_exact(per_example).map(|example| argmax(&example[..first])).collect();
        Ok(Self { values, per_example, first, top1 })
    }

    /// Number of examples.
    pub(super) fn examples(&self) -> usize {
        self.top1.len()
    }

    /// True if the first output can be read as scores of classes.
    pub(super) fn has_classes(&self) -> bool {
        self.first > 1
    }

    /// NaN and infinite values.
    pub(super) fn not_finite(&self) -> u64 {
        self.values.iter().filter(|v| !v.is_finite()).count() as u64
    }

    /// Differences from `reference`; how the shapes differ, in words.
    pub(super) fn differences(&self, reference: &CaseOutputs<'_>) -> Result<Differences, String> {
        if (self.per_example, self.examples()) != (reference.per_example, reference.examples()) {
            return Err(format!(
                "{} examples of {} values against {} of {}",
                self.examples(),
                self.per_example,
                reference.examples(),
                reference.per_example
            ));
        }
        let (mut max_abs, mut dot, mut own, mut signal, mut noise) = (0.0f64, 0.0f64, 0.0f64, 0.0f64, 0.0f64);
        for (a, b) in self.values.iter().zip(reference.values) {
            if a.to_bits() == b.to_bits() && !a.is_finite() {
                continue;
            }
            let (a, b) = (f64::from(*a), f64::from(*b));
            let difference = (a - b).abs();
            // f64::max would drop a NaN
            max_abs = if difference > max_abs || difference.is_nan() { difference } else { max_abs };
            dot += a * b;
            own += a * a;
            signal += b * b;
            noise += difference * difference;
        }
        let finite = |value: f64| value.is_finite().then_some(value);
        Ok(Differences {
            max_abs: finite(max_abs),
            cosine: finite(dot / (own.sqrt() * signal.sqrt())).map(|c| c.clamp(-1.0, 1.0)),
            sqnr_db: finite(10.0 * (signal / noise).log10()),
            identical: self.values.iter().zip(reference.values).all(|(a, b)| a.to_bits() == b.to_bits()),
        })
    }
}

/// The first of the greatest values; `None` for none or with a NaN among them.
fn argmax(values: &[f32]) -> Option<u32> {
    let mut best: Option<(usize, f32)> = None;
    for (i, value) in values.iter().enumerate() {
        if value.is_nan() {
            return None;
        }
        if best.is_none_or(|(_, top)| *value > top) {
            best = Some((i, *value));
        }
    }
    best.and_then(|(i, _)| u32::try_from(i).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argmax_by_hand() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(argmax(&[f32::NEG_INFINITY]), Some(0));
        assert_eq!(argmax(&[1.0, f32::NAN]), None);
        assert_eq!(argmax(&[]), None);
    }

    #[test]
    fn differences_by_hand() {
        let of = |values| CaseOutputs::shaped(values, 2, &[2]).unwrap();
        let d = of(&[1.0, 0.0, 0.0, 2.0]).differences(&of(&[1.0, 0.0, 1.0, 2.0])).unwrap();
        assert_eq!((d.max_abs, d.identical), (Some(1.0), false));
        // 5 / (sqrt 5 · sqrt 6), power 6 over 1
        assert!((d.cosine.unwrap() - (5.0f64 / 6.0).sqrt()).abs() < 1e-15);
        assert!((d.sqnr_db.unwrap() - 10.0 * 6.0f64.log10()).abs() < 1e-12);
        let same = of(&[1.0, f32::NAN, 0.0, 2.0]);
        let d = same.differences(&same).unwrap();
        assert_eq!((d.max_abs, d.sqnr_db, d.identical), (Some(0.0), None, true));
        let d = of(&[0.0; 4]).differences(&of(&[1.0, f32::NAN, 0.0, 2.0])).unwrap();
        assert_eq!((d.max_abs, d.cosine, d.identical), (None, None, false));
    }

    #[test]
    fn shapes_are_checked() {
        assert!(CaseOutputs::shaped(&[1.0; 3], 2, &[2]).is_err());
        assert!(CaseOutputs::shaped(&[], u64::MAX, &[u64::MAX]).is_err());
        assert!(CaseOutputs::shaped(&[1.0], 1, &[]).is_err());
        let (a, b) = ([1.0; 2], [1.0; 4]);
        let differences = CaseOutputs::shaped(&a, 1, &[2]).unwrap();
        assert!(differences.differences(&CaseOutputs::shaped(&b, 2, &[2]).unwrap()).is_err());
    }
}
