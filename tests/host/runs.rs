//! Whole runs with real agents and workers.

use crate::scene::{Scene, count, finish, journal};
use std::{collections::BTreeSet, fs, path::Path};

/// Rendered files of a run, by name.
fn reports(run: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = fs::read_dir(run)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap()))
        .filter(|(name, _)| name != "journal.jsonl" && name != "plan.json")
        .collect();
    all.sort();
    all
}

#[test]
fn a_comparison_ends_with_reports_that_can_be_made_again_byte_for_byte() {
    let scene = Scene::new();
    scene.model("a", "busy_us = 100");
    scene.model("b", "busy_us = 100");
    let suite = scene.suite(&["a", "b"], 8).display().to_string();
    let done =
        scene.run(&["compare", "--suite", &suite, "--seed", "5"]).expect(0, &["report.html", "results.csv"]);
    assert!(done.stderr.contains("performance unit") && !done.stderr.contains('\u{1b}'), "{}", done.stderr);
    assert!(!done.stdout.contains('\u{1b}'), "no colours in a pipe");
    let run = scene.the_run();
    assert_eq!(count(&run, "finished"), 1);
    let first = reports(&run);
    assert!(first.iter().any(|(name, _)| name == "report.html"), "{:?}", first.len());
    for run_name in ["latest", &run.display().to_string()] {
        let again = scene.run(&["report", run_name]).expect(0, &[]);
        assert_eq!(
            again.stdout.replace(&run.display().to_string(), "RUN"),
            done.stdout.replace(&run.display().to_string(), "RUN")
        );
        assert!(reports(&run) == first, "a report differs from the one before");
    }
    scene.run(&["compare", "--resume", "latest"]).expect(0, &["has come to its end"]);
    assert!(reports(&run) == first);
    let words = ["--units cannot be used with --resume"];
    scene.run(&["compare", "--resume", "latest", "--units", "9"]).expect(2, &words);
    let usual = scene.command(&["compare", "--resume", "latest"]).env("BENCH_UNITS", "9").spawn().unwrap();
    finish(usual).expect(0, &["has come to its end"]);
    scene.run(&["report", "--format", "results-csv"]).expect(0, &["latency_ns"]);
}

#[test]
fn a_recheck_believes_what_was_written_and_nothing_else() {
    let scene = Scene::new();
    scene.model("a", "busy_us = 100");
    scene.model("b", "busy_us = 100");
    let suite = scene.suite(&["a", "b"], 6).display().to_string();
    scene.run(&["compare", "--suite", &suite]).expect(0, &[]);
    let run = scene.the_run();
    let good = scene.run(&["recheck"]).expect(0, &["as they were written", "report.html: the same bytes"]);
    let seal = good.stdout.split("seal ").nth(1).unwrap()[..64].to_owned();
    scene.run(&["recheck", "latest", "--seal", &seal]).expect(0, &[]);
    scene.run(&["recheck", "--seal", &"0".repeat(64)]).expect(1, &["another record"]);

    let results = run.join("results.csv");
    let text = fs::read_to_string(&results).unwrap();
    fs::write(&results, text.replace("latency_ns", "latency_us")).unwrap();
    scene.run(&["recheck"]).expect(1, &["results.csv: differs", "from byte"]);
    fs::remove_file(&results).unwrap();
    scene.run(&["recheck"]).expect(1, &["results.csv: missing"]);
    scene.run(&["report"]).expect(0, &[]);
    scene.run(&["recheck"]).expect(0, &[]);

    let lines = fs::read_to_string(run.join("journal.jsonl")).unwrap();
    let slower = lines.replacen("\"wall_ns\":[1", "\"wall_ns\":[9", 1);
    assert_ne!(slower, lines);
    fs::write(run.join("journal.jsonl"), slower).unwrap();
    for command in ["recheck", "report"] {
        let code = if command == "recheck" { 1 } else { 2 };
        scene.run(&[command]).expect(code, &["journal.jsonl line", "is not what was written"]);
    }
}

#[test]
fn a_run_keeps_a_record_and_says_where() {
    let scene = Scene::new();
    scene.model("a", "");
    let suite = scene.suite(&["a"], 8).display().to_string();
    let done = scene.run(&["run", "--suite", &suite, "--quiet"]).expect(0, &[]);
    let run = scene.the_run();
    assert_eq!((done.stdout.trim(), done.stderr.as_str()), (run.display().to_string().as_str(), ""));
    let performance = journal(&run)
        .iter()
        .filter(|e| e["entry"] == "unit-started" && e["purpose"] == "performance")
        .count();
    assert_eq!(performance, 6, "one variant alone is measured until a spread can be told");
    assert!(!run.join("report.html").exists());
}

#[test]
fn the_same_seed_measures_in_the_same_order() {
    let orders: BTreeSet<String> = (0..2)
        .map(|_| {
            let scene = Scene::new();
            for name in ["a", "b", "c"] {
                scene.model(name, "");
            }
            let suite = scene.suite(&["a", "b", "c"], 1).display().to_string();
            scene.run(&["run", "--suite", &suite, "--seed", "77", "--quiet"]).expect(0, &[]);
            let started = journal(&scene.the_run()).into_iter().filter(|e| e["entry"] == "unit-started");
            started.map(|e| format!("{} {} {};", e["unit"], e["seed"], e["cases"])).collect()
        })
        .collect();
    assert_eq!(orders.len(), 1, "{orders:?}");
}

#[test]
fn a_gate_fails_when_a_variant_is_slower_and_only_then() {
    let scene = Scene::new();
    scene.model("a", "busy_us = 200");
    scene.model("slow", "busy_us = 2000");
    let suite = scene.suite(&["a", "slow"], 8).display().to_string();
    scene.run(&["compare", "--suite", &suite, "--gate"]).expect(1, &["gate: m@slow", "worse"]);
    scene.run(&["report"]).expect(0, &["worse"]);
    fs::remove_dir_all(scene.path("runs")).unwrap();
    scene.run(&["compare", "--suite", &suite]).expect(0, &["worse"]);
}

#[test]
fn hostile_models_beside_good_ones_are_named_and_the_rest_goes_on() {
    let scene = Scene::new();
    scene.model("a", "busy_us = 100");
    scene.model("b", "busy_us = 100");
    scene.model("crash", "fault = crash 11 at load");
    scene.model("late", "fault = crash 6 at invoke 5");
    scene.model("unstable", "fault = unstable at invoke 3");
    scene.write("garbage.onnx", [0xffu8; 1000]);
    let suite = scene.suite(&["a", "b", "crash", "late", "unstable", "garbage"], 6).display().to_string();
    scene.run(&["compare", "--suite", &suite]).expect(3, &["report.html"]);
    let run = scene.the_run();
    assert_eq!(count(&run, "finished"), 1, "the run itself came to its end");
    let outcomes = |case: u64| -> BTreeSet<String> {
        let entries = journal(&run);
        let units: Vec<_> = entries.iter().filter(|e| e["entry"] == "unit-started").collect();
        let ended = entries.iter().filter(|e| e["event"]["event"] == "trial-finished");
        ended
            .filter(|e| {
                let unit = units.iter().find(|u| u["unit"] == e["unit"]).unwrap();
                unit["cases"][e["event"]["trial"].as_u64().unwrap() as usize] == case
            })
            .map(|e| e["event"]["outcome"]["outcome"].as_str().unwrap().to_owned())
            .collect()
    };
    let only = |word: &str| BTreeSet::from([word.to_owned()]);
    for good in [0, 1] {
        assert_eq!(outcomes(good), only("ok"));
    }
    assert!(outcomes(2).contains("crashed"), "{:?}", outcomes(2));
    assert!(outcomes(3).contains("crashed"), "{:?}", outcomes(3));
    assert!(outcomes(4).contains("failed"), "{:?}", outcomes(4));
    assert_eq!(outcomes(5), only("failed"));
}

#[test]
fn two_models_without_a_suite_are_compared_on_random_input() {
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/suites/models/fashion_dscnn/");
    let (a, b) = (format!("{models}model_fp32.tflite"), format!("{models}model_fp32.onnx"));
    let scene = Scene::new();
    let done =
        scene.run(&["compare", &a, &b, "--units", "1", "--time-budget", "20s"]).expect(0, &["results.csv"]);
    assert!(done.stdout.contains("onnx-model_fp32"), "{}", done.stdout);
    let facts = journal(&scene.the_run());
    let formats: BTreeSet<&str> = facts.iter().filter_map(|e| e["facts"]["format"].as_str()).collect();
    assert_eq!(formats, BTreeSet::from(["onnx", "tflite"]));
}

#[test]
fn the_smoke_suite_runs_through() {
    let scene = Scene::new();
    scene.run(&["compare", "--suite", "smoke"]).expect(0, &["report.html"]);
    assert_eq!(count(&scene.the_run(), "unit-lost"), 0);
}

#[test]
fn a_delegation_that_failed_is_an_exit_code() {
    let scene = Scene::new();
    let compare = |device: &str| {
        let option = format!("builtin/nnapi:device={device}");
        let mut args = vec!["compare", "--suite", "smoke", "--runtime", "builtin/nnapi", "--option", &option];
        args.extend(["--units", "1", "--canaries", "false", "--require-full-delegation"]);
        scene.run(&args)
    };
    compare("bench-reference").expect(0, &["report.html"]);
    // it takes quantised nodes alone
    let words = ["tflite-fp32: 0 of", "nodes are proven to have run on builtin/nnapi, all are required"];
    compare("bench-int8").expect(1, &words);
}

#[test]
fn a_gate_on_two_folders_compares_every_model_with_its_namesake() {
    let scene = Scene::new();
    for (folder, models) in
        [("base", ["a", "b", "old"]), ("head", ["a", "b", "new"]), ("slow", ["a", "b", "new"])]
    {
        for name in models {
            let busy = if folder == "slow" && name == "b" { 150 } else { 100 };
            scene.model(&format!("{folder}/{name}"), &format!("busy_us = {busy}"));
        }
    }
    let at = |folder: &str| scene.path(folder).display().to_string();
    let gate = |head: &str, more: &[&str]| {
        let (base, head) = (at("base"), at(head));
        let args = [&["gate", "--base", &base, "--head", &head, "--runtime", "fake/cpu"], more].concat();
        scene.run(&args)
    };
    // a suite whose data and rules are taken: units of milliseconds
    scene.write("four.csv", "p,q,r,s\n1,0,2,5\n2,1,0,3\n");
    scene.model("a", "");
    let mut rules = fs::read_to_string(scene.suite(&["a"], 8)).unwrap();
    rules.push_str("\n[dataset.csv]\npath = \"four.csv\"\n");
    let rules = scene.write("quick.toml", rules).display().to_string();
    let quick = &["--data", &rules, "--units", "8"];
    gate("head", quick).expect(1, &["gate: old.onnx@head: is missing"]);
    let gone = "[[gate]]\nmetric = \"latency_ns\"\n[[allow]]\nvariant = \"old.onnx@head\"\nmetric = \"missing\"\n\
                reason = \"replaced\"\nuntil = \"2999-01-01\"\n";
    let gates = scene.write("gone.toml", gone).display().to_string();
    let same =
        gate("head", &[quick, &["--gates", &gates][..]].concat()).expect(0, &["a.onnx@head", "b.onnx@head"]);
    assert!(same.stderr.contains("only the base has it: old.onnx"), "{}", same.stderr);
    assert!(same.stderr.contains("only the head has it: new.onnx"), "{}", same.stderr);
    gate("slow", quick).expect(1, &["gate: b.onnx@head: latency, steady state is worse"]);
    let gates = "[[gate]]\nmetric = \"latency_ns\"\n[[allow]]\nvariant = \"b.onnx@head\"\nmetric = \"latency_ns\"\n\
                 reason = \"the new layer\"\nuntil = \"2999-01-01\"\n[[allow]]\nvariant = \"old.onnx@head\"\nmetric = \"missing\"\n\
                 reason = \"replaced\"\nuntil = \"2999-01-01\"\n";
    let gates = scene.write("gates.toml", gates).display().to_string();
    gate("slow", &[quick, &["--gates", &gates][..]].concat()).expect(0, &["allowed until 2999-01-01"]);
    gate("nowhere", quick).expect(2, &["nowhere"]);
}

#[test]
fn a_gate_in_a_script_tells_slower_and_broken_models_from_an_unchanged_one() {
    let scene = Scene::new();
    let mut script = scene.program(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/host/gate/show.sh"));
    let done = finish(script.env("BENCH", env!("CARGO_BIN_EXE_bench")).spawn().unwrap());
    let done =
        done.expect(0, &["gate: model.onnx@head: latency, steady state is worse", "top-1 accuracy is worse"]);
    assert_eq!(done.stdout, "slower: exit code 1\nbroken: exit code 1\nunchanged: exit code 0\n");
}

#[test]
fn a_selftest_finds_a_known_slowdown_and_is_a_run_like_any_other() {
    let scene = Scene::new();
    let done =
        scene.run(&["selftest", "power", "--effect", "100", "--cells", "1", "--units", "6", "--seed", "3"]);
    let done = done.expect(0, &["100.0 %", "1 = 100.0 % (2.5 … 100.0 %)", "consistent with the promise"]);
    let run = scene.the_run();
    let plan = fs::read_to_string(run.join("plan.json")).unwrap();
    assert!(
        plan.matches("\"slowdown_permille\": 1000").count() == 1 && plan.contains("costs_only"),
        "{plan}"
    );
    assert_eq!(count(&run, "finished"), 1);
    scene.run(&["report"]).expect(0, &["latency ✗"]);
    scene.run(&["recheck"]).expect(0, &["report.html: the same bytes"]);
    let again = scene.run(&["selftest", "power", "--resume", "latest"]).expect(0, &["has come to its end"]);
    assert!(again.stdout.lines().next() == done.stdout.lines().next(), "{}", again.stdout);
    let short = scene.run(&["selftest", "power", "--effect", "100", "--cells", "1", "--units", "3"]);
    short.expect(3, &["no cell has an answer"]);
    scene.run(&["selftest", "aa", "--cells", "0"]).expect(2, &["--cells"]);
    scene.run(&["selftest", "power", "--effect", "0"]).expect(2, &["between 0.1 and 100"]);
}

#[test]
fn a_run_watches_itself_and_remembers_what_it_saw() {
    let scene = Scene::new();
    for model in ["a", "b"] {
        scene.model(model, "busy_us = 100");
    }
    let suite = scene.suite(&["a", "b"], 8).display().to_string();
    // so wide a margin asks for a slowdown that nothing can hide
    let words = ["compare", "--suite", &suite, "--canaries", "true", "--margin", "60%"];
    let told = |words: &[&str]| scene.run(words).expect(0, &[]).stdout.replace('\n', " ");
    let first = scene.run(&words).expect(0, &[]);
    let saw = first.stdout.replace('\n', " ");
    assert!(saw.contains("the same model twice was called equal; 100 % slower on purpose, found."), "{saw}");
    assert!(saw.contains("So far 0 false alarms in 1 run (0.0 … 97.5 %)"), "{saw}");
    assert!(!first.stdout.contains("canary-"), "no verdict on what nobody asked for: {}", first.stdout);
    let run = scene.path("runs").join("canaries.jsonl");
    assert_eq!(fs::read_to_string(&run).unwrap().lines().count(), 1);
    let saw = told(&words);
    assert!(
        saw.contains("So far 0 false alarms in 2 runs") && saw.contains("2 of 2 slowdowns found"),
        "{saw}"
    );
    scene.run(&["recheck"]).expect(0, &["report.html: the same bytes", "canaries.csv: the same bytes"]);
    let none = scene.run(&["compare", "--suite", &suite, "--canaries", "false"]).expect(0, &[]);
    assert!(!none.stdout.contains("Canaries"), "{}", none.stdout);
}

#[test]
fn two_runs_are_compared_as_far_as_they_can_be() {
    let scene = Scene::new();
    for folder in ["base", "head"] {
        scene.model(&format!("{folder}/same"), "busy_us = 100");
        scene.model(&format!("{folder}/b"), &format!("busy_us = 100\n# {folder}"));
    }
    let suite = |folder: &str| {
        let names = [format!("{folder}/same"), format!("{folder}/b")];
        let text = fs::read_to_string(scene.suite(&[&names[0], &names[1]], 6)).unwrap();
        let text = text
            .replace(&format!("\"{folder}/same\""), "\"same\"")
            .replace(&format!("\"{folder}/b\""), "\"b\"");
        scene.write(&format!("{folder}.toml"), text).display().to_string()
    };
    let run = |suite: &str| {
        let done = scene.run(&["run", "--suite", suite, "--seed", "5", "--quiet"]).expect(0, &[]);
        done.stdout.trim().to_owned()
    };
    let (base, head) = (run(&suite("base")), run(&suite("head")));
    let found =
        scene.run(&["diff", &base, &head]).expect(0, &["m@same", "identical artefact", "bench gate --base"]);
    assert!(found.stdout.contains("relative to m@same"), "{}", found.stdout);
    let command =
        found.stdout.lines().find_map(|line| line.split("in turns by: ").nth(1)).unwrap().to_owned();
    assert!(command.contains("/base --head") && command.ends_with("--runtime fake/cpu"), "{command}");
    let json = scene.run(&["diff", &base, &head, "--format", "json"]).expect(0, &["\"identical-artefact\""]);
    assert!(serde_json::from_str::<serde_json::Value>(&json.stdout).is_ok());
    fs::remove_file(scene.path("base/b.onnx")).unwrap();
    let gone = scene.run(&["diff", &base, "latest"]).expect(0, &["m@b"]);
    assert!(!gone.stdout.contains("bench gate --base /"), "{}", gone.stdout);
    scene.run(&["diff", &base, "nowhere"]).expect(2, &["nowhere"]);
}

#[test]
fn pairs_run_one_after_the_other_in_either_order() {
    let scene = Scene::new();
    scene.model("a", "busy_us = 200");
    scene.model("slow", "busy_us = 2000");
    let suite = scene.suite(&["a", "slow"], 8).display().to_string();
    scene
        .run(&["compare", "--suite", &suite, "--schedule", "pairs", "--gate"])
        .expect(1, &["m@slow", "worse"]);
    let run = scene.the_run();
    let plan = fs::read_to_string(run.join("plan.json")).unwrap();
    assert!(plan.contains("\"pairs\""), "{plan}");
    let entries = journal(&run);
    let started = entries.iter().filter(|e| e["entry"] == "unit-started" && e["purpose"] == "performance");
    assert!(started.count() >= 6);
    // a process of pairs is over before the next one starts
    let mut alive = 0;
    for event in entries.iter().map(|e| &e["event"]["event"]) {
        match event.as_str() {
            Some("trial-started") => alive += 1,
            Some("trial-finished") => alive -= 1,
            _ => {}
        }
        assert!(alive <= 1);
    }
    scene.run(&["run", "--suite", &suite, "--schedule", "duet"]).expect(2, &["ping-pong and pairs"]);
}
