//! Android devices through the adb server of this machine: programs over its shell service, files over its sync
//! service. Adds nothing to what [`RemoteDevice`] makes of them, and never talks to a device past the server.

mod manage;
mod phone;
mod server;
mod shell;
mod state;
mod sync;
#[cfg(test)]
mod tests;

pub(crate) use manage::{connect, disconnect, pair, server_version};

use super::{
    Content, Found, HostFile, Moved, Options, Pending, Process, Reach, Transport, TransportError, on_host,
    remote::{Blocks, Output, Remote, RemoteDevice},
};
use phone::Phone;
use server::{Fault, Server};
use std::{convert::Infallible, future::Future, path::Path, pin::Pin, sync::Arc, time::Duration};
use tokio::{fs::File, io::AsyncRead, net::TcpStream, time::sleep};

/// Where the user of adb's shell may write and execute, on every Android.
const USUAL_CACHE: &str = "/data/local/tmp/bench";

/// A file that is being pushed is looked at this often. Pushes that are faster are not disturbed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// For the list of transports: the address is a serial, or nothing for the only device.
pub(super) fn open(reach: &Reach, _options: &Options) -> Result<Box<dyn Transport>, String> {
    if reach.address.contains(char::is_control) {
        return Err(format!("{:?} is no serial of a device", reach.address));
    }
    let phone = Phone::new(Server::from_environment()?, reach.address.clone());
    Ok(Box::new(RemoteDevice::new(Adb(Arc::new(phone)), reach.cache.clone(), USUAL_CACHE)))
}

/// For the list of transports: what the server sees. A machine without adb has no such devices.
pub(super) fn discover() -> Pin<Box<dyn Future<Output = Result<Vec<Found>, String>> + Send>> {
    Box::pin(async { found_by(&Server::from_environment()?).await })
}

async fn found_by(server: &Server) -> Result<Vec<Found>, String> {
    let listed = match server.devices().await {
        Ok(listed) => listed,
        Err(Fault::NoAdb(_)) => return Ok(Vec::new()),
        Err(fault) => return Err(fault.to_string()),
    };
    Ok(listed
        .into_iter()
        .map(|listed| Found {
            state: listed.state.obstacle().map_or(Ok(()), Err),
            address: listed.serial,
            about: listed.about,
        })
        .collect())
}

/// A phone as a [`Remote`].
struct Adb(Arc<Phone>);

impl Adb {
    async fn send_from(
        &self,
        file: &HostFile,
        source: impl AsyncRead + Unpin,
        to: &str,
        moved: &Moved,
    ) -> Result<(), TransportError> {
        let mut stream = self.0.open("pushing", "sync:").await?;
        let (from, into) = stream.split();
        let sent = tokio::select! {
            sent = sync::send(from, into, source, to, moved) => sent,
            never = self.follow(to, file.bytes, moved) => match never {},
        };
        match sent {
            Ok(()) => Ok(()),
            Err(Fault::Disk(error)) => Err(on_host("reading", Path::new(&file.name), error)),
            Err(fault) => Err(self.0.explain("pushing", fault).await),
        }
    }

    /// The server takes some megabytes at once, and a slow link drains them long after the last was given away: a
    /// file that grows on the device is progress too, up to what it shall have: a device that makes sizes up keeps
    /// no push alive for long.
    async fn follow(&self, path: &str, bytes: u64, moved: &Moved) -> Infallible {
        let mut most = 0;
        loop {
            sleep(LOOK_AGAIN).await;
            let Ok(mut stream) = self.0.open("looking at", "sync:").await else { continue };
            let (from, to) = stream.split();
            if let Ok(size) = sync::size(from, to, path).await
                && size > most
                && u64::from(size) <= bytes
            {
                most = size;
                moved.send_modify(|_| ());
            }
        }
    }

    async fn shell(&self, doing: &str, script: &str) -> Result<TcpStream, TransportError> {
        self.0.open(doing, &format!("shell,v2,raw:{script}")).await
    }
}

impl Remote for Adb {
    fn run<'a>(&'a self, script: &'a str) -> Pending<'a, Output> {
        Box::pin(async move {
            let doing = "running a command";
            let mut stream = self.shell(doing, script).await?;
            let (from, to) = stream.split();
            let ran = tokio::select! {
                ran = shell::run(from, to) => ran,
                fault = self.0.falls_silent() => Err(fault),
            };
            match ran {
                Ok(output) => Ok(output),
                Err(fault) => Err(self.0.explain(doing, fault).await),
            }
        })
    }

    fn send<'a>(&'a self, file: &'a HostFile, to: &'a str, moved: &'a Moved) -> Pending<'a, ()> {
        Box::pin(async move {
            match &file.content {
                Content::Memory(bytes) => self.send_from(file, &**bytes, to, moved).await,
                Content::Path(path) => {
                    let source = File::open(path).await.map_err(|e| on_host("reading", path, e))?;
                    self.send_from(file, source, to, moved).await
                }
            }
        })
    }

    fn receive<'a>(&'a self, from: &'a str, to: Blocks, moved: &'a Moved) -> Pending<'a, ()> {
        Box::pin(async move {
            let mut stream = self.0.open("fetching", "sync:").await?;
            let (source, requests) = stream.split();
            match sync::receive(source, requests, from, &to, moved).await {
                Ok(()) => Ok(()),
                Err(fault) => Err(self.0.explain("fetching", fault).await),
            }
        })
    }

    fn start<'a>(&'a self, script: &'a str) -> Pending<'a, Process> {
        Box::pin(async move {
            let stream = self.shell("starting a program", script).await?;
            Ok(shell::process(stream, Arc::clone(&self.0)))
        })
    }

    fn reconnect(&self) -> Pending<'_, ()> {
        Box::pin(self.0.reconnect())
    }
}
