//! The scripts, run by this machine's own shells: what is quoted arrives as it was, files get their name only
//! when they are right, programs can be killed, and whatever a device answers, nothing breaks.

use super::{
    super::{Content, Control, Guarded, ProcessEnd},
    *,
};
use proptest::prelude::*;
use std::{
    fs,
    process::{Command as Blocking, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    time::timeout,
};

/// Nothing here takes long; a test that would hang ends here.
const LIMIT: Duration = Duration::from_secs(60);

/// A shell of this machine in place of one at the end of a wire.
struct Here {
    shell: &'static str,
    /// What the device does with bytes on their way to it.
    spoils: bool,
}

impl Here {
    fn command(&self, script: &str) -> Command {
        let mut command = Command::new(self.shell);
        command.args(["-c", script]).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

fn lost(error: std::io::Error) -> TransportError {
    TransportError::Lost { doing: "testing".to_owned(), reason: error.to_string() }
}

struct Life(Child);

impl Control for Life {
    fn wait(&mut self) -> Pending<'_, ProcessEnd> {
        Box::pin(async {
            let status = self.0.wait().await.map_err(lost)?;
            Ok(status.code().map_or(ProcessEnd::Signalled(9), ProcessEnd::Exited))
        })
    }

    fn kill(&mut self) -> Pending<'_, ()> {
        Box::pin(async { self.0.wait().await.map(drop).map_err(lost) })
    }
}

impl Remote for Here {
    fn run<'a>(&'a self, script: &'a str) -> Pending<'a, Output> {
        Box::pin(async move {
            let output = self.command(script).stdin(Stdio::null()).output().await.map_err(lost)?;
            let status = output.status.code().unwrap_or(137);
            Ok(Output { status, stdout: output.stdout, stderr: output.stderr })
        })
    }

    fn send<'a>(&'a self, file: &'a HostFile, to: &'a str, _: &'a Moved) -> Pending<'a, ()> {
        Box::pin(async move {
            let mut bytes = match &file.content {
                Content::Memory(bytes) => bytes.to_vec(),
                Content::Path(path) => fs::read(path).map_err(lost)?,
            };
            if self.spoils {
                bytes.reverse();
            }
            fs::write(to, bytes).map_err(lost)
        })
    }

    fn receive<'a>(&'a self, from: &'a str, to: Blocks, _: &'a Moved) -> Pending<'a, ()> {
        Box::pin(async move {
            let mut bytes = fs::read(from).map_err(lost)?;
            if self.spoils {
                bytes.reverse();
            }
            to.put(bytes).await.map_err(lost)
        })
    }

    fn start<'a>(&'a self, script: &'a str) -> Pending<'a, Process> {
        Box::pin(async move {
            let mut child = self.command(script).process_group(0).spawn().map_err(lost)?;
            Ok(Process {
                stdin: Box::new(child.stdin.take().unwrap()),
                stdout: Box::new(child.stdout.take().unwrap()),
                stderr: Box::new(child.stderr.take().unwrap()),
                control: Box::new(Life(child)),
            })
        })
    }

    fn reconnect(&self) -> Pending<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// Folder names that a shell would take for something else.
const AWKWARD: &[&str] = &[
    "plain",
    "two words",
    "it's",
    "a\"b",
    "$(touch gone)",
    "`id`",
    "a;b&c|d",
    "-rf",
    "*?[x]",
    "new\\nline \\",
    "~",
    "snow ☃",
];

fn shells() -> Vec<&'static str> {
    let known = ["/bin/sh", "/bin/bash", "/usr/bin/mksh-static", "/bin/busybox"];
    known.into_iter().filter(|shell| Path::new(shell).exists() && !shell.ends_with("busybox")).collect()
}

fn on_loop(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(LIMIT, work).await.unwrap() });
}

fn device(folder: &Path, shell: &'static str) -> Guarded {
    let cache = Some(folder.to_str().unwrap().to_owned());
    Guarded::new(Box::new(RemoteDevice::new(Here { shell, spoils: false }, cache, "/nowhere")))
}

#[test]
fn files_come_and_go_through_folders_of_any_name() {
    let scene = tempfile::tempdir().unwrap();
    on_loop(async {
        for (number, shell) in shells().into_iter().enumerate() {
            for name in AWKWARD {
                let folder = scene.path().join(format!("{number}")).join(name);
                let device = device(&folder, shell);
                let probe = device.probe().await.unwrap();
                assert_eq!(probe.cache, folder, "{shell}");
                assert!(probe.arch == std::env::consts::ARCH && probe.free_bytes.is_some(), "{probe:?}");
                let file = HostFile { executable: true, ..HostFile::from_memory("m", &b"#!/bin/sh\n"[..]) };
                let first = device.push(&file, |_| ()).await.unwrap();
                assert_eq!((first.sent_bytes, fs::read(&first.path).unwrap().len()), (10, 10), "{name}");
                assert_eq!(device.push(&file, |_| ()).await.unwrap().sent_bytes, 0, "{name}: is there");
                fs::write(&first.path, "rotten").unwrap();
                assert_eq!(device.push(&file, |_| ()).await.unwrap().sent_bytes, 10, "{name}: rotten");
                let here = scene.path().join("fetched");
                assert_eq!(device.pull(&first.path, &file.sha256, &here).await.unwrap(), 10);
                device.remove(&first.path).await.unwrap();
                device.remove(&first.path).await.unwrap();
                assert!(!first.path.exists(), "{name}");
            }
        }
    });
    assert!(!scene.path().join("gone").exists() && !Path::new("gone").exists());
}

#[test]
fn what_arrives_damaged_gets_no_name() {
    let scene = tempfile::tempdir().unwrap();
    let cache = Some(scene.path().to_str().unwrap().to_owned());
    let device =
        Guarded::new(Box::new(RemoteDevice::new(Here { shell: "/bin/sh", spoils: true }, cache, "")));
    on_loop(async {
        let file = HostFile::from_memory("m", &b"abc"[..]);
        let error = device.push(&file, |_| ()).await.unwrap_err();
        assert!(error.to_string().contains(file.sha256.as_str()), "{error}");
        assert_eq!(fs::read_dir(scene.path().join("files")).unwrap().count(), 0);
        let there = scene.path().join("outputs");
        fs::write(&there, b"abc").unwrap();
        let here = scene.path().join("here");
        let error = device.pull(&there, &file.sha256, &here).await.unwrap_err();
        assert!(matches!(error, TransportError::Damaged { .. }) && !here.exists(), "{error}");
    });
}

#[test]
fn a_program_gets_its_words_as_they_are_and_its_pipes() {
    let scene = tempfile::tempdir().unwrap();
    on_loop(async {
        for shell in shells() {
            let device = device(&scene.path().join("it's a cache"), shell);
            device.probe().await.unwrap();
            let args = AWKWARD.iter().map(|word| (*word).into());
            let args = ["-c".into(), "cat; printf '<%s>' \"$@\"; exit 5".into(), "sh".into()]
                .into_iter()
                .chain(args);
            let program = Program { path: "/bin/sh".into(), args: args.collect() };
            let mut process = device.spawn(&program).await.unwrap();
            process.stdin.write_all(b"\0\xff\r\n").await.unwrap();
            drop(process.stdin);
            let mut out = Vec::new();
            process.stdout.read_to_end(&mut out).await.unwrap();
            let words: String = AWKWARD.iter().map(|word| format!("<{word}>")).collect();
            assert_eq!(out, [b"\0\xff\r\n", words.as_bytes()].concat(), "{shell}");
            assert_eq!(process.control.wait().await.unwrap(), ProcessEnd::Exited(5), "{shell}");
            let notes = scene.path().join("it's a cache/run");
            assert_eq!(fs::read_dir(notes).unwrap().count(), 0, "{shell}: its note is gone");
        }
    });
}

#[test]
fn a_killed_program_takes_what_it_started_with_it() {
    let scene = tempfile::tempdir().unwrap();
    on_loop(async {
        for (shell, by_hand) in shells().into_iter().flat_map(|shell| [(shell, true), (shell, false)]) {
            let device = device(scene.path(), shell);
            device.probe().await.unwrap();
            let args = vec!["-c".into(), "trap '' HUP; sleep 1000 & echo !; wait".into()];
            let mut process = device.spawn(&Program { path: "/bin/sh".into(), args }).await.unwrap();
            assert_eq!(process.stdout.read_u8().await.unwrap(), b'!');
            if by_hand {
                process.control.kill().await.unwrap();
            } else {
                drop(process.control);
            }
            // the pipe ends when nobody holds it any more: neither the shell nor what it started
            let mut rest = Vec::new();
            process.stdout.read_to_end(&mut rest).await.unwrap();
        }
    });
}

/// A device that takes its time to answer, for a clock that stands.
struct Slow {
    takes: Duration,
    answered: AtomicU32,
    file: HostFile,
}

impl Remote for Slow {
    fn run<'a>(&'a self, script: &'a str) -> Pending<'a, Output> {
        Box::pin(async move {
            let probe = script.contains("bench-probe");
            if !probe {
                tokio::time::sleep(self.takes).await;
            }
            self.answered.fetch_add(1, Ordering::Relaxed);
            let stdout = match script {
                _ if probe => "bench-probe\nx86_64\n/c\n/dev/x 1 1 1 1% /\n".to_owned(),
                script if script.contains("mv -f") => self.file.sha256.to_string(),
                _ => String::new(),
            };
            Ok(Output { status: 0, stdout: stdout.into_bytes(), stderr: Vec::new() })
        })
    }

    fn send<'a>(&'a self, _: &'a HostFile, _: &'a str, _: &'a Moved) -> Pending<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn receive<'a>(&'a self, _: &'a str, _: Blocks, _: &'a Moved) -> Pending<'a, ()> {
        Box::pin(std::future::pending())
    }

    fn start<'a>(&'a self, _: &'a str) -> Pending<'a, Process> {
        Box::pin(std::future::pending())
    }

    fn reconnect(&self) -> Pending<'_, ()> {
        Box::pin(std::future::pending())
    }
}

fn slow(takes: Duration) -> (Slow, HostFile) {
    let file = HostFile { bytes: 200 << 20, ..HostFile::from_memory("m", &b"large"[..]) };
    (Slow { takes, answered: AtomicU32::new(0), file: file.clone() }, file)
}

#[tokio::test(start_paused = true)]
async fn a_device_that_hashes_a_large_file_has_not_stalled() {
    for (takes, works) in [(30, true), (100, false)] {
        let (remote, file) = slow(Duration::from_secs(takes));
        let device = Guarded::new(Box::new(RemoteDevice::new(remote, Some("/c".to_owned()), "")));
        let pushed = device.push(&file, |_| ()).await;
        assert_eq!(pushed.is_ok(), works, "{takes} s: {pushed:?}");
        assert!(pushed.is_ok_and(|p| p.sent_bytes == file.bytes) == works);
    }
}

struct Ended;

impl Control for Ended {
    fn wait(&mut self) -> Pending<'_, ProcessEnd> {
        Box::pin(async { Ok(ProcessEnd::Exited(0)) })
    }

    fn kill(&mut self) -> Pending<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_stops_waiting_for_a_program_does_not_save_what_it_started() {
    let remote = Arc::new(slow(Duration::from_secs(3)).0);
    let mut control = RemoteControl::new(Box::new(Ended), Arc::clone(&remote), "kill".to_owned());
    assert!(timeout(Duration::from_millis(200), control.wait()).await.is_err());
    drop(control);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(remote.answered.load(Ordering::Relaxed), 1);
}

#[test]
fn more_files_than_a_command_line_can_name_are_listed() {
    let scene = tempfile::tempdir().unwrap();
    let files = scene.path().join("files");
    fs::create_dir(&files).unwrap();
    for number in 0..4000 {
        fs::write(files.join(format!("{number:064}")), "x").unwrap();
    }
    // a small stack makes the command line small, as on Android
    let list = script::list(&quote(scene.path().to_str().unwrap()).unwrap());
    let script = format!("ulimit -s 1024; {list}");
    let output = Blocking::new("/bin/sh").args(["-c", &script]).output().unwrap();
    let (tidied, doomed) = script::choose(&String::from_utf8(output.stdout).unwrap(), &[], 0, Duration::ZERO);
    assert_eq!((tidied.files, tidied.freed_bytes, doomed.len()), (4000, 4000, 4000));
    assert!(doomed.iter().all(|name| name.len() == 64));
}

#[test]
fn an_instruction_set_that_no_agent_is_made_for_keeps_its_name() {
    assert_eq!(["armv7l", "aarch64", "armv6l"].map(arch), ["arm", "aarch64", "armv6l"]);
}

#[test]
fn the_least_recently_used_go_first_and_those_of_this_run_stay() {
    let scene = tempfile::tempdir().unwrap();
    on_loop(async {
        let device = device(scene.path(), "/bin/sh");
        let mut all = Vec::new();
        for number in 0..4u8 {
            let file = HostFile::from_memory("m", vec![number; 1000]);
            let path = device.push(&file, |_| ()).await.unwrap().path;
            Blocking::new("touch")
                .args(["-d", &format!("2001-01-0{}", number + 1)])
                .arg(&path)
                .status()
                .unwrap();
            all.push((file, path));
        }
        let part = scene.path().join("files").join(format!("{}.part-1-1", all[3].0.sha256));
        fs::write(&part, "half").unwrap();
        Blocking::new("touch").args(["-d", "2001-01-09"]).arg(&part).status().unwrap();
        fs::write(scene.path().join("files/somebody else's"), "not ours").unwrap();
        device.push(&all[1].0, |_| ()).await.unwrap();
        let note = |name: &str, pid: String| {
            let path = scene.path().join("run").join(name);
            fs::write(&path, pid).unwrap();
            path
        };
        let (ours, gone) =
            (note("ours", std::process::id().to_string()), note("gone", "999999999".to_owned()));
        let tidied = device.tidy(&[all[0].0.sha256.clone()], 2500, Duration::ZERO).await.unwrap();
        assert_eq!(tidied, Tidied { files: 3, freed_bytes: 2004, left_bytes: 2000, busy: None });
        let spared = device.tidy(&[], 0, Duration::from_secs(3600)).await.unwrap();
        assert_eq!((spared.files, spared.left_bytes), (1, 1000), "1 was used just now");
        let left: Vec<bool> = all.iter().map(|(_, path)| path.exists()).collect();
        assert_eq!(left, [false, true, false, false], "0 was kept once, 1 was used last");
        assert!(ours.exists() && !gone.exists(), "notes of programs that are gone");
        assert!(!part.exists() && scene.path().join("files/somebody else's").exists());
    });
}

/// When this very process started, as the kernel numbers it.
fn started() -> String {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap().to_owned()
}

#[test]
fn nothing_is_deleted_while_an_agent_measures_and_no_file_makes_believe_that_one_does() {
    let (pid, ticks) = (std::process::id(), started());
    for shell in shells() {
        let scene = tempfile::tempdir().unwrap();
        on_loop(async {
            let device = device(scene.path(), shell);
            device.push(&HostFile::from_memory("m", vec![1; 1000]), |_| ()).await.unwrap();
            let lock = scene.path().join(crate::transport::AGENT_DIR).join(protocol::LOCK_FILE);
            fs::write(&lock, format!("{pid:010} {ticks:0>20} {:020}\n", 5)).unwrap();
            let kept = device.tidy(&[], 0, Duration::ZERO).await.unwrap();
            let busy = Some(format!("agent {pid}"));
            assert_eq!(kept, Tidied { left_bytes: 1000, busy, ..Tidied::default() }, "{shell}");
            for harmless in [
                String::new(),
                format!("{pid:010} {:020} 5\n", 1),
                format!("{:010} {ticks:0>20} 5\n", 999_999_999),
                format!("0000000000 {ticks:0>20}"),
                "-n -n".to_owned(),
                "* * *".to_owned(),
                "$(touch owned) `touch owned` 1".to_owned(),
                "../../etc/passwd 1".to_owned(),
                "0x1 1 \0\u{1}".to_owned(),
                "1".repeat(100_000),
            ] {
                device.push(&HostFile::from_memory("m", vec![1; 1000]), |_| ()).await.unwrap();
                fs::write(&lock, &harmless).unwrap();
                let tidied = device.tidy(&[], 0, Duration::ZERO).await.unwrap();
                assert_eq!((tidied.files, tidied.busy), (1, None), "{shell}: {harmless:.80?}");
            }
            assert!(!scene.path().join("owned").exists());
        });
    }
}

#[test]
fn a_device_says_why_not_and_what_it_says_is_harmless() {
    on_loop(async {
        let scene = tempfile::tempdir().unwrap();
        let in_the_way = scene.path().join("a file: $(x)");
        fs::write(&in_the_way, "").unwrap();
        for shell in shells() {
            for (folder, why) in
                [(Path::new("/proc/no/such"), "No such file or directory"), (&in_the_way, "Not a directory")]
            {
                let error = device(folder, shell).probe().await.unwrap_err();
                assert!(error.remedy() == crate::dispatch::Remedy::Setting, "{error:?}");
                let said = error.to_string();
                assert!(said.contains(folder.to_str().unwrap()) && said.contains("devices.toml"), "{said}");
                assert!(
                    said.contains(&format!(": {why}")) || said.contains(&format!("{why};")),
                    "{shell}: {said}"
                );
                assert!(!said.contains("mkdir"), "{said}");
            }
        }
    });
    for (stderr, words) in [
        ("sh: 1: eval: cannot open /c/x: No such file\n", "cannot open /c/x: No such file"),
        ("sh: line 1: /c/x: No such file or directory\n\n", "/c/x: No such file or directory"),
        ("first\nW: sh: /c/x open: No such file or directory", "/c/x open: No such file or directory"),
        ("/bin/sh: 12: 3: eval: x: not found", "x: not found"),
        ("chmod: sh: gone", "chmod: sh: gone"),
    ] {
        assert_eq!(last_words(stderr.as_bytes()), words);
    }
    let output = Output { status: 3, stdout: Vec::new(), stderr: b"\x1b[2Jbad\r\nworse\x07".to_vec() };
    let said = script::checked("testing", output).unwrap_err().to_string();
    assert!(!said.chars().any(char::is_control) && said.contains("worse"), "{said}");
    let silent = Output { status: 3, stdout: Vec::new(), stderr: Vec::new() };
    assert!(script::checked("testing", silent).unwrap_err().to_string().contains("status 3"));
    let full =
        TransportError::Refused { doing: "placing".to_owned(), reason: "No space left on device".to_owned() };
    let file = HostFile::from_memory("m.tflite", &b"abc"[..]);
    assert!(matches!(script::unplaced(full, &file, &[]), TransportError::NoSpace { needed: 3, .. }));
    let lost = TransportError::Lost { doing: "writing /c/x.part-1".to_owned(), reason: "gone".to_owned() };
    let named = script::unplaced(lost, &file, &["/c/x.part-1", "/c/x"]).to_string();
    assert!(named.contains("writing m.tflite: gone"), "{named}");
    assert!(quote("a\0b").is_err());
}

proptest! {
    #[test]
    fn quoting_is_exact(text in "[^\\x00]{0,40}") {
        let script = format!("printf %s {}", quote(&text).unwrap());
        let output = Blocking::new("/bin/sh").args(["-c", &script]).output().unwrap();
        prop_assert_eq!(output.stdout, text.as_bytes());
    }

    #[test]
    fn no_answer_breaks_anything(answer in any::<String>(), lines in "(([0-9]{1,22}|-1|x) ){2}[0-9a-f]{60,66}(.part-[0-9/ ]{0,4})?\n") {
        for text in [answer.clone(), format!("bench-probe\n{answer}"), format!("bench-probe\nx\n/{answer}\n{answer}")] {
            script::probed(&text).map(drop).unwrap_or_default();
            script::hash_in(&text).map(str::len).unwrap_or_default();
        }
        for listing in [answer, lines.repeat(3)] {
            let (tidied, doomed) = script::choose(&listing, &[], 0, Duration::ZERO);
            prop_assert_eq!(tidied.files, doomed.len() as u64);
            prop_assert!(doomed.iter().all(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))));
        }
    }
}
