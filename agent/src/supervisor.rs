//! The supervisor: takes the host's requests one at a time and gives each to fresh workers. Never loads a
//! model itself.

use crate::{
    child::Child,
    clock,
    crew::{Crew, Stop},
    device::Probe,
    hub::{End, Hub, Request, Wake},
    launch::Launcher,
    lock::{Attempt, RETRY_MS, Step},
    log, sys, unit, wire,
};
use protocol::{
    AgentInfo, AgentMessage, Artifact, Event, Moment, PROTOCOL_VERSION, RuntimeInfo, Sha256Hex, UnitSpec,
};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// A model file that takes longer to look through is damaged or hostile.
const INSPECT_LIMIT_MS: u64 = 60_000;

/// The host is gone, or a signal came: what was asked for is not complete.
const EXIT_INCOMPLETE: u8 = 3;
/// The host does not speak this protocol, or the agent cannot start.
const EXIT_USAGE: u8 = 2;

/// Serves a host on stdin and stdout until it is done or gone.
pub(crate) fn main(dir: PathBuf) -> ExitCode {
    let supervisor = match Supervisor::new(dir) {
        Ok(supervisor) => supervisor,
        Err(e) => {
            log::line(format_args!("cannot start: {e}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let mut hub = match supervisor.hello().and_then(Hub::new) {
        Ok(hub) => hub,
        Err(e) => {
            log::line(format_args!("cannot start: {e}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let end = supervisor.serve(&mut hub);
    match end {
        End::Bye => return ExitCode::SUCCESS,
        End::Protocol(_) => {}
        End::Gone(_) | End::Signal(_) => {
            log::line(&end);
            return ExitCode::from(EXIT_INCOMPLETE);
        }
    }
    log::line(&end);
    ExitCode::from(EXIT_USAGE)
}

struct Supervisor {
    launcher: Launcher,
    probe: Probe,
    /// Lock and output files.
    dir: PathBuf,
}

impl Supervisor {
    fn new(dir: PathBuf) -> io::Result<Self> {
        sys::close_descriptors_on_exec()?;
        Ok(Self { launcher: Launcher::of_this_process()?, probe: Probe::new(), dir })
    }

    fn hello(&self) -> io::Result<AgentMessage> {
        let (sha256, _) = Sha256Hex::of_reader(&mut File::open("/proc/self/exe")?)?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(AgentMessage::Hello {
            protocol: PROTOCOL_VERSION,
            agent: AgentInfo { version, sha256, pid: std::process::id() },
            device: self.probe.info(self.launcher.emulated),
            runtimes: runtimes::RUNTIMES.iter().filter_map(|r| runtime_info(*r)).collect(),
        })
    }

    fn serve(&self, hub: &mut Hub) -> End {
        loop {
            let served = hub.next_request().and_then(|request| match request {
                Request::Run(unit) => self.run(hub, &unit),
                Request::Inspect(model) => self.inspect(hub, model),
            });
            if let Err(end) = served {
                return end;
            }
        }
    }

    fn run(&self, hub: &mut Hub, unit: &UnitSpec) -> Result<(), End> {
        if let Err(e) = unit.check() {
            return hub.refuse(e.to_string(), Some(unit.unit));
        }
        if let Some(reason) = self.lock(hub)? {
            return hub.refuse(reason, Some(unit.unit));
        }
        let outputs = self.dir.join("outputs");
        let place = unit::Place { dir: &outputs, emulated: self.launcher.emulated };
        let mut crew = Crew::new(hub, &self.launcher, &outputs, unit.unit, unit.trials.len());
        match unit::run(&mut crew, unit, &self.probe, &place) {
            Ok(()) => {}
            Err(Stop::Cancelled) => crew.dismiss_all("cancelled by the host")?,
            Err(Stop::End(end)) => return Err(end),
        }
        crew.event(Event::DeviceState { moment: Moment::After, state: self.probe.state() })?;
        crew.done()
    }

    /// Takes the lock of the working directory, once; says why not.
    fn lock(&self, hub: &mut Hub) -> Result<Option<String>, End> {
        if hub.lock.is_some() {
            return Ok(None);
        }
        let failed = |e: io::Error| format!("{}: {e}; name another directory with --dir", self.dir.display());
        let mut attempt = match Attempt::new(&self.dir) {
            Ok(attempt) => attempt,
            Err(e) => return Ok(Some(failed(e))),
        };
        loop {
            match attempt.step() {
                Ok(Step::Held(lock)) => {
                    hub.lock = Some(lock);
                    remove_parts(&self.dir.join("outputs"));
                    return Ok(None);
                }
                Ok(Step::Busy(reason)) => return Ok(Some(reason)),
                Err(e) => return Ok(Some(failed(e))),
                Ok(Step::Wait) => {}
            }
            let again = clock::monotonic_ns().saturating_add(clock::ms(RETRY_MS));
            if hub.wait(&[], Some(again))? == Wake::Cancelled {
                return Ok(Some("cancelled while waiting for another agent".to_owned()));
            }
        }
    }

    /// Looks into a model in a process of its own: a file that crashes an importer must not end the agent.
    fn inspect(&self, hub: &mut Hub, model: Artifact) -> Result<(), End> {
        let name = model.path.display().to_string();
        let mut child = match Child::start(&self.launcher, INSPECT_LIMIT_MS) {
            Ok(child) => child,
            Err(e) => return hub.refuse(format!("no worker could be started: {e}"), None),
        };
        if let Err(e) = child.tell(&wire::Command::Inspect { model }) {
            return hub.refuse(format!("{name}: the worker does not answer: {e}"), None);
        }
        loop {
            match hub.wait(&[child.fd()], Some(child.deadline_ns()))? {
                Wake::Time => return hub.refuse(format!("{name}: not read in {INSPECT_LIMIT_MS} ms"), None),
                Wake::Cancelled => return hub.refuse(format!("{name}: cancelled"), None),
                Wake::Request => {}
                Wake::Worker(_) => {
                    let open = child.pump();
                    match child.answer() {
                        Ok(Some(wire::Answer::Inspected { model })) => {
                            return hub.send(&AgentMessage::Inspected { model: *model });
                        }
                        Ok(Some(wire::Answer::Failed { message, .. })) => {
                            return hub.refuse(format!("{name}: {message}"), None);
                        }
                        Ok(None) if open => {}
                        Ok(_) => return hub.refuse(format!("{name}: the worker died of it"), None),
                        Err(e) => return hub.refuse(format!("{name}: {e}"), None),
                    }
                }
            }
        }
    }
}

/// What earlier workers had begun to write when they were killed.
fn remove_parts(outputs: &Path) {
    let Ok(entries) = std::fs::read_dir(outputs) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.extension().is_some_and(|e| e == "part") {
            drop(std::fs::remove_file(path));
        }
    }
}

/// `None` where the runtime cannot be used on this device.
fn runtime_info(runtime: &dyn runtimes::Runtime) -> Option<RuntimeInfo> {
    let version = runtime.version().ok()?;
    let backends = runtime.backends().iter().map(|b| (*b).to_owned()).collect();
    let name = runtime.name().to_owned();
    Some(RuntimeInfo { runtime: name, version, backends, pretends: runtime.pretends() })
}
