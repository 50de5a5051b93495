//! What becomes of a run afterwards: exports, several runs side by side, a browser.

use crate::scene::{Scene, finish};
use std::{fs, os::unix::fs::PermissionsExt};

/// Names of the runs, oldest first.
fn runs(scene: &Scene) -> Vec<String> {
    let entries = fs::read_dir(scene.path("runs")).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join("plan.json").is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn measured(scene: &Scene, times: usize) -> Vec<String> {
    scene.model("a", "busy_us = 100");
    scene.model("b", "busy_us = 100");
    let suite = scene.suite(&["a", "b"], 6).display().to_string();
    for _ in 0..times {
        scene.run(&["compare", "--suite", &suite]).expect(0, &[]);
    }
    runs(scene)
}

#[test]
fn a_run_is_exported_where_it_is_wanted() {
    let scene = Scene::new();
    measured(&scene, 1);
    let done =
        scene.run(&["export", "--format", "parquet,trace", "--out", "out/"]).expect(0, &["trace.json"]);
    assert_eq!(done.stdout.lines().count(), 5, "{done:#?}");
    for file in ["results.parquet", "units.parquet", "accuracy.parquet", "samples.parquet"] {
        let bytes = fs::read(scene.path("out").join(file)).unwrap();
        assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"), "{file}");
    }
    let trace = scene.run(&["export", "latest", "--format", "trace", "--out", "-"]).expect(0, &[]).stdout;
    assert_eq!(trace.as_bytes(), fs::read(scene.path("out/trace.json")).unwrap());
    assert!(serde_json::from_str::<serde_json::Value>(&trace).unwrap()["traceEvents"].is_array());
    scene.run(&["export", "--format", "latency-png", "--out", "p.png"]).expect(0, &["p.png"]);
    assert!(fs::read(scene.path("p.png")).unwrap().starts_with(b"\x89PNG"));
    scene.run(&["export", "--format", "parquet", "--out", "p.png"]).expect(2, &["need a folder"]);
    scene.run(&["export", "--format", "parquet", "--out", "-"]).expect(2, &["only one format"]);
    scene.run(&["export", "--format", "parket"]).expect(2, &["parquet"]);
    scene.run(&["export", "nowhere"]).expect(2, &["nowhere"]);
    // by default beside the record, where a recheck looks at it too
    scene.run(&["export"]).expect(0, &["samples.parquet"]);
    scene.run(&["recheck"]).expect(0, &["samples.parquet: the same bytes"]);
}

#[test]
fn runs_are_put_side_by_side() {
    let scene = Scene::new();
    let names = measured(&scene, 2);
    let both = [names[0].as_str(), names[1].as_str()];
    let words = ["2 runs on 1 device, side by side", "A = ", "B = ", "side-by-side.html"];
    scene.run(&["report", both[0], both[1]]).expect(0, &words);
    let page = fs::read_to_string(scene.path("runs/side-by-side.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && both.iter().all(|name| page.contains(name)));
    let html = scene.run(&["report", both[0], both[1], "--format", "html"]).expect(0, &[]);
    assert_eq!(html.stdout, page);
    scene.run(&["report", both[0], both[0]]).expect(2, &["is given twice"]);
    scene.run(&["report", both[0], both[1], "--format", "junit"]).expect(2, &["several runs have no junit"]);
    for width in ["60", "140"] {
        for args in [&["report"][..], &["report", both[0], both[1]]] {
            let done = finish(scene.command(args).env("COLUMNS", width).spawn().unwrap()).expect(0, &[]);
            let longest = done.stdout.lines().filter(|line| !line.contains("runs/"));
            let longest = longest.map(|line| line.chars().count()).max().unwrap();
            assert!(longest <= width.parse().unwrap(), "{longest} > {width}: {}", done.stdout);
        }
    }
}

#[test]
fn a_report_is_opened_or_named() {
    let scene = Scene::new();
    let names = measured(&scene, 1);
    let page = scene.path("runs").join(&names[0]).join("report.html").canonicalize().unwrap();
    fs::remove_file(&page).unwrap();
    let browser = scene.write("browser", "#!/bin/sh\necho \"$1\" > opened\n");
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
    let opened = |browser: &str| {
        let mut command = scene.command(&["open"]);
        finish(command.env("BROWSER", browser).env("PATH", "/nowhere").spawn().unwrap())
    };
    let done = opened(&browser.display().to_string()).expect(0, &[]);
    assert_eq!((done.stdout.trim(), done.stderr.as_str()), (page.to_str().unwrap(), ""));
    assert!(page.is_file(), "it was made");
    assert_eq!(fs::read_to_string(scene.path("opened")).unwrap().trim(), page.to_str().unwrap());
    let done = opened("no-such-browser").expect(0, &["open the page yourself"]);
    assert_eq!(done.stdout.trim(), page.to_str().unwrap());
}
