//! Where cargo leaves the static agents that `bench agents build` makes.

use std::path::{Path, PathBuf};

/// The agent for an instruction set, or what to do to have one.
pub(crate) fn built_agent(arch: &str) -> Result<PathBuf, String> {
    let target = match arch {
        "arm" => "armv7-unknown-linux-gnueabihf".to_owned(),
        _ => format!("{arch}-unknown-linux-gnu"),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let agent = root.join(format!("target/{target}/agent/bench-agent"));
    match agent.is_file() {
        true => Ok(agent),
        false => Err(format!("{} is missing: run `bench agents build {arch}`", agent.display())),
    }
}
