//! How fast files move, beside `adb push` and `adb pull`: turn by turn, over the same server, on a real phone.
//! A measurement, which asserts nothing about time.

use super::*;
use std::{env, fs::File, io::Write, process::Command, time::Instant};

const BYTES: usize = 256 << 20;
const ROUNDS: usize = 7;
const THERE: &str = "/data/local/tmp/bench-throughput";

#[test]
#[ignore = "a measurement of a minute; needs adb and BENCH_TEST_ADB=SERIAL"]
fn beside_the_adb_program() {
    let Ok(serial) = env::var("BENCH_TEST_ADB") else {
        println!("left out: throughput over adb: BENCH_TEST_ADB names no device");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (source, to) = (folder.path().join("source"), folder.path().join("to"));
    // nothing that could be compressed
    let noise = (0..BYTES / 8).scan(1u64, |state, _| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((*state ^ (*state >> 29)).to_le_bytes())
    });
    File::create(&source).unwrap().write_all(&noise.flatten().collect::<Vec<u8>>()).unwrap();
    let adb = |args: [&str; 3]| {
        let status = Command::new("adb").args(["-s", &serial]).args(args).output().unwrap().status;
        assert!(status.success(), "adb {args:?}: {status}");
    };
    let phone = Adb(Arc::new(Phone::new(Server::from_environment().unwrap(), serial.clone())));
    let file = HostFile::from_path(&source).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let moved = Moved::new(0);
    let (source_text, to_text) = (source.to_str().unwrap(), to.to_str().unwrap());
    let ways: [(&str, &dyn Fn()); 4] = [
        ("adb push", &|| adb(["push", source_text, THERE])),
        ("push", &|| runtime.block_on(phone.send(&file, THERE, &moved)).unwrap()),
        ("adb pull", &|| adb(["pull", THERE, to_text])),
        ("pull", &|| assert_eq!(runtime.block_on(phone.receive(THERE, &to, &moved)).unwrap(), file.bytes)),
    ];
    let mut seconds = [const { Vec::new() }; 4];
    for round in 0..ROUNDS {
        for step in 0..ways.len() {
            // who begins takes turns; a push always comes before the pulls
            let at = if round % 2 == 0 { step } else { step ^ 1 };
            let began = Instant::now();
            ways[at].1();
            seconds[at].push(began.elapsed().as_secs_f64());
        }
    }
    assert!(fs_equal(&source, &to));
    runtime.block_on(phone.run(&format!("rm {THERE}"))).unwrap();
    for (times, (name, _)) in seconds.iter_mut().zip(&ways) {
        times.sort_by(f64::total_cmp);
        println!("{name:8} min {:.2} s, median {:.2} s", times[0], times[ROUNDS / 2]);
    }
    for (name, theirs, ours) in [("push", 0, 1), ("pull", 2, 3)] {
        let ratio = |at: usize| seconds[ours][at] / seconds[theirs][at];
        println!("{name} / adb {name}: min {:.2}, median {:.2}", ratio(0), ratio(ROUNDS / 2));
    }
}

fn fs_equal(a: &Path, b: &Path) -> bool {
    std::fs::read(a).unwrap() == std::fs::read(b).unwrap()
}
