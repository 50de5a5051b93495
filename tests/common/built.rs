//! Where cargo leaves the agents that `bench agents build` makes.

use std::path::{Path, PathBuf};

/// The agent of that name, as `aarch64` or `aarch64-glibc`, or what to do to have one.
pub(crate) fn built_agent(name: &str) -> Result<PathBuf, String> {
    let (arch, folder) = match name.strip_suffix("-glibc") {
        Some(arch) => (arch, "target/glibc"),
        None => (name, "target"),
    };
    let target = match arch {
        "arm" => "armv7-unknown-linux-gnueabihf".to_owned(),
        _ => format!("{arch}-unknown-linux-gnu"),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let agent = root.join(format!("{folder}/{target}/agent/bench-agent"));
    match agent.is_file() {
        true => Ok(agent),
        false => Err(format!("{} is missing: run `bench agents build {name}`", agent.display())),
    }
}
