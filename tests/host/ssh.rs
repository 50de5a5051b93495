//! SSH against a real sshd of this machine: who is let in, how programs end, what a broken, a frozen and a lying
//! peer looks like.

use crate::{
    devices::{Device, Ran, opened},
    sshd::{PASSPHRASE, Sshd},
};
use harness::transport::{
    Guarded, HostFile, Options, ProcessEnd, Program, Reach, SshOptions, TRANSPORTS, TransportError,
};
use rustix::process::Signal;
use std::{
    env, fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{interval, timeout},
};

/// Nothing here takes long; a test that would hang ends here.
const LIMIT: Duration = Duration::from_secs(120);

/// A peer that is silent for so long is lost, in these tests. Keepalives are sent every 2 s.
const SILENCE: Duration = Duration::from_secs(4);

fn options(sshd: &Sshd) -> Options {
    let ask = |question: &str| Err(format!("nobody answers {question:?}"));
    let ssh = SshOptions { config: Some(sshd.config()), silence: SILENCE, ask };
    Options { ssh, ..Options::default() }
}

fn device_at(sshd: &Sshd, name: &'static str, address: &str, options: &Options) -> Device {
    opened(name, address, sshd.path("cache").display().to_string(), options)
}

fn device(sshd: &Sshd, options: &Options) -> Device {
    device_at(sshd, "ssh", "box", options)
}

fn on_loop(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(LIMIT, work).await.unwrap() });
}

async fn shell(device: &Device, script: &str) -> Ran {
    device.run(&["sh", "-c", script], b"").await
}

/// Why a device cannot be used; it says so in a way that makes it the user's turn.
async fn unusable(device: &Device) -> String {
    let error = device.reach.probe().await.unwrap_err();
    assert!(matches!(error, TransportError::Unusable(_)), "{error:?}");
    error.to_string()
}

#[test]
fn programs_end_as_they_end() {
    let Some(sshd) = Sshd::start("how programs end over ssh", "") else { return };
    on_loop(async {
        let device = device(&sshd, &options(&sshd));
        for (script, end) in [
            ("exit 0", ProcessEnd::Exited(0)),
            ("exit 37", ProcessEnd::Exited(37)),
            ("kill -SEGV $$", ProcessEnd::Signalled(11)),
            ("kill -KILL $$", ProcessEnd::Signalled(9)),
            ("echo out; echo err >&2; kill -ABRT $$", ProcessEnd::Signalled(6)),
        ] {
            assert_eq!(shell(&device, script).await.end, end, "{script}");
        }
        let before = sshd.connections();
        for _ in 0..5 {
            shell(&device, "exit 1").await;
        }
        assert_eq!(sshd.connections(), before, "connections are used again");
    });
}

#[test]
fn much_goes_both_ways_at_once() {
    let Some(sshd) = Sshd::start("32 MB both ways over ssh", "") else { return };
    let bytes: Vec<u8> = (0..32_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    on_loop(async {
        for name in ["ssh", "openssh"] {
            let device = device_at(&sshd, name, "box", &options(&sshd));
            let ran = device.run(&["sh", "-c", "cat; echo end >&2; exit 5"], &bytes).await;
            assert!(ran.stdout == bytes, "{name}: {} bytes came back", ran.stdout.len());
            assert_eq!((ran.end, ran.stderr.as_str()), (ProcessEnd::Exited(5), "end\n"), "{name}");
        }
    });
}

#[test]
fn a_locked_key_is_opened_by_its_passphrase_alone() {
    let Some(sshd) = Sshd::start("a locked key", "") else { return };
    sshd.configure("locked", "");
    let mut options = options(&sshd);
    on_loop(async {
        let said = unusable(&device(&sshd, &options)).await;
        assert!(said.contains("locked with a passphrase") && said.contains("publickey"), "{said}");
        options.ssh.ask = |_| Ok("wrong".to_owned());
        let said = unusable(&device(&sshd, &options)).await;
        assert!(said.contains("passphrase was wrong"), "{said}");
        options.ssh.ask = |question| {
            assert!(question.contains("locked"), "{question}");
            Ok(PASSPHRASE.to_owned())
        };
        assert_eq!(shell(&device(&sshd, &options), "exit 3").await.end, ProcessEnd::Exited(3));
    });
}

#[test]
fn nobody_is_asked_for_the_passphrase_of_a_key_that_is_not_wanted() {
    let Some(sshd) = Sshd::start("a key that is not wanted", "") else { return };
    fs::write(sshd.path("authorized_keys"), "").unwrap();
    sshd.configure("locked", "");
    on_loop(async {
        let said = unusable(&device(&sshd, &options(&sshd))).await;
        assert!(!said.contains("nobody answers"), "{said}");
        sshd.configure("stranger", "");
        let said = unusable(&device(&sshd, &options(&sshd))).await;
        assert!(said.contains("stranger") && said.contains("ssh-copy-id"), "{said}");
        sshd.configure("nothing", "");
        let said = unusable(&device(&sshd, &options(&sshd))).await;
        assert!(said.contains("Tried: nothing"), "{said}");
    });
}

/// An agent that holds one key.
struct Agent(Child);

impl Agent {
    fn start(sshd: &Sshd, keys: &[&str]) -> Self {
        let socket = sshd.path("agent");
        let mut child = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // it prints where it listens once it does
        let mut first = [0];
        child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
        for key in keys {
            let mut add = Command::new("ssh-add");
            add.arg("-q").arg(sshd.path(key)).env("SSH_AUTH_SOCK", &socket);
            assert!(add.status().unwrap().success());
        }
        Self(child)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn every_key_of_the_agent_is_tried() {
    let Some(sshd) = Sshd::start("keys of an agent", "") else { return };
    let _agent = Agent::start(&sshd, &["stranger", "id"]);
    let agent = format!("IdentityAgent {}\n IdentitiesOnly no", sshd.path("agent").display());
    on_loop(async {
        sshd.configure("nothing", &agent);
        assert_eq!(shell(&device(&sshd, &options(&sshd)), "exit 3").await.end, ProcessEnd::Exited(3));
        sshd.configure("nothing", &agent.replace("IdentitiesOnly no", "IdentitiesOnly yes"));
        unusable(&device(&sshd, &options(&sshd))).await;
    });
}

#[test]
fn a_new_host_is_met_only_when_that_was_said() {
    let Some(sshd) = Sshd::start("a new host", "") else { return };
    fs::remove_file(sshd.path("known_hosts")).unwrap();
    let mut options = options(&sshd);
    on_loop(async {
        for name in ["ssh", "openssh"] {
            let said = unusable(&device_at(&sshd, name, "box", &options)).await;
            assert!(said.contains("--accept-new-host-key") && said.contains("ssh box"), "{name}: {said}");
        }
        let said = unusable(&device(&sshd, &options)).await;
        let print = Command::new("ssh-keygen").arg("-lf").arg(sshd.path("host.pub")).output().unwrap().stdout;
        let print = String::from_utf8(print).unwrap();
        assert!(said.contains(print.split(' ').nth(1).unwrap()), "{said} shows {print}");
        options.accept_new_host_key = true;
        shell(&device(&sshd, &options), "exit 0").await;
        options.accept_new_host_key = false;
        for name in ["ssh", "openssh"] {
            let ran = shell(&device_at(&sshd, name, "box", &options), "exit 3").await;
            assert_eq!(ran.end, ProcessEnd::Exited(3), "{name} knows it now");
        }
    });
}

#[test]
fn a_changed_host_is_never_met() {
    let Some(sshd) = Sshd::start("a changed host", "") else { return };
    sshd.know("other_host");
    let mut options = options(&sshd);
    options.accept_new_host_key = true;
    on_loop(async {
        let said = unusable(&device(&sshd, &options)).await;
        let remove = said.split('`').find(|part| part.starts_with("ssh-keygen -R")).unwrap().to_owned();
        unusable(&device_at(&sshd, "openssh", "box", &options)).await;
        assert!(Command::new("sh").arg("-c").arg(remove).output().unwrap().status.success());
        shell(&device(&sshd, &options), "exit 0").await;

        let known = fs::read_to_string(sshd.path("known_hosts")).unwrap();
        fs::write(sshd.path("known_hosts"), format!("{known}@revoked {known}")).unwrap();
        let said = unusable(&device(&sshd, &options)).await;
        assert!(said.contains("revoke"), "{said}");
        fs::write(sshd.path("known_hosts"), format!("@cert-authority {known}")).unwrap();
        let said = unusable(&device(&sshd, &options)).await;
        assert!(said.contains("certificate") && said.contains("openssh:box"), "{said}");
    });
}

#[test]
fn an_alias_stands_for_its_own_key_alone() {
    let Some(sshd) = Sshd::start("the alias of a key", "") else { return };
    let key = fs::read_to_string(sshd.path("host.pub")).unwrap();
    let known = |name: &str| fs::write(sshd.path("known_hosts"), format!("{name} {key}")).unwrap();
    on_loop(async {
        known("127.0.0.1");
        let end = shell(&device(&sshd, &options(&sshd)), "exit 3").await.end;
        assert_eq!(end, ProcessEnd::Exited(3), "the key of its usual port is taken");
        sshd.configure("id", "HostKeyAlias twin");
        let said = unusable(&device(&sshd, &options(&sshd))).await;
        assert!(said.contains("was never seen"), "{said}");
        known("twin");
        assert_eq!(shell(&device(&sshd, &options(&sshd)), "exit 3").await.end, ProcessEnd::Exited(3));
    });
}

#[test]
fn what_login_scripts_print_is_not_taken_for_an_answer() {
    let greeting =
        "ForceCommand echo Welcome; echo careful >&2; echo; echo bench; eval \"$SSH_ORIGINAL_COMMAND\"";
    let Some(sshd) = Sshd::start("a greeting", greeting) else { return };
    on_loop(async {
        for name in ["ssh", "openssh"] {
            let device = device_at(&sshd, name, "box", &options(&sshd));
            assert_eq!(shell(&device, "echo mine").await.stdout, b"mine\n", "{name}");
            let file = HostFile::from_memory("model", vec![9; 300_000]);
            assert_eq!(device.reach.push(&file, |_| ()).await.unwrap().sent_bytes, 300_000, "{name}");
            device.clean().await;
        }
    });
}

#[test]
fn a_shell_that_never_ends_talking_is_given_up() {
    for command in ["yes", "exit 9"] {
        let Some(sshd) = Sshd::start("a login shell that talks", &format!("ForceCommand {command}")) else {
            return;
        };
        on_loop(async {
            for name in ["ssh", "openssh"] {
                let device = device_at(&sshd, name, "box", &options(&sshd));
                let error = device.reach.probe().await.unwrap_err();
                assert!(matches!(error, TransportError::Refused { .. }), "{name}: {error:?}");
                assert!(error.to_string().contains("login shell"), "{name}: {error}");
            }
        });
    }
}

#[test]
fn files_arrive_where_there_is_no_sftp() {
    let Some(sshd) = Sshd::start("no sftp", "# no sftp") else { return };
    on_loop(async {
        let device = device(&sshd, &options(&sshd));
        let file = HostFile::from_memory("model", vec![7; 3_000_000]);
        let there = device.reach.push(&file, |_| ()).await.unwrap().path;
        let here = sshd.path("fetched");
        assert_eq!(device.reach.pull(&there, &file.sha256, &here).await.unwrap(), 3_000_000);
        let error = device.reach.pull(Path::new("/nowhere/x"), &file.sha256, &here).await.unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
    });
}

#[test]
fn a_peer_that_is_killed_or_frozen_is_noticed_and_found_again() {
    for (signal, words) in [(Signal::KILL, ""), (Signal::STOP, "silent")] {
        let Some(sshd) = Sshd::start("a lost sshd", "") else { return };
        on_loop(async {
            let device = device(&sshd, &options(&sshd));
            let args = vec!["-c".into(), "echo up; cat".into()];
            let mut process = device.reach.spawn(&Program { path: "sh".into(), args }).await.unwrap();
            let mut up = [0; 3];
            process.stdout.read_exact(&mut up).await.unwrap();
            sshd.signal(signal);
            let error = process.control.wait().await.unwrap_err();
            assert!(matches!(error, TransportError::Lost { .. }), "{error:?}");
            assert!(error.to_string().contains(words), "{error}");
            drop(process);
            sshd.refuse(true);
            assert!(timeout(SILENCE / 4, device.reach.recover()).await.is_err(), "it does not answer yet");
            sshd.refuse(false);
            device.reach.recover().await.unwrap();
            assert_eq!(shell(&device, "exit 3").await.end, ProcessEnd::Exited(3));
        });
    }
}

#[test]
fn a_frozen_peer_is_noticed_by_a_host_that_goes_on_talking() {
    let Some(sshd) = Sshd::start("talking to a frozen sshd", "") else { return };
    on_loop(async {
        let device = device(&sshd, &options(&sshd));
        let args = vec!["-c".into(), "echo up; cat".into()];
        let mut process = device.reach.spawn(&Program { path: "sh".into(), args }).await.unwrap();
        let mut up = [0; 3];
        process.stdout.read_exact(&mut up).await.unwrap();
        sshd.signal(Signal::STOP);
        let mut stdin = process.stdin;
        let pings = async move {
            let mut often = interval(SILENCE / 8);
            // until the bridge is gone
            while stdin.write_all(b"ping").await.is_ok() {
                often.tick().await;
            }
        };
        let (error, ()) = tokio::join!(process.control.wait(), pings);
        assert!(error.unwrap_err().to_string().contains("silent"));
    });
}

#[test]
fn a_kept_connection_that_went_silent_costs_a_file_nothing() {
    let Some(sshd) = Sshd::start("a stale connection", "") else { return };
    on_loop(async {
        let device = device(&sshd, &options(&sshd));
        let file = HostFile::from_memory("model", vec![7; 300_000]);
        let there = device.reach.push(&file, |_| ()).await.unwrap().path;
        let before = sshd.connections();
        sshd.signal(Signal::STOP);
        let here = sshd.path("fetched");
        assert_eq!(device.reach.pull(&there, &file.sha256, &here).await.unwrap(), 300_000);
        assert_eq!(sshd.connections(), before + 1, "another one was made");
    });
}

#[test]
fn a_push_to_a_frozen_peer_ends() {
    let Some(sshd) = Sshd::start("a frozen push", "") else { return };
    let file = HostFile::from_memory("model", vec![1; 64 << 20]);
    on_loop(async {
        for name in ["ssh", "openssh"] {
            let device = device_at(&sshd, name, "box", &options(&sshd));
            device.reach.probe().await.unwrap();
            let error = device.reach.push(&file, |_| sshd.signal(Signal::STOP)).await.unwrap_err();
            let lost = matches!(error, TransportError::Lost { .. } | TransportError::Stalled { .. });
            assert!(lost, "{name}: {error:?}");
            sshd.signal(Signal::KILL);
        }
    });
}

#[test]
fn a_machine_behind_another_is_reached_by_the_program_ssh() {
    let Some(sshd) = Sshd::start("a proxy", "") else { return };
    sshd.configure(
        "id",
        "ProxyCommand sh -c 'exec 3<>/dev/null; exec bash -c \"exec 3<>/dev/tcp/%h/%p; cat <&3 & cat >&3\"'",
    );
    on_loop(async {
        let device = device(&sshd, &options(&sshd));
        assert_eq!(shell(&device, "exit 3").await.end, ProcessEnd::Exited(3));
        let file = HostFile::from_memory("model", vec![7; 3_000_000]);
        assert_eq!(device.reach.push(&file, |_| ()).await.unwrap().sent_bytes, 3_000_000);
        let before = sshd.connections();
        shell(&device, "exit 0").await;
        assert_eq!(sshd.connections(), before, "all go through one connection");
    });
}

#[test]
fn what_is_no_sshd_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        // the first one hears nonsense, the second one nothing
        let (mut first, _) = listener.accept().unwrap();
        first.write_all(b"\x1b[2JHTTP/1.1 400 no\r\n\r\n").ok();
        drop(first);
        let (mut second, _) = listener.accept().unwrap();
        second.read_to_end(&mut Vec::new()).ok();
    });
    let ask = |_: &str| Err("nobody".to_owned());
    let ssh = SshOptions { config: Some("/dev/null".into()), silence: Duration::from_secs(1), ask };
    let kind = TRANSPORTS.iter().find(|kind| kind.name == "ssh").unwrap();
    let reach = Reach { address: format!("me@127.0.0.1:{port}"), ..Reach::default() };
    let transport = Guarded::new((kind.open)(&reach, &Options { ssh, ..Options::default() }).unwrap());
    on_loop(async {
        for _ in 0..2 {
            let error = transport.probe().await.unwrap_err();
            assert!(matches!(error, TransportError::Lost { .. }), "{error:?}");
            let said = error.to_string();
            assert!(said.contains("127.0.0.1") && !said.contains('\u{1b}'), "{said}");
        }
        let nowhere = Reach { address: "me@no-such-machine.invalid".to_owned(), ..Reach::default() };
        let transport = Guarded::new((kind.open)(&nowhere, &Options::default()).unwrap());
        let error = transport.probe().await.unwrap_err();
        assert!(matches!(error, TransportError::Unusable(_)), "{error:?}");
    });
}

/// What a person at a terminal sees after typing `typed` to the question.
fn at_a_terminal(typed: &[u8]) -> Option<String> {
    let command =
        format!("{} --exact ssh::asked --ignored --nocapture", env::current_exe().unwrap().display());
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut script) = script.spawn() else {
        println!("left out: a secret typed at a terminal: script is missing: install bsdutils");
        return None;
    };
    let (mut stdin, mut stdout) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(b"Secret: ") {
        stdout.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    stdin.write_all(typed).unwrap();
    stdout.read_to_end(&mut seen).unwrap();
    script.wait().unwrap();
    Some(String::from_utf8(seen).unwrap())
}

#[test]
fn a_secret_that_is_typed_is_not_shown() {
    let Some(seen) = at_a_terminal("wrong\u{15}top sü\u{7f}ecreX\u{7f}t\r".as_bytes()) else { return };
    assert!(seen.contains("Ok(\"t.o.p. .s.e.c.r.e.t\")") && !seen.contains("wrong"), "{seen}");
    let seen = at_a_terminal(b"half\x04").unwrap();
    assert!(seen.contains("nothing was typed") && !seen.contains("half"), "{seen}");
    // this key interrupts the program that asks, as it does everywhere
    let seen = at_a_terminal(b"half\x03").unwrap();
    assert!(!seen.contains("typed") && !seen.contains("half") && !seen.contains("Ok("), "{seen}");
}

/// Runs at the terminal of [`at_a_terminal`]: tells the answer letter by letter, so that an echo of it is no answer.
#[test]
#[ignore = "asks at the terminal"]
fn asked() {
    let answer = (SshOptions::default().ask)("Secret");
    println!("{:?}", answer.map(|answer| answer.chars().map(String::from).collect::<Vec<_>>().join(".")));
}
