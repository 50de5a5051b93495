//! A farm that never was: some weeks of nights, a history with a step of 3 %, sick devices, files that are damaged or
//! being written, and names that were chosen to do harm.

use farm::{
    device::{Canaries, DeviceCard, Health, State},
    job::{Job, JobId, JobOutcome, JobResult, Subject, Work},
    night::{ChangeLine, Ended, JobLine, NIGHT_SCHEMA, NightEntry, NightPlan, Summary, VerdictLine},
};
use jiff::{Span, civil::Date};
use protocol::Sha256Hex;
use reports::history::{History, Outcome, Row, SeriesKey, trend};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Names that were chosen to do harm: markup, quotes, text that turns what follows around, and length.
pub(crate) const HOSTILE: [&str; 3] = [
    "<script>document.title='taken'</script>",
    "\"'><img src=x onerror=alert(1)>&amp;\u{202e}\u{5e9}\u{5dc}\u{5d5}\u{5dd}",
    "a-very-long-name-that-somebody-thought-to-be-a-good-idea-until-it-stood-in-a-table-of-ten-columns-on-a-telephone-\
     0123456789012345678901234567890123456789012345678901234567890123456789012345678901234",
];
/// Nights with a folder.
pub(crate) const NIGHTS: usize = 34;
/// Nights in the history.
const HISTORY: i64 = 110;
/// The night from which on the level is another, counted back from the last.
const STEP: i64 = 24;
/// The device and variant that have the step.
pub(crate) const MOVED: (&str, &str) = ("pixel-8", "mobilenet@tflite-int8");

/// Where everything lies.
pub(crate) struct Fixture {
    /// Folder of nights.
    pub(crate) nights: PathBuf,
    /// Folder of the history.
    pub(crate) history: PathBuf,
    /// Names of the nights, oldest first.
    pub(crate) names: Vec<String>,
    /// Name of the run of the last night that has a report.
    pub(crate) run: String,
    /// The series with the step.
    pub(crate) moved: SeriesKey,
}

/// Makes it in a folder; `report` is the page of every run.
pub(crate) fn make(root: &Path, report: &[u8]) -> Fixture {
    let (nights, history) = (root.join("nights"), root.join("history"));
    fs::create_dir_all(&nights).unwrap();
    let alarm = make_history(&history);
    let names: Vec<String> =
        (0..NIGHTS).rev().map(|back| format!("{}-013000-{back:04x}", compact(back as i64))).collect();
    let run = "20261130-020000-run1".to_owned();
    for (name, back) in names.iter().zip((0..NIGHTS).rev()) {
        let folder = nights.join(name);
        fs::create_dir_all(folder.join("runs").join(&run)).unwrap();
        fs::write(folder.join("runs").join(&run).join("report.html"), report).unwrap();
        let summary = summary(name, back, &run, &alarm);
        write_night(&folder, &summary, back);
    }
    write(&nights.join("devices.json"), &cards("2026-12-01T04:10:00Z"));
    Fixture { nights, history, names, run, moved: key(MOVED.0, MOVED.1, "latency_ns") }
}

fn write(path: &Path, value: &impl serde::Serialize) {
    fs::write(path, serde_json::to_vec_pretty(value).unwrap()).unwrap();
}

/// The date of the last night, less so many days.
fn date(back: i64) -> String {
    Date::constant(2026, 12, 1).checked_sub(Span::new().days(back)).unwrap().to_string()
}

fn compact(back: i64) -> String {
    date(back).replace('-', "")
}

/// Plan, journal and summary; the night before last has a damaged summary, the one before that never ended.
fn write_night(folder: &Path, summary: &Summary, back: usize) {
    let jobs: Vec<Job> = summary.jobs.iter().map(|line| job(&summary.night, line)).collect();
    let plan = NightPlan {
        schema: NIGHT_SCHEMA,
        night: summary.night.clone(),
        farm: summary.farm.clone(),
        host: "rack-1".into(),
        began: summary.began.clone(),
        version: "0.1.0".into(),
        farm_sha256: Sha256Hex::of_bytes(b"farm"),
        ends: None,
        jobs: jobs.clone(),
        devices: summary.devices.clone(),
    };
    write(&folder.join("plan.json"), &plan);
    let mut journal = String::new();
    for (line, job) in summary.jobs.iter().zip(&jobs) {
        let Some(outcome) = line.outcome.clone() else { continue };
        let result = JobResult {
            job: job.id.clone(),
            night: summary.night.clone(),
            host: "rack-1".into(),
            device: line.class.clone(),
            attempt: 1,
            outcome,
            record: None,
            took_ms: line.took_ms,
            ended: summary.began.clone(),
        };
        let entry = NightEntry::Result { result, run: line.run.clone() };
        journal += &format!("{}\n", serde_json::to_string(&entry).unwrap());
    }
    for card in &summary.devices {
        let entry = NightEntry::Device { card: card.clone() };
        journal += &format!("{}\n", serde_json::to_string(&entry).unwrap());
    }
    match back {
        3 => journal += "{\"entry\":\"result\",\"resu",
        5 => journal += "no json\n",
        _ => {}
    }
    fs::write(folder.join("journal.jsonl"), journal).unwrap();
    match back {
        3 => {}
        5 => fs::write(folder.join("summary.json"), "{\"schema\":1,\"night\":").unwrap(),
        6 => fs::write(folder.join("summary.json"), "{\"schema\":99,\"nights\":[]}").unwrap(),
        _ => write(&folder.join("summary.json"), summary),
    }
}

fn job(night: &str, line: &JobLine) -> Job {
    let work = Work::of(Subject::Suite { at: line.subject.clone() }, 1);
    Job {
        id: JobId::of(night, &line.class, &work),
        night: night.to_owned(),
        version: "0.1.0".into(),
        class: line.class.clone(),
        work,
        files: Vec::new(),
        priority: 0,
        estimate_ms: 60_000,
        limit_ms: 600_000,
    }
}

fn summary(name: &str, back: usize, run: &str, alarm: &str) -> Summary {
    let at = |time: &str| format!("{}T{time}Z", date(back as i64));
    let last = back == 0;
    let mut devices = cards(&at("04:10:00"));
    if !matches!(back, 0 | 9 | 10 | 17) {
        devices.iter_mut().for_each(|card| card.health.state = State::Ready);
    }
    let suites = ["vision", "speech", "text"];
    let mut jobs = Vec::new();
    for card in &devices {
        for suite in suites {
            let outcome = match (&card.health.state, card.id.as_str(), suite) {
                (State::Offline { .. }, _, _) => {
                    JobOutcome::NotRun { reason: "pi-4 was offline all night".into() }
                }
                (State::Quarantined { .. }, _, "text") => JobOutcome::DeviceTrouble {
                    reason: "the device became too hot: 61.2 °C in zone skin".into(),
                },
                (_, "pi-5", "speech") if last => {
                    JobOutcome::Partly { reason: "keyword@onnx-int8 crashed (SIGSEGV) in 2 units".into() }
                }
                _ => JobOutcome::Measured,
            };
            jobs.push(line(name, &card.id, suite, outcome, run));
        }
    }
    if back == 3 {
        jobs.iter_mut().skip(9).for_each(|job| job.outcome = None);
    }
    Summary {
        schema: NIGHT_SCHEMA,
        night: name.to_owned(),
        farm: "basement".into(),
        began: at("01:30:00"),
        ended: (back != 3).then(|| at("04:12:00")),
        how: (back != 3).then_some(if back == 12 { Ended::OutOfTime } else { Ended::Whole }),
        verdicts: verdicts(&devices, &suites, run),
        changes: changes(back, alarm),
        jobs,
        devices,
        unkept: Vec::new(),
        notes: Vec::new(),
    }
}

fn line(night: &str, device: &str, suite: &str, outcome: JobOutcome, run: &str) -> JobLine {
    let ran = matches!(outcome, JobOutcome::Measured | JobOutcome::Partly { .. });
    let mut line = JobLine {
        job: JobId::of(night, device, &Work::of(Subject::Suite { at: suite.into() }, 1)),
        class: device.to_owned(),
        subject: suite.to_owned(),
        device: ran.then(|| device.to_owned()),
        host: ran.then(|| "rack-1".to_owned()),
        outcome: Some(outcome),
        attempts: u32::from(ran),
        took_ms: 412_000,
        run: ran.then(|| run.to_owned()),
    };
    if line.outcome.as_ref().is_some_and(|outcome| outcome.word() == "device trouble") {
        line.attempts = 3;
    }
    line
}

fn verdicts(devices: &[DeviceCard], suites: &[&str], run: &str) -> Vec<VerdictLine> {
    let words =
        ["worse", "invalid", "inconclusive", "equivalent", "better", "better", "better", "equivalent"];
    let effects = [
        "+6.12 % (+5.30 … +6.90 %)",
        "",
        "+0.81 % (−1.20 … +2.90 %)",
        "+0.04 % (−0.40 … +0.50 %)",
        "−48.2 % (−48.6 … −47.9 %)",
    ];
    let mut all = Vec::new();
    for (i, card) in devices.iter().enumerate() {
        for (j, suite) in suites.iter().enumerate() {
            for (k, metric) in ["latency_ns", "memory_peak_bytes", "accuracy_top1"].iter().enumerate() {
                let at = (i * 7 + j * 3 + k) % words.len();
                all.push(VerdictLine {
                    run: run.to_owned(),
                    device: card.id.clone(),
                    suite: (*suite).to_owned(),
                    candidate: if i % 4 == 3 {
                        HOSTILE[1].into()
                    } else {
                        "tflite-int8 on litert/xnnpack".into()
                    },
                    reference: "tflite-fp32 on litert/xnnpack".into(),
                    metric: (*metric).to_owned(),
                    verdict: words[at].to_owned(),
                    effect: effects[at.min(4)].to_owned(),
                    reason: if at == 1 { "the canary of this device failed".into() } else { String::new() },
                });
            }
        }
    }
    all.sort_by_key(|line| words.iter().position(|word| *word == line.verdict));
    all
}

fn changes(back: usize, alarm: &str) -> Vec<ChangeLine> {
    let change = |alarm: &str, series: String, ratio: f64, state: &str, why: &str| ChangeLine {
        alarm: alarm.to_owned(),
        series,
        since: date(STEP),
        ratio,
        low: ratio - 0.006,
        high: ratio + 0.006,
        versions: vec!["model".into(), "runtime".into()],
        worse: ratio > 1.0,
        state: state.into(),
        why: why.into(),
    };
    let moved = key(MOVED.0, MOVED.1, "latency_ns").to_string();
    match back {
        0 => vec![
            change(alarm, moved, 1.031, "confirmed", "interleaved on pixel-8: +3.0 % (+2.4 … +3.7 %)"),
            change(
                "bbbb",
                format!("pi-5 {} latency_ns", HOSTILE[0]),
                1.018,
                "proposed",
                "waits for a free device",
            ),
            change(
                "cccc",
                "pi-5 speech keyword@onnx-fp32 latency_ns".into(),
                0.95,
                "refuted",
                "interleaved: +0.1 % (−0.5 … +0.7 %)",
            ),
        ],
        STEP_BACK => vec![change(alarm, moved, 1.031, "proposed", "")],
        _ => Vec::new(),
    }
}

const STEP_BACK: usize = 22;

fn health(
    at: &str,
    state: State,
    strikes: u32,
    battery: Option<u32>,
    milli: i64,
    false_alarms: u64,
) -> Health {
    Health {
        state,
        strikes,
        seen: Some(at.to_owned()),
        battery_percent: battery,
        milli_celsius: Some(milli),
        canaries: Canaries { same: 240, false_alarms, slower: 240, found: 238 },
    }
}

/// The devices of the farm.
fn cards(at: &str) -> Vec<DeviceCard> {
    let card = |id: &str, transport: &str, model: Option<&str>, os: &str, health: Health| DeviceCard {
        id: id.to_owned(),
        host: if transport == "ssh" { "rack-2" } else { "rack-1" }.to_owned(),
        transport: transport.to_owned(),
        tags: vec![if transport == "adb" { "phone" } else { "arm" }.to_owned()],
        version: "0.1.0".into(),
        model: model.map(str::to_owned),
        os: Some(os.to_owned()),
        health,
        at: at.to_owned(),
    };
    let hot = State::Quarantined {
        reason: "too hot: 61.2 °C in zone skin, at most 45.0 °C are allowed".into(),
        since: at.to_owned(),
        probe: "2026-12-01T07:00:00Z".into(),
    };
    let gone = State::Offline { reason: "ssh: connect to host pi4.local port 22: No route to host".into() };
    vec![
        card(
            "pixel-8",
            "adb",
            Some("Google Pixel 8"),
            "Android 15",
            health(at, State::Ready, 0, Some(83), 31_200, 2),
        ),
        card(
            "galaxy-s23",
            "adb",
            Some("Samsung Galaxy S23"),
            "Android 14",
            health(at, hot, 3, Some(41), 61_200, 19),
        ),
        card(
            "pi-5",
            "ssh",
            Some("Raspberry Pi 5 Model B Rev 1.0"),
            "Debian GNU/Linux 13",
            health(at, State::Ready, 1, None, 48_700, 3),
        ),
        card(
            "pi-4",
            "ssh",
            Some("Raspberry Pi 4 Model B Rev 1.4"),
            "Debian GNU/Linux 12",
            health(at, gone, 0, None, 52_000, 1),
        ),
        card(
            "workstation",
            "local",
            None,
            "Debian GNU/Linux 13",
            health(at, State::Busy { job: "3f9a2c".into() }, 0, None, 55_100, 0),
        ),
        card(
            HOSTILE[0],
            "adb",
            Some(HOSTILE[1]),
            HOSTILE[0],
            health(at, State::Ready, 0, Some(4_000_000_000), i64::MAX, 240),
        ),
        card(HOSTILE[1], "ssh", Some(HOSTILE[0]), HOSTILE[1], Health::default()),
        card(
            HOSTILE[2],
            "ssh",
            Some(HOSTILE[2]),
            HOSTILE[2],
            Health { seen: Some("yesterday".into()), ..Health::default() },
        ),
    ]
}

fn key(device: &str, variant: &str, metric: &str) -> SeriesKey {
    SeriesKey {
        device: device.to_owned(),
        suite: "vision".to_owned(),
        variant: variant.to_owned(),
        runtime: "litert/xnnpack".to_owned(),
        threads: 1,
        options: String::new(),
        metric: metric.to_owned(),
    }
}

/// Numbers that look random and are the same every time.
fn noise(seed: &mut u64) -> f64 {
    let mut sum = 0.0;
    for _ in 0..6 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        sum += (*seed >> 11) as f64 / (1u64 << 53) as f64;
    }
    (sum - 3.0) / 0.707
}

/// A history with one confirmed step, one that somebody knows of, one that was not there. Gives the first one's name.
fn make_history(place: &Path) -> String {
    let history = History::folder(place);
    let mut seed = 42;
    for back in (0..HISTORY).rev() {
        for device in ["pixel-8", "pi-5", "galaxy-s23", HOSTILE[0]] {
            let run = format!("{}-{}", compact(back), device.len());
            history.append(&rows(device, back, &run, &mut seed)).unwrap();
        }
    }
    let step = |device: &str, variant: &str| {
        let rows =
            history.read(&key(device, variant, "latency_ns"), &reports::history::Nights::ALL).unwrap().found;
        let mut found = trend(&rows, stats::Pelt::PROPOSE);
        found.changes.pop().expect("the series was made with a step")
    };
    let (first, known) = (step(MOVED.0, MOVED.1), step("pi-5", "mobilenet@onnx-fp32"));
    let at = "2026-11-10T05:00:00Z";
    let propose = |alarm: &str, change| {
        history.record(alarm, at, Outcome::Proposed { change: Box::new(change) }).unwrap()
    };
    propose("aaaaaaaaaaaa", first);
    let run = "20261110-050000-conf".to_owned();
    let confirmed = Outcome::Confirmed { run: run.clone(), ratio: 1.030, low: 1.024, high: 1.037 };
    history.record("aaaaaaaaaaaa", "2026-11-10T06:00:00Z", confirmed).unwrap();
    let mut refuted = known.clone();
    (refuted.since, refuted.earliest, refuted.latest) =
        ("2026-09-01".into(), "2026-09-01".into(), "2026-09-02".into());
    propose("dddddddddddd", known);
    let confirmed = Outcome::Confirmed { run, ratio: 0.95, low: 0.94, high: 0.96 };
    history.record("dddddddddddd", "2026-11-10T06:00:00Z", confirmed).unwrap();
    let reason = format!("XNNPACK was updated on purpose {}", HOSTILE[0]);
    history
        .record("dddddddddddd", "2026-11-11T09:00:00Z", Outcome::Acknowledged { who: "ada".into(), reason })
        .unwrap();
    propose("eeeeeeeeeeee", refuted);
    let not_there = Outcome::Refuted { run: String::new(), ratio: 1.001, low: 0.995, high: 1.007 };
    history.record("eeeeeeeeeeee", "2026-11-10T06:00:00Z", not_there).unwrap();
    fs::write(
        place
            .join("schema=1")
            .join(format!("month={}", &date(0)[..7]))
            .join(format!("night={}-run=cut.parquet", date(0))),
        "PAR1",
    )
    .unwrap();
    "aaaaaaaaaaaa".to_owned()
}

fn rows(device: &str, back: i64, run: &str, seed: &mut u64) -> Vec<Row> {
    let mut all = Vec::new();
    for (variant, ms) in
        [("mobilenet@tflite-int8", 8.4), ("mobilenet@tflite-fp32", 21.0), ("mobilenet@onnx-fp32", 19.2)]
    {
        let stepped = match (device, variant) {
            (d, v) if (d, v) == MOVED && back < STEP => 1.031,
            ("pi-5", "mobilenet@onnx-fp32") if back < 60 => 0.95,
            _ => 1.0,
        };
        // what slows the whole device moves the reference as well
        let day = 1.0 + 0.012 * noise(seed);
        let value = ms * 1e6 * stepped * day * (1.0 + 0.004 * noise(seed));
        let valid = back % 37 != 5;
        let common = Row {
            key: key(device, variant, "latency_ns"),
            night: date(back),
            night_id: None,
            run: run.to_owned(),
            measured_at: format!("{}T02:00:00Z", date(back)),
            host: Some("rack-1".into()),
            device_model: Some("board".into()),
            os: Some(if back < 90 { "Android 15" } else { "Android 14" }.into()),
            agent: Some("0.1.0 abcdef012345".into()),
            runtime_version: Some(if back < STEP { "2.3.0" } else { "2.2.1" }.into()),
            library_sha256: None,
            model_sha256: Sha256Hex::of_bytes(if stepped == 1.0 { b"old" } else { b"new" }).to_string(),
            data_sha256: Some(Sha256Hex::of_bytes(b"data").to_string()),
            value: Some(if valid { value } else { value * 1.4 }),
            low: Some(value * 0.994),
            high: Some(value * 1.006),
            units: 10,
            valid,
            reasons: (!valid).then(|| "contended: wall/cpu 1.31".to_owned()),
            reference_sha256: Some(Sha256Hex::of_bytes(b"pinned").to_string()),
            reference_stack: Some("builtin/cpu 0.1.0".into()),
            ratio: Some(value / (5e6 * day)),
            ratio_low: Some(value / (5e6 * day) * 0.995),
            ratio_high: Some(value / (5e6 * day) * 1.005),
        };
        let memory = 45_000_000.0 * (1.0 + 0.002 * noise(seed));
        let memory = Row {
            key: key(device, variant, "memory_peak_bytes"),
            value: Some(memory),
            low: Some(memory * 0.998),
            high: Some(memory * 1.002),
            ratio: None,
            ratio_low: None,
            ratio_high: None,
            ..common.clone()
        };
        let score = Row {
            key: key(
                device,
                if device == HOSTILE[0] { HOSTILE[1] } else { variant },
                if device == HOSTILE[0] { variant } else { "accuracy_top1" },
            ),
            value: Some(0.713),
            low: Some(0.70),
            high: Some(0.726),
            ..memory.clone()
        };
        all.extend([common, memory, score]);
    }
    all
}
