//! One contract, every transport that needs no device: files by hash, programs with both ends of their pipes,
//! and nothing left running.

use crate::scene::Scene;
use harness::transport::{Fake, Guarded, HostFile, Local, ProcessEnd, Program, Script, TransportError};
use protocol::{AgentMessage, HostMessage, LineReader, PROTOCOL_VERSION, Sha256Hex, encode};
use std::{ffi::OsString, fs, path::PathBuf, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// Nothing here takes long; a test that would hang ends here.
const LIMIT: Duration = Duration::from_secs(60);

fn all(scene: &Scene) -> [(&'static str, Guarded); 2] {
    let local = Local::new(scene.path("local"), PathBuf::from(env!("CARGO_BIN_EXE_bench")));
    let fake = Fake::new(scene.path("fake"), Script::default());
    [("local", Guarded::new(Box::new(local))), ("fake", Guarded::new(Box::new(fake)))]
}

fn on_loop(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(LIMIT, work).await.unwrap() });
}

#[test]
fn files_are_pushed_once_verified_and_named_by_their_hash() {
    let scene = Scene::new();
    let path = scene.write("model", vec![7u8; 3_000_000]);
    on_loop(async {
        for (name, device) in all(&scene) {
            let probe = device.probe().await.unwrap();
            let file = HostFile::from_path(&path).unwrap();
            let other = HostFile::from_memory("other", &b"other"[..]);
            let mut moved = Vec::new();
            let first = device.push(&file, |n| moved.push(n)).await.unwrap();
            assert_eq!(first.sent_bytes, 3_000_000, "{name}");
            assert!(
                first.path.starts_with(&probe.cache) && first.path.ends_with(file.sha256.as_str()),
                "{name}"
            );
            assert!(moved.is_sorted(), "{name}: {moved:?}");
            let second = device.push(&file, |_| ()).await.unwrap();
            assert_eq!((second.sent_bytes, &second.path), (0, &first.path), "{name}: it is there already");
            let third = device.push(&other, |_| ()).await.unwrap();
            assert_eq!(third.path.as_os_str().len(), first.path.as_os_str().len(), "{name}: equally long");

            fs::write(&first.path, b"rotten").unwrap();
            let again = device.push(&file, |_| ()).await.unwrap();
            assert_eq!(again.sent_bytes, 3_000_000, "{name}: a damaged file is replaced");

            let lying = HostFile { sha256: Sha256Hex::of_bytes(b"something else"), ..file.clone() };
            let refused = device.push(&lying, |_| ()).await.unwrap_err();
            assert!(matches!(refused, TransportError::Damaged { .. }), "{name}: {refused}");
            let folder = first.path.parent().unwrap();
            let left = fs::read_dir(folder).unwrap().count();
            assert_eq!(left, 2, "{name}: nothing half-written is left");
        }
    });
}

#[test]
fn files_are_fetched_verified_and_deleted() {
    let scene = Scene::new();
    on_loop(async {
        for (name, device) in all(&scene) {
            device.probe().await.unwrap();
            let file = HostFile::from_memory("outputs", &b"outputs"[..]);
            let there = device.push(&file, |_| ()).await.unwrap().path;
            let here = scene.path(name).join("fetched");
            assert_eq!(device.pull(&there, &file.sha256, &here).await.unwrap(), 7, "{name}");
            assert_eq!(fs::read(&here).unwrap(), b"outputs");
            fs::remove_file(&here).unwrap();
            let wrong = Sha256Hex::of_bytes(b"wrong");
            assert!(device.pull(&there, &wrong, &here).await.is_err(), "{name}");
            assert!(!here.exists(), "{name}: a damaged file gets no name");
            device.remove(&there).await.unwrap();
            assert!(device.pull(&there, &file.sha256, &here).await.is_err(), "{name}: it is gone");
            device.remove(&there).await.unwrap();
        }
    });
}

async fn agent(device: &Guarded, scene: &Scene, name: &str) -> harness::transport::Process {
    let probe = device.probe().await.unwrap();
    let args: Vec<OsString> = vec!["agent".into(), "--dir".into(), scene.path(name).join("agent").into()];
    device.spawn(&Program { path: probe.agent.unwrap(), args }).await.unwrap()
}

#[test]
fn a_program_is_talked_to_and_ends_with_its_status() {
    let scene = Scene::new();
    on_loop(async {
        for (name, device) in all(&scene) {
            let mut process = agent(&device, &scene, name).await;
            process
                .stdin
                .write_all(&encode(&HostMessage::Hello { protocol: PROTOCOL_VERSION }).unwrap())
                .await
                .unwrap();
            let mut line = Vec::new();
            while !line.ends_with(b"\n") {
                line.push(process.stdout.read_u8().await.unwrap());
            }
            let hello = LineReader::new(line.as_slice()).next_message().unwrap();
            assert!(matches!(hello, Some(AgentMessage::Hello { .. })), "{name}: {hello:?}");
            // the other direction still works after the answer, and then is closed alone
            process.stdin.write_all(&encode(&HostMessage::Bye).unwrap()).await.unwrap();
            process.stdin.shutdown().await.unwrap();
            assert_eq!(process.control.wait().await.unwrap(), ProcessEnd::Exited(0), "{name}");
            let mut rest = Vec::new();
            process.stdout.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"", "{name}");
            assert_eq!(process.control.wait().await.unwrap(), ProcessEnd::Exited(0), "{name}: told again");
        }
    });
}

#[test]
fn a_program_is_killed_by_hand_and_by_being_dropped() {
    let scene = Scene::new();
    on_loop(async {
        for (name, device) in all(&scene) {
            let mut process = agent(&device, &scene, name).await;
            process.control.kill().await.unwrap();
            assert_eq!(process.control.wait().await.unwrap(), ProcessEnd::Signalled(9), "{name}");

            let mut process = agent(&device, &scene, name).await;
            drop(process.control);
            // its end of the pipe closes when it is gone
            let mut rest = Vec::new();
            process.stdout.read_to_end(&mut rest).await.unwrap();
        }
    });
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let scene = Scene::new();
    on_loop(async {
        let [(_, local), _] = all(&scene);
        let program = Program { path: "/nowhere/agent".into(), args: Vec::new() };
        let error = local.spawn(&program).await.err().unwrap();
        assert!(matches!(error, TransportError::Io { .. }), "{error:?}");
        assert!(error.to_string().contains("/nowhere/agent"), "{error}");
    });
}
