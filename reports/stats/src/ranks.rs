//! Ranks with ties: what tests and scores that depend on order alone start from.

/// Ranks from 1, the mean rank for ties. Values are finite.
pub(crate) fn mid_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|i, j| values[*i].total_cmp(&values[*j]));
    let mut ranks = vec![0.0; values.len()];
    let mut done = 0;
    // by value and not by bits: 0 and −0 are one value, and sort side by side
    for group in order.chunk_by(|i, j| values[*i] == values[*j]) {
        for &i in group {
            ranks[i] = done as f64 + (group.len() as f64 + 1.0) / 2.0;
        }
        done += group.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_share_the_mean_rank() {
        assert_eq!(mid_ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        assert_eq!(mid_ranks(&[0.0, -0.0]), [1.5, 1.5]);
        assert!(mid_ranks(&[]).is_empty());
    }
}
