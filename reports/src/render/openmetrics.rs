//! The run as metrics for time series: the text that Prometheus, node_exporter’s textfile collector and GitLab’s metrics
//! reports read. SI units; only gauges, which all three know.

use super::{Format, Kept, Options, RenderError};
use crate::table::{Source, word};
use crate::text;
use crate::verdict::Verdict;
use crate::view::{ContrastView, View, is_cost, ratio_evidence, ratio_of};
use std::collections::BTreeSet;
use std::io::Write;

pub(super) const FORMAT: Format = Format {
    name: "openmetrics",
    file: "metrics.prom",
    kept: Kept::OnRequest,
    text: true,
    about: "cases, ratios and verdicts as OpenMetrics text, for time series",
    render,
};

/// Labels and a value.
pub(crate) type Point = (Vec<(&'static str, String)>, f64);

fn render(source: Source<'_>, _: &Options, out: &mut dyn Write) -> Result<(), RenderError> {
    let view = View::new(source.record, source.verdicts);
    cases(&view, out)?;
    contrasts(&view, out)?;
    let complete = f64::from(u8::from(view.record.finished.is_some()));
    family(
        out,
        "bench_run_complete",
        "1 when the run came to its end, 0 when it was cut off",
        [(vec![("suite", view.plan().suite.name.clone())], complete)],
    )?;
    out.write_all(b"# EOF\n")?;
    Ok(())
}

/// What each case is by itself.
fn cases(view: &View<'_>, out: &mut dyn Write) -> Result<(), RenderError> {
    type Get = fn(&crate::verdict::CaseSummary) -> Option<f64>;
    let seconds = |ns: f64| ns / 1e9;
    let families: [(&str, &str, Get); 5] = [
        ("bench_latency_seconds", "median steady-state latency of a case", |c| {
            c.latency.as_ref().and_then(|l| l.percentiles.first()).and_then(|p50| p50.value)
        }),
        ("bench_init_seconds", "median time to load and compile", |c| c.init_ns),
        ("bench_first_inference_seconds", "median time of the first inference of a process", |c| {
            c.first_inference_ns
        }),
        ("bench_memory_peak_bytes", "median over trials of the highest peak", |c| c.memory_peak_bytes),
        ("bench_model_bytes", "size of the model file", |c| Some(c.model_bytes as f64)),
    ];
    let labels = |case: usize| case_labels(view, case);
    for (name, help, get) in families {
        let scaled = |v: f64| if name.ends_with("_seconds") { seconds(v) } else { v };
        let points = view.verdicts.cases.iter().filter_map(|c| Some((labels(c.case)?, scaled(get(c)?))));
        family(out, name, help, points)?;
    }
    let metric = view.plan().suite.task.metric().name;
    let points = view.verdicts.cases.iter().filter_map(|c| {
        let mut labels = labels(c.case)?;
        labels.push(("metric", metric.to_owned()));
        Some((labels, c.score?.point))
    });
    family(
        out,
        "bench_score",
        "score of the task on the labelled examples, in the unit of the metric",
        points,
    )
}

fn case_labels(view: &View<'_>, case: usize) -> Option<Vec<(&'static str, String)>> {
    let (plan, _) = view.case(case)?;
    let device = view.plan().devices.get(plan.device).map(|d| d.id.clone()).unwrap_or_default();
    Some(vec![
        ("suite", view.plan().suite.name.clone()),
        ("device", device),
        ("variant", plan.variant.to_string()),
        ("runtime", plan.runtime.to_string()),
        ("threads", plan.threads.to_string()),
    ])
}

/// What is concluded.
fn contrasts(view: &View<'_>, out: &mut dyn Write) -> Result<(), RenderError> {
    let rows = || view.contrasts.iter().flat_map(|c| c.rows().iter().map(move |row| (c, row)));
    let labels = |c: &ContrastView<'_>, metric: &str| -> Option<Vec<(&'static str, String)>> {
        let mut labels = case_labels(view, c.contrast.candidate)?;
        let (reference, _) = view.case(c.contrast.reference)?;
        labels.push(("reference", reference.variant.to_string()));
        labels.push(("reference_runtime", reference.runtime.to_string()));
        labels.push(("kind", word(&c.contrast.kind)));
        labels.push(("metric", metric.to_owned()));
        Some(labels)
    };
    let ratios = rows().filter(|(_, row)| is_cost(row));
    let ratios = ratios.filter_map(|(c, row)| Some((labels(c, row.metric.name)?, ratio_of(row)?)));
    family(out, "bench_ratio", "candidate over reference, of a cost", ratios)?;
    for (name, help, high) in [
        ("bench_ratio_low", "lower end of the 95 % interval of the ratio", false),
        ("bench_ratio_high", "its upper end", true),
    ] {
        let end = rows().filter_map(|(c, row)| {
            let plain = ratio_evidence(row)?.plain;
            Some((labels(c, row.metric.name)?, if high { plain.high } else { plain.low }))
        });
        family(out, name, help, end)?;
    }
    let verdicts = rows().filter_map(|(c, row)| {
        let mut labels = labels(c, row.metric.name)?;
        labels.push(("verdict", row.verdict?.word().to_owned()));
        Some((labels, severity(row.verdict?)))
    });
    family(out, "bench_verdict", "1 worse or invalid, 0 otherwise; the word is a label", verdicts)
}

fn severity(verdict: Verdict) -> f64 {
    f64::from(u8::from(matches!(verdict, Verdict::Worse | Verdict::Invalid)))
}

/// One family; nothing where there is no point. What is no finite number is no point, and of points that are called the
/// same only the first is one: a reader would refuse the whole file.
pub(crate) fn family(
    out: &mut dyn Write,
    name: &str,
    help: &str,
    points: impl IntoIterator<Item = Point>,
) -> Result<(), RenderError> {
    let mut points = points.into_iter().filter(|(_, value)| value.is_finite()).peekable();
    if points.peek().is_none() {
        return Ok(());
    }
    write!(out, "# TYPE {name} gauge\n# HELP {name} {help}\n")?;
    let mut seen = BTreeSet::new();
    for (labels, value) in points {
        let labels: Vec<String> =
            labels.iter().map(|(name, text)| format!("{name}=\"{}\"", escaped(text))).collect();
        let labels = labels.join(",");
        if !seen.contains(&labels) {
            writeln!(out, "{name}{{{labels}}} {value}")?;
            seen.insert(labels);
        }
    }
    Ok(())
}

/// Untrusted text between the quotes of a label.
fn escaped(untrusted: &str) -> String {
    text::clean(untrusted).replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_does_not_end_its_label() {
        assert_eq!(escaped("a\"} 1\nb\\"), "a\\\"} 1 b\\\\");
    }
}
