//! Sign-flip test of the mean: under "no difference" every unit's sign could as well have been the
//! other, which the random order of the two sides guarantees. Exact by enumeration for few units, else by
//! seeded Monte Carlo.

use crate::error::{StatsError, check_values};
use crate::interval::PValues;
use crate::rng::Rng;

/// Up to so many units all sign vectors are enumerated (2 048).
pub const SIGN_FLIP_EXACT_MAX: usize = 11;
/// Random sign vectors beyond that.
pub const SIGN_FLIP_RESAMPLES: u32 = 10_000;

/// p-values for a mean of 0. The observed signs count as one of the resamples, so that p is never 0.
/// The seed is used only beyond [`SIGN_FLIP_EXACT_MAX`] units.
pub fn sign_flip(differences: &[f64], seed: u64) -> Result<PValues, StatsError> {
    check_values("sign-flip", differences, 1)?;
    let n = differences.len();
    let observed: f64 = differences.iter().sum();
    // sums that are equal on paper may differ by rounding, and count as equal
    let slack = 1e-12 * differences.iter().map(|d| d.abs()).sum::<f64>();
    let (mut above, mut below, mut total) = (0u32, 0u32, 0u32);
    let mut tally = |sum: f64| {
        above += u32::from(sum >= observed - slack);
        below += u32::from(sum <= observed + slack);
        total += 1;
    };
    if n <= SIGN_FLIP_EXACT_MAX {
        for signs in 0..1u64 << n {
            tally(flipped(differences, |i| signs >> i));
        }
    } else {
        tally(observed);
        let mut rng = Rng::new(seed);
        let mut words = vec![0u64; n.div_ceil(64)];
        for _ in 0..SIGN_FLIP_RESAMPLES {
            words.fill_with(|| rng.next_u64());
            tally(flipped(differences, |i| words[i / 64] >> (i % 64)));
        }
    }
    let total = f64::from(total);
    Ok(PValues::from_sides(f64::from(above) / total, f64::from(below) / total))
}

fn flipped(differences: &[f64], bit: impl Fn(usize) -> u64) -> f64 {
    differences.iter().enumerate().map(|(i, d)| if bit(i) & 1 == 1 { -d } else { *d }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_one_sign() {
        let p = sign_flip(&[1.0, 2.0, 3.0, 0.5, 0.25, 0.125], 0).unwrap();
        assert_eq!(p, PValues { greater: 1.0 / 64.0, less: 1.0, two_sided: 2.0 / 64.0 });
    }

    #[test]
    fn nothing_but_zeros() {
        assert_eq!(sign_flip(&[0.0; 5], 0).unwrap().two_sided, 1.0);
        assert_eq!(sign_flip(&[0.0; 50], 0).unwrap().two_sided, 1.0);
    }

    #[test]
    fn monte_carlo_is_near_enumeration() {
        // eleven units and a twelfth of zero: the same distribution, once enumerated, once sampled
        let mut d = vec![0.3, -0.1, 0.2, 0.25, -0.05, 0.12, 0.4, -0.2, 0.1, 0.02, 0.3];
        let exact = sign_flip(&d, 0).unwrap();
        d.push(0.0);
        let sampled = sign_flip(&d, 7).unwrap();
        assert!((exact.greater - sampled.greater).abs() < 0.006, "{exact:?} {sampled:?}");
        assert_eq!(sampled, sign_flip(&d, 7).unwrap());
    }
}
