//! The Monte Carlo behind the shipped cut-offs: paths of t of normal data, which are free of scale.

use stats::sequential::{DIFFERENCE_CUTOFFS, EQUIVALENCE_CUTOFFS, LOOKS, MAX_UNITS, Rule, look};
use stats::{Rng, t_quantile_upper, t_sf};

/// Enough for a standard error of 0.016 % at 1 %.
const PATHS: u32 = 400_000;

/// t statistic after each number of units from 2 to the last look, for one path.
fn t_path(rng: &mut Rng) -> [f64; MAX_UNITS + 1] {
    let mut path = [0.0; MAX_UNITS + 1];
    let (mut mean, mut squares) = (0.0, 0.0);
    for (n, t) in path.iter_mut().enumerate().skip(1) {
        let x = rng.normal();
        let step = x - mean;
        mean += step / n as f64;
        squares += step * (x - mean);
        if n >= 2 {
            *t = mean / (squares / (n as f64 - 1.0) / n as f64).sqrt();
        }
    }
    path
}

fn critical(cutoffs: [f64; 9]) -> [f64; 9] {
    std::array::from_fn(|k| t_quantile_upper(cutoffs[k], LOOKS[k] as f64 - 1.0))
}

#[test]
fn cutoffs_spend_one_and_five_percent() {
    let (difference, equivalence) = (critical(DIFFERENCE_CUTOFFS), critical(EQUIVALENCE_CUTOFFS));
    // a budget can end between two looks: there the cut-off of the last look is used
    let between: Vec<(usize, f64)> = LOOKS
        .iter()
        .zip(LOOKS.iter().skip(1))
        .zip(DIFFERENCE_CUTOFFS)
        .map(|((_, next), cutoff)| (next - 1, t_quantile_upper(cutoff, *next as f64 - 2.0)))
        .collect();
    let (mut one, mut five, mut cut_short) = (0u32, 0u32, [0u32; 8]);
    let mut rng = Rng::new(1);
    for _ in 0..PATHS {
        let t = t_path(&mut rng);
        let beyond = |critical: &[f64; 9], looks: usize| (0..looks).any(|k| t[LOOKS[k]] > critical[k]);
        one += u32::from(beyond(&difference, 9));
        five += u32::from(beyond(&equivalence, 9));
        for (k, (n, critical)) in between.iter().enumerate() {
            cut_short[k] += u32::from(beyond(&difference, k + 1) || t[*n] > *critical);
        }
    }
    let share = |count: u32| f64::from(count) / f64::from(PATHS);
    println!("difference {:.4}, equivalence {:.4}", share(one), share(five));
    assert!((share(one) - 0.01).abs() < 0.0006, "{}", share(one));
    assert!((share(five) - 0.05).abs() < 0.0014, "{}", share(five));
    for (count, (n, _)) in cut_short.into_iter().zip(&between) {
        println!("cut short at {n} units: {:.4}", share(count));
        assert!(share(count) <= 0.0104, "{n} units: {}", share(count));
    }
}

/// Where the constants come from: the cut-offs are one number, at the last look, times the share of the units
/// that are there, so that the least of p·40/n over the looks has one distribution, and its quantiles at 1 % and
/// at 5 % are the two numbers. `LOOK_COST` is the same distribution read the other way round.
///
/// `cargo test --release -p stats --test sequential -- --ignored --nocapture` (a minute)
#[test]
#[ignore = "four million paths: only when a constant is to be changed"]
fn cutoffs_are_derived() {
    const MANY: usize = 4_000_000;
    let mut rng = Rng::new(20_260_104);
    let mut least: Vec<f64> = (0..MANY)
        .map(|_| {
            let t = t_path(&mut rng);
            let scaled = LOOKS.map(|n| t_sf(t[n], n as f64 - 1.0) * MAX_UNITS as f64 / n as f64);
            scaled.into_iter().fold(1.0, f64::min)
        })
        .collect();
    least.sort_unstable_by(f64::total_cmp);
    for (share, shipped) in [(0.01, DIFFERENCE_CUTOFFS[8]), (0.05, EQUIVALENCE_CUTOFFS[8])] {
        let at = (share * MANY as f64) as usize;
        // the quantile's own error, from the order statistics one standard error to either side
        let step = (share * (1.0 - share) * MANY as f64).sqrt() as usize;
        let (found, error) = (least[at], (least[at + step] - least[at - step]) / 2.0);
        println!("{share}: {found:.6} ± {error:.6}, shipped {shipped}");
        // cut-offs are shipped with five decimals
        assert!((found - shipped).abs() <= 3.0 * error + 5e-6, "{share}: {found} {shipped}");
    }
    for c in [1e-5, 1e-4, 3e-4, 1e-3, 0.00387, 0.01, 0.02335, 0.05, 0.1, 0.2, 0.3, 0.5] {
        let hits = least.partition_point(|l| *l <= c) as f64;
        println!("c = {c}: {:.4} ± {:.4}", hits / MANY as f64 / c, hits.sqrt() / MANY as f64 / c);
    }
}

#[test]
fn cutoffs_grow_with_the_units() {
    for cutoffs in [DIFFERENCE_CUTOFFS, EQUIVALENCE_CUTOFFS] {
        for (cutoff, n) in cutoffs.into_iter().zip(LOOKS) {
            let line = cutoffs[8] * n as f64 / MAX_UNITS as f64;
            assert!((cutoff - line).abs() < 0.006 * line + 5e-6, "{n}: {cutoff} {line}");
        }
    }
}

/// The p-value that is printed is at most x with chance x, however the looks fall.
#[test]
fn adjusted_p_values_are_honest() {
    const RUNS: u32 = 20_000;
    let rule = Rule::new(0.03, 0.01).unwrap();
    let mut rng = Rng::new(3);
    let levels = [0.001, 0.01, 0.05, 0.2, 0.5];
    let mut below = [0u32; 5];
    for _ in 0..RUNS {
        let x: Vec<f64> = (0..MAX_UNITS).map(|_| rng.normal()).collect();
        let p = LOOKS.iter().map(|n| look(&x[..*n], &rule).unwrap().p_adjusted.unwrap().greater);
        let least = p.fold(1.0, f64::min);
        for (count, level) in below.iter_mut().zip(levels) {
            *count += u32::from(least <= level);
        }
    }
    for (count, level) in below.into_iter().zip(levels) {
        let (share, error) = (f64::from(count) / f64::from(RUNS), (level / f64::from(RUNS)).sqrt());
        println!("least p at or below {level}: {share}");
        assert!(share <= level + 4.0 * error, "{level}: {share}");
        assert!(share >= 0.85 * level - 4.0 * error, "{level}: {share}");
    }
}
