//! Where to repeat: more iterations in a process, or more processes. The rule of Kalibera and Jones (2013) for two
//! levels. Knows no labels: the sides of a comparison get the same answer.

use crate::error::{StatsError, check_values};
use crate::paired::Paired;

/// Fewest iterations of a side that the rule asks for.
pub const LEAST_ITERATIONS: u32 = 50;
/// Most iterations of a side that the rule asks for.
pub const MOST_ITERATIONS: u32 = 2000;

/// What a unit shows once: the log ratio of its sides, and those of two halves of its sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Halved {
    /// Of all iterations.
    pub whole: f64,
    /// Of the one half and of the other.
    pub halves: [f64; 2],
}

/// Where the spread of log ratios comes from, as standard deviations of one unit's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels {
    /// From the processes: more iterations do not lessen it.
    pub between: f64,
    /// From the iterations, as many as there were.
    pub within: f64,
}

impl Levels {
    /// Takes apart what spreads: halves of a unit differ by its iterations alone, so that a quarter of their mean
    /// squared difference is the variance that the iterations leave in the whole. What is more than that comes from the
    /// processes. Holds for every location statistic, and for iterations that depend on each other within a half. Needs
    /// two units.
    pub fn of(units: &[Halved]) -> Result<Self, StatsError> {
        let whole: Vec<f64> = units.iter().map(|unit| unit.whole).collect();
        let gaps: Vec<f64> = units.iter().map(|unit| unit.halves[0] - unit.halves[1]).collect();
        check_values("halves of units", &gaps, 2)?;
        let all = Paired::new(&whole)?.sd;
        let within = (gaps.iter().map(|gap| gap * gap).sum::<f64>() / gaps.len() as f64).sqrt() / 2.0;
        let between = (all * all - within * within).max(0.0).sqrt();
        Ok(Self { between, within })
    }

    /// Iterations per side that make the interval narrowest for the time it takes: √(cost of a process ÷ cost of an
    /// iteration) · sd within ÷ sd between, both sds of a single iteration. `iterations`: how many a side has had.
    /// Costs are times, in whatever unit.
    ///
    /// Between [`LEAST_ITERATIONS`], or as many as there were if those were fewer, and [`MOST_ITERATIONS`], and never
    /// more than four times as many as there were: six units tell the levels apart only roughly.
    pub fn iterations(&self, iterations: u32, process: f64, iteration: f64) -> Result<u32, StatsError> {
        for (what, value) in [("cost of a process", process), ("cost of an iteration", iteration)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(StatsError::OutOfRange { what, value, range: "above 0" });
            }
        }
        let single = self.within * f64::from(iterations).sqrt();
        // nothing spreads: nothing is gained by more
        let best = if single > 0.0 { (process / iteration).sqrt() * single / self.between } else { 0.0 };
        let most = MOST_ITERATIONS.min(iterations.saturating_mul(4));
        let best = best.round().min(f64::from(most)) as u32;
        Ok(best.max(LEAST_ITERATIONS.min(iterations)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(between: f64, within: f64) -> Levels {
        Levels { between, within }
    }

    #[test]
    fn the_rule_is_the_one_of_the_paper() {
        // 400 iterations leave 1 %: one has 20 %; √(1000 / 1) · 0.2 / 0.02 = 316
        assert_eq!(levels(0.02, 0.01).iterations(400, 1000.0, 1.0), Ok(316));
        assert_eq!(levels(0.02, 0.01).iterations(400, 4000.0, 1.0), Ok(632));
        assert_eq!(levels(0.04, 0.01).iterations(400, 1000.0, 1.0), Ok(158));
    }

    #[test]
    fn it_stays_within_bounds() {
        assert_eq!(levels(0.0, 0.01).iterations(400, 1000.0, 1.0), Ok(1600), "four times");
        assert_eq!(levels(0.0, 0.01).iterations(4000, 1000.0, 1.0), Ok(MOST_ITERATIONS));
        assert_eq!(levels(0.5, 0.001).iterations(400, 1000.0, 1.0), Ok(LEAST_ITERATIONS));
        assert_eq!(
            levels(0.5, 0.001).iterations(20, 1.0, 1.0),
            Ok(20),
            "a slow model had fewer to begin with"
        );
        assert_eq!(levels(0.0, 0.0).iterations(400, 1000.0, 1.0), Ok(LEAST_ITERATIONS));
        assert_eq!(levels(0.0, 0.0).iterations(0, 1000.0, 1.0), Ok(0));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(levels(0.1, 0.1).iterations(400, bad, 1.0).is_err());
            assert!(levels(0.1, 0.1).iterations(400, 1.0, bad).is_err());
        }
    }

    #[test]
    fn levels_are_told_apart() {
        let mut rng = crate::Rng::new(3);
        let units: Vec<Halved> = (0..20_000)
            .map(|_| {
                let process = 0.03 * rng.normal();
                let halves = [0; 2].map(|_| process + 0.02 * rng.normal());
                Halved { whole: (halves[0] + halves[1]) / 2.0, halves }
            })
            .collect();
        let found = Levels::of(&units).unwrap();
        assert!((found.between / 0.03 - 1.0).abs() < 0.02, "{found:?}");
        assert!((found.within / (0.02 / 2f64.sqrt()) - 1.0).abs() < 0.02, "{found:?}");
        let swapped: Vec<Halved> = units
            .iter()
            .map(|unit| Halved { whole: -unit.whole, halves: [-unit.halves[1], -unit.halves[0]] })
            .collect();
        assert_eq!(Levels::of(&swapped).unwrap(), found, "blind to which side is which");
        assert!(Levels::of(&units[..1]).is_err());
        let lost = Halved { whole: 0.0, halves: [f64::NAN, 0.0] };
        assert!(Levels::of(&[lost; 6]).is_err());
        assert_eq!(Levels::of(&[Halved { whole: 0.1, halves: [0.1; 2] }; 6]), Ok(levels(0.0, 0.0)));
    }
}
