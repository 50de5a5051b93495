//! What a wrong definition is told: file, line, key, what to do.
#![expect(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

use protocol::{Labels, Task};
use std::{
    fs,
    path::{Path, PathBuf},
};
use suites::{ad_hoc, lookup};
use tempfile::TempDir;

const GOOD: &str = r#"schema = 1
name = "n"
model = "m"
reference = "a"

[[variant]]
id = "a"
path = "a.tflite"

[[variant]]
id = "b"
path = "b.onnx"
"#;

/// A folder with two models and some data.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/fsdd_dscnn");
    fs::copy(models.join("model_fp32.tflite"), folder.path().join("a.tflite")).unwrap();
    fs::copy(models.join("model_fp32.onnx"), folder.path().join("b.onnx")).unwrap();
    fs::write(folder.path().join("t.csv"), "p,y\n1,0\n2,1\n").unwrap();
    folder
}

fn refusal(folder: &TempDir, toml: &str) -> String {
    let path = folder.path().join("s.toml");
    fs::write(&path, toml).unwrap();
    let error = lookup(path.to_str().unwrap()).expect_err("refused").to_string();
    assert!(error.starts_with(path.to_str().unwrap()), "{error}");
    error
}

#[test]
fn a_mistake_is_told_with_its_line_and_key() {
    let folder = folder();
    for (from, to, words) in [
        ("schema = 1", "schema = 2", ":1:10: schema: 2 is not known"),
        ("schema = 1\n", "", "missing field `schema`"),
        ("name = \"n\"", "name = \"\"", ":2:8: name: must be one line"),
        ("reference = \"a\"", "refernce = \"a\"", "did you mean `reference`?"),
        ("reference = \"a\"", "reference = \"c\"", ":4:13: reference: no [[variant]] has the id \"c\""),
        ("model = \"m\"", "model = \"m/n\"", "variant.id: bad model"),
        ("id = \"b\"", "id = \"a\"", ":11:6: variant.id: \"a\" is there twice"),
        ("id = \"b\"", "id = \"b\"\nprecison = \"int8\"", "did you mean `precision`?"),
        ("id = \"b\"", "id = \"b\"\nprecision = \"int9\"", "did you mean `int8`?"),
        ("b.onnx", "c.onnx", ":12:8: variant.path: "),
        ("b.onnx", "c.onnx", "there is no such file (did you mean \"b.onnx\"?)"),
        ("b.onnx", "t.csv", "neither a TFLite model nor named .onnx"),
        ("model = \"m\"", "model = \"m\"\nthreads = 0", ":4:11: threads: must be between"),
        ("model = \"m\"", "model = \"m\"\nthreads = -1", ":4:"),
        ("model = \"m\"", "model = \"m\"\nruntimes = [\"cpu\"]", ":4:13: runtimes: "),
        ("model = \"m\"", "model = \"m\"\nruntimes = []", ":4:12: runtimes: between 1 and"),
        ("model = \"m\"", "model = \"m\"\nruntimes = [\"a/b\", \"a/b\"]", "a/b is there twice"),
        (
            "model = \"m\"",
            "model = \"m\"\ntask = \"classification\"",
            ":4:8: task: classification needs labels",
        ),
        ("model = \"m\"", "model = \"m\"\ntask = \"clasification\"", "did you mean \"classification\"?"),
        (
            "[[variant]]\nid = \"b\"",
            "[measure]\nmin_ms = 9\nmax_ms = 8\n[[variant]]\nid = \"b\"",
            "measure.min_ms: is 9, more than measure.max_ms = 8",
        ),
        (
            "[[variant]]\nid = \"b\"",
            "[compare]\nmargin = 3\n[[variant]]\nid = \"b\"",
            "compare.margin: must be between 0 and 1",
        ),
        (
            "[[variant]]\nid = \"b\"",
            "[compare]\ncontrasts = [\"formats\"]\n[[variant]]\nid = \"b\"",
            "did you mean `format`?",
        ),
        ("[[variant]]\nid = \"b\"", "[dataset]\n[[variant]]\nid = \"b\"", "add one of [dataset.npz]"),
        (
            "[[variant]]\nid = \"b\"",
            "[dataset.preprocess]\nmean = \"x\"\n[dataset.csv]\npath = \"t.csv\"\n[[variant]]\nid = \"b\"",
            "expected a number, or a list",
        ),
        (
            "[[variant]]\nid = \"b\"",
            "[dataset.preprocess.log_mel]\nwindow=8\nhop=4\nbins=2\nlow_hz=0\nhigh_hz=9\nfloor=1\n[dataset.csv]\npath = \"t.csv\"\n[[variant]]\nid = \"b\"",
            "log_mel: works on [dataset.audio] only",
        ),
        ("schema = 1", "schema = ", ":1:"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = refusal(&folder, &GOOD.replacen(from, to, 1));
        assert!(error.contains(words), "{words:?} is not in: {error}");
    }
    let error = refusal(&folder, "schema = 1\nname = \"n\"\nmodel = \"m\"\nreference = \"a\"\n");
    assert!(error.contains("[[variant]]: there are 0"), "{error}");
}

#[test]
fn an_unknown_suite_names_the_nearest() {
    let error = lookup("visoin").unwrap_err().to_string();
    assert!(error.contains("did you mean \"vision\"") && error.contains("vision, audio, smoke"), "{error}");
    let error = lookup("no/such.toml").unwrap_err().to_string();
    assert!(error.contains("no/such.toml: there is no such file"), "{error}");
}

#[test]
fn data_is_checked_against_the_task() {
    let folder = folder();
    let path = folder.path().join("s.toml");
    let at = path.to_str().unwrap();
    fs::create_dir(folder.path().join("i")).unwrap();
    fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets/tests/data/fsdd_features.npz"),
        folder.path().join("d.npz"),
    )
    .unwrap();
    let labelled = "[dataset.csv]\npath = \"t.csv\"\nlabel = \"y\"\n";
    fs::write(&path, format!("{GOOD}{labelled}")).unwrap();
    let suite = lookup(at).unwrap();
    assert_eq!(
        (&suite.task, suite.load_dataset().unwrap().unwrap().labels),
        (&Task::CLASSIFICATION, Labels::Classes(vec![0, 1]))
    );
    fs::write(&path, format!("{GOOD}{labelled}[measure]\nexample = 2\n")).unwrap();
    let error = lookup(at).unwrap().load_dataset().unwrap_err().to_string();
    assert!(error.contains("measure.example: is 2, and there are 2 examples"), "{error}");
    fs::write(&path, format!("{GOOD}[dataset.npz]\npath = \"d.npz\"\n")).unwrap();
    let suite = lookup(at).unwrap();
    assert_eq!((&suite.task, suite.load_dataset().unwrap().unwrap().examples()), (&Task::Agreement {}, 6));
    fs::write(&path, GOOD).unwrap();
    let suite = lookup(at).unwrap();
    assert!(suite.load_dataset().unwrap().is_none() && suite.random_examples() == 64);
}

#[test]
fn models_on_the_command_line() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let models: Vec<PathBuf> = vec![at("a.tflite"), at("b.onnx"), at("a.tflite")];
    let suite = ad_hoc(&models, None).unwrap();
    let ids: Vec<String> = suite.variants.iter().map(|v| v.id.to_string()).collect();
    assert_eq!(ids, ["ad-hoc@tflite-a", "ad-hoc@onnx-b", "ad-hoc@tflite-a-2"]);
    assert_eq!(
        (suite.variants[1].reference, &suite.task, suite.load_dataset().unwrap()),
        (0, &Task::Agreement {}, None)
    );
    let suite = ad_hoc(&models, at("t.csv").to_str()).unwrap();
    assert_eq!(suite.load_dataset().unwrap().unwrap().labels.classes(), [0, 1]);
    let suite = ad_hoc(&models, Some("audio")).unwrap();
    assert_eq!(suite.load_dataset().unwrap().unwrap().examples(), 540);

    let problem = |models: &[PathBuf], data: Option<&str>| ad_hoc(models, data).unwrap_err().to_string();
    assert!(problem(&[], None).contains("no model is named"));
    assert!(problem(&[at("c.onnx")], None).contains("did you mean \"b.onnx\""));
    assert!(problem(&[at("t.csv")], None).contains("neither a TFLite model"));
    assert!(problem(&models, at("u.csv").to_str()).contains("did you mean \"t.csv\""));
    assert!(problem(&models, Some("visio")).contains("did you mean \"vision\""));
    assert!(problem(&models, folder.path().to_str()).contains("describe them in a suite"));
}
