//! Every device that the transport contract runs over: this machine, the pretended one, and the real ones that
//! the environment names. A real one that is not named is left out, which is said, and is an error where
//! `BENCH_TEST_REQUIRE` wants it.

use crate::{scene::Scene, sshd::Sshd};
use harness::transport::{
    Fake, Guarded, HostFile, Local, Options, Process, ProcessEnd, Program, Reach, Script, SshOptions,
    TRANSPORTS,
};
use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Transports to real devices: name, the variable with an address, and a folder there that can be written to.
const REAL: &[(&str, &str, &str)] = &[
    ("adb", "BENCH_TEST_ADB", "/data/local/tmp"),
    ("ssh", "BENCH_TEST_SSH", "/tmp"),
    ("openssh", "BENCH_TEST_SSH", "/tmp"),
];

/// Names a configuration file for `ssh`, with the key and the known_hosts for `BENCH_TEST_SSH`.
const SSH_CONFIG: &str = "BENCH_TEST_SSH_CONFIG";

/// A device, and what a test must know about it.
pub(crate) struct Device {
    pub(crate) name: &'static str,
    pub(crate) reach: Guarded,
    /// What it runs is made up.
    pub(crate) pretends: bool,
    /// Its disk is this machine's.
    pub(crate) here: bool,
    /// It is this machine, reached through this private sshd as if it were another.
    pub(crate) sshd: Option<Sshd>,
}

/// A program's whole life.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) end: ProcessEnd,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Device {
    /// All of them, each with a cache folder of its own.
    pub(crate) fn all(scene: &Scene, test: &str) -> Vec<Self> {
        let local = Local::new(scene.path("local"), PathBuf::from(env!("CARGO_BIN_EXE_bench")));
        let fake = Fake::new(scene.path("fake"), Script::default());
        let mut all = vec![
            Self {
                name: "local",
                reach: Guarded::new(Box::new(local)),
                pretends: false,
                here: true,
                sshd: None,
            },
            Self {
                name: "fake",
                reach: Guarded::new(Box::new(fake)),
                pretends: true,
                here: true,
                sshd: None,
            },
        ];
        all.extend(
            REAL.iter().filter_map(|(name, variable, folder)| real(scene, test, name, variable, folder)),
        );
        all.extend(["ssh", "openssh"].into_iter().filter_map(|name| {
            let sshd = Sshd::start(&format!("{test} over {name}"), "")?;
            let options = ssh_options(Some(sshd.config()));
            let cache = sshd.path("cache").display().to_string();
            Some(Self { sshd: Some(sshd), ..opened(name, "box", cache, &options) })
        }));
        all
    }

    /// Starts a program, gives it `stdin` while reading what it writes, and waits for its end.
    pub(crate) async fn run(&self, words: &[&str], stdin: &[u8]) -> Ran {
        let args = words[1..].iter().map(OsString::from).collect();
        let program = Program { path: words[0].into(), args };
        let Process { stdin: mut to, stdout: mut from, stderr: mut errors, mut control } =
            self.reach.spawn(&program).await.unwrap();
        let (mut stdout, mut stderr) = (Vec::new(), String::new());
        let give = async {
            // a program that ends without reading is no fault
            to.write_all(stdin).await.ok();
            to.flush().await.ok();
            drop(to);
        };
        let (_, read, said) =
            tokio::join!(give, from.read_to_end(&mut stdout), errors.read_to_string(&mut stderr));
        read.unwrap();
        said.unwrap();
        Ran { end: control.wait().await.unwrap(), stdout, stderr }
    }

    /// Overwrites a file of the device's.
    pub(crate) async fn overwrite(&self, path: &Path, text: &str) {
        if self.here {
            return fs::write(path, text).unwrap();
        }
        let ran =
            self.run(&["sh", "-c", "cat > \"$1\"", "sh", path.to_str().unwrap()], text.as_bytes()).await;
        assert_eq!(ran.end, ProcessEnd::Exited(0), "{}: {ran:?}", self.name);
    }

    /// Names in a folder of the device's, hidden ones too.
    pub(crate) async fn list(&self, folder: &Path) -> Vec<String> {
        if self.here {
            let entries = fs::read_dir(folder).unwrap();
            return entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        }
        let ran = self.run(&["ls", "-A", folder.to_str().unwrap()], b"").await;
        assert_eq!(ran.end, ProcessEnd::Exited(0), "{}: {ran:?}", self.name);
        String::from_utf8(ran.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Starts the agent, after pushing one where the device has none.
    pub(crate) async fn agent(&self) -> Process {
        let probe = self.reach.probe().await.unwrap();
        let mut program = match probe.agent {
            Some(agent) => agent,
            None => {
                let file = HostFile {
                    executable: true,
                    ..HostFile::from_path(&self.agent_for(&probe.arch)).unwrap()
                };
                Program { path: self.reach.push(&file, |_| ()).await.unwrap().path, args: Vec::new() }
            }
        };
        program.args.extend(["--dir".into(), probe.cache.join("agent").into()]);
        self.reach.spawn(&program).await.unwrap()
    }

    /// Leaves nothing on a real device.
    pub(crate) async fn clean(&self) {
        if !self.here {
            let cache = self.reach.probe().await.unwrap().cache;
            let ran = self.run(&["rm", "-rf", cache.to_str().unwrap()], b"").await;
            assert_eq!(ran.end, ProcessEnd::Exited(0), "{}: {ran:?}", self.name);
        }
    }

    /// The agent for a device: in the folder that `BENCH_TEST_AGENTS` names, or where cargo puts it.
    fn agent_for(&self, arch: &str) -> PathBuf {
        if self.sshd.is_some() {
            return env!("CARGO_BIN_EXE_bench-agent").into();
        }
        if let Some(folder) = env::var_os("BENCH_TEST_AGENTS") {
            return Path::new(&folder).join(format!("bench-agent-{arch}"));
        }
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        target.join(format!("{arch}-unknown-linux-gnu/agent/bench-agent"))
    }
}

fn real(scene: &Scene, test: &str, name: &'static str, variable: &str, folder: &str) -> Option<Device> {
    let Ok(address) = env::var(variable) else {
        let required = env::var("BENCH_TEST_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|r| r == name), "{variable} names no device");
        println!("left out: {test} over {name}: {variable} names no device");
        return None;
    };
    // the scene's folder has a name that nobody else has
    let unique = scene.path("").components().next_back().unwrap().as_os_str().to_str().unwrap().to_owned();
    let cache = format!("{folder}/bench-test{unique}");
    Some(opened(name, &address, cache, &ssh_options(env::var_os(SSH_CONFIG).map(PathBuf::from))))
}

/// A device on another machine, or as if it were.
pub(crate) fn opened(name: &'static str, address: &str, cache: String, options: &Options) -> Device {
    let kind = TRANSPORTS.iter().find(|kind| kind.name == name).unwrap();
    let reach = Reach { address: address.to_owned(), cache: Some(cache), ..Reach::default() };
    let transport = (kind.open)(&reach, options).unwrap();
    Device { name, reach: Guarded::new(transport), pretends: false, here: false, sshd: None }
}

fn ssh_options(config: Option<PathBuf>) -> Options {
    let ask = |question: &str| Err(format!("nobody answers {question:?}"));
    Options { ssh: SshOptions { config, ask, ..SshOptions::default() }, ..Options::default() }
}
