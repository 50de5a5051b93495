//! A folder of its own for a test: models, a suite, a cache, runs, and the binary started in it.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

/// The folder.
pub(crate) struct Scene {
    folder: tempfile::TempDir,
}

/// What a finished process left.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// Asserts the exit code, and that stdout or stderr holds every word.
    #[track_caller]
    pub(crate) fn expect(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.stdout.contains(word) || self.stderr.contains(word), "no {word:?} in {self:#?}");
        }
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        self
    }
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A pretended model; `extra` are lines of its behaviour.
    pub(crate) fn model(&self, name: &str, extra: &str) -> PathBuf {
        let text = format!("bench-fake v1\ninput = x f32 1x4\noutput = y f32 1x3\n{extra}\n");
        self.write(&format!("{name}.onnx"), text)
    }

    /// A suite of pretended models, the first the reference, that takes milliseconds per unit.
    pub(crate) fn suite(&self, models: &[&str], units: u32) -> PathBuf {
        let mut text = format!(
            "schema = 1\nname = \"tiny\"\ntitle = \"Pretended models\"\nmodel = \"m\"\nreference = \"{}\"\n\
             task = \"agreement\"\nruntimes = [\"fake/cpu\"]\n",
            models[0]
        );
        for model in models {
            text.push_str(&format!("\n[[variant]]\nid = \"{model}\"\npath = \"{model}.onnx\"\n"));
        }
        text.push_str(&format!(
            "\n[measure]\nmax_examples = 8\nmin_iterations = 10\nmin_ms = 10\nmax_ms = 500\n\
             warm_up = {{ min_iterations = 2, min_ms = 1, max_ms = 20 }}\n\
             burst = {{ min_iterations = 5, min_ms = 1 }}\n\
             \n[compare]\nmax_units = {units}\ncontrasts = [\"reference\"]\n"
        ));
        self.write("tiny.toml", text)
    }

    /// The binary, in the folder, with nothing of the surroundings but the path.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_bench"));
        command.args(args);
        command
    }

    /// Another program, in the same way.
    pub(crate) fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("XDG_CACHE_HOME", self.path("cache"))
            // units are counted; what canaries do has tests of its own
            .env("BENCH_CANARIES", "false")
            // a test finds no phones and starts no server
            .env("ADB_SERVER_SOCKET", "tcp:0.0.0.0:1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Done {
        finish(self.command(args).spawn().unwrap())
    }

    /// The only run there is.
    pub(crate) fn the_run(&self) -> PathBuf {
        let mut all: Vec<PathBuf> =
            fs::read_dir(self.path("runs")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }
}

/// Waits for the end.
pub(crate) fn finish(child: Child) -> Done {
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A process whose progress is read line by line.
pub(crate) struct Watched {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
    seen: String,
}

impl Watched {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        Self { child, lines, seen: String::new() }
    }

    /// Reads on until a line has the word.
    #[track_caller]
    pub(crate) fn until(&mut self, word: &str) {
        loop {
            let mut line = String::new();
            let n = self.lines.read_line(&mut line).unwrap();
            assert_ne!(n, 0, "ended before {word:?}: {}", self.seen);
            self.seen.push_str(&line);
            if line.contains(word) {
                return;
            }
        }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end; the status is kept, for ends by signal.
    pub(crate) fn finish(mut self) -> (ExitStatus, Done) {
        self.lines.read_to_string(&mut self.seen).unwrap();
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        let status = self.child.wait().unwrap();
        (status, Done { code: status.code(), stdout, stderr: self.seen })
    }
}

/// Entries of a run's journal as JSON.
pub(crate) fn journal(run: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(run.join("journal.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// How many entries are of that kind.
pub(crate) fn count(run: &Path, entry: &str) -> usize {
    journal(run).iter().filter(|e| e["entry"] == entry).count()
}
