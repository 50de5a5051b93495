//! The Monte Carlo behind the shipped cut-offs: paths of t of normal data, which are free of scale.

use stats::sequential::{DIFFERENCE_CUTOFFS, EQUIVALENCE_CUTOFFS, LOOKS, MAX_UNITS, Rule, look};
use stats::{Rng, t_quantile_upper};

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
