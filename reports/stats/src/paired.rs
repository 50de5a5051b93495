//! Paired differences, one per unit: Student's t. With logarithms this is the ratio estimate that every
//! comparison of times and sizes rests on.

use crate::descriptive::{mean_unchecked, standard_deviation_unchecked};
use crate::dist::{t_quantile_upper, t_sf};
use crate::error::{StatsError, check_open_unit, check_values};
use crate::interval::{Interval, PValues};

/// `ln(candidate) − ln(reference)` unit by unit. All values must be above zero and finite.
pub fn log_ratios(candidate: &[f64], reference: &[f64]) -> Result<Vec<f64>, StatsError> {
    let what = "log ratio";
    if candidate.len() != reference.len() {
        return Err(StatsError::Unpaired { what, left: candidate.len(), right: reference.len() });
    }
    for side in [candidate, reference] {
        check_values(what, side, 0)?;
        if let Some(index) = side.iter().position(|v| *v <= 0.0) {
            return Err(StatsError::NotPositive { what, index });
        }
    }
    Ok(candidate.iter().zip(reference).map(|(c, r)| c.ln() - r.ln()).collect())
}

/// Sufficient statistics of n paired differences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// Number of units, at least 2.
    pub n: usize,
    /// Mean difference.
    pub mean: f64,
    /// Standard deviation between units, n − 1.
    pub sd: f64,
}

impl Paired {
    /// Of at least two finite differences, in any order.
    pub fn new(differences: &[f64]) -> Result<Self, StatsError> {
        check_values("paired t", differences, 2)?;
        Ok(Self {
            n: differences.len(),
            mean: mean_unchecked(differences),
            sd: standard_deviation_unchecked(differences),
        })
    }

    /// Standard error of the mean.
    pub fn standard_error(&self) -> f64 {
        self.sd / (self.n as f64).sqrt()
    }

    /// Degrees of freedom.
    pub fn df(&self) -> f64 {
        self.n as f64 - 1.0
    }

    /// p-values against a mean of `mu`. Without any spread the data is taken as deterministic: p is 0
    /// on the side where the mean lies, else 1.
    pub fn test(&self, mu: f64) -> PValues {
        if self.sd == 0.0 {
            let sure = |yes: bool| if yes { 0.0 } else { 1.0 };
            return PValues::from_sides(sure(self.mean > mu), sure(self.mean < mu));
        }
        let t = (self.mean - mu) / self.standard_error();
        PValues::from_sides(t_sf(t, self.df()), t_sf(-t, self.df()))
    }

    /// The t interval for the mean with confidence `level`.
    pub fn interval(&self, level: f64) -> Result<Interval, StatsError> {
        check_open_unit("level", level)?;
        let half = t_quantile_upper((1.0 - level) / 2.0, self.df()) * self.standard_error();
        Ok(Interval { low: self.mean - half, high: self.mean + half, level })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units_by_hand() {
        // one degree of freedom is the Cauchy distribution: P(T > 1) = 1/4
        let pair = Paired::new(&[0.0, 2.0]).unwrap();
        assert_eq!((pair.mean, pair.standard_error()), (1.0, 1.0));
        assert!((pair.test(0.0).greater - 0.25).abs() < 1e-12);
        let interval = pair.interval(0.5).unwrap();
        assert!(interval.low.abs() < 1e-12 && (interval.high - 2.0).abs() < 1e-12);
    }

    #[test]
    fn constant_differences_are_certain() {
        let pair = Paired::new(&[0.1; 6]).unwrap();
        assert_eq!(pair.test(0.0), PValues { greater: 0.0, less: 1.0, two_sided: 0.0 });
        assert_eq!(pair.test(0.1), PValues { greater: 1.0, less: 1.0, two_sided: 1.0 });
        assert_eq!(pair.interval(0.98).unwrap(), Interval { low: 0.1, high: 0.1, level: 0.98 });
    }

    #[test]
    fn bad_input_is_named() {
        assert!(matches!(Paired::new(&[1.0]), Err(StatsError::TooFew { needed: 2, got: 1, .. })));
        assert!(matches!(Paired::new(&[1.0, f64::NAN]), Err(StatsError::NotFinite { index: 1, .. })));
        assert!(matches!(log_ratios(&[1.0], &[]), Err(StatsError::Unpaired { left: 1, right: 0, .. })));
        assert!(matches!(
            log_ratios(&[1.0, 0.0], &[1.0, 1.0]),
            Err(StatsError::NotPositive { index: 1, .. })
        ));
        assert!(Paired::new(&[1.0, 2.0]).unwrap().interval(1.0).is_err());
    }
}
