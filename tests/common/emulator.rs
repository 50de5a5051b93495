//! The agents for other instruction sets and the emulators that run them here: both, or the reason why a test is left
//! out.

#[path = "built.rs"]
mod built;

use built::built_agent;
use std::process::{Command, Stdio};

/// An agent that runs here under emulation.
pub(crate) struct Emulated {
    /// Its instruction set, as Rust names it.
    pub(crate) arch: &'static str,
    /// How it is started.
    pub(crate) command: Vec<String>,
}

/// Instruction sets, their emulators, and the processors to emulate, the first that the emulator knows.
///
/// A 32-bit board may have neither NEON nor the upper sixteen registers: an agent that used them would die here.
const FOREIGN: [(&str, &str, &[&str]); 2] = [
    ("aarch64", "qemu-aarch64", &["max"]),
    ("arm", "qemu-arm", &["cortex-a9,neon=off,vfp-d32=off", "cortex-a9,neon=off"]),
];

/// The emulated agents there are. Says on stdout for which of them `test` is left out, and why.
///
/// # Panics
/// One is missing, and `BENCH_TEST_REQUIRE` names its instruction set.
pub(crate) fn emulated_agents(test: &str) -> Vec<Emulated> {
    let required = std::env::var("BENCH_TEST_REQUIRE").unwrap_or_default();
    let one = |(arch, emulator, processors)| match find(arch, emulator, processors) {
        Ok(command) => Some(Emulated { arch, command }),
        Err(missing) => {
            assert!(!required.split(',').any(|r| r == arch), "{missing}");
            println!("left out: {test}, {arch}: {missing}");
            None
        }
    };
    FOREIGN.into_iter().filter_map(one).collect()
}

fn find(arch: &str, emulator: &str, processors: &[&str]) -> Result<Vec<String>, String> {
    let agent = built_agent(arch)?.display().to_string();
    let command = |processor: &&str| {
        vec![emulator.to_owned(), "-cpu".to_owned(), (*processor).to_owned(), agent.clone()]
    };
    let runs = |command: &Vec<String>| {
        let ran =
            Command::new(&command[0]).args(&command[1..]).arg("--version").stdout(Stdio::null()).status();
        ran.is_ok_and(|status| status.success())
    };
    let found = processors.iter().map(command).find(runs);
    found
        .ok_or_else(|| format!("{emulator} does not run {agent}: install qemu-user, or build the agent anew"))
}
