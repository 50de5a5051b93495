//! A machine reached with the program `ssh`, for what libssh2 cannot do: machines in between, hardware keys,
//! certificates, Kerberos. One `ssh` logs in and stays; the others go through it, over a socket in a folder that
//! only this user can enter. It never asks anything: what needs a person is for `ssh-agent`.

use super::{
    super::{
        Control, HostFile, Moved, Options, Pending, Process, ProcessEnd, TransportError,
        remote::{Blocks, Output, Remote, harmless, quote},
    },
    address::Address,
    config,
    shell::{self, Sealed},
    stream,
};
use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
    sync::Mutex,
};

/// What the `ssh` that stays prints when it is logged in.
const READY: &str = "bench-ready";

/// The status of `ssh` when it was `ssh` that failed, or when the program was killed.
const SSH_FAILED: i32 = 255;

/// Most of what a failing `ssh` says that is kept.
const REASON_BYTES: u64 = 4096;

/// See the module.
pub(super) struct Openssh {
    address: Address,
    identity: Option<PathBuf>,
    options: Options,
    master: Mutex<Option<Master>>,
}

/// The `ssh` that stays. Dropping it ends it, and all that go through it.
struct Master {
    child: Child,
    folder: tempfile::TempDir,
}

impl Master {
    fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }
}

impl Openssh {
    pub(super) fn new(address: Address, identity: Option<PathBuf>, options: Options) -> Self {
        Self { address, identity, options, master: Mutex::new(None) }
    }

    fn command(&self, socket: &Path) -> Command {
        let mut command = Command::new("ssh");
        let strict = if self.options.accept_new_host_key { "accept-new" } else { "yes" };
        for option in [
            "BatchMode=yes",
            "ServerAliveInterval=2",
            "ServerAliveCountMax=3",
            "ConnectTimeout=10",
            "ForwardAgent=no",
            "ForwardX11=no",
            "ClearAllForwardings=yes",
            "RequestTTY=no",
            "EscapeChar=none",
            &format!("StrictHostKeyChecking={strict}"),
        ] {
            command.args(["-o", option]);
        }
        let mut path = OsString::from("ControlPath=");
        path.push(socket);
        command.arg("-o").arg(path);
        if let Some(identity) = &self.identity {
            command.arg("-i").arg(identity);
        }
        // Ctrl-C in the terminal is for the host alone
        command.process_group(0).kill_on_drop(true);
        command
    }

    fn words(&self) -> Vec<OsString> {
        config::words(&self.address, self.options.ssh.config.as_deref())
    }

    /// The socket of an `ssh` that is logged in.
    async fn socket(&self) -> Result<PathBuf, TransportError> {
        let mut kept = self.master.lock().await;
        if let Some(master) = kept.as_mut()
            && matches!(master.child.try_wait(), Ok(None))
        {
            return Ok(master.socket());
        }
        let master = self.log_in().await?;
        Ok(kept.insert(master).socket())
    }

    async fn log_in(&self) -> Result<Master, TransportError> {
        let folder = tempfile::Builder::new().prefix("bench-ssh-").tempdir().map_err(|e| {
            TransportError::Io { doing: "making", path: "a folder for ssh's socket".to_owned(), source: e }
        })?;
        let mut command = self.command(&folder.path().join("s"));
        command.args(["-M", "-N", "-o", "ControlPersist=no", "-o", "PermitLocalCommand=yes"]);
        command.arg("-o").arg(format!("LocalCommand=echo {READY}")).args(self.words());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(not_started)?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(not_started(io::Error::other("a pipe is missing")));
        };
        let mut line = String::new();
        let mut stdout = BufReader::new(stdout.take(REASON_BYTES));
        // that it ends without the line is seen below
        stdout.read_line(&mut line).await.ok();
        if line.trim_end() == READY {
            return Ok(Master { child, folder });
        }
        let mut said = Vec::new();
        stderr.take(REASON_BYTES).read_to_end(&mut said).await.ok();
        Err(self.refused(&harmless(&String::from_utf8_lossy(&said))))
    }

    /// Why `ssh` did not get in: by its words, for it has one status for everything.
    fn refused(&self, said: &str) -> TransportError {
        let (host, ssh, said) = (&self.address.host, self.address.typed("ssh"), said.trim_end_matches('.'));
        if said.contains("has changed") {
            return TransportError::Unusable(format!(
                "the key of {host} is not the one in known_hosts: the machine was installed anew, or somebody stands in \
                 between. `{ssh}` shows both; only if you know that it was, forget the old key with `ssh-keygen -R {host}`"
            ));
        }
        if said.contains("Could not resolve hostname") {
            return TransportError::Unusable(format!("`{ssh}` knows no such host: {said}"));
        }
        let setting = [
            "Permission denied",
            "Host key verification failed",
            "Bad configuration",
            "Bad owner or permissions",
            "Too many authentication failures",
            "no matching",
        ];
        if setting.iter().any(|words| said.contains(words)) {
            return TransportError::Unusable(format!(
                "`{ssh}` does not get in without asking: {said}. Make it work without a question (ssh-add, \
                 ssh-copy-id, known_hosts), or say --accept-new-host-key if only the host's key is new"
            ));
        }
        TransportError::Lost { doing: format!("connecting to {host}"), reason: said.to_owned() }
    }

    async fn started(&self, script: &str) -> Result<Process, TransportError> {
        let socket = self.socket().await?;
        let mut command = self.command(&socket);
        command.args(self.words()).arg(shell::wrapped(&shell::sealed(script)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(not_started)?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(not_started(io::Error::other("a pipe is missing")));
        };
        let process = shell::greeted(Process {
            stdin: Box::new(stdin),
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
            control: Box::new(ProgramControl(child)),
        });
        let process = process.await?;
        Ok(Process { control: Box::new(Sealed(process.control)), ..process })
    }
}

fn not_started(source: io::Error) -> TransportError {
    if source.kind() == io::ErrorKind::NotFound {
        return TransportError::Unusable(
            "the program `ssh` is missing, which this device needs: install the OpenSSH client".to_owned(),
        );
    }
    TransportError::Io { doing: "starting", path: "ssh".to_owned(), source }
}

struct ProgramControl(Child);

impl Control for ProgramControl {
    fn wait(&mut self) -> Pending<'_, ProcessEnd> {
        Box::pin(async move {
            let status = self.0.wait().await.map_err(|source| TransportError::Io {
                doing: "waiting for",
                path: "ssh".to_owned(),
                source,
            })?;
            Ok(match status.code() {
                None | Some(SSH_FAILED) => ProcessEnd::Unknown,
                Some(code) => ProcessEnd::Exited(code),
            })
        })
    }

    fn kill(&mut self) -> Pending<'_, ()> {
        Box::pin(async move {
            // one that has ended already is ended
            self.0.kill().await.ok();
            Ok(())
        })
    }
}

impl Remote for Openssh {
    fn run<'a>(&'a self, script: &'a str) -> Pending<'a, Output> {
        Box::pin(async move { shell::finished(self.started(script).await?).await })
    }

    fn send<'a>(&'a self, file: &'a HostFile, to: &'a str, moved: &'a Moved) -> Pending<'a, ()> {
        Box::pin(async move {
            let process = self.started(&format!("exec cat > {}", quote(to)?)).await?;
            stream::send(process, file, to, moved).await
        })
    }

    fn receive<'a>(&'a self, from: &'a str, to: Blocks, moved: &'a Moved) -> Pending<'a, ()> {
        Box::pin(async move {
            let process = self.started(&format!("exec cat {}", quote(from)?)).await?;
            stream::receive(process, from, &to, moved).await
        })
    }

    fn start<'a>(&'a self, script: &'a str) -> Pending<'a, Process> {
        Box::pin(self.started(script))
    }

    fn reconnect(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            drop(self.master.lock().await.take());
            self.socket().await.map(drop)
        })
    }
}
