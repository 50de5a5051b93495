//! A lab of a test's own: up with it, down with it, or the reason why there can be none. What happens in it is
//! `lab.sh`'s business.

#[path = "../common/built.rs"]
mod built;

use crate::scene::{Done, Scene, finish};
use built::built_agent;
use std::{
    ffi::OsStr,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// Architectures that the devices of a lab can be of, other than this machine's.
const FOREIGN: [&str; 2] = ["aarch64", "arm"];

/// The lab, and a folder with agents for its devices.
pub(crate) struct Lab {
    pub(crate) scene: Scene,
    state: PathBuf,
}

/// As `--device` names the phone of that number.
pub(crate) fn phone(number: u32) -> String {
    format!("adb:10.99.0.{}:5555", 10 + number)
}

/// As `--device` names the Pi of that number.
pub(crate) fn pi(number: u32) -> String {
    format!("ssh:pi@10.99.0.{}", 100 + number)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `lab.sh` for a lab in that folder.
fn script(state: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(root().join("tests/lab/lab.sh"));
    command.args(words).env("LAB_STATE", state).stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")
}

impl Lab {
    /// Brings a lab up with the arguments of `lab.sh up`. `None` after saying on stdout that `test` is left out, and
    /// why.
    ///
    /// # Panics
    /// There can be no lab here, and `BENCH_TEST_REQUIRE` names `lab`, or `lab-ARCH` where devices of another
    /// architecture were asked for.
    pub(crate) fn up(test: &str, words: &[&str]) -> Option<Self> {
        let scene = Scene::new();
        let lab = Self { state: scene.path("lab"), scene };
        let foreign = FOREIGN.iter().find(|arch| words.contains(&format!("--{arch}").as_str()));
        let arch = foreign.copied().unwrap_or(std::env::consts::ARCH);
        let up = || {
            let output = script(&lab.state, &[&["up"], words].concat()).output().unwrap();
            if output.status.success() { Ok(()) } else { Err(said(&output)) }
        };
        let Err(missing) = lab.take_agent(arch).and_then(|()| up()) else { return Some(lab) };
        let kind = foreign.map_or_else(|| "lab".to_owned(), |arch| format!("lab-{arch}"));
        let required = std::env::var("BENCH_TEST_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|r| r == kind), "{test}: {missing}");
        println!("left out: {test}: {missing}");
        None
    }

    /// An agent that was built, for the lab's `bench` to find.
    pub(crate) fn take_agent(&self, name: &str) -> Result<(), String> {
        let place = self.scene.path("agents").join(format!("bench-agent-{name}"));
        fs::create_dir_all(self.scene.path("agents")).unwrap();
        fs::copy(built_agent(name)?, place).map(drop).map_err(|e| e.to_string())
    }

    /// Something is done to a device, and has happened.
    #[track_caller]
    pub(crate) fn fault(&self, words: &[&str]) {
        let output = script(&self.state, &[&["fault"], words].concat()).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", said(&output));
    }

    /// Agents and workers on a device, one per line.
    #[track_caller]
    pub(crate) fn processes(&self, device: &str) -> String {
        let output = script(&self.state, &["ps", device]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Writes a file on a device.
    #[track_caller]
    pub(crate) fn write(&self, device: &str, path: &str, content: &[u8]) {
        let mut child = script(&self.state, &["write", device, path]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(content).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// The content of a device's file.
    #[track_caller]
    pub(crate) fn read(&self, device: &str, path: &str) -> Vec<u8> {
        let output = script(&self.state, &["read", device, path]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        output.stdout
    }

    /// A file or folder of a device, as this machine sees it.
    pub(crate) fn on_device(&self, device: &str, path: &str) -> PathBuf {
        let init = fs::read_to_string(self.state.join("init.pid")).unwrap();
        let place = format!("/proc/{}/root{}/run/{device}/root{path}", init.trim(), self.state.display());
        PathBuf::from(place)
    }

    /// A program on the lab's network, in the scene's folder.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> Command {
        let mut command = script(&self.state, &["exec"]);
        command
            .args(words)
            .current_dir(self.scene.path(""))
            .env("XDG_CACHE_HOME", self.scene.path("cache"))
            .env("BENCH_AGENT_DIR", self.scene.path("agents"))
            .env("BENCH_CANARIES", "false")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// `bench` on the lab's network.
    pub(crate) fn bench(&self, words: &[&str]) -> Command {
        self.command(&[&[env!("CARGO_BIN_EXE_bench")], words].concat())
    }

    /// Runs `bench` to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Done {
        finish(self.bench(words).spawn().unwrap())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let ended = script(&self.state, &["down"]).status();
        assert!(ended.is_ok_and(|s| s.success()) || std::thread::panicking(), "the lab did not end");
    }
}
