//! Agents for devices: one static executable per instruction set, and one that is linked to glibc for runtimes that
//! are libraries, which a static program cannot load. Found in a few folders and looked at before they are used.
//! `build` makes them; nothing here starts one.

mod build;

pub(crate) use build::Builder;

use crate::{
    elf::{Executable, Needs},
    transport::{Content, Glibc, HostFile, Libc},
};
use object::elf::{EM_AARCH64, EM_ARM, EM_X86_64};
use std::{
    env,
    path::{Path, PathBuf},
};

/// Ends the name of an agent that is linked to glibc.
const GLIBC: &str = "-glibc";

/// Folder of agents below the host's cache folder.
const FOLDER: &str = "agents";

/// An instruction set that agents are built for.
pub(crate) struct Arch {
    /// As Rust names it, and as devices are probed.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) about: &'static str,
    /// Its number in an executable's header.
    machine: u16,
    /// Rust's target with a C library of its own.
    musl: &'static str,
    /// Rust's target with glibc.
    gnu: &'static str,
    /// Links for it.
    gcc: &'static str,
    /// What not every processor of the kind has, and compilers use unless they are told.
    spared: &'static str,
    /// Debian's name for it, and the packages of its compiler.
    debian: &'static str,
    debian_gcc: &'static str,
}

/// Every one of them. A new one is a line here.
pub(crate) const ARCHES: &[Arch] = &[
    Arch {
        name: "aarch64",
        about: "64-bit ARM: phones, boards with a 64-bit kernel",
        machine: EM_AARCH64,
        musl: "aarch64-unknown-linux-musl",
        gnu: "aarch64-unknown-linux-gnu",
        gcc: "aarch64-linux-gnu-gcc",
        spared: "",
        debian: "arm64",
        debian_gcc: "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    },
    Arch {
        name: "arm",
        about: "32-bit ARM, version 7: older phones and boards",
        machine: EM_ARM,
        musl: "armv7-unknown-linux-musleabihf",
        gnu: "armv7-unknown-linux-gnueabihf",
        gcc: "arm-linux-gnueabihf-gcc",
        // Rust's target goes without NEON, but not without the registers that came with it
        spared: ",-d32",
        debian: "armhf",
        debian_gcc: "gcc-arm-linux-gnueabihf libc6-dev-armhf-cross",
    },
    Arch {
        name: "x86_64",
        about: "PCs, laptops, servers",
        machine: EM_X86_64,
        musl: "x86_64-unknown-linux-musl",
        gnu: "x86_64-unknown-linux-gnu",
        gcc: "x86_64-linux-gnu-gcc",
        spared: "",
        debian: "amd64",
        debian_gcc: "gcc libc6-dev",
    },
];

/// The instruction set of a number in a file's header.
pub(crate) fn arch_of(machine: u16) -> Option<&'static str> {
    ARCHES.iter().find(|known| known.machine == machine).map(|known| known.name)
}

/// An agent that can be built.
#[derive(Clone, Copy)]
pub(crate) struct Flavour {
    /// For which instruction set.
    pub(crate) arch: &'static Arch,
    /// Linked to glibc, so that it can load libraries of runtimes.
    pub(crate) glibc: bool,
}

impl Flavour {
    /// All of them, static ones first.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [false, true].into_iter().flat_map(|glibc| ARCHES.iter().map(move |arch| Self { arch, glibc }))
    }

    /// As it is called: `aarch64`, `aarch64-glibc`.
    pub(crate) fn name(self) -> String {
        format!("{}{}", self.arch.name, if self.glibc { GLIBC } else { "" })
    }
}

/// Where agents may lie, the first place wins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agents {
    folders: Vec<PathBuf>,
}

impl Agents {
    /// In `said` when the user said so; else in the host's cache, then beside this executable.
    pub(crate) fn new(said: Option<&Path>, cache: &Path) -> Self {
        let folders = match said {
            Some(folder) => vec![folder.to_owned()],
            None => {
                let beside = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(FOLDER)));
                [Some(cache.join(FOLDER)), beside].into_iter().flatten().collect()
            }
        };
        Self { folders }
    }

    /// Where a new one is put.
    pub(crate) fn place(&self, arch: &str) -> Option<PathBuf> {
        Some(self.folders.first()?.join(file_name(arch)))
    }

    /// Where the agent for an instruction set lies, if there is one.
    pub(crate) fn path(&self, arch: &str) -> Option<PathBuf> {
        self.folders.iter().map(|folder| folder.join(file_name(arch))).find(|path| path.is_file())
    }

    /// The agent for an instruction set, hashed.
    ///
    /// # Errors
    /// There is none, or it is the wrong one, and what to do; or it cannot be read.
    pub(crate) fn find(&self, arch: &str) -> Result<HostFile, String> {
        let Some(path) = self.path(arch) else {
            let places: Vec<String> = self.folders.iter().map(|f| f.display().to_string()).collect();
            return Err(format!(
                "there is no agent for a device of architecture {arch}: {} is in none of {}; {}, or name the folder \
                 that has it with --agent-dir",
                file_name(arch),
                places.join(", "),
                how_to_get(arch)
            ));
        };
        check(&path, arch)?;
        Self::file(&path)
    }

    /// The agent for an instruction set that is linked to glibc and starts where there is this C library.
    ///
    /// # Errors
    /// As [`Agents::find`]; or the device's C library is another one, or too old.
    pub(crate) fn find_glibc(&self, arch: &str, libc: &Libc) -> Result<HostFile, String> {
        let name = format!("{arch}{GLIBC}");
        let file = self.find(&name)?;
        let Content::Path(path) = &file.content else { return Ok(file) };
        let needs = Needs::read(path).map_err(|why| format!("the agent {} {why}", path.display()))?;
        match (libc, needs.glibc) {
            (Libc::Glibc(Glibc(has)), Some(least)) if least > *has => Err(format!(
                "the agent {} needs glibc {least}, and the device has {has}: build one with cargo-zigbuild, which links \
                 to an older one (`pip install cargo-zigbuild`, then `bench agents build {name}`)",
                path.display()
            )),
            (Libc::Glibc(_), _) => Ok(file),
            (other, _) => Err(format!("no agent that loads libraries starts with {other}")),
        }
    }

    fn file(path: &Path) -> Result<HostFile, String> {
        let file = HostFile::from_path(path).map_err(|e| format!("the agent {}: {e}", path.display()))?;
        Ok(HostFile { executable: true, ..file })
    }
}

/// Whether a file is an agent of that name: for its instruction set, and static, so that it starts whatever the device's
/// system has, unless it is one for glibc.
///
/// # Errors
/// It is not, and what to do.
pub(crate) fn check(path: &Path, name: &str) -> Result<(), String> {
    let shown = path.display();
    let found =
        Executable::read(path).map_err(|why| format!("the agent {shown} {why}; {}", how_to_get(name)))?;
    let (arch, glibc) = name.strip_suffix(GLIBC).map_or((name, false), |arch| (arch, true));
    let expected = ARCHES.iter().find(|known| known.name == arch);
    if let Some(expected) = expected.filter(|expected| expected.machine != found.machine) {
        let other = ARCHES.iter().find(|known| known.machine == found.machine);
        let other = other.map_or_else(|| format!("machine {}", found.machine), |known| known.name.to_owned());
        return Err(format!(
            "the agent {shown} is built for {other}, not for {}; {}",
            expected.name,
            how_to_get(name)
        ));
    }
    match found.interpreter {
        Some(interpreter) if !glibc => Err(format!(
            "the agent {shown} is not static: it asks the device for {interpreter}, which may be missing there; {}",
            how_to_get(name)
        )),
        None if glibc => {
            Err(format!("the agent {shown} is static: it cannot load libraries; {}", how_to_get(name)))
        }
        _ => Ok(()),
    }
}

/// File name of an agent.
fn file_name(name: &str) -> String {
    format!("bench-agent-{name}")
}

fn how_to_get(name: &str) -> String {
    if Flavour::all().any(|known| known.name() == name) {
        format!("run `bench agents build {name}`")
    } else {
        let names: Vec<&str> = ARCHES.iter().map(|known| known.name).collect();
        format!(
            "agents are built for {}: say which one it can run with `agent` in devices.toml",
            names.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_missing_agent_is_named_with_the_command_that_makes_it() {
        let folder = tempfile::tempdir().unwrap();
        let agents = Agents::new(Some(folder.path()), Path::new("/nowhere"));
        let why = agents.find("aarch64").unwrap_err();
        assert!(why.contains("bench-agent-aarch64") && why.contains("bench agents build aarch64"), "{why}");
        let why = agents.find("mips").unwrap_err();
        assert!(why.contains("`agent` in devices.toml") && !why.contains("build mips"), "{why}");
    }

    #[test]
    fn a_wrong_agent_is_found_out() {
        let folder = tempfile::tempdir().unwrap();
        let agents = Agents::new(Some(folder.path()), Path::new("/nowhere"));
        let put = |arch: &str, bytes: &[u8]| fs::write(folder.path().join(file_name(arch)), bytes).unwrap();
        put("arm", b"#!/bin/sh\n");
        assert!(agents.find("arm").unwrap_err().contains("is no executable of Linux"));
        // this test is an executable of this machine, and a dynamic one
        let own = fs::read(env::current_exe().unwrap()).unwrap();
        let (here, other) = (env::consts::ARCH, if env::consts::ARCH == "arm" { "aarch64" } else { "arm" });
        put(other, &own);
        let why = agents.find(other).unwrap_err();
        assert!(why.contains(&format!("built for {here}, not for {other}")), "{why}");
        put(here, &own);
        let why = agents.find(here).unwrap_err();
        assert!(why.contains("is not static: it asks the device for /lib"), "{why}");
        for left in [100, 1000, own.len() / 2, own.len() - 1] {
            put(here, own.get(..left).unwrap());
            let why = agents.find(here).unwrap_err();
            assert!(why.contains("is damaged") || why.contains("is cut off"), "{left}: {why}");
        }
    }
}
