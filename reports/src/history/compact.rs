//! Few large files instead of many small ones, and raw samples that are not kept for ever. Safe at every moment: the new
//! file is whole and was read back before the first old one goes, and a reader that sees both counts every row once.

use super::format::{self, Part, Wanted};
use super::row::{Row, SeriesId};
use super::{FileEntry, HISTORY_SCHEMA, History, HistoryError, Note, Trouble, days_before, name_of};
use crate::record::RunRecord;
use crate::render::{Options, format as report_format, render};
use crate::verdict::Verdicts;
use protocol::Sha256Hex;
use std::collections::HashSet;

/// Days that raw samples are kept, unless somebody says otherwise.
pub const RAW_NIGHTS: u32 = 90;
/// Rows that are sorted at once, and of one compacted file at most about: some hundred megabytes of memory.
const ROWS_AT_ONCE: usize = 250_000;
/// Digits of the hash in the name of a compacted file.
const HASH_DIGITS: usize = 16;

/// What compaction did to a month.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compacted {
    /// The month, `YYYY-MM`.
    pub month: String,
    /// Rows in the new files.
    pub rows: usize,
    /// New files.
    pub files: Vec<String>,
    /// Files that went.
    pub removed: usize,
    /// Their bytes.
    pub bytes_before: u64,
    /// Bytes of the new files.
    pub bytes_after: u64,
    /// Files that could not be read and stay as they are.
    pub notes: Vec<Note>,
}

impl History {
    /// Puts the files of every month before that of `today` together, where a month has more than one, and removes raw
    /// samples of nights more than `raw_nights` days ago.
    ///
    /// # Errors
    /// `today` is no date; the place cannot be read or written. What was done before stays done.
    pub fn compact(&self, today: &str, raw_nights: u32) -> Result<Vec<Compacted>, HistoryError> {
        let Some(oldest) = days_before(today, i64::from(raw_nights)) else {
            return Err(HistoryError::Asked(format!("{today:?} is no date like 2026-12-01")));
        };
        let (months, _) = self.months()?;
        let finished = months.into_keys().filter(|month| today.get(..7).is_some_and(|now| **month < *now));
        let mut all = Vec::new();
        for month in finished {
            all.push(self.compact_month(&month)?);
        }
        self.drop_raw(&oldest)?;
        all.retain(|done: &Compacted| done.removed > 0 || !done.notes.is_empty());
        Ok(all)
    }

    /// Puts the files of one month together, whether it is over or not.
    ///
    /// # Errors
    /// The place cannot be read or written.
    pub fn compact_month(&self, month: &str) -> Result<Compacted, HistoryError> {
        let (mut months, _) = self.months()?;
        let mut done = Compacted { month: month.to_owned(), ..Compacted::default() };
        let mut old = Vec::new();
        let mut rows = 0;
        for entry in months.remove(month).unwrap_or_default() {
            match self.whole(&entry)? {
                Ok(found) => {
                    rows += found;
                    old.push(entry);
                }
                Err(what) => done.notes.push(Note { file: entry.path, what }),
            }
        }
        if old.len() < 2 {
            return Ok(done);
        }
        let parts = rows.div_ceil(ROWS_AT_ONCE).max(1);
        for ids in slices(parts) {
            let rows = self.gather(&old, ids)?;
            if !rows.is_empty() {
                self.keep(rows, &mut done)?;
            }
        }
        for entry in old.iter().filter(|entry| !done.files.contains(&entry.path)) {
            self.files
                .delete(&entry.path)
                .map_err(|e| self.failed(&format!("removing {}", entry.path), e))?;
            done.removed += 1;
            done.bytes_before += entry.bytes;
        }
        Ok(done)
    }

    /// Rows of a file, every group of which was read; or why it must stay as it is.
    fn whole(&self, entry: &FileEntry) -> Result<Result<usize, String>, HistoryError> {
        let file = match self.files.open(entry) {
            Ok(file) => file,
            Err(error) => return Ok(Err(format!("cannot be opened, and stays: {error}"))),
        };
        Ok(Part::open(file).and_then(|mut part| {
            if let Some(column) = part.unknown.first() {
                return Err(format!("has a column {column:?} that this version does not know, and stays"));
            }
            let mut rows = 0;
            let columns = Some(&["run"][..]);
            part.visit(Wanted { ids: None, columns }, &mut |_| rows += 1)
                .map_err(|what| format!("damaged, and stays: {what}"))?;
            match rows == part.rows() {
                true => Ok(rows),
                false => Err(format!("damaged, and stays: {rows} of {} rows", part.rows())),
            }
        }))
    }

    /// The rows of some series in these files, each once.
    fn gather(&self, old: &[FileEntry], ids: (SeriesId, SeriesId)) -> Result<Vec<Row>, HistoryError> {
        let (mut rows, mut seen) = (Vec::new(), HashSet::new());
        let wanted = Wanted { ids: Some(ids), columns: None };
        for entry in old {
            let mut once = |row: Row| {
                if seen.insert((row.key.id(), row.run.clone())) {
                    rows.push(row);
                }
            };
            self.visit(entry, wanted, &mut once).map_err(|trouble| {
                let source = match trouble {
                    Trouble::Place(error) => error,
                    Trouble::Gone => std::io::Error::other("it went away: somebody else compacts this month"),
                    Trouble::Damaged(what) => std::io::Error::other(what),
                };
                self.failed(&format!("compacting {}", entry.path), source)
            })?;
        }
        Ok(rows)
    }

    /// Writes rows as a compacted file, and reads it back.
    fn keep(&self, rows: Vec<Row>, done: &mut Compacted) -> Result<(), HistoryError> {
        let count = rows.len();
        let bytes = format::encode(rows).map_err(HistoryError::Refused)?;
        let hash: String = Sha256Hex::of_bytes(&bytes).as_str().chars().take(HASH_DIGITS).collect();
        let path = format!("schema={HISTORY_SCHEMA}/month={}/compacted-{hash}.parquet", done.month);
        self.put(&path, &bytes)?;
        let entry = FileEntry { path: path.clone(), bytes: bytes.len() as u64 };
        match self.whole(&entry)? {
            Ok(found) if found == count => {}
            other => {
                let source = std::io::Error::other(format!(
                    "{other:?} read back of {count} rows; nothing was removed"
                ));
                return Err(self.failed(&format!("checking {path}"), source));
            }
        }
        done.rows += count;
        done.bytes_after += entry.bytes;
        done.files.push(path);
        Ok(())
    }

    /// Keeps every timed sample of a run, for [`History::compact`] to remove some day. True where it was not there yet.
    ///
    /// # Errors
    /// The night or the run cannot be part of a path; the place refused.
    pub fn append_raw(
        &self,
        record: &RunRecord,
        verdicts: &Verdicts,
        night: &super::Night,
    ) -> Result<bool, HistoryError> {
        let path = format!("raw/schema={HISTORY_SCHEMA}/{}", name_of(&night.date, &record.plan.run)?);
        let Some(format) = report_format("samples-parquet") else { return Ok(false) };
        let bytes = render(format, record, verdicts, &Options::default())
            .map_err(|error| HistoryError::Refused(error.to_string()))?;
        self.put(&path, &bytes)
    }

    fn drop_raw(&self, oldest: &str) -> Result<(), HistoryError> {
        for entry in self.files.list("raw").map_err(|e| self.failed("listing raw samples", e))? {
            let name = entry.path.rsplit('/').next().unwrap_or_default();
            let night = name.strip_prefix("night=").and_then(|name| name.get(..10));
            if night.is_some_and(|night| super::is_date(night) && night < oldest) {
                self.files
                    .delete(&entry.path)
                    .map_err(|e| self.failed(&format!("removing {}", entry.path), e))?;
            }
        }
        Ok(())
    }
}

/// All ids there can be, in so many ranges of equal length.
pub(super) fn slices(parts: usize) -> impl Iterator<Item = (SeriesId, SeriesId)> {
    const END: i64 = 1 << 60;
    let parts = i64::try_from(parts).unwrap_or(i64::MAX).min(END);
    let bound = move |part: i64| (i128::from(END) * i128::from(part) / i128::from(parts)) as i64;
    (0..parts).map(move |part| (SeriesId(bound(part)), SeriesId(bound(part + 1) - 1)))
}
