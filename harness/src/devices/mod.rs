//! Which devices there are, and which of them are meant: those written down in `devices.toml`, those that a
//! transport finds by itself, and those named by transport and address. Opens them; asks them nothing.
//!
//! `DEVICES.md` beside this crate is for people: the file, and how to choose.

mod expression;
mod file;

use crate::{
    exit::{CommandResult, Failure},
    settings::Settings,
    transport::{Found, Guarded, Kind, Options, Reach, TRANSPORTS},
    unknown::unknown,
    values::Size,
};
use datasets::did_you_mean;
use expression::{Candidate, Expression};
use protocol::{CoolDown, DeviceInfo};
use reports::record::DevicePlan;
use std::{env, ffi::OsString, fs, time::Duration};
use tokio::{task::JoinSet, time::timeout};

/// A transport that has not found its devices within this time finds none: a server that hangs hides nothing
/// but its own devices.
const DISCOVERY_LIMIT: Duration = Duration::from_secs(5);

/// Longest id or tag.
const MAX_NAME: usize = 64;

/// Words with a meaning of their own where devices are named.
const RESERVED: &[&str] = &["all", "and", "or", "not", "check", "clean", "connect", "disconnect", "pair"];

/// What is done to a device for the sake of steady numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Treatment {
    /// Cores to measure on; empty: all.
    pub(crate) cores: Vec<u32>,
    /// Android's fixed-performance mode.
    pub(crate) fixed_performance: bool,
    /// What to wait for before a unit begins.
    pub(crate) cool_down: Option<CoolDown>,
}

impl Treatment {
    /// What an agent is told of it when it is started; the rest is told with every unit.
    pub(crate) fn args(&self) -> Vec<OsString> {
        let mut args = Vec::new();
        if !self.cores.is_empty() {
            let cores: Vec<String> = self.cores.iter().map(ToString::to_string).collect();
            args.extend(["--cores".into(), cores.join(",").into()]);
        }
        if self.fixed_performance {
            args.push("--fixed-performance".into());
        }
        args
    }

    /// Why a device cannot be treated so, as far as it says itself; its agent looks at the cores.
    pub(crate) fn misfit(&self, device: &DeviceInfo) -> Option<String> {
        let zone = self.cool_down.as_ref()?.zone.as_deref()?;
        let known: Vec<&str> = device.thermal_zones.iter().map(String::as_str).collect();
        (!known.contains(&zone)).then(|| format!("cool-down: {}", unknown("thermal zone", zone, &known)))
    }
}

/// A device that can be chosen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Known {
    /// The id used everywhere: a word that can be part of a file name.
    pub(crate) id: String,
    /// Name of its transport.
    pub(crate) transport: &'static str,
    /// How it is reached.
    pub(crate) reach: Reach,
    /// To choose several at once.
    pub(crate) tags: Vec<String>,
    /// Instruction set of its agent, where the probed one is not to be used.
    pub(crate) agent: Option<String>,
    /// What is done to it.
    pub(crate) treatment: Treatment,
    /// Most bytes of pushed files, where it is not the setting's.
    pub(crate) cache_limit: Option<Size>,
    /// What is known without asking it.
    pub(crate) about: String,
    /// `Err`: it is there and cannot be used; the state, and what to do about it.
    pub(crate) state: Result<(), String>,
}

impl Known {
    /// A device named by its transport and its address only.
    pub(crate) fn said(kind: &Kind, address: &str) -> Self {
        Self {
            id: derived_id(kind.name, address),
            transport: kind.name,
            reach: Reach { address: address.to_owned(), ..Reach::default() },
            tags: Vec::new(),
            agent: None,
            treatment: Treatment::default(),
            cache_limit: None,
            about: String::new(),
            state: Ok(()),
        }
    }

    /// A device that another host has: it can be chosen, and not be opened.
    pub(crate) fn announced(id: &str, transport: &str, tags: &[String]) -> Self {
        let transport =
            TRANSPORTS.iter().find(|kind| kind.name == transport).map_or("remote", |kind| kind.name);
        Self {
            id: id.to_owned(),
            transport,
            reach: Reach { address: id.to_owned(), ..Reach::default() },
            tags: tags.to_vec(),
            agent: None,
            treatment: Treatment::default(),
            cache_limit: None,
            about: String::new(),
            state: Ok(()),
        }
    }

    fn found(kind: &Kind, found: Found) -> Self {
        Self { about: found.about, state: found.state, ..Self::said(kind, &found.address) }
    }

    fn is_at(&self, transport: &str, address: &str) -> bool {
        self.transport == transport && self.reach.address == address
    }

    /// As the record keeps it.
    pub(crate) fn plan(&self) -> DevicePlan {
        DevicePlan {
            id: self.id.clone(),
            transport: self.transport.to_owned(),
            address: self.reach.address.clone(),
            tags: self.tags.clone(),
            cores: self.treatment.cores.clone(),
            fixed_performance: self.treatment.fixed_performance,
            cool_down: self.treatment.cool_down.clone(),
        }
    }
}

impl Candidate for Known {
    fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|t| t == tag)
    }

    fn is_called(&self, name: &str) -> bool {
        let by_address = || name.split_once(':').is_some_and(|(kind, address)| self.is_at(kind, address));
        self.id == name || self.transport == name || by_address()
    }
}

/// The devices there are.
pub(crate) struct Registry {
    kinds: &'static [Kind],
    options: Options,
    cache_limit: Size,
    /// From the file, and this machine.
    written: Vec<Known>,
}

/// Devices, and what kept others from being found.
#[derive(Debug)]
pub(crate) struct Listing {
    /// In the order of the file, then as found.
    pub(crate) devices: Vec<Known>,
    /// One sentence per transport that could not look for devices.
    pub(crate) notes: Vec<String>,
}

impl Registry {
    /// Reads the devices file, where there is one.
    ///
    /// # Errors
    /// Names the file, the line and the key.
    pub(crate) fn read(settings: &Settings) -> CommandResult<Self> {
        let here = || env::current_dir().ok();
        let path = settings.devices_file.clone().or_else(|| file::find(&here()?));
        let written = path.map_or_else(|| Ok(Vec::new()), |path| file::read(&path, TRANSPORTS))?;
        Ok(Self::new(TRANSPORTS, written, settings.options(), settings.cache_limit))
    }

    /// Without a devices file: for what only needs this machine.
    pub(crate) fn bare(settings: &Settings) -> Self {
        Self::new(TRANSPORTS, Vec::new(), settings.options(), settings.cache_limit)
    }

    /// Of devices that other hosts have, and no others.
    pub(crate) fn of_announced(devices: Vec<Known>, settings: &Settings) -> Self {
        Self::new(&[], devices, settings.options(), settings.cache_limit)
    }

    /// The device of devices.toml with this id.
    pub(crate) fn written_as(&self, id: &str) -> Option<&Known> {
        self.written.iter().find(|known| known.id == id)
    }

    /// How many devices are written down, this machine included.
    pub(crate) fn written(&self) -> usize {
        self.written.len()
    }

    fn new(kinds: &'static [Kind], mut written: Vec<Known>, options: Options, cache_limit: Size) -> Self {
        let known = |written: &[Known], kind: &Kind| written.iter().any(|known| known.is_at(kind.name, ""));
        let listed = kinds.iter().filter(|kind| kind.listed && is_one_place(kind, &options));
        for kind in listed {
            if !known(&written, kind) {
                written.insert(0, Known::said(kind, ""));
            }
        }
        Self { kinds, options, cache_limit, written }
    }

    /// Every device that is written down or can be found.
    pub(crate) async fn list(&self) -> Listing {
        let mut devices = self.written.clone();
        let mut notes = Vec::new();
        for (kind, found) in self.discover().await {
            match found {
                Err(why) => notes.push(format!("{}: {why}", kind.name)),
                Ok(found) => found.into_iter().for_each(|one| add(&mut devices, Known::found(kind, one))),
            }
        }
        Listing { devices, notes }
    }

    /// The devices that are meant, each once, in the order in which they are named.
    ///
    /// # Errors
    /// A mistake in the words, a name nobody has (with the nearest one), or words that choose nothing.
    pub(crate) async fn choose(&self, asked: &[String]) -> CommandResult<Vec<Known>> {
        let asked: Vec<(&str, Expression)> = asked
            .iter()
            .map(|text| Ok((text.as_str(), text.parse().map_err(Failure::usage)?)))
            .collect::<CommandResult<_>>()?;
        let mut listing = Listing { devices: self.written.clone(), notes: Vec::new() };
        if asked.iter().any(|(_, expression)| self.needs_discovery(expression)) {
            listing = self.list().await;
        }
        for (_, expression) in &asked {
            for name in names(expression) {
                self.resolve(name, &mut listing)?;
            }
        }
        let mut chosen: Vec<Known> = Vec::new();
        for (text, expression) in asked {
            let mut any = false;
            for device in listing.devices.iter().filter(|device| expression.chooses(*device)) {
                any = true;
                if !chosen.iter().any(|other| other.id == device.id) {
                    chosen.push(device.clone());
                }
            }
            if !any {
                return Err(nothing(text, &expression, &listing));
            }
        }
        Ok(chosen)
    }

    /// The devices of a plan: reached as they are written down now under the same id, else as they were then;
    /// treated as they were then, because the record is one.
    ///
    /// # Errors
    /// A device whose transport nobody knows.
    pub(crate) fn again(&self, plan: &[DevicePlan]) -> CommandResult<Vec<Known>> {
        let one = |planned: &DevicePlan| {
            let treatment = Treatment {
                cores: planned.cores.clone(),
                fixed_performance: planned.fixed_performance,
                cool_down: planned.cool_down.clone(),
            };
            if let Some(known) = self.written_as(&planned.id) {
                return Ok(Known { treatment, ..known.clone() });
            }
            let kind = self.kind(&planned.transport).ok_or_else(|| {
                let names: Vec<&str> = self.kinds.iter().map(|k| k.name).collect();
                Failure::usage(unknown("transport", &planned.transport, &names))
            })?;
            Ok(Known { id: planned.id.clone(), treatment, ..Known::said(kind, &planned.address) })
        };
        plan.iter().map(one).collect()
    }

    /// Opens a device; nothing is connected yet.
    ///
    /// # Errors
    /// Its address makes no sense to its transport, or the key to log in with is not there.
    pub(crate) fn open(&self, known: Known) -> Result<Device, String> {
        let kind = self.kind(known.transport).ok_or_else(|| format!("no transport {}", known.transport))?;
        if let Some(key) = &known.reach.identity {
            fs::metadata(key).map_err(|e| format!("identity: {}: {e}", key.display()))?;
        }
        let transport = (kind.open)(&known.reach, &self.options)?;
        let cache_limit = known.cache_limit.unwrap_or(self.cache_limit).0;
        Ok(Device { way: Guarded::new(transport), cache_limit, known })
    }

    /// Opens them all.
    ///
    /// # Errors
    /// As [`Registry::open`]; names the device.
    pub(crate) fn open_all(&self, chosen: Vec<Known>) -> CommandResult<Vec<Device>> {
        let open = |known: Known| {
            let id = known.id.clone();
            self.open(known).map_err(|why| Failure::usage(format!("the device {id}: {why}")))
        };
        chosen.into_iter().map(open).collect()
    }

    fn kind(&self, name: &str) -> Option<&'static Kind> {
        self.kinds.iter().find(|kind| kind.name == name)
    }

    /// All transports that can, at the same time.
    async fn discover(&self) -> Vec<(&'static Kind, Result<Vec<Found>, String>)> {
        let mut searches = JoinSet::new();
        for (at, kind) in self.kinds.iter().enumerate() {
            let Some(discover) = kind.discover else { continue };
            let search = discover();
            searches.spawn(async move {
                let found = timeout(DISCOVERY_LIMIT, search).await.unwrap_or_else(|_| {
                    Err(format!("did not say within {} s which devices it has", DISCOVERY_LIMIT.as_secs()))
                });
                (at, kind, found)
            });
        }
        let mut all = searches.join_all().await;
        all.sort_by_key(|(at, ..)| *at);
        all.into_iter().map(|(_, kind, found)| (kind, found)).collect()
    }

    /// What is meant may be among devices that are not written down.
    fn needs_discovery(&self, expression: &Expression) -> bool {
        let mut needed = false;
        expression.walk(&mut |part| {
            needed |= match part {
                Expression::All | Expression::Not(_) => true,
                Expression::Name(name) => {
                    let searched = self.kind(name).is_some_and(|kind| kind.discover.is_some());
                    let by_address = name.split_once(':').is_some_and(|(kind, _)| self.kind(kind).is_some());
                    let here = self.written.iter().any(|known| known.is_called(name));
                    searched || !by_address && !here && self.kind(name).is_none()
                }
                Expression::Tag(_) | Expression::And(..) | Expression::Or(..) => false,
            };
        });
        needed
    }

    /// Makes sure that a name means something; one that is a way to a device adds the device.
    fn resolve(&self, name: &str, listing: &mut Listing) -> CommandResult<()> {
        if listing.devices.iter().any(|known| known.is_called(name)) {
            return Ok(());
        }
        let (kind, address) = name.split_once(':').unwrap_or((name, ""));
        match self.kind(kind) {
            Some(kind) if name.contains(':') || is_one_place(kind, &self.options) => {
                let said = Known::said(kind, address);
                if let Some(other) = listing.devices.iter().find(|known| known.id == said.id) {
                    return Err(Failure::usage(format!(
                        "two devices would have the name {:?}: {}:{} and {name}; write them into {} with ids",
                        said.id,
                        other.transport,
                        other.reach.address,
                        file::FILE_NAME
                    )));
                }
                listing.devices.push(said);
                Ok(())
            }
            // a transport without a device: that nothing is chosen is said later
            Some(_) => Ok(()),
            None => {
                let ids = listing.devices.iter().map(|known| known.id.as_str());
                let known: Vec<&str> = ids.chain(self.kinds.iter().map(|k| k.name)).collect();
                let mut distinct = Vec::with_capacity(known.len());
                known.into_iter().for_each(|n| {
                    if !distinct.contains(&n) {
                        distinct.push(n)
                    }
                });
                Err(Failure::usage(unknown("device", name, &distinct)))
            }
        }
    }
}

/// It needs neither an address nor a search: it is always there.
fn is_one_place(kind: &Kind, options: &Options) -> bool {
    kind.discover.is_none() && (kind.open)(&Reach::default(), options).is_ok()
}

/// A device that is about to be used.
pub(crate) struct Device {
    /// What is known of it.
    pub(crate) known: Known,
    /// The way to it.
    pub(crate) way: Guarded,
    /// Most bytes of pushed files.
    pub(crate) cache_limit: u64,
}

/// Adds what was found, unless it is written down; then only what is known of it is.
fn add(devices: &mut Vec<Known>, found: Known) {
    if let Some(known) = devices.iter_mut().find(|d| d.is_at(found.transport, &found.reach.address)) {
        known.about = found.about;
        known.state = found.state;
        return;
    }
    let taken = |id: &str, devices: &[Known]| devices.iter().any(|d| d.id.eq_ignore_ascii_case(id));
    let mut id = found.id.clone();
    for number in 2.. {
        if !taken(&id, devices) {
            break;
        }
        id = format!("{}-{number}", found.id);
    }
    devices.push(Known { id, ..found });
}

fn names(expression: &Expression) -> Vec<&str> {
    let mut names = Vec::new();
    expression.walk(&mut |part| {
        if let Expression::Name(name) = part {
            names.push(name.as_str());
        }
    });
    names
}

fn nothing(text: &str, expression: &Expression, listing: &Listing) -> Failure {
    let tags: Vec<&str> = listing.devices.iter().flat_map(|d| &d.tags).map(String::as_str).collect();
    let mut hint = String::new();
    expression.walk(&mut |part| {
        if let Expression::Tag(tag) = part
            && !tags.contains(&tag.as_str())
        {
            hint = format!("; no device has the tag {tag:?}{}", did_you_mean(tag, tags.iter().copied()));
        }
    });
    let ids: Vec<&str> = listing.devices.iter().map(|d| d.id.as_str()).collect();
    let notes: String = listing.notes.iter().map(|note| format!("; {note}")).collect();
    Failure::nothing(format!("{text:?} chooses no device{hint}; there are: {}{notes}", ids.join(", ")))
}

/// A name that means nothing else where devices are named.
fn check_id(id: &str) -> Result<(), String> {
    check_name(id)?;
    if RESERVED.contains(&id) { Err(format!("{id:?} has a meaning of its own")) } else { Ok(()) }
}

/// A word that is a file name everywhere.
fn check_name(name: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.len() > MAX_NAME
        || !name.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !name.chars().all(good)
    {
        return Err(format!(
            "must be 1 to {MAX_NAME} letters, digits, '.', '_' or '-', and begin with a letter or digit"
        ));
    }
    Ok(())
}

/// A name made of an address: `adb:10.0.0.7:5555` is `adb-10.0.0.7-5555`, `fake:a/b.toml` is `fake-b`.
fn derived_id(transport: &str, address: &str) -> String {
    let last = address.rsplit('/').next().unwrap_or_default();
    let stem = last.strip_suffix(".toml").unwrap_or(last);
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_') { c } else { '-' };
    let id: String = transport.chars().chain(std::iter::once('-')).chain(stem.chars().map(safe)).collect();
    id.trim_end_matches('-').chars().take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests;
