//! Two sessions of one recording compared as if they were two runs: a stretch of neighbouring processes against another
//! one, at least [`APART`] processes later or earlier. They are the same model, so every difference found is a false one.

use super::{REPETITIONS, at_most, lines, ns};
use stats::{
    ANCHORED_SESSION_SD, Estimate, Rng, SESSION_SD, across_sessions, mean, standard_deviation, t_sf,
};

/// About four minutes of the recording.
const APART: usize = 60;

/// One session: log values of its units by location.
type Session<'a> = &'a [[f64; 5]];

fn column(session: Session<'_>, at: usize) -> Vec<f64> {
    session.iter().map(|unit| unit[at]).collect()
}

/// As `bench diff` compares: by the location with the narrowest interval, which knows no sign.
fn compared(base: Session<'_>, head: Session<'_>, least_sd: f64) -> Estimate {
    let by = |at| across_sessions(&column(base, at), &column(head, at), least_sd).expect("finite units");
    (0..5).map(by).min_by(|a, b| a.interval.half_width().total_cmp(&b.interval.half_width())).expect("five")
}

/// What is usual: Welch's test on the medians of both sessions' processes, two-sided at 2 %.
fn welch(base: Session<'_>, head: Session<'_>) -> bool {
    let part = |session| {
        let values = column(session, 0);
        let n = values.len() as f64;
        let variance = standard_deviation(&values).expect("units").powi(2) / n;
        (mean(&values).expect("units"), variance, n)
    };
    let ((b, vb, nb), (h, vh, nh)) = (part(base), part(head));
    let df = (vb + vh).powi(2) / (vb.powi(2) / (nb - 1.0) + vh.powi(2) / (nh - 1.0));
    2.0 * t_sf((h - b).abs() / (vb + vh).sqrt(), df) < 0.02
}

/// Shares of false findings: ours, and Welch's.
fn replay(name: &str, units: &[[f64; 5]], n: usize, apart: usize, least_sd: f64) -> f64 {
    let mut rng = Rng::new(20_260_102);
    let (mut ours, mut usual, mut half) = (0, 0, 0.0);
    for _ in 0..REPETITIONS {
        let (base, head) = loop {
            let (base, head) = (rng.below(units.len() - n + 1), rng.below(units.len() - n + 1));
            if base.abs_diff(head) >= apart.max(n) {
                break (&units[base..base + n], &units[head..head + n]);
            }
        };
        let found = compared(base, head, least_sd);
        ours += u32::from(!found.interval.contains(0.0));
        usual += u32::from(welch(base, head));
        half += found.interval.half_width();
    }
    let share = |count: u32| f64::from(count) / f64::from(REPETITIONS);
    println!(
        "| {name} | {n} | {:.2} % | {:.1} % | ±{:.1} % |",
        100.0 * share(ours),
        100.0 * share(usual),
        100.0 * (half / f64::from(REPETITIONS)).exp_m1()
    );
    share(ours)
}

#[test]
fn two_sessions_of_the_same_model() {
    println!("| recording | units a session | ours | Welch | half width |");
    for model in ["conv_s", "conv_m", "mlp"] {
        let rows = lines(include_str!("../fixtures/aa_processes.csv")).filter(|row| row[0] == model);
        let units: Vec<[f64; 5]> = rows.map(|row| [4, 5, 6, 7, 9].map(|at| ns(row[at]).ln())).collect();
        for n in [6, 10, 20] {
            at_most(model, replay(model, &units, n, APART, SESSION_SD), 0.02, REPETITIONS);
        }
    }
    for model in ["conv_s", "conv_m", "mlp"] {
        let units = super::interleaved(&format!("pingpong_aa_{model}"));
        let name = format!("{model}, relative to another");
        for n in [6, 10] {
            at_most(&name, replay(&name, &units, n, n, ANCHORED_SESSION_SD), 0.02, REPETITIONS);
        }
    }
}
