//! `bench selftest`: how often this machine's verdicts are wrong, measured on cells whose truth is known.

use super::{
    FactsFormat,
    run::{Measurable, measure, tell_end},
};
use crate::{
    exit::{CommandResult, Exit, ExitWith},
    progress::Progress,
    selection::Wanted,
    selftest::{Cells, Counts, MAX_CELLS, Position, Rate, counts, positions},
    settings::Layer,
    stdout::{print, print_json},
    values::human_time,
};
use reports::{store, verdict::verdicts};
use serde::Serialize;
use std::{
    fmt::Write,
    path::Path,
    time::{Duration, Instant},
};

/// Equal models may be called worse so often.
const FALSE_ALARMS: f64 = 0.01;
/// A slowdown of the margin or more must be found so often.
const POWER: f64 = 0.95;
/// From this slowdown on: the margin, unless the settings say otherwise.
const POWER_FROM_PERMILLE: u16 = 30;
/// The place of a process may move its time by so much.
const BIAS: f64 = 0.004;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

/// A selftest is a run like any other, with a record that `bench report` and `bench recheck` read; it measures a
/// shipped model of some tenths of a millisecond, in as many independent cells as asked for, each with processes of
/// its own and measured until the rule decides. Ctrl-C keeps what was measured.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// False alarms: the same model under two names; ends with 1 when more than 1 % are called worse beyond chance
    Aa {
        #[command(flatten)]
        common: Common,
        /// Comparisons; 200 take about half an hour
        #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_CELLS)))]
        cells: u32,
    },
    /// Power: one of the two is made slower by a known share; ends with 1 when 3 % or more is found too rarely
    Power {
        #[command(flatten)]
        common: Common,
        /// Comparisons of every effect
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_CELLS)))]
        cells: u32,
        /// By how many per cent the one is slowed down, 0.1 to 100; may be repeated
        #[arg(long, value_name = "PERCENT", value_delimiter = ',', default_values = ["1", "2", "3", "5"], value_parser = permille)]
        effect: Vec<u16>,
    },
    /// Position bias: whether the process that comes first has another time than the second one
    Bias {
        #[command(flatten)]
        common: Common,
        /// Comparisons; the units of all of them count together
        #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_CELLS)))]
        cells: u32,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Go on with a run that was cut off, or print the result of one once more: its folder, its name, or `latest`
    #[arg(long, value_name = "RUN", conflicts_with = "cells")]
    resume: Option<String>,
    /// What to print on stdout
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: FactsFormat,
    #[command(flatten, next_help_heading = "Settings")]
    settings: Layer,
}

fn permille(text: &str) -> Result<u16, String> {
    let percent: f64 = text.trim().trim_end_matches('%').parse().map_err(|e| format!("{text:?}: {e}"))?;
    let permille = (percent * 10.0).round();
    if (1.0..=1000.0).contains(&permille) && (permille - percent * 10.0).abs() < 1e-6 {
        return Ok(permille as u16);
    }
    Err(format!("{text:?} is not between 0.1 and 100 per cent, in steps of 0.1"))
}

/// What is asked of the cells.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    FalseAlarms,
    Power,
    Bias,
}

/// All that came out.
#[derive(Debug, Serialize)]
struct Found {
    run: String,
    margin: f64,
    kinds: Vec<Counts>,
    positions: Vec<Position>,
    /// Of this session, with everything around it; `None` for a run that was measured in several.
    seconds_per_cell: Option<f64>,
    /// Whether it is as promised; why not, in words.
    failures: Vec<String>,
}

/// Measures, counts, answers.
pub(crate) fn work(args: Args, config: Option<&Path>, quiet: bool) -> CommandResult {
    let (asked, name, common, each, slowdown_permille) = match args.what {
        What::Aa { common, cells } => (Asked::FalseAlarms, "aa", common, cells, vec![0]),
        What::Power { common, cells, effect } => (Asked::Power, "power", common, cells, effect),
        What::Bias { common, cells } => (Asked::Bias, "bias", common, cells, vec![0]),
    };
    let wanted = Wanted { selftest: Some(Cells { each, slowdown_permille }), ..Wanted::default() };
    let resumed = common.resume.is_some();
    let mut progress = Progress::new(quiet);
    let began = Instant::now();
    let measurable = Measurable { wanted, resume: common.resume, settings: common.settings };
    let measured = measure(measurable, config, &mut progress, 2)?;
    let took = (!resumed).then(|| began.elapsed());
    progress.clear();
    let end = tell_end(&measured, &format!("selftest {name}"));
    if !measured.any_units {
        return Ok(end);
    }
    let record = store::load(&measured.dir).or_usage()?;
    let verdicts = verdicts(&record);
    let (kinds, positions) = (counts(&record, &verdicts), positions(&record, &verdicts));
    let cells: u64 = kinds.iter().map(|kind| kind.cells).sum();
    let found = Found {
        run: measured.dir.display().to_string(),
        margin: record.plan.suite.margin_of("latency_ns"),
        failures: failures(asked, &kinds, &positions),
        seconds_per_cell: took.map(|took| took.as_secs_f64() / cells.max(1) as f64),
        kinds,
        positions,
    };
    match common.format {
        FactsFormat::Json => print_json(&found)?,
        FactsFormat::Text => print(&text(asked, &found))?,
    }
    let answered = found.kinds.iter().all(|kind| kind.invalid == 0) && !found.kinds.is_empty();
    Ok(match (found.failures.is_empty(), end) {
        (false, _) => Exit::GateFailed,
        (true, Exit::Fine) if answered => Exit::Fine,
        _ => Exit::Incomplete,
    })
}

/// What is not as promised, beyond chance.
fn failures(asked: Asked, kinds: &[Counts], positions: &[Position]) -> Vec<String> {
    let mut failures = Vec::new();
    let with = |wanted: &dyn Fn(u16) -> bool| {
        kinds.iter().filter(|k| wanted(k.slowdown_permille)).collect::<Vec<_>>()
    };
    match asked {
        Asked::FalseAlarms => {
            for kind in with(&|permille| permille == 0).iter().filter(|kind| kind.worse.low > FALSE_ALARMS) {
                failures.push(format!("equal models are called worse: {}", shown(&kind.worse)));
            }
        }
        Asked::Power => {
            for kind in with(&|permille| permille >= POWER_FROM_PERMILLE) {
                if kind.worse.high < POWER {
                    let by = f64::from(kind.slowdown_permille) / 10.0;
                    failures.push(format!("{by} % slower is found too rarely: {}", shown(&kind.worse)));
                }
            }
        }
        Asked::Bias => {
            for p in positions.iter().filter(|p| p.low > BIAS || p.high < -BIAS) {
                failures.push(format!(
                    "the first in {} is not measured as the second: {}",
                    p.first,
                    moved(p)
                ));
            }
        }
    }
    failures
}

fn text(asked: Asked, found: &Found) -> String {
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").unwrap_or_default();
    if asked == Asked::Bias {
        line(format!("{:<18}{:>7}   first against second (95 %)", "first in", "units"));
        for p in &found.positions {
            line(format!("{:<18}{:>7}   {}", p.first, p.units, moved(p)));
        }
    } else {
        line(format!(
            "{:>8} {:>6} {:>26} {:>10} {:>24} {:>11} {:>13} {:>8} {:>6} {:>9}",
            "slower",
            "cells",
            "worse (95 %)",
            "confirmed",
            "better (95 %)",
            "equivalent",
            "inconclusive",
            "invalid",
            "units",
            "measured"
        ));
        for k in &found.kinds {
            line(format!(
                "{:>6.1} % {:>6} {:>26} {:>10} {:>24} {:>11} {:>13} {:>8} {:>6.1} {:>+7.2} %",
                f64::from(k.slowdown_permille) / 10.0,
                k.cells,
                shown(&k.worse),
                k.confirmed,
                shown(&k.better),
                k.equivalent,
                k.inconclusive,
                k.invalid,
                k.mean_units,
                100.0 * k.mean_change
            ));
        }
        for k in &found.kinds {
            line(format!(
                "the decision interval holds the true {:+.1} % in {} of {} cells, the plain one in {}",
                f64::from(k.slowdown_permille) / 10.0,
                k.decision_covers.count,
                k.decision_covers.of,
                k.plain_covers.count
            ));
        }
    }
    if let Some(seconds) = found.seconds_per_cell {
        line(format!("{} per cell, everything included", human_time(Duration::from_secs_f64(seconds))));
    }
    line(format!("margin ±{:.1} %; the record: {}", 100.0 * found.margin, found.run));
    match found.failures.as_slice() {
        [] if found.kinds.iter().all(|kind| kind.worse.of == 0) => {
            line(
                "no cell has an answer, so nothing is shown: a call needs 6 units (--units, --time-budget)"
                    .to_owned(),
            );
        }
        [] => line(promise(asked).to_owned()),
        failures => failures.iter().for_each(|failure| line(format!("not as promised: {failure}"))),
    }
    out
}

fn promise(asked: Asked) -> &'static str {
    match asked {
        Asked::FalseAlarms => "consistent with the promise: at most 1 % of equal models are called worse",
        Asked::Power => "consistent with the promise: 95 % of slowdowns of 3 % or more are found",
        Asked::Bias => "no place moves the time by more than 0.4 % beyond chance",
    }
}

/// `2 = 1.0 % (0.1 … 3.6 %)`.
fn shown(rate: &Rate) -> String {
    let share = 100.0 * rate.count as f64 / rate.of.max(1) as f64;
    format!("{} = {share:.1} % ({:.1} … {:.1} %)", rate.count, 100.0 * rate.low, 100.0 * rate.high)
}

/// `+0.05 % (−0.10 … +0.21 %)`.
fn moved(p: &Position) -> String {
    format!("{:+.2} % ({:+.2} … {:+.2} %)", 100.0 * p.change, 100.0 * p.low, 100.0 * p.high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(slowdown_permille: u16, worse: Rate) -> Counts {
        Counts {
            slowdown_permille,
            cells: worse.of,
            invalid: 0,
            worse,
            confirmed: 0,
            better: worse,
            equivalent: 0,
            inconclusive: 0,
            mean_units: 6.0,
            mean_change: 0.0,
            decision_covers: worse,
            plain_covers: worse,
        }
    }

    fn rate(low: f64, high: f64) -> Rate {
        Rate { count: 1, of: 10, low, high }
    }

    #[test]
    fn only_what_is_beyond_chance_fails() {
        let fails = |asked, kind: Counts| !failures(asked, &[kind], &[]).is_empty();
        assert!(fails(Asked::FalseAlarms, kind(0, rate(0.011, 0.5))));
        assert!(!fails(Asked::FalseAlarms, kind(0, rate(0.009, 0.5))));
        assert!(!fails(Asked::FalseAlarms, kind(10, rate(0.9, 1.0))), "a slowed model may be called worse");
        assert!(fails(Asked::Power, kind(30, rate(0.1, 0.94))));
        assert!(!fails(Asked::Power, kind(30, rate(0.1, 0.96))));
        assert!(!fails(Asked::Power, kind(20, rate(0.1, 0.2))), "less than the margin is not promised");
        let place = |low, high| Position { first: "load order", units: 9, change: low, low, high };
        for (low, high, fail) in [(0.005, 0.007, true), (-0.007, -0.005, true), (0.003, 0.007, false)] {
            assert_eq!(!failures(Asked::Bias, &[], &[place(low, high)]).is_empty(), fail, "{low}");
        }
    }

    #[test]
    fn effects_are_read_in_per_cent() {
        assert_eq!((permille("3"), permille("0.1"), permille("100%")), (Ok(30), Ok(1), Ok(1000)));
        for bad in ["0", "0.05", "101", "x", "NaN", "-1"] {
            assert!(permille(bad).is_err(), "{bad}");
        }
    }
}
