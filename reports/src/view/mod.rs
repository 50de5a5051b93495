//! What every format says in the same words: names of variants, the answer per contrast, the headline
//! and the order of rows. Concludes nothing that the verdicts do not say.

mod answer;
mod canaries;
mod distribution;
mod front;
mod headline;
mod shown;
mod side;

pub(crate) use answer::{Answer, symbol};
pub(crate) use canaries::so_far;
pub(crate) use distribution::Distribution;
pub(crate) use front::{Front, Member};
pub(crate) use headline::Headline;
pub use shown::outcome_words;
pub(crate) use shown::{Shown, is_cost, outcome_word, ratio_evidence, ratio_of};
pub(crate) use side::{Column, Row, Side, typical};

use crate::record::{CasePlan, Contrast, ContrastKind, Plan, RunRecord};
use crate::text;
use crate::verdict::{CaseSummary, ContrastRow, RatioEvidence, Verdict, Verdicts};
use protocol::metric;

/// One contrast with all of its rows.
pub(crate) struct ContrastView<'a> {
    /// Position in the plan.
    pub(crate) index: usize,
    pub(crate) contrast: Contrast,
    pub(crate) answer: Answer,
    pub(crate) candidate: Name,
    pub(crate) reference: Name,
    rows: &'a [ContrastRow],
}

/// How a case is called in this run: as short as it stays unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// `tflite-int8`, or with the model in front where there are several.
    pub(crate) variant: String,
    /// Runtime, device, threads: those that differ within the run; and that it was slowed on purpose. May be empty.
    pub(crate) detail: String,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.variant)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

/// The whole run, ready to be laid out.
pub(crate) struct View<'a> {
    pub(crate) record: &'a RunRecord,
    pub(crate) verdicts: &'a Verdicts,
    /// One per case of the plan.
    pub(crate) names: Vec<Name>,
    /// Contrasts by kind, then worst first.
    pub(crate) contrasts: Vec<ContrastView<'a>>,
}

impl<'a> View<'a> {
    pub(crate) fn new(record: &'a RunRecord, verdicts: &'a Verdicts) -> Self {
        let names = names(&record.plan);
        let mut contrasts = Vec::new();
        for rows in verdicts.rows.chunk_by(|a, b| a.contrast == b.contrast) {
            let Some(first) = rows.first() else { continue };
            let name = |case: usize| names.get(case).cloned();
            let (Some(candidate), Some(reference)) =
                (name(first.cases.candidate), name(first.cases.reference))
            else {
                continue;
            };
            contrasts.push(ContrastView {
                index: first.contrast,
                contrast: first.cases,
                answer: answer::answer(rows),
                candidate,
                reference,
                rows,
            });
        }
        let latency = |c: &ContrastView<'_>| c.ratio("latency_ns").map_or(0.0, |e| e.ratio);
        contrasts.sort_by(|a, b| {
            (a.contrast.kind.cmp(&b.contrast.kind))
                .then(a.answer.cmp(&b.answer))
                .then(latency(b).total_cmp(&latency(a)))
                .then(a.index.cmp(&b.index))
        });
        Self { record, verdicts, names, contrasts }
    }

    pub(crate) fn plan(&self) -> &'a Plan {
        &self.record.plan
    }

    pub(crate) fn of_kind(&self, kind: ContrastKind) -> impl Iterator<Item = &ContrastView<'a>> {
        self.contrasts.iter().filter(move |c| c.contrast.kind == kind)
    }

    pub(crate) fn case(&self, case: usize) -> Option<(&'a CasePlan, &'a CaseSummary)> {
        self.record.plan.cases.get(case).zip(self.verdicts.cases.get(case))
    }

    pub(crate) fn name(&self, case: usize) -> String {
        self.names.get(case).map(Name::to_string).unwrap_or_default()
    }

    /// The reference of all contrasts of kind [`ContrastKind::Reference`], where it is one.
    pub(crate) fn only_reference(&self) -> Option<usize> {
        let mut references = self.of_kind(ContrastKind::Reference).map(|c| c.contrast.reference);
        let first = references.next()?;
        references.all(|other| other == first).then_some(first)
    }

    /// What the contrasts of a kind are called.
    pub(crate) fn title(&self, kind: ContrastKind) -> String {
        let told = match kind {
            ContrastKind::Reference => match self.only_reference() {
                Some(case) => return format!("Against {}", self.name(case)),
                None => "Against the reference",
            },
            ContrastKind::Format => "ONNX against TFLite at equal precision, on the same kernels",
            ContrastKind::Runtime => "The same file on another runtime",
            ContrastKind::Stack => "ONNX against TFLite as shipped, each on its own runtime",
        };
        told.to_owned()
    }

    /// The margin of costs, and those that have one of their own.
    pub(crate) fn margins(&self) -> String {
        let suite = &self.plan().suite;
        let own = suite.margins.iter().map(|(name, margin)| {
            let short = metric(name).map_or(name.as_str(), |metric| metric.short);
            format!(", {} ±{}", text::clean(short), text::percent(*margin, 1))
        });
        format!("{}{}", text::percent(suite.margin, 1), own.collect::<String>())
    }

    /// How many rows have each verdict.
    pub(crate) fn counts(&self) -> Vec<(Verdict, usize)> {
        let all =
            [Verdict::Better, Verdict::Worse, Verdict::Equivalent, Verdict::Inconclusive, Verdict::Invalid];
        let count = |v| self.verdicts.rows.iter().filter(|row| row.verdict == Some(v)).count();
        all.into_iter().map(|v| (v, count(v))).collect()
    }
}

impl<'a> ContrastView<'a> {
    /// All rows, in the order of the list of metrics.
    pub(crate) fn rows(&self) -> &'a [ContrastRow] {
        self.rows
    }

    /// The candidate; with the reference where that is not the same for all.
    pub(crate) fn label(&self) -> String {
        match self.contrast.kind {
            ContrastKind::Reference => self.candidate.to_string(),
            ContrastKind::Format | ContrastKind::Runtime | ContrastKind::Stack => {
                format!("{} vs {}", self.candidate, self.reference)
            }
        }
    }

    pub(crate) fn row(&self, metric: &str) -> Option<&'a ContrastRow> {
        self.rows.iter().find(|row| row.metric.name == metric)
    }

    pub(crate) fn ratio(&self, metric: &str) -> Option<&'a RatioEvidence> {
        self.row(metric).and_then(ratio_evidence)
    }

    /// The row that says whether the task is still done as well.
    pub(crate) fn quality(&self) -> Option<&'a ContrastRow> {
        answer::quality(self.rows)
    }
}

/// Short names: parts that are the same for all cases are left out.
fn names(plan: &Plan) -> Vec<Name> {
    let all_same = |part: &dyn Fn(&CasePlan) -> String| {
        let mut parts = plan.cases.iter().map(part);
        let first = parts.next();
        parts.all(|other| Some(other) == first)
    };
    let device = |case: &CasePlan| plan.devices.get(case.device).map(|d| d.id.clone()).unwrap_or_default();
    let (model, runtime) = (|c: &CasePlan| c.variant.model.clone(), |c: &CasePlan| c.runtime.to_string());
    let threads = |c: &CasePlan| text::counted(usize::from(c.threads), "thread");
    let parts: [&dyn Fn(&CasePlan) -> String; 3] = [&runtime, &threads, &device];
    let shown: Vec<_> = parts.into_iter().filter(|part| !all_same(*part)).collect();
    let one_model = all_same(&model);
    let name = |case: &CasePlan| {
        let variant = if one_model { case.variant.variant.clone() } else { case.variant.to_string() };
        let slowed = case.slowdown_permille.map(|permille| {
            format!("slowed by {} on purpose", text::percent(f64::from(permille) / 1000.0, 1))
        });
        let detail: Vec<String> = shown.iter().map(|part| part(case)).chain(slowed).collect();
        Name {
            variant: text::clean(&variant).into_owned(),
            detail: text::clean(&detail.join(", ")).into_owned(),
        }
    };
    plan.cases.iter().map(name).collect()
}
