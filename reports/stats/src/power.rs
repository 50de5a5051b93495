//! What could have been seen: power of the paired t test, the least difference it would find, and the
//! least accuracy drop that so many examples can show.

use crate::dist::{normal_quantile, normal_sf, t_quantile_upper};
use crate::error::{StatsError, check_open_unit};
use statrs::function::gamma::ln_gamma;

/// Steps of Simpson's rule; the integrand is smooth, and this leaves an error near 1e-12.
const STEPS: u32 = 4000;

/// Chance that the one-sided paired t test at `alpha` finds a true mean of `effect` with `n` units whose
/// sd is `sd`: the upper tail of the noncentral t distribution.
pub fn paired_power(effect: f64, sd: f64, n: usize, alpha: f64) -> Result<f64, StatsError> {
    check_alpha(alpha)?;
    check_spread(sd, n)?;
    if !effect.is_finite() {
        return Err(StatsError::NotFinite { what: "effect", index: 0 });
    }
    if sd == 0.0 {
        return Ok(if effect > 0.0 { 1.0 } else { 0.0 });
    }
    let df = n as f64 - 1.0;
    let shift = effect * (n as f64).sqrt() / sd;
    Ok(noncentral_t_sf(t_quantile_upper(alpha, df), df, shift))
}

/// The least true difference that [`paired_power`] finds with chance `power`, in the unit of `sd` (a log
/// ratio where `sd` is one).
pub fn minimum_detectable_effect(sd: f64, n: usize, alpha: f64, power: f64) -> Result<f64, StatsError> {
    check_spread(sd, n)?;
    Ok(detectable_shift(n, alpha, power)? * sd / (n as f64).sqrt())
}

/// The same in standard errors of the mean, which depends on no data: the noncentrality of the t statistic.
pub(crate) fn detectable_shift(n: usize, alpha: f64, power: f64) -> Result<f64, StatsError> {
    check_alpha(alpha)?;
    check_open_unit("power", power)?;
    check_spread(0.0, n)?;
    let df = n as f64 - 1.0;
    let critical = t_quantile_upper(alpha, df);
    let surplus = |shift: f64| noncentral_t_sf(critical, df, shift) - power;
    let mut high = 1.0;
    while surplus(high) < 0.0 && high < 1e12 {
        high *= 2.0;
    }
    Ok(rising_root(0.0, high, surplus))
}

/// Where a rising function crosses 0: false position in the Illinois variant. Each value costs an
/// integral, and this takes about a tenth of the steps of halving.
fn rising_root(mut low: f64, mut high: f64, value: impl Fn(f64) -> f64) -> f64 {
    let (mut below, mut above) = (value(low), value(high));
    if below >= 0.0 || above <= 0.0 {
        return if below >= 0.0 { low } else { high };
    }
    let mut last_side = 0;
    for _ in 0..200 {
        let middle = high - above * (high - low) / (above - below);
        let found = value(middle);
        if found.abs() < 1e-13 || high - low <= 1e-14 * high {
            return middle;
        }
        let side = if found > 0.0 { 1 } else { -1 };
        // the end that stays twice in a row loses half of its weight
        if side > 0 {
            (high, above) = (middle, found);
            below *= if last_side == side { 0.5 } else { 1.0 };
        } else {
            (low, below) = (middle, found);
            above *= if last_side == side { 0.5 } else { 1.0 };
        }
        last_side = side;
    }
    0.5 * (low + high)
}

/// The least accuracy drop, as a share, that `n` examples show with chance `power` in a one-sided paired
/// test at `alpha`, where a share `discordant` of them is answered differently: (z_α + z_power)·√(d / n).
pub fn smallest_visible_drop(discordant: f64, n: u64, alpha: f64, power: f64) -> Result<f64, StatsError> {
    if n == 0 {
        return Err(StatsError::TooFew { what: "smallest visible drop", needed: 1, got: 0 });
    }
    if !(0.0..=1.0).contains(&discordant) {
        let range = "between 0 and 1";
        return Err(StatsError::OutOfRange { what: "discordant share", value: discordant, range });
    }
    visible_difference((discordant / n as f64).sqrt(), alpha, power)
}

/// The least difference that a one-sided test at `alpha` shows with chance `power`, where its standard error is
/// `standard_error`: (z_α + z_power)·error.
pub fn visible_difference(standard_error: f64, alpha: f64, power: f64) -> Result<f64, StatsError> {
    check_open_unit("alpha", alpha)?;
    check_open_unit("power", power)?;
    if !(standard_error >= 0.0 && standard_error.is_finite()) {
        let range = "at 0 or above";
        return Err(StatsError::OutOfRange { what: "standard error", value: standard_error, range });
    }
    Ok((-normal_quantile(alpha) + normal_quantile(power)) * standard_error)
}

fn check_alpha(alpha: f64) -> Result<(), StatsError> {
    if alpha > 0.0 && alpha < 0.5 {
        Ok(())
    } else {
        Err(StatsError::OutOfRange { what: "alpha", value: alpha, range: "strictly between 0 and 0.5" })
    }
}

fn check_spread(sd: f64, n: usize) -> Result<(), StatsError> {
    if n < 2 {
        return Err(StatsError::TooFew { what: "power of the paired t test", needed: 2, got: n });
    }
    if !(sd >= 0.0 && sd.is_finite()) {
        return Err(StatsError::OutOfRange { what: "sd", value: sd, range: "at 0 or above" });
    }
    Ok(())
}

/// P((Z + shift) / S > t) for t > 0, S² = χ²/df: the normal tail averaged over the density of S.
fn noncentral_t_sf(t: f64, df: f64, shift: f64) -> f64 {
    let log_factor = (2.0f64).ln() + 0.5 * df * (0.5 * df).ln() - ln_gamma(0.5 * df);
    let integrand = |s: f64| {
        // at s = 0 the density is 0 but for one degree of freedom
        let log_power = if df == 1.0 { 0.0 } else { (df - 1.0) * s.ln() };
        (log_factor + log_power - 0.5 * df * s * s).exp() * normal_sf(t * s - shift)
    };
    let reach = 12.0 / (2.0 * df).sqrt();
    // beyond the second bound the normal tail is 0 to the last bit; the first keeps the steps short
    let (low, high) = ((1.0 - reach).max(0.0), (1.0 + reach).min((shift.max(0.0) + 9.0) / t));
    if high <= low {
        return 0.0;
    }
    let step = (high - low) / f64::from(STEPS);
    let inner: f64 =
        (1..STEPS).map(|i| integrand(low + f64::from(i) * step) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
    ((integrand(low) + inner + integrand(high)) * step / 3.0).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_effect_is_found_as_often_as_alpha() {
        for n in [2, 3, 6, 40, 5000] {
            assert!((paired_power(0.0, 1.0, n, 0.01).unwrap() - 0.01).abs() < 1e-9, "{n}");
        }
    }

    #[test]
    fn the_effect_has_the_power() {
        for n in [2, 6, 40] {
            let effect = minimum_detectable_effect(0.02, n, 0.00387, 0.9).unwrap();
            assert!((paired_power(effect, 0.02, n, 0.00387).unwrap() - 0.9).abs() < 1e-9);
        }
        assert_eq!(minimum_detectable_effect(0.0, 6, 0.01, 0.9), Ok(0.0));
        assert!(minimum_detectable_effect(f64::NAN, 6, 0.01, 0.9).is_err());
        assert!(paired_power(1.0, 1.0, 1, 0.01).is_err());
    }

    #[test]
    fn rule_of_thumb_for_accuracy() {
        // n = 8.6 d / margin² for 90 % power at 5 %
        let drop = smallest_visible_drop(0.03, 2580, 0.05, 0.9).unwrap();
        assert!((drop - 0.01).abs() < 5e-5, "{drop}");
        assert!(smallest_visible_drop(2.0, 10, 0.05, 0.9).is_err());
    }
}
