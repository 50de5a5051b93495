//! How much a series repeats itself, and how many independent values it is worth: the reason why
//! iterations of one process are not counted as samples.

use crate::descriptive::mean_unchecked;
use crate::error::{StatsError, check_values};

/// Autocorrelation at `lag`, by the estimate that divides by n and by the variance at lag 0. 0 for
/// constant data and for lags of n and more.
pub fn autocorrelation(values: &[f64], lag: usize) -> Result<f64, StatsError> {
    check_values("autocorrelation", values, 2)?;
    Ok(at_lag(&centred(values), lag))
}

/// n / (1 + 2 Σ ρ), the sum taken over pairs of lags for as long as a pair's sum is above zero (Geyer
/// 1992, initial positive sequence); between 1 and n.
pub fn effective_sample_size(values: &[f64]) -> Result<f64, StatsError> {
    check_values("effective sample size", values, 2)?;
    let centred = centred(values);
    let n = values.len() as f64;
    // Γ_k = ρ(2k) + ρ(2k+1), and 1 + 2 Σ_{j≥1} ρ(j) = 2 Σ Γ_k − 1
    let mut pairs = 0.0;
    for k in 0..values.len() / 2 {
        let pair = at_lag(&centred, 2 * k) + at_lag(&centred, 2 * k + 1);
        if pair <= 0.0 {
            break;
        }
        pairs += pair;
    }
    let inflation = 2.0 * pairs - 1.0;
    Ok(if inflation > 0.0 { (n / inflation).clamp(1.0, n) } else { n })
}

fn centred(values: &[f64]) -> Vec<f64> {
    let mean = mean_unchecked(values);
    values.iter().map(|v| v - mean).collect()
}

fn at_lag(centred: &[f64], lag: usize) -> f64 {
    let total: f64 = centred.iter().map(|v| v * v).sum();
    if total == 0.0 {
        return 0.0;
    }
    centred.iter().zip(centred.iter().skip(lag)).map(|(a, b)| a * b).sum::<f64>() / total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn by_hand() {
        // deviations −1, 0, 1: lag 1 sums to 0, lag 2 to −1, over 2
        assert_eq!(autocorrelation(&[1.0, 2.0, 3.0], 1), Ok(0.0));
        assert_eq!(autocorrelation(&[1.0, 2.0, 3.0], 2), Ok(-0.5));
        assert_eq!(autocorrelation(&[1.0, 2.0], 9), Ok(0.0));
        assert_eq!(effective_sample_size(&[5.0; 9]), Ok(9.0));
        assert!(autocorrelation(&[1.0], 0).is_err());
    }

    #[test]
    fn first_order_process() {
        // theory: n (1 − r) / (1 + r)
        let (n, r) = (20_000, 0.6);
        let mut rng = Rng::new(8);
        let mut x = vec![0.0];
        for i in 1..n {
            x.push(r * x[i - 1] + rng.normal());
        }
        let share = effective_sample_size(&x).unwrap() / n as f64;
        assert!((share - 0.25).abs() < 0.03, "{share}");
    }
}
