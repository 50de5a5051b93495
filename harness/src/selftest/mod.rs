//! The measuring measured: one shipped model against itself in many independent cells, equal or slowed down by a
//! known share, through the very machinery of real runs. Here is what is measured; `counts` and `bias` say what
//! came out. Decides no verdict of its own: it counts those of `reports`.

mod bias;
mod counts;

pub(crate) use bias::{Position, positions};
pub(crate) use counts::{Counts, Rate, counts};

use crate::{
    exit::{CommandResult, ExitWith, Failure},
    selection::{Entrant, Selection, host_file, options, random},
    settings::Settings,
};
use protocol::{ContrastKind, RuntimeId, Sha256Hex, Task};
use reports::record::{Subject, SuiteFacts};
use suites::{Burst, Measure, RuntimeOptions, WarmUpRules};

/// Suite and variant whose model is measured: some tenths of a millisecond, so that a short steady state has hundreds of
/// samples, and a record of hundreds of cells stays small.
const SUITE: &str = "audio";
const VARIANT: &str = "tflite-fp32";

/// Confidence of every interval that a selftest prints.
pub(crate) const LEVEL: f64 = 0.95;

/// Most cells of one run.
pub(crate) const MAX_CELLS: u32 = 1000;

const MARGIN: f64 = 0.03;
const MAX_UNITS: u32 = 40;

/// What is measured. A cell is two cases in processes of their own, compared in units of their own until the rule
/// has an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cells {
    /// Cells of every kind.
    pub(crate) each: u32,
    /// The kinds: by how much the second case of a cell is slowed down.
    pub(crate) slowdown_permille: Vec<u16>,
}

/// Short sides: a cell is to cost seconds, and what is asked is whether the rule copes with the noise.
fn measure() -> Measure {
    Measure {
        example: 0,
        max_examples: None,
        warm_up: WarmUpRules { min_iterations: 10, min_ms: 75, max_ms: 1_000, agree_permille: 20 },
        burst: Burst { min_iterations: 5, min_ms: 25 },
        min_iterations: 50,
        min_ms: 250,
        max_ms: 10_000,
        time_budget_s: None,
        schedule: None,
    }
}

/// A run of these cells.
///
/// # Errors
/// More than one runtime, or too many cells.
pub(crate) fn selection(cells: &Cells, settings: &Settings, seed: u64) -> CommandResult<Selection> {
    if settings.runtimes.len() > 1 {
        return Err(Failure::usage("a selftest measures one runtime: give --runtime once"));
    }
    let kinds = cells.slowdown_permille.len();
    let all = usize::try_from(cells.each).unwrap_or(usize::MAX).saturating_mul(kinds);
    if all == 0 || all > MAX_CELLS as usize {
        return Err(Failure::usage(format!(
            "a selftest has 1 to {MAX_CELLS} cells in all, not {} of {kinds} kinds",
            cells.each
        )));
    }
    let suite = suites::lookup(SUITE).or_usage()?;
    let Some(variant) = suite.variants.iter().find(|v| v.id.variant == VARIANT) else {
        return Err(Failure::usage(format!("the suite {SUITE} has no {VARIANT}")));
    };
    let file = host_file(&variant.file).or_usage()?;
    let mut entrants = Vec::with_capacity(2 * all);
    for permille in &cells.slowdown_permille {
        for cell in 1..=cells.each {
            let reference = Some(entrants.len());
            let slowdown = Some(*permille).filter(|p| *p > 0);
            for (name, slowdown_permille) in [("a", None), ("b", slowdown)] {
                let id = format!("selftest@{permille:04}-{cell:04}-{name}");
                entrants.push(Entrant {
                    id: id.parse().or_usage()?,
                    format: variant.format,
                    declared: variant.precision,
                    file: file.clone(),
                    reference,
                    slowdown_permille,
                });
            }
        }
    }
    let (dataset, feed, data) = random(1, seed);
    let title = format!("{} against itself, {all} times over", variant.id);
    Ok(Selection {
        subject: Subject::Selftest { cells: cells.each, slowdown_permille: cells.slowdown_permille.clone() },
        suite: SuiteFacts {
            name: "selftest".to_owned(),
            title,
            sha256: Sha256Hex::of_bytes(b""),
            task: Task::Agreement {},
            margin: settings.margin.all.unwrap_or(MARGIN),
            margins: settings.margin.own.clone(),
            accuracy_margin: suite.accuracy_margin(),
            max_units: settings.units.unwrap_or(MAX_UNITS),
            precision: settings.precision.map(|share| share.0),
        },
        kinds: vec![ContrastKind::Reference],
        entrants,
        runtimes: match settings.runtimes.as_slice() {
            [] => vec![RuntimeId::builtin()],
            asked => asked.to_vec(),
        },
        options: options(&RuntimeOptions::new(), settings),
        threads: settings.threads.unwrap_or(1),
        measure: measure(),
        schedule: settings.schedule,
        budget: settings.time_budget.map(|span| span.0),
        together: 2,
        profiles_only: false,
        costs_only: true,
        pinned: None,
        canaries: false,
        dataset,
        feed,
        data,
        notes: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Layer;

    fn drawn(each: u32, slowdown_permille: &[u16]) -> CommandResult<Selection> {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("bench.toml");
        std::fs::write(&empty, "").unwrap();
        let settings = Settings::resolve(Layer::default(), Some(&empty)).unwrap();
        selection(&Cells { each, slowdown_permille: slowdown_permille.to_vec() }, &settings, 1)
    }

    #[test]
    fn cells_are_pairs_of_the_same_bytes() {
        let drawn = drawn(3, &[0, 30]).unwrap();
        assert_eq!((drawn.entrants.len(), drawn.together, drawn.budget), (12, 2, None));
        for (at, pair) in drawn.entrants.chunks(2).enumerate() {
            assert_eq!(pair[0].file.sha256, pair[1].file.sha256);
            assert_eq!((pair[0].reference, pair[1].reference), (Some(2 * at), Some(2 * at)));
            assert_eq!(pair[0].slowdown_permille, None);
            assert_eq!(pair[1].slowdown_permille, (at >= 3).then_some(30));
        }
    }

    #[test]
    fn too_many_and_none_are_refused() {
        for (each, kinds) in [(0, vec![0]), (1001, vec![0]), (501, vec![10, 30]), (5, vec![])] {
            let message = drawn(each, &kinds).unwrap_err().error.to_string();
            assert!(message.contains("1 to 1000 cells"), "{message}");
        }
    }
}
