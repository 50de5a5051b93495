//! What is refused, in words and without dying: libraries that are none, models that are none, options and providers
//! that are not there.

use crate::inside::{self, TELEMETRY, given, here, load, options, run, session};
use crate::libraries::made_for;
use crate::models::shipped;
use runtimes::CompileOptions;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn no_library_is_loaded_that_would_report_to_its_maker() {
    // This process was started without the variable, or the test would prove nothing.
    if std::env::var_os(TELEMETRY).is_some() {
        println!("left out: no_library_is_loaded_that_would_report_to_its_maker: {TELEMETRY} is set");
        return;
    }
    let words = load(Path::new("/nowhere/libonnxruntime.so")).map(|_| ()).unwrap_err();
    assert!(words.contains("set ORT_DISABLE_TELEMETRY=1"), "{words}");
    let none = runtimes::runtime("onnxruntime").unwrap().load(None).map(|_| ()).unwrap_err();
    assert!(none.to_string().contains("needs its library"), "{none}");
}

#[test]
fn wrong_libraries_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path, expected: &str| {
        fs::write(folder.path().join("expected"), expected).unwrap();
        let words = run("refusals::library", path);
        assert!(words.contains(expected), "{}: {words}", path.display());
        assert!(words.contains(path.to_str().unwrap()), "the file is not named: {words}");
        println!("{words}");
    };
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    refused(&folder.path().join("libnone.so"), "cannot be read");
    refused(&file("libtext.so", b"not a library at all"), "is no shared library");
    for (name, version) in [("libold.so", "1.16.3"), ("libfuture.so", "2.0.0"), ("libodd.so", "new")] {
        refused(
            &fake(folder.path(), name, version),
            &format!("is ONNX Runtime \"{version}\"; 1.17 or newer is needed"),
        );
    }
    refused(
        &compiled(folder.path(), "libother.so", "int other(void) { return 1; }"),
        "no symbol OrtGetApiBase",
    );
    for found in here("wrong_libraries_are_refused_in_words") {
        let whole = fs::read(&found.path).unwrap();
        refused(&file("libhalf.so", &whole[..whole.len() / 2]), "is cut off");
    }
    for found in inside::elsewhere("wrong_libraries_are_refused_in_words") {
        refused(&found.path, "is made for");
    }
    let litert = made_for(std::env::consts::ARCH, "wrong_libraries_are_refused_in_words", "litert");
    for found in litert {
        refused(&found.path, "no symbol OrtGetApiBase");
    }
}

/// A library that says it is ONNX Runtime of some version, and can do nothing else.
fn fake(folder: &Path, name: &str, version: &str) -> PathBuf {
    let code = format!(
        "static const char *version(void) {{ return \"{version}\"; }}\n\
         static const void *api(unsigned v) {{ return 0; }}\n\
         static const struct {{ const void *(*api)(unsigned); const char *(*version)(void); }} base =\n\
         {{ api, version }};\n\
         const void *OrtGetApiBase(void) {{ return &base; }}"
    );
    compiled(folder, name, &code)
}

fn compiled(folder: &Path, name: &str, code: &str) -> PathBuf {
    let (source, path) = (folder.join(format!("{name}.c")), folder.join(name));
    fs::write(&source, code).unwrap();
    let status =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&path).arg(&source).status().unwrap();
    assert!(status.success());
    path
}

#[test]
#[ignore = "in a process of its own"]
fn library() {
    let words = load(&given()).map(|_| ()).unwrap_err();
    // A second attempt says the same: the first has left nothing behind.
    assert_eq!(load(&given()).map(|_| ()).unwrap_err(), words);
    inside::answer(&words);
}

#[test]
fn one_process_has_one_library() {
    for found in here("one_process_has_one_library") {
        run("refusals::second_library", &found.path);
    }
}

#[test]
#[ignore = "in a process of its own"]
fn second_library() {
    let path = given();
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    assert!(load(&path).unwrap().version().is_some());
    assert_eq!(threads(), before, "a library that reports to its maker has a thread for it");
    assert!(load(&path).is_ok());
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("libonnxruntime.so");
    fs::copy(&path, &other).unwrap();
    let words = load(&other).map(|_| ()).unwrap_err();
    assert!(words.contains("this process has loaded") && words.contains(path.to_str().unwrap()), "{words}");
}

#[test]
fn wrong_models_and_options_are_errors_with_words() {
    for found in here("wrong_models_and_options_are_errors_with_words") {
        let words = run("refusals::models_and_options", &found.path);
        println!("onnxruntime {}:\n{words}", found.version);
    }
}

#[test]
#[ignore = "in a process of its own"]
fn models_and_options() {
    let folder = tempfile::tempdir().unwrap();
    let mut said = String::new();
    let mut refused = |path: &Path, options: &CompileOptions, expected: &str| {
        let words = session(path, options).map(|_| ()).unwrap_err();
        assert!(words.contains(expected), "{}: {words}", path.display());
        said.push_str(&format!("  {words}\n"));
    };
    let good = shipped().join("fashion_dscnn/model_fp32.onnx");
    let cpu = CompileOptions::new("cpu");
    let whole = fs::read(&good).unwrap();
    let garbage: Vec<u8> = (0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (name, bytes) in [("empty", &[][..]), ("garbage", &garbage), ("half", &whole[..whole.len() / 2])] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        refused(&path, &cpu, path.to_str().unwrap());
    }
    refused(&shipped().join("fashion_dscnn/model_fp32.tflite"), &cpu, "model_fp32.tflite");
    refused(&folder.path().join("none.onnx"), &cpu, "No such file");
    refused(folder.path(), &cpu, "not a regular file");
    for (given, expected) in [
        (options("cpu", &[("speed", "9")]), "has no option \"speed\": graph-optimization, spinning"),
        (options("cpu", &[("fp16", "true")]), "has no option \"fp16\""),
        (options("cpu", &[("ep.backend_path", "x")]), "has no option \"ep.backend_path\""),
        (options("cpu", &[("spinning", "maybe")]), "option spinning is one of true, false"),
        (options("cpu", &[("graph-optimization", "9")]), "is one of all, extended, basic, none"),
        (options("gpu", &[]), "no backend \"gpu\"; there is cpu, xnnpack"),
        (options("qnn", &[("ep.a", "b\0c")]), "holds a zero byte"),
        (options("nnapi", &[("fp16", "true")]), "cannot do nnapi: "),
        (options("qnn", &[("ep.backend_path", "libQnnHtp.so")]), "cannot do qnn: "),
        (options("coreml", &[]), "cannot do coreml: "),
    ] {
        refused(&good, &given, expected);
    }
    let mut taps = CompileOptions::new("cpu");
    taps.taps.push("x".to_owned());
    refused(&good, &taps, "shows no tensors inside");
    // After all of that, the library still works.
    assert!(session(&good, &cpu).is_ok());
    inside::answer(&said);
}
