//! Every way a run can be cut off, and that it can be taken up again.

use crate::scene::{Scene, Watched, count, finish, journal};
use rustix::process::Signal;
use std::{fs, os::unix::process::ExitStatusExt, path::Path, process::Stdio};

/// A suite of two models with time enough to be interrupted.
fn scene(units: u32) -> (Scene, String) {
    let scene = Scene::new();
    scene.model("a", "busy_us = 100");
    scene.model("b", "busy_us = 100 # the other");
    let suite = scene.suite(&["a", "b"], units).display().to_string();
    (scene, suite)
}

/// The record after a run that came to its end: every unit once, and a verdict can be given.
#[track_caller]
fn assert_whole(scene: &Scene, run: &Path) {
    assert_eq!(count(run, "finished"), 1);
    let mut done: Vec<u64> = journal(run)
        .iter()
        .filter(|e| e["entry"] == "unit-done")
        .map(|e| e["unit"].as_u64().unwrap())
        .collect();
    let all = done.len();
    done.sort_unstable();
    done.dedup();
    assert_eq!(done.len(), all, "a unit counts once");
    assert!(all >= 2 + 6, "{all} units");
    scene.run(&["report"]).expect(0, &["report.html"]);
}

/// Neither the agents nor the workers of a run are left behind.
#[track_caller]
fn assert_nothing_runs(run: &Path) {
    let entries = journal(run);
    let pids: Vec<u64> = entries
        .iter()
        .filter_map(|e| e["agent"]["pid"].as_u64().or_else(|| e["event"]["pid"].as_u64()))
        .collect();
    assert!(!pids.is_empty(), "no process is named");
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z ") || !stat.contains("(bench"), "left behind: {stat}");
    }
}

#[test]
fn a_killed_run_goes_on_where_it_was() {
    for word in ["accuracy 1 of", "accuracy 2 of", "performance unit 1 of", "performance unit 4 of"] {
        let (scene, suite) = scene(8);
        let mut watched = Watched::start(scene.command(&["run", "--suite", &suite, "--seed", "3"]));
        watched.until(word);
        watched.signal(Signal::KILL);
        let (status, _) = watched.finish();
        assert_eq!(status.signal(), Some(9));
        let run = scene.the_run();
        let before = count(&run, "unit-done");
        assert_eq!(count(&run, "finished"), 0);
        scene.run(&["report"]).expect(0, &[]);

        scene.run(&["run", "--resume", "latest"]).expect(0, &["going on with"]);
        assert_whole(&scene, &run);
        assert!(count(&run, "unit-done") > before);
        let agents = journal(&run).iter().filter(|e| e["entry"] == "device").count();
        assert_eq!(agents, 2, "one agent before the kill and one after");
        assert_nothing_runs(&run);
    }
}

#[test]
fn an_interrupted_run_ends_in_good_order_and_says_how_to_go_on() {
    for signal in [Signal::INT, Signal::TERM] {
        let (scene, suite) = scene(8);
        let mut watched = Watched::start(scene.command(&["compare", "--suite", &suite]));
        watched.until("performance unit 2 of");
        watched.signal(signal);
        let (_, done) = watched.finish();
        let run = scene.the_run();
        let done = done.expect(3, &["interrupted", "bench compare --resume", &run.display().to_string()]);
        assert!(done.stdout.contains("report.html"), "what there is, is reported: {}", done.stdout);
        assert_eq!(count(&run, "finished"), 0);

        scene.run(&["compare", "--resume", &run.display().to_string()]).expect(0, &["report.html"]);
        assert_whole(&scene, &run);
    }
}

#[test]
fn a_second_interruption_waits_for_nothing() {
    let scene = Scene::new();
    // a worker that does not come back from its first invoke
    scene.model("a", "fault = hang at invoke 1");
    let suite = scene.suite(&["a"], 8).display().to_string();
    let mut watched = Watched::start(scene.command(&["run", "--suite", &suite]));
    watched.until("accuracy 1 of");
    watched.signal(Signal::INT);
    watched.until("once more to end at once");
    watched.signal(Signal::INT);
    let (_, done) = watched.finish();
    done.expect(3, &["--resume"]);
    assert_nothing_runs(&scene.the_run());
}

#[test]
fn one_process_at_a_time_writes_to_a_run() {
    let (scene, suite) = scene(40);
    let mut watched = Watched::start(scene.command(&["run", "--suite", &suite]));
    watched.until("accuracy 1 of");
    scene.run(&["run", "--resume", "latest", "--cache", "other"]).expect(2, &["another process"]);
    watched.signal(Signal::INT);
    watched.finish().1.expect(3, &[]);
}

#[test]
fn a_device_that_measures_for_somebody_else_says_so() {
    let (scene, suite) = scene(40);
    scene.model("long", "sleep_us = 100000");
    let long = scene.path("long.onnx").display().to_string();
    let mut watched = Watched::start(scene.command(&["run", &long, "--runtime", "fake/cpu"]));
    watched.until("accuracy 1 of");
    let busy = scene.run(&["compare", "--suite", &suite, "--out", "others"]);
    let busy = busy.expect(3, &["measuring for another host", "--resume"]);
    assert_eq!(busy.stdout, "", "no table without a number");
    scene
        .run(&["devices", "clean", "local"])
        .expect(3, &["local: nothing was deleted: agent ", " is measuring"]);
    watched.signal(Signal::INT);
    watched.finish().1.expect(3, &[]);
    scene.run(&["devices", "clean", "local"]).expect(0, &["files deleted", " 0 B left"]);
}

#[test]
fn a_pushed_file_that_goes_is_pushed_again_and_its_unit_repeated() {
    let (scene, suite) = scene(8);
    let mut watched = Watched::start(scene.command(&["run", "--suite", &suite]));
    watched.until("performance unit 1 of");
    for file in fs::read_dir(scene.path("cache/bench/files")).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    watched.finish().1.expect(0, &["attempt 1 lost: ", "is missing; push it to the device again"]);
    let run = scene.the_run();
    assert_whole(&scene, &run);
    assert_eq!(count(&run, "unit-lost"), 1);
}

#[test]
fn what_has_changed_since_is_not_mixed_in() {
    let (scene, suite) = scene(8);
    let mut watched = Watched::start(scene.command(&["run", "--suite", &suite]));
    watched.until("performance unit 1 of");
    watched.signal(Signal::KILL);
    watched.finish();
    scene.model("b", "busy_us = 50");
    scene.run(&["run", "--resume", "latest"]).expect(2, &["b.onnx", "changed"]);
    scene.model("b", "busy_us = 100 # the other");
    let text = fs::read_to_string(&suite).unwrap();
    fs::write(&suite, format!("{text}\n# later\n")).unwrap();
    scene.run(&["run", "--resume", "latest"]).expect(2, &["suite tiny changed"]);
    fs::write(&suite, text).unwrap();
    scene.run(&["run", "--resume", "latest"]).expect(0, &[]);
}

#[test]
fn a_torn_last_line_is_cut_off() {
    let (scene, suite) = scene(8);
    let mut watched = Watched::start(scene.command(&["run", "--suite", &suite]));
    watched.until("performance unit 1 of");
    watched.signal(Signal::KILL);
    watched.finish();
    let path = scene.the_run().join("journal.jsonl");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(b"{\"entry\":\"event\",\"unit\":3,");
    fs::write(&path, bytes).unwrap();
    scene.run(&["run", "--resume", "latest"]).expect(0, &[]);
    assert_whole(&scene, &scene.the_run());
}

/// A file system of 96 kB, in a mount namespace of the process's own.
#[test]
fn a_full_disk_ends_the_run_and_loses_nothing_that_was_measured() {
    let (scene, suite) = scene(40);
    fs::create_dir(scene.path("small")).unwrap();
    let inner = scene.command(&["run", "--suite", &suite, "--out", "small"]);
    let script = "mount -t tmpfs -o size=96k small small && \
                  { \"$0\" \"$@\"; code=$?; cp -r small/. kept; exit $code; }";
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]).arg(inner.get_program());
    command.args(inner.get_args()).current_dir(scene.path("")).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?))));
    fs::create_dir(scene.path("kept")).unwrap();
    let done = match command.spawn() {
        Ok(child) => finish(child),
        Err(e) => return eprintln!("left out: a_full_disk (no unshare here: {e})"),
    };
    if done.code == Some(1) && done.stderr.contains("unshare") || done.stderr.contains("mount:") {
        return eprintln!("left out: a_full_disk (no mount namespace here: {})", done.stderr.trim());
    }
    done.expect(3, &["free some space", "--resume"]);
    fs::rename(scene.path("kept"), scene.path("runs")).unwrap();
    let run = scene.the_run();
    assert!(count(&run, "unit-done") > 0, "what was measured is kept");
    scene.run(&["report"]).expect(0, &["report.html"]);
    scene.run(&["run", "--resume", "latest"]).expect(0, &[]);
    assert_eq!(count(&run, "finished"), 1);
}
