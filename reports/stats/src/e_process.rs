//! Evidence that stays true at any moment: the t e-process (Wang and Ramdas, "Anytime-valid t-tests and
//! confidence sequences for Gaussian means with unknown variance", 2023). For measuring without a schedule
//! of looks; the product's own rule is [`crate::sequential`], which has one and costs about the same.
//!
//! The e-value is a Bayes factor: the effect, in units of the unknown sd, is normal around 0 with sd `scale`,
//! against no effect. Where there is none, the chance that it ever reaches 1/α is at most α.

use crate::error::{StatsError, check_open_unit, check_values};
use crate::interval::Interval;
use crate::paired::Paired;

/// The `scale` to take where nothing speaks for another: an effect of about one sd of a unit.
pub const EFFECT_SCALE: f64 = 1.0;

/// Natural logarithm of the e-value of all `differences` against a mean of `mu`. One value says nothing
/// (0), as does a series that is `mu` throughout.
pub fn t_log_e_value(differences: &[f64], mu: f64, scale: f64) -> Result<f64, StatsError> {
    check_values("t e-value", differences, 1)?;
    if !mu.is_finite() {
        return Err(StatsError::NotFinite { what: "mean of the hypothesis", index: 0 });
    }
    let Ok(paired) = Paired::new(differences) else {
        check_shrinkage(1, scale)?;
        return Ok(0.0);
    };
    let (n, shrinkage) = (paired.n as f64, check_shrinkage(paired.n, scale)?);
    let away = paired.mean - mu;
    if away == 0.0 {
        return Ok(0.5 * shrinkage.ln());
    }
    // T² / ν; infinite without spread, where the bracket has the limit −ln(shrinkage)
    let t2 = (away / paired.standard_error()).powi(2) / paired.df();
    let bracket = if t2.is_finite() { t2.ln_1p() - (shrinkage * t2).ln_1p() } else { -shrinkage.ln() };
    Ok(0.5 * shrinkage.ln() + 0.5 * n * bracket)
}

/// All means that the e-process has not rejected at `1 − level`: covers the true mean at all numbers of
/// units together with `level`. `None` while it is unbounded.
pub fn t_e_interval(paired: &Paired, level: f64, scale: f64) -> Result<Option<Interval>, StatsError> {
    check_open_unit("level", level)?;
    let shrinkage = check_shrinkage(paired.n, scale)?;
    // e-value < 1/α, solved for T² / ν
    let bound = (2.0 / paired.n as f64 * (-(1.0 - level).ln() - 0.5 * shrinkage.ln())).exp();
    let room = 1.0 - bound * shrinkage;
    if room <= 0.0 {
        return Ok(None);
    }
    let half = ((bound - 1.0) / room * paired.df()).sqrt() * paired.standard_error();
    Ok(Some(Interval { low: paired.mean - half, high: paired.mean + half, level }))
}

/// 1 / (1 + n·scale²).
fn check_shrinkage(n: usize, scale: f64) -> Result<f64, StatsError> {
    let shrinkage = 1.0 / (1.0 + n as f64 * scale * scale);
    if scale > 0.0 && shrinkage > 0.0 && shrinkage < 1.0 {
        Ok(shrinkage)
    } else {
        Err(StatsError::OutOfRange { what: "effect scale", value: scale, range: "above 0, within 1e±7" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn little_data_says_little() {
        assert_eq!(t_log_e_value(&[3.0], 0.0, 1.0), Ok(0.0));
        // as much as a series of one value again and again can say: (n + 1)^((n − 1) / 2)
        let constant = t_log_e_value(&[3.0; 4], 0.0, 1.0).unwrap();
        assert!((constant - 1.5 * 5f64.ln()).abs() < 1e-12);
        assert_eq!(t_log_e_value(&[0.0; 3], 0.0, 1.0), Ok(-0.5 * 4f64.ln()));
        assert_eq!(t_e_interval(&Paired::new(&[1.0, 2.0]).unwrap(), 0.98, 1.0), Ok(None));
    }

    #[test]
    fn the_interval_is_where_evidence_is_below_its_bound() {
        let x = [0.02, 0.05, 0.01, 0.04, 0.03, 0.045, 0.02, 0.06];
        let interval = t_e_interval(&Paired::new(&x).unwrap(), 0.95, 1.0).unwrap().unwrap();
        for end in [interval.low, interval.high] {
            assert!((t_log_e_value(&x, end, 1.0).unwrap() - 20f64.ln()).abs() < 1e-9);
        }
    }

    /// 4 000 runs of up to 60 units without an effect, looked at after each.
    #[test]
    fn looking_always_costs_nothing() {
        let mut rng = Rng::new(11);
        let mut alarms = 0u32;
        for _ in 0..4000 {
            let x: Vec<f64> = (0..60).map(|_| rng.normal()).collect();
            let high = |n: usize| t_log_e_value(&x[..n], 0.0, EFFECT_SCALE).unwrap() >= 20f64.ln();
            alarms += u32::from((2..=60).any(high));
        }
        // 5 % is the promise; three standard errors above
        assert!(alarms <= 241, "{alarms}");
    }

    #[test]
    fn bad_input_is_named() {
        assert!(t_log_e_value(&[], 0.0, 1.0).is_err());
        assert!(t_log_e_value(&[1.0, f64::NAN], 0.0, 1.0).is_err());
        assert!(t_log_e_value(&[1.0, 2.0], f64::INFINITY, 1.0).is_err());
        for scale in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-300] {
            assert!(t_log_e_value(&[1.0, 2.0], 0.0, scale).is_err(), "{scale}");
            assert!(t_log_e_value(&[1.0], 0.0, scale).is_err(), "{scale}");
        }
    }
}
