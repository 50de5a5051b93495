//! The runtimes that users ship, pushed to devices that had none of it: a library, and an agent that can load it.

use crate::{
    lab::{Lab, phone, pi},
    scene::journal,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// What is pushed.
const RUNTIMES: [&str; 2] = ["litert", "onnxruntime"];

/// The folder of libraries. `None` after saying that `test` is left out for want of one.
///
/// # Panics
/// One is missing that `BENCH_TEST_REQUIRE` names.
fn shelf(arch: &str, test: &str) -> Option<PathBuf> {
    let shelf = PathBuf::from(env::var_os("BENCH_TEST_RUNTIMES").unwrap_or_default());
    let has = |runtime: &str| {
        let mut versions = shelf.join(runtime).read_dir().into_iter().flatten().flatten();
        versions.any(|version| version.path().join(arch).is_dir())
    };
    let missing: Vec<_> = RUNTIMES.into_iter().filter(|runtime| !has(runtime)).collect();
    let required = env::var("BENCH_TEST_REQUIRE").unwrap_or_default();
    let required = required.split(',').any(|r| missing.contains(&r));
    assert!(!required, "{test}: no {missing:?} for {arch} in the folder of BENCH_TEST_RUNTIMES");
    if missing.is_empty() {
        return Some(shelf);
    }
    println!("left out: {test}: no {missing:?} for {arch} in the folder of BENCH_TEST_RUNTIMES");
    None
}

fn measures_on_what_users_ship(arch: &str, words: &[&str]) {
    let test = format!("real runtimes on devices of {arch}");
    let Some(shelf) = shelf(arch, &test) else { return };
    let Some(lab) = Lab::up(&test, words) else { return };
    let lab = match lab.take_agent(&format!("{arch}-glibc")) {
        Ok(()) => lab,
        Err(missing) => return println!("left out: {test}: {missing}"),
    };
    fs::create_dir_all(lab.scene.path("shelf/runtimes")).unwrap();
    for runtime in RUNTIMES {
        let link = lab.scene.path("shelf/runtimes").join(runtime);
        symlink(shelf.join(runtime), link).unwrap();
    }
    let suite = suite(&lab);
    let devices = [phone(1), pi(1)].join(",");
    lab.run(&["compare", "--suite", &suite, "--device", &devices, "--cache", "shelf"])
        .expect(0, &["report.html", "litert", "is for glibc, and the device has Android’s C library"]);
    let run = lab.scene.the_run();
    assert_eq!(measured(&run, 0), BTreeMap::from([("builtin".to_owned(), 3)]));
    let on_pi = ["builtin", "litert", "onnxruntime"].map(str::to_owned).into_iter().zip([3, 2, 1]);
    assert_eq!(measured(&run, 1), on_pi.collect(), "a format each, and both on ours");
}

/// The suite `smoke`, on every runtime that is found.
fn suite(lab: &Lab) -> String {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/suites"));
    let text = fs::read_to_string(folder.join("smoke.toml")).unwrap();
    let line = "runtimes = [\"builtin/cpu\"]\n";
    assert!(text.contains(line));
    let text = text.replace(line, "").replace("path = \"", &format!("path = \"{}/", folder.display()));
    lab.scene.write("smoke.toml", text).display().to_string()
}

/// How many cases of a device had performance trials that all ended well, by runtime.
fn measured(run: &Path, device: u64) -> BTreeMap<String, usize> {
    let plan: Value = serde_json::from_slice(&fs::read(run.join("plan.json")).unwrap()).unwrap();
    let entries = journal(run);
    let started = |e: &&Value| e["entry"] == "unit-started" && e["purpose"] == "performance";
    let cases: BTreeMap<u64, &Value> =
        entries.iter().filter(started).map(|e| (e["unit"].as_u64().unwrap(), &e["cases"])).collect();
    let (mut well, mut badly) = (BTreeSet::new(), BTreeSet::new());
    for e in entries.iter().filter(|e| e["event"]["event"] == "trial-finished") {
        let Some(cases) = cases.get(&e["unit"].as_u64().unwrap()) else { continue };
        let case = cases[e["event"]["trial"].as_u64().unwrap() as usize].as_u64().unwrap();
        let ok = e["event"]["outcome"]["outcome"] == "ok";
        if ok {
            well.insert(case)
        } else {
            badly.insert(case)
        };
    }
    let mut found = BTreeMap::new();
    for case in well.difference(&badly).map(|case| &plan["cases"][*case as usize]) {
        if case["device"] == device {
            *found
                .entry(case["runtime"].as_str().unwrap().split('/').next().unwrap().to_owned())
                .or_default() += 1;
        }
    }
    found
}

#[test]
fn a_pi_is_measured_on_the_runtimes_that_users_ship() {
    measures_on_what_users_ship(env::consts::ARCH, &["1", "1"]);
}

#[test]
fn a_pi_of_another_architecture_is_measured_on_them_too() {
    if env::consts::ARCH == "x86_64" {
        measures_on_what_users_ship("aarch64", &["--aarch64", "1", "1"]);
    }
}
