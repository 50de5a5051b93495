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
    /// What the processor's best kernels are called.
    pub(crate) kernels: &'static str,
    /// How it is started.
    pub(crate) command: Vec<String>,
}

/// A kind of processor to emulate.
struct Foreign {
    arch: &'static str,
    emulator: &'static str,
    /// Names of it, of which the first is taken that the emulator knows.
    processors: &'static [&'static str],
    kernels: &'static str,
}

/// Every kind that has kernels of its own.
///
/// A 32-bit board may have neither NEON nor the upper sixteen registers: an agent that used them would die here.
const FOREIGN: [Foreign; 4] = [
    aarch64(&["cortex-a53"], "neon"),
    aarch64(&["cortex-a76"], "neon-dotprod"),
    aarch64(&["max"], "neon-i8mm"),
    Foreign {
        arch: "arm",
        emulator: "qemu-arm",
        processors: &["cortex-a9,neon=off,vfp-d32=off", "cortex-a9,neon=off"],
        kernels: "portable",
    },
];

const fn aarch64(processors: &'static [&'static str], kernels: &'static str) -> Foreign {
    Foreign { arch: "aarch64", emulator: "qemu-aarch64", processors, kernels }
}

/// The emulated agents there are. Says on stdout for which of them `test` is left out, and why.
///
/// # Panics
/// One is missing, and `BENCH_TEST_REQUIRE` names its instruction set.
pub(crate) fn emulated_agents(test: &str) -> Vec<Emulated> {
    let required = std::env::var("BENCH_TEST_REQUIRE").unwrap_or_default();
    let one = |foreign: Foreign| {
        let Foreign { arch, kernels, .. } = foreign;
        match find(&foreign) {
            Ok(command) => Some(Emulated { arch, kernels, command }),
            Err(missing) => {
                assert!(!required.split(',').any(|r| r == arch), "{missing}");
                println!("left out: {test}, {kernels} kernels of {arch}: {missing}");
                None
            }
        }
    };
    FOREIGN.into_iter().filter_map(one).collect()
}

fn find(Foreign { arch, emulator, processors, .. }: &Foreign) -> Result<Vec<String>, String> {
    let agent = built_agent(arch)?.display().to_string();
    let command = |processor: &&str| {
        vec![(*emulator).to_owned(), "-cpu".to_owned(), (*processor).to_owned(), agent.clone()]
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
