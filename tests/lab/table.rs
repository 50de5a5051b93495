//! Writes `FAULTS.md`: every fault, while files are pushed and while units are measured, and what became of it.

use crate::{
    faults::{ALL_UNITS, suite, units_of},
    lab::{Lab, phone, pi},
    scene::journal,
    talk::{Look, Talk},
};
use std::{
    fmt::Write,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// What is done to a device, in words, as faults of `lab.sh`, and what is done five seconds later.
struct Fault {
    words: &'static str,
    done: &'static [&'static str],
    undone: &'static [&'static str],
    /// It is done to the adb server.
    of_server: bool,
}

const fn fault(words: &'static str, done: &'static [&'static str], undone: &'static [&'static str]) -> Fault {
    Fault { words, done, undone, of_server: false }
}

const FAULTS: &[Fault] = &[
    fault("link down", &["link-down"], &[]),
    fault("link down, up again after 5 s", &["link-down"], &["link-up"]),
    fault("daemon killed", &["kill"], &[]),
    fault("daemon restarted", &["restart"], &[]),
    fault("daemon frozen", &["freeze"], &[]),
    fault("daemon frozen, thawed after 5 s", &["freeze"], &["thaw"]),
    fault("whole device suspended", &["suspend"], &[]),
    fault("agent killed (SIGKILL)", &["kill-agent"], &[]),
    fault("largest process killed, as for want of memory", &["oom"], &[]),
    fault("disk full", &["fill"], &[]),
    fault("cache unmounted", &["unmount"], &[]),
    Fault { of_server: true, ..fault("adb kill-server by someone else", &["kill-server"], &[]) },
    Fault {
        of_server: true,
        ..fault("adb kill-server, the server started again after 5 s", &["kill-server"], &["restart"])
    },
    Fault { of_server: true, ..fault("adb server frozen for 5 s", &["freeze"], &["thaw"]) },
    fault("20 % of its packets lost", &["loss 20"], &[]),
    fault("slow link (2 Mbit/s)", &["rate 2mbit"], &[]),
];

/// Faults that one lab suffers, one after the other.
const FAULTS_PER_LAB: usize = 4;

/// What became of it.
struct Row {
    outcome: String,
    noticed: Option<Duration>,
    units: usize,
    samples: u64,
    resumed: bool,
    others: usize,
    code: Option<i32>,
}

/// A device that trouble is made for, and one beside it.
struct Pair {
    name: &'static str,
    device: String,
    id: &'static str,
    beside: String,
    cache: &'static str,
}

impl Pair {
    fn phone() -> Self {
        let (device, beside) = (phone(1), pi(2));
        Self { name: "phone1", device, id: "adb-10.99.0.11-5555: ", beside, cache: "/data/local/tmp" }
    }

    fn pi() -> Self {
        let (device, beside) = (pi(1), phone(2));
        Self { name: "pi1", device, id: "ssh-pi-10.99.0.101: ", beside, cache: "/home/pi/.cache" }
    }
}

#[test]
#[ignore = "takes some minutes and writes tests/lab/FAULTS.md"]
fn fault_table() {
    // most of the time is waiting, so that labs beside each other do not disturb
    let started = [true, false].map(|pushing| {
        [Pair::phone as fn() -> Pair, Pair::pi].map(|pair| {
            let chunks = FAULTS.chunks(FAULTS_PER_LAB);
            chunks.map(|faults| thread::spawn(move || rows(&pair(), faults, pushing))).collect::<Vec<_>>()
        })
    });
    let [pushing, measuring] = started.map(|phase| {
        phase.map(|labs| labs.into_iter().flat_map(|rows| rows.join().unwrap()).collect::<Vec<String>>())
    });
    let mut text = HEAD.to_owned();
    for (phase, [of_phone, of_pi]) in
        [("While files are pushed", pushing), ("While units are measured", measuring)]
    {
        write!(text, "\n## {phase}\n\n{COLUMNS}").unwrap();
        for (a, b) in of_phone.iter().zip(&of_pi) {
            text.push_str(a);
            text.push_str(b);
        }
    }
    fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/FAULTS.md"), text).unwrap();
}

/// A line of the table per fault, empty for one that cannot be; in a lab of its own.
fn rows(pair: &Pair, faults: &[Fault], pushing: bool) -> Vec<String> {
    let Some(lab) = Lab::up("the table of faults", &["2", "2"]) else { return Vec::new() };
    let suite = suite(&lab);
    let row = |fault: &Fault| {
        // there is no agent yet while files are pushed
        let nothing = pushing && matches!(fault.done, ["kill-agent" | "oom"]);
        if nothing || fault.of_server && pair.name != "phone1" {
            return String::new();
        }
        let row = suffer(&lab, &suite, pair, fault, pushing);
        let line = shown(pair, fault, &row);
        print!("{}{line}", if pushing { "pushing " } else { "measuring " });
        line
    };
    faults.iter().map(row).collect()
}

/// One run with one fault.
fn suffer(lab: &Lab, suite: &str, pair: &Pair, fault: &Fault, pushing: bool) -> Row {
    let out = lab.scene.path(&format!("{}-{}-{pushing}", pair.name, fault.words.replace([' ', '/'], "_")));
    // nothing is there, so that everything is pushed
    lab.fault(&[pair.name, "unmount"]);
    lab.fault(&[pair.name, "mount"]);
    if pushing {
        // the agent takes some seconds
        lab.fault(&[pair.name, "rate", "8mbit"]);
    }
    let names = [pair.device.as_str(), &pair.beside].join(",");
    let mut talk = Talk::start(lab.bench(&[
        "run",
        "--suite",
        suite,
        "--device",
        &names,
        "--out",
        out.to_str().unwrap(),
    ]));
    if pushing {
        await_part(lab, pair, &mut talk);
    } else {
        talk.until(&[pair.id, "performance unit 1"]);
    }
    let at = Instant::now();
    act(lab, pair, fault, fault.done);
    let mut undone = fault.undone.is_empty();
    let (mut outcome, mut noticed) = (String::new(), None);
    loop {
        if !undone && at.elapsed() > Duration::from_secs(5) {
            act(lab, pair, fault, fault.undone);
            undone = true;
        }
        let said = match talk.look(Duration::from_millis(100)) {
            Look::Line(said) => said,
            Look::Nothing => continue,
            Look::End => break,
        };
        let Some(rest) = said.line.strip_prefix(pair.id) else { continue };
        if [" lost: ", "not ready: ", "given up: "].iter().any(|word| rest.contains(word)) && said.at > at {
            if noticed.is_none() {
                noticed = Some(said.at - at);
                outcome = rest.to_owned();
            } else if rest.starts_with("given up: ") {
                write!(outcome, " … {rest}").unwrap();
            }
        }
    }
    let done = talk.finish();
    undo(lab, pair, fault);
    row(&out, outcome, noticed, done.code)
}

fn row(out: &Path, outcome: String, noticed: Option<Duration>, code: Option<i32>) -> Row {
    let run = fs::read_dir(out).into_iter().flatten().flatten().map(|e| e.path()).find(|p| p.is_dir());
    let (units, others, samples) = match &run {
        Some(run) => (units_of(run, 0), units_of(run, 1), samples_of(run)),
        None => (0, 0, 0),
    };
    let whole = units == ALL_UNITS;
    let failed = || run.as_deref().and_then(failed_trial).unwrap_or_else(|| "nothing is lost".to_owned());
    let outcome = if outcome.is_empty() { failed() } else { outcome };
    Row { resumed: whole && noticed.is_some(), outcome, noticed, units, samples, others, code }
}

/// How the first trial ended that did not end well.
fn failed_trial(run: &Path) -> Option<String> {
    let entries = journal(run);
    let outcome = entries
        .iter()
        .map(|e| &e["event"]["outcome"])
        .find(|o| o["outcome"].is_string() && o["outcome"] != "ok")?;
    let detail = [&outcome["signal"], &outcome["kind"], &outcome["message"]];
    let detail: Vec<String> =
        detail.iter().filter(|d| !d.is_null()).map(|d| d.to_string().replace('"', "")).collect();
    Some(format!("a trial {} ({})", outcome["outcome"].as_str()?, detail.join(": ")))
}

fn samples_of(run: &Path) -> u64 {
    let entries = journal(run);
    let first = |unit: &serde_json::Value| {
        entries.iter().any(|e| e["entry"] == "unit-started" && e["unit"] == *unit && e["device"] == 0)
    };
    let done = entries.iter().filter(|e| e["entry"] == "unit-done" && first(&e["unit"]));
    done.map(|e| e["counts"]["samples"].as_u64().unwrap_or_default()).sum()
}

fn act(lab: &Lab, pair: &Pair, fault: &Fault, what: &[&str]) {
    for words in what {
        let name = if fault.of_server { "adb" } else { pair.name };
        lab.fault(&[&[name], &words.split(' ').collect::<Vec<_>>()[..]].concat());
    }
}

/// As it was before, for the next one.
fn undo(lab: &Lab, pair: &Pair, fault: &Fault) {
    if fault.of_server {
        lab.fault(&["adb", "restart"]);
    }
    lab.fault(&[pair.name, "clear"]);
}

/// Waits until the device has a part of a file.
fn await_part(lab: &Lab, pair: &Pair, talk: &mut Talk) {
    let folder = lab.on_device(pair.name, pair.cache);
    while !has_part(&folder) {
        assert!(talk.runs(), "it ended before it pushed anything: {}", talk.rest());
        thread::sleep(Duration::from_millis(20));
    }
}

fn has_part(folder: &Path) -> bool {
    fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() { has_part(&path) } else { name.to_string_lossy().contains(".part-") }
    })
}

const HEAD: &str = "# Faults\n
What becomes of a run when something happens to one of its two devices, as `cargo test --release --test lab -- \
--ignored` saw it in the lab (`lab.sh`): a phone behind adbd and a Pi behind sshd, each beside a device of the other \
kind that nothing happens to. A run that loses nothing has 8 units of each device. *Noticed* is the time from the \
fault to the first line that names it; *units* and *samples* are what the record holds of the device at the end; \
*resumed* says that the same run measured everything in spite of it; *beside* are the units of the other device.\n";

const COLUMNS: &str =
    "| fault | device | outcome | noticed | units | samples | resumed | beside | exit code |
|---|---|---|---|---|---|---|---|---|\n";

fn shown(pair: &Pair, fault: &Fault, row: &Row) -> String {
    let noticed = row.noticed.map_or_else(|| "–".to_owned(), |t| format!("{:.1} s", t.as_secs_f64()));
    let resumed = match (row.resumed, row.noticed) {
        (true, _) => "yes",
        (false, Some(_)) => "no",
        (false, None) => "–",
    };
    let code = row.code.map_or_else(|| "none".to_owned(), |code| code.to_string());
    format!(
        "| {} | {} | {} | {noticed} | {} | {} | {resumed} | {} | {code} |\n",
        fault.words,
        pair.name.trim_end_matches('1'),
        tidy(&row.outcome),
        row.units,
        row.samples,
        row.others,
    )
}

/// Without the names of this run's folders, and without what pretended models make an agent say.
fn tidy(outcome: &str) -> String {
    let parts = outcome.split(" … ").map(|part| part.split("; it wrote: ").next().unwrap_or_default());
    let words = parts.flat_map(|part| part.split(' ').chain(["…"]));
    let short = |word: &str| match word.rsplit_once('/') {
        Some((_, name)) if word.starts_with('/') => name.chars().take(24).collect(),
        _ => word.to_owned(),
    };
    let text = words.map(short).collect::<Vec<_>>().join(" ").replace('|', "\\|");
    text.trim_end_matches(" …").to_owned()
}
