//! What was measured night after night: every metric of every case of every run, kept for years, read by series. Files
//! are written once and never changed, so that many may write and read at once without asking each other.
//!
//! | path | content |
//! |---|---|
//! | `schema=1/month=2026-12/night=2026-12-01-run=RUN.parquet` | the rows of one run of one night |
//! | `schema=1/month=2026-12/compacted-HASH.parquet` | rows of many such files, which are then removed |
//! | `raw/schema=1/month=2026-12/night=2026-12-01-run=RUN.parquet` | every timed sample of a run, kept for some months |
//! | `alarms/TIME-ALARM-KIND-HASH.json` | one thing that happened to an alarm |
//!
//! A row is one metric of one run of a series, and counts once, in however many files it is. A file that is damaged, of
//! another version or none of ours is named in a [`Note`] and never keeps the others from being read. `reports/HISTORY.md`
//! tells it in full.

mod alarm;
mod change;
mod compact;
mod files;
mod filter;
mod format;
mod row;
pub mod show;

pub use alarm::{
    ATTEMPTS, Alarm, AlarmEvent, Build, LEAST_EFFECT, Outcome, Proposal, RECENT_NIGHTS, State, WINDOW_NIGHTS,
    fold,
};
pub use change::{Basis, Change, EFFECT_LEVEL, Effect, Level, Moved, Trend, TrendPoint, trend};
pub use compact::{Compacted, RAW_NIGHTS};
pub use files::{FileEntry, Files, Folder, MAX_FILES};
pub use filter::Filter;
pub use format::{HISTORY_SCHEMA, columns};
pub use row::{Night, Row, SeriesId, SeriesKey, rows};

use format::{Part, Wanted};
use jiff::{Span, civil::Date};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// Longest name of a run.
const MAX_RUN: usize = 100;
/// How often a month is listed again because a file went away while it was read: somebody compacts it.
const LISTINGS: usize = 5;

/// Why the history could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The place refused.
    #[error("the history in {place}: {doing} failed: {source}")]
    Place {
        /// Where it lies.
        place: String,
        /// What was tried, with the file.
        doing: String,
        /// What the place said.
        source: io::Error,
    },
    /// Rows that must not be kept.
    #[error("these rows cannot be kept: {0}")]
    Refused(String),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Asked(String),
}

/// Something about the files of a history that a reader should know; nothing else was kept from being read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// The file, from the place of the history.
    pub file: String,
    /// What is the matter.
    pub what: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.what)
    }
}

/// What was read, and what to know about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading<T> {
    /// What was asked for.
    pub found: T,
    /// Files that could not be read, and the like.
    pub notes: Vec<Note>,
}

/// Nights from one to another, dates with both ends in; `None`: open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nights {
    /// The first, `YYYY-MM-DD`.
    pub from: Option<String>,
    /// The last.
    pub to: Option<String>,
}

impl Nights {
    /// Every night.
    pub const ALL: Self = Self { from: None, to: None };

    /// From this night on.
    pub fn since(from: &str) -> Self {
        Self { from: Some(from.to_owned()), to: None }
    }

    fn holds(&self, night: &str) -> bool {
        self.from.as_deref().is_none_or(|from| from <= night)
            && self.to.as_deref().is_none_or(|to| night <= to)
    }

    fn touches(&self, month: &str) -> bool {
        let month_of = |night: &Option<String>| night.as_ref().and_then(|n| n.get(..7)).map(str::to_owned);
        month_of(&self.from).is_none_or(|from| *from <= *month)
            && month_of(&self.to).is_none_or(|to| *month <= *to)
    }
}

/// A series, and how much there is of it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SeriesInfo {
    /// Its key.
    #[serde(flatten)]
    pub key: SeriesKey,
    /// Its short name.
    pub id: SeriesId,
    /// Date of its first night.
    pub first_night: String,
    /// Date of its last night.
    pub last_night: String,
    /// Values that count.
    pub valid: usize,
    /// Values that do not.
    pub invalid: usize,
    /// The last that counts.
    pub last_value: Option<f64>,
}

/// What became of rows that were to be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Appended {
    /// The file.
    pub file: String,
    /// False: there is a file of that run and night already, and it stays as it is.
    pub new: bool,
    /// What to know about it: a night before the last one, other rows in the file that is there.
    pub notes: Vec<Note>,
}

/// A history, wherever its files lie.
#[derive(Clone)]
pub struct History {
    files: Arc<dyn Files>,
}

impl History {
    /// Over any place.
    pub fn new(files: Arc<dyn Files>) -> Self {
        Self { files }
    }

    /// In a folder of this machine, which need not be there yet.
    pub fn folder(root: impl Into<std::path::PathBuf>) -> Self {
        Self::new(Arc::new(Folder::new(root)))
    }

    /// Where it lies, for people.
    pub fn place(&self) -> String {
        self.files.place()
    }

    /// Keeps the rows of one run. The same run of the same night is kept once.
    ///
    /// # Errors
    /// Rows of several runs or nights, or with a date or a name of a run that cannot be part of a path; the place refused.
    pub fn append(&self, rows: &[Row]) -> Result<Appended, HistoryError> {
        let path = path_of(rows)?;
        let mut notes = Vec::new();
        let night = rows.first().map(|row| row.night.clone()).unwrap_or_default();
        if let Some(last) = self.latest_night()?.found
            && night < last
        {
            let what = format!(
                "this night is before {last}, the last one that is kept: a late run, or a clock that went backwards"
            );
            notes.push(Note { file: path.clone(), what });
        }
        let bytes = format::encode(rows.to_vec()).map_err(HistoryError::Refused)?;
        let new = self.put(&path, &bytes)?;
        if !new && self.entry(&path)?.is_some_and(|entry| entry.bytes != bytes.len() as u64) {
            let what = "the file that is there holds other rows of this run; it stays, these are not kept";
            notes.push(Note { file: path.clone(), what: what.to_owned() });
        }
        Ok(Appended { file: path, new, notes })
    }

    /// Every series, by its key.
    ///
    /// # Errors
    /// The place cannot be read.
    pub fn series(&self) -> Result<Reading<Vec<SeriesInfo>>, HistoryError> {
        let columns: Vec<&str> =
            SeriesKey::COLUMNS.into_iter().chain(["night", "run", "measured_at", "value", "valid"]).collect();
        let mut all: HashMap<SeriesKey, (SeriesInfo, String)> = HashMap::new();
        let wanted = Wanted { ids: None, columns: Some(&columns) };
        let notes = self.scan(&Nights::ALL, wanted, &mut |row| {
            let fresh = || {
                let info = SeriesInfo {
                    key: row.key.clone(),
                    id: row.key.id(),
                    first_night: row.night.clone(),
                    last_night: String::new(),
                    valid: 0,
                    invalid: 0,
                    last_value: None,
                };
                (info, String::new())
            };
            let (info, last_valid) = all.entry(row.key.clone()).or_insert_with(fresh);
            info.valid += usize::from(row.valid);
            info.invalid += usize::from(!row.valid);
            let at = format!("{} {} {}", row.night, row.measured_at, row.run);
            if row.valid && at >= *last_valid {
                (info.last_value, *last_valid) = (row.value, at);
            }
            info.first_night = row.night.clone().min(std::mem::take(&mut info.first_night));
            info.last_night = row.night.max(std::mem::take(&mut info.last_night));
        })?;
        let mut found: Vec<SeriesInfo> = all.into_values().map(|(info, _)| info).collect();
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Reading { found, notes })
    }

    /// The rows of one series, by night and then by time; those that are not valid as well.
    ///
    /// # Errors
    /// The place cannot be read.
    pub fn read(&self, key: &SeriesKey, nights: &Nights) -> Result<Reading<Vec<Row>>, HistoryError> {
        let id = key.id();
        let mut found = Vec::new();
        let wanted = Wanted { ids: Some((id, id)), columns: None };
        let notes = self.scan(nights, wanted, &mut |row| {
            if row.key == *key {
                found.push(row);
            }
        })?;
        in_order(&mut found);
        Ok(Reading { found, notes })
    }

    /// The rows of all series, each by night and then by time.
    ///
    /// # Errors
    /// The place cannot be read.
    pub fn read_all(&self, nights: &Nights) -> Result<Reading<BTreeMap<SeriesKey, Vec<Row>>>, HistoryError> {
        let mut found: BTreeMap<SeriesKey, Vec<Row>> = BTreeMap::new();
        let notes = self.scan(nights, Wanted::default(), &mut |row| match found.get_mut(&row.key) {
            Some(rows) => rows.push(row),
            None => {
                found.insert(row.key.clone(), vec![row]);
            }
        })?;
        found.values_mut().for_each(|rows| in_order(rows));
        Ok(Reading { found, notes })
    }

    /// Date of the last night of which anything is kept.
    ///
    /// # Errors
    /// The place cannot be read.
    pub fn latest_night(&self) -> Result<Reading<Option<String>>, HistoryError> {
        let (entries, mut notes) = self.months()?;
        for month in entries.keys().rev() {
            let mut last: Option<String> = None;
            let nights = Nights { from: Some(format!("{month}-01")), to: Some(format!("{month}-31")) };
            let wanted = Wanted { ids: None, columns: Some(&["night"]) };
            let found =
                self.scan_rows(&nights, wanted, &mut |row| last = last.take().max(Some(row.night)))?;
            notes.extend(found);
            if last.is_some() {
                return Ok(Reading { found: last, notes });
            }
        }
        Ok(Reading { found: None, notes })
    }

    /// Visits each row that is wanted once. Needs the columns of the key and of the run.
    fn scan(
        &self,
        nights: &Nights,
        wanted: Wanted<'_>,
        visit: &mut dyn FnMut(Row),
    ) -> Result<Vec<Note>, HistoryError> {
        let (mut runs, mut seen) = (HashMap::new(), HashSet::new());
        self.scan_rows(nights, wanted, &mut |row| {
            let next = runs.len();
            let run = match runs.get(&row.run) {
                Some(run) => *run,
                None => *runs.entry(row.run.clone()).or_insert(next),
            };
            if seen.insert((row.key.id(), run)) {
                visit(row);
            }
        })
    }

    /// Visits every row that is wanted, in every file that it is in.
    fn scan_rows(
        &self,
        nights: &Nights,
        wanted: Wanted<'_>,
        visit: &mut dyn FnMut(Row),
    ) -> Result<Vec<Note>, HistoryError> {
        let (mut done, mut notes) = (BTreeSet::new(), BTreeSet::new());
        for attempt in 1..=LISTINGS {
            let (months, found) = self.months()?;
            notes.extend(found);
            let mut gone = false;
            for (_, entries) in months.iter().filter(|(month, _)| nights.touches(month)) {
                let next: Vec<FileEntry> =
                    entries.iter().filter(|e| !done.contains(&e.path)).cloned().collect();
                self.files.prepare(&next).map_err(|e| self.failed("reading", e))?;
                for entry in &next {
                    let mut in_time = |row: Row| {
                        if nights.holds(&row.night) {
                            visit(row);
                        }
                    };
                    match self.visit(entry, wanted, &mut in_time) {
                        Ok(()) => {}
                        Err(Trouble::Gone) if attempt < LISTINGS => {
                            gone = true;
                            continue;
                        }
                        Err(Trouble::Gone) => {
                            let what = "went away while it was read".to_owned();
                            notes.insert(Note { file: entry.path.clone(), what });
                        }
                        Err(Trouble::Damaged(what)) => {
                            notes.insert(Note { file: entry.path.clone(), what });
                        }
                        Err(Trouble::Place(source)) => {
                            return Err(self.failed(&format!("reading {}", entry.path), source));
                        }
                    }
                    done.insert(entry.path.clone());
                }
            }
            if !gone {
                break;
            }
        }
        Ok(notes.into_iter().collect())
    }

    fn visit(
        &self,
        entry: &FileEntry,
        wanted: Wanted<'_>,
        visit: &mut dyn FnMut(Row),
    ) -> Result<(), Trouble> {
        let file = self.files.open(entry).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Trouble::Gone,
            _ => Trouble::Place(error),
        })?;
        let damaged = |what| Trouble::Damaged(format!("damaged, and left out: {what}"));
        Part::open(file).and_then(|mut part| part.visit(wanted, visit)).map_err(damaged)
    }

    /// The files of rows by month, and notes on those that are none.
    fn months(&self) -> Result<(Months, Vec<Note>), HistoryError> {
        let (mut months, mut notes) = (Months::new(), Vec::new());
        let listed = self.files.list("").map_err(|e| self.failed("listing", e))?;
        for entry in listed {
            match place_of(&entry.path) {
                Place::Rows(month) => months.entry(month.to_owned()).or_default().push(entry),
                Place::Elsewhere => {}
                Place::OtherSchema => {
                    let what =
                        format!("another schema of rows, this version reads {HISTORY_SCHEMA}: left out");
                    notes.push(Note { file: entry.path, what });
                }
                Place::Foreign => {
                    let what = "no file of a history: left out".to_owned();
                    notes.push(Note { file: entry.path, what });
                }
            }
        }
        Ok((months, notes))
    }

    fn entry(&self, path: &str) -> Result<Option<FileEntry>, HistoryError> {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let listed = self.files.list(folder).map_err(|e| self.failed("listing", e))?;
        Ok(listed.into_iter().find(|entry| entry.path == path))
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<bool, HistoryError> {
        self.files.put_if_absent(path, bytes).map_err(|e| self.failed(&format!("writing {path}"), e))
    }

    fn failed(&self, doing: &str, source: io::Error) -> HistoryError {
        HistoryError::Place { place: self.place(), doing: doing.to_owned(), source }
    }
}

/// The files of rows by month.
type Months = BTreeMap<String, Vec<FileEntry>>;

/// Why a file was not read.
enum Trouble {
    Gone,
    Damaged(String),
    Place(io::Error),
}

/// What a path says of a file.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    /// Rows of a month.
    Rows(&'a str),
    /// Raw samples, alarms.
    Elsewhere,
    OtherSchema,
    Foreign,
}

fn place_of(path: &str) -> Place<'_> {
    let parts: Vec<&str> = path.split('/').collect();
    let ours = format!("schema={HISTORY_SCHEMA}");
    match parts[..] {
        ["raw" | "alarms", ..] => Place::Elsewhere,
        [schema, month, name] if schema == ours => {
            let named =
                name.ends_with(".parquet") && (name.starts_with("night=") || name.starts_with("compacted-"));
            match month.strip_prefix("month=").filter(|month| is_date(&format!("{month}-01"))) {
                Some(month) if named => Place::Rows(month),
                _ => Place::Foreign,
            }
        }
        [schema, ..] if schema.starts_with("schema=") && schema != ours => Place::OtherSchema,
        _ => Place::Foreign,
    }
}

/// `YYYY-MM-DD` of a day that may be.
fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<Date>().is_ok_and(|date| date.to_string() == text)
}

/// Where the rows of one run are kept.
fn path_of(rows: &[Row]) -> Result<String, HistoryError> {
    let refused = |why: String| Err(HistoryError::Refused(why));
    let Some(first) = rows.first() else { return refused("there are none".to_owned()) };
    if let Some(other) = rows.iter().find(|row| row.run != first.run || row.night != first.night) {
        return refused(format!(
            "they are of {} on {} and of {} on {}: one call, one run",
            first.run, first.night, other.run, other.night
        ));
    }
    let mut keys = HashSet::new();
    if let Some(twice) = rows.iter().find(|row| !keys.insert(&row.key)) {
        return refused(format!("{} is there twice", twice.key));
    }
    Ok(format!("schema={HISTORY_SCHEMA}/{}", name_of(&first.night, &first.run)?))
}

/// Folder and name of what is kept of one run.
fn name_of(night: &str, run: &str) -> Result<String, HistoryError> {
    if !is_date(night) {
        return Err(HistoryError::Refused(format!("the night {night:?} is no date like 2026-12-01")));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if run.is_empty() || run.len() > MAX_RUN || !run.chars().all(plain) {
        return Err(HistoryError::Refused(format!(
            "the run {run:?} cannot be part of a file's name: 1 to {MAX_RUN} letters, digits, '-', '_' and '.'"
        )));
    }
    Ok(format!("month={}/night={night}-run={run}.parquet", &night[..7]))
}

fn in_order(rows: &mut [Row]) {
    rows.sort_by(|a, b| (&a.night, &a.measured_at, &a.run).cmp(&(&b.night, &b.measured_at, &b.run)));
}

/// The date so many days before one; `None` where it is no date.
fn days_before(date: &str, days: i64) -> Option<String> {
    let date: Date = date.parse().ok().filter(|_| is_date(date))?;
    Some(date.checked_sub(Span::new().try_days(days).ok()?).ok()?.to_string())
}

#[cfg(test)]
mod tests;
