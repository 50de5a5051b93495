//! Builds agents out of the sources with what the machine has: a target of rustup's toolchain, or Debian's rustc
//! with its standard library for another architecture. The flags stand here and nowhere else. Downloads nothing.

use super::{Agents, Arch, Flavour, check};
use serde::Deserialize;
use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Debian's compiler, which has standard libraries that rustup's may lack.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// What the agent is called among the binaries of the sources.
const BINARY: &str = "bench-agent";

/// Small, for it is pushed: no tables for unwinding, which nothing reads where a panic ends the process, and no symbols
/// (cargo's profile cannot say that while another profile of this package keeps some); nothing is inlined that is long
/// and does not ask for it, as kernels do; loops over strides have no second copy for strides of one, which have loops
/// of their own.
const SMALL: &str = "-C force-unwind-tables=no -C strip=symbols -C llvm-args=-inline-threshold=50 \
    -C llvm-args=-enable-mem-access-versioning=false";

/// For the linker: what agents leave out that are static, for they must start on devices that have no C library of
/// ours. A file below the sources.
const LEFT_OUT: &str = "harness/src/agents/static.ld";

/// The linker of Rust's own toolchain, which is called without a compiler in between.
const RUST_LLD: &str = "rust-lld";

/// Where cargo builds those, below the sources.
const GLIBC_DIR: &str = "target/glibc";

/// Links to an old glibc whatever the machine has, by its name as a program of cargo's.
const ZIGBUILD: &str = "cargo-zigbuild";

/// What agents are linked to then: no library of a runtime asks for less.
const OLD_GLIBC: &str = "2.28";

/// A way to build for an instruction set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    target: &'static str,
    /// `None`: the one of the sources' toolchain.
    rustc: Option<PathBuf>,
    /// `None`: Rust's own choice.
    linker: Option<String>,
    /// See [`Arch`].
    spared: &'static str,
    /// Linked to glibc.
    glibc: bool,
    /// By cargo-zigbuild.
    zig: bool,
}

impl Recipe {
    /// For the compiler.
    fn flags(&self) -> String {
        let left_out = match self.linker.as_deref() {
            _ if self.glibc => String::new(),
            Some(RUST_LLD) => format!("-C link-arg=-T{LEFT_OUT} -C link-arg=--no-eh-frame-hdr"),
            _ => format!("-C link-arg=-Wl,-T,{LEFT_OUT},--no-eh-frame-hdr"),
        };
        // linked to glibc, for libraries can be loaded only so
        let features = if self.glibc { "-crt-static" } else { "+crt-static" };
        format!("{SMALL} {left_out} -C target-feature={features}{}", self.spared)
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let rustc =
            self.rustc.as_ref().map_or_else(|| "the pinned rustc".to_owned(), |p| p.display().to_string());
        let zig = if self.zig { format!(" and {ZIGBUILD}, for glibc {OLD_GLIBC}") } else { String::new() };
        format!("{} by {rustc}{zig}", self.target)
    }
}

/// Sources, and where finished agents go.
pub(crate) struct Builder {
    source: PathBuf,
    agents: Agents,
}

impl Builder {
    /// From the checkout in `source`, else from the one this executable was built from.
    ///
    /// # Errors
    /// There are no sources.
    pub(crate) fn new(source: Option<PathBuf>, agents: Agents) -> Result<Self, String> {
        let built_from =
            || Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default();
        let source = source.unwrap_or_else(built_from);
        let manifest = fs::read_to_string(source.join("Cargo.toml")).unwrap_or_default();
        if !manifest.contains(BINARY) {
            return Err(format!(
                "{} does not hold the sources of bench; name their folder with --source",
                source.display()
            ));
        }
        Ok(Self { source, agents })
    }

    /// How an agent can be built here.
    ///
    /// # Errors
    /// It cannot, and the commands that change that.
    pub(crate) fn recipe(&self, Flavour { arch, glibc }: Flavour) -> Result<Recipe, String> {
        let gcc = || {
            let native = arch.name == env::consts::ARCH;
            [arch.gcc, "cc"]
                .iter()
                .take(1 + usize::from(native))
                .find(|name| is_on_path(name))
                .map(|n| (*n).to_owned())
        };
        let pinned = |target| self.has_std(Path::new("rustc"), target);
        let spared = arch.spared;
        if !glibc && pinned(arch.musl) {
            // what musl needs comes with the target, and Rust's own linker knows every architecture
            return Ok(Recipe {
                target: arch.musl,
                rustc: None,
                linker: Some(RUST_LLD.to_owned()),
                spared,
                glibc,
                zig: false,
            });
        }
        let debian = PathBuf::from(DEBIAN_RUSTC);
        let rustc = if pinned(arch.gnu) {
            None
        } else if self.has_std(&debian, arch.gnu) {
            Some(debian)
        } else {
            return Err(format!("no Rust here can build for {}. {}", arch.name, install_all(arch)));
        };
        if glibc && is_on_path(ZIGBUILD) {
            return Ok(Recipe { target: arch.gnu, rustc, linker: None, spared, glibc, zig: true });
        }
        match gcc() {
            Some(linker) => {
                Ok(Recipe { target: arch.gnu, rustc, linker: Some(linker), spared, glibc, zig: false })
            }
            None => Err(format!(
                "nothing here links for {}: {} is missing. On Debian and its relatives:\n  sudo apt-get install {}",
                arch.name, arch.gcc, arch.debian_gcc
            )),
        }
    }

    /// Builds one and puts it where it is found; what cargo has to say goes to stderr.
    ///
    /// # Errors
    /// It cannot be built or put there, or what came out would not run on a device.
    pub(crate) fn build(&self, flavour: Flavour, quiet: bool) -> Result<PathBuf, String> {
        let recipe = self.recipe(flavour)?;
        let name = flavour.name();
        let output = self.cargo(&recipe, quiet).output().map_err(|e| {
            format!("cargo cannot be started: {e}; it comes with Rust, see https://rustup.rs")
        })?;
        if !output.status.success() {
            return Err(format!("cargo could not build for {name} ({})", output.status));
        }
        let built = executable_in(&output.stdout).ok_or("cargo did not say what it built")?;
        check(&built, &name)?;
        let place = self.agents.place(&name).ok_or("there is no folder for agents")?;
        put(&built, &place).map_err(|e| format!("{}: {e}", place.display()))?;
        Ok(place)
    }

    fn cargo(&self, recipe: &Recipe, quiet: bool) -> Command {
        let prefix = format!("CARGO_TARGET_{}", recipe.target.to_uppercase().replace('-', "_"));
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(&self.source)
            .arg(if recipe.zig { "zigbuild" } else { "build" })
            .args(["--locked", "--profile", "agent", "--no-default-features", "--bin", BINARY])
            // apart from the static ones, which would otherwise lie in the same place
            .args(
                recipe
                    .glibc
                    .then_some(["--features", "dlopen", "--target-dir", GLIBC_DIR])
                    .into_iter()
                    .flatten(),
            )
            .args(["--message-format", "json-render-diagnostics"])
            .arg("--target")
            .arg(if recipe.zig { format!("{}.{OLD_GLIBC}", recipe.target) } else { recipe.target.to_owned() })
            .args(quiet.then_some("--quiet"))
            .env(format!("{prefix}_RUSTFLAGS"), recipe.flags())
            // these would take the place of ours
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .envs(recipe.rustc.iter().map(|rustc| ("RUSTC", rustc)))
            .envs(recipe.linker.iter().map(|linker| (format!("{prefix}_LINKER"), linker)))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        cargo
    }

    /// The compiler has a standard library for that target.
    fn has_std(&self, rustc: &Path, target: &str) -> bool {
        let asked = Command::new(rustc)
            .args(["--print", "target-libdir", "--target", target])
            .current_dir(&self.source)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output();
        let folder = asked.ok().filter(|o| o.status.success()).and_then(|o| String::from_utf8(o.stdout).ok());
        let entries = folder.and_then(|folder| fs::read_dir(folder.trim()).ok());
        entries
            .into_iter()
            .flatten()
            .flatten()
            .any(|e| e.file_name().to_string_lossy().starts_with("libstd-"))
    }
}

fn install_all(arch: &Arch) -> String {
    let mut text = format!("With rustup:\n  rustup target add {}\nor on Debian 12:\n", arch.musl);
    let foreign = if arch.name == env::consts::ARCH {
        "rustc-web".to_owned()
    } else {
        text.push_str(&format!("  sudo dpkg --add-architecture {} && sudo apt-get update\n", arch.debian));
        format!("rustc-web libstd-rust-web-dev:{}", arch.debian)
    };
    text.push_str(&format!("  sudo apt-get install {foreign} {}", arch.debian_gcc));
    text
}

fn is_on_path(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// One line of cargo's account of what it did, as far as it matters.
#[derive(Deserialize)]
struct CargoLine {
    executable: Option<PathBuf>,
}

fn executable_in(stdout: &[u8]) -> Option<PathBuf> {
    let lines = stdout.split(|byte| *byte == b'\n');
    let read = |line: &[u8]| serde_json::from_slice::<CargoLine>(line).ok()?.executable;
    lines.filter_map(read).find(|path| path.file_stem().is_some_and(|stem| stem == BINARY))
}

/// Copies under another name first: whoever pushes agents meanwhile finds the old one or the new one.
fn put(built: &Path, place: &Path) -> io::Result<()> {
    let folder = place.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let part = tempfile::Builder::new().prefix(".part-").tempfile_in(folder)?;
    fs::copy(built, part.path())?;
    part.persist(place)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::ARCHES, *};

    #[test]
    fn cargos_account_names_the_executable() {
        let account = b"{\"reason\":\"compiler-artifact\",\"executable\":null}\nnoise\n\
            {\"reason\":\"compiler-artifact\",\"executable\":\"/t/agent/bench-agent\"}\n{\"reason\":\"build-finished\"}\n";
        assert_eq!(executable_in(account), Some("/t/agent/bench-agent".into()));
        assert_eq!(executable_in(b"{}"), None);
    }

    #[test]
    fn what_is_missing_is_named_with_the_commands_that_install_it() {
        let arm = install_all(ARCHES.iter().find(|a| a.name == "arm").unwrap());
        for words in [
            "rustup target add armv7-unknown-linux-musleabihf",
            "dpkg --add-architecture armhf",
            "libstd-rust-web-dev:armhf",
        ] {
            assert!(arm.contains(words), "{arm}");
        }
    }

    #[test]
    fn a_folder_without_sources_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let why = Builder::new(Some(folder.path().to_owned()), Agents::default()).err().unwrap();
        assert!(why.contains("--source"), "{why}");
    }
}
