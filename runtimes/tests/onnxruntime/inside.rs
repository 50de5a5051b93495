//! A process of its own for one library: how a test starts it, and what stands ready in it.

use crate::libraries::{Found, found, library_at, made_for};
use runtimes::{CompileOptions, Loaded, Session};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const LIBRARY: &str = "BENCH_TEST_LIBRARY";
const ANSWER: &str = "BENCH_TEST_ANSWER";
/// Without it no library is loaded.
pub(crate) const TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";

/// The libraries for this machine.
pub(crate) fn here(test: &str) -> Vec<Found> {
    found(test, "onnxruntime")
}

/// The libraries for another machine.
pub(crate) fn elsewhere(test: &str) -> Vec<Found> {
    let arch = if env::consts::ARCH == "aarch64" { "x86_64" } else { "aarch64" };
    made_for(arch, test, "onnxruntime")
}

/// Runs the ignored test `name` of this binary in a process of its own with that library; what it has answered.
///
/// # Panics
/// The test fails, or the process dies.
pub(crate) fn run(name: &str, library: &Path) -> String {
    let folder = tempfile::tempdir().unwrap();
    let answer = folder.path().join("answer");
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads", "1"])
        .env(TELEMETRY, "1")
        .env(LIBRARY, library)
        .env(ANSWER, &answer)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = format!("{}\n{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{name} with {}: {}\n{said}", library.display(), output.status);
    assert!(said.contains("1 passed"), "no test {name}: {said}");
    fs::read_to_string(&answer).unwrap_or_default()
}

/// In the process: the library that it is for.
pub(crate) fn given() -> PathBuf {
    env::var_os(LIBRARY).expect("started by another test, not by itself").into()
}

/// In the process: what the test that started it is to hear.
pub(crate) fn answer(text: &str) {
    fs::write(env::var_os(ANSWER).unwrap(), text).unwrap();
}

/// Loads a library.
pub(crate) fn load(path: &Path) -> Result<Box<dyn Loaded>, String> {
    let runtime = runtimes::runtime("onnxruntime").unwrap();
    runtime.load(Some(&library_at(path))).map_err(|e| e.to_string())
}

/// Options by name and value.
pub(crate) fn options(backend: &str, options: &[(&str, &str)]) -> CompileOptions {
    let mut all = CompileOptions::new(backend);
    all.options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    all
}

/// In the process: opens and compiles.
pub(crate) fn session(model: &Path, options: &CompileOptions) -> Result<Box<dyn Session>, String> {
    let model = load(&given())?.open(model).map_err(|e| e.to_string())?;
    model.compile(options).map_err(|e| e.to_string())
}
