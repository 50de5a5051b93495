//! The adb server's smart-socket protocol: a connection per request, an answer within a deadline. Starts the
//! server of this machine where none runs. Does not know what a device is asked to do.

use super::{
    super::remote::{harmless, last_words},
    state::{self, Listed},
};
use std::{env, io, net::IpAddr, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    time::timeout,
};

/// What the server knows by itself it tells within milliseconds; one that takes longer will never answer.
pub(super) const SERVER_LIMIT: Duration = Duration::from_secs(5);

/// A device opens a service within this time, or it is gone. Less than a caller waits for a program to start,
/// so that the reason is told and not only the delay.
pub(super) const DEVICE_LIMIT: Duration = Duration::from_secs(8);

/// `adb start-server` takes a second, and has been seen to hang for ever.
const START_LIMIT: Duration = Duration::from_secs(15);

/// Longest request: its length is sent as four hexadecimal digits.
const MAX_REQUEST: usize = 0xffff;

/// Why the server, or a device behind it, did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// Nothing to ask, and nothing to start it with.
    #[error(
        "no adb server runs at {0}, and there is no `adb` to start one: install Android's platform tools \
         (Debian: apt install adb)"
    )]
    NoAdb(String),
    /// Nothing to ask.
    #[error("no adb server can be reached at {server}: {reason}")]
    NoServer { server: String, reason: String },
    /// It takes connections and does not answer.
    #[error(
        "the adb server at {server} takes connections and does not answer (waited {seconds} s): end its process \
         (`adb kill-server` would wait for ever as well); the next command starts a new one"
    )]
    Wedged { server: String, seconds: u64 },
    /// The server is well, the device says nothing.
    #[error("it did not answer within {0} s")]
    Silent(u64),
    /// The server would not.
    #[error("adb says: {0}")]
    Refused(String),
    /// The device would not.
    #[error("{0}")]
    Device(String),
    /// In the middle of an answer.
    #[error("its connection broke: {0}")]
    Broken(#[from] io::Error),
    /// Not an answer at all.
    #[error("nonsense came instead of an answer: {0}")]
    Nonsense(String),
    /// Not adb's fault: a file of this machine.
    #[error("{0}")]
    Disk(io::Error),
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    /// One of this machine's is started where none runs.
    pub(super) may_start: bool,
}

impl Server {
    /// The server that `adb` itself would use.
    ///
    /// # Errors
    /// A variable that says where it is cannot be understood.
    pub(super) fn from_environment() -> Result<Self, String> {
        Self::said_by(|name| env::var(name).ok())
    }

    fn said_by(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let port = |name: &str, text: &str| {
            text.parse().map_err(|_| format!("{name}: {text:?} is no port, a number from 1 to 65535"))
        };
        if let Some(socket) = variable("ADB_SERVER_SOCKET") {
            let name = "ADB_SERVER_SOCKET";
            let Some(address) = socket.strip_prefix("tcp:") else {
                return Err(format!("{name}: only tcp:HOST:PORT can be used, not {socket:?}"));
            };
            let (host, number) = address.rsplit_once(':').unwrap_or(("localhost", address));
            return Ok(Self::at(bare(host), port(name, number)?));
        }
        let host =
            variable("ANDROID_ADB_SERVER_ADDRESS").map_or_else(|| "localhost".to_owned(), |h| bare(&h));
        let name = "ANDROID_ADB_SERVER_PORT";
        let port = variable(name).map_or(Ok(5037), |text| port(name, &text))?;
        Ok(Self::at(host, port))
    }

    fn at(host: String, port: u16) -> Self {
        let here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        Self { host, port, may_start: here }
    }

    /// The same server, which is not started for this.
    pub(super) fn as_it_is(&self) -> Self {
        Self { may_start: false, ..self.clone() }
    }

    /// The same place as `adb` takes it to start a server there: of this machine it knows but one name.
    fn to_start(&self) -> String {
        match self.host.as_str() {
            "127.0.0.1" => format!("tcp:localhost:{}", self.port),
            _ => self.socket(),
        }
    }

    /// As `adb -L` takes it.
    pub(super) fn socket(&self) -> String {
        if self.host.contains(':') {
            format!("tcp:[{}]:{}", self.host, self.port)
        } else {
            format!("tcp:{}:{}", self.host, self.port)
        }
    }

    /// Asks for something that the server answers with a text.
    pub(super) async fn query(&self, request: &str, limit: Duration) -> Result<String, Fault> {
        let mut stream = self.connect().await?;
        self.limited(limit, async {
            ask(&mut stream, request).await?;
            text(&mut stream).await
        })
        .await
    }

    /// Asks for something that is answered by whatever text comes to the end, with or without another status and a
    /// length before it.
    pub(super) async fn answer(&self, request: &str, limit: Duration) -> Result<String, Fault> {
        let mut stream = self.connect().await?;
        self.limited(limit, async {
            ask(&mut stream, request).await?;
            let mut bytes = Vec::new();
            stream.take(MAX_REQUEST as u64).read_to_end(&mut bytes).await?;
            let whole = String::from_utf8_lossy(&bytes);
            let rest = ["OKAY", "FAIL"].iter().find_map(|word| whole.strip_prefix(word)).unwrap_or(&whole);
            let bare = rest.split_at_checked(4).filter(|(n, _)| n.bytes().all(|b| b.is_ascii_hexdigit()));
            Ok(bare.map_or(rest, |(_, text)| text).to_owned())
        })
        .await
    }

    /// The devices it knows now.
    pub(super) async fn devices(&self) -> Result<Vec<Listed>, Fault> {
        Ok(state::parse(&self.query("host:devices-l", SERVER_LIMIT).await?))
    }

    /// The devices it knows now, and again whenever something changes.
    pub(super) async fn track(&self) -> Result<Tracker, Fault> {
        let mut stream = self.connect().await?;
        self.limited(SERVER_LIMIT, ask(&mut stream, "host:track-devices")).await?;
        Ok(Tracker(stream))
    }

    /// A connection to a service of a device.
    pub(super) async fn service(&self, serial: &str, service: &str) -> Result<TcpStream, Fault> {
        let mut stream = self.connect().await?;
        self.limited(SERVER_LIMIT, ask(&mut stream, &format!("host:transport:{serial}"))).await?;
        // from here on it is the device that answers
        match timeout(DEVICE_LIMIT, ask(&mut stream, service)).await {
            Ok(answer) => answer.map(|()| stream),
            Err(_) => Err(Fault::Silent(DEVICE_LIMIT.as_secs())),
        }
    }

    async fn limited<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        timeout(limit, work)
            .await
            .unwrap_or_else(|_| Err(Fault::Wedged { server: self.socket(), seconds: limit.as_secs() }))
    }

    /// A fresh connection, to a server that is started when there is none.
    pub(super) async fn connect(&self) -> Result<TcpStream, Fault> {
        let first = match self.reach().await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        if first.kind() != io::ErrorKind::ConnectionRefused || !self.may_start {
            return Err(self.unreachable(first));
        }
        let started = self.start().await;
        // somebody else may have been faster
        match (self.reach().await, started) {
            (Ok(stream), _) => Ok(stream),
            (Err(_), Err(fault)) => Err(fault),
            (Err(error), Ok(())) => Err(self.unreachable(error)),
        }
    }

    async fn reach(&self) -> io::Result<TcpStream> {
        let stream = timeout(SERVER_LIMIT, TcpStream::connect((self.host.as_str(), self.port)))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn start(&self) -> Result<(), Fault> {
        let failed = |reason: String| Fault::NoServer { server: self.socket(), reason };
        // a group of its own: the server is there for others too when this process is interrupted
        let started = Command::new("adb")
            .args(["-L", &self.to_start(), "start-server"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Fault::NoAdb(self.socket())),
            Err(e) => return Err(failed(format!("`adb start-server` cannot be started: {e}"))),
        };
        match timeout(START_LIMIT, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => {
                let mut said = Vec::new();
                if let Some(stderr) = child.stderr.take() {
                    // a server that runs after all may hold it open
                    timeout(Duration::from_secs(1), stderr.take(4096).read_to_end(&mut said)).await.ok();
                }
                let why = last_words(&said);
                let why = if why.is_empty() { "run it to see why".to_owned() } else { why };
                Err(failed(format!("`adb start-server` failed ({status}): {why}")))
            }
            Ok(Err(e)) => Err(failed(e.to_string())),
            Err(_) => Err(failed(format!(
                "`adb start-server` did not end within {} s: run it to see why",
                START_LIMIT.as_secs()
            ))),
        }
    }

    fn unreachable(&self, error: io::Error) -> Fault {
        Fault::NoServer { server: self.socket(), reason: error.to_string() }
    }
}

/// Whole lists of devices, one after the other; a device that went away is missing in the next.
pub(super) struct Tracker(TcpStream);

impl Tracker {
    /// The first at once, the others when something changed.
    pub(super) async fn next(&mut self) -> Result<Vec<Listed>, Fault> {
        Ok(state::parse(&text(&mut self.0).await?))
    }
}

/// An IPv6 address without its brackets.
fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

/// Sends a request and waits until it is accepted.
pub(super) async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &str,
) -> Result<(), Fault> {
    let length = request.len();
    if length > MAX_REQUEST {
        return Err(Fault::Device(format!("a command of {length} bytes is too long for adb")));
    }
    stream.write_all(format!("{length:04x}{request}").as_bytes()).await?;
    let mut word = [0; 4];
    stream.read_exact(&mut word).await?;
    match &word {
        b"OKAY" => Ok(()),
        b"FAIL" => Err(Fault::Refused(harmless(&text(stream).await?))),
        other => Err(Fault::Nonsense(format!("{:?} as a status", String::from_utf8_lossy(other)))),
    }
}

/// A text with its length before it.
pub(super) async fn text(stream: &mut (impl AsyncRead + Unpin)) -> Result<String, Fault> {
    let mut digits = [0; 4];
    stream.read_exact(&mut digits).await?;
    let length = std::str::from_utf8(&digits)
        .ok()
        .filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))
        .and_then(|text| usize::from_str_radix(text, 16).ok())
        .ok_or_else(|| Fault::Nonsense(format!("{:?} as a length", String::from_utf8_lossy(&digits))))?;
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(variables: &[(&str, &str)]) -> Result<String, String> {
        let found =
            |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Server::said_by(found).map(|server| server.socket())
    }

    #[test]
    fn it_is_where_adb_looks_for_it() {
        assert_eq!(server(&[]).unwrap(), "tcp:localhost:5037");
        assert_eq!(server(&[("ANDROID_ADB_SERVER_PORT", "6000")]).unwrap(), "tcp:localhost:6000");
        let both = [("ANDROID_ADB_SERVER_PORT", "6000"), ("ANDROID_ADB_SERVER_ADDRESS", "farm")];
        assert_eq!(server(&both).unwrap(), "tcp:farm:6000");
        let socket = |text| server(&[("ADB_SERVER_SOCKET", text), ("ANDROID_ADB_SERVER_PORT", "6000")]);
        assert_eq!(socket("tcp:7000").unwrap(), "tcp:localhost:7000");
        assert_eq!(socket("tcp:10.0.0.7:7000").unwrap(), "tcp:10.0.0.7:7000");
        assert_eq!(socket("tcp:[::1]:7000").unwrap(), "tcp:[::1]:7000");
        assert!(socket("localabstract:adb").unwrap_err().contains("ADB_SERVER_SOCKET"));
        assert!(socket("tcp:host:99999").unwrap_err().contains("99999"));
        assert!(server(&[("ANDROID_ADB_SERVER_PORT", "x")]).unwrap_err().contains("ANDROID_ADB_SERVER_PORT"));
    }
}
