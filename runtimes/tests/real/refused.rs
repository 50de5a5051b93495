//! In which words what is wrong is refused.

use crate::libraries::{found, library_at, made_for};
use crate::models::shipped;
use crate::worker::{Task, one};
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

fn refusal(runtime: &str, library: &Path) -> String {
    let loaded = runtimes::runtime(runtime).unwrap().load(Some(&library_at(library)));
    loaded.err().unwrap_or_else(|| panic!("{} was loaded", library.display())).to_string()
}

/// The C library of this process: a library, and not that of a runtime.
fn libc() -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let paths = maps.lines().filter_map(|line| Some(PathBuf::from(line[line.find('/')?..].to_owned())));
    paths.into_iter().find(|path| path.to_string_lossy().contains("/libc.so")).unwrap()
}

#[test]
fn files_that_are_no_library_of_the_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lib.so");
    for runtime in ["litert", "tflite"] {
        assert!(refusal(runtime, &path).contains("cannot be read"));
        fs::write(&path, "no library").unwrap();
        assert!(
            refusal(runtime, &path).contains("no shared library of Linux"),
            "{}",
            refusal(runtime, &path)
        );
        fs::remove_file(&path).unwrap();
        let words = refusal(runtime, &libc());
        assert!(words.contains("has no symbol") && words.contains("not the library of"), "{words}");
        let none = runtimes::runtime(runtime).unwrap().load(None).err().unwrap().to_string();
        assert!(none.contains(".so"), "{none}");
    }
}

#[test]
fn libraries_of_another_kind_or_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lib.so");
    for runtime in ["litert", "tflite"] {
        let foreign = if env::consts::ARCH == "aarch64" { "x86_64" } else { "aarch64" };
        for library in made_for(foreign, "libraries_of_another_kind_or_cut_off", runtime) {
            let words = refusal(runtime, &library.path);
            assert!(words.contains(&format!("is made for {foreign}")), "{words}");
        }
        for library in found("libraries_of_another_kind_or_cut_off", runtime) {
            let whole = fs::read(&library.path).unwrap();
            fs::write(&path, &whole[..whole.len() / 2]).unwrap();
            let words = refusal(runtime, &path);
            assert!(words.contains("is cut off"), "{words}");
            fs::write(&path, of_a_newer_system(whole)).unwrap();
            let words = refusal(runtime, &path);
            assert!(words.contains("needs GLIBC_9.99") && words.contains("is older"), "{words}");
        }
    }
}

/// The same library as if it had been built for a C library that is yet to come.
fn of_a_newer_system(mut library: Vec<u8>) -> Vec<u8> {
    let is_version =
        |w: &[u8]| w.starts_with(b"GLIBC_2.") && w[8..10].iter().all(u8::is_ascii_digit) && w[10] == 0;
    let at = library.windows(11).position(is_version).unwrap();
    library[at..at + 10].copy_from_slice(b"GLIBC_9.99");
    library
}

#[test]
fn models_backends_and_options_that_there_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let good = shipped().join("fashion_dscnn/model_fp32.tflite");
    let bytes = fs::read(&good).unwrap();
    for runtime in ["litert", "tflite"] {
        for library in found("models_backends_and_options_that_there_are_not", runtime) {
            let task = |backend: &str| Task {
                runtime: runtime.to_owned(),
                backend: backend.to_owned(),
                library: Some(library.path.clone()),
                ..Task::default()
            };
            let refused = |task: Task, path: &Path, word: &str| {
                let words = one(task, path).refusal().to_owned();
                assert!(words.contains(word), "{} {}: {words}", runtime, library.version);
            };
            let bad = folder.path().join("bad.tflite");
            refused(task("xnnpack"), &folder.path().join("none.tflite"), "none.tflite");
            for garbage in [&b""[..], b"no model", b"\x1c\0\0\0TFL3", &bytes[..bytes.len() / 2]] {
                fs::write(&bad, garbage).unwrap();
                let words = one(task("xnnpack"), &bad).refusal().to_owned();
                // Some versions die of some of these: then that is what the supervisor reports.
                let died = words.starts_with("died, signal");
                assert!(died || words.contains("bad.tflite"), "{runtime} {}: {words}", library.version);
                if died {
                    println!("{runtime} {} dies of {} bytes of garbage", library.version, garbage.len());
                }
            }
            refused(task("cuda"), &good, "xnnpack, builtin");
            let options = BTreeMap::from([("turbo".to_owned(), "on".to_owned())]);
            refused(Task { options, ..task("xnnpack") }, &good, "no option \"turbo\"");
        }
    }
}

#[test]
fn accelerators_that_there_are_not() {
    let good = shipped().join("fashion_dscnn/model_fp32.tflite");
    for library in found("accelerators_that_there_are_not", "litert") {
        let task = |backend: &str, options: &[(&str, &str)]| Task {
            runtime: "litert".to_owned(),
            backend: backend.to_owned(),
            library: Some(library.path.clone()),
            options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..Task::default()
        };
        for backend in ["gpu", "npu"] {
            let answer = one(task(backend, &[]), &good);
            assert!(answer.refusal().contains("could not be loaded"), "{}: {answer:?}", library.version);
            // who allows the CPU gets it, and no proof of the accelerator
            let answer = one(task(backend, &[("fallback", "cpu")]), &good);
            assert_eq!((&answer.error, answer.proof.nodes_on_backend), (&None, 0), "{}", library.version);
        }
        let answer = one(task("gpu", &[("fallback", "maybe")]), &good);
        assert!(answer.refusal().contains("none, cpu"), "{answer:?}");
        let answer = one(task("xnnpack", &[("flags", "many")]), &good);
        assert!(answer.refusal().contains("option flags"), "{answer:?}");
    }
}
