//! The history as people and machines read it: tables and a chart for a terminal, CSV, Parquet, OpenMetrics. Reads no
//! file and writes none.

use super::alarm::{Alarm, Outcome};
use super::change::{Basis, Change, Effect, Trend};
use super::format;
use super::row::{Row, SeriesKey};
use super::{HistoryError, SeriesInfo};
use crate::render::{Point, RenderError, family, harmless};
use crate::text;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle, presets};
use protocol::Unit;
use std::io::Write;

/// A line below the header, none between rows.
const LINES: TableStyle = presets::NOTHING.header_separator(LineStyle::new('─', '─', '─', '─'));
/// Lines of a chart.
const CHART_LINES: usize = 9;
/// Columns left of a chart, and its narrowest and widest.
const CHART_MARGIN: usize = 11;
const CHART_WIDTH: (usize, usize) = (20, 160);
/// Digits of a short name that are shown, and of a hash.
const SHOWN_ID: usize = 8;
const SHOWN_HASH: usize = 8;

fn table(header: &[&str], rows: Vec<Vec<String>>, right: &[usize], width: u16) -> String {
    let mut table = Table::new();
    table.load_style(LINES).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width);
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for column in right {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    plain(&lines.concat())
}

/// A terminal has no use for a narrow space.
fn plain(text: &str) -> String {
    text.replace('\u{202f}', " ")
}

fn value(key: &SeriesKey, value: Option<f64>) -> String {
    let unit = key.known_metric().map_or(Unit::Output, |metric| metric.unit);
    value.map_or_else(|| text::NONE.to_owned(), |value| text::value(value, unit))
}

fn runtime(key: &SeriesKey) -> String {
    let threads = if key.threads == 1 { String::new() } else { format!(" ×{}", key.threads) };
    let options =
        if key.options.is_empty() { String::new() } else { format!(" {}", text::clean(&key.options)) };
    format!("{}{threads}{options}", text::clean(&key.runtime))
}

/// One line per series.
pub fn series(all: &[SeriesInfo], width: u16) -> String {
    let row = |info: &SeriesInfo| {
        let key = &info.key;
        vec![
            info.id.to_string()[..SHOWN_ID].to_owned(),
            text::clean(&key.device).into_owned(),
            text::clean(&key.suite).into_owned(),
            text::clean(&key.variant).into_owned(),
            runtime(key),
            text::clean(&key.metric).into_owned(),
            info.last_night.clone(),
            value(key, info.last_value),
            text::count(info.valid as u64),
            text::count(info.invalid as u64),
        ]
    };
    let header = [
        "series",
        "device",
        "suite",
        "variant",
        "runtime",
        "metric",
        "last night",
        "last",
        "values",
        "invalid",
    ];
    table(&header, all.iter().map(row).collect(), &[7, 8, 9], width)
}

/// How much, with its interval.
pub fn effect(key: &SeriesKey, effect: &Effect) -> (String, String) {
    let unit = key.known_metric().map_or(Unit::Output, |metric| metric.unit);
    let (by, interval) = match *effect {
        Effect::Ratio { ratio, low, high } => (text::change(ratio), text::change_interval(low, high)),
        Effect::Difference { difference, low, high } => {
            (text::difference(difference, unit), text::difference_interval(low, high, unit))
        }
    };
    (plain(&by), plain(&interval))
}

fn word(change: &Change) -> &'static str {
    if change.worse { "worse" } else { "better" }
}

/// What changed along with a level, in words.
pub fn moved(change: &Change) -> String {
    let short = |version: &Option<String>| {
        let version = version.as_deref().unwrap_or(text::NONE);
        let hash = version.len() == 64 && version.bytes().all(|b| b.is_ascii_hexdigit());
        if hash { version[..SHOWN_HASH].to_owned() } else { text::clean(version).into_owned() }
    };
    let all = change.moved.iter().map(|moved| {
        let when = if moved.exact { String::new() } else { format!(" (on {})", moved.night) };
        format!("{} {} → {}{when}", moved.what, short(&moved.from), short(&moved.to))
    });
    let all: Vec<String> = all.collect();
    if all.is_empty() { "nothing that is kept".to_owned() } else { all.join("; ") }
}

/// What an alarm has come to, in words.
pub fn state(alarm: &Alarm) -> String {
    let word = match alarm.outcome.as_ref().map(|event| &event.outcome) {
        Some(Outcome::Confirmed { ratio, run, .. }) if !run.is_empty() => {
            format!("confirmed, {}", text::change(*ratio))
        }
        Some(Outcome::Refuted { ratio, .. }) => format!("refuted, {}", text::change(*ratio)),
        Some(Outcome::Unconfirmable { why }) => format!("unconfirmable: {}", text::clean(why)),
        _ => alarm.state.word().to_owned(),
    };
    match alarm.acknowledged.as_ref().map(|event| &event.outcome) {
        Some(Outcome::Acknowledged { who, reason }) => {
            plain(&format!("{word}; acknowledged by {}: {}", text::clean(who), text::clean(reason)))
        }
        _ => plain(&word),
    }
}

/// One line per change, with what became of it.
pub fn changes(all: &[(Change, Option<Alarm>)], width: u16) -> String {
    let row = |(change, alarm): &(Change, Option<Alarm>)| {
        let (by, interval) = effect(&change.key, &change.effect);
        let key = &change.key;
        vec![
            alarm.as_ref().map_or(text::NONE.to_owned(), |alarm| alarm.id.clone()),
            change.since.clone(),
            text::clean(&key.device).into_owned(),
            text::clean(&key.variant).into_owned(),
            runtime(key),
            text::clean(&key.metric).into_owned(),
            format!("{} {by}", word(change)),
            interval,
            moved(change),
            alarm.as_ref().map_or_else(|| "not proposed".to_owned(), state),
        ]
    };
    let header = [
        "alarm",
        "since",
        "device",
        "variant",
        "runtime",
        "metric",
        "change",
        "95 % interval",
        "moved there",
        "state",
    ];
    table(&header, all.iter().map(row).collect(), &[], width)
}

/// A series as a chart and a list of its changes.
pub fn trend(trend: &Trend, alarms: &[Alarm], width: u16) -> String {
    let key = &trend.key;
    let used = trend.points.len() - trend.invalid;
    let mut page = format!("{}  {}\n", key.id(), text::clean(&key.to_string()));
    let (first, last) = (trend.points.first(), trend.points.last());
    let nights = |point: Option<&super::TrendPoint>| point.map_or(text::NONE, |p| &p.night).to_owned();
    page.push_str(&format!(
        "{} from {} to {}, {} not used\n\n",
        text::counted(used, "value"),
        nights(first),
        nights(last),
        trend.invalid
    ));
    page.push_str(&chart(trend, usize::from(width)));
    for change in &trend.changes {
        let (by, interval) = effect(key, &change.effect);
        let basis = match change.basis {
            Basis::Ratio => "by the ratio to the reference",
            Basis::Absolute => "by values as measured",
        };
        let (before, after) = (value(key, Some(change.before.value)), value(key, Some(change.after.value)));
        page.push_str(&format!(
            "\nsince {} ({} … {}): {} {by} ({interval}), {before} → {after}, {basis}\n  moved there: {}\n",
            change.since,
            change.earliest,
            change.latest,
            word(change),
            moved(change)
        ));
        if let Some(alarm) = alarms.iter().find(|alarm| alarm.is_about(change)) {
            page.push_str(&format!("  alarm {}: {}\n", alarm.id, state(alarm)));
        }
    }
    if trend.changes.is_empty() {
        page.push_str("\nno change of level\n");
    }
    plain(&page)
}

/// Medians of neighbouring nights as dots, from left to right; a bar where a new level begins.
fn chart(trend: &Trend, width: usize) -> String {
    let values: Vec<f64> = trend.points.iter().filter_map(|point| point.steadied).collect();
    let (Some(low), Some(high)) =
        (values.iter().copied().reduce(f64::min), values.iter().copied().reduce(f64::max))
    else {
        return "no value to show\n".to_owned();
    };
    let columns =
        width.saturating_sub(CHART_MARGIN).clamp(CHART_WIDTH.0, CHART_WIDTH.1).min(trend.points.len());
    let column_of = |at: usize| at * columns / trend.points.len();
    let mut binned: Vec<Vec<f64>> = vec![Vec::new(); columns];
    let mut begins = vec![false; columns];
    for (at, point) in trend.points.iter().enumerate() {
        binned[column_of(at)].extend(point.steadied);
        if trend.changes.iter().any(|change| change.after.run == point.run) {
            begins[column_of(at)] = true;
        }
    }
    let span = if high > low { high - low } else { 1.0 };
    let line_of = |value: f64| {
        let share = ((value - low) / span).clamp(0.0, 1.0);
        CHART_LINES - 1 - (share * (CHART_LINES - 1) as f64).round() as usize
    };
    let mut lines = vec![vec![' '; columns]; CHART_LINES];
    for (column, values) in binned.iter().enumerate() {
        if begins[column] {
            lines.iter_mut().for_each(|line| line[column] = '│');
        }
        if let Ok(median) = stats::median(values) {
            lines[line_of(median)][column] = '•';
        }
    }
    let mut page = String::new();
    for (at, line) in lines.iter().enumerate() {
        let label = match at {
            0 => value(&trend.key, Some(high)),
            at if at == CHART_LINES - 1 => value(&trend.key, Some(low)),
            _ => String::new(),
        };
        let line: String = line.iter().collect();
        page.push_str(&format!("{label:>9} ┤{}\n", line.trim_end()));
    }
    page
}

/// Rows as CSV; columns as in the files of the history.
///
/// # Errors
/// `out` cannot be written.
pub fn csv(rows: &[Row], out: &mut dyn Write) -> std::io::Result<()> {
    format::csv(rows, out).map_err(std::io::Error::other)
}

/// Rows as one Parquet file; columns as in the files of the history.
///
/// # Errors
/// polars refuses.
pub fn parquet(rows: Vec<Row>) -> Result<Vec<u8>, HistoryError> {
    format::encode(rows).map_err(HistoryError::Refused)
}

/// The last value of every series, and every alarm, as OpenMetrics text.
///
/// # Errors
/// `out` cannot be written.
pub fn openmetrics(all: &[SeriesInfo], alarms: &[Alarm], out: &mut dyn Write) -> Result<(), RenderError> {
    let labels = |key: &SeriesKey| -> Vec<(&'static str, String)> {
        vec![
            ("suite", key.suite.clone()),
            ("device", key.device.clone()),
            ("variant", key.variant.clone()),
            ("runtime", key.runtime.clone()),
            ("threads", key.threads.to_string()),
            ("options", key.options.clone()),
            ("metric", key.metric.clone()),
        ]
    };
    let last = |info: &SeriesInfo| -> Option<Point> { Some((labels(&info.key), info.last_value?)) };
    let help = "last valid value of a series, in the unit that its metric ends in";
    family(out, "bench_history_last", help, all.iter().filter_map(last))?;
    let values = all.iter().map(|info| (labels(&info.key), info.valid as f64));
    family(out, "bench_history_values", "valid values of a series", values)?;
    let alarm = |alarm: &Alarm| -> Point {
        let mut labels = labels(&alarm.change.key);
        labels.push(("alarm", alarm.id.clone()));
        labels.push(("since", alarm.change.since.clone()));
        labels.push(("state", alarm.state.word().to_owned()));
        (labels, f64::from(u8::from(alarm.is_open())))
    };
    family(out, "bench_history_alarm", "1 while confirmed and not acknowledged", alarms.iter().map(alarm))?;
    out.write_all(b"# EOF\n")?;
    Ok(())
}

/// The list of series as CSV.
///
/// # Errors
/// `out` cannot be written.
pub fn series_csv(all: &[SeriesInfo], out: &mut dyn Write) -> std::io::Result<()> {
    let mut header = vec!["series"];
    header.extend(SeriesKey::COLUMNS);
    header.extend(["first_night", "last_night", "values", "invalid", "last_value"]);
    let row = |info: &SeriesInfo| {
        let last = info.last_value.map(|value| value.to_string());
        let mut cells = vec![info.id.to_string()];
        cells.extend(info.key.texts().map(|text| harmless(&text).into_owned()));
        cells.extend([info.first_night.clone(), info.last_night.clone(), info.valid.to_string()]);
        cells.extend([info.invalid.to_string(), last.unwrap_or_default()]);
        cells
    };
    write_csv(&header, all.iter().map(row), out)
}

/// Changes and their alarms as CSV.
///
/// # Errors
/// `out` cannot be written.
pub fn changes_csv(all: &[(Change, Option<Alarm>)], out: &mut dyn Write) -> std::io::Result<()> {
    let mut header = vec!["alarm", "state", "acknowledged"];
    header.extend(SeriesKey::COLUMNS);
    header.extend([
        "since",
        "earliest",
        "latest",
        "worse",
        "kind",
        "effect",
        "effect_low",
        "effect_high",
        "before_value",
        "after_value",
        "before_model_sha256",
        "after_model_sha256",
        "moved",
    ]);
    let row = |(change, alarm): &(Change, Option<Alarm>)| {
        let (kind, numbers) = match change.effect {
            Effect::Ratio { ratio, low, high } => ("ratio", [ratio, low, high]),
            Effect::Difference { difference, low, high } => ("difference", [difference, low, high]),
        };
        let safe = |text: &str| harmless(text).into_owned();
        let mut cells = vec![
            alarm.as_ref().map_or_else(String::new, |alarm| alarm.id.clone()),
            alarm.as_ref().map_or_else(String::new, |alarm| alarm.state.word().to_owned()),
            alarm.as_ref().is_some_and(|alarm| alarm.acknowledged.is_some()).to_string(),
        ];
        cells.extend(change.key.texts().map(|text| safe(&text)));
        cells.extend([&change.since, &change.earliest, &change.latest].map(|text| safe(text)));
        cells.extend([change.worse.to_string(), kind.to_owned()]);
        cells.extend(numbers.map(|number| number.to_string()));
        cells.extend([change.before.value, change.after.value].map(|value| value.to_string()));
        cells.extend([&change.before.model_sha256, &change.after.model_sha256].map(|text| safe(text)));
        cells.push(safe(&moved(change)));
        cells
    };
    write_csv(&header, all.iter().map(row), out)
}

fn write_csv(
    header: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(header)?;
    for row in rows {
        csv.write_record(row)?;
    }
    csv.flush()
}
