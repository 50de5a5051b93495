//! Many tests at once: adjusted p-values, in the order of the input. NaN p-values are an error, not 1.

use crate::error::StatsError;

fn ascending(p_values: &[f64]) -> Result<Vec<usize>, StatsError> {
    if let Some(value) = p_values.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(StatsError::OutOfRange { what: "a p-value", value: *value, range: "between 0 and 1" });
    }
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|i, j| p_values[*i].total_cmp(&p_values[*j]));
    Ok(order)
}

/// q-values of Benjamini and Hochberg (1995): rejecting where q ≤ x keeps the share of false ones among
/// the rejected at x or below, for independent or positively dependent tests.
pub fn benjamini_hochberg(p_values: &[f64]) -> Result<Vec<f64>, StatsError> {
    let order = ascending(p_values)?;
    let m = p_values.len() as f64;
    let mut adjusted = vec![1.0; p_values.len()];
    let mut least = 1.0f64;
    for (rank, &i) in order.iter().enumerate().rev() {
        least = least.min(p_values[i] * (m / (rank as f64 + 1.0)));
        adjusted[i] = least;
    }
    Ok(adjusted)
}

/// Adjusted p-values of Holm (1979): rejecting where they are ≤ x keeps the chance of any false
/// rejection at x or below, whatever the dependence.
pub fn holm(p_values: &[f64]) -> Result<Vec<f64>, StatsError> {
    let order = ascending(p_values)?;
    let mut adjusted = vec![1.0; p_values.len()];
    let mut greatest = 0.0f64;
    for (rank, &i) in order.iter().enumerate() {
        greatest = greatest.max(p_values[i] * (p_values.len() - rank) as f64).min(1.0);
        adjusted[i] = greatest;
    }
    Ok(adjusted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let p = [0.04, 0.01, 0.03, 0.02];
        assert_eq!(holm(&p).unwrap(), [0.06, 0.04, 0.06, 0.06]);
        assert!(benjamini_hochberg(&p).unwrap().iter().all(|q| (q - 0.04).abs() < 1e-15));
        assert_eq!(holm(&[]).unwrap(), Vec::<f64>::new());
        assert!(holm(&[f64::NAN]).is_err() && benjamini_hochberg(&[1.5]).is_err());
    }
}
