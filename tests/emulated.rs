//! The static agents for aarch64 and 32-bit ARM, on every emulated processor that has kernels of its own, take those
//! kernels and predict what the agent of this machine predicts: the same classes for every variant of the vision suite,
//! the same bits where arithmetic is integer, and f32 to within 1e-5. They are small, too.
//!
//! Needs agents that `bench agents build` made, and `qemu-user`. Where one is missing the test says so by name; with
//! `aarch64` or `arm` in `BENCH_TEST_REQUIRE` it fails instead.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop at what it did not expect")]
#![expect(clippy::print_stdout, reason = "what is left out is said by name")]

#[path = "common/emulator.rs"]
mod emulator;

use emulator::{Emulated, emulated_agents};
use protocol::{AgentMessage, Event, LineReader, Outcome};
use std::{
    fs,
    io::{BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Images per variant: an emulated core is slow.
const EXAMPLES: u64 = 100;

/// fp32 sums differ in order between instruction sets; softmax outputs lie between 0 and 1.
const TOLERANCE: f32 = 1e-5;

/// The rounding of one dynamic-range activation may fall the other way after such a difference.
const DYNAMIC_TOLERANCE: f32 = 0.1;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The vision suite with fewer examples, as a file of its own.
fn short_suite(folder: &Path) -> (PathBuf, Vec<String>) {
    let text = fs::read_to_string(root().join("suites/vision.toml")).unwrap();
    let text = text
        .replace("\"models/", &format!("\"{}/suites/models/", root().display()))
        .replace("\"../datasets/", &format!("\"{}/datasets/", root().display()))
        .replace("[measure]\n", &format!("[measure]\nmax_examples = {EXAMPLES}\n"));
    let suite: toml::Table = text.parse().unwrap();
    let variants = suite["variant"].as_array().unwrap();
    let names = variants.iter().map(|v| v["id"].as_str().unwrap().to_owned()).collect();
    let path = folder.join("short.toml");
    fs::write(&path, text).unwrap();
    (path, names)
}

/// What `bench spec` says the agent is to be told for an accuracy trial.
fn spec(suite: &Path, variant: &str, cache: &Path) -> Vec<u8> {
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["spec", variant, "--mode", "accuracy", "--seed", "1", "--suite"])
        .arg(suite)
        .env("XDG_CACHE_HOME", cache)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The most that a static agent for aarch64 may take: it is pushed to every device.
const AGENT_BYTES: u64 = 3 << 20;

struct Answers {
    kernels: String,
    digests: Vec<String>,
    values: Vec<f32>,
    classes: usize,
}

impl Answers {
    fn predictions(&self) -> Vec<usize> {
        let best = |row: &[f32]| (0..row.len()).rev().max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
        self.values.chunks_exact(self.classes).map(best).collect()
    }
}

/// Runs an agent on the lines and collects what it answers.
fn ask(command: &[String], lines: &[u8], folder: &Path) -> Answers {
    let mut agent = Command::new(&command[0])
        .args(&command[1..])
        .arg("--dir")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    agent.stdin.take().unwrap().write_all(lines).unwrap();
    let mut reader = LineReader::new(BufReader::new(agent.stdout.take().unwrap()));
    let mut answers = Answers { kernels: String::new(), digests: Vec::new(), values: Vec::new(), classes: 0 };
    while let Some(message) = reader.next_message::<AgentMessage>().unwrap() {
        match message {
            AgentMessage::Event { event: Event::Loaded { proof, .. }, .. } => answers.kernels = proof.kernels,
            AgentMessage::Event { event: Event::OutputDigests { digests, .. }, .. } => {
                answers.digests.extend(digests);
            }
            AgentMessage::Event { event: Event::Outputs { path, elements, .. }, .. } => {
                let bytes = fs::read(folder.join(path)).unwrap();
                answers.values =
                    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
                answers.classes = usize::try_from(elements[0]).unwrap();
            }
            AgentMessage::Event { event: Event::TrialFinished { outcome, .. }, .. } => {
                assert_eq!(outcome, Outcome::Ok);
            }
            AgentMessage::Refused { reason, .. } => panic!("refused: {reason}"),
            _ => {}
        }
    }
    assert!(agent.wait().unwrap().success());
    assert_eq!(answers.digests.len() as u64, EXAMPLES);
    answers
}

#[test]
fn emulated_agents_predict_the_same() {
    let agents = emulated_agents("emulated_agents_predict_the_same");
    if agents.is_empty() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let native = vec![env!("CARGO_BIN_EXE_bench-agent").to_owned()];
    let (suite, variants) = short_suite(folder.path());
    assert_eq!(variants.len(), 8);
    for variant in variants {
        let lines = spec(&suite, &variant, &folder.path().join("cache"));
        let here = ask(&native, &lines, &folder.path().join("native"));
        for Emulated { arch, kernels, command } in &agents {
            let there = ask(command, &lines, &folder.path().join(arch).join(kernels));
            assert_eq!(there.kernels.split(',').next(), Some(*kernels), "{variant} on {command:?}");
            compare(&format!("{variant} on {arch} with {kernels}"), &here, &there);
        }
    }
}

#[test]
fn the_agent_for_aarch64_is_small() {
    for Emulated { arch, command, .. } in emulated_agents("the_agent_for_aarch64_is_small") {
        let bytes = fs::metadata(&command[command.len() - 1]).unwrap().len();
        println!("{arch}: {bytes} bytes");
        assert!(arch != "aarch64" || bytes <= AGENT_BYTES, "{bytes} bytes, more than {AGENT_BYTES}");
    }
}

fn compare(what: &str, here: &Answers, there: &Answers) {
    let worst = here.values.iter().zip(&there.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{what}: largest difference {worst:e}");
    if what.starts_with("tflite-int8 ") {
        assert_eq!(here.digests, there.digests, "{what}: integer arithmetic must give the same bits");
    }
    let tolerance = if what.contains("dynint8") { DYNAMIC_TOLERANCE } else { TOLERANCE };
    assert!(worst <= tolerance, "{what}: outputs differ by {worst}");
    assert_eq!(here.predictions(), there.predictions(), "{what}: predictions differ");
}
