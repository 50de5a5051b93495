//! Machines over SSH: with libssh2, or with the program `ssh` where libssh2 is not enough. What `~/.ssh/config`
//! says holds, known_hosts is strict, and nothing secret is taken from a command line. Content-addressed files,
//! verification and killing are made of this in `remote`.

mod address;
mod bridge;
mod config;
mod connection;
mod known_hosts;
mod library;
mod login;
mod program;
mod sftp;
mod shell;
mod stream;
mod terminal;

pub(crate) use terminal::{is_asking, restore as restore_terminal, share_screen};

use super::{
    HostFile, Moved, Options, Pending, Process, Reach, Transport, TransportError,
    remote::{Blocks, Output, Remote, RemoteDevice},
};
use address::Address;
use config::HostConfig;
use std::{path::PathBuf, time::Duration};
use tokio::sync::OnceCell;

/// Where our files lie on a machine, as its shell writes it.
const USUAL_CACHE: &str = "\"${XDG_CACHE_HOME:-$HOME/.cache}/bench\"";

/// A machine that gives no sign of life for so long is lost: as long as an agent may be silent.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);

/// What may be different from what people usually want; for tests, mostly.
#[derive(Clone, Debug)]
pub struct SshOptions {
    /// A configuration file instead of `~/.ssh/config` and the system's.
    pub config: Option<PathBuf>,
    /// A machine that gives no sign of life for so long is lost.
    pub silence: Duration,
    /// Asks a person for a secret.
    pub ask: terminal::Ask,
}

impl Default for SshOptions {
    fn default() -> Self {
        Self { config: None, silence: SILENCE_LIMIT, ask: terminal::ask }
    }
}

/// For the list of transports.
pub(super) fn open(reach: &Reach, options: &Options) -> Result<Box<dyn Transport>, String> {
    device(reach, options, Choice::ByConfig)
}

/// For the list of transports: always with the program `ssh`.
pub(super) fn open_program(reach: &Reach, options: &Options) -> Result<Box<dyn Transport>, String> {
    device(reach, options, Choice::Program)
}

fn device(reach: &Reach, options: &Options, choice: Choice) -> Result<Box<dyn Transport>, String> {
    let ssh = Ssh {
        address: reach.address.parse()?,
        identity: reach.identity.clone(),
        options: options.clone(),
        choice,
        way: OnceCell::new(),
    };
    Ok(Box::new(RemoteDevice::new(ssh, reach.cache.clone(), USUAL_CACHE)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// With libssh2, unless a machine or a program is in between.
    ByConfig,
    /// With the program `ssh`.
    Program,
}

/// A machine; how it is reached is decided when it is first needed.
struct Ssh {
    address: Address,
    identity: Option<PathBuf>,
    options: Options,
    choice: Choice,
    way: OnceCell<Box<dyn Remote>>,
}

impl Ssh {
    async fn way(&self) -> Result<&dyn Remote, TransportError> {
        self.way.get_or_try_init(|| self.chosen()).await.map(|way| &**way)
    }

    async fn chosen(&self) -> Result<Box<dyn Remote>, TransportError> {
        let by_program = || {
            let program =
                program::Openssh::new(self.address.clone(), self.identity.clone(), self.options.clone());
            Ok(Box::new(program) as Box<dyn Remote>)
        };
        if self.choice == Choice::Program {
            return by_program();
        }
        let mut config = HostConfig::ask(&self.address, self.options.ssh.config.as_deref()).await?;
        if config.proxied {
            return by_program();
        }
        config.identities.splice(0..0, self.identity.clone());
        Ok(Box::new(library::Library::new(config, self.options.clone())))
    }
}

impl Remote for Ssh {
    fn run<'a>(&'a self, script: &'a str) -> Pending<'a, Output> {
        Box::pin(async move { self.way().await?.run(script).await })
    }

    fn send<'a>(&'a self, file: &'a HostFile, to: &'a str, moved: &'a Moved) -> Pending<'a, ()> {
        Box::pin(async move { self.way().await?.send(file, to, moved).await })
    }

    fn receive<'a>(&'a self, from: &'a str, to: Blocks, moved: &'a Moved) -> Pending<'a, ()> {
        Box::pin(async move { self.way().await?.receive(from, to, moved).await })
    }

    fn start<'a>(&'a self, script: &'a str) -> Pending<'a, Process> {
        Box::pin(async move { self.way().await?.start(script).await })
    }

    fn reconnect(&self) -> Pending<'_, ()> {
        Box::pin(async move { self.way().await?.reconnect().await })
    }
}
