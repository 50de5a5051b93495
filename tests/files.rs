//! The files of a real run, read by what others read them with: a browser, and Python's readers of Parquet, JUnit and
//! metrics; and the dashboard of a farm, as `bench serve` shows it, in that browser. What is missing here is named on stdout, and the test left out; with `browser` or `readers` in
//! `BENCH_TEST_REQUIRE` it fails instead.
#![cfg(test)]

#[path = "../harness/farm/tests/common/fixture.rs"]
mod fixture;

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

/// Programs that are a browser, the first that is there.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What was found; `None` where something is missing, which is told.
fn need<T>(test: &str, name: &str, found: Result<T, String>) -> Option<T> {
    let required = env::var("BENCH_TEST_REQUIRE").unwrap_or_default();
    found
        .inspect_err(|missing| {
            assert!(!required.split(',').any(|r| r == name), "{missing}");
            println!("left out: {test}: {missing}");
        })
        .ok()
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn installed(path: &str, how: &str) -> Result<PathBuf, String> {
    let path = root().join(path);
    if path.exists() { Ok(path) } else { Err(format!("{} is missing: run {how}", path.display())) }
}

/// A short run of the suite `vision`, the same for all tests of this file.
fn run() -> &'static Path {
    static RUN: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, run) = RUN.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let args = ["compare", "--suite", "vision", "--units", "6", "--time-budget", "20s", "--quiet"];
        bench(folder.path(), &args);
        bench(folder.path(), &["export", "--format", "all"]);
        let run = fs::read_dir(folder.path().join("runs")).unwrap().map(|entry| entry.unwrap().path());
        let run = run.into_iter().find(|path| path.join("plan.json").is_file()).unwrap();
        (folder, run)
    });
    run
}

fn bench(folder: &Path, args: &[&str]) {
    let done = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(args)
        .current_dir(folder)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env("ADB_SERVER_SOCKET", "tcp:0.0.0.0:1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(done.status.success(), "{args:?}: {done:?}");
}

/// The browser, node, and the folder with the modules of the check.
fn browser(test: &str) -> Option<[PathBuf; 3]> {
    let browser = BROWSERS.into_iter().find_map(on_path).ok_or("no chromium on the path: install chromium");
    let node = on_path("node").ok_or("no node on the path: install nodejs and npm");
    let modules = installed("target/browser/node_modules", "tests/browser/install.sh");
    let all = browser.map_err(str::to_owned).and_then(|b| Ok([b, node.map_err(str::to_owned)?, modules?]));
    need(test, "browser", all)
}

/// Opens pages, and takes no complaint.
fn check([browser, node, modules]: &[PathBuf; 3], pages: &[String]) {
    let checked = Command::new(node)
        .arg(root().join("tests/browser/check.mjs"))
        .args([modules.parent().unwrap(), browser, &root().join("target/browser/screenshots")])
        .args(pages)
        .output()
        .unwrap();
    println!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    assert!(checked.status.success());
}

#[test]
fn a_browser_finds_nothing_wrong_with_the_pages() {
    let Some(programs) = browser("a_browser_finds_nothing_wrong_with_the_pages") else { return };
    let run = run();
    // the page of several runs: the same run, kept under two names
    let twice = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        let copied = Command::new("cp").arg("-r").arg(run).arg(twice.path().join(name)).status().unwrap();
        assert!(copied.success());
    }
    bench(twice.path(), &["report", "a", "b", "--out", "."]);
    let pages = [run.join("report.html"), twice.path().join("side-by-side.html")];
    check(&programs, &pages.map(|page| page.display().to_string()));
}

/// `bench serve`, until it is dropped.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
    }
}

#[test]
fn a_browser_finds_nothing_wrong_with_the_dashboard() {
    let Some(programs) = browser("a_browser_finds_nothing_wrong_with_the_dashboard") else { return };
    let place = tempfile::tempdir().unwrap();
    let farm = fixture::make(place.path(), &fs::read(run().join("report.html")).unwrap());
    let mut served = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["serve", "--listen", "127.0.0.1:0", "--out"])
        .args([&farm.nights, Path::new("--history"), &farm.history])
        .env_remove("BENCH_SERVE_TOKEN")
        .stdout(Stdio::piped())
        .spawn()
        .map(Served)
        .unwrap();
    let mut address = String::new();
    BufReader::new(served.0.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let address = address.trim().trim_end_matches('/').to_owned();
    let last = &farm.names[farm.names.len() - 1];
    let encoded = |id: &str| id.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
    let mut pages = ["--served", &address, "/", "/nights/", "/trends/"].map(str::to_owned).to_vec();
    pages.push(format!("/nights/{last}"));
    pages.push(format!("/nights/{}", farm.names[farm.names.len() - 6]));
    pages.push(format!("/nights/{last}/runs/{}", farm.run));
    pages.push("/devices/galaxy-s23".to_owned());
    pages.extend(fixture::HOSTILE.map(|id| format!("/devices/{}", encoded(id))));
    pages.push(format!("/trends/{}", farm.moved.id()));
    check(&programs, &pages);
    let process = rustix::process::Pid::from_child(&served.0);
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    assert!(served.0.wait().unwrap().success(), "it ends in good order when it is told to");
}

#[test]
fn other_readers_read_what_is_documented() {
    let test = "other_readers_read_what_is_documented";
    let how = "tests/formats/install.sh";
    let python = installed("target/formats/venv/bin/python", how);
    let all = python.and_then(|python| {
        let modules = "import pyarrow, polars, lxml, prometheus_client, yaml";
        let tried = Command::new(&python).args(["-c", modules]).output().map_err(|e| e.to_string())?;
        let why = String::from_utf8_lossy(&tried.stderr).trim().lines().last().unwrap_or_default().to_owned();
        let schema = installed("target/formats/junit-10.xsd", how)?;
        if tried.status.success() { Ok((python, schema)) } else { Err(format!("{why}: run {how}")) }
    });
    let Some((python, schema)) = need(test, "readers", all) else { return };
    let checked = Command::new(python)
        .arg(root().join("tests/formats/check.py"))
        .args([run(), &root().join("reports/SCHEMA.md"), &schema, &root().join("reports/ci")])
        .output()
        .unwrap();
    println!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    assert!(checked.status.success());
}
