//! What is said to whom, and how the process ends.

use crate::scene::{Scene, finish};
use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/suites/models/fashion_dscnn/model_int8.tflite");

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let done = Scene::new().run(&["--help"]).expect(0, &["Exit codes", "bench.toml"]);
    for command in [
        "compare",
        "run",
        "report",
        "open",
        "export",
        "inspect",
        "suites",
        "devices",
        "agents",
        "spec",
        "doctor",
        "completions",
    ] {
        assert!(
            done.stdout.lines().any(|l| l.trim_start().starts_with(command)),
            "{command}: {}",
            done.stdout
        );
    }
    assert_eq!(done.stderr, "");
    Scene::new().run(&["--version"]).expect(0, &["bench "]);
}

#[test]
fn what_is_unknown_is_named_with_what_is_near() {
    let scene = Scene::new();
    scene.model("a", "");
    scene.model("b", "");
    let suite = scene.suite(&["a", "b"], 1).display().to_string();
    let with = |more: &[&str]| -> Vec<String> {
        ["compare", "--suite", &suite].into_iter().chain(more.iter().copied()).map(str::to_owned).collect()
    };
    let cases: [(Vec<String>, &[&str]); 6] = [
        (vec!["compair".into()], &["compare"]),
        (vec!["compare".into(), "--suite".into(), "visoin".into()], &["visoin", "vision"]),
        (with(&["--device", "lokal"]), &["no device \"lokal\"", "did you mean \"local\""]),
        (with(&["--runtime", "fake/gpu"]), &["no runtime \"fake/gpu\"", "fake/cpu"]),
        (with(&["--format", "result-csv"]), &["result-csv", "a similar value exists", "results-csv"]),
        (vec!["report".into(), "nothing-like-this".into()], &["no run \"nothing-like-this\""]),
    ];
    for (args, words) in cases {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let done = scene.run(&args).expect(2, words);
        assert_eq!(done.stdout, "", "errors do not go to stdout");
    }
    assert!(!scene.path("runs").exists(), "nothing was begun");
}

#[test]
fn a_selection_must_select_something() {
    let scene = Scene::new();
    let (a, b) = (scene.model("a", "").display().to_string(), scene.model("b", "").display().to_string());
    scene.run(&["compare"]).expect(2, &["--suite", "model files"]);
    scene.run(&["compare", "--suite", "smoke", &a]).expect(2, &[]);
    scene.run(&["compare", &a]).expect(2, &["two variants", "bench run"]);
    scene.run(&["compare", &a, &b, "--filter", "zzz"]).expect(4, &["zzz", "onnx-a", "onnx-b"]);
    scene.run(&["compare", &a, "gone.tflite"]).expect(2, &["gone.tflite"]);
    scene.run(&["compare", &a, &b, "--data", "gone.npz"]).expect(2, &["gone.npz"]);
}

#[test]
fn bad_settings_are_named_with_file_and_key() {
    let scene = Scene::new();
    scene.write("bench.toml", "sede = 1\n");
    scene.run(&["run", "--suite", "smoke"]).expect(2, &["bench.toml", "sede"]);
    scene.run(&["run", "--suite", "smoke", "--config", "none.toml"]).expect(2, &["none.toml"]);
    scene.write("bench.toml", "");
    for (flag, value) in [
        ("--margin", "3"),
        ("--units", "0"),
        ("--threads", "9999"),
        ("--time-budget", "4"),
        ("--runtime", "cpu"),
    ] {
        scene.run(&["run", "--suite", "smoke", flag, value]).expect(2, &[flag]);
    }
    let mut command = scene.command(&["run", "--suite", "smoke"]);
    command.env("BENCH_SEED", "many");
    finish(command.spawn().unwrap()).expect(2, &["many"]);
}

/// The value that the plan of a run really has, with a flag, a variable and a file that disagree.
#[test]
fn flags_beat_the_environment_and_the_environment_beats_the_file() {
    for (flag, variable, wanted) in [(Some("11"), Some("22"), 11), (None, Some("22"), 22), (None, None, 33)] {
        let scene = Scene::new();
        scene.model("a", "");
        let suite = scene.suite(&["a"], 1).display().to_string();
        scene.write("bench.toml", "seed = 33\n");
        let mut args = vec!["run", "--suite", &suite];
        args.extend(flag.iter().flat_map(|value| ["--seed", value]));
        let mut command = scene.command(&args);
        command.envs(variable.map(|value| ("BENCH_SEED", value)));
        finish(command.spawn().unwrap()).expect(0, &[]);
        let plan = fs::read_to_string(scene.the_run().join("plan.json")).unwrap();
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        assert_eq!(plan["seed"], wanted);
    }
}

#[test]
fn folders_that_cannot_be_written_are_named_with_the_flag_that_helps() {
    let scene = Scene::new();
    scene.model("a", "");
    let suite = scene.suite(&["a"], 1).display().to_string();
    let blocked = scene.write("file", "").join("below").display().to_string();
    scene.run(&["run", "--suite", &suite, "--out", &blocked]).expect(2, &[&blocked]);
    scene.run(&["run", "--suite", &suite, "--cache", &blocked]).expect(2, &[&blocked]);
    let mut command = scene.command(&["run", "--suite", &suite]);
    command.env_remove("XDG_CACHE_HOME");
    finish(command.spawn().unwrap()).expect(2, &["--cache"]);
    scene.run(&["doctor", "--out", &blocked]).expect(2, &["BAD", &blocked, "--out"]);
}

#[test]
fn suites_are_listed_shown_and_checked() {
    let scene = Scene::new();
    scene.run(&["suites"]).expect(0, &["vision", "audio", "smoke"]);
    scene
        .run(&["suites", "show", "smoke"])
        .expect(0, &["(reference)", "fashion_dscnn@tflite-int8", "50 examples"]);
    scene.run(&["suites", "check", "vision"]).expect(0, &["vision: fine; 8 variants"]);
    let bad = scene.write("bad.toml", "schema = 1\nnaem = \"x\"\n").display().to_string();
    scene.run(&["suites", "check", &bad]).expect(2, &["bad.toml", "naem"]);
}

#[test]
fn devices_doctor_and_completions_answer() {
    let scene = Scene::new();
    scene.run(&["devices"]).expect(0, &["device", "local", "ready", std::env::consts::ARCH]);
    let done = scene.run(&["devices", "--format", "json"]).expect(0, &[]);
    let all: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&all[0]["id"], &all[0]["ready"]), (&"local".into(), &true.into()));
    scene.run(&["devices", "local"]).expect(0, &["builtin/cpu"]);
    scene.run(&["devices", "fake"]).expect(0, &["imagined"]);
    scene.run(&["doctor"]).expect(0, &["agent", "answers", "governor"]);
    scene.run(&["completions", "bash"]).expect(0, &["_bench"]);
}

#[test]
fn a_model_is_inspected_and_a_broken_one_does_not_hide_it() {
    let scene = Scene::new();
    scene.run(&["inspect", MODEL]).expect(0, &["precision    int8", "tflite", "CONV_2D"]);
    let done = scene.run(&["inspect", MODEL, "--format", "json"]).expect(0, &[]);
    let facts: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(facts["precision"], "int8");
    let whole = fs::read(MODEL).unwrap();
    let cut = scene.write("cut.tflite", &whole[..whole.len() / 2]).display().to_string();
    let done = scene.run(&["inspect", &cut, MODEL]).expect(2, &["cut.tflite"]);
    assert!(done.stdout.contains("precision    int8"), "{done:?}");
    scene.run(&["inspect", "gone.tflite"]).expect(2, &["gone.tflite"]);
}

#[test]
fn a_model_is_run_and_its_layers_are_told() {
    let scene = Scene::new();
    for model in [MODEL, &MODEL.replace("model_int8.tflite", "model_fp32.onnx")] {
        scene.run(&["inspect", "--run", model]).expect(0, &["layers in 10 examples", "NaN"]);
    }
    let asked = ["inspect", "--run", "--data", "vision", "--examples", "3", MODEL, "--format", "json"];
    let done = scene.run(&asked).expect(0, &[]);
    let facts: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(facts["observed"]["examples"], 3);
    let layers = facts["observed"]["layers"].as_array().unwrap();
    assert!(
        layers.iter().any(|l| l["op"].as_str().unwrap().contains("conv") && l["stored"].is_array()),
        "{facts}"
    );
    scene.run(&["inspect", "--data", "vision", MODEL]).expect(2, &["--run"]);
    let few = scene.write("few.csv", b"x0,x1\n0.5,0.25\n").display().to_string();
    scene.run(&["inspect", "--run", "--data", &few, MODEL]).expect(2, &["elements"]);
}

#[test]
fn a_spec_pipes_into_the_agent_by_hand() {
    let scene = Scene::new();
    let spec = scene.run(&["spec", "tflite-int8", "--suite", "smoke", "--mode", "accuracy"]).expect(0, &[]);
    let mut agent = Command::new(env!("CARGO_BIN_EXE_bench-agent"))
        .arg("--dir")
        .arg(scene.path("by-hand"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    agent.stdin.take().unwrap().write_all(spec.stdout.as_bytes()).unwrap();
    let done = finish(agent).expect(0, &["unit-done", "\"outcome\":\"ok\""]);
    assert!(done.stdout.lines().all(|l| l.starts_with('{')), "{}", done.stdout);
    scene.run(&["spec", "int8", "--suite", "vision"]).expect(2, &["several variants"]);
    scene.run(&["spec", "none", "--suite", "vision"]).expect(4, &["none"]);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let scene = Scene::new();
    let mut child = scene.command(&["suites", "show", "smoke"]).spawn().unwrap();
    drop(child.stdout.take());
    let done = finish(child);
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
}
