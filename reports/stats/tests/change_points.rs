//! False and missed changes of level on simulated histories: 1 000 series of 365 nights, autocorrelation 0.3,
//! 2 % of the nights with an outlier upwards, half of the series with one to three steps of 2 to 10 %.
//!
//! `cargo test --release -p stats --test change_points -- --nocapture` prints the table.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests; the table is printed for people"
)]

use stats::{Pelt, Rng};
use std::f64::consts::TAU;

const SERIES: usize = 1000;
const NIGHTS: usize = 365;
/// Steps in per cent.
const STEPS: [u32; 4] = [2, 3, 5, 10];
/// A change found within so many nights of a true one is that one.
const TOLERANCE: usize = 5;
/// What a service that looks every night keeps in view.
const IN_VIEW: usize = 120;

struct History {
    values: Vec<f64>,
    /// Night and size in per cent.
    changes: Vec<(usize, u32)>,
}

/// By Box and Muller and not by [`Rng::normal`], as in the study that chose the method: these are its series.
fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.uniform()).ln()).sqrt();
    radius * (TAU * rng.uniform()).cos()
}

/// One series with noise of `sd` per night.
fn history(rng: &mut Rng, sd: f64) -> History {
    let mut steps: Vec<(usize, u32, f64)> = Vec::new();
    if rng.uniform() < 0.5 {
        let wanted = 1 + rng.below(3);
        for _ in 0..50 {
            if steps.len() == wanted {
                break;
            }
            let night = 20 + rng.below(NIGHTS - 40);
            if steps.iter().all(|(other, ..)| other.abs_diff(night) >= 25) {
                let percent = STEPS[rng.below(4)];
                let sign = if rng.uniform() < 0.6 { 1.0 } else { -1.0 };
                steps.push((night, percent, sign * (f64::from(percent) / 100.0).ln_1p()));
            }
        }
        steps.sort_by_key(|step| step.0);
    }
    let mut drift = 0.0;
    let values = (0..NIGHTS).map(|night| {
        drift = 0.3 * drift + (1.0f64 - 0.3 * 0.3).sqrt() * normal(rng);
        let outlier = if rng.uniform() < 0.02 { (0.06 * normal(rng)).abs() } else { 0.0 };
        let level: f64 = steps.iter().filter(|step| step.0 <= night).map(|step| step.2).sum();
        100.0 * (sd * drift + outlier + level).exp()
    });
    History { values: values.collect(), changes: steps.iter().map(|step| (step.0, step.1)).collect() }
}

/// CPU time of this thread; NaN where the system does not tell.
fn cpu_ms() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ns = told.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    ns.map_or(f64::NAN, |ns| ns / 1e6)
}

fn histories(sd: f64) -> Vec<History> {
    let mut rng = Rng::new(42);
    (0..SERIES).map(|_| history(&mut rng, sd)).collect()
}

struct Rates {
    precision: f64,
    /// By size of the step.
    recall: [f64; 4],
    /// False changes per unchanged series and year.
    false_alarms: f64,
}

fn rates(name: &str, pelt: Pelt, histories: &[History]) -> Rates {
    let started = cpu_ms();
    let found: Vec<Vec<usize>> = histories.iter().map(|h| pelt.change_points(&h.values).unwrap()).collect();
    let cost = cpu_ms() - started;
    let (mut hits, mut steps, mut calls, mut alarms) = ([0u32; 4], [0u32; 4], 0, 0);
    for (history, found) in histories.iter().zip(&found) {
        calls += found.len();
        alarms += if history.changes.is_empty() { found.len() } else { 0 };
        let mut left = found.clone();
        for (night, percent) in &history.changes {
            let size = STEPS.iter().position(|s| s == percent).unwrap();
            steps[size] += 1;
            let nearest = left.iter().enumerate().min_by_key(|(_, at)| at.abs_diff(*night));
            if let Some((i, at)) = nearest
                && at.abs_diff(*night) <= TOLERANCE
            {
                hits[size] += 1;
                left.remove(i);
            }
        }
    }
    let unchanged = histories.iter().filter(|h| h.changes.is_empty()).count();
    let rates = Rates {
        precision: f64::from(hits.iter().sum::<u32>()) / calls as f64,
        recall: std::array::from_fn(|i| f64::from(hits[i]) / f64::from(steps[i])),
        false_alarms: alarms as f64 / unchanged as f64,
    };
    println!(
        "| {name} | {} | {:.3} | {:.2} {:.2} {:.2} {:.2} | {:.3} | {cost:.0} |",
        pelt.penalty,
        rates.precision,
        rates.recall[0],
        rates.recall[1],
        rates.recall[2],
        rates.recall[3],
        rates.false_alarms,
    );
    rates
}

#[test]
fn a_year_at_once() {
    println!(
        "| noise | penalty | precision | recall 2, 3, 5, 10 % | false per series and year | ms of CPU for all |"
    );
    let noisy = histories(0.015);
    let report = rates("1.5 %", Pelt::REPORT, &noisy);
    assert!(report.precision >= 0.93 && report.false_alarms <= 0.02);
    assert!(report.recall[1] >= 0.9 && report.recall[2] == 1.0 && report.recall[3] == 1.0);
    let propose = rates("1.5 %", Pelt::PROPOSE, &noisy);
    assert!(propose.recall[1] >= 0.93 && propose.recall[2] == 1.0 && propose.false_alarms <= 0.02);
    let interleaved = histories(0.006);
    let report = rates("0.6 %", Pelt::REPORT, &interleaved);
    assert!(report.precision >= 0.99 && report.false_alarms == 0.0);
    assert!(report.recall[0] >= 0.99 && report.recall[1..] == [1.0; 3]);
    rates("0.6 %", Pelt::PROPOSE, &interleaved);
}

/// False changes per series and year where the last [`IN_VIEW`] nights are looked at every night; one change is
/// counted once however often it is found.
fn nightly_alarms(pelt: Pelt, histories: &[History]) -> f64 {
    let unchanged: Vec<&History> = histories.iter().filter(|h| h.changes.is_empty()).step_by(4).collect();
    let mut alarms = 0;
    for history in &unchanged {
        let mut seen: Vec<usize> = Vec::new();
        for night in 30..=NIGHTS {
            let from = night.saturating_sub(IN_VIEW);
            for at in pelt.change_points(&history.values[from..night]).unwrap() {
                if seen.iter().all(|other| other.abs_diff(from + at) > TOLERANCE) {
                    seen.push(from + at);
                }
            }
        }
        alarms += seen.len();
    }
    alarms as f64 / unchanged.len() as f64
}

/// Nights until the first step of `percent` is found, sorted; not found within a month counts as a month.
fn delays(pelt: Pelt, histories: &[History], percent: u32) -> Vec<usize> {
    const MONTH: usize = 30;
    let mut delays: Vec<usize> = histories
        .iter()
        .filter_map(|h| h.changes.first().filter(|c| c.1 == percent).map(|c| (h, c.0)))
        .map(|(history, step)| {
            let next = history.changes.get(1).map_or(NIGHTS, |c| c.0);
            (step + 1..=(step + MONTH).min(next))
                .find(|night| {
                    let from = night.saturating_sub(IN_VIEW);
                    let found = pelt.change_points(&history.values[from..*night]).unwrap();
                    found.iter().any(|at| (from + at).abs_diff(step) <= TOLERANCE)
                })
                .map_or(MONTH, |night| night - step)
        })
        .collect();
    delays.sort_unstable();
    delays
}

#[test]
fn night_by_night() {
    println!("| noise | penalty | false per series and year | median delay at 3 %, 5 % |");
    for (noise, penalty, most) in
        [(0.015, 6.0, 1.5), (0.015, 10.0, 0.2), (0.015, 15.0, 0.05), (0.006, 15.0, 0.06)]
    {
        let (pelt, histories) = (Pelt { penalty, ..Pelt::REPORT }, histories(noise));
        let alarms = nightly_alarms(pelt, &histories);
        let median = |percent| {
            let delays = delays(pelt, &histories, percent);
            delays[delays.len() / 2]
        };
        println!("| {:.1} % | {penalty} | {alarms:.3} | {} {} |", 100.0 * noise, median(3), median(5));
        assert!(alarms <= most, "{noise} {penalty}: {alarms}");
        assert!(median(5) <= 6, "{noise} {penalty}");
    }
}
