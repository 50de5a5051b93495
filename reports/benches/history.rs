//! How long a year of a thousand series takes to read, and what it takes on disk: file by file as the nights left it,
//! and put together by months. `cargo bench -p reports --bench history`.
#![expect(clippy::unwrap_used, reason = "a benchmark may stop at what it did not expect")]
#![expect(clippy::print_stdout, reason = "bytes and CPU time are results")]

use criterion::{Criterion, SamplingMode};
use reports::history::{Files, RAW_NIGHTS};
use reports::history::{Folder, History, Nights, Row, SeriesKey, trend};
use stats::{Pelt, Rng};
use std::{hint::black_box, time::Duration};

const SERIES: usize = 1000;
const NIGHTS: usize = 365;
/// Days of a month, beginning with January.
const MONTHS: [usize; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

fn key(series: usize) -> SeriesKey {
    let metrics = ["latency_ns", "init_ns", "first_inference_ns", "memory_peak_bytes", "accuracy_top1"];
    SeriesKey {
        device: format!("phone-{:02}", series / 20),
        suite: "vision".into(),
        variant: format!("mobilenet@tflite-{}", series / 5 % 4),
        runtime: "litert/xnnpack".into(),
        threads: 4,
        options: String::new(),
        metric: metrics[series % 5].into(),
    }
}

fn row(series: usize, night: &str, run: &str, rng: &mut Rng) -> Row {
    let value = 20e6 * (1.0 + series as f64 / 1000.0) * (0.015 * rng.normal()).exp();
    let ratio = 4.0 * (0.006 * rng.normal()).exp();
    let hash = |name: &str| protocol::Sha256Hex::of_bytes(name.as_bytes()).to_string();
    Row {
        key: key(series),
        night: night.into(),
        night_id: Some(format!("{night}-0001")),
        run: run.into(),
        measured_at: format!("{night}T02:00:00Z"),
        host: Some("farm-1".into()),
        device_model: Some("Pixel 8".into()),
        os: Some("Android 16, kernel 6.1.99".into()),
        agent: Some("0.1.0 0123456789ab".into()),
        runtime_version: Some("2.3.0 XNNPACK".into()),
        library_sha256: Some(hash("library")),
        model_sha256: hash(&format!("model {}", series / 5 % 4)),
        data_sha256: Some(hash("data")),
        value: Some(value),
        low: Some(value * 0.99),
        high: Some(value * 1.01),
        units: 8,
        valid: true,
        reasons: None,
        reference_sha256: Some(hash("reference")),
        reference_stack: Some("litert/xnnpack 2.3.0".into()),
        ratio: Some(ratio),
        ratio_low: Some(ratio * 0.995),
        ratio_high: Some(ratio * 1.005),
    }
}

fn nights() -> impl Iterator<Item = String> {
    let days = MONTHS.into_iter().enumerate();
    days.flat_map(|(month, days)| (1..=days).map(move |day| format!("2026-{:02}-{day:02}", month + 1)))
}

fn year(history: &History) {
    let mut rng = Rng::new(42);
    for night in nights() {
        let run = format!("{}-020000-ab12", night.replace('-', ""));
        let rows: Vec<Row> = (0..SERIES).map(|series| row(series, &night, &run, &mut rng)).collect();
        assert!(history.append(&rows).unwrap().new);
    }
}

fn megabytes(folder: &std::path::Path) -> f64 {
    Folder::new(folder).list("").unwrap().iter().map(|entry| entry.bytes as f64).sum::<f64>() / 1e6
}

/// CPU time of this process in ms; NaN where the system does not tell.
fn cpu_ms() -> f64 {
    let told = std::fs::read_to_string("/proc/self/schedstat").ok();
    let ns = told.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    ns.map_or(f64::NAN, |ns| ns / 1e6)
}

fn measure(criterion: &mut Criterion, name: &str, history: &History) {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat).sample_size(20).measurement_time(Duration::from_secs(5));
    group.bench_function("one series", |b| {
        b.iter(|| {
            let rows = history.read(black_box(&key(700)), &Nights::ALL).unwrap().found;
            assert_eq!(rows.len(), NIGHTS);
        });
    });
    group.sample_size(10).bench_function("list of series", |b| {
        b.iter(|| assert_eq!(history.series().unwrap().found.len(), SERIES));
    });
    group.finish();
    let started = cpu_ms();
    let all = history.read_all(&Nights::since("2026-09-03")).unwrap().found;
    let read = cpu_ms();
    let changes: usize = all.values().map(|rows| trend(rows, Pelt::PROPOSE).changes.len()).sum();
    println!(
        "{name}: 120 nights of all series read in {:.0} ms, looked at in {:.0} ms of CPU, {changes} changes",
        read - started,
        cpu_ms() - read
    );
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::folder(folder.path());
    year(&history);
    println!("{SERIES} series x {NIGHTS} nights, a file per night: {:.1} MB", megabytes(folder.path()));
    let mut criterion = Criterion::default().configure_from_args();
    measure(&mut criterion, "a file per night", &history);
    let started = cpu_ms();
    history.compact("2027-01-01", RAW_NIGHTS).unwrap();
    println!("put together in {:.0} ms of CPU: {:.1} MB", cpu_ms() - started, megabytes(folder.path()));
    measure(&mut criterion, "a file per month", &history);
    criterion.final_summary();
}
