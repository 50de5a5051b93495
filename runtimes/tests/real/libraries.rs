//! Where the libraries of the runtimes lie.

use protocol::{Artifact, Library, Sha256Hex};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// A library to test.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// As `bench` names it.
    pub(crate) runtime: &'static str,
    /// As the folder says.
    pub(crate) version: String,
    /// The file.
    pub(crate) path: PathBuf,
}

/// Libraries of a runtime for this machine, oldest version first. Says on stdout when `test` is left out.
///
/// # Panics
/// There is none, and `BENCH_TEST_REQUIRE` names the runtime.
pub(crate) fn found(test: &str, runtime: &'static str) -> Vec<Found> {
    let all = made_for(env::consts::ARCH, test, runtime);
    let required = env::var("BENCH_TEST_REQUIRE").unwrap_or_default();
    assert!(!all.is_empty() || !required.split(',').any(|r| r == runtime), "{runtime} is required");
    all
}

/// Libraries of a runtime for any instruction set.
pub(crate) fn made_for(arch: &str, test: &str, runtime: &'static str) -> Vec<Found> {
    let folder = env::var_os("BENCH_TEST_RUNTIMES").map(PathBuf::from).unwrap_or_default().join(runtime);
    let mut all: Vec<Found> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .filter_map(|version| {
            let version = version.unwrap();
            let path = library(&version.path().join(arch))?;
            Some(Found { runtime, version: version.file_name().to_string_lossy().into_owned(), path })
        })
        .collect();
    let number =
        |version: &str| version.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>();
    all.sort_by_key(|found| number(&found.version));
    if all.is_empty() {
        println!(
            "left out: {test}: no {runtime}/VERSION/{arch}/lib*.so in the folder of BENCH_TEST_RUNTIMES"
        );
    }
    all
}

fn library(folder: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.map(|file| file.unwrap().path());
    let is_library = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().contains(".so"));
    files.filter(is_library).min()
}

/// As the agent is told of it.
pub(crate) fn library_at(path: &Path) -> Library {
    let file = Artifact { path: path.to_owned(), sha256: Sha256Hex::of_bytes(b"") };
    Library { version: String::new(), file, with: Vec::new() }
}
