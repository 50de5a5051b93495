//! The table over all models: every row is made by processes of their own, so that a runtime that dies costs its row.

use super::{Case, Settings, median, newest, write, wrong};
use runtimes::Result;
use std::collections::BTreeMap;
use std::process::Command;

/// What is known of one model.
struct Row {
    name: String,
    /// Format and precision.
    group: String,
    /// ns of an invoke, ours and theirs.
    invoke: [f64; 2],
    /// Median, and both ends of its interval.
    ratio: [f64; 3],
    difference: f64,
    /// ns to get ready, ours and theirs.
    ready: [f64; 2],
    /// Peak bytes of a process, ours and theirs.
    peak: [f64; 2],
}

/// Measures all models; rows go to stderr as they come.
///
/// # Errors
/// There is no library, or this program cannot start itself.
pub(super) fn print(cases: &[Case], settings: &Settings, arguments: &[String]) -> Result<String> {
    let mut text = head(settings)?;
    let (mut rows, mut left_out) = (Vec::new(), Vec::new());
    for case in cases {
        match row(case, settings, arguments) {
            Ok(row) => {
                write(&mut std::io::stderr(), &line(&row));
                rows.push(row);
            }
            Err(error) => left_out.push(format!("{}: {error}", name(case))),
        }
    }
    text += &means(&rows);
    text += "\n| model | precision | ours us | theirs us | ratio [95 %] | outputs differ by | ready ms | theirs ms | peak MB | theirs MB |\n";
    text += "|---|---|---|---|---|---|---|---|---|---|\n";
    rows.sort_by(|a, b| b.ratio[0].total_cmp(&a.ratio[0]));
    rows.iter().for_each(|row| text += &line(row));
    if !left_out.is_empty() {
        text += "\nLeft out:\n";
        left_out.iter().for_each(|reason| text += &format!("- {}\n", reason.replace('\n', " ")));
    }
    Ok(text)
}

fn head(settings: &Settings) -> Result<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|l| l.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|l| l.split(':').nth(1)).map_or("?", str::trim).to_owned()
    };
    let cpu = ["model name", "cpu family", "model"].map(field);
    let (litert, ort) =
        (newest(&settings.libraries, "litert")?.0, newest(&settings.libraries, "onnxruntime")?.0);
    let engine = runtimes::runtime("builtin")?.version();
    Ok(format!(
        "{}, family {}, model {}{}; LiteRT {litert} (XNNPACK), ONNX Runtime {ort}, engine {engine}; \
         {} thread(s), {} pairs of bursts\n\n",
        cpu[0],
        cpu[1],
        cpu[2],
        if settings.cap { ", AVX-512 hidden from the libraries" } else { "" },
        settings.threads,
        settings.bursts
    ))
}

fn name(case: &Case) -> String {
    let parts: Vec<_> =
        case.path.components().rev().take(2).map(|c| c.as_os_str().to_string_lossy()).collect();
    format!("{}/{}", parts.get(1).map_or("", |p| p), parts.first().map_or("", |p| p))
}

fn row(case: &Case, settings: &Settings, arguments: &[String]) -> Result<Row> {
    let child = |job| child(job, case, settings, arguments);
    let pair = child("--pair")?;
    let [precision, numbers @ ..] = pair.as_slice() else { return Err(wrong("no answer")) };
    let [us, them, ratio, low, high, difference] = parsed(numbers)?;
    let (mut ready, mut peak) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    for _ in 0..settings.fresh {
        for (side, job) in ["--ours", "--theirs"].into_iter().enumerate() {
            let [ns, _first, bytes] = parsed(&child(job)?)?;
            ready[side].push(ns);
            peak[side].push(bytes);
        }
    }
    let format = case.path.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Row {
        name: name(case),
        group: format!("{format} {precision}"),
        invoke: [us, them],
        ratio: [ratio, low, high],
        difference,
        ready: ready.map(|mut all| median(&mut all)),
        peak: peak.map(|mut all| median(&mut all)),
    })
}

/// The fields that this program answers with when it does one job, with the other settings as they are.
fn child(job: &str, case: &Case, settings: &Settings, arguments: &[String]) -> Result<Vec<String>> {
    let io = |source| runtimes::Error::Io { path: "/proc/self/exe".into(), source };
    let words = arguments[1..].iter().filter(|word| {
        ["threads", "core", "bursts", "fresh", "tier", "cap"]
            .iter()
            .any(|key| word.starts_with(&format!("{key}=")))
    });
    let mut command = Command::new(std::env::current_exe().map_err(io)?);
    command.arg(job).arg(&settings.libraries).args(words).arg(&case.text).env("ORT_DISABLE_TELEMETRY", "1");
    let output = command.output().map_err(io)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    // A runtime may print what it likes: the answer begins with a word of ours.
    let answer = text.lines().find_map(|l| l.strip_prefix("pair\t").or_else(|| l.strip_prefix("fresh\t")));
    let answer = answer.filter(|_| output.status.success());
    let last = said.lines().last().unwrap_or_default();
    let answer = answer.ok_or_else(|| wrong(&format!("{job}: {}; {last}", output.status)))?;
    Ok(answer.split('\t').map(str::to_owned).collect())
}

fn parsed<const N: usize>(fields: &[String]) -> Result<[f64; N]> {
    let numbers: Vec<f64> = fields.iter().filter_map(|field| field.parse().ok()).collect();
    numbers.try_into().map_err(|_| wrong("an answer of another size"))
}

fn line(row: &Row) -> String {
    let Row { name, group, invoke: [us, them], ratio: [ratio, low, high], difference, ready, peak } = row;
    format!(
        "| {name} | {group} | {:.1} | {:.1} | {ratio:.3} [{low:.3}, {high:.3}] | {difference:.1e} | {:.1} | {:.1} | {:.1} | {:.1} |\n",
        us / 1e3,
        them / 1e3,
        ready[0] / 1e6,
        ready[1] / 1e6,
        peak[0] / 1e6,
        peak[1] / 1e6
    )
}

/// Geometric means by format and precision, and how far the worst model is.
fn means(rows: &[Row]) -> String {
    let mut groups: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        groups.entry(row.group.as_str()).or_default().push(row);
        let format = row.group.split(' ').next().unwrap_or_default();
        groups.entry(format).or_default().push(row);
    }
    let mut text = "| format, precision | models | latency ratio | worst | over 1.5 | ready ratio | peak memory ratio |\n|---|---|---|---|---|---|---|\n".to_owned();
    for (group, rows) in groups {
        let mean = |of: &dyn Fn(&Row) -> f64| {
            let sum: f64 = rows.iter().map(|row| of(row).ln()).sum();
            (sum / rows.len() as f64).exp()
        };
        let worst = rows.iter().map(|row| row.ratio[0]).fold(0.0, f64::max);
        let over = rows.iter().filter(|row| row.ratio[0] > 1.5).count();
        text += &format!(
            "| {group} | {} | {:.3} | {worst:.2} | {over} | {:.3} | {:.3} |\n",
            rows.len(),
            mean(&|row| row.ratio[0]),
            mean(&|row| row.ready[0] / row.ready[1]),
            mean(&|row| row.peak[0] / row.peak[1])
        );
    }
    text
}
