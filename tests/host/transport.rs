//! One contract, every transport: files by hash, programs with both ends of their pipes, and nothing left
//! running.

use crate::{devices::Device, scene::Scene};
use harness::transport::{HostFile, Local, ProcessEnd, Program, Transport, TransportError};
use protocol::{AgentMessage, HostMessage, LineReader, PROTOCOL_VERSION, Sha256Hex, encode};
use std::{ffi::OsString, fs, os::unix::ffi::OsStringExt, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    time::{sleep, timeout},
};

/// Nothing here takes long; a test that would hang ends here.
const LIMIT: Duration = Duration::from_secs(120);

/// How often a device is asked whether something is over that it cannot tell by itself.
const POLL: Duration = Duration::from_millis(20);

fn on_loop(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(LIMIT, work).await.unwrap() });
}

fn over_all(test: &str, contract: impl AsyncFn(&Device, &Scene)) {
    let scene = Scene::new();
    on_loop(async {
        for device in Device::all(&scene, test) {
            contract(&device, &scene).await;
            device.clean().await;
        }
    });
}

#[test]
fn files_are_pushed_once_verified_and_named_by_their_hash() {
    over_all("pushing", async |device, scene| {
        let (name, reach) = (device.name, &device.reach);
        let path = scene.write("model", vec![7u8; 3_000_000]);
        let probe = reach.probe().await.unwrap();
        let file = HostFile::from_path(&path).unwrap();
        let other = HostFile::from_memory("other", &b"other"[..]);
        let empty = HostFile::from_memory("empty", &b""[..]);
        let mut moved = Vec::new();
        let first = reach.push(&file, |n| moved.push(n)).await.unwrap();
        assert_eq!(first.sent_bytes, 3_000_000, "{name}");
        assert!(first.path.starts_with(&probe.cache) && first.path.ends_with(file.sha256.as_str()), "{name}");
        assert!(moved.is_sorted(), "{name}: {moved:?}");
        let second = reach.push(&file, |_| ()).await.unwrap();
        assert_eq!((second.sent_bytes, &second.path), (0, &first.path), "{name}: it is there already");
        let third = reach.push(&other, |_| ()).await.unwrap();
        assert_eq!(third.path.as_os_str().len(), first.path.as_os_str().len(), "{name}: equally long");
        reach.push(&empty, |_| ()).await.unwrap();

        device.overwrite(&first.path, "rotten").await;
        let again = reach.push(&file, |_| ()).await.unwrap();
        assert_eq!(again.sent_bytes, 3_000_000, "{name}: a damaged file is replaced");

        let lying = HostFile { sha256: Sha256Hex::of_bytes(b"something else"), ..file.clone() };
        let refused = reach.push(&lying, |_| ()).await.unwrap_err();
        assert!(matches!(refused, TransportError::Damaged { .. }), "{name}: {refused}");
        let left = device.list(first.path.parent().unwrap()).await;
        assert_eq!(left.len(), 3, "{name}: nothing half-written is left: {left:?}");
    });
}

#[test]
fn files_are_fetched_verified_and_deleted() {
    over_all("fetching", async |device, scene| {
        let (name, reach) = (device.name, &device.reach);
        reach.probe().await.unwrap();
        let content: Vec<u8> = (0..2_000_003u32).map(|i| (i % 251) as u8).collect();
        let file = HostFile::from_memory("outputs", content.clone());
        let there = reach.push(&file, |_| ()).await.unwrap().path;
        let here = scene.path(&format!("{name}-fetched"));
        assert_eq!(reach.pull(&there, &file.sha256, &here).await.unwrap(), file.bytes, "{name}");
        assert!(fs::read(&here).unwrap() == content, "{name}");
        fs::remove_file(&here).unwrap();
        let wrong = Sha256Hex::of_bytes(b"wrong");
        assert!(reach.pull(&there, &wrong, &here).await.is_err(), "{name}");
        assert!(!here.exists(), "{name}: a damaged file gets no name");
        reach.remove(&there).await.unwrap();
        assert!(reach.pull(&there, &file.sha256, &here).await.is_err(), "{name}: it is gone");
        reach.remove(&there).await.unwrap();
    });
}

#[test]
fn the_least_recently_used_files_are_deleted_first() {
    over_all("tidying", async |device, _| {
        let (name, reach) = (device.name, &device.reach);
        let files: Vec<HostFile> = (1..=3u8).map(|n| HostFile::from_memory("f", vec![n; 1000])).collect();
        for file in &files {
            reach.push(file, |_| ()).await.unwrap();
        }
        let kept = [files[0].sha256.clone()];
        let tidied = reach.tidy(&kept, 10_000, Duration::ZERO).await.unwrap();
        assert_eq!((tidied.files, tidied.left_bytes), (0, 3000), "{name}: there is room");
        let tidied = reach.tidy(&kept, 0, Duration::ZERO).await.unwrap();
        assert_eq!((tidied.files, tidied.freed_bytes, tidied.left_bytes), (2, 2000, 1000), "{name}");
        assert_eq!(reach.push(&files[0], |_| ()).await.unwrap().sent_bytes, 0, "{name}: it was to be kept");
        assert_eq!(reach.push(&files[1], |_| ()).await.unwrap().sent_bytes, 1000, "{name}");
    });
}

#[test]
fn a_program_is_talked_to_and_ends_with_its_status() {
    over_all("talking", async |device, _| {
        let name = device.name;
        let mut process = device.agent().await;
        let hello = encode(&HostMessage::Hello { protocol: PROTOCOL_VERSION }).unwrap();
        process.stdin.write_all(&hello).await.unwrap();
        process.stdin.flush().await.unwrap();
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            line.push(process.stdout.read_u8().await.unwrap());
        }
        let hello = LineReader::new(line.as_slice()).next_message().unwrap();
        assert!(matches!(hello, Some(AgentMessage::Hello { .. })), "{name}: {hello:?}");
        // the other direction still works after the answer, and then is closed alone
        process.stdin.write_all(&encode(&HostMessage::Bye).unwrap()).await.unwrap();
        process.stdin.flush().await.unwrap();
        drop(process.stdin);
        assert_eq!(process.control.wait().await.unwrap(), ProcessEnd::Exited(0), "{name}");
        let mut rest = Vec::new();
        process.stdout.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"", "{name}");
        assert_eq!(process.control.wait().await.unwrap(), ProcessEnd::Exited(0), "{name}: told again");
    });
}

#[test]
fn both_directions_carry_any_bytes_at_the_same_time_and_close_alone() {
    over_all("piping", async |device, _| {
        if device.pretends {
            return;
        }
        let bytes: Vec<u8> = (0..8_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let ran = device.run(&["sh", "-c", "cat; echo apart >&2; exit 5"], &bytes).await;
        assert!(ran.stdout == bytes, "{}: {} bytes came back", device.name, ran.stdout.len());
        assert_eq!((ran.end, ran.stderr.as_str()), (ProcessEnd::Exited(5), "apart\n"), "{}", device.name);
        // one that does not read to its end takes nobody along
        let ran = device.run(&["sh", "-c", "exit 3"], &bytes).await;
        assert_eq!(ran.end, ProcessEnd::Exited(3), "{}", device.name);
    });
}

#[test]
fn words_arrive_as_they_were_said() {
    over_all("quoting", async |device, _| {
        if device.pretends {
            return;
        }
        let hostile =
            ["two  words", "it's", "\"$(id)`id`$HOME\"", "a\nb\tc", "*", "-n", "", "\\", "ü€\u{7}", ";|&<>"];
        let mut words = vec!["sh", "-c", "for a; do printf '[%s]' \"$a\"; done", "sh"];
        words.extend(hostile);
        let ran = device.run(&words, b"").await;
        let expected: String = hostile.iter().map(|word| format!("[{word}]")).collect();
        assert_eq!(String::from_utf8(ran.stdout).unwrap(), expected, "{}", device.name);
        if !device.here {
            let args = vec![OsString::from_vec(vec![b'a', 0xff])];
            let error = device.reach.spawn(&Program { path: "echo".into(), args }).await.err().unwrap();
            assert!(error.to_string().contains("UTF-8"), "{}: {error}", device.name);
        }
    });
}

#[test]
fn a_program_is_killed_by_hand_and_by_being_dropped() {
    over_all("killing", async |device, _| {
        let mut process = device.agent().await;
        process.control.kill().await.unwrap();
        let end = process.control.wait().await.unwrap();
        // on another machine the connection may go before the news
        let known = end == ProcessEnd::Signalled(9) || !device.here && end == ProcessEnd::Unknown;
        assert!(known, "{}: {end:?}", device.name);

        let mut process = device.agent().await;
        drop(process.control);
        // its end of the pipe closes when it is gone; on another machine the connection may break
        let mut rest = Vec::new();
        let read = process.stdout.read_to_end(&mut rest).await;
        assert!(read.is_ok() || !device.here, "{}: {read:?}", device.name);
    });
}

#[test]
fn a_killed_program_takes_along_what_it_started() {
    const FAMILY: [&str; 3] = ["sh", "-c", "sleep 1000 & echo $!; wait"];
    // a zombie is as good as gone
    const ALIVE: &str = "s=$(cat /proc/$1/stat 2>/dev/null) || exit 1; case $s in *') Z '*) exit 1;; esac";
    over_all("killing children", async |device, _| {
        if device.pretends {
            return;
        }
        let args = FAMILY[1..].iter().map(OsString::from).collect();
        let program = Program { path: FAMILY[0].into(), args };
        for by_hand in [true, false] {
            let mut process = device.reach.spawn(&program).await.unwrap();
            let mut child = String::new();
            BufReader::new(process.stdout).read_line(&mut child).await.unwrap();
            let alive = ["sh", "-c", ALIVE, "sh", child.trim()];
            assert_eq!(device.run(&alive, b"").await.end, ProcessEnd::Exited(0), "{}", device.name);
            if by_hand {
                process.control.kill().await.unwrap();
            }
            drop(process.control);
            while device.run(&alive, b"").await.end == ProcessEnd::Exited(0) {
                sleep(POLL).await;
            }
        }
    });
}

#[test]
fn a_program_that_is_not_there_is_named() {
    over_all("starting nothing", async |device, scene| {
        let program = Program { path: "/nowhere/agent".into(), args: Vec::new() };
        if device.pretends {
            return;
        }
        if device.here {
            let error = Local::new(scene.path("local"), "bench".into()).spawn(&program).await.err().unwrap();
            assert!(matches!(error, TransportError::Io { .. }), "{error:?}");
            assert!(error.to_string().contains("/nowhere/agent"), "{error}");
            return;
        }
        let ran = device.run(&["/nowhere/agent"], b"").await;
        assert_eq!(ran.end, ProcessEnd::Exited(127), "{}", device.name);
        assert!(ran.stderr.contains("/nowhere/agent"), "{}: {ran:?}", device.name);
    });
}
