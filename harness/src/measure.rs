//! From a selection to a finished record: devices made ready, the plan drawn and written, units measured, the
//! end noted. Judges nothing and renders nothing.

use crate::{
    canaries,
    devices::{Device, Registry},
    dispatch::{Agenda, Dispatcher, Ended, Hand, Identity, Remedy, Trouble, device_entry},
    exit::{CommandResult, ExitWith, Failure},
    interrupt::Interrupts,
    libraries::{Shelf, Wish},
    link::Hello,
    plan::{self, PlannedUnit},
    progress::{Progress, say},
    rule::rule,
    selection::{Selection, shown_path},
    session::{Greeting, Session},
    settings::Settings,
    unknown::unknown,
};
use anyhow::Context;
use protocol::{CaseIndex, Contrast, Format, ModelFacts, RuntimeId, Sha256Hex, Sharing, UnitId};
use reports::{
    record::{
        Canaries, Canary, CaseLibrary, CasePlan, DevicePlan, DeviceRecord, Entry, Measuring, Plan, Purpose,
        RECORD_SCHEMA, UnitRecord,
    },
    store::{self, Resumed, RunWriter},
};
use stats::sequential::MIN_UNITS;
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    time::Duration,
};
use suites::Side;

/// What came out.
#[derive(Debug)]
pub(crate) struct Measured {
    /// The run's directory.
    pub(crate) dir: PathBuf,
    /// Something was measured, now or in an earlier session.
    pub(crate) any_units: bool,
    /// How it ended.
    pub(crate) ended: Ended,
    /// Ids of the devices, by position.
    pub(crate) devices: Vec<String>,
}

/// A number that nobody chose.
pub(crate) fn random_seed() -> u64 {
    // the standard library's only source of randomness; short, so that people can type it
    RandomState::new().hash_one(0u8) >> 32
}

/// Measures a selection from the start.
///
/// # Errors
/// No device is ready, nothing can be read, the record cannot be written, or the user interrupted before
/// anything was measured.
pub(crate) async fn start(
    selection: &Selection,
    settings: &Settings,
    seed: u64,
    progress: &mut Progress,
    interrupts: Interrupts,
) -> CommandResult<Measured> {
    let registry = Registry::read(settings)?;
    let devices = registry.open_all(registry.choose(&settings.devices).await?)?;
    start_on(devices, selection, settings, seed, progress, interrupts).await
}

/// As [`start`], on devices that are chosen already.
///
/// # Errors
/// As [`start`].
pub(crate) async fn start_on(
    chosen: Vec<Device>,
    selection: &Selection,
    settings: &Settings,
    seed: u64,
    progress: &mut Progress,
    interrupts: Interrupts,
) -> CommandResult<Measured> {
    let devices: Vec<DevicePlan> = chosen.iter().map(|device| device.known.plan()).collect();
    let wish = Wish { shelf: Shelf::new(&settings.cache), runtimes: Some(selection.runtimes.clone()) };
    let mut session = open(chosen, selection, &wish, settings, progress, interrupts)?;
    let greetings = session.greet(progress).await?;
    let ready = all_ready(&greetings, &devices)?;
    check_runtimes(selection, &greetings, &devices)?;
    tell_libraries(selection, &greetings, &devices, progress);
    let models: Vec<Sha256Hex> = selection.entrants.iter().map(|e| e.file.sha256.clone()).collect();
    let facts = session.inspect(&ready, &models, None, progress).await?;
    for (entrant, reason) in
        selection.entrants.iter().filter_map(|e| Some((e, facts.get(&e.file.sha256)?.as_ref().err()?)))
    {
        progress.note(&format!("{}: {reason}", entrant.id));
    }
    let mut plan = draw(selection, devices, &facts, &greetings, seed, progress);
    canaries::remember(&mut plan, &settings.out);
    let created = RunWriter::create(&settings.out, &plan);
    let mut writer = match created {
        Err(error) if is_full(&error) => Err(error).or_incomplete(),
        other => {
            other.with_context(|| format!("the run cannot be kept in {}", settings.out.display())).or_usage()
        }
    }?;
    write_start(&mut writer, &plan, &greetings, &facts).or_incomplete()?;
    let begun = Begun { plan, writer, done: BTreeSet::new(), attempts: BTreeMap::new(), record: None };
    go_on(selection, begun, greetings, session, progress).await
}

/// Takes up a run that was cut off.
///
/// # Errors
/// As [`start`]; also when models or data have changed.
pub(crate) async fn resume(
    dir: &std::path::Path,
    selection: &Selection,
    settings: &Settings,
    progress: &mut Progress,
    interrupts: Interrupts,
) -> CommandResult<Measured> {
    let (mut writer, resumed) = RunWriter::reopen(dir).or_usage()?;
    let Resumed { plan, done, next_attempt, inspected, .. } = resumed;
    let registry = Registry::read(settings)?;
    let devices = registry.open_all(registry.again(&plan.devices)?)?;
    let wish = Wish { shelf: Shelf::new(&settings.cache), runtimes: Some(libraries_of(&plan)) };
    let mut session = open(devices, selection, &wish, settings, progress, interrupts)?;
    let mut greetings = session.greet(progress).await?;
    let record = store::load(dir).or_usage()?;
    for (greeting, earlier) in greetings.iter_mut().zip(&record.devices) {
        refuse_another(greeting, earlier.as_ref());
    }
    let ready = all_ready(&greetings, &plan.devices)?;
    for (device, greeting) in greetings.iter().enumerate() {
        if let Ok((hello, _)) = greeting {
            writer.append(&device_entry(device, hello)).or_incomplete()?;
        }
    }
    let missing: Vec<CaseIndex> =
        (0..plan.cases.len()).filter(|c| inspected.get(*c) != Some(&true)).collect();
    let models: Vec<Sha256Hex> =
        missing.iter().filter_map(|c| plan.cases.get(*c)).map(|c| c.model_sha256.clone()).collect();
    let facts = session.inspect(&ready, &models, None, progress).await?;
    write_facts(&mut writer, &plan, &missing, &facts).or_incomplete()?;
    progress.plan(&plan, &done.iter().map(|d| (d.device, d.purpose)).collect::<Vec<_>>());
    let done = done.iter().map(|d| d.unit).collect();
    let begun = Begun { plan, writer, done, attempts: next_attempt, record: Some(record) };
    go_on(selection, begun, greetings, session, progress).await
}

/// The runtimes of a plan, each with the version that was planned; at least the built-in one.
fn libraries_of(plan: &Plan) -> Vec<RuntimeId> {
    let pinned = |case: &CasePlan| match &case.library {
        Some(library) => RuntimeId { version: Some(library.version.clone()), ..case.runtime.clone() },
        None => RuntimeId::builtin(),
    };
    plan.cases.iter().map(pinned).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Says what a device cannot load, and how there could be more runtimes.
fn tell_libraries(
    selection: &Selection,
    greetings: &[Greeting],
    devices: &[DevicePlan],
    progress: &mut Progress,
) {
    let mut any = !selection.runtimes.is_empty();
    for (device, greeting) in devices.iter().zip(greetings) {
        let Ok((hello, _)) = greeting else { continue };
        any |= !hello.libraries.provided.is_empty() || !hello.libraries.notes.is_empty();
        hello.libraries.notes.iter().for_each(|note| progress.note(&format!("{}: {note}", device.id)));
    }
    if !any {
        progress.note(
            "measured on the built-in engine alone: `bench runtimes fetch` brings LiteRT and ONNX Runtime",
        );
    }
}

/// Turns the greeting of a device or an agent that is not the one that was measured before into trouble.
fn refuse_another(greeting: &mut Greeting, earlier: Option<&DeviceRecord>) {
    let Some(earlier) = earlier.map(|e| Identity::new(&e.agent, &e.info)) else { return };
    if let Ok((hello, _)) = greeting
        && let Some(reason) = earlier.change(&Identity::of(hello))
    {
        *greeting = Err(Trouble { reason, remedy: Remedy::Setting });
    }
}

/// A record that is open for writing, and where it stands.
struct Begun {
    plan: Plan,
    writer: RunWriter,
    done: BTreeSet<UnitId>,
    attempts: BTreeMap<UnitId, u32>,
    record: Option<reports::record::RunRecord>,
}

fn open(
    devices: Vec<Device>,
    selection: &Selection,
    wish: &Wish,
    settings: &Settings,
    progress: &mut Progress,
    interrupts: Interrupts,
) -> CommandResult<Session> {
    progress.devices(&devices.iter().map(|device| device.known.id.clone()).collect::<Vec<_>>());
    Session::start(devices, &selection.files(), wish, settings, interrupts)
}

/// None of the devices can be used.
#[derive(Debug, thiserror::Error)]
#[error("no device is ready; {}", shown(.reasons))]
pub(crate) struct NoDevice {
    /// Id and reason of each.
    pub(crate) reasons: Vec<(String, String)>,
}

fn shown(reasons: &[(String, String)]) -> String {
    reasons.iter().map(|(id, reason)| format!("{id}: {reason}")).collect::<Vec<_>>().join("; ")
}

/// Those that can be used; at least one.
fn all_ready(greetings: &[Greeting], devices: &[DevicePlan]) -> CommandResult<Vec<usize>> {
    let ready: Vec<usize> = (0..).zip(greetings).filter(|(_, g)| g.is_ok()).map(|(at, _)| at).collect();
    if !ready.is_empty() {
        return Ok(ready);
    }
    let reasons = devices
        .iter()
        .zip(greetings)
        .filter_map(|(device, greeting)| Some((device.id.clone(), greeting.as_ref().err()?.reason.clone())))
        .collect();
    let error = NoDevice { reasons };
    let setting = |g: &Greeting| g.as_ref().is_err_and(|trouble| trouble.remedy == Remedy::Setting);
    if greetings.iter().all(setting) { Err(error).or_usage() } else { Err(error).or_incomplete() }
}

/// Every runtime asked for must be offered by every device that is ready, and open some variant.
fn check_runtimes(
    selection: &Selection,
    greetings: &[Greeting],
    devices: &[DevicePlan],
) -> CommandResult<()> {
    for (device, greeting) in devices.iter().zip(greetings) {
        let Ok((hello, _)) = greeting else { continue };
        let offered: Vec<String> = hello
            .runtimes
            .iter()
            .flat_map(|r| r.backends.iter().map(move |backend| format!("{}/{backend}", r.runtime)))
            .collect();
        for asked in &selection.runtimes {
            let runtime = RuntimeId { version: None, ..asked.clone() }.to_string();
            if !offered.contains(&runtime) {
                let known: Vec<&str> = offered.iter().map(String::as_str).collect();
                return Err(Failure::usage(format!(
                    "on the device {}, {}",
                    device.id,
                    unknown("runtime", &runtime, &known)
                )));
            }
            let opens = on_device(hello, asked);
            if !selection.entrants.iter().any(|entrant| opens.opens(entrant.format)) {
                return Err(Failure::usage(format!(
                    "{asked} opens {} alone, and no variant is of that format",
                    opens.formats.iter().map(|f| format!(".{}", f.name())).collect::<Vec<_>>().join(" and ")
                )));
            }
        }
    }
    Ok(())
}

/// A runtime on a device.
struct OnDevice {
    id: RuntimeId,
    library: Option<CaseLibrary>,
    /// Formats of files that it opens; empty: any.
    formats: Vec<Format>,
}

impl OnDevice {
    fn opens(&self, format: Format) -> bool {
        self.formats.is_empty() || self.formats.contains(&format)
    }
}

fn on_device(hello: &Hello, id: &RuntimeId) -> OnDevice {
    let provided = hello.libraries.provided.iter().find(|one| one.runtime == *id);
    let info = hello.runtimes.iter().find(|info| info.runtime == id.runtime);
    OnDevice {
        id: id.clone(),
        library: provided.map(|one| one.library.clone()),
        formats: info.map(|info| info.formats.clone()).unwrap_or_default(),
    }
}

/// What was asked for; else the built-in one and those that the device was given a library for.
fn runtimes_of(selection: &Selection, greeting: &Greeting) -> Vec<OnDevice> {
    let found = match greeting {
        Ok((hello, _)) => {
            let known = |id: &&RuntimeId| hello.runtimes.iter().any(|info| info.runtime == id.runtime);
            let libraries = hello.libraries.provided.iter().map(|one| &one.runtime).filter(known);
            [RuntimeId::builtin()].iter().chain(libraries).cloned().collect()
        }
        Err(_) => vec![RuntimeId::builtin()],
    };
    let asked = if selection.runtimes.is_empty() { &found } else { &selection.runtimes };
    let there = |id: &RuntimeId| match greeting {
        Ok((hello, _)) => on_device(hello, id),
        Err(_) => OnDevice { id: id.clone(), library: None, formats: Vec::new() },
    };
    asked.iter().map(there).collect()
}

/// A full disk is trouble; every other reason that a run cannot be begun is a setting.
fn is_full(error: &store::StoreError) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let store::StoreError::Io { source, .. } = error else { return false };
    matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

type Facts = BTreeMap<Sha256Hex, Result<ModelFacts, String>>;

/// Every variant on every runtime that opens it, on every device, and which is compared with which.
fn cases_and_contrasts(
    selection: &Selection,
    greetings: &[Greeting],
    facts: &Facts,
) -> (Vec<CasePlan>, Vec<Contrast>) {
    let mut cases = Vec::new();
    let mut contrasts = Vec::new();
    for (device, greeting) in greetings.iter().enumerate() {
        let offset = cases.len();
        let mut sides = Vec::new();
        for runtime in runtimes_of(selection, greeting) {
            let opened = selection.entrants.iter().enumerate().filter(|(_, e)| runtime.opens(e.format));
            for (variant, entrant) in opened {
                let found = facts.get(&entrant.file.sha256).and_then(|f| f.as_ref().ok());
                let precision = found.map(|f| f.precision).or(entrant.declared);
                let (format, reference) = (entrant.format, entrant.reference);
                sides.push(Side { variant, reference, runtime: runtime.id.clone(), format, precision });
                cases.push(CasePlan {
                    variant: entrant.id.clone(),
                    library: runtime.library.clone(),
                    options: selection.options.get(&runtime.id).cloned().unwrap_or_default(),
                    runtime: runtime.id.clone(),
                    device,
                    threads: selection.threads,
                    model_path: shown_path(&entrant.file),
                    model_sha256: entrant.file.sha256.clone(),
                    model_bytes: entrant.file.bytes,
                    slowdown_permille: entrant.slowdown_permille,
                });
            }
        }
        let here = suites::contrasts(&sides, &selection.kinds);
        contrasts.extend(here.into_iter().map(|c| Contrast {
            kind: c.kind,
            candidate: c.candidate + offset,
            reference: c.reference + offset,
        }));
    }
    (cases, contrasts)
}

/// Adds canaries where there is room: they neither shorten what was asked for nor crowd a device.
fn watch(
    selection: &Selection,
    (cases, groups, contrasts): (&mut Vec<CasePlan>, &mut Vec<Vec<CaseIndex>>, &[Contrast]),
    memory: &[Option<u64>],
    (devices, greetings): (&[DevicePlan], &[Greeting]),
    progress: &mut Progress,
) -> Vec<Canary> {
    let asked = (cases.len(), groups.len());
    let margin = selection.suite.margin_of("latency_ns");
    let pinned = selection.pinned.as_ref();
    let opens = |case: &CasePlan| {
        let greeting = greetings.get(case.device).and_then(|greeting| greeting.as_ref().ok());
        greeting
            .zip(pinned)
            .is_some_and(|((hello, _), pinned)| on_device(hello, &case.runtime).opens(pinned.format))
    };
    let opened: Vec<bool> = cases.iter().map(opens).collect();
    let pinned = pinned.map(|pinned| (pinned, opened.as_slice()));
    let (of, without) = canaries::add(cases, groups, contrasts, margin, memory, pinned);
    for device in without.into_iter().filter_map(|device| devices.get(device)) {
        progress.note(&format!("{}: no canaries, its memory has no room for them", device.id));
    }
    if !plan::fit(&mut selection.measure.performance(), cases, groups, selection.budget) {
        return of;
    }
    progress.note("no canaries: the time budget has no room for them");
    cases.truncate(asked.0);
    groups.truncate(asked.1);
    Vec::new()
}

fn draw(
    selection: &Selection,
    devices: Vec<DevicePlan>,
    facts: &Facts,
    greetings: &[Greeting],
    seed: u64,
    progress: &mut Progress,
) -> Plan {
    let (mut cases, mut contrasts) = cases_and_contrasts(selection, greetings, facts);
    if selection.profiles_only {
        contrasts.clear();
    }
    for runtime in selection.options.keys().filter(|runtime| !cases.iter().any(|c| c.runtime == **runtime)) {
        say(&format!("the options of {runtime} are without effect: nothing runs on it"));
    }
    let memory: Vec<Option<u64>> = greetings
        .iter()
        .map(|g| g.as_ref().ok().map(|(hello, _)| hello.device.memory_bytes).filter(|bytes| *bytes > 0))
        .collect();
    let drawn = plan::groups(&cases, &contrasts, &memory, selection.together, selection.schedule, seed);
    let drawn = if selection.profiles_only { Vec::new() } else { drawn };
    let (mut groups, mut schedules): (Vec<_>, Vec<_>) = drawn.into_iter().unzip();
    let pairs = schedules.contains(&Sharing::Pairs);
    if selection.schedule.is_none() && pairs {
        progress
            .note("some models do not fit into the memory of a device together: one process after the other");
    }
    let mut performance = selection.measure.performance();
    let watched = selection.canaries && selection.suite.max_units as usize >= MIN_UNITS;
    let of = if watched {
        // one after the other they need no room
        let memory = if pairs { &[][..] } else { &memory };
        watch(selection, (&mut cases, &mut groups, &contrasts), memory, (&devices, greetings), progress)
    } else {
        Vec::new()
    };
    // canaries are measured as the rest is
    schedules.resize(groups.len(), if pairs { Sharing::Pairs } else { Sharing::PingPong });
    if !pairs {
        schedules.clear();
    }
    if plan::fit(&mut performance, &cases, &groups, selection.budget) {
        progress.note(&format!(
            "steady state is cut to {} ms per variant and unit, so that six units fit the time budget",
            performance.min_ms
        ));
    }
    let canaries = (!of.is_empty()).then(|| Canaries { performance: canaries::short(&performance), of });
    let performance_deadline_ms = plan::performance_deadline_ms(&performance);
    let accuracy_deadline_ms = plan::accuracy_deadline_ms(selection.dataset.examples, selection.budget);
    let now = jiff::Timestamp::now();
    let plan = Plan {
        schema: RECORD_SCHEMA,
        run: format!("{}-{:04x}", now.strftime("%Y%m%d-%H%M%S"), random_seed() & 0xffff),
        created: now.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        seed,
        subject: selection.subject.clone(),
        suite: selection.suite.clone(),
        dataset: selection.dataset.clone(),
        devices,
        cases,
        contrasts,
        measuring: Measuring {
            performance,
            ping_pong: selection.measure.ping_pong(),
            groups,
            schedules,
            performance_deadline_ms,
            accuracy_deadline_ms,
            time_budget_ms: selection.budget.and_then(|all| u64::try_from(all.as_millis()).ok()),
            profiles: selection.profiles_only || !selection.costs_only,
            costs_only: selection.costs_only,
        },
        canaries,
    };
    progress.plan(&plan, &[]);
    plan
}

fn write_start(
    writer: &mut RunWriter,
    plan: &Plan,
    greetings: &[Greeting],
    facts: &Facts,
) -> Result<(), store::StoreError> {
    for (device, greeting) in greetings.iter().enumerate() {
        match greeting {
            Ok((hello, _)) => writer.append(&device_entry(device, hello))?,
            Err(trouble) => writer.append(&Entry::DeviceLost { device, reason: trouble.reason.clone() })?,
        }
    }
    write_facts(writer, plan, &(0..plan.cases.len()).collect::<Vec<_>>(), facts)
}

fn write_facts(
    writer: &mut RunWriter,
    plan: &Plan,
    cases: &[CaseIndex],
    facts: &Facts,
) -> Result<(), store::StoreError> {
    for case in cases {
        let hash = plan.cases.get(*case).map(|c| &c.model_sha256);
        if let Some(Ok(facts)) = hash.and_then(|hash| facts.get(hash)) {
            writer.append(&Entry::Inspected { case: *case, facts: facts.clone() })?;
        }
    }
    Ok(())
}

async fn go_on(
    selection: &Selection,
    begun: Begun,
    greetings: Vec<Greeting>,
    session: Session,
    progress: &mut Progress,
) -> CommandResult<Measured> {
    let Begun { plan, writer, done, attempts, record } = begun;
    let dir = writer.dir().to_owned();
    let mut ended_before = Ended::default();
    let mut by_device: BTreeMap<usize, Vec<PlannedUnit>> = BTreeMap::new();
    for unit in plan::units(&plan) {
        by_device.entry(unit.device).or_default().push(unit);
    }
    let budget = plan.measuring.time_budget_ms.map(Duration::from_millis);
    let mut hands = Vec::new();
    for (device, greeting) in greetings.into_iter().enumerate() {
        hands.push(match greeting {
            Ok((hello, places)) => {
                let units = by_device.remove(&device).unwrap_or_default();
                let mut agenda = Agenda::new(units, &done, attempts.clone(), budget);
                let counts = |u: &&UnitRecord| u.device == device && u.purpose != Purpose::Profile;
                let earlier = record.iter().flat_map(|r| &r.units).filter(counts);
                for trial in earlier.flat_map(|unit| &unit.trials) {
                    agenda.judge(trial.case, &trial.outcome);
                }
                Some(Hand::new(agenda, places, Identity::of(&hello)))
            }
            Err(trouble) => {
                ended_before.lost.push((device, trouble.reason));
                None
            }
        });
    }
    let (fleet, parting) = session.part();
    let dispatcher =
        Dispatcher { plan: &plan, feed: &selection.feed, writer, rule: rule(), progress, hands, fleet };
    let (mut writer, mut ended) = dispatcher.run().await;
    ended.lost.extend(ended_before.lost);
    if ended.is_whole() {
        let reason = if ended.reasons.is_empty() {
            "nothing was left to measure".to_owned()
        } else {
            ended.reasons.join("; ")
        };
        let finished = Entry::Finished { at: jiff::Timestamp::now().to_string(), reason };
        if let Err(error) = writer.append(&finished) {
            ended.record_failed = Some(error.to_string());
        }
    }
    drop(writer);
    if ended.cut {
        parting.cut().await
    } else {
        parting.wait().await
    }
    let devices = plan.devices.iter().map(|device| device.id.clone()).collect();
    Ok(Measured { dir, any_units: ended.units > 0 || !done.is_empty(), ended, devices })
}
