//! One device's hand: connects, pushes, has models inspected and units measured, fetches outputs. Does as
//! it is told, one command after the other, and reports everything as events; it keeps no plan, and never
//! decides whether to try again.

use super::event::{DispatchEvent, Places, Remedy, Trouble};
use crate::{
    agents::Agents,
    devices::Device,
    libraries::{Libraries, Wish},
    link::{Link, LinkError, Sink, UnitEnd},
    plan::Observe,
    transport::{AGENT_DIR, HostFile, Probe, ProcessEnd, Program, Pushed, TransportError},
};
use protocol::{Artifact, Sha256Hex, UnitSpec};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};

/// A file that was wanted within this time may be in use by the agent of another host: it makes no room on a full
/// device.
const IN_USE: Duration = Duration::from_secs(3600);

/// What a driver is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Make the device ready.
    Connect,
    /// Have a pushed model inspected, and run.
    Inspect(Sha256Hex, Option<Observe>),
    /// Have a unit measured.
    Run {
        /// The unit, with paths of the device.
        unit: Box<UnitSpec>,
        /// Which attempt.
        attempt: u32,
    },
}

/// The hand.
pub(crate) struct Driver {
    /// Position in the list of devices.
    pub(crate) position: usize,
    /// The device.
    pub(crate) device: Device,
    /// Agents for devices that have none.
    pub(crate) agents: Agents,
    /// What it needs.
    pub(crate) files: Vec<HostFile>,
    /// Runtimes that it needs libraries for.
    pub(crate) libraries: Wish,
    /// Where fetched outputs are put until they are stored.
    pub(crate) staging: PathBuf,
    /// To the dispatcher.
    pub(crate) events: mpsc::Sender<DispatchEvent>,
    /// True: the unit under way is to end.
    pub(crate) cancel: watch::Receiver<bool>,
    /// It was lost since it last answered.
    pub(crate) lost: bool,
    /// It has answered a probe since it was last waited for.
    pub(crate) reached: bool,
}

/// The dispatcher is gone.
struct Gone;

type Told = Result<(), Gone>;

impl Driver {
    /// Works until there are no more commands, then says goodbye to the agent.
    pub(crate) async fn work(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut session = None;
        while let Some(command) = commands.recv().await {
            let told = match command {
                Command::Connect => self.make_ready(&mut session).await,
                Command::Inspect(model, run) => self.inspect(&mut session, model, run).await,
                Command::Run { unit, attempt } => self.run(&mut session, *unit, attempt).await,
            };
            if told.is_err() {
                break;
            }
        }
        if let Some(Session { link, .. }) = session {
            link.close().await;
        }
    }

    async fn tell(&self, event: DispatchEvent) -> Told {
        self.events.send(event).await.map_err(|_| Gone)
    }

    async fn make_ready(&mut self, session: &mut Option<Session>) -> Told {
        if let Err(trouble) = self.connect(session).await? {
            self.not_ready(trouble).await?;
        }
        Ok(())
    }

    async fn not_ready(&self, trouble: Trouble) -> Told {
        let (device, reached) = (self.position, self.reached);
        self.tell(DispatchEvent::NotReady { device, reached, trouble }).await
    }

    /// Connects unless there is a session. A device that was lost is waited for first.
    async fn connect(&mut self, session: &mut Option<Session>) -> Result<Result<(), Trouble>, Gone> {
        if session.is_some() {
            return Ok(Ok(()));
        }
        match self.open().await {
            Ok((opened, hello)) => {
                self.lost = false;
                let (places, sent_bytes) = (opened.places.clone(), opened.sent_bytes);
                *session = Some(opened);
                let hello = Box::new(hello);
                let device = self.position;
                self.tell(DispatchEvent::Ready { device, sent_bytes, hello, places }).await?;
                Ok(Ok(()))
            }
            Err(trouble) => {
                self.lost |= trouble.remedy == Remedy::TryAgain;
                Ok(Err(trouble))
            }
        }
    }

    async fn open(&mut self) -> Result<(Session, crate::link::Hello), Trouble> {
        self.reached = false;
        if self.lost {
            // a device that did not come back in all this time is not waited for again
            self.device.way.recover().await.map_err(|error| match Trouble::from(error) {
                Trouble { reason, remedy: Remedy::TryAgain } => trouble(reason, Remedy::Device),
                other => other,
            })?;
            self.lost = false;
        }
        let probe = self.device.way.probe().await?;
        self.reached = true;
        let (agent, libraries) = self.choose(&probe)?;
        let (places, sent_bytes) = self.push_all(agent.as_ref(), &libraries).await?;
        let pushed = agent.as_ref().and_then(|file| Some((file, places.get(&file.sha256)?.clone())));
        let mut program = match (probe.agent, &pushed) {
            (Some(program), _) => program,
            (None, Some((_, path))) => Program { path: path.clone(), args: Vec::new() },
            (None, None) => return Err(trouble("the agent was not pushed", Remedy::TryAgain)),
        };
        program.args.extend(["--dir".into(), probe.cache.join(AGENT_DIR).into()]);
        program.args.extend(self.device.known.treatment.args());
        let process = self.device.way.spawn(&program).await?;
        let mut link = Link::new(process);
        let hello = match link.greet().await {
            Ok(hello) => crate::link::Hello { libraries, ..hello },
            Err(error) => {
                let (mut trouble, end) = given_up(link, &error).await;
                if pushed.is_some() && is_no_agent(&error, end) {
                    trouble.reason.push_str(advice(end));
                    if let Some(said) = self.device.known.agent.as_deref().filter(|said| *said != probe.arch)
                    {
                        let (found, key) = (&probe.arch, "`agent`");
                        trouble.reason.push_str(&format!(
                            "; {key} in devices.toml says {said}, the device says {found}"
                        ));
                    }
                }
                return Err(trouble);
            }
        };
        if let Some(reason) = self.device.known.treatment.misfit(&hello.device) {
            link.close().await;
            return Err(trouble(reason, Remedy::Setting));
        }
        match pushed {
            Some((file, path)) if hello.agent.sha256 != file.sha256 => {
                link.abandon().await;
                let reason = format!(
                    "not the agent that was pushed has answered: {} was started and has the hash {}, the one that \
                     answered has {}; look what is in its place on the device",
                    path.display(),
                    file.sha256.short(),
                    hello.agent.sha256.short()
                );
                Err(trouble(reason, Remedy::Device))
            }
            _ => Ok((Session { link, places, sent_bytes }, hello)),
        }
    }

    /// The libraries that the device is given, and the agent, where it has none: for the instruction set that was
    /// probed, or that the user says it has.
    fn choose(&self, probe: &Probe) -> Result<(Option<HostFile>, Libraries), Trouble> {
        let arch = self.device.known.agent.as_deref().unwrap_or(&probe.arch);
        let setting = |reason| trouble(reason, Remedy::Setting);
        let mut libraries = self.libraries.for_device(arch, &probe.libc).map_err(setting)?;
        if probe.agent.is_some() {
            return Ok((None, libraries));
        }
        if !libraries.provided.is_empty() {
            match self.agents.find_glibc(arch, &probe.libc) {
                Ok(agent) => return Ok((Some(agent), libraries)),
                Err(reason) if !self.libraries.is_open() => return Err(setting(reason)),
                Err(reason) => {
                    libraries.provided.clear();
                    libraries.notes.push(reason);
                }
            }
        }
        Ok((Some(self.agents.find(arch).map_err(setting)?), libraries))
    }

    /// Makes sure that every file is there, and tells how many bytes that took. When something had to be sent,
    /// old files make room for it.
    async fn push_all(
        &self,
        agent: Option<&HostFile>,
        libraries: &Libraries,
    ) -> Result<(Places, u64), TransportError> {
        let libraries = libraries.provided.iter().flat_map(|one| &one.files);
        let all: Vec<&HostFile> = agent.into_iter().chain(libraries).chain(&self.files).collect();
        let keep: Vec<Sha256Hex> = all.iter().map(|file| file.sha256.clone()).collect();
        let (mut places, mut sent) = (Places::new(), 0);
        for file in all {
            let pushed = match self.push(file).await {
                Err(TransportError::NoSpace { .. })
                    if self.device.way.tidy(&keep, 0, IN_USE).await?.freed_bytes > 0 =>
                {
                    self.push(file).await?
                }
                other => other?,
            };
            sent += pushed.sent_bytes;
            places.insert(file.sha256.clone(), pushed.path);
        }
        if sent > 0 {
            self.device.way.tidy(&keep, self.device.cache_limit, Duration::ZERO).await?;
        }
        Ok((places, sent))
    }

    async fn push(&self, file: &HostFile) -> Result<Pushed, TransportError> {
        let told = |sent_bytes| {
            let (device, name, bytes) = (self.position, file.name.clone(), file.bytes);
            // a busy dispatcher misses a step of a progress bar, no more
            self.events.try_send(DispatchEvent::Pushing { device, name, sent_bytes, bytes }).ok();
        };
        self.device.way.push(file, told).await
    }

    async fn inspect(
        &mut self,
        session: &mut Option<Session>,
        model: Sha256Hex,
        run: Option<Observe>,
    ) -> Told {
        let device = self.position;
        if let Err(trouble) = self.connect(session).await? {
            return self.not_ready(trouble).await;
        }
        let Some(mut open) = session.take() else { return Ok(()) };
        let run = run.map(|run| run.on_device(&open.places)).transpose();
        let place = open.places.get(&model).cloned().ok_or_else(|| "the file was not pushed".to_owned());
        let (path, run) = match place.and_then(|path| Ok((path, run?))) {
            Ok(found) => found,
            Err(reason) => {
                *session = Some(open);
                return self.tell(DispatchEvent::Inspected { device, model, facts: Err(reason) }).await;
            }
        };
        match open.link.inspect(Artifact { path: path.clone(), sha256: model.clone() }, run).await {
            Ok(facts) => {
                *session = Some(open);
                let facts =
                    facts.map(Box::new).map_err(|reason| self.in_words_of_host(&reason, &path, &model));
                self.tell(DispatchEvent::Inspected { device, model, facts }).await
            }
            Err(error) => {
                self.lost = true;
                let (trouble, _) = given_up(open.link, &error).await;
                self.not_ready(trouble).await
            }
        }
    }

    /// A message that names a file by its place on the device, with the name that the user knows.
    fn in_words_of_host(&self, reason: &str, path: &Path, sha256: &Sha256Hex) -> String {
        match self.files.iter().find(|file| file.sha256 == *sha256) {
            Some(file) => reason.replace(&path.display().to_string(), &file.name),
            None => reason.to_owned(),
        }
    }

    async fn run(&mut self, session: &mut Option<Session>, spec: UnitSpec, attempt: u32) -> Told {
        let (device, unit, began) = (self.position, spec.unit, Instant::now());
        if let Err(trouble) = self.connect(session).await? {
            return self.tell(DispatchEvent::UnitLost { device, unit, attempt, trouble }).await;
        }
        let Some(mut open) = session.take() else { return Ok(()) };
        let sink = Sink { device, attempt, events: &self.events };
        match open.link.run(spec, &mut self.cancel, &sink).await {
            Ok(UnitEnd::Done { counts, outputs }) => match self.bring_home(outputs).await? {
                Ok(()) => {
                    *session = Some(open);
                    let took = began.elapsed();
                    self.tell(DispatchEvent::UnitDone { device, unit, attempt, counts, took }).await
                }
                Err(error) => {
                    let mut trouble = Trouble::from(error);
                    if trouble.remedy == Remedy::TryAgain {
                        // what cannot be fetched from may not hear the agent either
                        self.lost = true;
                        trouble.reason.push_str(&open.link.abandon().await.1);
                    } else {
                        *session = Some(open);
                    }
                    self.tell(DispatchEvent::UnitLost { device, unit, attempt, trouble }).await
                }
            },
            Ok(UnitEnd::Cancelled) => {
                *session = Some(open);
                self.tell(DispatchEvent::UnitCancelled { device, unit, attempt }).await
            }
            Ok(UnitEnd::DeviceTrouble(reason)) => {
                // whoever connects anew is given its files anew
                open.link.close().await;
                let trouble = Trouble { reason, remedy: Remedy::TryAgain };
                self.tell(DispatchEvent::UnitLost { device, unit, attempt, trouble }).await
            }
            Ok(UnitEnd::Refused(reason)) => {
                *session = Some(open);
                let trouble = Trouble { reason, remedy: Remedy::Device };
                self.tell(DispatchEvent::UnitLost { device, unit, attempt, trouble }).await
            }
            Err(error) => {
                self.lost = true;
                let (trouble, _) = given_up(open.link, &error).await;
                self.tell(DispatchEvent::UnitLost { device, unit, attempt, trouble }).await
            }
        }
    }

    /// Brings the outputs home; without them the unit does not count.
    async fn bring_home(
        &self,
        outputs: Vec<(PathBuf, Sha256Hex)>,
    ) -> Result<Result<(), TransportError>, Gone> {
        let device = self.position;
        for (path, sha256) in outputs {
            match self.fetch(&path, &sha256).await {
                Ok(staged) => self.tell(DispatchEvent::Fetched { device, sha256, staged }).await?,
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    async fn fetch(&self, path: &Path, sha256: &Sha256Hex) -> Result<PathBuf, TransportError> {
        let staged = self.staging.join(sha256.as_str());
        self.device.way.pull(path, sha256, &staged).await?;
        // it is here; what is left of it there goes when the agent tidies
        self.device.way.remove(path).await.ok();
        Ok(staged)
    }
}

/// An agent that answered, and the files it can use.
struct Session {
    link: Link,
    places: Places,
    sent_bytes: u64,
}

fn trouble(reason: impl Into<String>, remedy: Remedy) -> Trouble {
    Trouble { reason: reason.into(), remedy }
}

/// Did it end as a file ends that the device cannot execute, or is no agent? A shell gives statuses from 126 on for
/// the first, a wrong instruction ends it by a signal, and what is no agent never greets.
fn is_no_agent(error: &LinkError, end: Option<ProcessEnd>) -> bool {
    const ILL: i32 = 4;
    match error {
        LinkError::Ended => matches!(end, Some(ProcessEnd::Exited(126 | 127) | ProcessEnd::Signalled(ILL))),
        LinkError::Silent(_) => true,
        _ => false,
    }
}

/// What to do about an agent that does not run. The status 126 is also what a folder gives from which nothing may be
/// started.
fn advice(end: Option<ProcessEnd>) -> &'static str {
    match end {
        Some(ProcessEnd::Exited(126)) => {
            "; what cannot run on the device ends so: if its folder is mounted with `noexec`, name another with `cache` \
             in devices.toml, else `bench agents build` makes the agent anew"
        }
        _ => "; what cannot run on the device ends so: `bench agents build` makes it anew",
    }
}

/// Also how the agent ended, where that is known.
async fn given_up(link: Link, error: &LinkError) -> (Trouble, Option<ProcessEnd>) {
    let remedy = match error {
        LinkError::Version(_) | LinkError::Refused(_) => Remedy::Setting,
        _ => Remedy::TryAgain,
    };
    let (end, ending) = link.abandon().await;
    let reason = match error {
        // the whole reason already
        LinkError::Refused(reason) => reason.clone(),
        _ => format!("{error}{ending}"),
    };
    (Trouble { reason, remedy }, end)
}

impl From<TransportError> for Trouble {
    fn from(error: TransportError) -> Self {
        Self { remedy: error.remedy(), reason: error.to_string() }
    }
}
