//! Nights of a farm, from `farm.toml` to the summary: what is measured where, what is sick, what could not run, and
//! every way a night can be cut off.

use crate::scene::{Done, Scene, Watched};
use rustix::process::Signal;
use serde_json::Value;
use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
};

/// Three pretended devices (one breaks off everything, one never answers) and this machine, with a suite for each.
fn farm(jobs: &str) -> Scene {
    let scene = Scene::new();
    scene.model("a", "busy_us = 100");
    scene.model("b", "busy_us = 100 # the other");
    let suite = scene.suite(&["a", "b"], 7);
    let text = fs::read_to_string(suite).unwrap();
    scene.write("imagined.toml", text.replace("fake/cpu", "builtin/cpu"));
    scene.write("scripts/good.toml", "");
    scene.write("scripts/other.toml", "");
    scene.write("scripts/bad.toml", "[[fault]]\nkind = \"lost\"\nat = 0\ntimes = 1000\n");
    let device = |id: &str, tag: &str| {
        let script = scene.path(&format!("scripts/{id}.toml"));
        format!("[[device]]\nid = \"{id}\"\ntransport = \"fake\"\naddress = {script:?}\ntags = [\"{tag}\"]\n")
    };
    scene.write(
        "devices.toml",
        [device("good", "pair"), device("other", "pair"), device("bad", "sick")].concat(),
    );
    scene.write("farm.toml", format!("name = \"tests\"\ndevices = \"devices.toml\"\n{jobs}"));
    scene
}

fn job(suite: &str, devices: &str, more: &str) -> String {
    format!("[[job]]\nsuite = \"./{suite}.toml\"\ndevices = \"{devices}\"\n{more}\n")
}

/// A night of a farm without canaries, which the tests of runs turn off.
fn night(scene: &Scene, more: &[&str]) -> Done {
    let args: Vec<&str> = ["nightly"].into_iter().chain(more.iter().copied()).collect();
    scene.run(&args)
}

fn nights(scene: &Scene) -> Vec<PathBuf> {
    let entries = fs::read_dir(scene.path("nights")).unwrap();
    let mut all: Vec<PathBuf> =
        entries.map(|e| e.unwrap().path()).filter(|p| p.join("plan.json").exists()).collect();
    all.sort();
    all
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Outcomes of the jobs of the only night: device or class, and the word.
fn outcomes(scene: &Scene) -> Vec<(String, String)> {
    let summary = json(&nights(scene)[0].join("summary.json"));
    let of = |job: &Value| {
        let on = job["device"].as_str().or(job["class"].as_str()).unwrap().to_owned();
        (on, job["outcome"]["outcome"].as_str().unwrap_or("open").to_owned())
    };
    let mut all: Vec<_> = summary["jobs"].as_array().unwrap().iter().map(of).collect();
    all.sort();
    all
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(on, word)| ((*on).to_owned(), (*word).to_owned())).collect()
}

#[test]
fn whatever_answers_is_measured_and_the_rest_is_said() {
    let jobs =
        job("imagined", "tag:pair", "") + &job("imagined", "bad", "") + &job("tiny", "local", "priority = 5");
    let scene = farm(&jobs);
    let done = night(&scene, &[]).expect(3, &["3 of 4 jobs measured", "1 sick device", "bad is quarantined"]);
    assert!(done.stderr.contains("bad: imagined is given back"), "{done:#?}");
    let expected = [("bad", "not-run"), ("good", "measured"), ("local", "measured"), ("other", "measured")];
    assert_eq!(outcomes(&scene), pairs(&expected));
    let dir = nights(&scene).remove(0);
    let summary = json(&dir.join("summary.json"));
    assert_eq!(summary["jobs"][0]["subject"], "tiny", "the higher priority goes first");
    for job in
        summary["jobs"].as_array().unwrap().iter().filter(|job| job["outcome"]["outcome"] == "measured")
    {
        let run = dir.join("runs").join(job["run"].as_str().unwrap());
        assert!(run.join("report.html").is_file() && run.join("results.csv").is_file());
    }
    assert!(fs::read_to_string(dir.join("summary.md")).unwrap().contains("Sick devices"));
    let devices = json(&scene.path("nights/devices.json"));
    let bad = devices.as_array().unwrap().iter().find(|card| card["id"] == "bad").unwrap();
    assert_eq!(bad["health"]["state"]["state"], "quarantined");
}

#[test]
fn a_quarantined_device_is_probed_first_and_can_be_released() {
    let scene = farm(&job("imagined", "bad", ""));
    night(&scene, &[]).expect(3, &["bad is quarantined"]);
    scene.run(&["nightly", "--check"]).expect(0, &["bad is quarantined, and is probed first"]);
    let done = night(&scene, &[]).expect(3, &["probed, and still not well"]);
    assert!(!done.stderr.contains("begins"), "{done:#?}");
    scene.write("scripts/bad.toml", "");
    night(&scene, &["--release", "nobody"]).expect(2, &["--release nobody"]);
    night(&scene, &["--release", "bad"]).expect(0, &["1 of 1 job measured"]);
    let devices = json(&scene.path("nights/devices.json"));
    assert_eq!(devices[0]["health"]["state"]["state"], "ready");
    assert_eq!(devices[0]["health"]["strikes"], 0);
}

#[test]
fn any_of_several_devices_does_it_once() {
    let scene = farm(&job("imagined", "tag:pair", "on = \"any\""));
    night(&scene, &[]).expect(0, &["1 of 1 job measured"]);
    assert_eq!(outcomes(&scene).len(), 1);
}

#[test]
fn mistakes_stop_it_before_any_device_is_touched() {
    let scene = farm(&job("imagined", "tag:pair", ""));
    scene.run(&["nightly", "--check"]).expect(0, &["imagined on good: up to", "2 jobs on 2 devices"]);
    assert!(!scene.path("nights").exists());
    for (farm, code, words) in [
        (job("imagined", "tag:pairs", ""), 4, ["did you mean \"pair\"", "farm.toml"].as_slice()),
        (job("imagine", "tag:pair", ""), 2, &["imagine.toml"]),
        (job("imagined", "tag:pair", "prioritty = 1"), 2, &["farm.toml:4", "priority"]),
        (job("imagined", "tag:pair", "filter = [\"zzz\"]"), 4, &["zzz"]),
        (job("imagined", "tag:pair", "reference = \"none.onnx\""), 2, &["none.onnx"]),
        (
            job("imagined", "tag:pair", "") + "[[limits]]\ndevices = \"tag:pair\"\nbudget = \"1m\"",
            2,
            &["budget of the device is 1 min"],
        ),
        (
            job("imagined", "tag:pair", "") + "[[limits]]\ndevices = \"all\"\nblackout = [\"00:00-24:00\"]",
            2,
            &["blackout times leave no such room"],
        ),
        (
            job("imagined", "tag:pair", "") + "[[limits]]\ndevices = \"local\"",
            2,
            &["no device that a job is for"],
        ),
    ] {
        scene.write("farm.toml", farm);
        for args in [["nightly", "--check"].as_slice(), &["nightly"]] {
            scene.run(args).expect(code, words);
        }
        assert!(!scene.path("nights").exists(), "a night was begun");
    }
    scene.run(&["nightly", "none.toml"]).expect(2, &["none.toml"]);
}

/// A night with two jobs on this machine, each of which takes a second or two.
fn slow() -> Scene {
    let scene = farm(&(job("tiny", "local", "") + &job("tiny", "local", "units = 8")));
    scene.model("a", "busy_us = 20000");
    scene.model("b", "busy_us = 20000 # the other");
    scene
}

#[test]
fn a_killed_night_goes_on_where_it_was() {
    let scene = slow();
    let mut watched = Watched::start(scene.command(&["nightly"]));
    watched.until("tiny measured");
    watched.until("tiny begins");
    watched.signal(Signal::KILL);
    assert_eq!(watched.finish().0.signal(), Some(9));
    scene.run(&["nightly", "--check"]).expect(0, &[]);
    night(&scene, &["--resume"]).expect(0, &["2 of 2 jobs measured"]);
    assert_eq!(outcomes(&scene), pairs(&[("local", "measured"), ("local", "measured")]));
    let journal = fs::read_to_string(nights(&scene)[0].join("journal.jsonl")).unwrap();
    assert_eq!(journal.matches("\"entry\":\"result\"").count(), 2, "a job counts once");
    night(&scene, &["--resume", "latest"]).expect(2, &["nothing is left to do"]);
    night(&scene, &["--resume", "yesterday"]).expect(2, &["there is no night \"yesterday\""]);
}

#[test]
fn asked_once_it_ends_what_is_under_way_and_asked_twice_it_cuts_it_off() {
    let scene = slow();
    let mut watched = Watched::start(scene.command(&["nightly"]));
    watched.until("tiny begins");
    watched.signal(Signal::TERM);
    let (_, done) = watched.finish();
    let done = done.expect(3, &["1 of 2 jobs measured before it was stopped", "--resume", "no new jobs"]);
    assert_eq!(done.stderr.matches("tiny begins").count(), 1);

    let scene = slow();
    let mut watched = Watched::start(scene.command(&["nightly"]));
    watched.until("tiny begins");
    watched.signal(Signal::TERM);
    watched.until("no new jobs");
    watched.signal(Signal::TERM);
    let (_, done) = watched.finish();
    done.expect(3, &["0 of 2 jobs measured", "cut off"]);
    night(&scene, &["--resume"]).expect(0, &["2 of 2 jobs measured"]);
}

#[test]
fn two_do_not_work_on_one_night() {
    let scene = slow();
    let mut watched = Watched::start(scene.command(&["nightly"]));
    watched.until("tiny begins");
    night(&scene, &["--resume"]).expect(2, &["another `bench nightly` is at work"]);
    watched.signal(Signal::TERM);
    watched.finish();
}

#[test]
fn a_night_ends_when_its_time_is_over() {
    let scene = slow();
    let text = fs::read_to_string(scene.path("farm.toml")).unwrap();
    scene.write("farm.toml", format!("ends-after = \"1s\"\n{text}"));
    let done =
        night(&scene, &[]).expect(3, &["the time of the night is over", "measured before the time was over"]);
    assert!(done.stdout.contains("not run"), "{done:#?}");
}

#[test]
fn whoever_wants_to_know_is_told() {
    let told = "#!/bin/sh\ncat > told.json; echo \"$BENCH_EXIT $BENCH_NIGHT\" > said\n";
    let scene = farm(&(job("imagined", "good", "") + "[notify]\ncommand = [\"./tell\"]\n"));
    let tell = scene.write("tell", told);
    fs::set_permissions(&tell, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    night(&scene, &[]).expect(0, &[]);
    assert_eq!(json(&scene.path("told.json"))["farm"], "tests");
    assert!(fs::read_to_string(scene.path("said")).unwrap().starts_with("0 20"));
    scene.write("tell", "#!/bin/sh\nexit 7\n");
    night(&scene, &[]).expect(0, &["nobody was told", "exit status: 7"]);
}

#[test]
fn a_slower_model_is_measured_again_and_confirmed_and_an_equal_one_is_not() {
    let scene = farm(&(job("imagined", "good", "") + "[changes]\nbudget = \"2m\"\n"));
    night(&scene, &[]).expect(0, &["no confirmed change"]);
    // another file that is as fast
    scene.model("b", "busy_us = 100 # the outer");
    night(&scene, &[]).expect(0, &["no confirmed change"]);
    // and one that takes 5 % longer
    let slower = fs::read(scene.model("b", "busy_us = 100 # the lower")).unwrap();
    let sha256 = protocol::Sha256Hex::of_bytes(&slower);
    scene.write("scripts/good.toml", format!("[[model]]\nsha256 = \"{sha256}\"\nlatency-ns = 1050000\n"));
    let done = night(&scene, &[]).expect(1, &["3 confirmed changes", "latency of", "m@b on good", "model"]);
    assert!(done.stderr.contains("two versions of a model") && done.stdout.contains("+5.0 %"), "{done:#?}");
    let changes = scene.run(&["history", "changes", "--history", "history", "--format", "json"]);
    let changes = changes.expect(0, &["confirmed", "latency_ns"]);
    assert!(!changes.stdout.contains("m@a"), "{changes:#?}");
    // it is known now, and nobody is told again
    night(&scene, &[]).expect(0, &["no confirmed change"]);
}

#[test]
fn a_history_that_cannot_be_written_loses_nothing() {
    let scene = farm(&(job("imagined", "good", "")));
    scene.write("history", "a file where a folder is wanted");
    night(&scene, &[]).expect(2, &["name a folder"]);
    assert!(!scene.path("nights").exists(), "a night was begun");
    fs::remove_file(scene.path("history")).unwrap();
    scene.write("history/schema=1", "a file where a folder is wanted");
    let done = night(&scene, &[]).expect(3, &["bench history import", "1 of 1 job measured"]);
    fs::remove_file(scene.path("history/schema=1")).unwrap();
    let summary = json(&nights(&scene)[0].join("summary.json"));
    let run = nights(&scene)[0].join("runs").join(summary["unkept"][0].as_str().unwrap());
    let run = run.display().to_string();
    assert!(done.stdout.contains(&run) || done.stdout.contains("import"), "{done:#?}");
    scene.run(&["history", "import", "--history", "history", &run]).expect(0, &[]);
    scene.run(&["history", "ls", "--history", "history", "--format", "csv"]).expect(0, &["latency_ns"]);
}

#[test]
fn a_webhook_gets_the_summary_as_json() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut text, mut part) = (String::new(), [0; 4096]);
        while !text.trim_end().ends_with('}') {
            let n = stream.read(&mut part).unwrap();
            assert_ne!(n, 0, "{text}");
            text.push_str(&String::from_utf8_lossy(&part[..n]));
        }
        stream.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").unwrap();
        text
    });
    let notify = format!("[notify]\nwebhook = \"http://{address}/secret\"\n");
    let scene = farm(&(job("imagined", "good", "") + &notify));
    let done = night(&scene, &[]).expect(0, &["nobody was told", "503"]);
    assert!(!done.stderr.contains("secret"), "{done:#?}");
    let text = heard.join().unwrap();
    assert!(text.starts_with("POST /secret ") && text.contains("\"farm\": \"tests\""), "{text}");
}
