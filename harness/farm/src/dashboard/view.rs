//! From what was asked for to what a page needs. Reads files; what is kept between requests never changes: which key a
//! series' short name stands for, and the line of a night whose summary is the same file.

use super::{
    device,
    digest::Digest,
    fleet, night, nights,
    shelf::{Found, Night, Shelf, Stamp},
    trend,
    trends::{self, Alarms},
};
use crate::{device::DeviceCard, night::JobLine};
use jiff::{Span, Timestamp, civil::Date};
use maud::Markup;
use reports::history::{
    self, Alarm, History, HistoryError, Nights, Reading, SeriesId, SeriesInfo, SeriesKey, Trend,
};
use serde::Serialize;
use serde_json::json;
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Nights of the strip of marks.
const STRIP: usize = 30;
/// Nights that a device's page looks at.
const DEVICE_NIGHTS: usize = 14;
/// Nights of the small picture of a series.
const SPARK_NIGHTS: i64 = 45;
/// Series beyond which the list has no small pictures: reading them would take too long.
const MAX_SPARKED: usize = 5000;
/// Short names of series that are kept.
const MAX_KEYS: usize = 200_000;

/// What is shown, and from where.
pub struct Dashboard {
    shelf: Shelf,
    history: Option<History>,
    keys: Mutex<HashMap<String, SeriesKey>>,
    digests: Mutex<HashMap<String, (Stamp, Digest)>>,
}

/// What a request is answered with.
pub(super) enum View {
    Page(Markup),
    Json(Vec<u8>),
    /// There is no such thing: what was asked for.
    Missing(String),
    /// It could not be made: why.
    Failed(String),
}

/// A page, or the same for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Html,
    Json,
}

impl Dashboard {
    /// `nights`: the folder of nights. Neither need be there yet.
    pub fn new(nights: impl Into<std::path::PathBuf>, history: Option<History>) -> Self {
        Self { shelf: Shelf::new(nights), history, keys: Mutex::default(), digests: Mutex::default() }
    }

    /// `/`.
    pub(super) fn fleet(&self, form: Form) -> View {
        let Found { found: names, mut notes } = self.shelf.nights();
        let last = names.first().and_then(|name| self.shelf.night(name));
        let recent: Vec<Digest> = names.iter().take(STRIP).filter_map(|name| self.digest(name)).collect();
        let (devices, more) = self.devices(last.as_ref());
        notes.extend(more);
        if form == Form::Json {
            return json_of(&json!({ "last_night": recent.first(), "devices": devices, "notes": notes }));
        }
        let alarms = self.alarms(&mut notes);
        View::Page(fleet::page(&fleet::Fleet {
            devices: &devices,
            last: last.as_ref(),
            recent: &recent,
            alarms: &alarms,
            notes: &notes,
            place: &self.shelf.place(),
            now: Timestamp::now(),
        }))
    }

    /// `/nights/`. `before`: only nights with a lesser name.
    pub(super) fn nights(&self, before: &str, form: Form) -> View {
        let Found { found: names, notes } = self.shelf.nights();
        let all = names.len();
        let mut names = names.iter().filter(|name| before.is_empty() || name.as_str() < before).peekable();
        let shown: Vec<&String> = names.by_ref().take(nights::PAGE).collect();
        let older = names.peek().and(shown.last()).map(|name| name.as_str());
        let nights: Vec<Digest> = shown.iter().filter_map(|name| self.digest(name)).collect();
        if form == Form::Json {
            return json_of(&json!({ "nights": nights, "older": older, "notes": notes }));
        }
        let place = self.shelf.place();
        let page = nights::Nights {
            nights: &nights,
            all,
            older,
            is_later_page: !before.is_empty(),
            notes: &notes,
            place: &place,
        };
        View::Page(nights::page(&page))
    }

    /// `/nights/<night>`.
    pub(super) fn night(&self, name: &str, wanted: &night::Wanted, form: Form) -> View {
        let Some(mut night) = self.shelf.night(name) else {
            return View::Missing(format!("There is no night {name:?} in {}.", self.shelf.place()));
        };
        if form == Form::Json {
            return json_of(&night.summary);
        }
        let alarms = self.alarms(&mut night.notes);
        View::Page(night::page(&night, wanted, &alarms))
    }

    /// The report of a run.
    pub(super) fn report(&self, night: &str, run: &str) -> io::Result<(File, u64)> {
        self.shelf.report(night, run)
    }

    /// `/devices/<id>`.
    pub(super) fn device(&self, id: &str, form: Form) -> View {
        let Found { found: mut names, mut notes } = self.shelf.nights();
        names.truncate(DEVICE_NIGHTS);
        let nights: Vec<Night> = names.iter().filter_map(|name| self.shelf.night(name)).collect();
        let (cards, more) = self.devices(nights.first());
        notes.extend(more);
        names.reverse();
        let sightings = self.shelf.sightings(id, &names);
        notes.extend(sightings.notes);
        let card = cards.iter().find(|card| card.id == id).or(sightings.found.last().map(|seen| &seen.card));
        let Some(card) = card else {
            return View::Missing(format!("No device {id:?} was seen in the last {} nights.", names.len()));
        };
        let did = |night: &Night| {
            let name = night.summary.night.clone();
            let jobs = night.summary.jobs.iter().filter(|job| job.device.as_deref() == Some(id)).cloned();
            jobs.map(|job| (name.clone(), job)).collect::<Vec<(String, JobLine)>>()
        };
        let jobs: Vec<(String, JobLine)> = nights.iter().flat_map(did).collect();
        if form == Form::Json {
            return json_of(
                &json!({ "device": card, "sightings": sightings.found, "jobs": jobs, "notes": notes }),
            );
        }
        let mut series = self.series(&mut notes);
        series.retain(|info| info.key.device == id);
        let alarms = self.alarms(&mut notes);
        View::Page(device::page(&device::Device {
            card,
            sightings: &sightings.found,
            jobs: &jobs,
            nights: names.len(),
            series: &series,
            alarms: &alarms,
            notes: &notes,
            now: Timestamp::now(),
        }))
    }

    /// `/trends/`. Where no metric is asked for, the first one.
    pub(super) fn trends(&self, mut wanted: trends::Wanted, metric: Option<String>, form: Form) -> View {
        let mut notes = Vec::new();
        let series = self.series(&mut notes);
        let first = || {
            series
                .iter()
                .any(|info| info.key.metric == trends::FIRST_METRIC)
                .then(|| trends::FIRST_METRIC.to_owned())
        };
        wanted.metric = metric.or_else(|| first().filter(|_| form == Form::Html)).unwrap_or_default();
        if form == Form::Json {
            let lines: Vec<SeriesJson<'_>> =
                series.iter().filter(|info| wanted.holds(&info.key)).map(SeriesJson::of).collect();
            return json_of(&json!({ "series": lines, "notes": notes }));
        }
        let alarms = self.alarms(&mut notes);
        let listed = trends::listed(&series, &wanted, &alarms);
        let shown: Vec<SeriesId> = listed.iter().take(super::parts::MAX_ROWS).map(|info| info.id).collect();
        let sparks =
            if series.len() > MAX_SPARKED { HashMap::new() } else { self.sparks(&shown, &mut notes) };
        let place = self.history.as_ref().map(History::place);
        View::Page(trends::page(&trends::Trends {
            series: &series,
            wanted: &wanted,
            alarms: &alarms,
            sparks: &sparks,
            notes: &notes,
            place: place.as_deref(),
        }))
    }

    /// `/trends/<series>`, over so many nights.
    pub(super) fn trend(&self, id: &str, span: usize, form: Form) -> View {
        let mut notes = Vec::new();
        let Some(key) = self.key(id, &mut notes) else {
            let known = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
            return View::Missing(format!("There is no series {id:?} in the history{known}."));
        };
        let trend = match self.read(&key, span) {
            Ok(Reading { found, notes: more }) => {
                notes.extend(more.iter().map(ToString::to_string));
                found
            }
            Err(error) => return View::Failed(error.to_string()),
        };
        let alarms = self.alarms(&mut notes);
        if form == Form::Json {
            return json_of(&TrendJson::of(&trend, &alarms, &notes));
        }
        View::Page(trend::page(&trend::Series {
            id: key.id(),
            trend: &trend,
            alarms: &alarms,
            span,
            notes: &notes,
        }))
    }

    /// The devices as they were last seen; where nobody wrote that down, as the last night has them.
    fn devices(&self, last: Option<&Night>) -> (Vec<DeviceCard>, Vec<String>) {
        let Found { found, notes } = self.shelf.devices();
        match last {
            Some(night) if found.is_empty() => (night.summary.devices.clone(), notes),
            _ => (found, notes),
        }
    }

    fn digest(&self, name: &str) -> Option<Digest> {
        let stamp = self.shelf.stamp(name);
        if let Some((known, digest)) = locked(&self.digests).get(name)
            && Some(known) == stamp.as_ref()
        {
            return Some(digest.clone());
        }
        let digest = Digest::of(&self.shelf.night(name)?);
        if let Some(stamp) = stamp.filter(|_| digest.ended.is_some() && !digest.damaged) {
            locked(&self.digests).insert(name.to_owned(), (stamp, digest.clone()));
        }
        Some(digest)
    }

    /// What a reading gives; what kept it from being read is a note.
    fn kept<T: Default>(
        &self,
        notes: &mut Vec<String>,
        read: impl FnOnce(&History) -> Result<Reading<T>, HistoryError>,
    ) -> T {
        match self.history.as_ref().map(read) {
            None => T::default(),
            Some(Ok(Reading { found, notes: more })) => {
                notes.extend(more.iter().map(ToString::to_string));
                found
            }
            Some(Err(error)) => {
                notes.push(error.to_string());
                T::default()
            }
        }
    }

    fn series(&self, notes: &mut Vec<String>) -> Vec<SeriesInfo> {
        let series = self.kept(notes, History::series);
        let mut keys = locked(&self.keys);
        if keys.len() + series.len() > MAX_KEYS {
            keys.clear();
        }
        keys.extend(series.iter().take(MAX_KEYS).map(|info| (info.id.to_string(), info.key.clone())));
        series
    }

    fn alarms(&self, notes: &mut Vec<String>) -> Alarms {
        Alarms(self.kept(notes, History::alarms))
    }

    fn key(&self, id: &str, notes: &mut Vec<String>) -> Option<SeriesKey> {
        let known = locked(&self.keys).get(id).cloned();
        known.or_else(|| {
            self.series(notes).into_iter().find(|info| info.id.to_string() == id).map(|info| info.key)
        })
    }

    /// The last nights of a series, counted from its own last one.
    fn read(&self, key: &SeriesKey, span: usize) -> Result<Reading<Trend>, HistoryError> {
        let Some(history) = &self.history else {
            return Ok(Reading { found: history::trend(&[], stats::Pelt::PROPOSE), notes: Vec::new() });
        };
        let Reading { found: last, .. } = history.latest_night()?;
        let from = last.and_then(|last| before(&last, i64::try_from(span).ok()?));
        let Reading { found, notes } =
            history.read(key, &from.map_or(Nights::ALL, |from| Nights::since(&from)))?;
        let trend = Trend { key: key.clone(), ..history::trend(&found, stats::Pelt::PROPOSE) };
        Ok(Reading { found: trend, notes })
    }

    fn sparks(&self, shown: &[SeriesId], notes: &mut Vec<String>) -> HashMap<SeriesId, Vec<f64>> {
        let recent = |history: &History| {
            let from = history.latest_night()?.found.and_then(|last| before(&last, SPARK_NIGHTS));
            history.read_all(&from.map_or(Nights::ALL, |from| Nights::since(&from)))
        };
        let all: BTreeMap<SeriesKey, Vec<history::Row>> = self.kept(notes, recent);
        let values = |rows: Vec<history::Row>| {
            rows.iter().filter(|row| row.valid).filter_map(|row| row.value).collect()
        };
        let mut sparks: HashMap<SeriesId, Vec<f64>> = all
            .into_iter()
            .map(|(key, rows)| (key.id(), rows))
            .filter(|(id, _)| shown.contains(id))
            .map(|(id, rows)| (id, values(rows)))
            .collect();
        sparks.retain(|_, values| values.len() > 1);
        notes.sort();
        notes.dedup();
        sparks
    }
}

/// So many days before a date.
fn before(date: &str, days: i64) -> Option<String> {
    let span = Span::new().try_days(days).ok()?;
    Some(date.parse::<Date>().ok()?.checked_sub(span).ok()?.to_string())
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn json_of(value: &impl Serialize) -> View {
    match serde_json::to_vec_pretty(value) {
        Ok(bytes) => View::Json(bytes),
        Err(error) => View::Failed(format!("this cannot be written as JSON: {error}")),
    }
}

/// A series for programs.
#[derive(Serialize)]
struct SeriesJson<'a> {
    id: String,
    key: &'a SeriesKey,
    first_night: &'a str,
    last_night: &'a str,
    valid: usize,
    invalid: usize,
    last_value: Option<f64>,
}

impl<'a> SeriesJson<'a> {
    fn of(info: &'a SeriesInfo) -> Self {
        let SeriesInfo { key, id, first_night, last_night, valid, invalid, last_value } = info;
        Self {
            id: id.to_string(),
            key,
            first_night,
            last_night,
            valid: *valid,
            invalid: *invalid,
            last_value: *last_value,
        }
    }
}

/// A trend for programs.
#[derive(Serialize)]
struct TrendJson<'a> {
    id: String,
    key: &'a SeriesKey,
    points: Vec<serde_json::Value>,
    changes: &'a [history::Change],
    alarms: Vec<serde_json::Value>,
    notes: &'a [String],
}

impl<'a> TrendJson<'a> {
    fn of(trend: &'a Trend, alarms: &Alarms, notes: &'a [String]) -> Self {
        let point = |p: &history::TrendPoint| {
            json!({ "night": p.night, "measured_at": p.measured_at, "run": p.run, "value": p.value, "low": p.low,
                "high": p.high, "steadied": p.steadied, "reasons": p.reasons })
        };
        let alarm = |a: &Alarm| {
            json!({ "alarm": a.id, "state": a.state, "open": a.is_open(), "change": a.change, "outcome": a.outcome,
                "acknowledged": a.acknowledged, "proposed_at": a.proposed_at })
        };
        Self {
            id: trend.key.id().to_string(),
            key: &trend.key,
            points: trend.points.iter().map(point).collect(),
            changes: &trend.changes,
            alarms: alarms.of(&trend.key).map(alarm).collect(),
            notes,
        }
    }
}
