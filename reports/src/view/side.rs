//! Several runs and devices side by side: the same variant in the same row, a column for each device of each run.
//! Concludes nothing across columns: what two sessions can be compared for is `diff`'s to say.

use super::{Answer, ContrastView, View};
use crate::record::{CaseIndex, CasePlan, ContrastKind};
use crate::table::Source;
use crate::text;
use crate::verdict::CaseSummary;
use stats::Percentile;
use std::collections::{BTreeMap, BTreeSet};

/// Columns that are laid out.
pub(crate) const MAX_COLUMNS: usize = 12;

/// All of it.
pub(crate) struct Side<'a> {
    pub(crate) runs: Vec<View<'a>>,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
    /// Columns beyond the most that are laid out.
    pub(crate) omitted: usize,
}

/// A device of a run.
pub(crate) struct Column {
    /// `A`, `B`, …: stands for the run.
    pub(crate) letter: String,
    /// Position of the run.
    pub(crate) run: usize,
    /// Position of the device in its plan.
    pub(crate) device: usize,
    /// Its id.
    pub(crate) id: String,
}

/// A variant.
pub(crate) struct Row {
    /// With what sets it apart from the other rows.
    pub(crate) name: String,
    /// Its case in each column.
    pub(crate) cases: Vec<Option<CaseIndex>>,
    /// Not the same file in all of them.
    pub(crate) files_differ: bool,
}

/// What makes a case the same case in another run: suite, variant, runtime and threads.
type Key = (String, String, String, u16);

impl<'a> Side<'a> {
    pub(crate) fn new(runs: &[Source<'a>]) -> Self {
        let runs: Vec<View<'a>> = runs.iter().map(|run| View::new(run.record, run.verdicts)).collect();
        let mut columns = Vec::new();
        for (run, view) in runs.iter().enumerate() {
            for (device, plan) in view.plan().devices.iter().enumerate() {
                let id = text::clean(&plan.id).into_owned();
                columns.push(Column { letter: letter(run), run, device, id });
            }
        }
        let omitted = columns.len().saturating_sub(MAX_COLUMNS);
        columns.truncate(MAX_COLUMNS);
        let rows = rows(&runs, &columns);
        Self { runs, columns, rows, omitted }
    }

    /// What the run of a column says of a variant against its own reference.
    pub(crate) fn contrast(&self, row: &Row, column: usize) -> Option<&ContrastView<'a>> {
        let case = (*row.cases.get(column)?)?;
        self.view(column)?.of_kind(ContrastKind::Reference).find(|c| c.contrast.candidate == case)
    }

    /// The run of a column.
    pub(crate) fn view(&self, column: usize) -> Option<&View<'a>> {
        self.runs.get(self.columns.get(column)?.run)
    }

    /// The variant of this row is what the others of its column are compared with.
    pub(crate) fn is_reference(&self, row: &Row, column: usize) -> bool {
        let case = row.cases.get(column).copied().flatten();
        case.is_some() && self.view(column).and_then(View::only_reference) == case
    }

    /// One sentence of what holds everywhere, and one of what does not.
    pub(crate) fn headline(&self) -> (String, String) {
        let devices: BTreeSet<&str> = self.columns.iter().map(|column| column.id.as_str()).collect();
        let title = format!(
            "{} on {}, side by side",
            text::counted(self.runs.len(), "run"),
            text::counted(devices.len(), "device")
        );
        let (mut same, mut split): (BTreeMap<Answer, Vec<&str>>, Vec<String>) = (BTreeMap::new(), Vec::new());
        for row in &self.rows {
            let answers: Vec<(usize, Answer)> = (0..self.columns.len())
                .filter_map(|column| Some((column, self.contrast(row, column)?.answer)))
                .collect();
            let kinds: BTreeSet<Answer> = answers.iter().map(|(_, answer)| *answer).collect();
            match (kinds.len(), kinds.first()) {
                (1, Some(answer)) if answers.len() > 1 => same.entry(*answer).or_default().push(&row.name),
                (0 | 1, _) => {}
                _ => {
                    let of = |(column, answer): &(usize, Answer)| {
                        format!("{} {}", self.columns[*column].letter, answer.word())
                    };
                    let of: Vec<String> = answers.iter().map(of).collect();
                    split.push(format!("{} ({})", row.name, of.join(", ")));
                }
            }
        }
        let agreed = same
            .iter()
            .rev()
            .map(|(answer, names)| format!("{}: {}.", text::capital(answer.word()), names.join(", ")));
        let agreed: Vec<String> = agreed.collect();
        let mut detail = match agreed.is_empty() {
            true => String::new(),
            false => format!("The same answer everywhere – {}", agreed.join(" ")),
        };
        if !split.is_empty() {
            let space = if detail.is_empty() { "" } else { " " };
            detail.push_str(&format!("{space}Not the same everywhere: {}.", split.join("; ")));
        }
        (title, detail)
    }
}

/// Median latency of a case in ns; `None` with too few samples.
pub(crate) fn typical(summary: &CaseSummary) -> Option<f64> {
    let percentiles = summary.latency.as_ref()?.percentiles.iter();
    percentiles.filter(|row| row.percentile == Percentile::P50).find_map(|row| row.value)
}

fn letter(run: usize) -> String {
    match u8::try_from(run) {
        Ok(n) if n < 26 => char::from(b'A' + n).to_string(),
        _ => format!("R{}", run + 1),
    }
}

/// The rows, in the order in which their variants first appear.
fn rows(runs: &[View<'_>], columns: &[Column]) -> Vec<Row> {
    let key = |view: &View<'_>, case: &CasePlan| -> Key {
        (view.plan().suite.name.clone(), case.variant.to_string(), case.runtime.to_string(), case.threads)
    };
    let mut order: Vec<Key> = Vec::new();
    let mut found: BTreeMap<Key, Vec<Option<CaseIndex>>> = BTreeMap::new();
    for (at, column) in columns.iter().enumerate() {
        let Some(view) = runs.get(column.run) else { continue };
        let cases =
            view.plan().variants().iter().enumerate().filter(|(_, case)| case.device == column.device);
        for (index, case) in cases {
            let key = key(view, case);
            let cases = found.entry(key.clone()).or_insert_with(|| {
                order.push(key);
                vec![None; columns.len()]
            });
            cases[at] = Some(index);
        }
    }
    let many = |part: &dyn Fn(&Key) -> String| order.iter().map(part).collect::<BTreeSet<_>>().len() > 1;
    let model = |key: &Key| key.1.split('@').next().unwrap_or_default().to_owned();
    let (suites, models) = (many(&|key| key.0.clone()), many(&model));
    let (runtimes, threads) = (many(&|key| key.2.clone()), many(&|key| key.3.to_string()));
    let name = |key: &Key| {
        let variant = if models { key.1.as_str() } else { key.1.split('@').next_back().unwrap_or(&key.1) };
        let details = [
            suites.then(|| key.0.clone()),
            runtimes.then(|| key.2.clone()),
            threads.then(|| text::counted(usize::from(key.3), "thread")),
        ];
        let details: Vec<String> = details.into_iter().flatten().collect();
        let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
        text::clean(&format!("{variant}{details}")).into_owned()
    };
    let row = |key: &Key| {
        let cases = found.remove(key).unwrap_or_default();
        let hash = |(at, case): (usize, &Option<CaseIndex>)| {
            let case = runs.get(columns.get(at)?.run)?.plan().cases.get((*case)?)?;
            Some(case.model_sha256.clone())
        };
        let files: BTreeSet<_> = cases.iter().enumerate().filter_map(hash).collect();
        Row { name: name(key), files_differ: files.len() > 1, cases }
    };
    order.iter().map(row).collect()
}
