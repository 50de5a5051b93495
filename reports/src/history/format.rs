//! Rows as one Parquet file and back. Reading is lazy: the footer says which groups of rows can hold a series, and only
//! those are read; footer and groups are checked against their hashes before they are decoded.
//!
//! polars' own lazy engine (`scan_parquet`) is not used: its features `lazy` and `parquet` draw in its streaming engine,
//! its clouds and four codecs. This reads with the part of polars that writes the other Parquet files.

use super::row::{Row, SeriesId};
use crate::render::{PARQUET_OPTIONS, harmless};
use polars::prelude::{
    ArrowSchema, CompatLevel, DataFrame, DataType, Field, NamedFrom, PolarsResult, Series,
};
use polars_parquet::parquet::metadata::KeyValue;
use polars_parquet::parquet::statistics::Statistics;
use polars_parquet::read::{
    BasicDecompressor, FileMetadata, Filter, PageReader, column_iter_to_arrays, infer_schema, read_metadata,
};
use polars_parquet::write::{Encoding, FileWriter, row_group_iter};
use protocol::Sha256Hex;
use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::str::FromStr;

/// Version of the rows, also in the path. Columns may be added under the same version.
pub const HISTORY_SCHEMA: u32 = 1;
/// Rows of a group: a month of some sixty series. Fewer make the footer long, more make a series slow to read.
const GROUP_ROWS: usize = 2048;
/// Largest file and largest group that are read: damage must not ask for all memory.
const MAX_FILE_BYTES: u64 = 1 << 30;
const MAX_GROUP_BYTES: u64 = 64 << 20;
/// Largest page within a group, unpacked.
const MAX_PAGE_BYTES: usize = 64 << 20;
/// Longest footer: of some thousand groups.
const MAX_FOOTER_BYTES: usize = 64 << 20;
/// What every Parquet file ends with: the length of the footer, and a word.
const END_BYTES: usize = 8;
/// Digits of a group's hash.
const HASH_DIGITS: usize = 32;

const TABLE_KEY: &str = "bench.table";
const TABLE_NAME: &str = "history";
const SCHEMA_KEY: &str = "bench.schema_version";
const GROUPS_KEY: &str = "bench.groups_sha256";
const FOOTER_KEY: &str = "bench.footer_sha256";

/// How a column is got from a row and put into one.
enum Cell {
    Text(fn(&Row) -> Option<&str>, fn(&mut Row, Option<&str>)),
    Integer(fn(&Row) -> i64, fn(&mut Row, i64)),
    Number(fn(&Row) -> Option<f64>, fn(&mut Row, Option<f64>)),
    Flag(fn(&Row) -> bool, fn(&mut Row, bool)),
}

struct Column {
    name: &'static str,
    cell: Cell,
}

macro_rules! text {
    ($name:literal, $($field:ident).+) => {
        Column {
            name: $name,
            cell: Cell::Text(|r| Some(&r.$($field).+), |r, v| v.unwrap_or_default().clone_into(&mut r.$($field).+)),
        }
    };
}

macro_rules! perhaps {
    ($name:literal, $field:ident) => {
        Column {
            name: $name,
            cell: Cell::Text(|r| r.$field.as_deref(), |r, v| r.$field = v.map(str::to_owned)),
        }
    };
}

macro_rules! number {
    ($name:literal, $field:ident) => {
        Column { name: $name, cell: Cell::Number(|r| r.$field, |r, v| r.$field = v) }
    };
}

/// Every column, in order. `reports/HISTORY.md` says what each means.
const COLUMNS: &[Column] = &[
    // follows from the key: written for whoever looks for a series, and not read back
    Column { name: SERIES, cell: Cell::Integer(|r| r.key.id().0, |_, _| {}) },
    text!("device", key.device),
    text!("suite", key.suite),
    text!("variant", key.variant),
    text!("runtime", key.runtime),
    Column {
        name: "threads",
        cell: Cell::Integer(
            |r| i64::from(r.key.threads),
            |r, v| r.key.threads = u16::try_from(v).unwrap_or_default(),
        ),
    },
    text!("options", key.options),
    text!("metric", key.metric),
    text!("night", night),
    perhaps!("night_id", night_id),
    text!("run", run),
    text!("measured_at", measured_at),
    perhaps!("host", host),
    perhaps!("device_model", device_model),
    perhaps!("os", os),
    perhaps!("agent", agent),
    perhaps!("runtime_version", runtime_version),
    perhaps!("library_sha256", library_sha256),
    text!("model_sha256", model_sha256),
    perhaps!("data_sha256", data_sha256),
    number!("value", value),
    number!("value_low", low),
    number!("value_high", high),
    Column {
        name: "units",
        cell: Cell::Integer(
            |r| i64::try_from(r.units).unwrap_or(i64::MAX),
            |r, v| r.units = u64::try_from(v).unwrap_or_default(),
        ),
    },
    Column { name: "valid", cell: Cell::Flag(|r| r.valid, |r, v| r.valid = v) },
    perhaps!("reasons", reasons),
    perhaps!("reference_sha256", reference_sha256),
    perhaps!("reference_stack", reference_stack),
    number!("ratio", ratio),
    number!("ratio_low", ratio_low),
    number!("ratio_high", ratio_high),
];

/// The column by which rows are sorted first.
const SERIES: &str = "series";

impl Column {
    fn dtype(&self) -> DataType {
        match self.cell {
            Cell::Text(..) => DataType::String,
            Cell::Integer(..) => DataType::Int64,
            Cell::Number(..) => DataType::Float64,
            Cell::Flag(..) => DataType::Boolean,
        }
    }

    fn encoding(&self) -> Encoding {
        match self.cell {
            Cell::Text(..) | Cell::Integer(..) => Encoding::RleDictionary,
            Cell::Number(..) | Cell::Flag(..) => Encoding::Plain,
        }
    }

    fn of(&self, rows: &[Row]) -> Series {
        let name = self.name.into();
        match self.cell {
            Cell::Text(get, _) => Series::new(name, rows.iter().map(get).collect::<Vec<_>>()),
            Cell::Integer(get, _) => Series::new(name, rows.iter().map(get).collect::<Vec<_>>()),
            Cell::Number(get, _) => {
                let finite = |row| get(row).filter(|x| x.is_finite());
                Series::new(name, rows.iter().map(finite).collect::<Vec<_>>())
            }
            Cell::Flag(get, _) => Series::new(name, rows.iter().map(get).collect::<Vec<_>>()),
        }
    }

    fn put(&self, values: &Series, rows: &mut [Row]) -> PolarsResult<()> {
        match self.cell {
            Cell::Text(_, set) => values.str()?.iter().zip(rows).for_each(|(v, row)| set(row, v)),
            Cell::Integer(_, set) => {
                values.i64()?.iter().zip(rows).for_each(|(v, row)| set(row, v.unwrap_or_default()));
            }
            Cell::Number(_, set) => values.f64()?.iter().zip(rows).for_each(|(v, row)| set(row, v)),
            Cell::Flag(_, set) => {
                values.bool()?.iter().zip(rows).for_each(|(v, row)| set(row, v.unwrap_or_default()));
            }
        }
        Ok(())
    }
}

/// Names and types of all columns, as documented.
pub fn columns() -> impl Iterator<Item = (&'static str, &'static str)> {
    COLUMNS.iter().map(|column| {
        let kind = match column.cell {
            Cell::Text(..) => "text",
            Cell::Integer(..) => "integer",
            Cell::Number(..) => "number",
            Cell::Flag(..) => "flag",
        };
        (column.name, kind)
    })
}

/// Rows as CSV, with the same columns; safe to open in a spreadsheet.
pub(super) fn csv(rows: &[Row], out: &mut dyn Write) -> csv::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(COLUMNS.iter().map(|column| column.name))?;
    for row in rows {
        for column in COLUMNS {
            let text = match column.cell {
                _ if column.name == SERIES => Some(row.key.id().to_string().into()),
                Cell::Text(get, _) => get(row).map(harmless),
                Cell::Integer(get, _) => Some(get(row).to_string().into()),
                Cell::Number(get, _) => get(row).map(|x| x.to_string().into()),
                Cell::Flag(get, _) => Some(get(row).to_string().into()),
            };
            csv.write_field(text.unwrap_or_default().as_bytes())?;
        }
        csv.write_record(None::<&[u8]>)?;
    }
    csv.flush()?;
    Ok(())
}

/// In the order in which rows are kept: a series is in one piece, and by time.
pub(super) fn sort(rows: &mut [Row]) {
    rows.sort_by_cached_key(|r| (r.key.id(), r.night.clone(), r.measured_at.clone(), r.run.clone()));
}

/// Written bytes that can be looked at while a writer holds them.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Rows as a file, sorted.
///
/// # Errors
/// polars refuses; nothing that a row can hold makes it do so.
pub(super) fn encode(mut rows: Vec<Row>) -> Result<Vec<u8>, String> {
    sort(&mut rows);
    encode_sorted(&rows).map_err(|error| error.to_string())
}

fn encode_sorted(rows: &[Row]) -> PolarsResult<Vec<u8>> {
    let field = |c: &Column| Field::new(c.name.into(), c.dtype()).to_arrow(CompatLevel::oldest());
    let schema = COLUMNS.iter().map(|c| (c.name.into(), field(c))).collect();
    let out = Shared::default();
    let mut writer = FileWriter::try_new(out.clone(), schema, PARQUET_OPTIONS)?;
    let fields = writer.parquet_schema().fields().to_vec();
    let encodings: Vec<Vec<Encoding>> = COLUMNS.iter().map(|c| vec![c.encoding()]).collect();
    let mut checks: Vec<Check> = Vec::new();
    for part in rows.chunks(GROUP_ROWS) {
        let columns = COLUMNS.iter().map(|column| column.of(part).into()).collect();
        let frame = DataFrame::new(part.len(), columns)?;
        for batch in frame.iter_chunks(CompatLevel::oldest(), false) {
            let height = batch.len() as u64;
            let from = out.0.borrow().len();
            let group = row_group_iter(batch, encodings.clone().into(), fields.clone(), PARQUET_OPTIONS);
            writer.write(height, group)?;
            let written = out.0.borrow();
            let group = written.get(from..).unwrap_or_default();
            checks.push(Check { from: from as u64, to: written.len() as u64, hash: hash(group) });
        }
    }
    let checks: Vec<String> = checks.iter().map(Check::to_string).collect();
    let (version, checks) = (HISTORY_SCHEMA.to_string(), checks.join(" "));
    let open = "0".repeat(HASH_DIGITS);
    let about = [(TABLE_KEY, TABLE_NAME), (SCHEMA_KEY, &version), (GROUPS_KEY, &checks), (FOOTER_KEY, &open)];
    let about = about.map(|(key, value)| KeyValue { key: key.to_owned(), value: Some(value.to_owned()) });
    writer.end(Some(about.to_vec()))?;
    drop(writer);
    let mut bytes = out.0.take();
    seal(&mut bytes);
    Ok(bytes)
}

/// Puts the hash of the footer into it; it is reckoned with zeros in its own place.
fn seal(bytes: &mut [u8]) {
    let length = bytes.len().saturating_sub(END_BYTES);
    let footer = bytes.get(length..).and_then(footer_bytes).and_then(|n| length.checked_sub(n));
    if let Some(footer) = footer.and_then(|from| bytes.get_mut(from..length))
        && let Some(place) = place_of_seal(footer)
    {
        let found = hash(footer);
        footer[place].copy_from_slice(found.as_bytes());
    }
}

/// Whether a footer is as it was written.
fn is_sealed(footer: &[u8]) -> bool {
    let Some(place) = place_of_seal(footer) else { return false };
    let (mut footer, told) = (footer.to_vec(), footer[place.clone()].to_vec());
    footer[place].fill(b'0');
    hash(&footer).as_bytes() == told
}

/// Where the digits are: behind their key, a byte of the field and one of their number.
fn place_of_seal(footer: &[u8]) -> Option<Range<usize>> {
    let key = FOOTER_KEY.as_bytes();
    let from = footer.windows(key.len()).position(|part| part == key)? + key.len() + 2;
    footer.get(from..from + HASH_DIGITS).map(|_| from..from + HASH_DIGITS)
}

/// Length of the footer, from what every Parquet file ends with.
fn footer_bytes(end: &[u8]) -> Option<usize> {
    let length = end.strip_suffix(b"PAR1")?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(length)).ok()
}

fn hash(bytes: &[u8]) -> String {
    Sha256Hex::of_bytes(bytes).as_str().chars().take(HASH_DIGITS).collect()
}

/// The bytes of a group, and their hash: what lies between its columns is none of theirs, and is checked as well.
struct Check {
    from: u64,
    to: u64,
    hash: String,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.from, self.to, self.hash)
    }
}

impl FromStr for Check {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, '-');
        let mut number = || parts.next()?.parse::<u64>().ok();
        let range = number().zip(number());
        let (Some((from, to)), Some(hash)) = (range, parts.next()) else {
            return Err("the hashes of its groups are no hashes".to_owned());
        };
        Ok(Self { from, to, hash: hash.to_owned() })
    }
}

/// A file whose footer was read.
pub(super) struct Part {
    file: File,
    about: FileMetadata,
    schema: ArrowSchema,
    checks: Vec<Check>,
    /// Columns that this version does not know.
    pub(super) unknown: Vec<String>,
}

/// What of a file is wanted.
#[derive(Clone, Copy, Default)]
pub(super) struct Wanted<'a> {
    /// Series whose ids lie in this range; `None`: all.
    pub(super) ids: Option<(SeriesId, SeriesId)>,
    /// Names of columns; `None`: all. Fields of others keep their default.
    pub(super) columns: Option<&'a [&'a str]>,
}

impl Part {
    /// Reads the footer.
    ///
    /// # Errors
    /// The file is no such file, or is damaged.
    pub(super) fn open(file: File) -> Result<Self, String> {
        guarded(|| Self::open_unguarded(file))
    }

    fn open_unguarded(mut file: File) -> Result<Self, String> {
        let bytes = file.metadata().map_err(|e| e.to_string())?.len();
        if bytes > MAX_FILE_BYTES {
            return Err(format!("longer than {MAX_FILE_BYTES} bytes"));
        }
        // before anything of it is believed
        match read_footer(&mut file, bytes).map_err(|e| e.to_string())? {
            None => return Err("it is cut short, or no Parquet file".to_owned()),
            Some(footer) if !is_sealed(&footer) => {
                return Err("its footer is not as it was written, or not of a history".to_owned());
            }
            Some(_) => {}
        }
        let about = read_metadata(&mut file).map_err(|e| e.to_string())?;
        let value = |key: &str| {
            let all = about.key_value_metadata.iter().flatten();
            all.filter(|kv| kv.key == key).find_map(|kv| kv.value.clone())
        };
        if value(TABLE_KEY).as_deref() != Some(TABLE_NAME) {
            return Err("this Parquet file holds no history".to_owned());
        }
        let version = value(SCHEMA_KEY).unwrap_or_default();
        if version != HISTORY_SCHEMA.to_string() {
            return Err(format!("schema {version:?} of rows, this version reads {HISTORY_SCHEMA}"));
        }
        let checks = value(GROUPS_KEY).unwrap_or_default();
        let checks = checks.split_whitespace().map(Check::from_str).collect::<Result<Vec<_>, _>>()?;
        if checks.len() != about.row_groups.len() {
            return Err("the hashes of its groups are missing".to_owned());
        }
        let known = |name: &str| COLUMNS.iter().any(|column| column.name == name);
        let all = about.schema().fields().iter().map(|field| field.name().to_string());
        let unknown = all.filter(|name| !known(name)).collect();
        let schema = infer_schema(&about).map_err(|e| e.to_string())?;
        Ok(Self { file, about, schema, checks, unknown })
    }

    /// Rows in the file.
    pub(super) fn rows(&self) -> usize {
        self.about.num_rows
    }

    /// All rows that are wanted, group by group.
    ///
    /// # Errors
    /// A group is damaged; what was visited before is whole.
    pub(super) fn visit(&mut self, wanted: Wanted<'_>, visit: &mut dyn FnMut(Row)) -> Result<(), String> {
        for group in 0..self.about.row_groups.len() {
            if !wanted.ids.is_none_or(|ids| self.may_hold(group, ids)) {
                continue;
            }
            let rows = guarded(|| self.group(group, wanted))?;
            rows.into_iter().for_each(&mut *visit);
        }
        Ok(())
    }

    /// False where the footer says that no series of the group lies in that range.
    fn may_hold(&self, group: usize, (from, to): (SeriesId, SeriesId)) -> bool {
        let columns = self.about.row_groups[group].columns_under_root_iter(SERIES);
        let found = columns.and_then(|mut c| c.next()).and_then(|c| c.statistics(&self.about.footer_buf));
        match found {
            Some(Ok(Statistics::Int64(s))) => {
                s.min_value.is_none_or(|min| min <= to.0) && s.max_value.is_none_or(|max| max >= from.0)
            }
            _ => true,
        }
    }

    fn group(&mut self, group: usize, wanted: Wanted<'_>) -> Result<Vec<Row>, String> {
        let (rows, check) = (self.about.row_groups[group].num_rows(), &self.checks[group]);
        let length = check.to.saturating_sub(check.from);
        if length > MAX_GROUP_BYTES || rows > GROUP_ROWS {
            return Err(format!("group {group} is larger than any that is written"));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        self.file
            .seek(SeekFrom::Start(check.from))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|e| format!("group {group}: {e}"))?;
        if hash(&bytes) != check.hash {
            return Err(format!("group {group} is not as it was written"));
        }
        let start = check.from;
        let group = Group { part: self, group, bytes, start };
        group.rows(wanted).map_err(|e| e.to_string())
    }
}

/// The footer of a file of so many bytes; `None` where its end is not that of a Parquet file.
fn read_footer(file: &mut File, bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let mut end = [0; END_BYTES];
    let Some(at) = bytes.checked_sub(END_BYTES as u64) else { return Ok(None) };
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut end)?;
    let length = footer_bytes(&end).filter(|length| *length <= MAX_FOOTER_BYTES && *length as u64 <= at);
    let Some(length) = length else { return Ok(None) };
    let mut footer = vec![0; length];
    file.seek(SeekFrom::Start(at - length as u64))?;
    file.read_exact(&mut footer)?;
    Ok(Some(footer))
}

/// The bytes of one group.
struct Group<'a> {
    part: &'a Part,
    group: usize,
    bytes: Vec<u8>,
    start: u64,
}

impl Group<'_> {
    fn rows(&self, wanted: Wanted<'_>) -> PolarsResult<Vec<Row>> {
        let all = 0..self.part.about.row_groups[self.group].num_rows();
        let range = match wanted.ids {
            None => all,
            Some((from, to)) => {
                let ids = self.column(SERIES, all.clone())?;
                let ids: Vec<i64> = match &ids {
                    Some(ids) => ids.i64()?.iter().map(Option::unwrap_or_default).collect(),
                    None => Vec::new(),
                };
                // sorted by this column
                ids.partition_point(|id| *id < from.0)..ids.partition_point(|id| *id <= to.0)
            }
        };
        let mut rows = vec![Row::default(); range.len()];
        let asked = |c: &&Column| wanted.columns.is_none_or(|names| names.contains(&c.name));
        for column in COLUMNS.iter().filter(asked).filter(|_| !range.is_empty()) {
            if let Some(values) = self.column(column.name, range.clone())? {
                column.put(&values, &mut rows)?;
            }
        }
        Ok(rows)
    }

    /// Rows of a column; `None` where the file has none of that name.
    fn column(&self, name: &str, rows: Range<usize>) -> PolarsResult<Option<Series>> {
        let Some(field) = self.part.schema.get(name) else { return Ok(None) };
        let chunks = self.part.about.row_groups[self.group].columns_under_root_iter(name);
        let Some(chunk) = chunks.and_then(|mut chunks| chunks.next()) else { return Ok(None) };
        let range = chunk.byte_range();
        let place = |at: u64| usize::try_from(at.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let bytes = self.bytes.get(place(range.start)..place(range.end)).unwrap_or_default().to_vec();
        let pages = PageReader::new(Cursor::new(bytes.into()), chunk, Vec::new(), MAX_PAGE_BYTES);
        let pages = BasicDecompressor::new(pages, Vec::new());
        let kind = &chunk.descriptor().descriptor.primitive_type;
        let filter = Some(Filter::new_ranged(rows.start, rows.end));
        let (arrays, _) = column_iter_to_arrays(vec![pages], vec![kind], field.clone(), filter)?;
        Series::try_from((field, arrays)).map(Some)
    }
}

/// A file may be anything; what its reader does not foresee is damage as well.
fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("its structure makes no sense".to_owned()))
}
