//! One device behind the adb server: which one it is, what became of it when something fails, and how it is
//! brought back. Carries no data.

use super::{
    super::TransportError,
    server::{DEVICE_LIMIT, Fault, SERVER_LIMIT, Server},
    shell,
    state::{Listed, State},
};
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

/// The server is asked for the reason of a failure this long: the failure itself has taken its time already.
const EXPLAIN_LIMIT: Duration = Duration::from_secs(1);

/// A device that is well answers a command this fast.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);

/// The server's own limit to connect to a device on the network is 10 s.
const CONNECT_LIMIT: Duration = Duration::from_secs(12);

/// A device that has something to do is asked this often whether it lives: neither the server nor the kernel notices
/// that its adbd is frozen.
const ASK_AFTER: Duration = Duration::from_secs(4);

/// A device that is not back after so long is kicked again.
const KICK_AGAIN: Duration = Duration::from_secs(10);

/// A server that cannot be followed is asked again this soon.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A device, by its serial or as the only one there is.
pub(super) struct Phone {
    server: Server,
    /// As the user said it; empty for the only one.
    said: String,
    /// Which one it is; it stays the one, whatever comes and goes.
    found: OnceLock<String>,
    /// It has been used: from now on its absence is trouble, and no mistake of the user's.
    seen: AtomicBool,
}

impl Phone {
    /// `said` is a serial; empty for the only device there is.
    pub(super) fn new(server: Server, said: String) -> Self {
        Self { server, said, found: OnceLock::new(), seen: AtomicBool::new(false) }
    }

    /// A connection to one of its services.
    pub(super) async fn open(&self, doing: &str, service: &str) -> Result<TcpStream, TransportError> {
        let serial = self.serial().await?;
        match self.server.service(serial, service).await {
            Ok(stream) => {
                self.seen.store(true, Ordering::Relaxed);
                Ok(stream)
            }
            Err(fault) => Err(self.explain(doing, fault).await),
        }
    }

    async fn serial(&self) -> Result<&str, TransportError> {
        if !self.said.is_empty() {
            return Ok(&self.said);
        }
        if self.found.get().is_none() {
            let all = self.server.devices().await.map_err(|fault| known("looking for it", &fault))?;
            let [only] = all.as_slice() else { return Err(TransportError::Unusable(not_the_only(&all))) };
            // an earlier look that ended at the same time found the same, or both fail on their own
            self.found.set(only.serial.clone()).ok();
        }
        Ok(self.found.get().map(String::as_str).unwrap_or_default())
    }

    /// A fault in the words of the device's state, as far as the server still tells it.
    pub(super) async fn explain(&self, doing: &str, fault: Fault) -> TransportError {
        match fault {
            Fault::Disk(source) => {
                return TransportError::Io {
                    doing: "using",
                    path: "a file of this machine".to_owned(),
                    source,
                };
            }
            Fault::Device(reason) => return TransportError::Refused { doing: doing.to_owned(), reason },
            Fault::NoAdb(_) | Fault::NoServer { .. } | Fault::Wedged { .. } => return known(doing, &fault),
            Fault::Silent(_) | Fault::Refused(_) | Fault::Broken(_) | Fault::Nonsense(_) => {}
        }
        let serial = self.serial().await.unwrap_or_default();
        let lost = |reason: String| TransportError::Lost { doing: doing.to_owned(), reason };
        let Ok(Ok(all)) = timeout(EXPLAIN_LIMIT, self.server.as_it_is().devices()).await else {
            return lost(format!("{fault}; the adb server itself does not answer any more"));
        };
        let used = self.seen.load(Ordering::Relaxed);
        let Some(listed) = all.iter().find(|listed| listed.serial == serial) else {
            let reason = format!(
                "adb does not see {serial} any more: is it unplugged, switched off, or out of reach?"
            );
            return if used { lost(reason) } else { TransportError::Unusable(not_there(serial, &all)) };
        };
        match listed.state.obstacle() {
            Some(obstacle) if listed.state.needs_hands() => {
                TransportError::Unusable(format!("{serial} {obstacle}"))
            }
            Some(obstacle) => lost(format!("{serial} {obstacle}")),
            None => match fault {
                Fault::Refused(_) if self.is_old(serial).await => TransportError::Unusable(format!(
                    "{serial} has an Android before version 7, whose shell tells neither exit status nor stderr: \
                     it cannot be measured on"
                )),
                fault => lost(format!("{fault}; adb still lists {serial} as connected")),
            },
        }
    }

    /// Does its adbd lack what every program here is started with?
    async fn is_old(&self, serial: &str) -> bool {
        let features = self.server.query(&format!("host-serial:{serial}:features"), EXPLAIN_LIMIT).await;
        features.is_ok_and(|list| !list.split(',').any(|feature| feature == "shell_v2"))
    }

    /// Makes its connection anew, unless it answers.
    ///
    /// # Errors
    /// `Lost`, whatever state it is in: a device that starts passes through some that need a person otherwise.
    pub(super) async fn reconnect(&self) -> Result<(), TransportError> {
        let serial = self.serial().await?;
        if self.answers(serial, ANSWER_LIMIT).await {
            return Ok(());
        }
        self.kick(serial).await;
        let back = timeout(KICK_AGAIN, self.comes_back(serial)).await.is_ok();
        if back && self.answers(serial, ANSWER_LIMIT).await {
            return Ok(());
        }
        match self.explain("waiting for it", Fault::Silent(ANSWER_LIMIT.as_secs())).await {
            TransportError::Unusable(reason) => {
                Err(TransportError::Lost { doing: "waiting for it".to_owned(), reason })
            }
            error => Err(error),
        }
    }

    /// Returns when the device does not answer any more.
    pub(super) async fn falls_silent(&self) -> Fault {
        let serial = self.serial().await.unwrap_or_default();
        loop {
            sleep(ASK_AFTER).await;
            if !self.answers(serial, DEVICE_LIMIT).await {
                return Fault::Silent(DEVICE_LIMIT.as_secs());
            }
        }
    }

    async fn answers(&self, serial: &str, limit: Duration) -> bool {
        let asked = timeout(limit, async {
            let mut stream = self.server.service(serial, "shell,v2,raw:true").await?;
            let (from, to) = stream.split();
            shell::run(from, to).await
        });
        matches!(asked.await, Ok(Ok(output)) if output.status == 0)
    }

    /// Has the server drop its connection and make a new one. What it says is of no use: the state will tell.
    async fn kick(&self, serial: &str) {
        if is_address(serial) {
            self.server.query(&format!("host:disconnect:{serial}"), SERVER_LIMIT).await.ok();
            self.server.query(&format!("host:connect:{serial}"), CONNECT_LIMIT).await.ok();
        } else {
            self.server.query(&format!("host-serial:{serial}:reconnect"), SERVER_LIMIT).await.ok();
        }
    }

    /// Returns when the server lists it as a device.
    async fn comes_back(&self, serial: &str) {
        loop {
            if let Ok(mut tracker) = self.server.track().await {
                while let Ok(all) = tracker.next().await {
                    if all.iter().any(|listed| listed.serial == serial && listed.state == State::Device) {
                        return;
                    }
                }
            }
            sleep(ASK_AGAIN).await;
        }
    }
}

/// A serial that is an address on the network.
fn is_address(serial: &str) -> bool {
    serial.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// A fault that needs no further question.
fn known(doing: &str, fault: &Fault) -> TransportError {
    match fault {
        Fault::NoAdb(_) => TransportError::Unusable(fault.to_string()),
        _ => TransportError::Lost { doing: doing.to_owned(), reason: fault.to_string() },
    }
}

fn not_the_only(all: &[Listed]) -> String {
    if all.is_empty() {
        return "adb sees no device: plug one in with USB debugging switched on, or connect one with \
                `bench devices connect ADDRESS`"
            .to_owned();
    }
    let names: Vec<String> = all.iter().map(|listed| format!("adb:{}", listed.serial)).collect();
    format!("adb sees more than one device: say which, {}", names.join(" or "))
}

fn not_there(serial: &str, all: &[Listed]) -> String {
    let names: Vec<&str> = all.iter().map(|listed| listed.serial.as_str()).collect();
    let sees = if names.is_empty() { "no device".to_owned() } else { names.join(", ") };
    let connect = if is_address(serial) {
        format!("run `bench devices connect {serial}`")
    } else {
        "plug it in".to_owned()
    };
    format!("adb does not see {serial} (it sees {sees}): {connect}, or mend the name")
}
