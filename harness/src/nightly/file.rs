//! `farm.toml`: what a night measures, where, and what is done with what it finds. Read and checked here, before any
//! device is touched; `FARM.md` beside this crate is for people.

use crate::{
    exit::{CommandResult, ExitWith},
    values::{Span, human_time},
    written::{self, Mistake},
};
use anyhow::Context;
use datasets::with_nearest;
use farm::{health::HealthRules, times::Window};
use jiff::tz::TimeZone;
use protocol::{RuntimeId, Sha256Hex};
use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use toml::Spanned;

/// Most jobs, limits, and times of one limit.
const MAX_ENTRIES: usize = 1000;
/// Charge and temperature that make sense as limits.
const PERCENT: std::ops::RangeInclusive<u32> = 0..=100;
const CELSIUS: std::ops::RangeInclusive<f64> = 1.0..=120.0;

/// A farm as it is written down.
#[derive(Debug)]
pub(crate) struct Farm {
    /// The file.
    pub(crate) path: PathBuf,
    /// Hash of its text.
    pub(crate) sha256: Sha256Hex,
    /// Its name.
    pub(crate) name: String,
    /// Folder of the nights.
    pub(crate) out: PathBuf,
    /// Where the history is: a folder, or `s3://bucket/prefix`; `None`: the setting's.
    pub(crate) history: Option<String>,
    /// The file with the devices; `None`: the setting's.
    pub(crate) devices: Option<PathBuf>,
    /// In which blackout times are meant.
    pub(crate) zone: TimeZone,
    /// A night takes so long at most.
    pub(crate) ends_after: Option<Duration>,
    /// What is measured.
    pub(crate) jobs: Vec<Wish>,
    /// When devices are fit.
    pub(crate) health: HealthRules,
    /// When and how long devices are used.
    pub(crate) limits: Vec<Limit>,
    /// What is done about changes.
    pub(crate) changes: Changes,
    /// Who is told.
    pub(crate) notify: Notify,
}

/// A suite that is to be measured on devices.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// Name or path of the suite.
    pub(crate) suite: String,
    /// Which devices, as with `--device`.
    pub(crate) devices: String,
    /// On each of them, or on any one.
    pub(crate) on: On,
    /// Runtimes; empty: the suite's.
    pub(crate) runtimes: Vec<RuntimeId>,
    /// Parts of names of variants; empty: all.
    pub(crate) filter: Vec<String>,
    /// Threads; `None`: the suite's.
    pub(crate) threads: Option<u16>,
    /// Most units; `None`: the suite's.
    pub(crate) units: Option<u32>,
    /// Per device; `None`: the suite's.
    pub(crate) time_budget: Option<Duration>,
    /// Higher goes first.
    pub(crate) priority: i32,
    /// A model that never changes, measured along.
    pub(crate) reference: Option<PathBuf>,
}

/// Who of the devices does it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum On {
    /// Each.
    #[default]
    Each,
    /// Whichever is free first.
    Any,
}

/// How devices are treated.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    /// Which devices, as with `--device`.
    pub(crate) devices: String,
    /// Each is used for so long in a night.
    pub(crate) budget: Option<Duration>,
    /// When they are left alone.
    pub(crate) blackout: Vec<Window>,
    /// They rest for so long after a job.
    pub(crate) rest: Duration,
}

/// What is done about changes since earlier nights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Both versions are measured again, interleaved.
    pub(crate) confirm: bool,
    /// For so long at most, on each device.
    pub(crate) budget: Duration,
}

/// Who is told of a night that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notify {
    /// Where the summary is posted as JSON.
    pub(crate) webhook: Option<String>,
    /// A program with arguments; it reads the summary as JSON on stdin.
    pub(crate) command: Vec<String>,
    /// When.
    pub(crate) when: When,
}

/// When somebody is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum When {
    /// Every night.
    #[default]
    Always,
    /// When the night does not end with 0.
    Trouble,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    name: Option<String>,
    out: Option<PathBuf>,
    history: Option<String>,
    devices: Option<PathBuf>,
    timezone: Option<Spanned<String>>,
    ends_after: Option<Span>,
    #[serde(default)]
    job: Vec<Spanned<WrittenJob>>,
    #[serde(default)]
    health: WrittenHealth,
    #[serde(default)]
    limits: Vec<Spanned<WrittenLimit>>,
    #[serde(default)]
    changes: WrittenChanges,
    notify: Option<Spanned<WrittenNotify>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenJob {
    suite: String,
    devices: String,
    #[serde(default)]
    on: On,
    #[serde(default)]
    runtimes: Vec<RuntimeId>,
    #[serde(default)]
    filter: Vec<String>,
    threads: Option<u16>,
    units: Option<u32>,
    time_budget: Option<Span>,
    #[serde(default)]
    priority: i32,
    reference: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct WrittenHealth {
    strikes: Option<Spanned<u32>>,
    attempts: Option<Spanned<u32>>,
    min_battery: Option<Spanned<u32>>,
    max_celsius: Option<Spanned<f64>>,
    cool_wait: Option<Span>,
    probe_after: Option<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenLimit {
    devices: String,
    budget: Option<Span>,
    #[serde(default)]
    blackout: Vec<String>,
    rest: Option<Span>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct WrittenChanges {
    confirm: Option<bool>,
    budget: Option<Span>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct WrittenNotify {
    webhook: Option<String>,
    command: Vec<String>,
    when: When,
}

/// The farm of a file.
///
/// # Errors
/// Names the file, the line, the key, and what to do.
pub(crate) fn read(path: &Path) -> CommandResult<Farm> {
    let whole =
        std::path::absolute(path).with_context(|| format!("the farm file {}", path.display())).or_usage()?;
    written::read("the farm file", path, |text| parse(text, &whole))
}

fn parse(text: &str, path: &Path) -> Result<Farm, Mistake> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let written: Written = toml::from_str(text).map_err(|e| (e.span(), with_nearest(e.message())))?;
    if written.job.is_empty() {
        return Err((None, "no [[job]]: write which suite is to be measured on which devices".to_owned()));
    }
    if written.job.len() > MAX_ENTRIES || written.limits.len() > MAX_ENTRIES {
        return Err((None, format!("more than {MAX_ENTRIES} jobs or limits")));
    }
    let ends_after = written.ends_after.map(|span| span.0);
    let mut limits = Vec::new();
    for limit in written.limits {
        let span = Some(limit.span());
        limits.push(limit.into_inner().check().map_err(|why| (span, format!("limits: {why}")))?);
    }
    let mut jobs = Vec::new();
    for job in written.job {
        let span = Some(job.span());
        jobs.push(job.into_inner().check(folder, ends_after).map_err(|why| (span, format!("job: {why}")))?);
    }
    let zone = match written.timezone {
        None => TimeZone::system(),
        Some(name) => TimeZone::get(name.get_ref()).map_err(|e| {
            (Some(name.span()), format!("timezone: {e}; write a name like Europe/Berlin, or leave it out"))
        })?,
    };
    let usual = folder.file_name().map_or("farm".to_owned(), |name| name.to_string_lossy().into_owned());
    let notify = written.notify.map(|notify| {
        let span = Some(notify.span());
        notify.into_inner().check(folder).map_err(|why| (span, format!("notify: {why}")))
    });
    let history = written.history.map(|place| match place.contains("://") {
        true => place,
        false => folder.join(place).display().to_string(),
    });
    Ok(Farm {
        sha256: Sha256Hex::of_bytes(text.as_bytes()),
        name: written.name.unwrap_or(usual),
        out: folder.join(written.out.unwrap_or_else(|| PathBuf::from("nights"))),
        history,
        devices: written.devices.map(|devices| folder.join(devices)),
        zone,
        ends_after,
        jobs,
        health: written.health.check()?,
        limits,
        changes: Changes {
            confirm: written.changes.confirm.unwrap_or(true),
            budget: written.changes.budget.map_or(Duration::from_secs(600), |span| span.0),
        },
        notify: notify.transpose()?.unwrap_or_default(),
        path: path.to_owned(),
    })
}

impl WrittenJob {
    fn check(self, folder: &Path, ends_after: Option<Duration>) -> Result<Wish, String> {
        if self.threads.is_some_and(|n| !(1..=256).contains(&n)) {
            return Err("threads: must be 1 to 256".to_owned());
        }
        if self.units.is_some_and(|n| !(1..=1000).contains(&n)) {
            return Err("units: must be 1 to 1000".to_owned());
        }
        if self.on == On::Any && tag_of(&self.devices).is_none() {
            return Err(format!(
                "devices: {:?} with on = \"any\": write one tag, tag:NAME, which those devices have that are as good as each other",
                self.devices
            ));
        }
        let time_budget = self.time_budget.map(|span| span.0);
        if let Some((budget, night)) = time_budget.zip(ends_after).filter(|(budget, night)| budget > night) {
            return Err(format!(
                "time-budget: {} do not fit into a night of {} (ends-after)",
                human_time(budget),
                human_time(night)
            ));
        }
        let is_path = self.suite.contains(['/', '\\']) || self.suite.ends_with(".toml");
        let suite = if is_path { folder.join(&self.suite).display().to_string() } else { self.suite };
        Ok(Wish {
            suite,
            devices: self.devices,
            on: self.on,
            runtimes: self.runtimes,
            filter: self.filter,
            threads: self.threads,
            units: self.units,
            time_budget,
            priority: self.priority,
            reference: self.reference.map(|path| folder.join(path)),
        })
    }
}

/// The tag that is all that is said.
pub(crate) fn tag_of(devices: &str) -> Option<&str> {
    let tag = devices.trim().strip_prefix("tag:")?;
    (!tag.is_empty() && !tag.contains(char::is_whitespace)).then_some(tag)
}

impl WrittenHealth {
    fn check(self) -> Result<HealthRules, Mistake> {
        let usual = HealthRules::default();
        let least_one = |name: &str, value: Option<Spanned<u32>>, usual: u32| match value {
            Some(value) if *value.get_ref() == 0 => {
                Err((Some(value.span()), format!("health: {name}: must be at least 1")))
            }
            other => Ok(other.map_or(usual, Spanned::into_inner)),
        };
        if let Some(wrong) = self.min_battery.as_ref().filter(|value| !PERCENT.contains(value.get_ref())) {
            return Err((Some(wrong.span()), "health: min-battery: must be 0 to 100".to_owned()));
        }
        if let Some(wrong) = self.max_celsius.as_ref().filter(|value| !CELSIUS.contains(value.get_ref())) {
            return Err((Some(wrong.span()), "health: max-celsius: must be 1 to 120".to_owned()));
        }
        Ok(HealthRules {
            strikes: least_one("strikes", self.strikes, usual.strikes)?,
            attempts: least_one("attempts", self.attempts, usual.attempts)?,
            min_battery_percent: self.min_battery.map_or(usual.min_battery_percent, |v| Some(v.into_inner())),
            max_milli_celsius: self.max_celsius.map(|v| (v.into_inner() * 1000.0).round() as i64),
            cool_wait: self.cool_wait.map_or(usual.cool_wait, |span| span.0),
            probe_after: self.probe_after.map_or(usual.probe_after, |span| span.0),
        })
    }
}

impl WrittenLimit {
    fn check(self) -> Result<Limit, String> {
        if self.blackout.len() > MAX_ENTRIES {
            return Err(format!("blackout: more than {MAX_ENTRIES} times"));
        }
        let blackout = self.blackout.iter().map(|time| time.parse::<Window>());
        Ok(Limit {
            devices: self.devices,
            budget: self.budget.map(|span| span.0),
            blackout: blackout.collect::<Result<_, _>>().map_err(|why| format!("blackout: {why}"))?,
            rest: self.rest.map_or(Duration::ZERO, |span| span.0),
        })
    }
}

impl WrittenNotify {
    fn check(self, folder: &Path) -> Result<Notify, String> {
        let known = |url: &String| url.starts_with("https://") || url.starts_with("http://");
        if let Some(url) = self.webhook.as_ref().filter(|url| !known(url)) {
            return Err(format!("webhook: {url:?} does not begin with https:// or http://"));
        }
        let mut command = self.command;
        if let Some(program) = command.first_mut().filter(|program| program.contains('/')) {
            *program = folder.join(&*program).display().to_string();
        }
        Ok(Notify { webhook: self.webhook, command, when: self.when })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Farm, String> {
        parse(text, Path::new("/lab/farm.toml")).map_err(|(_, why)| why)
    }

    const JOB: &str = "[[job]]\nsuite = \"smoke\"\ndevices = \"all\"\n";

    #[test]
    fn paths_are_meant_from_where_the_file_lies() {
        let farm = read(&format!(
            "history = \"h\"\n{JOB}[[job]]\nsuite = \"my/suite.toml\"\ndevices = \"tag:pi\"\non = \"any\"\nreference = \"pin.tflite\"\n[notify]\ncommand = [\"./tell\", \"./me\"]\n"
        ))
        .unwrap();
        assert_eq!((farm.name.as_str(), farm.out), ("lab", PathBuf::from("/lab/nights")));
        assert_eq!(farm.history.as_deref(), Some("/lab/h"));
        let suites: Vec<&str> = farm.jobs.iter().map(|job| job.suite.as_str()).collect();
        assert_eq!(suites, ["smoke", "/lab/my/suite.toml"]);
        assert_eq!(farm.jobs[1].reference, Some(PathBuf::from("/lab/pin.tflite")));
        assert_eq!(farm.notify.command, ["/lab/./tell", "./me"]);
        assert_eq!(
            read(&format!("history = \"s3://a/b\"\n{JOB}")).unwrap().history.as_deref(),
            Some("s3://a/b")
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, word) in [
            ("", "no [[job]]"),
            ("[[job]]\nsuite = \"a\"", "devices"),
            ("[[job]]\nsuit = \"a\"\ndevices = \"all\"", "suit"),
            ("[[job]]\nsuite = \"a\"\ndevices = \"all\"\non = \"any\"", "tag:NAME"),
            ("[[job]]\nsuite = \"a\"\ndevices = \"all\"\nunits = 0", "units"),
            (
                "ends-after = \"1h\"\n[[job]]\nsuite = \"a\"\ndevices = \"all\"\ntime-budget = \"2h\"",
                "do not fit",
            ),
            ("timezone = \"Mars/Base\"", "Europe/Berlin"),
            ("[health]\nstrikes = 0", "strikes"),
            ("[health]\nmin-battery = 101", "0 to 100"),
            ("[health]\nmax-celsius = 500.0", "1 to 120"),
            ("[[limits]]\ndevices = \"all\"\nblackout = [\"sometimes\"]", "mon-fri"),
            ("[changes]\nbudget = 5", "expected"),
            ("[notify]\nwebhook = \"ftp://x\"", "https://"),
            ("[notify]\nwhen = \"never\"", "never"),
        ] {
            let text = if text.contains("[[job]]") || text.is_empty() {
                text.to_owned()
            } else {
                format!("{text}\n{JOB}")
            };
            let why = read(&text).unwrap_err();
            assert!(why.contains(word), "{text}: {why}");
        }
    }
}
