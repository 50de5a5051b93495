//! A private, real sshd for this user, on a port that the kernel chose: one process per connection, so that each
//! can be frozen and killed. It has its own keys, and a configuration for `ssh` in which it is called `box`.

use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

/// Where sshd lies when it is no command of everybody.
const SSHD: &str = "/usr/sbin/sshd";

/// The passphrase of the locked key.
pub(crate) const PASSPHRASE: &str = "let me in";

/// See the module. Dropping it ends it.
pub(crate) struct Sshd {
    folder: tempfile::TempDir,
    port: u16,
    state: Arc<State>,
    listening: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    over: AtomicBool,
    /// Connections are closed at once, as by a machine that is restarting.
    refusing: AtomicBool,
    sessions: Mutex<Vec<Child>>,
}

impl Sshd {
    /// Starts one, with more lines for its configuration. `None` after saying on stdout that `test` is left out,
    /// and why.
    ///
    /// # Panics
    /// It cannot be started, and `BENCH_TEST_REQUIRE` names `sshd`.
    pub(crate) fn start(test: &str, more: &str) -> Option<Self> {
        if let Err(missing) = available() {
            let required = std::env::var("BENCH_TEST_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|r| r == "sshd"), "{missing}");
            println!("left out: {test}: {missing}");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        for (name, passphrase) in
            [("host", ""), ("other_host", ""), ("id", ""), ("locked", PASSPHRASE), ("stranger", "")]
        {
            make_key(&folder.path().join(name), passphrase);
        }
        let path = |name: &str| folder.path().join(name).display().to_string();
        let allowed = ["id.pub", "locked.pub"].map(|name| fs::read_to_string(path(name)).unwrap()).concat();
        fs::write(path("authorized_keys"), allowed).unwrap();
        let sftp = if more.contains("no sftp") { "" } else { "Subsystem sftp internal-sftp" };
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\nUseDNS no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n\
             {sftp}\n{more}\n",
            path("host"),
            path("authorized_keys"),
        );
        fs::write(path("sshd_config"), config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let listening = {
            let (state, config) = (Arc::clone(&state), folder.path().join("sshd_config"));
            std::thread::spawn(move || serve(&listener, &state, &config))
        };
        let sshd = Self { folder, port, state, listening: Some(listening) };
        sshd.know("host");
        sshd.configure("id", "");
        Some(sshd)
    }

    /// Writes the configuration for `ssh`: log in with the key `identity`, and what `more` says.
    pub(crate) fn configure(&self, identity: &str, more: &str) {
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let text = format!(
            "Host box gate\n {more}\n HostName 127.0.0.1\n Port {}\n User {}\n IdentityFile {}\n IdentitiesOnly yes\n \
             IdentityAgent none\n UserKnownHostsFile {}\n GlobalKnownHostsFile none\n HashKnownHosts no\n",
            self.port,
            String::from_utf8(user).unwrap().trim(),
            self.path(identity).display(),
            self.path("known_hosts").display(),
        );
        fs::write(self.config(), text).unwrap();
    }

    /// Says in known_hosts that the host has this key.
    pub(crate) fn know(&self, key: &str) {
        let key = fs::read_to_string(self.path(&format!("{key}.pub"))).unwrap();
        fs::write(self.path("known_hosts"), format!("[127.0.0.1]:{} {key}", self.port)).unwrap();
    }

    /// The configuration for `ssh`.
    pub(crate) fn config(&self) -> PathBuf {
        self.path("ssh_config")
    }

    /// A file of its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.state.sessions.lock().unwrap().len()
    }

    /// Sends a signal to every process of every connection; programs that were started are not among them.
    pub(crate) fn signal(&self, signal: Signal) {
        for child in self.state.sessions.lock().unwrap().iter_mut() {
            // only one that was not waited for still owns its number
            if matches!(child.try_wait(), Ok(None)) {
                let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
                kill_process_group(group, signal).unwrap_or_default();
            }
        }
    }

    /// Closes new connections at once, or no longer.
    pub(crate) fn refuse(&self, refusing: bool) {
        self.state.refusing.store(refusing, Ordering::SeqCst);
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        // wakes the listener
        TcpStream::connect(("127.0.0.1", self.port)).ok();
        if let Some(listening) = self.listening.take() {
            listening.join().ok();
        }
        self.signal(Signal::KILL);
        for child in self.state.sessions.lock().unwrap().iter_mut() {
            child.wait().ok();
        }
    }
}

/// Whether a private sshd can be started here.
fn available() -> Result<(), String> {
    if !Path::new(SSHD).is_file() {
        return Err(format!("{SSHD} is missing: install openssh-server"));
    }
    if Command::new("ssh").arg("-V").output().is_err() {
        return Err("ssh is missing: install openssh-client".to_owned());
    }
    let tried = command().arg("-T").args(["-f", "/dev/null", "-h", "/dev/null"]).output().unwrap();
    let said = String::from_utf8_lossy(&tried.stderr);
    if said.contains("unshare") || said.contains("privilege separation") {
        return Err(format!("sshd cannot be started as root here: {said}"));
    }
    Ok(())
}

/// sshd. As root it wants a folder that only its package makes: it gets one that nobody else sees.
fn command() -> Command {
    let mut command = Command::new(SSHD);
    if rustix::process::geteuid().is_root() && !Path::new("/run/sshd").is_dir() {
        command = Command::new("unshare");
        let mount = format!("mount -t tmpfs none /run && mkdir /run/sshd && exec {SSHD} \"$@\"");
        command.args(["--mount", "sh", "-c", &mount, "sh"]);
    }
    command
}

fn make_key(path: &Path, passphrase: &str) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-C", "test", "-N", passphrase, "-f"]).arg(path);
    assert!(command.status().unwrap().success());
}

fn serve(listener: &TcpListener, state: &State, config: &Path) {
    for stream in listener.incoming() {
        if state.over.load(Ordering::SeqCst) {
            return;
        }
        let stream: OwnedFd = stream.unwrap().into();
        if state.refusing.load(Ordering::SeqCst) {
            continue;
        }
        let mut command = command();
        command.args(["-i", "-e", "-f"]).arg(config).process_group(0);
        command.stdin(stream.try_clone().unwrap()).stdout(stream).stderr(Stdio::null());
        state.sessions.lock().unwrap().push(command.spawn().unwrap());
    }
}
