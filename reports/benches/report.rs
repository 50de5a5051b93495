//! How long a report of ten million samples takes, and how much memory: reading the record, every verdict, every file.
//! `cargo bench -p reports`; `BENCH_SAMPLES` asks for another number of samples.
//!
//! The record is written by a process of its own, so that its memory is not counted. Peak memory is printed once.
#![expect(clippy::unwrap_used, reason = "a benchmark may stop at what it did not expect")]
#![expect(clippy::print_stdout, reason = "peak memory is a result")]

#[path = "../src/testing.rs"]
#[expect(dead_code, reason = "tests need more of it")]
mod testing;

use criterion::{Criterion, SamplingMode};
use reports::{
    record,
    render::{Options, format},
    store,
    verdict::verdicts,
};
use std::{
    env, fs,
    hint::black_box,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use testing::Recipe;

/// Where the child process is to write the record.
const FIXTURE: &str = "BENCH_REPORT_FIXTURE";
const SAMPLES: &str = "BENCH_SAMPLES";
const DEFAULT_SAMPLES: u32 = 10_000_000;
const UNITS: u32 = 25;
const BLOCKS: u32 = 20;
/// Bursts of a block.
const BURSTS: u32 = 2;

fn samples() -> u32 {
    env::var(SAMPLES).map_or(DEFAULT_SAMPLES, |text| text.parse().unwrap())
}

fn recipe() -> Recipe {
    let vision = Recipe::vision();
    let bursts = UNITS * BLOCKS * BURSTS * vision.cases.len() as u32;
    Recipe { units: UNITS, blocks: BLOCKS, samples_per_burst: samples().div_ceil(bursts), ..vision }
}

/// The record, made by this program once more.
fn fixture(root: &Path) -> PathBuf {
    let written = Command::new(env::current_exe().unwrap()).env(FIXTURE, root).status().unwrap();
    assert!(written.success());
    let mut entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    entries.find(|path| path.is_dir()).unwrap()
}

/// All that `bench report` does.
fn report(dir: &Path) {
    let record = store::load(dir).unwrap();
    let verdicts = verdicts(&record);
    black_box(reports::write_all(dir, &record, &verdicts).unwrap());
}

/// Highest resident memory so far, MiB.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn step<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = work();
    println!("{name}: {:.2} s, peak so far {} MiB", began.elapsed().as_secs_f64(), peak_mib());
    result
}

/// Every part once, with its peak.
fn once(dir: &Path) {
    let record = step("load", || store::load(dir).unwrap());
    let verdicts = step("verdicts", || verdicts(&record));
    step("files of a report", || reports::write_all(dir, &record, &verdicts).unwrap());
    for name in ["samples-parquet", "samples-csv"] {
        let format = format(name).unwrap();
        let path = dir.join(format.file);
        step(name, || {
            let write =
                |out: &mut dyn std::io::Write| format.write(&record, &verdicts, &Options::default(), out);
            store::write_atomic_with(&path, write).unwrap();
        });
        println!("{name}: {} MB", fs::metadata(&path).unwrap().len() / 1_000_000);
        fs::remove_file(&path).unwrap();
    }
}

fn main() {
    if let Some(root) = env::var_os(FIXTURE) {
        recipe().run().write(Path::new(&root));
        return;
    }
    // cargo test asks every target whether it has tests
    if env::args().any(|arg| arg == "--test" || arg == "--list") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let dir = fixture(root.path());
    println!(
        "{} samples, journal of {} MB",
        samples(),
        fs::metadata(dir.join("journal.jsonl")).unwrap().len() / 1_000_000
    );
    once(&dir);
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("report");
    group.sampling_mode(SamplingMode::Flat).sample_size(10).warm_up_time(Duration::from_millis(1));
    group.bench_function("ten million samples", |bencher| bencher.iter(|| report(&dir)));
    group.finish();
    criterion.final_summary();
}
