//! What becomes of everything that can go wrong between here and a phone, shown by a scripted server. The real
//! one is asked by the transport contract.

mod scripted;

use super::{
    super::{ProcessEnd, remote::begin},
    *,
};
use protocol::Sha256Hex;
pub(super) use scripted::Scripted;
use scripted::{SERIAL, Talk};
use std::{
    future::pending,
    time::{Duration, SystemTime},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

const CONNECTED: &str = "10.0.0.7:5555 device product:p model:Model_1 device:d transport_id:1\n";

fn on_loop(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), work).await.unwrap() });
}

/// Time passes only while everybody waits: deadlines come at once.
fn on_fast_loop(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(work);
}

fn packet(channel: u8, bytes: &[u8]) -> Vec<u8> {
    [&[channel][..], &u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat()
}

fn frame(word: &[u8; 4], bytes: &[u8]) -> Vec<u8> {
    [&word[..], &u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat()
}

fn file(bytes: Vec<u8>) -> HostFile {
    HostFile::from_memory("model.tflite", bytes)
}

#[test]
fn one_badly_plugged_phone_hides_no_other() {
    on_loop(async {
        let list = "????  no permissions (user in plugdev group; are your udev rules wrong?); see [http://x] usb:1-2\n\
                    ~~\nR5CT unauthorized usb:1-3 transport_id:2\n10.0.0.7:5555 device model:Model_1\n";
        let scripted = Scripted::with_devices(list, |_, _| async {}).await;
        let found = found_by(&scripted.server).await.unwrap();
        let addresses: Vec<&str> = found.iter().map(|one| one.address.as_str()).collect();
        assert_eq!(addresses, ["????", "R5CT", SERIAL]);
        assert!(found[0].state.as_ref().unwrap_err().contains("udev rules"));
        assert!(found[1].state.as_ref().unwrap_err().contains("accept this computer's key"));
        assert_eq!((found[2].about.as_str(), &found[2].state), ("Model 1", &Ok(())));
    });
}

#[test]
fn a_device_that_cannot_be_used_says_what_to_do() {
    let cases = [
        ("10.0.0.7:5555 unauthorized\n", true, "accept this computer's key"),
        ("10.0.0.7:5555 no permissions (x)\n", true, "udev"),
        ("10.0.0.7:5555 recovery\n", true, "adb reboot"),
        ("10.0.0.7:5555 bootloader\n", true, "fastboot reboot"),
        ("10.0.0.7:5555 offline\n", false, "is offline"),
        ("10.0.0.7:5555 connecting\n", false, "try again"),
        ("other device\n", true, "bench devices connect 10.0.0.7:5555"),
        ("", true, "it sees no device"),
    ];
    on_loop(async {
        for (list, by_hand, words) in cases {
            let scripted = Scripted::new(move |mut talk| async move {
                match talk.request().await.as_str() {
                    "host:devices-l" => talk.text(list).await,
                    _ => talk.fail("device \u{1b}[31munusable").await,
                }
            });
            let error = scripted.await.phone().run("true").await.unwrap_err();
            assert!(error.to_string().contains(words), "{list:?}: {error}");
            assert!(!error.to_string().contains('\u{1b}'), "{error}");
            assert_eq!(matches!(error, TransportError::Unusable(_)), by_hand, "{list:?}: {error:?}");
            assert_eq!(matches!(error, TransportError::Lost { .. }), !by_hand, "{list:?}: {error:?}");
        }
    });
}

#[test]
fn a_device_that_was_used_and_is_gone_is_lost() {
    on_loop(async {
        let served = |mut talk: Talk, _| async move {
            talk.raw(b"OKAY").await;
        };
        let scripted = Scripted::with_devices("", served).await;
        let error = scripted.phone().run("true").await.unwrap_err();
        assert!(matches!(error, TransportError::Lost { .. }), "{error:?}");
        assert!(error.to_string().contains("adb does not see 10.0.0.7:5555 any more"), "{error}");
    });
}

#[test]
fn the_only_device_needs_no_name() {
    on_loop(async {
        for (list, words) in [("", "adb sees no device"), ("a device\nb offline\n", "adb:a or adb:b")] {
            let scripted = Scripted::with_devices(list, |_, _| async {}).await;
            let error = scripted.phone_called("").run("true").await.unwrap_err();
            assert!(matches!(error, TransportError::Unusable(_)), "{error:?}");
            assert!(error.to_string().contains(words), "{error}");
        }
        let scripted = Scripted::with_devices(CONNECTED, |mut talk, service| async move {
            assert_eq!(service, "shell,v2,raw:true");
            talk.raw(&[b"OKAY".to_vec(), packet(3, &[0])].concat()).await;
        });
        let scripted = scripted.await;
        assert_eq!(scripted.phone_called("").run("true").await.unwrap().status, 0);
        let asked = scripted.asked.lock().unwrap().clone();
        assert_eq!(asked, ["host:devices-l", "host:transport:10.0.0.7:5555", "shell,v2,raw:true"]);
    });
}

#[test]
fn an_android_that_is_too_old_is_named() {
    on_loop(async {
        let scripted = Scripted::with_devices(CONNECTED, |mut talk, request| async move {
            match request.as_str() {
                "host-serial:10.0.0.7:5555:features" => talk.text("cmd,stat_v2").await,
                _ => talk.fail("closed").await,
            }
        });
        let error = scripted.await.phone().run("true").await.unwrap_err();
        assert!(matches!(error, TransportError::Unusable(_)), "{error:?}");
        assert!(error.to_string().contains("before version 7"), "{error}");
    });
}

#[test]
fn a_server_that_never_answers_is_told_by_its_deadline() {
    on_fast_loop(async {
        let scripted = Scripted::new(|talk| async move {
            pending::<()>().await;
            drop(talk);
        });
        let scripted = scripted.await;
        let error = scripted.phone().run("true").await.unwrap_err().to_string();
        assert!(error.contains("does not answer") && error.contains("end its process"), "{error}");
        let error = found_by(&scripted.server).await.unwrap_err();
        assert!(error.contains("end its process"), "{error}");
    });
}

#[test]
fn a_device_that_never_answers_is_told_from_its_server() {
    on_fast_loop(async {
        let silent = |talk: Talk, _| async move {
            pending::<()>().await;
            drop(talk);
        };
        let error = Scripted::with_devices(CONNECTED, silent).await.phone().run("true").await.unwrap_err();
        assert!(matches!(error, TransportError::Lost { .. }), "{error:?}");
        assert!(error.to_string().contains("did not answer within"), "{error}");
    });
}

#[test]
fn no_server_is_no_panic() {
    on_loop(async {
        let scripted = Scripted::new(|_| async {}).await;
        let (server, phone) = (scripted.server.clone(), scripted.phone());
        drop(scripted);
        tokio::task::yield_now().await;
        let error = phone.run("true").await.unwrap_err();
        assert!(error.to_string().contains("no adb server can be reached"), "{error}");
        assert!(found_by(&server).await.unwrap_err().contains(&server.socket()));
    });
}

/// What a server says to a request for a service, cut off after `most` bytes, and what the client made of it.
async fn cut<T>(
    answer: &[u8],
    most: usize,
    ask: impl AsyncFn(Adb) -> Result<T, TransportError>,
) -> Result<T, TransportError> {
    let answer = answer[..most].to_vec();
    let scripted = Scripted::with_devices(CONNECTED, move |mut talk, _| {
        let answer = answer.clone();
        async move {
            talk.raw(&answer).await;
            // what was sent is taken, so that nothing is reset
            talk.stream.shutdown().await.ok();
            talk.drain().await;
        }
    });
    ask(scripted.await.phone()).await
}

#[test]
fn a_connection_that_breaks_off_anywhere_is_an_error() {
    on_loop(async {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("to");
        let run = [b"OKAY".to_vec(), packet(1, b"out"), packet(2, b"err"), packet(3, &[1])].concat();
        let received = [b"OKAY".to_vec(), frame(b"DATA", b"abc"), frame(b"DATA", b"de"), frame(b"DONE", b"")];
        let received = received.concat();
        for most in 0..=run.len() {
            let ran = cut(&run, most, async |phone| phone.run("x").await).await;
            assert_eq!(ran.is_ok(), most == run.len(), "{most}: {ran:?}");
            assert!(!ran.is_err_and(|e| !matches!(e, TransportError::Lost { .. })), "{most}");
        }
        for most in 0..=received.len() {
            let moved = Moved::new(0);
            let (blocks, landing) = begin(std::fs::File::create(&to).unwrap());
            let got =
                cut(&received, most, async |phone| phone.receive("/x", blocks.clone(), &moved).await).await;
            assert_eq!(got.is_ok(), most == received.len(), "{most}: {got:?}");
            drop(blocks);
            let (sha256, bytes) = landing.end().await.unwrap();
            assert!(got.is_err() || (bytes, sha256) == (5, Sha256Hex::of_bytes(b"abcde")));
        }
        assert_eq!(std::fs::read(&to).unwrap(), b"abcde");
        for answer in [frame(b"FAIL", b"No space left on device"), frame(b"OKAY", b"")] {
            let answer = [b"OKAY".to_vec(), answer].concat();
            for most in 0..answer.len() {
                let moved = Moved::new(0);
                let sent =
                    cut(&answer, most, async |phone| phone.send(&file(vec![1; 10]), "/x", &moved).await);
                let error = sent.await.unwrap_err();
                assert!(matches!(error, TransportError::Lost { .. }), "{most}: {error:?}");
            }
        }
    });
}

#[test]
fn nonsense_is_no_answer() {
    let nonsense = [
        b"WHAT".to_vec(),
        b"\xff\xff\xff\xff".to_vec(),
        b"FAILzzzz".to_vec(),
        b"FAIL+001x".to_vec(),
        [b"OKAY".to_vec(), packet(7, b"x")].concat(),
        [b"OKAY".to_vec(), packet(3, b"long")].concat(),
        // lengths that never come
        [&b"OKAY"[..], &[1, 0xff, 0xff, 0xff, 0xff], b"few"].concat(),
        b"OKAYDATA\xff\xff\xff\xff".to_vec(),
        b"OKAYFAIL\xff\xff\xff\xff".to_vec(),
        b"OKAYWHAT\0\0\0\0".to_vec(),
    ];
    on_loop(async {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("to");
        for answer in nonsense {
            let all = answer.len();
            let ran = cut(&answer, all, async |phone| phone.run("x").await).await;
            assert!(matches!(ran, Err(TransportError::Lost { .. })), "{answer:?}: {ran:?}");
            let moved = Moved::new(0);
            let blocks = begin(std::fs::File::create(&to).unwrap()).0;
            let got =
                cut(&answer, all, async |phone| phone.receive("/x", blocks.clone(), &moved).await).await;
            assert!(matches!(got, Err(TransportError::Lost { .. })), "{answer:?}: {got:?}");
            let sent = cut(&answer, all, async |phone| phone.send(&file(vec![1]), "/x", &moved).await).await;
            assert!(matches!(sent, Err(TransportError::Lost { .. })), "{answer:?}: {sent:?}");
        }
    });
}

#[test]
fn a_full_device_ends_a_push_before_all_is_sent() {
    const BYTES: usize = 64 << 20;
    on_loop(async {
        let scripted = Scripted::with_devices(CONNECTED, |mut talk, service| async move {
            assert_eq!(service, "sync:");
            talk.raw(b"OKAY").await;
            let mut start = vec![0; 1 << 20];
            talk.stream.read_exact(&mut start).await.unwrap();
            talk.raw(&frame(b"FAIL", b"write failed: No space left on device")).await;
            // takes no more, and does not hang up either
            pending::<()>().await;
        });
        let moved = Moved::new(0);
        let error = scripted.await.phone().send(&file(vec![0; BYTES]), "/x", &moved).await.unwrap_err();
        assert!(error.to_string().contains("No space left"), "{error}");
        assert!(matches!(error, TransportError::Refused { .. }), "{error:?}");
        assert!(*moved.borrow() < BYTES as u64);
    });
}

#[test]
fn a_push_is_framed_as_adbd_wants_it() {
    on_loop(async {
        let (tell, mut told) = mpsc::unbounded_channel();
        let scripted = Scripted::with_devices(CONNECTED, move |mut talk, _| {
            let tell = tell.clone();
            async move {
                talk.raw(b"OKAY").await;
                let mut bytes = Vec::new();
                while !bytes.ends_with(b"DONE") {
                    bytes.push(talk.stream.read_u8().await.unwrap());
                }
                let time = talk.stream.read_u32_le().await.unwrap();
                tell.send((bytes, time)).unwrap();
                talk.raw(&frame(b"OKAY", b"")).await;
                talk.drain().await;
            }
        });
        let moved = Moved::new(0);
        let content = vec![7; 65_537];
        scripted.await.phone().send(&file(content), "/data/a,b", &moved).await.unwrap();
        let (bytes, time) = told.recv().await.unwrap();
        let first = frame(b"DATA", &vec![7; 65_536]);
        let expected =
            [frame(b"SEND", b"/data/a,b,33152"), first, frame(b"DATA", &[7]), b"DONE".to_vec()].concat();
        assert!(bytes == expected);
        assert!(u64::from(time) <= SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs());
        assert_eq!(*moved.borrow(), 65_537);
    });
}

/// How often a push of 10 bytes that hangs shows life, while the device says that the file has these sizes.
async fn signs_of_life(sizes: &'static [u32]) -> usize {
    let (look, looks) = tokio::sync::watch::channel(0);
    let scripted = Scripted::with_devices(CONNECTED, move |mut talk, _| {
        let (look, mut looks) = (look.clone(), looks.clone());
        async move {
            talk.raw(b"OKAY").await;
            let mut word = [0; 4];
            talk.stream.read_exact(&mut word).await.unwrap();
            if word == *b"STAT" {
                let size = sizes.get(*look.borrow()).or(sizes.last()).unwrap().to_le_bytes();
                talk.raw(&[&b"STAT"[..], &[0; 4], &size, &[0; 4]].concat()).await;
                look.send_modify(|n| *n += 1);
                talk.drain().await;
            } else {
                // all is taken at once, and is written when it was looked at often enough
                let rest = frame(b"SEND", b"/x,33152").len() - 4 + frame(b"DATA", &[7; 10]).len() + 8;
                talk.stream.read_exact(&mut vec![0; rest]).await.unwrap();
                looks.wait_for(|n| *n > sizes.len()).await.unwrap();
                talk.raw(&frame(b"OKAY", b"")).await;
            }
        }
    });
    let (scripted, moved) = (scripted.await, Moved::new(0));
    let mut seen = moved.subscribe();
    let phone = scripted.phone();
    let content = file(vec![7; 10]);
    let push = phone.send(&content, "/x", &moved);
    tokio::pin!(push);
    let mut signs = 0;
    loop {
        tokio::select! {
            biased;
            sent = &mut push => break sent.unwrap(),
            change = seen.changed() => {
                change.unwrap();
                assert_eq!(*seen.borrow_and_update(), 10);
                signs += 1;
            }
        }
    }
    signs
}

#[test]
fn what_grows_on_the_device_is_progress_and_nothing_else() {
    on_loop(async {
        let (grows, lies) = tokio::join!(signs_of_life(&[1, 2]), signs_of_life(&[9, 5, 9, 11]));
        assert_eq!((grows, lies), (3, 2), "one for the bytes that were taken");
    });
}

#[test]
fn a_program_is_fed_closed_and_ends_by_signal() {
    on_loop(async {
        let scripted = Scripted::with_devices(CONNECTED, |mut talk, _| async move {
            talk.raw(b"OKAY").await;
            let expected = [packet(0, b"in"), packet(4, b"")].concat();
            let mut got = vec![0; expected.len()];
            talk.stream.read_exact(&mut got).await.unwrap();
            assert_eq!(got, expected);
            // an end of the client's stream would be the end of the program
            let silent = tokio::time::timeout(Duration::from_millis(50), talk.stream.read_u8()).await;
            assert!(silent.is_err(), "{silent:?}");
            talk.raw(&[packet(2, b"err"), packet(1, b"out"), packet(3, &[139])].concat()).await;
        });
        let mut process = scripted.await.phone().start("x").await.unwrap();
        process.stdin.write_all(b"in").await.unwrap();
        drop(process.stdin);
        let (mut out, mut err) = (String::new(), String::new());
        process.stdout.read_to_string(&mut out).await.unwrap();
        process.stderr.read_to_string(&mut err).await.unwrap();
        assert_eq!((out.as_str(), err.as_str()), ("out", "err"));
        assert_eq!(process.control.wait().await.unwrap(), ProcessEnd::Signalled(11));
        assert_eq!(process.control.wait().await.unwrap(), ProcessEnd::Signalled(11));
    });
}

#[test]
fn endless_output_ends_with_whoever_reads_it() {
    on_loop(async {
        let (tell, mut told) = mpsc::unbounded_channel();
        let scripted = Scripted::with_devices(CONNECTED, move |mut talk, _| {
            let tell = tell.clone();
            async move {
                talk.raw(b"OKAY").await;
                let piece = packet(1, &[b'x'; 1000]);
                while talk.raw(&piece).await {}
                tell.send(()).unwrap();
            }
        });
        let scripted = scripted.await;
        let phone = scripted.phone();
        let mut process = phone.start("yes").await.unwrap();
        let mut some = vec![0; 1 << 20];
        process.stdout.read_exact(&mut some).await.unwrap();
        drop(process.control);
        told.recv().await.unwrap();
        let limited = tokio::time::timeout(Duration::from_millis(50), phone.run("yes")).await;
        assert!(limited.is_err());
        told.recv().await.unwrap();
    });
}

#[test]
fn a_server_that_is_killed_takes_its_programs_along() {
    on_loop(async {
        let (kill, killed) = tokio::sync::watch::channel(false);
        let scripted = Scripted::with_devices(CONNECTED, move |mut talk, _| {
            let mut killed = killed.clone();
            async move {
                talk.raw(&[b"OKAY".to_vec(), packet(1, b"working")].concat()).await;
                killed.wait_for(|k| *k).await.unwrap();
            }
        });
        let scripted = scripted.await;
        let mut process = scripted.phone().start("x").await.unwrap();
        let mut word = [0; 7];
        process.stdout.read_exact(&mut word).await.unwrap();
        drop(scripted);
        tokio::task::yield_now().await;
        kill.send(true).unwrap();
        let error = process.control.wait().await.unwrap_err();
        assert!(matches!(error, TransportError::Lost { .. }), "{error:?}");
        assert!(error.to_string().contains("does not answer any more"), "{error}");
        assert_eq!(process.control.wait().await.unwrap(), ProcessEnd::Unknown);
        let mut rest = Vec::new();
        process.stdout.read_to_end(&mut rest).await.unwrap();
    });
}

#[test]
fn a_lost_device_is_connected_anew_and_waited_for() {
    const NETWORK: &[&str] = &["host:disconnect:10.0.0.7:5555", "host:connect:10.0.0.7:5555"];
    const USB: &[&str] = &["host-serial:R5CT:reconnect"];
    on_loop(async {
        for (serial, kicks) in [(SERIAL, NETWORK), ("R5CT", USB)] {
            let scripted = Scripted::new(move |mut talk| async move {
                let kicked = talk.has_been_asked(kicks[kicks.len() - 1]);
                match talk.request().await.as_str() {
                    "host:track-devices" => {
                        talk.text(&format!("{serial}\toffline\n")).await;
                        let list = format!("{serial}\tdevice\n");
                        talk.raw(format!("{:04x}{list}", list.len()).as_bytes()).await;
                    }
                    request if kicks.contains(&request) => talk.text("done").await,
                    request if kicked && request.starts_with("host:transport:") => {
                        talk.raw(b"OKAY").await;
                        talk.request().await;
                        talk.raw(&[b"OKAY".to_vec(), packet(3, &[0])].concat()).await;
                    }
                    _ => talk.fail("device offline").await,
                }
            });
            let scripted = scripted.await;
            scripted.phone_called(serial).reconnect().await.unwrap();
            let transport = format!("host:transport:{serial}");
            let mut expected = vec![transport.as_str()];
            expected.extend(kicks);
            expected.extend(["host:track-devices", &transport, "shell,v2,raw:true"]);
            assert_eq!(*scripted.asked.lock().unwrap(), expected);
        }
    });
}

#[test]
fn a_device_that_does_not_come_back_says_why() {
    on_fast_loop(async {
        let scripted = Scripted::new(|mut talk| async move {
            match talk.request().await.as_str() {
                "host:devices-l" => talk.text("10.0.0.7:5555 unauthorized\n").await,
                _ => talk.fail("device unauthorized").await,
            }
        });
        let error = scripted.await.phone().reconnect().await.unwrap_err();
        assert!(error.to_string().contains("accept this computer's key"), "{error}");
    });
}
