//! A machine reached with libssh2. Connections are kept and used again, each by one operation at a time: a program
//! holds one for its life, everything else takes one that lies idle.

use super::{
    super::{
        HostFile, Moved, Options, Pending, Process, TransportError,
        remote::{Blocks, Output, Remote, quote},
    },
    bridge,
    config::HostConfig,
    connection::{self, Connection, on_thread},
    sftp,
    shell::{self, Sealed},
    stream,
};
use ssh2::Sftp;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// Idle connections that are kept: one for files, one for short commands.
const IDLE: usize = 2;

/// A connection that was kept may be silent for this part of the usual time: a transfer that has not begun when the
/// whole of it is over counts as stalled, and another connection is to be tried before.
const KEPT_SHARE: u32 = 2;

/// See the module.
pub(super) struct Library {
    config: HostConfig,
    options: Options,
    idle: Idle,
    /// There was a connection already.
    met: AtomicBool,
    /// The server was found to have no SFTP.
    no_sftp: AtomicBool,
}

#[derive(Clone, Default)]
struct Idle(Arc<Mutex<Vec<Connection>>>);

impl Idle {
    fn take(&self) -> Option<Connection> {
        self.all(|kept| {
            kept.retain(Connection::is_open);
            kept.pop()
        })
    }

    fn give(&self, connection: Connection) {
        self.all(|kept| {
            if kept.len() < IDLE {
                kept.push(connection);
            }
        });
    }

    fn forget(&self) {
        self.all(Vec::clear);
    }

    fn all<T>(&self, work: impl FnOnce(&mut Vec<Connection>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Library {
    pub(super) fn new(config: HostConfig, options: Options) -> Self {
        Self {
            config,
            options,
            idle: Idle::default(),
            met: AtomicBool::new(false),
            no_sftp: AtomicBool::new(false),
        }
    }

    async fn connect(&self) -> Result<Connection, TransportError> {
        let met = self.met.load(Ordering::Relaxed);
        let connection = connection::connect(&self.config, &self.options, met).await?;
        self.met.store(true, Ordering::Relaxed);
        Ok(connection)
    }

    /// Starts a script that is [`shell::sealed`].
    async fn sealed(&self, script: &str) -> Result<Process, TransportError> {
        let command = shell::wrapped(&shell::sealed(script));
        loop {
            let kept = self.idle.take();
            let was_kept = kept.is_some();
            let connection = match kept {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let idle = self.idle.clone();
            let done = move |connection| idle.give(connection);
            match bridge::start(connection, command.clone(), self.options.ssh.silence, done).await {
                // it went while it lay idle, and nothing was started on it
                Err(TransportError::Lost { .. }) if was_kept => {}
                Err(error) => return Err(error),
                Ok(process) => {
                    let process = shell::greeted(process).await?;
                    return Ok(Process { control: Box::new(Sealed(process.control)), ..process });
                }
            }
        }
    }

    /// Moves a file over SFTP; `None`: the server has none.
    async fn over_sftp<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, Sftp) -> Result<T, TransportError> + Send + 'static,
    ) -> Result<Option<T>, TransportError> {
        if self.no_sftp.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let Some((sftp, connection)) = self.with_sftp().await? else {
            self.no_sftp.store(true, Ordering::Relaxed);
            return Ok(None);
        };
        let silence = connection.session.timeout();
        let tcp = Arc::clone(&connection.tcp);
        let working = move || {
            // a piece may take long on a slow way; a stall is noticed outside
            connection.session.set_timeout(0);
            let done = work(&connection, sftp);
            // answers to what was sent before it failed may still come: nobody else is to get them
            done.map(|done| (done, connection))
        };
        let (done, connection) = on_thread(&tcp, working).await?;
        connection.session.set_timeout(silence);
        self.idle.give(connection);
        Ok(Some(done))
    }

    /// A connection with SFTP opened on it; `None`: the server has none.
    async fn with_sftp(&self) -> Result<Option<(Sftp, Connection)>, TransportError> {
        loop {
            let kept = self.idle.take();
            let was_kept = kept.is_some();
            let connection = match kept {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let tcp = Arc::clone(&connection.tcp);
            let opening = move || {
                let silence = connection.session.timeout();
                if was_kept {
                    connection.session.set_timeout(silence / KEPT_SHARE);
                }
                let sftp = sftp::open(&connection)?;
                connection.session.set_timeout(silence);
                Ok((sftp, connection))
            };
            match on_thread(&tcp, opening).await {
                // it went while it lay idle, as did others, and nothing was moved on it
                Err(TransportError::Lost { .. }) if was_kept => self.idle.forget(),
                Err(error) => return Err(error),
                Ok((Some(sftp), connection)) => return Ok(Some((sftp, connection))),
                Ok((None, connection)) => {
                    self.idle.give(connection);
                    return Ok(None);
                }
            }
        }
    }
}

impl Remote for Library {
    fn run<'a>(&'a self, script: &'a str) -> Pending<'a, Output> {
        Box::pin(async move { shell::finished(self.sealed(script).await?).await })
    }

    fn send<'a>(&'a self, file: &'a HostFile, to: &'a str, moved: &'a Moved) -> Pending<'a, ()> {
        Box::pin(async move {
            let (source, target, progress) = (file.clone(), to.to_owned(), moved.clone());
            let sent =
                self.over_sftp(move |c, sftp| sftp::send(c, &sftp, &source, &target, &progress)).await?;
            match sent {
                Some(()) => Ok(()),
                None => {
                    let process = self.sealed(&format!("exec cat > {}", quote(to)?)).await?;
                    stream::send(process, file, to, moved).await
                }
            }
        })
    }

    fn receive<'a>(&'a self, from: &'a str, to: Blocks, moved: &'a Moved) -> Pending<'a, ()> {
        Box::pin(async move {
            let (source, target, progress) = (from.to_owned(), to.clone(), moved.clone());
            let received =
                self.over_sftp(move |c, sftp| sftp::receive(c, &sftp, &source, &target, &progress)).await?;
            match received {
                Some(()) => Ok(()),
                None => {
                    let process = self.sealed(&format!("exec cat {}", quote(from)?)).await?;
                    stream::receive(process, from, &to, moved).await
                }
            }
        })
    }

    fn start<'a>(&'a self, script: &'a str) -> Pending<'a, Process> {
        Box::pin(self.sealed(script))
    }

    fn reconnect(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            self.idle.forget();
            self.idle.give(self.connect().await?);
            Ok(())
        })
    }
}
