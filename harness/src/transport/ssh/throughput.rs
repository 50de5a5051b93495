//! How fast files move, beside `scp`: turn by turn, to a real machine. A measurement, which asserts nothing about
//! time.

use super::*;
use std::{env, fs, process::Command, time::Instant};

const BYTES: usize = 256 << 20;
const ROUNDS: usize = 7;
const THERE: &str = "/tmp/bench-throughput";

#[test]
#[ignore = "a measurement of minutes; needs BENCH_TEST_SSH=USER@HOST and BENCH_TEST_SSH_CONFIG=FILE"]
fn beside_the_scp_program() {
    let (Ok(address), Ok(config)) = (env::var("BENCH_TEST_SSH"), env::var("BENCH_TEST_SSH_CONFIG")) else {
        println!("left out: throughput over ssh: BENCH_TEST_SSH and BENCH_TEST_SSH_CONFIG name no device");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (source, to) = (folder.path().join("source"), folder.path().join("to"));
    // nothing that could be compressed
    let noise = (0..BYTES / 8).scan(1u64, |state, _| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((*state ^ (*state >> 29)).to_le_bytes())
    });
    fs::write(&source, noise.flatten().collect::<Vec<u8>>()).unwrap();
    let file = HostFile::from_path(&source).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let device = |choice| {
        let ssh = SshOptions { config: Some(config.clone().into()), ..SshOptions::default() };
        let options = Options { ssh, ..Options::default() };
        let ssh =
            Ssh { address: address.parse().unwrap(), identity: None, options, choice, way: OnceCell::new() };
        // everybody else logs in within their time, too: but only once
        runtime.block_on(ssh.run("true")).unwrap();
        ssh
    };
    let (library, program) = (device(Choice::ByConfig), device(Choice::Program));
    let (source_text, to_text) = (source.to_str().unwrap(), to.to_str().unwrap());
    let there = format!("{address}:{THERE}");
    let scp = |args: [&str; 2]| {
        assert!(Command::new("scp").args(["-q", "-F", &config]).args(args).status().unwrap().success());
    };
    let moved = Moved::new(0);
    let send = |ssh: &Ssh| runtime.block_on(ssh.send(&file, THERE, &moved)).unwrap();
    let receive = |ssh: &Ssh| {
        assert_eq!(runtime.block_on(ssh.receive(THERE, &to, &moved)).unwrap(), file.bytes);
    };
    let ways: [(&str, &dyn Fn()); 6] = [
        ("scp push", &|| scp([source_text, &there])),
        ("ssh push", &|| send(&library)),
        ("openssh push", &|| send(&program)),
        ("scp pull", &|| scp([&there, to_text])),
        ("ssh pull", &|| receive(&library)),
        ("openssh pull", &|| receive(&program)),
    ];
    let mut seconds = [const { Vec::new() }; 6];
    for round in 0..ROUNDS {
        for step in 0..ways.len() {
            // who begins takes turns; all pushes come before the pulls
            let at = step / 3 * 3 + (step + round) % 3;
            let began = Instant::now();
            ways[at].1();
            seconds[at].push(began.elapsed().as_secs_f64());
        }
    }
    assert!(fs::read(&source).unwrap() == fs::read(&to).unwrap());
    runtime.block_on(library.run(&format!("rm {THERE}"))).unwrap();
    for (at, (name, _)) in ways.iter().enumerate() {
        seconds[at].sort_by(f64::total_cmp);
        let (scp, ours) = (&seconds[at / 3 * 3], &seconds[at]);
        let middle = ROUNDS / 2;
        let (least, median) = (ours[0] / scp[0], ours[middle] / scp[middle]);
        println!(
            "{name:13} min {:.2} s, median {:.2} s; beside scp: min {least:.2}, median {median:.2}",
            ours[0], ours[middle]
        );
    }
}
