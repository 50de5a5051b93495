//! Brings the library of a runtime from the Python package that carries it, with the user's own pip: its settings,
//! mirrors and proxies are the user's. Nothing of the package is installed or run.

use super::{Entry, Kind, Origin, Shelf, take};
use std::{fs, io, process::Command};

/// Versions of Python that wheels are looked for, the likeliest first: a library is the same in all of them.
const PYTHONS: &[&str] = &["3.12", "3.11", "3.13", "3.10"];
/// Names of wheels' platforms: the C library that they are built for, oldest first.
const PLATFORMS: &[&str] = &[
    "manylinux2014",
    "manylinux_2_17",
    "manylinux_2_24",
    "manylinux_2_26",
    "manylinux_2_27",
    "manylinux_2_28",
    "manylinux_2_31",
    "manylinux_2_34",
    "manylinux_2_35",
    "manylinux_2_39",
];
/// Programs that may be Python's package installer.
const PIPS: &[&[&str]] = &[&["python3", "-m", "pip"], &["pip3"], &["pip"], &["python", "-m", "pip"]];

/// Fetches one version of a runtime's library, the newest where none is named, for one architecture.
///
/// # Errors
/// There is no pip, or it finds no such version, in its own words; or the package does not carry the library.
pub(crate) fn fetch(
    shelf: &Shelf,
    kind: &'static Kind,
    version: Option<&str>,
    arch: &str,
) -> Result<Entry, String> {
    let pip = pip().ok_or(
        "Python’s pip is not to be found: install it (on Debian: apt-get install python3-pip), or bring the library \
         with `bench runtimes add FILE`",
    )?;
    let folder = tempfile::tempdir().map_err(|e| format!("a temporary folder: {e}"))?;
    let wanted = version.map_or_else(|| kind.package.to_owned(), |v| format!("{}=={v}", kind.package));
    let mut said = String::new();
    for python in PYTHONS {
        let mut command = Command::new(pip[0]);
        command.args(&pip[1..]).args(["download", "--no-deps", "--only-binary", ":all:", "--quiet"]);
        command.args(["--disable-pip-version-check", "--no-input", "--implementation", "cp"]);
        command.args(["--python-version", python]);
        command.args(PLATFORMS.iter().flat_map(|p| ["--platform".to_owned(), format!("{p}_{arch}")]));
        command.arg("--dest").arg(folder.path()).arg(&wanted);
        let output = command.output().map_err(|e| format!("{}: {e}", pip[0]))?;
        if output.status.success() {
            return from_wheel(shelf, kind, folder.path());
        }
        said = String::from_utf8_lossy(&output.stderr).into_owned();
    }
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing");
    Err(format!("pip did not bring {wanted} for {arch}: {last}"))
}

fn from_wheel(shelf: &Shelf, kind: &'static Kind, folder: &std::path::Path) -> Result<Entry, String> {
    let read = |e: io::Error| format!("{}: {e}", folder.display());
    let wheel = fs::read_dir(folder).map_err(read)?.flatten().map(|entry| entry.path()).next();
    let wheel = wheel.ok_or("pip says it is done, and brought nothing")?;
    let name = wheel.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    // a package that carries another project's library has a version of its own
    let version = (kind.name == "tflite").then(|| tflite_version(&name)).flatten();
    let origin = Origin { source: Some(name), version, kind: None };
    let taken = take(shelf, &wheel, &origin)?;
    taken
        .into_iter()
        .find(|entry| entry.kind.name == kind.name)
        .ok_or_else(|| "it carries another library".to_owned())
}

/// TensorFlow Lite's version in a package that carries it.
fn tflite_version(wheel: &str) -> Option<String> {
    let known = [("pymicro_wakeword-2.5.0", "2.17.1")];
    known.iter().find(|(name, _)| wheel.starts_with(name)).map(|(_, version)| (*version).to_owned())
}

fn pip() -> Option<&'static [&'static str]> {
    let works = |pip: &&&[&str]| {
        Command::new(pip[0]).args(&pip[1..]).arg("--version").output().is_ok_and(|o| o.status.success())
    };
    PIPS.iter().find(works).copied()
}
