//! Error rates of the accuracy tests, by simulation of two classifiers on the same examples.
//!
//! `cargo test --release -p stats --test accuracy -- --nocapture` prints the table of METHODOLOGY.md.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests; the table is printed for people"
)]

use stats::{PairedTable, Rng, mcnemar_exact, mcnemar_mid_p, tango_interval, tango_non_inferiority};

const REPETITIONS: u32 = 4000;
const MARGIN: f64 = 0.01;

/// Shares of repetitions with each outcome.
struct Rates {
    worse_mid_p: f64,
    worse_exact: f64,
    non_inferior: f64,
    equivalent: f64,
    covered: f64,
}

/// `n` examples, a share `discordant` of them answered differently, accuracy lower by `drop`.
fn simulate(n: u64, discordant: f64, drop: f64) -> Rates {
    let mut rng = Rng::new(n + (discordant * 1e4) as u64 + (drop * 1e6) as u64);
    let lost_share = (discordant + drop) / 2.0;
    let (mut mid, mut exact, mut non_inferior, mut equivalent, mut covered) = (0u32, 0u32, 0u32, 0u32, 0u32);
    for _ in 0..REPETITIONS {
        let mut table = PairedTable::default();
        for _ in 0..n {
            let u = rng.uniform();
            if u < lost_share {
                table.lost += 1;
            } else if u < discordant {
                table.gained += 1;
            } else {
                table.both += 1;
            }
        }
        mid += u32::from(mcnemar_mid_p(&table).unwrap().less < 0.01);
        exact += u32::from(mcnemar_exact(&table).unwrap().less < 0.01);
        non_inferior += u32::from(tango_non_inferiority(&table, MARGIN).unwrap() < 0.05);
        equivalent += u32::from(tango_interval(&table, 0.9).unwrap().interval.within(-MARGIN, MARGIN));
        covered += u32::from(tango_interval(&table, 0.98).unwrap().interval.contains(-drop));
    }
    let share = |count: u32| f64::from(count) / f64::from(REPETITIONS);
    let rates = Rates {
        worse_mid_p: share(mid),
        worse_exact: share(exact),
        non_inferior: share(non_inferior),
        equivalent: share(equivalent),
        covered: share(covered),
    };
    println!(
        "| {n} | {:.0} % | {:.1} pp | {:.2} % | {:.2} % | {:.1} % | {:.1} % | {:.1} % |",
        100.0 * discordant,
        100.0 * drop,
        100.0 * rates.worse_mid_p,
        100.0 * rates.worse_exact,
        100.0 * rates.non_inferior,
        100.0 * rates.equivalent,
        100.0 * rates.covered,
    );
    rates
}

#[test]
fn error_rates_are_the_nominal_ones() {
    println!(
        "| examples | differ | drop | worse (mid-p) | worse (exact) | non-inferior | equivalent | 98 % covers |"
    );
    let error = |p: f64| 3.0 * (p * (1.0 - p) / f64::from(REPETITIONS)).sqrt();
    for (n, discordant) in [(500, 0.03), (2000, 0.03), (5000, 0.03), (5000, 0.06)] {
        let same = simulate(n, discordant, 0.0);
        assert!(same.worse_mid_p <= 0.01 + error(0.01), "{n} {discordant}: {}", same.worse_mid_p);
        assert!(same.worse_exact <= same.worse_mid_p);
        assert!(same.covered >= 0.98 - error(0.02), "{n} {discordant}: {}", same.covered);
        let at_margin = simulate(n, discordant, MARGIN);
        assert!(at_margin.non_inferior <= 0.05 + error(0.05), "{n} {discordant}: {}", at_margin.non_inferior);
        assert!(at_margin.equivalent <= 0.05 + error(0.05), "{n} {discordant}: {}", at_margin.equivalent);
        assert!(at_margin.covered >= 0.98 - error(0.02), "{n} {discordant}: {}", at_margin.covered);
    }
}

#[test]
fn five_thousand_examples_show_that_nothing_was_lost() {
    let same = simulate(5000, 0.03, 0.0);
    assert!(same.non_inferior >= 0.95, "{}", same.non_inferior);
    let worse = simulate(5000, 0.06, 0.02);
    assert!(worse.worse_mid_p >= 0.99, "{}", worse.worse_mid_p);
}
