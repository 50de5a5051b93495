//! `FORMAT.md` is true: every TOML block in it is a suite that parses, and its tables name every key.
#![expect(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

use protocol::{ContrastKind, Task};
use std::{fs, path::Path};
use suites::{Compare, Measure, Suite, lookup};

fn text() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("FORMAT.md")).unwrap()
}

/// The TOML blocks, in order.
fn blocks() -> Vec<String> {
    let text = text();
    let parts = text.split("```toml\n").skip(1);
    parts.map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

/// Parses a definition in a folder that holds the model files it names.
fn parse(toml: &str) -> Suite {
    let folder = tempfile::tempdir().unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/fsdd_dscnn");
    for line in toml.lines() {
        for name in line.split('"').filter(|part| part.ends_with(".tflite") || part.ends_with(".onnx")) {
            let extension = name.rsplit('.').next().unwrap();
            fs::copy(models.join(format!("model_fp32.{extension}")), folder.path().join(name)).unwrap();
        }
    }
    let path = folder.path().join("suite.toml");
    fs::write(&path, toml).unwrap();
    lookup(path.to_str().unwrap()).unwrap()
}

#[test]
fn every_block_parses() {
    let blocks = blocks();
    assert_eq!(blocks.len(), 10, "one for each kind of data, and more");
    let suites: Vec<Suite> = blocks.iter().map(|b| parse(b)).collect();
    let kinds = |f: fn(&datasets::DatasetSpec) -> bool| {
        suites.iter().filter(|s| s.dataset.as_ref().is_some_and(f)).count()
    };
    let arrays = [kinds(|d| d.npz.is_some()), kinds(|d| d.npy.is_some())];
    let files = [kinds(|d| d.images.is_some()), kinds(|d| d.audio.is_some()), kinds(|d| d.csv.is_some())];
    assert!(arrays.iter().chain(&files).all(|n| *n >= 1), "{arrays:?} {files:?}");
    assert_eq!(suites[0].task, Task::Agreement {}, "no data, no labels");
}

/// The blocks of `[measure]` and `[compare]` show the defaults, but for what has none.
#[test]
fn defaults_are_as_written() {
    let blocks = blocks();
    let measure = parse(blocks.iter().find(|b| b.contains("[measure]")).unwrap()).measure;
    assert_eq!(measure, Measure { max_examples: Some(500), time_budget_s: Some(240), ..Measure::default() });
    let compare = parse(blocks.iter().find(|b| b.contains("[compare]")).unwrap()).compare;
    // which one is the default depends on the score
    assert_eq!(compare, Compare { accuracy_margin: Some(0.01), ..Compare::default() });
    assert_eq!(compare.contrasts, ContrastKind::ALL);
    let plain = parse(&blocks[0]);
    assert_eq!((plain.threads, plain.runtimes.len(), plain.options.len()), (1, 0, 0));
    let with_options = parse(blocks.iter().find(|b| b.contains("[options.")).unwrap());
    let id = &with_options.runtimes[1];
    assert_eq!(with_options.options[id]["spinning"], "false");
    let text = text();
    for (key, default) in [
        ("min_iterations", measure.min_iterations.to_string()),
        ("min_ms", measure.min_ms.to_string()),
        ("max_ms", measure.max_ms.to_string()),
        ("warm_up.min_iterations", measure.warm_up.min_iterations.to_string()),
        ("warm_up.min_ms", measure.warm_up.min_ms.to_string()),
        ("warm_up.max_ms", measure.warm_up.max_ms.to_string()),
        ("warm_up.agree_permille", measure.warm_up.agree_permille.to_string()),
        ("burst.min_iterations", measure.burst.min_iterations.to_string()),
        ("burst.min_ms", measure.burst.min_ms.to_string()),
    ] {
        assert!(text.contains(&format!("| `{key}` | integer | {default} |")), "{key} = {default}");
    }
}

/// A key that the parser knows is in the text: a wrong key makes it list those that are right.
#[test]
fn every_key_is_explained() {
    let text = text();
    let base = "schema = 1\nname = \"n\"\nmodel = \"m\"\nreference = \"a\"\n";
    let npz = "[dataset.npz]\npath = \"a\"\n";
    for (table, rest) in [
        (format!("{base}zz = 1\n"), ""),
        (format!("{base}[[variant]]\nzz = 1\n"), ""),
        (format!("{base}[dataset]\nzz = 1\n"), ""),
        (format!("{base}[dataset.npz]\nzz = 1\n"), ""),
        (format!("{base}[dataset.npy]\nzz = 1\n"), ""),
        (format!("{base}[dataset.images]\nzz = 1\n"), ""),
        (format!("{base}[dataset.audio]\nzz = 1\n"), ""),
        (format!("{base}[dataset.audio.clip]\nzz = 1\n"), "clip."),
        (format!("{base}[dataset.csv]\nzz = 1\n"), ""),
        (format!("{base}{npz}[dataset.preprocess]\nzz = 1\n"), ""),
        (format!("{base}{npz}[dataset.preprocess.resize]\nzz = 1\n"), ""),
        (format!("{base}{npz}[dataset.preprocess.log_mel]\nzz = 1\n"), ""),
        (format!("{base}[measure]\nzz = 1\n"), ""),
        (format!("{base}[measure.warm_up]\nzz = 1\n"), "warm_up."),
        (format!("{base}[measure.burst]\nzz = 1\n"), "burst."),
        (format!("{base}[compare]\nzz = 1\n"), ""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("suite.toml");
        fs::write(&path, &table).unwrap();
        let error = lookup(path.to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains("unknown field `zz`"), "{error}");
        let keys: Vec<&str> = error.split('`').skip(1).step_by(2).skip(1).collect();
        assert!(!keys.is_empty(), "{error}");
        for key in keys {
            let shown =
                [format!("`{rest}{key}`"), format!("`[{key}]`"), format!("`[[{key}]]`"), format!("`{key}.")];
            assert!(shown.iter().any(|s| text.contains(s)), "{rest}{key} is not explained");
        }
    }
}
