//! Which number stands for the many iterations of one side of a unit, chosen without looking at which
//! side is which.
//!
//! On a quiet device the median does; on a busy one a lower quantile or CPU time can have a tenth of the
//! noise. Choosing by the result would be cheating; choosing by the size of the log ratio alone, from the
//! first units, is not, because the sign carries the answer.

use crate::descriptive::standard_deviation_unchecked;
use crate::error::{StatsError, check_values};
use crate::quantile::quantile_sorted;

/// Units that the choice is made from; then it is fixed.
pub const LOCATION_UNITS: usize = 6;

/// A location statistic of the iterations of one trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// Median of wall time.
    Median,
    /// Lower quartile of wall time.
    P25,
    /// Lower decile of wall time.
    P10,
    /// Least wall time.
    Min,
    /// Median of CPU time: only for one thread on a CPU.
    CpuMedian,
}

impl Location {
    /// All, in the order that breaks ties.
    pub const ALL: [Self; 5] = [Self::Median, Self::P25, Self::P10, Self::Min, Self::CpuMedian];

    /// Short name for columns.
    pub fn name(self) -> &'static str {
        match self {
            Self::Median => "median",
            Self::P25 => "p25",
            Self::P10 => "p10",
            Self::Min => "min",
            Self::CpuMedian => "cpu-median",
        }
    }

    /// Its value, from iterations in ascending order of wall time and of CPU time. `None` for none.
    pub fn of_sorted(self, wall: &[f64], cpu: &[f64]) -> Option<f64> {
        match self {
            Self::Median => quantile_sorted(wall, 0.5),
            Self::P25 => quantile_sorted(wall, 0.25),
            Self::P10 => quantile_sorted(wall, 0.1),
            Self::Min => wall.first().copied(),
            Self::CpuMedian => quantile_sorted(cpu, 0.5),
        }
    }
}

/// The location whose |log ratio| has the least standard deviation over the first [`LOCATION_UNITS`]
/// units; the first offered wins ties, and where there are fewer than two units. `offers` holds the log
/// ratios of all units for each statistic, in the order of the units.
pub fn choose_location(offers: &[(Location, Vec<f64>)]) -> Result<Location, StatsError> {
    let what = "choice of location";
    let Some((first, _)) = offers.first() else {
        return Err(StatsError::TooFew { what, needed: 1, got: 0 });
    };
    let mut best = (*first, f64::INFINITY);
    for (location, log_ratios) in offers {
        let head = &log_ratios[..log_ratios.len().min(LOCATION_UNITS)];
        check_values(what, head, 0)?;
        let sizes: Vec<f64> = head.iter().map(|y| y.abs()).collect();
        let spread = standard_deviation_unchecked(&sizes);
        if sizes.len() >= 2 && spread < best.1 {
            best = (*location, spread);
        }
    }
    Ok(best.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_spread_wins_and_signs_do_not_matter() {
        let quiet = vec![0.01, -0.011, 0.009, 0.01, -0.01, 0.012, 9.0];
        let noisy = vec![0.01, 0.2, -0.1, 0.05, 0.3, -0.02, 0.0];
        let flipped: Vec<f64> = quiet.iter().map(|y| -y).collect();
        for low in [quiet, flipped] {
            let offers = [(Location::Median, noisy.clone()), (Location::P10, low)];
            assert_eq!(choose_location(&offers), Ok(Location::P10));
        }
    }

    #[test]
    fn ties_and_few_units_keep_the_first() {
        let offers = [(Location::Median, vec![0.1]), (Location::Min, vec![0.0])];
        assert_eq!(choose_location(&offers), Ok(Location::Median));
        let offers = [(Location::P25, vec![0.1; 6]), (Location::Min, vec![0.2; 6])];
        assert_eq!(choose_location(&offers), Ok(Location::P25));
        assert!(choose_location(&[]).is_err());
        assert!(choose_location(&[(Location::Min, vec![f64::NAN])]).is_err());
    }

    #[test]
    fn values_follow_the_quantile_convention() {
        let wall: Vec<f64> = (0..20).map(f64::from).collect();
        let values: Vec<_> = Location::ALL.iter().map(|l| l.of_sorted(&wall, &[7.0])).collect();
        assert_eq!(values, [Some(10.0), Some(5.0), Some(2.0), Some(0.0), Some(7.0)]);
        assert_eq!(Location::Min.of_sorted(&[], &[]), None);
    }
}
