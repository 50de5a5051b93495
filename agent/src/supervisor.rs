//! The supervisor: takes the host's requests one at a time and gives each to fresh workers. Never loads a
//! model itself.

use crate::{
    EXIT_USAGE,
    child::Child,
    clock, cool,
    crew::{Crew, Stop},
    device::Probe,
    fixed::{self, FixedPerformance},
    hub::{End, Hub, Request, Wake},
    launch::Launcher,
    lock::{Attempt, ELSEWHERE, RETRY_MS, Step},
    log,
    options::{self, Options},
    sys, unit, wire,
};
use protocol::{
    AgentInfo, AgentMessage, Artifact, DeviceState, Event, Moment, Observation, PROTOCOL_VERSION,
    RuntimeInfo, Sha256Hex, UnitSpec,
};
use std::{fs::File, io, path::Path, process::ExitCode};

/// A model file that takes longer to look through is damaged or hostile.
const INSPECT_LIMIT_MS: u64 = 60_000;
/// The same with runs: nobody waits longer for ranges.
const OBSERVE_LIMIT_MS: u64 = 600_000;

/// The host is gone, or a signal came: what was asked for is not complete.
const EXIT_INCOMPLETE: u8 = 3;

/// Serves a host on stdin and stdout until it is done or gone.
pub(crate) fn main(options: Options) -> ExitCode {
    let pinned = options::pin(&options.cores);
    let started = Supervisor::new(options).and_then(|supervisor| {
        let answer = match pinned {
            Ok(()) => supervisor.hello()?,
            Err(reason) => AgentMessage::Refused { reason, unit: None },
        };
        Ok((supervisor, Hub::new(answer)?))
    });
    let (mut supervisor, mut hub) = match started {
        Ok(started) => started,
        Err(e) => {
            log::line(format_args!("cannot start: {e}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let end = supervisor.serve(&mut hub);
    // While the lock in the hub is still held: the next agent may want the mode on.
    drop(supervisor);
    match end {
        End::Bye => ExitCode::SUCCESS,
        End::Protocol(_) => {
            log::line(&end);
            ExitCode::from(EXIT_USAGE)
        }
        End::Gone(_) | End::Signal(_) => {
            log::line(&end);
            ExitCode::from(EXIT_INCOMPLETE)
        }
    }
}

struct Supervisor {
    launcher: Launcher,
    probe: Probe,
    options: Options,
    /// Asked for, from the first unit on.
    fixed: Option<FixedPerformance>,
}

impl Supervisor {
    fn new(options: Options) -> io::Result<Self> {
        sys::close_descriptors_on_exec()?;
        let probe = Probe::new(options.root.clone());
        // Whether or not a unit follows, if nobody is at work there.
        if fixed::is_left_on(&options.dir)
            && let Step::Held(_lock) = Attempt::new(&options.dir)?.step()?
        {
            fixed::turn_off_left_on(&probe, &options.dir);
        }
        Ok(Self { launcher: Launcher::of_this_process()?, probe, options, fixed: None })
    }

    fn hello(&self) -> io::Result<AgentMessage> {
        let (sha256, _) = Sha256Hex::of_reader(&mut File::open("/proc/self/exe")?)?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(AgentMessage::Hello {
            protocol: PROTOCOL_VERSION,
            agent: AgentInfo { version, sha256, pid: std::process::id() },
            device: self.probe.info(self.launcher.emulated),
            runtimes: runtimes::RUNTIMES.iter().map(|r| runtime_info(*r)).collect(),
        })
    }

    fn serve(&mut self, hub: &mut Hub) -> End {
        loop {
            let served = hub.next_request().and_then(|request| match request {
                Request::Run(unit) => self.run(hub, &unit),
                Request::Inspect(model, run) => self.inspect(hub, model, run),
            });
            if let Err(end) = served {
                return end;
            }
        }
    }

    fn run(&mut self, hub: &mut Hub, unit: &UnitSpec) -> Result<(), End> {
        if let Err(e) = unit.check() {
            return hub.refuse(e.to_string(), Some(unit.unit));
        }
        if let Some(reason) = self.lock(hub)? {
            return hub.refuse(reason, Some(unit.unit));
        }
        let outputs = self.options.dir.join("outputs");
        let place = unit::Place { dir: &outputs, emulated: self.launcher.emulated };
        let mut crew = Crew::new(hub, &self.launcher, &self.probe, &outputs, unit);
        match self.begin(&mut crew, unit).and_then(|()| unit::run(&mut crew, unit, &place)) {
            Ok(()) => {}
            Err(Stop::Cancelled) => crew.dismiss_all("cancelled by the host")?,
            Err(Stop::End(end)) => return Err(end),
        }
        crew.event(Event::DeviceState { moment: Moment::After, state: self.state() })?;
        crew.done()
    }

    /// Waits for the device, and says in which state it is then.
    fn begin(&self, crew: &mut Crew<'_>, unit: &UnitSpec) -> Result<(), Stop> {
        if let Some(wish) = &unit.cool_down {
            cool::wait(crew, wish)?;
        }
        crew.event(Event::DeviceState { moment: Moment::Before, state: self.state() })?;
        Ok(crew.hub.flush()?)
    }

    fn state(&self) -> DeviceState {
        let fixed_performance = self.fixed.as_ref().map(FixedPerformance::words);
        DeviceState { fixed_performance, ..self.probe.state() }
    }

    /// Takes the lock of the working directory, once; says why not.
    fn lock(&mut self, hub: &mut Hub) -> Result<Option<String>, End> {
        if hub.lock.is_some() {
            return Ok(None);
        }
        let dir = &self.options.dir;
        let failed = |e: io::Error| format!("{}: {e}; {ELSEWHERE}", dir.display());
        let mut attempt = match Attempt::new(dir) {
            Ok(attempt) => attempt,
            Err(e) => return Ok(Some(failed(e))),
        };
        loop {
            match attempt.step() {
                Ok(Step::Held(lock)) => {
                    hub.lock = Some(lock);
                    remove_files(&dir.join("outputs"));
                    fixed::turn_off_left_on(&self.probe, dir);
                    if self.options.fixed_performance {
                        self.fixed = Some(FixedPerformance::on(&self.probe, dir));
                    }
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
    fn inspect(&self, hub: &mut Hub, model: Artifact, run: Option<Observation>) -> Result<(), End> {
        let name = model.path.display().to_string();
        if let Some(Err(e)) = run.as_ref().map(Observation::check) {
            return hub.refuse(format!("{name}: {e}"), None);
        }
        let limit_ms = if run.is_some() { OBSERVE_LIMIT_MS } else { INSPECT_LIMIT_MS };
        let mut child = match Child::start(&self.launcher, limit_ms) {
            Ok(child) => child,
            Err(e) => return hub.refuse(format!("no worker could be started: {e}"), None),
        };
        if let Err(e) = child.tell(&wire::Command::Inspect { model, run }) {
            return hub.refuse(format!("{name}: the worker does not answer: {e}"), None);
        }
        loop {
            match hub.wait(&[child.fd()], Some(child.deadline_ns()))? {
                Wake::Time => return hub.refuse(format!("{name}: not done in {limit_ms} ms"), None),
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

/// What earlier agents wrote and no host fetched: nobody asks for it any more.
fn remove_files(outputs: &Path) {
    let Ok(entries) = std::fs::read_dir(outputs) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        drop(std::fs::remove_file(path));
    }
}

fn runtime_info(runtime: &dyn runtimes::Runtime) -> RuntimeInfo {
    RuntimeInfo {
        runtime: runtime.name().to_owned(),
        version: runtime.version().to_owned(),
        backends: runtime.backends().iter().map(|b| (*b).to_owned()).collect(),
        formats: runtime.formats().to_vec(),
        library: runtime.library().map(str::to_owned),
        pretends: runtime.pretends(),
    }
}
