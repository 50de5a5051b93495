//! The agent for aarch64 and the emulator that runs it here: both, or the reason why a test is left out.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// The command line of the emulated agent. `None` after saying on stdout that `test` is left out, and why.
///
/// # Panics
/// It is missing, and `BENCH_TEST_REQUIRE` names `aarch64`.
pub(crate) fn emulated_agent(test: &str) -> Option<Vec<String>> {
    let missing = match find() {
        Ok(command) => return Some(command),
        Err(missing) => missing,
    };
    let required = std::env::var("BENCH_TEST_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|r| r == "aarch64"), "{missing}");
    println!("left out: {test}: {missing}");
    None
}

fn find() -> Result<Vec<String>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let agent = root.join("target/aarch64-unknown-linux-gnu/agent/bench-agent");
    if !agent.is_file() {
        return Err(format!("{} is missing: run tests/build-aarch64.sh", agent.display()));
    }
    let found = Command::new("qemu-aarch64").arg("--version").stdout(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        return Err("qemu-aarch64 is missing: install qemu-user".to_owned());
    }
    Ok(vec!["qemu-aarch64".to_owned(), "-cpu".to_owned(), "max".to_owned(), agent.display().to_string()])
}
