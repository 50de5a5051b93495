//! The conversation with one agent: framing, pings, silence limits, and the checks that make a unit count.
//! Any line that is not a message, any gap and any wrong count ends the agent. Does not retry: the
//! dispatcher decides what becomes of a unit.

use crate::{
    dispatch::DispatchEvent,
    libraries::Libraries,
    transport::{Control, Process, ProcessEnd, TransportError},
};
use protocol::{
    AgentInfo, AgentMessage, Artifact, Counts, DeviceInfo, Event, FailKind, FrameError, HostMessage,
    LineBuffer, ModelFacts, Observation, Outcome, PING_INTERVAL_MS, PROTOCOL_VERSION, RuntimeInfo, Sha256Hex,
    UnitId, UnitSpec, encode,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{path::PathBuf, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{self, timeout},
};

/// An agent that says nothing for so long while it has something to do is lost: it beats every 2 s.
pub(crate) const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// The first answer: before it the agent hashes its own executable, on a slow disk.
const GREETING_LIMIT: Duration = Duration::from_secs(30);
/// An agent that does not take a line for so long is lost.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// After a cancel, the end of the unit must be reported within this time.
const CANCEL_LIMIT: Duration = Duration::from_secs(5);
/// After a goodbye, the agent must be gone within this time.
const BYE_LIMIT: Duration = Duration::from_secs(3);
/// What a unit may take beyond the deadlines of its trials.
const UNIT_SLACK: Duration = Duration::from_secs(60);
/// Events of one unit: a ten-minute unit with bursts of 20 ms has 30,000.
const MAX_UNIT_EVENTS: u64 = 1_000_000;
/// Messages that wait for the host; more, and the agent waits.
const QUEUE: usize = 256;
/// Bytes taken from the agent at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// What is kept of the end of an agent's stderr.
const STDERR_BYTES: usize = 2000;

/// Who answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The agent.
    pub(crate) agent: AgentInfo,
    /// The device.
    pub(crate) device: DeviceInfo,
    /// What it can run.
    pub(crate) runtimes: Vec<RuntimeInfo>,
    /// Libraries that it was given.
    #[serde(skip)]
    pub(crate) libraries: Libraries,
}

impl Hello {
    /// Without control characters in any text: what a phone calls itself must not move a cursor.
    fn harmless(self) -> Result<Self, LinkError> {
        let broken = |e: serde_json::Error| LinkError::Broken(format!("its greeting cannot be kept: {e}"));
        let mut value = serde_json::to_value(self).map_err(broken)?;
        tame(&mut value);
        serde_json::from_value(value).map_err(broken)
    }
}

fn tame(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(char::is_control) => *text = text.replace(char::is_control, " "),
        Value::Array(items) => items.iter_mut().for_each(tame),
        Value::Object(fields) => fields.values_mut().for_each(tame),
        _ => {}
    }
}

/// Why an agent had to be given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// Its stdout ended.
    #[error("the agent went away")]
    Ended,
    /// Its stdout carried something else than messages.
    #[error("the agent's stdout carries {0}")]
    Garbage(#[from] FrameError),
    /// It said nothing.
    #[error("the agent was silent for {0} s")]
    Silent(u64),
    /// It did not take what was said to it.
    #[error("the agent did not read its stdin for {0} s")]
    Deaf(u64),
    /// It said something that does not belong there.
    #[error("the agent broke the protocol: {0}")]
    Broken(String),
    /// It will not work for this host.
    #[error("the agent refused: {0}")]
    Refused(String),
    /// It works, but not to an end.
    #[error("the unit took longer than all its deadlines together ({0} s)")]
    Endless(u64),
    /// The host wanted the unit to end.
    #[error("the run was interrupted, and the agent did not answer within {0} s")]
    Unstopped(u64),
    /// It speaks another version.
    #[error(
        "the agent speaks version {0} of the protocol, this host speaks {PROTOCOL_VERSION}: build it again with \
         `bench agents build`"
    )]
    Version(u32),
}

/// What became of a unit that the agent ended in good order.
#[derive(Debug)]
pub(crate) enum UnitEnd {
    /// Complete; these files have to be fetched.
    Done {
        /// As sent, and as received.
        counts: Counts,
        /// Outputs of accuracy trials on the device.
        outputs: Vec<(PathBuf, Sha256Hex)>,
    },
    /// The device failed, not a model: a pushed file is gone, its disk is full, it starts no process. What was measured
    /// does not count.
    DeviceTrouble(String),
    /// The agent would not take it.
    Refused(String),
    /// The host cancelled it.
    Cancelled,
}

/// Where the events of a unit go.
pub(crate) struct Sink<'a> {
    /// Position of the device in the plan.
    pub(crate) device: usize,
    /// Attempt of the unit.
    pub(crate) attempt: u32,
    /// To the dispatcher.
    pub(crate) events: &'a mpsc::Sender<DispatchEvent>,
}

/// An agent that answered.
pub(crate) struct Link {
    to_agent: mpsc::Sender<HostMessage>,
    from_agent: mpsc::Receiver<Result<AgentMessage, LinkError>>,
    writer: JoinHandle<()>,
    stderr: JoinHandle<String>,
    control: Box<dyn Control>,
}

impl Link {
    /// Takes over a process that was just started.
    pub(crate) fn new(process: Process) -> Self {
        let (to_agent, outgoing) = mpsc::channel(QUEUE);
        let (incoming, from_agent) = mpsc::channel(QUEUE);
        tokio::spawn(read_messages(process.stdout, incoming.clone()));
        let writer = tokio::spawn(write_messages(process.stdin, outgoing, incoming));
        let stderr = tokio::spawn(read_tail(process.stderr));
        Self { to_agent, from_agent, writer, stderr, control: process.control }
    }

    /// Exchanges greetings.
    ///
    /// # Errors
    /// The agent is to be given up.
    pub(crate) async fn greet(&mut self) -> Result<Hello, LinkError> {
        self.send(HostMessage::Hello { protocol: PROTOCOL_VERSION }).await?;
        loop {
            match self.receive(GREETING_LIMIT).await? {
                AgentMessage::Heartbeat => {}
                AgentMessage::Hello { protocol: PROTOCOL_VERSION, agent, device, runtimes } => {
                    let libraries = Libraries::default();
                    return Hello { agent, device, runtimes, libraries }.harmless();
                }
                AgentMessage::Hello { protocol, .. } => return Err(LinkError::Version(protocol)),
                AgentMessage::Refused { reason, .. } => return Err(LinkError::Refused(reason)),
                other => return Err(unexpected("a greeting", &other)),
            }
        }
    }

    /// Asks what a model file holds; the inner error is the agent's reason to refuse.
    ///
    /// # Errors
    /// The agent is to be given up.
    pub(crate) async fn inspect(
        &mut self,
        model: Artifact,
        run: Option<Observation>,
    ) -> Result<Result<ModelFacts, String>, LinkError> {
        self.send(HostMessage::Inspect { model, run }).await?;
        loop {
            match self.receive(SILENCE_LIMIT).await? {
                AgentMessage::Heartbeat => {}
                AgentMessage::Inspected { model } => return Ok(Ok(model)),
                AgentMessage::Refused { reason, .. } => return Ok(Err(reason)),
                other => return Err(unexpected("the facts of a model", &other)),
            }
        }
    }

    /// Has a unit measured, and passes its events on. `cancel` turning true ends it early.
    ///
    /// # Errors
    /// The agent is to be given up, and what it told of this unit does not count.
    pub(crate) async fn run(
        &mut self,
        unit: UnitSpec,
        cancel: &mut watch::Receiver<bool>,
        sink: &Sink<'_>,
    ) -> Result<UnitEnd, LinkError> {
        let limit = longest(&unit) + UNIT_SLACK;
        let mut check =
            Check { unit: unit.unit, received: Counts::default(), outputs: Vec::new(), trouble: None };
        self.send(HostMessage::Run { unit }).await?;
        let end = time::Instant::now() + limit;
        let mut stopping: Option<time::Instant> = None;
        loop {
            let stop_at = stopping.map_or(end, |at| at + CANCEL_LIMIT);
            let message = tokio::select! {
                message = self.receive(SILENCE_LIMIT) => message?,
                () = cancelled(cancel), if stopping.is_none() => {
                    stopping = Some(time::Instant::now());
                    self.send(HostMessage::Cancel).await?;
                    continue;
                }
                () = time::sleep_until(stop_at) => {
                    return Err(match stopping {
                        Some(_) => LinkError::Unstopped(CANCEL_LIMIT.as_secs()),
                        None => LinkError::Endless(limit.as_secs()),
                    });
                }
            };
            match check.take(message)? {
                Step::Nothing => {}
                Step::Event(seq, event) => {
                    let (device, attempt, unit) = (sink.device, sink.attempt, check.unit);
                    let event = DispatchEvent::Agent { device, unit, attempt, seq, event };
                    // the dispatcher outlives its devices; when it is gone, so is the need for events
                    if sink.events.send(event).await.is_err() {
                        return Ok(UnitEnd::Cancelled);
                    }
                }
                Step::End(_) if stopping.is_some() => return Ok(UnitEnd::Cancelled),
                Step::End(end) => return Ok(end),
            }
        }
    }

    /// Says goodbye and waits until the agent is gone; kills it when it will not go.
    pub(crate) async fn close(mut self) {
        if self.to_agent.send(HostMessage::Bye).await.is_ok() {
            drop(self.to_agent);
            let gone = timeout(BYE_LIMIT, self.control.wait()).await;
            if matches!(gone, Ok(Ok(_))) {
                return;
            }
        }
        drop(self.control);
    }

    /// Kills the agent and tells how it ended by itself; then the same with what it wrote last on stderr, for the message.
    pub(crate) async fn abandon(mut self) -> (Option<ProcessEnd>, String) {
        // one that is dying already is given the time to tell its own status
        let mut lost = None;
        let end = match timeout(Duration::from_millis(200), self.control.wait()).await {
            Ok(Ok(end)) => Some(end),
            Ok(Err(error)) => {
                lost = Some(error);
                None
            }
            Err(_) => {
                let killed: Result<Result<(), TransportError>, _> =
                    timeout(BYE_LIMIT, self.control.kill()).await;
                killed.is_err().then_some(ProcessEnd::Unknown)
            }
        };
        self.writer.abort();
        drop(self.control);
        let said = timeout(BYE_LIMIT, self.stderr).await.ok().and_then(Result::ok).unwrap_or_default();
        let mut text = end.map(|e| format!("; it {e}")).unwrap_or_default();
        if let Some(error) = lost {
            text.push_str(&format!("; {error}"));
        }
        if !said.trim().is_empty() {
            text.push_str(&format!("; it wrote: {}", said.trim()));
        }
        (end, text)
    }

    async fn send(&mut self, message: HostMessage) -> Result<(), LinkError> {
        if self.to_agent.send(message).await.is_ok() {
            return Ok(());
        }
        // the writer is gone; why, stands in the other queue
        loop {
            self.receive(SILENCE_LIMIT).await?;
        }
    }

    async fn receive(&mut self, limit: Duration) -> Result<AgentMessage, LinkError> {
        match timeout(limit, self.from_agent.recv()).await {
            Ok(Some(message)) => message,
            Ok(None) => Err(LinkError::Ended),
            Err(_) => Err(LinkError::Silent(limit.as_secs())),
        }
    }
}

async fn cancelled(cancel: &mut watch::Receiver<bool>) {
    if cancel.wait_for(|on| *on).await.is_err() {
        // nobody is left who could cancel
        std::future::pending::<()>().await;
    }
}

fn longest(unit: &UnitSpec) -> Duration {
    let deadlines = unit.trials.iter().map(|t| t.deadline_ms);
    let wait = unit.cool_down.as_ref().map_or(0, |cool_down| cool_down.wait_ms);
    // in a ping-pong unit only time at work counts against a deadline: both kinds of unit may take the sum
    Duration::from_millis(deadlines.fold(wait, u64::saturating_add))
}

fn unexpected(wanted: &str, got: &AgentMessage) -> LinkError {
    let kind = match got {
        AgentMessage::Hello { .. } => "a greeting",
        AgentMessage::Event { .. } => "an event",
        AgentMessage::UnitDone { .. } => "the end of a unit",
        AgentMessage::Inspected { .. } => "facts of a model",
        AgentMessage::Refused { .. } => "a refusal",
        AgentMessage::Heartbeat => "a heartbeat",
    };
    LinkError::Broken(format!("{wanted} was due, {kind} came"))
}

/// What a message means for the unit under way.
enum Step {
    Nothing,
    Event(u64, Box<Event>),
    End(UnitEnd),
}

/// Verifies that nothing of a unit is missing.
struct Check {
    unit: UnitId,
    received: Counts,
    outputs: Vec<(PathBuf, Sha256Hex)>,
    /// What a worker said of it.
    trouble: Option<String>,
}

impl Check {
    fn take(&mut self, message: AgentMessage) -> Result<Step, LinkError> {
        let broken = |why: String| Err(LinkError::Broken(why));
        match message {
            AgentMessage::Heartbeat => Ok(Step::Nothing),
            AgentMessage::Event { unit, seq, event } => {
                if unit != self.unit || seq != self.received.events {
                    return broken(format!(
                        "event {} of {} was due, event {seq} of {unit} came",
                        self.received.events, self.unit
                    ));
                }
                if seq >= MAX_UNIT_EVENTS {
                    return broken(format!("more than {MAX_UNIT_EVENTS} events in {unit}"));
                }
                self.count(&event);
                Ok(Step::Event(seq, Box::new(event)))
            }
            AgentMessage::UnitDone { unit, counts } => {
                if unit != self.unit || counts != self.received {
                    return broken(format!(
                        "it says {counts:?} of {unit}, received were {:?}",
                        self.received
                    ));
                }
                let outputs = std::mem::take(&mut self.outputs);
                Ok(Step::End(match self.trouble.take() {
                    Some(reason) => UnitEnd::DeviceTrouble(reason),
                    None => UnitEnd::Done { counts, outputs },
                }))
            }
            AgentMessage::Refused { reason, .. } => Ok(Step::End(UnitEnd::Refused(reason))),
            other @ (AgentMessage::Hello { .. } | AgentMessage::Inspected { .. }) => {
                Err(unexpected("an event", &other))
            }
        }
    }

    fn count(&mut self, event: &Event) {
        self.received.events += 1;
        match event {
            Event::TrialFinished { outcome, .. } => {
                self.received.trials = self.received.trials.saturating_add(1);
                if let Outcome::Failed { kind: FailKind::HashMismatch | FailKind::Io, message } = outcome {
                    self.trouble.get_or_insert_with(|| message.clone());
                }
            }
            Event::Samples { samples, .. } => self.received.samples += samples.wall_ns.len() as u64,
            Event::Outputs { path, sha256, .. } => self.outputs.push((path.clone(), sha256.clone())),
            _ => {}
        }
    }
}

async fn read_messages(
    mut stdout: Box<dyn AsyncRead + Send + Unpin>,
    to: mpsc::Sender<Result<AgentMessage, LinkError>>,
) {
    let mut lines = LineBuffer::default();
    let mut chunk = vec![0u8; CHUNK_BYTES];
    loop {
        let last = match stdout.read(&mut chunk).await {
            Ok(0) => lines.finish().err().map_or(LinkError::Ended, LinkError::Garbage),
            Ok(n) => {
                lines.extend(chunk.get(..n).unwrap_or_default());
                match pass_on(&mut lines, &to).await {
                    Ok(()) => continue,
                    Err(error) => error,
                }
            }
            Err(e) => LinkError::Garbage(e.into()),
        };
        // nobody listens any more when this fails
        to.send(Err(last)).await.ok();
        return;
    }
}

async fn pass_on(
    lines: &mut LineBuffer,
    to: &mpsc::Sender<Result<AgentMessage, LinkError>>,
) -> Result<(), LinkError> {
    while let Some(message) = lines.next_message::<AgentMessage>()? {
        to.send(Ok(message)).await.map_err(|_| LinkError::Ended)?;
    }
    Ok(())
}

async fn write_messages(
    mut stdin: Box<dyn AsyncWrite + Send + Unpin>,
    mut from: mpsc::Receiver<HostMessage>,
    errors: mpsc::Sender<Result<AgentMessage, LinkError>>,
) {
    let mut ping = time::interval(Duration::from_millis(PING_INTERVAL_MS));
    ping.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    ping.tick().await;
    loop {
        let message = tokio::select! {
            biased;
            message = from.recv() => match message {
                Some(message) => message,
                None => return,
            },
            _ = ping.tick() => HostMessage::Ping,
        };
        if let Err(error) = write_message(&mut stdin, &message).await {
            // nobody listens any more when this fails
            errors.send(Err(error)).await.ok();
            return;
        }
    }
}

async fn write_message(
    stdin: &mut Box<dyn AsyncWrite + Send + Unpin>,
    message: &HostMessage,
) -> Result<(), LinkError> {
    let line = encode(message)?;
    let written = timeout(WRITE_LIMIT, async {
        stdin.write_all(&line).await?;
        stdin.flush().await
    });
    match written.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(LinkError::Ended),
        Err(_) => Err(LinkError::Deaf(WRITE_LIMIT.as_secs())),
    }
}

/// Reads to the end, however much it is, and keeps the last of it.
async fn read_tail(mut stderr: Box<dyn AsyncRead + Send + Unpin>) -> String {
    let mut tail: Vec<u8> = Vec::new();
    let mut chunk = vec![0u8; STDERR_BYTES];
    while let Ok(n) = stderr.read(&mut chunk).await {
        if n == 0 {
            break;
        }
        tail.extend_from_slice(chunk.get(..n).unwrap_or_default());
        let surplus = tail.len().saturating_sub(STDERR_BYTES);
        tail.drain(..surplus);
    }
    String::from_utf8_lossy(&tail)
        .chars()
        .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{CoolDown, Schedule};

    #[test]
    fn a_unit_may_take_its_wait_for_a_cool_device_too() {
        let wish = CoolDown { below_milli_celsius: 45_000, wait_ms: 120_000, zone: None };
        let cool_down = Some(wish);
        let unit =
            UnitSpec { unit: UnitId(0), seed: 0, schedule: Schedule::Alone, cool_down, trials: vec![] };
        assert_eq!(longest(&unit), Duration::from_secs(120));
        assert_eq!(longest(&UnitSpec { cool_down: None, ..unit }), Duration::ZERO);
    }
}
