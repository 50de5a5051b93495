//! How the host reaches a device: look at it, give it files, start a program, fetch files, delete files, get
//! it back after trouble. A small set of operations; deadlines are added once, by [`Guarded`]. Knows neither
//! plans nor the protocol that runs over a program's stdin and stdout.
//!
//! `remote` makes a whole transport of the four things that a shell on another machine can do.

pub(crate) mod adb;
mod fake;
mod files;
mod guard;
mod hashes;
mod libc;
mod local;
mod look;
mod remote;
mod ssh;
mod waiting;

pub use fake::{Fake, Fault, FaultKind, Script, ScriptedModel};
pub use guard::{Guarded, LOOK_LIMIT, PROBE_LIMIT, RECOVERY_LIMIT, SPAWN_LIMIT, STALL_LIMIT};
pub use libc::{Glibc, Libc};
pub use local::Local;
pub use look::Look;
pub(crate) use remote::last_orders;
pub use ssh::SshOptions;
pub(crate) use ssh::{is_asking, restore_terminal, share_screen};

use crate::dispatch::Remedy;
use protocol::Sha256Hex;
use std::{
    ffi::OsString,
    fmt,
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};

/// A result that is on its way.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, TransportError>> + Send + 'a>>;

/// Folder below a device's cache folder in which agents work.
pub(crate) const AGENT_DIR: &str = "agent";

/// Bytes moved so far: a push or pull that does not send a new value here is taken for stalled.
pub type Moved = watch::Sender<u64>;

/// A way to reach a device. Operations may be called at the same time; dropping a future abandons the
/// operation and leaves nothing half-written under a final name.
pub trait Transport: Send + Sync {
    /// What can be known without an agent.
    fn probe(&self) -> Pending<'_, Probe>;

    /// What it says of itself, for lists. Leaves nothing on the device.
    fn look(&self) -> Pending<'_, Look>;

    /// Makes sure that the device has the file, under a name made of its hash; the content is verified on
    /// the device before it gets that name. Paths of all pushed files are equally long.
    fn push<'a>(&'a self, file: &'a HostFile, moved: &'a Moved) -> Pending<'a, Pushed>;

    /// Starts a program.
    fn spawn<'a>(&'a self, program: &'a Program) -> Pending<'a, Process>;

    /// Fetches a file; it gets its name on the host only when its hash is right.
    fn pull<'a>(
        &'a self,
        from: &'a Path,
        sha256: &'a Sha256Hex,
        to: &'a Path,
        moved: &'a Moved,
    ) -> Pending<'a, u64>;

    /// Deletes a file; one that is not there is no error.
    fn remove<'a>(&'a self, path: &'a Path) -> Pending<'a, ()>;

    /// Deletes pushed files, least recently used first, until at most `limit_bytes` are left; files named in
    /// `keep`, and those that were used within `spare`, stay whatever their size. Also deletes what broken
    /// transfers left. While an agent measures there, nothing is deleted: it may belong to another host.
    fn tidy<'a>(&'a self, keep: &'a [Sha256Hex], limit_bytes: u64, spare: Duration) -> Pending<'a, Tidied>;

    /// After the device was lost: drops the connection, makes a new one, and returns when the device answers. One try;
    /// `Lost` is worth another.
    fn reconnect(&self) -> Pending<'_, ()>;
}

/// What [`Transport::tidy`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Files deleted.
    pub files: u64,
    /// Their bytes.
    pub freed_bytes: u64,
    /// Bytes of pushed files that are left.
    pub left_bytes: u64,
    /// The agent that is measuring there, in words: nothing was deleted.
    pub busy: Option<String>,
}

/// What a device says before an agent runs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Instruction set, as Rust names it: `x86_64`, `aarch64`, `arm`.
    pub arch: String,
    /// Its C library.
    pub libc: Libc,
    /// Folder that belongs to us on the device.
    pub cache: PathBuf,
    /// Free space there, where it can be known.
    pub free_bytes: Option<u64>,
    /// The agent, when the device has it already; otherwise the host pushes one.
    pub agent: Option<Program>,
}

/// A file of the host's, named by its hash.
#[derive(Clone, Debug)]
pub struct HostFile {
    /// For messages: the path or name a person would recognise.
    pub name: String,
    /// Where the bytes are.
    pub content: Content,
    /// Their hash.
    pub sha256: Sha256Hex,
    /// How many they are.
    pub bytes: u64,
    /// It will be executed.
    pub executable: bool,
}

/// Where bytes are.
#[derive(Clone, Debug)]
pub enum Content {
    /// In a file.
    Path(PathBuf),
    /// In memory.
    Memory(Arc<[u8]>),
}

impl HostFile {
    /// Bytes that are in memory already.
    pub fn from_memory(name: impl Into<String>, bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self {
            name: name.into(),
            sha256: Sha256Hex::of_bytes(&bytes),
            bytes: bytes.len() as u64,
            content: Content::Memory(bytes),
            executable: false,
        }
    }

    /// A file on the host's disk, hashed unless this process has done so since it was changed.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn from_path(path: &Path) -> io::Result<Self> {
        let (sha256, bytes) = hashes::of_file(path)?;
        let content = Content::Path(path.to_owned());
        Ok(Self { name: path.display().to_string(), content, sha256, bytes, executable: false })
    }
}

/// A file that is on the device now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Where.
    pub path: PathBuf,
    /// Bytes that had to be sent; 0 when it was there.
    pub sent_bytes: u64,
}

/// A program on the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// A program that runs on the device. Dropping `control` kills it.
pub struct Process {
    /// Its stdin; dropping it gives the program its end of file, after all that was written.
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    /// Its stdout.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Its stderr.
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// Its life.
    pub control: Box<dyn Control>,
}

/// The life of a program on a device. Dropping it kills the program and everything it started.
pub trait Control: Send {
    /// How it ended, once it did.
    fn wait(&mut self) -> Pending<'_, ProcessEnd>;

    /// Ends it now, with everything it started.
    fn kill(&mut self) -> Pending<'_, ()>;
}

/// How a program ended. Nothing here says that its work was done: only its own last message does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessEnd {
    /// With this status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// Not known: the connection went first.
    Unknown,
}

impl fmt::Display for ProcessEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with status {code}"),
            Self::Signalled(signal) => write!(f, "was killed by signal {signal}"),
            Self::Unknown => f.write_str("ended without a status"),
        }
    }
}

/// Why an operation on a device failed.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The device is gone.
    #[error("the device was lost while {doing}: {reason}")]
    Lost {
        /// Which operation.
        doing: String,
        /// What the transport saw.
        reason: String,
    },
    /// Nothing moved for too long.
    #[error("{doing} made no progress for {seconds} s: check the connection, then resume the run")]
    Stalled {
        /// Which operation.
        doing: String,
        /// The limit.
        seconds: u64,
    },
    /// The device is full.
    #[error(
        "no space left on the device for {path} ({needed} bytes): free some, or name another folder with {setting}"
    )]
    NoSpace {
        /// What was to be written.
        path: String,
        /// Its size.
        needed: u64,
        /// What names another folder.
        setting: &'static str,
    },
    /// No files can be kept on the device.
    #[error(
        "its folder for our files, {folder}, cannot be used: {reason}; make it one that this user can write to, or name another \
         with {setting}"
    )]
    NoCache {
        /// Which folder.
        folder: String,
        /// Why not.
        reason: String,
        /// What names another.
        setting: &'static str,
    },
    /// What arrived is not what was sent.
    #[error(
        "{path} arrived damaged: expected {expected}, found {found}; the disk, the memory or the cable is failing"
    )]
    Damaged {
        /// Which file.
        path: String,
        /// Hash it should have.
        expected: Sha256Hex,
        /// Hash it has.
        found: Sha256Hex,
    },
    /// The device would not, in its own words.
    #[error("{doing} on the device failed: {reason}")]
    Refused {
        /// Which operation.
        doing: String,
        /// What it said.
        reason: String,
    },
    /// The device cannot be used as it is configured.
    #[error("{0}")]
    Unusable(String),
    /// The operating system refused.
    #[error("{doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which path.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

impl TransportError {
    /// What helps.
    pub(crate) fn remedy(&self) -> Remedy {
        use io::ErrorKind::{AlreadyExists, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
        match self {
            Self::NoSpace { .. } => Remedy::Device,
            Self::Io { source, .. } => match source.kind() {
                PermissionDenied | ReadOnlyFilesystem | NotADirectory | NotFound | AlreadyExists => {
                    Remedy::Setting
                }
                _ => Remedy::TryAgain,
            },
            Self::Unusable(_) | Self::NoCache { .. } => Remedy::Setting,
            Self::Refused { reason, .. } => refusal(reason),
            Self::Lost { .. } | Self::Stalled { .. } | Self::Damaged { .. } => Remedy::TryAgain,
        }
    }
}

/// A file of the host itself that cannot be used.
fn on_host(doing: &'static str, path: &Path, source: io::Error) -> TransportError {
    TransportError::Io { doing, path: path.display().to_string(), source }
}

/// What helps when a device refused in these words.
fn refusal(reason: &str) -> Remedy {
    let says = |words: &[&str]| words.iter().any(|w| reason.contains(w));
    if says(&["Permission denied", "Read-only file system", "Operation not permitted", "is missing"]) {
        Remedy::Setting
    } else if says(&["No space left", "Input/output error", "Disk quota"]) {
        Remedy::Device
    } else {
        Remedy::TryAgain
    }
}

/// What a transport may need to know from the settings.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the local device keeps pushed files.
    pub cache: PathBuf,
    /// Keys of hosts that were never seen are taken on trust and written down.
    pub accept_new_host_key: bool,
    /// What only SSH needs.
    pub ssh: SshOptions,
}

/// How one device is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// What stands after the colon of a device on the command line; may be empty.
    pub address: String,
    /// Folder for our files on the device; `None`: the transport's usual one.
    pub cache: Option<String>,
    /// Private key to log in with.
    pub identity: Option<PathBuf>,
}

/// A kind of transport.
pub struct Kind {
    /// What stands before the colon of a device on the command line, and in the record.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    /// Shown by `bench devices` without being asked for.
    pub listed: bool,
    /// Opens a device; nothing is connected yet.
    pub open: Open,
    /// Finds the devices that can be reached this way without being told of them.
    pub discover: Option<Discover>,
}

/// Opens a device; the error is for the person who wrote the address.
type Open = fn(reach: &Reach, options: &Options) -> Result<Box<dyn Transport>, String>;

/// Lists devices; the error says why none can be found, and what to do.
type Discover = fn() -> Pin<Box<dyn Future<Output = Result<Vec<Found>, String>> + Send>>;

/// A device that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its address for [`Reach`].
    pub address: String,
    /// Model, product, whatever is known without asking it.
    pub about: String,
    /// `Err`: it is there and cannot be used; the state, and what to do about it.
    pub state: Result<(), String>,
}

/// Every kind there is. A new one is a file and a line here.
pub const TRANSPORTS: &[Kind] = &[
    Kind { name: "local", about: "this machine", listed: true, open: local::open, discover: None },
    Kind {
        name: "adb",
        about: "Android through adb: adb for the only device, or adb:SERIAL",
        listed: true,
        open: adb::open,
        discover: Some(adb::discover),
    },
    Kind {
        name: "fake",
        about: "a scripted device for tests: fake or fake:SCRIPT.toml",
        listed: false,
        open: fake::open,
        discover: None,
    },
    Kind {
        name: "ssh",
        about: "a machine that runs sshd: ssh:HOST or ssh:USER@HOST:PORT, with what ~/.ssh/config says",
        listed: false,
        open: ssh::open,
        discover: None,
    },
    Kind {
        name: "openssh",
        about: "the same through the program `ssh`, for hardware keys, certificates and Kerberos",
        listed: false,
        open: ssh::open_program,
        discover: None,
    },
];
