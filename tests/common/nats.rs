//! A private, real nats-server with JetStream, on a port that the kernel chose: it can be killed, started again on the
//! same port with the same files, frozen, and reached through a link that can be cut.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Where Debian puts it: not everybody's PATH leads there.
const SERVER: &str = "/usr/sbin/nats-server";

/// See the module. Dropping it ends it.
pub(crate) struct NatsServer {
    folder: tempfile::TempDir,
    /// Lines of its configuration.
    more: String,
    port: u16,
    child: Option<Child>,
}

impl NatsServer {
    /// Starts one, with more lines for its configuration. `None` after saying on stdout that `test` is left out,
    /// and why.
    ///
    /// # Panics
    /// It cannot be started, and `BENCH_TEST_REQUIRE` names `nats`.
    pub(crate) fn start(test: &str, more: &str) -> Option<Self> {
        let Some(program) = program() else {
            let missing = "nats-server is missing: install it";
            let required = std::env::var("BENCH_TEST_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|r| r == "nats"), "{missing}");
            println!("left out: {test}: {missing}");
            return None;
        };
        drop(program);
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self { folder, more: more.to_owned(), port: 0, child: None };
        server.again();
        Some(server)
    }

    /// Starts it again, with the files it left.
    pub(crate) fn again(&mut self) {
        self.kill();
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        let config = self.path("server.conf");
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {:?}, max_file_store: 64GB }}\n{}\n",
            self.path("store"),
            self.more
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(program().unwrap());
        command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        loop {
            let line = lines.next().unwrap_or_else(|| panic!("no server: {seen}")).unwrap();
            if let Some((_, address)) = line.split_once("Listening for client connections on ") {
                self.port = address.rsplit(':').next().unwrap().trim().parse().unwrap();
            }
            if line.contains("Server is ready") {
                break;
            }
            seen = format!("{seen}\n{line}");
        }
        // what it says must go somewhere, or it would stop to say it
        std::thread::spawn(move || lines.for_each(drop));
        self.child = Some(child);
    }

    /// With other lines in its configuration.
    pub(crate) fn again_with(&mut self, more: &str) {
        more.clone_into(&mut self.more);
        self.again();
    }

    /// Ends it as a power cut does a process.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops it from doing anything, or lets it go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let signal = if frozen { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A file of its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(child) = self.child.as_mut() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// The server's program.
fn program() -> Option<PathBuf> {
    let found = |path: &Path| Command::new(path).arg("--version").output().is_ok();
    ["nats-server", SERVER].map(PathBuf::from).into_iter().find(|path| found(path))
}
