//! One connection: made, its host's key checked, logged in. Whoever holds it may use it alone; cutting it from
//! elsewhere makes everything that blocks on it return at once. Few are made at a time: a handshake costs a core.

use super::{
    super::{
        Options, TransportError,
        remote::{harmless, quote},
        waiting::Waiting,
    },
    config::HostConfig,
    known_hosts::{self, KnownHosts, Place, Standing},
    login,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    time::Timespec,
};
use socket2::{SockRef, TcpKeepalive};
use ssh2::{HashType, MethodType, Session};
use std::{
    net::{Shutdown, TcpStream},
    sync::{Arc, LazyLock, Mutex, PoisonError},
    thread,
    time::Duration,
};
use tokio::{
    net,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

/// A connection that lies idle is probed by the kernel so often, so that no router forgets it.
const IDLE_PROBE: Duration = Duration::from_secs(15);

/// One handshake per core: more would make all of them late.
static HANDSHAKES: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(thread::available_parallelism().map_or(1, usize::from))));

/// A connection that is logged in.
pub(super) struct Connection {
    pub(super) session: Session,
    pub(super) tcp: Arc<TcpStream>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // libssh2 says goodbye when it is dropped, and would wait for a peer that may be gone
        cut(&self.tcp);
    }
}

impl Connection {
    /// Nobody has hung up while it lay idle.
    pub(super) fn is_open(&self) -> bool {
        let mut state = [PollFd::new(&self.tcp, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        poll(&mut state, Some(&now)).is_ok() && !state.iter().any(|fd| fd.revents().intersects(gone))
    }
}

/// Ends a connection under whoever uses it.
fn cut(tcp: &TcpStream) {
    // it may be closed already
    tcp.shutdown(Shutdown::Both).unwrap_or_default();
}

/// Cuts a connection when it is dropped, unless somebody said that it is to stay.
#[derive(Clone)]
pub(super) struct Fuse(Arc<Mutex<Option<Arc<TcpStream>>>>);

impl Fuse {
    pub(super) fn new(tcp: &Arc<TcpStream>) -> Self {
        Self(Arc::new(Mutex::new(Some(Arc::clone(tcp)))))
    }

    /// Cuts the connection, now.
    pub(super) fn blow(&self) {
        if let Some(tcp) = self.take() {
            cut(&tcp);
        }
    }

    /// The connection will not be cut any more. False: it was already.
    pub(super) fn remove(&self) -> bool {
        self.take().is_some()
    }

    fn take(&self) -> Option<Arc<TcpStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Blows a fuse when it is dropped.
pub(super) struct Blow(pub(super) Fuse);

impl Drop for Blow {
    fn drop(&mut self) {
        self.0.blow();
    }
}

/// Runs blocking work on a thread of its own. Dropping the future cuts the connection, which ends the work.
pub(super) async fn on_thread<T: Send + 'static>(
    tcp: &Arc<TcpStream>,
    work: impl FnOnce() -> Result<T, TransportError> + Send + 'static,
) -> Result<T, TransportError> {
    let fuse = Fuse::new(tcp);
    let blow = Blow(fuse.clone());
    let (answer, answered) = oneshot::channel();
    start_thread(move || drop(answer.send(work())))?;
    let result = answered.await.unwrap_or_else(|_| {
        Err(TransportError::Lost {
            doing: "talking over ssh".to_owned(),
            reason: "its thread ended without an answer".to_owned(),
        })
    });
    fuse.remove();
    drop(blow);
    result
}

/// Starts a thread.
pub(super) fn start_thread(work: impl FnOnce() + Send + 'static) -> Result<(), TransportError> {
    thread::Builder::new().name("ssh".to_owned()).spawn(work).map(drop).map_err(|source| TransportError::Io {
        doing: "starting",
        path: "a thread".to_owned(),
        source,
    })
}

/// Makes a connection and logs in.
///
/// # Errors
/// `Lost`: the machine does not answer. `Unusable`: its name, its key or its login are not as they must be; a
/// name that was found before (`met`) will be found again.
pub(super) async fn connect(
    config: &HostConfig,
    options: &Options,
    met: bool,
) -> Result<Connection, TransportError> {
    let limit = options.ssh.silence;
    let lost =
        |reason: String| TransportError::Lost { doing: format!("connecting to {}", config.named()), reason };
    let found = net::lookup_host((config.hostname.as_str(), config.port)).await;
    let places: Vec<_> = match found {
        Ok(places) => places.collect(),
        Err(e) if met => return Err(lost(e.to_string())),
        Err(e) => {
            let named = config.named();
            return Err(TransportError::Unusable(format!("nobody knows the machine {named}: {e}")));
        }
    };
    let tcp = match timeout(limit, net::TcpStream::connect(&*places)).await {
        Ok(Ok(tcp)) => tcp.into_std().and_then(|tcp| ready(tcp, limit)).map_err(|e| lost(e.to_string()))?,
        Ok(Err(e)) => return Err(lost(format!("port {}: {e}", config.port))),
        Err(_) => return Err(lost(format!("port {} did not answer within {limit:?}", config.port))),
    };
    let tcp = Arc::new(tcp);
    let waiting = Waiting::current();
    let queued = waiting.hold();
    let turn = Arc::clone(&HANDSHAKES).acquire_owned().await.map_err(|e| lost(e.to_string()))?;
    drop(queued);
    let meeting = Meeting { config: config.clone(), options: options.clone(), waiting };
    let work = {
        let tcp = Arc::clone(&tcp);
        move || meeting.meet(tcp, turn)
    };
    on_thread(&tcp, work).await
}

/// Sets what holds for the whole life of a connection.
fn ready(tcp: TcpStream, limit: Duration) -> std::io::Result<TcpStream> {
    tcp.set_nonblocking(false)?;
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(&tcp);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(IDLE_PROBE).with_interval(IDLE_PROBE))?;
    // what was sent and is not acknowledged for so long will not be
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(limit))?;
    Ok(tcp)
}

/// What is needed to get acquainted with a host.
struct Meeting {
    config: HostConfig,
    options: Options,
    waiting: Waiting,
}

impl Meeting {
    fn meet(self, tcp: Arc<TcpStream>, turn: OwnedSemaphorePermit) -> Result<Connection, TransportError> {
        let known = self.known_hosts()?;
        let mut session = Session::new().map_err(|e| self.failed("its session", &e))?;
        session.set_timeout(u32::try_from(self.options.ssh.silence.as_millis()).unwrap_or(u32::MAX));
        session.set_tcp_stream(Arc::clone(&tcp));
        // from here on a failure cuts before libssh2 says goodbye
        let mut connection = Connection { session, tcp };
        self.prefer_known(&connection.session, &known)?;
        connection.session.handshake().map_err(|e| self.failed("the handshake", &e))?;
        drop(turn);
        self.check(&connection.session, &known)?;
        let _person = self.waiting.hold();
        login::log_in(&connection, &self.config, self.options.ssh.ask)?;
        Ok(connection)
    }

    fn known_hosts(&self) -> Result<KnownHosts, TransportError> {
        let files: Vec<_> =
            self.config.known_hosts.iter().chain(&self.config.global_known_hosts).cloned().collect();
        KnownHosts::read(&files).map_err(|source| TransportError::Io {
            doing: "reading",
            path: files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(" and "),
            source,
        })
    }

    /// Asks the host for the kind of key that is known of it.
    fn prefer_known(&self, session: &Session, known: &KnownHosts) -> Result<(), TransportError> {
        let name = self.config.known_as();
        let mut kinds: Vec<&str> = Vec::new();
        for kind in known.kinds(&name) {
            kinds.extend(if kind == "ssh-rsa" {
                &["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"][..]
            } else {
                &[]
            });
            kinds.push(kind);
        }
        let failed = |e: ssh2::Error| self.failed("its settings", &e);
        let all = session.supported_algs(MethodType::HostKey).map_err(failed)?;
        kinds.retain(|kind| all.contains(kind));
        kinds.extend(all);
        session.method_pref(MethodType::HostKey, &kinds.join(",")).map_err(failed)
    }

    /// Whether the host is who it was.
    fn check(&self, session: &Session, known: &KnownHosts) -> Result<(), TransportError> {
        let name = self.config.known_as();
        let missing = || TransportError::Unusable(format!("{} shows no key of its own", self.config.named()));
        let (key, _) = session.host_key().ok_or_else(missing)?;
        let print =
            session.host_key_hash(HashType::Sha256).map(known_hosts::fingerprint).ok_or_else(missing)?;
        let shown = format!("{} {print}", known_hosts::kind(key).unwrap_or("of no known kind"));
        let also = || self.config.also_known_as().map(|name| known.judge(&name, key));
        let trouble = match known.judge(&name, key) {
            Standing::Known => return Ok(()),
            Standing::New if also() == Some(Standing::Known) => return Ok(()),
            Standing::New if self.options.accept_new_host_key => return self.note(&name, key),
            Standing::New => self.is_new(&shown),
            Standing::Changed(place) => self.has_changed(&name, &shown, &place),
            Standing::Revoked(place) => format!("shows the key {shown}, which {} revokes", said(&place)),
            Standing::Certified(place) => format!(
                "is known by a certificate only ({}), which bench cannot check: openssh:{} can",
                said(&place),
                self.config.address
            ),
        };
        Err(TransportError::Unusable(format!("{} {trouble}", self.config.named())))
    }

    fn note(&self, name: &str, key: &[u8]) -> Result<(), TransportError> {
        let Some(path) = self.config.known_hosts.first() else {
            return Err(TransportError::Unusable(format!(
                "the key of {} cannot be noted: UserKnownHostsFile names no file",
                self.config.named()
            )));
        };
        known_hosts::append(path, name, key, self.config.hash_known_hosts).map_err(|source| {
            TransportError::Io { doing: "noting a host's key in", path: path.display().to_string(), source }
        })
    }

    fn is_new(&self, shown: &str) -> String {
        format!(
            "was never seen, and shows the key {shown}. Compare it with what `ssh-keygen -lf \
             /etc/ssh/ssh_host_ed25519_key.pub` prints over there; if it is right, run `{}` once, or bench with \
             --accept-new-host-key",
            self.config.address.typed("ssh")
        )
    }

    fn has_changed(&self, name: &str, shown: &str, place: &Place) -> String {
        let file = place.file.display().to_string();
        let remove = match (quote(name), quote(&file)) {
            (Ok(name), Ok(file)) => format!("ssh-keygen -R {name} -f {file}"),
            _ => format!("ssh-keygen -R {name}"),
        };
        format!(
            "shows the key {shown}, which is not the one of {}: somebody may be in between, or it was installed \
             anew. Only if you know that it was, forget the old key with `{remove}`",
            said(place)
        )
    }

    fn failed(&self, what: &str, error: &ssh2::Error) -> TransportError {
        let (named, address) = (self.config.named(), &self.config.address);
        let mut reason = format!("{what}: {}", harmless(error.message()));
        let kex_failure = ssh2::ErrorCode::Session(-5);
        if error.code() == kex_failure {
            reason.push_str(&format!("; if `{}` works, use openssh:{address}", address.typed("ssh")));
        }
        TransportError::Lost { doing: format!("connecting to {named}"), reason }
    }
}

fn said(place: &Place) -> String {
    format!("line {} of {}", place.line, place.file.display())
}
