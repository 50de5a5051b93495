//! Two sessions that were not measured together: what their means differ by, and how little that says. A device is
//! faster on one day than on the next, and no number of units within a session shows by how much.

use crate::error::StatsError;
use crate::interval::Estimate;
use crate::paired::Paired;

/// Confidence of the interval between two sessions.
pub const SESSION_LEVEL: f64 = 0.98;
/// Least standard deviation of a session's mean log value: sessions on one loaded machine, half an hour apart at most,
/// had 2 to 3 %.
pub const SESSION_SD: f64 = 0.03;
/// The same where a value is taken relative to another one that was served alternately: drift of the device cancels.
pub const ANCHORED_SESSION_SD: f64 = 0.01;

/// Mean of `head` − mean of `base`, logarithms of one value per unit, with an interval at [`SESSION_LEVEL`].
///
/// A session is one observation: its mean is trusted no further than one of its units, and no further than
/// `least_sd`. Degrees of freedom are those of the shorter session. Needs two units of each.
pub fn across_sessions(base: &[f64], head: &[f64], least_sd: f64) -> Result<Estimate, StatsError> {
    let (base, head) = (Paired::new(base)?, Paired::new(head)?);
    let sd = base.sd.max(least_sd).hypot(head.sd.max(least_sd));
    let n = base.n.min(head.n);
    // the interval of a mean of n values, without the gain of n values
    let one = Paired { n, mean: head.mean - base.mean, sd: sd * (n as f64).sqrt() };
    Ok(Estimate { point: one.mean, interval: one.interval(SESSION_LEVEL)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_units_do_not_make_a_session_more_than_one() {
        let of = |n: usize| across_sessions(&vec![0.0; n], &vec![0.1; n], SESSION_SD).unwrap();
        let (few, many) = (of(6), of(1000));
        assert_eq!(few.point, 0.1);
        // t(0.99, 5) = 3.3649, z(0.99) = 2.3263
        assert!((few.interval.half_width() - 3.364_93 * 0.03 * 2f64.sqrt()).abs() < 1e-6);
        assert!(many.interval.half_width() > 2.3263 * 0.03 * 2f64.sqrt());
    }

    #[test]
    fn a_noisy_session_is_trusted_less() {
        let quiet = [0.0, 0.001, -0.001, 0.0];
        let noisy = [0.1, -0.1, 0.1, -0.1];
        let width = |a: &[f64], b: &[f64]| across_sessions(a, b, 0.01).unwrap().interval.half_width();
        assert!(width(&quiet, &noisy) > 5.0 * width(&quiet, &quiet));
        assert_eq!(width(&quiet, &noisy), width(&noisy, &quiet));
        assert!(across_sessions(&[0.0], &quiet, 0.01).is_err());
        assert!(across_sessions(&[f64::NAN, 0.0], &quiet, 0.01).is_err());
    }
}
