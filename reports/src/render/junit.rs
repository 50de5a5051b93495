//! `junit.xml`: every judged metric as a test case, the way Jenkins, GitLab and others read them. Worse is a failure,
//! invalid an error, inconclusive is skipped. Only what Jenkins’ schema (junit-10.xsd) allows: it knows no properties
//! of a test case, so the figures stand in its output.

use super::{Format, Kept, Options, RenderError};
use crate::table::{Source, word};
use crate::text;
use crate::verdict::{ContrastRow, Verdict};
use crate::view::{ContrastView, Shown, View};
use maud::{Markup, PreEscaped, html};
use std::io::Write;

pub(super) const FORMAT: Format = Format {
    name: "junit",
    file: "junit.xml",
    kept: Kept::Always,
    text: true,
    about: "judged metrics as test cases in JUnit XML, for CI",
    render,
};

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

type Judged<'a, 'b> = (&'b ContrastView<'a>, &'a ContrastRow, Verdict);

/// How many test cases there are, and how many of them are no success.
#[derive(Default)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

impl Counts {
    fn of<'a>(verdicts: impl Iterator<Item = &'a Verdict>) -> Self {
        let mut counts = Self::default();
        for verdict in verdicts {
            counts.tests += 1;
            match verdict {
                Verdict::Worse => counts.failures += 1,
                Verdict::Invalid => counts.errors += 1,
                Verdict::Inconclusive => counts.skipped += 1,
                Verdict::Better | Verdict::Equivalent => {}
            }
        }
        counts
    }
}

fn render(source: Source<'_>, _: &Options, out: &mut dyn Write) -> Result<(), RenderError> {
    let view = View::new(source.record, source.verdicts);
    let devices = &view.plan().devices;
    let all: Vec<Judged<'_, '_>> = view.contrasts.iter().flat_map(judged).collect();
    let counts = Counts::of(all.iter().map(|(_, _, verdict)| verdict));
    let name = format!("bench {}", text::clean(&view.plan().suite.name));
    let suites = html! {
        testsuites name=(name) tests=(counts.tests) failures=(counts.failures) errors=(counts.errors) { "\n" }
    };
    let suites = suites.into_string();
    let (opening, closing) = suites.split_at(suites.len() - "</testsuites>".len());
    write!(out, "{DECLARATION}{opening}")?;
    for (at, device) in devices.iter().enumerate() {
        let here = |judged: &&Judged<'_, '_>| {
            view.case(judged.0.contrast.candidate).is_some_and(|(c, _)| c.device == at)
        };
        let cases: Vec<_> = all.iter().filter(here).collect();
        write!(out, "{}", suite(&view, &device.id, &cases).into_string())?;
    }
    writeln!(out, "{closing}")?;
    Ok(())
}

fn judged<'a, 'b>(contrast: &'b ContrastView<'a>) -> impl Iterator<Item = Judged<'a, 'b>> {
    contrast.rows().iter().filter_map(move |row| Some((contrast, row, row.verdict?)))
}

fn suite(view: &View<'_>, device: &str, cases: &[&Judged<'_, '_>]) -> Markup {
    let counts = Counts::of(cases.iter().map(|(_, _, verdict)| verdict));
    let (plan, record) = (view.plan(), view.record);
    let facts = [
        ("run", plan.run.clone()),
        ("seed", plan.seed.to_string()),
        ("bench", plan.version.clone()),
        ("record-seal", record.seal.to_string()),
    ];
    html! {
        testsuite name=(text::clean(device)) tests=(counts.tests) failures=(counts.failures)
            errors=(counts.errors) skipped=(counts.skipped) {
            "\n"
            properties { @for (name, value) in &facts { property name=(name) value=(text::clean(value)) {} } }
            "\n"
            @for judged in cases { (case(judged)) "\n" }
        }
        "\n"
    }
}

fn case((contrast, row, verdict): &Judged<'_, '_>) -> Markup {
    let name = format!("{}: {} against {}", row.metric.title, contrast.candidate, contrast.reference);
    let shown = Shown::of(row);
    let interval = if shown.interval.is_empty() { String::new() } else { format!(" ({})", shown.interval) };
    let message = format!("{}{interval}", shown.change);
    let reasons = row.reasons.iter().map(|reason| text::clean(&reason.to_string()).into_owned());
    let reasons = reasons.collect::<Vec<_>>().join("\n");
    let class = format!("{}.{}", word(&contrast.contrast.kind), contrast.candidate);
    html! {
        testcase name=(name) classname=(class) {
            @match verdict {
                Verdict::Worse => failure type="worse" message=(message) { (reasons) },
                Verdict::Invalid => error type="invalid" message=(message) { (reasons) },
                Verdict::Inconclusive => skipped type="inconclusive" message=(message) { (reasons) },
                Verdict::Better | Verdict::Equivalent => {}
            }
            (PreEscaped("<system-out>")) (figures(row, *verdict, &message)) (PreEscaped("</system-out>"))
        }
    }
}

fn figures(row: &ContrastRow, verdict: Verdict, message: &str) -> String {
    let value = |v: Option<f64>| v.map_or(text::NONE.to_owned(), |v| text::value(v, row.metric.unit));
    let mut figures = format!(
        "{}: {message}; reference {}, candidate {}",
        verdict.word(),
        value(row.reference),
        value(row.candidate)
    );
    for (name, p) in [("p", row.p_value), ("q", row.q_value)] {
        if let Some(p) = p {
            figures.push_str(&format!("; {name} {}", text::probability(p)));
        }
    }
    figures
}
