//! The rules of the house as tests: who may depend on whom, where unsafe code and foreign packages may
//! stand, that every module says what it is for, and how long a file may be.
#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Longest source file; a longer one is named in [`LONG_FILES`] with its reason.
const MAX_LINES: usize = 600;

/// Files that may be longer, with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// What the agent and all that it is made of must never pull onto a device.
const HOST_PACKAGES: &[&str] = &["clap", "tokio", "polars", "plotters", "ssh2", "adb_client", "csv", "image"];

/// Member folder, the members it may depend on, and packages it must never see.
const GRAPH: &[(&str, &[&str], &[&str])] = &[
    ("agent/protocol", &[], HOST_PACKAGES),
    ("reports/stats", &[], &["serde", "rand", "polars", "tokio", "clap"]),
    ("runtimes", &["protocol"], HOST_PACKAGES),
    ("runtimes/nnapi-driver", &["protocol", "runtimes"], HOST_PACKAGES),
    ("agent", &["protocol", "runtimes"], HOST_PACKAGES),
    ("datasets", &["protocol"], &["tokio", "polars", "plotters", "clap", "ssh2", "adb_client"]),
    ("suites", &["protocol", "datasets"], &["tokio", "polars", "plotters", "clap", "ssh2", "adb_client"]),
    ("reports", &["protocol", "stats"], &["tokio", "clap", "ssh2", "adb_client"]),
    (
        "harness/farm",
        &["protocol", "datasets", "reports", "stats"],
        &["polars", "plotters", "clap", "ssh2", "adb_client"],
    ),
    ("harness", &["protocol", "suites", "datasets", "reports", "stats", "farm"], &["polars", "plotters"]),
];

/// Packages that may be used in one room only.
const ROOMS: &[(&str, &str)] = &[
    ("async_nats", "harness/farm/src/queue/nats/"),
    ("polars", "reports/src/"),
    ("plotters", "reports/src/"),
    ("ssh2", "harness/src/transport/"),
    ("adb_client", "harness/src/transport/"),
    ("statrs", "reports/stats/"),
];

/// Where `unsafe` may stand.
fn may_be_unsafe(path: &str) -> bool {
    path == "agent/src/sys.rs"
        || path.starts_with("runtimes/src/builtin/kernels/")
        || path == "runtimes/src/dlopen.rs"
        || path.starts_with("runtimes/") && path.ends_with("/ffi.rs")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust source of the repository, as (path from the root, text).
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let folders = ["agent", "datasets", "harness", "reports", "runtimes", "src", "suites", "tests"];
    let mut queue: Vec<PathBuf> = folders.iter().map(|f| root().join(f)).collect();
    while let Some(folder) = queue.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|n| n != "target") {
                queue.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(found.len() > 10, "the sources were not found");
    found
}

/// Numbered lines without comments and without what stands in a string literal.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, String)> + '_ {
    text.lines().enumerate().map(|(number, line)| {
        let (mut kept, mut in_string, mut previous) = (String::new(), false, ' ');
        for c in line.chars() {
            if c == '"' && previous != '\\' && previous != '\'' {
                in_string = !in_string;
            } else if !in_string {
                kept.push(c);
            }
            previous = c;
        }
        let code = kept.split("//").next().unwrap_or_default().to_owned();
        (number + 1, code)
    })
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word)
}

fn manifest(folder: &str) -> toml::Table {
    let path = root().join(folder).join("Cargo.toml");
    fs::read_to_string(&path).unwrap().parse().unwrap()
}

fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    let table = |key: &str| manifest.get(key).and_then(|v| v.as_table()).cloned().unwrap_or_default();
    let mut all: BTreeSet<String> = table("dependencies").keys().cloned().collect();
    for target in table("target").values() {
        if let Some(more) = target.get("dependencies").and_then(|v| v.as_table()) {
            all.extend(more.keys().cloned());
        }
    }
    all
}

#[test]
fn crates_depend_only_as_drawn() {
    let members: BTreeSet<&str> =
        GRAPH.iter().map(|(folder, _, _)| folder.rsplit('/').next().unwrap()).collect();
    for (folder, allowed, forbidden) in GRAPH {
        for dependency in &dependencies(&manifest(folder)) {
            let ours = members.contains(dependency.as_str());
            assert!(
                !ours || allowed.contains(&dependency.as_str()),
                "{folder} must not depend on {dependency}"
            );
            assert!(!forbidden.contains(&dependency.as_str()), "{folder} must not see {dependency}");
        }
    }
    let drawn: BTreeSet<String> = GRAPH.iter().map(|(folder, _, _)| (*folder).to_owned()).collect();
    let workspace =
        manifest("").get("workspace").unwrap().get("members").unwrap().as_array().unwrap().clone();
    let real: BTreeSet<String> = workspace.iter().map(|v| v.as_str().unwrap().to_owned()).collect();
    assert_eq!(drawn, real, "the graph above must name every member");
}

#[test]
fn foreign_packages_stay_in_their_room() {
    for (path, text) in sources() {
        for (number, code) in code_lines(&text) {
            for (package, room) in ROOMS {
                let used = code.contains(&format!("{package}::"));
                assert!(!used || path.starts_with(room), "{path}:{number}: {package} belongs in {room}");
            }
        }
    }
}

#[test]
fn unsafe_code_stays_in_its_room() {
    for (path, text) in sources() {
        for (number, code) in code_lines(&text) {
            assert!(
                !has_word(&code, "unsafe") || may_be_unsafe(&path),
                "{path}:{number}: no unsafe code here"
            );
        }
    }
}

#[test]
fn the_agent_reads_clocks_in_one_place() {
    for (path, text) in sources() {
        let elsewhere = path.starts_with("agent/src/") && path != "agent/src/clock.rs";
        for (number, code) in code_lines(&text) {
            let clock = code.contains("clock_gettime(") || code.contains("SystemTime::now");
            assert!(!(elsewhere && clock), "{path}:{number}: clocks are read in agent/src/clock.rs");
        }
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    for (path, text) in sources() {
        let first = text.lines().find(|l| !l.trim().is_empty()).unwrap_or_default();
        assert!(first.starts_with("//! "), "{path} must open with a line of //! that says what it is for");
    }
}

#[test]
fn files_stay_readable() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        let excused = LONG_FILES.iter().any(|(name, _)| *name == path);
        assert!(lines <= MAX_LINES || excused, "{path} has {lines} lines, more than {MAX_LINES}");
        assert!(lines > MAX_LINES || !excused, "{path} needs no exception any more");
        for (number, code) in code_lines(&text) {
            assert!(!code.contains("#[allow("), "{path}:{number}: use #[expect(lint, reason = ...)]");
        }
    }
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    for folder in GRAPH.iter().map(|(folder, _, _)| *folder).chain([""]) {
        let lints = manifest(folder).get("lints").and_then(|l| l.get("workspace")).and_then(|w| w.as_bool());
        assert_eq!(lints, Some(true), "{folder}/Cargo.toml must have [lints] workspace = true");
    }
}

#[test]
fn the_readme_names_the_commands_that_are_checked() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    for command in ["cargo run --release -- compare --suite vision", "cargo test --release --workspace"] {
        assert!(readme.contains(command), "README.md must show `{command}`");
    }
    assert!(ci.contains("cargo test --release --workspace"), ".ci/run must call the README's test command");
}
