//! The history of a real run, kept in a folder and in a bucket: the same commands, the same answers. Without a server
//! that speaks S3 (`tests/s3/install.sh`) the bucket is named on stdout and left out; with `s3` in `BENCH_TEST_REQUIRE`
//! the test fails instead.
#![cfg(test)]

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
};

/// A short run of the suite `vision`, the same for all tests of this file.
fn run() -> &'static Path {
    static RUN: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, run) = RUN.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let args = ["compare", "--suite", "vision", "--units", "6", "--time-budget", "20s", "--quiet"];
        good(&bench(folder.path(), &args, &[]));
        let runs = fs::read_dir(folder.path().join("runs")).unwrap().map(|entry| entry.unwrap().path());
        let run = runs.into_iter().find(|path| path.join("plan.json").is_file()).unwrap();
        (folder, run)
    });
    run
}

fn bench(folder: &Path, args: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(args)
        .current_dir(folder)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env("ADB_SERVER_SOCKET", "tcp:0.0.0.0:1")
        .env("NO_COLOR", "1")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn good(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What is asked of a history, wherever it lies; returns all rows as CSV.
fn is_a_history(place: &str, variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let history = |args: &[&str]| {
        let all = [&["history"], args, &["--history", place]].concat();
        bench(folder.path(), &all, variables)
    };
    let nothing = history(&["ls"]);
    assert_eq!(nothing.status.code(), Some(4), "{nothing:?}");
    let run = run().to_str().unwrap();
    assert!(good(&history(&["import", run, "--night", "2026-10-01", "--raw"])).contains(" kept: "));
    assert!(good(&history(&["import", run, "--night", "2026-10-01", "--raw"])).contains("was there already"));

    let list = good(&history(&["ls", "--metric", "latency_ns", "--format", "csv"]));
    assert_eq!(list.lines().filter(|line| line.contains("2026-10-01")).count(), 8, "{list}");
    assert!(good(&history(&["ls"])).contains("vision"));
    let json: serde_json::Value = serde_json::from_str(&good(&history(&["ls", "--format", "json"]))).unwrap();
    let series = json.as_array().unwrap().iter().find(|s| s["metric"] == "latency_ns").unwrap();
    let id = series["id"].as_str().unwrap();
    let trend = good(&history(&["trend", &id[..8]]));
    assert!(trend.contains("1 value from 2026-10-01") && trend.contains("no change of level"), "{trend}");
    let metrics = good(&history(&["ls", "--format", "openmetrics"]));
    assert!(
        metrics.contains("bench_history_last{suite=\"vision\"") && metrics.ends_with("# EOF\n"),
        "{metrics}"
    );
    assert_eq!(good(&history(&["changes"])), "no change of level\n");
    let unknown = history(&["ack", "0123abcd", "--reason", "x"]);
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");

    let before = good(&history(&["export"]));
    let rows = before.lines().count() - 1;
    assert!(rows >= 8 * 5, "{before}");
    // another name, so that there are two files to put together
    assert!(good(&history(&["compact", "--month", "2026-10"])).contains("nothing to put together"));
    let parquet = folder.path().join("out/rows.parquet");
    good(&history(&["export", "--to", parquet.to_str().unwrap()]));
    assert!(fs::read(parquet).unwrap().starts_with(b"PAR1"));
    assert_eq!(good(&history(&["export"])), before, "and again from the cache");
    before
}

#[test]
fn a_folder_is_a_history() {
    let place = tempfile::tempdir().unwrap();
    is_a_history(place.path().to_str().unwrap(), &[]);
    let name = "schema=1/month=2026-10";
    let files = fs::read_dir(place.path().join(name)).unwrap().count();
    assert_eq!((files, place.path().join("raw").join(name).is_dir()), (1, true));
}

/// A server that speaks S3, with a bucket `farm`.
struct Server {
    child: Child,
    endpoint: String,
}

impl Server {
    /// `None` where it is not installed.
    fn start() -> Option<Self> {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/s3/venv/bin/python");
        if !python.is_file() {
            let required = env::var("BENCH_TEST_REQUIRE").unwrap_or_default();
            let missing = format!("{} is missing: run tests/s3/install.sh", python.display());
            assert!(!required.split(',').any(|name| name == "s3"), "{missing}");
            println!("left out: a bucket is a history: {missing}");
            return None;
        }
        let server = ["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"];
        let mut child = Command::new(python).args(server).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.by_ref().map(Result::unwrap).find_map(|line| {
            line.split_once("http://127.0.0.1:").map(|(_, port)| format!("127.0.0.1:{}", port.trim()))
        });
        // whatever else it says must not fill the pipe
        std::thread::spawn(move || lines.count());
        let address = address.unwrap();
        let mut socket = TcpStream::connect(&address).unwrap();
        let request =
            "PUT /farm HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Some(Self { child, endpoint: format!("http://{address}") })
    }

    fn variables(&self) -> [(&str, &str); 4] {
        [
            ("AWS_ENDPOINT_URL", &self.endpoint),
            ("AWS_ACCESS_KEY_ID", "x"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("AWS_REGION", "us-east-1"),
        ]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_bucket_is_a_history() {
    let Some(server) = Server::start() else { return };
    let variables = server.variables();
    let in_bucket = is_a_history("s3://farm/nights/of/ours", &variables);
    let place = tempfile::tempdir().unwrap();
    assert_eq!(in_bucket, is_a_history(place.path().to_str().unwrap(), &[]), "the same as in a folder");
    let folder = tempfile::tempdir().unwrap();
    let missing = bench(folder.path(), &["history", "ls", "--history", "s3://no-such-bucket"], &variables);
    let told = String::from_utf8(missing.stderr).unwrap();
    assert_eq!(missing.status.code(), Some(3), "{told}");
    assert!(told.contains("s3://no-such-bucket") && told.contains("NoSuchBucket"), "{told}");
    let odd = bench(folder.path(), &["history", "ls", "--history", "ftp://farm"], &[]);
    assert_eq!(odd.status.code(), Some(2), "{odd:?}");
}
