//! Location and spread of one series. Conventions: sd divides by n − 1; MAD is the plain median of
//! absolute deviations, not scaled to a normal sd; CV is sd over mean.

use crate::error::{StatsError, check_values};

/// sd of a normal distribution over its median absolute deviation, [`mad`].
pub const MAD_TO_SD: f64 = 1.482_602_218_505_602;

/// Arithmetic mean. Exact for constant data, because deviations from the first value are averaged.
pub fn mean(values: &[f64]) -> Result<f64, StatsError> {
    check_values("mean", values, 1)?;
    Ok(mean_unchecked(values))
}

pub(crate) fn mean_unchecked(values: &[f64]) -> f64 {
    let Some(&first) = values.first() else { return f64::NAN };
    first + values.iter().map(|v| v - first).sum::<f64>() / values.len() as f64
}

/// Standard deviation with n − 1, two passes.
pub fn standard_deviation(values: &[f64]) -> Result<f64, StatsError> {
    check_values("standard deviation", values, 2)?;
    Ok(standard_deviation_unchecked(values))
}

pub(crate) fn standard_deviation_unchecked(values: &[f64]) -> f64 {
    let m = mean_unchecked(values);
    let squares: f64 = values.iter().map(|v| (v - m) * (v - m)).sum();
    (squares / (values.len() as f64 - 1.0)).sqrt()
}

/// Median; the mean of the two middle values where n is even.
pub fn median(values: &[f64]) -> Result<f64, StatsError> {
    check_values("median", values, 1)?;
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Ok(median_sorted(&sorted))
}

/// Median of finite values in ascending order; NaN for none.
pub(crate) fn median_sorted(sorted: &[f64]) -> f64 {
    let n = sorted.len();
    if n == 0 {
        return f64::NAN;
    }
    let (low, high) = (sorted[(n - 1) / 2], sorted[n / 2]);
    low + (high - low) / 2.0
}

/// Median absolute deviation from the median, unscaled.
pub fn mad(values: &[f64]) -> Result<f64, StatsError> {
    let m = median(values)?;
    let deviations: Vec<f64> = values.iter().map(|v| (v - m).abs()).collect();
    median(&deviations)
}

/// sd over mean, for values above zero.
pub fn coefficient_of_variation(values: &[f64]) -> Result<f64, StatsError> {
    let sd = standard_deviation(values)?;
    match values.iter().position(|v| *v <= 0.0) {
        Some(index) => Err(StatsError::NotPositive { what: "coefficient of variation", index }),
        None => Ok(sd / mean_unchecked(values)),
    }
}

/// What is said about one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Number of values.
    pub n: usize,
    /// Least value.
    pub min: f64,
    /// Greatest value.
    pub max: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub median: f64,
    /// Standard deviation with n − 1; `None` for one value.
    pub sd: Option<f64>,
    /// Unscaled median absolute deviation.
    pub mad: f64,
}

impl Summary {
    /// Of at least one finite value, in any order.
    pub fn of(values: &[f64]) -> Result<Self, StatsError> {
        check_values("summary", values, 1)?;
        let fold = |f: fn(f64, f64) -> f64, from| values.iter().copied().fold(from, f);
        Ok(Self {
            n: values.len(),
            min: fold(f64::min, f64::INFINITY),
            max: fold(f64::max, f64::NEG_INFINITY),
            mean: mean_unchecked(values),
            median: median(values)?,
            sd: (values.len() > 1).then(|| standard_deviation_unchecked(values)),
            mad: mad(values)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), Ok(5.0));
        assert_eq!(median(&[9.0, 1.0, 5.0, 6.0]), Ok(5.5));
        // unsorted on purpose: |x − 3| = 2, 97, 0, 1, 1
        assert_eq!(mad(&[1.0, 100.0, 3.0, 4.0, 2.0]), Ok(1.0));
        assert_eq!(standard_deviation(&[2.0, 4.0]), Ok(2.0f64.sqrt()));
        assert_eq!(coefficient_of_variation(&[2.0, 4.0]), Ok(2.0f64.sqrt() / 3.0));
        let one = Summary::of(&[7.0]).unwrap();
        assert_eq!((one.n, one.mean, one.median, one.sd, one.mad), (1, 7.0, 7.0, None, 0.0));
    }

    #[test]
    fn constant_data_has_exactly_no_spread() {
        let x = [0.1; 7];
        assert_eq!((mean(&x), standard_deviation(&x), mad(&x)), (Ok(0.1), Ok(0.0), Ok(0.0)));
    }

    #[test]
    fn bad_input_is_named() {
        assert!(matches!(mean(&[]), Err(StatsError::TooFew { needed: 1, got: 0, .. })));
        assert!(matches!(median(&[1.0, f64::NAN]), Err(StatsError::NotFinite { index: 1, .. })));
        assert!(matches!(Summary::of(&[f64::INFINITY]), Err(StatsError::NotFinite { index: 0, .. })));
        assert!(matches!(standard_deviation(&[1.0]), Err(StatsError::TooFew { needed: 2, .. })));
        assert!(matches!(
            coefficient_of_variation(&[1.0, 0.0]),
            Err(StatsError::NotPositive { index: 1, .. })
        ));
    }
}
