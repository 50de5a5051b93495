//! `bench history`: what was measured night after night. Asks, and keeps the house; the nights are measured elsewhere.

use crate::{
    exit::{CommandResult, Exit, ExitWith, Failure},
    history,
    progress::say,
    render::width,
    runs,
    settings::{Layer, Settings},
    stdout::{print, print_json, stream},
    values::human_bytes,
};
use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use jiff::Timestamp;
use reports::{
    history::{
        Alarm, Change, Filter, History, Night, Nights, Note, Outcome, RAW_NIGHTS, Reading, Row, SeriesInfo,
        SeriesKey, Trend, rows, show, trend,
    },
    store,
    verdict::verdicts,
    visible,
};
use serde_json::json;
use stats::Pelt;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Most notes and most series that are printed at once.
const MAX_NOTES: usize = 20;
const MAX_TRENDS: usize = 50;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// Folder of the history, or s3://bucket/prefix with the usual AWS_* variables [default: history, beside the runs]
    #[arg(long, global = true, env = "BENCH_HISTORY", value_name = "PLACE")]
    history: Option<String>,
    /// Folder in which runs are kept [default: runs]
    #[arg(long, global = true, env = "BENCH_OUT", value_name = "DIR")]
    out: Option<PathBuf>,
    /// Folder for copies of files of a bucket [default: ~/.cache/bench]
    #[arg(long, global = true, env = "BENCH_CACHE", value_name = "DIR")]
    cache: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the series
    Ls {
        #[command(flatten)]
        wanted: Wanted,
        /// What to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show a series over time, with its changes of level
    Trend {
        /// Short name of a series, as `ls` prints it; without it, all that the other flags name
        #[arg(value_name = "SERIES")]
        series: Option<String>,
        #[command(flatten)]
        wanted: Wanted,
        #[command(flatten)]
        nights: Between,
        /// What to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// List changes of level, what else changed there, and what became of their alarms
    Changes {
        #[command(flatten)]
        wanted: Wanted,
        #[command(flatten)]
        nights: Between,
        /// What to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Say that an alarm is known, and why
    Ack {
        /// Its name, as `changes` prints it
        #[arg(value_name = "ALARM")]
        alarm: String,
        /// Why the change is as it is
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Who says so [default: $USER]
        #[arg(long, value_name = "NAME")]
        who: Option<String>,
    },
    /// Put the files of finished months together, and remove old raw samples
    Compact {
        /// This month alone, finished or not, as 2026-12
        #[arg(long, value_name = "MONTH")]
        month: Option<String>,
        /// Days for which raw samples are kept
        #[arg(long, value_name = "DAYS", default_value_t = RAW_NIGHTS)]
        raw_nights: u32,
    },
    /// Keep what earlier runs found
    Import {
        /// Folders or names of runs
        #[arg(value_name = "RUN", required = true)]
        runs: Vec<String>,
        /// The night they belong to, as 2026-12-01 [default: the day of each run]
        #[arg(long, value_name = "DATE")]
        night: Option<String>,
        /// Keep every timed sample as well
        #[arg(long)]
        raw: bool,
    },
    /// Write rows as one CSV or Parquet file
    Export {
        /// The file, .csv or .parquet, or `-` for CSV on stdout
        #[arg(long, value_name = "FILE", default_value = "-")]
        to: PathBuf,
        #[command(flatten)]
        wanted: Wanted,
        #[command(flatten)]
        nights: Between,
    },
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// For spreadsheets
    Csv,
    /// Last values and alarms, for time series; with `ls`
    Openmetrics,
}

/// Which series.
#[derive(Debug, clap::Args)]
struct Wanted {
    /// Of these devices
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    device: Vec<String>,
    /// Of these suites
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    suite: Vec<String>,
    /// Of these variants; a model stands for all of its variants
    #[arg(long, value_name = "MODEL@VARIANT", value_delimiter = ',')]
    variant: Vec<String>,
    /// Of these metrics, e.g. latency_ns
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    metric: Vec<String>,
    /// Of these runtimes; one without a backend stands for all of them
    #[arg(long, value_name = "RUNTIME/BACKEND", value_delimiter = ',')]
    runtime: Vec<String>,
}

impl From<&Wanted> for Filter {
    fn from(wanted: &Wanted) -> Self {
        Self {
            devices: wanted.device.clone(),
            suites: wanted.suite.clone(),
            variants: wanted.variant.clone(),
            metrics: wanted.metric.clone(),
            runtimes: wanted.runtime.clone(),
        }
    }
}

/// Which nights.
#[derive(Debug, clap::Args)]
struct Between {
    /// From this night on, as 2026-12-01
    #[arg(long, value_name = "DATE")]
    since: Option<String>,
    /// Up to this night
    #[arg(long, value_name = "DATE")]
    until: Option<String>,
}

impl Between {
    fn nights(&self) -> CommandResult<Nights> {
        for date in [&self.since, &self.until].into_iter().flatten() {
            check_date(date)?;
        }
        Ok(Nights { from: self.since.clone(), to: self.until.clone() })
    }
}

fn check_date(text: &str) -> CommandResult<()> {
    match text.parse::<jiff::civil::Date>() {
        Ok(date) if date.to_string() == text => Ok(()),
        _ => Err(Failure::usage(format!("{text:?} is no date like 2026-12-01"))),
    }
}

/// Does it.
pub(crate) fn work(args: Args, config: Option<&Path>) -> CommandResult {
    let Args { what, history: place, out, cache } = args;
    let settings = Settings::resolve(Layer { history: place, out, cache, ..Layer::default() }, config)?;
    let history = history::open(&settings)?;
    match what {
        What::Ls { wanted, format } => list(&history, &Filter::from(&wanted), format),
        What::Trend { series, wanted, nights, format } => {
            let trends = trends(&history, series.as_deref(), &Filter::from(&wanted), &nights.nights()?)?;
            show_trends(&history, &trends, format)
        }
        What::Changes { wanted, nights, format } => {
            changes(&history, &Filter::from(&wanted), &nights.nights()?, format)
        }
        What::Ack { alarm, reason, who } => acknowledge(&history, &alarm, &reason, who),
        What::Compact { month, raw_nights } => compact(&history, month.as_deref(), raw_nights),
        What::Import { runs, night, raw } => import(&history, &settings, &runs, night.as_deref(), raw),
        What::Export { to, wanted, nights } => {
            export(&history, &to, &Filter::from(&wanted), &nights.nights()?)
        }
    }
}

/// What was read, once its notes are told.
fn told<T>(reading: Reading<T>) -> T {
    tell(&reading.notes);
    reading.found
}

fn tell(notes: &[Note]) {
    for note in notes.iter().take(MAX_NOTES) {
        say(&format!("history: {}", visible(&note.to_string())));
    }
    if notes.len() > MAX_NOTES {
        say(&format!("history: {} more notes", notes.len() - MAX_NOTES));
    }
}

fn nothing(history: &History) -> Failure {
    Failure::nothing(format!(
        "no such series in the history {}; `bench history ls` lists all, `bench history import RUN` adds runs",
        history.place()
    ))
}

fn no_metrics() -> Failure {
    Failure::usage("openmetrics has last values and alarms: use it with `bench history ls`")
}

fn list(history: &History, filter: &Filter, format: Format) -> CommandResult {
    let mut series = told(history.series().or_incomplete()?);
    series.retain(|info| filter.holds(&info.key));
    if series.is_empty() {
        return Err(nothing(history));
    }
    match format {
        Format::Text => print(&show::series(&series, width()))?,
        Format::Json => print_json(&series)?,
        Format::Csv => stream(|out| Ok(show::series_csv(&series, out)?))?,
        Format::Openmetrics => {
            let mut alarms = told(history.alarms().or_incomplete()?);
            alarms.retain(|alarm| filter.holds(&alarm.change.key));
            stream(|out| Ok(show::openmetrics(&series, &alarms, out)?))?;
        }
    }
    Ok(Exit::Fine)
}

/// One series by its short name, or all that a filter holds.
fn trends(
    history: &History,
    series: Option<&str>,
    filter: &Filter,
    nights: &Nights,
) -> CommandResult<Vec<(Trend, Vec<Row>)>> {
    let listed = told(history.series().or_incomplete()?);
    let called =
        |info: &&SeriesInfo| series.is_none_or(|name| info.id.is_called(name)) && filter.holds(&info.key);
    let chosen: Vec<&SeriesKey> = listed.iter().filter(called).map(|info| &info.key).collect();
    if series.is_none() && filter.is_empty() {
        return Err(Failure::usage(
            "name a series, as `bench history ls` prints it, or some with --device, --variant, …",
        ));
    }
    if chosen.is_empty() {
        return Err(nothing(history));
    }
    if chosen.len() > MAX_TRENDS {
        return Err(Failure::usage(format!(
            "{} series are too many to show: name fewer than {MAX_TRENDS}",
            chosen.len()
        )));
    }
    let one = |key: &SeriesKey| {
        let rows = told(history.read(key, nights).or_incomplete()?);
        Ok((trend(&rows, Pelt::REPORT), rows))
    };
    chosen.into_iter().map(one).collect()
}

fn show_trends(history: &History, trends: &[(Trend, Vec<Row>)], format: Format) -> CommandResult {
    let alarms = told(history.alarms().or_incomplete()?);
    match format {
        Format::Text => {
            let pages: Vec<String> =
                trends.iter().map(|(trend, _)| show::trend(trend, &alarms, width())).collect();
            print(&pages.join("\n"))?;
        }
        Format::Json => print_json(&trends.iter().map(|(trend, _)| trend).collect::<Vec<_>>())?,
        Format::Csv => {
            let rows: Vec<Row> = trends.iter().flat_map(|(_, rows)| rows.clone()).collect();
            stream(|out| Ok(show::csv(&rows, out)?))?;
        }
        Format::Openmetrics => return Err(no_metrics()),
    }
    Ok(Exit::Fine)
}

fn changes(history: &History, filter: &Filter, nights: &Nights, format: Format) -> CommandResult {
    let mut series = told(history.read_all(nights).or_incomplete()?);
    series.retain(|key, _| filter.holds(key));
    if series.is_empty() {
        return Err(nothing(history));
    }
    let alarms = told(history.alarms().or_incomplete()?);
    let alarm_of = |change: &Change| alarms.iter().find(|alarm| alarm.is_about(change)).cloned();
    let mut found: Vec<(Change, Option<Alarm>)> = Vec::new();
    for change in series.values().flat_map(|rows| trend(rows, Pelt::REPORT).changes) {
        let alarm = alarm_of(&change);
        found.push((change, alarm));
    }
    // what was proposed is known more willingly than what is shown
    for alarm in alarms.iter().filter(|alarm| filter.holds(&alarm.change.key)) {
        let known =
            |(_, other): &(Change, Option<Alarm>)| other.as_ref().is_some_and(|other| other.id == alarm.id);
        if !found.iter().any(known) {
            found.push((alarm.change.clone(), Some(alarm.clone())));
        }
    }
    found.sort_by(|(a, _), (b, _)| (&b.since, &a.key).cmp(&(&a.since, &b.key)));
    match format {
        Format::Text if found.is_empty() => print("no change of level\n")?,
        Format::Text => print(&show::changes(&found, width()))?,
        Format::Json => {
            let all: Vec<_> =
                found.iter().map(|(change, alarm)| json!({ "change": change, "alarm": alarm })).collect();
            print_json(&all)?;
        }
        Format::Csv => stream(|out| Ok(show::changes_csv(&found, out)?))?,
        Format::Openmetrics => return Err(no_metrics()),
    }
    Ok(Exit::Fine)
}

fn acknowledge(history: &History, alarm: &str, reason: &str, who: Option<String>) -> CommandResult {
    if reason.trim().is_empty() {
        return Err(Failure::usage("--reason is empty: say why the change is as it is"));
    }
    let alarms = told(history.alarms().or_incomplete()?);
    let named: Vec<&Alarm> = alarms.iter().filter(|known| known.id.starts_with(alarm)).collect();
    let [known] = named[..] else {
        return Err(Failure::usage(format!(
            "{} alarms are called {}: `bench history changes` lists all",
            if named.is_empty() { "no".to_owned() } else { named.len().to_string() },
            visible(alarm)
        )));
    };
    let who = who.or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "somebody".to_owned());
    let outcome = Outcome::Acknowledged { who, reason: reason.to_owned() };
    history.record(&known.id, &Timestamp::now().to_string(), outcome).or_incomplete()?;
    print(&format!("{} acknowledged\n", known.id))?;
    Ok(Exit::Fine)
}

fn today() -> String {
    Timestamp::now().to_string().chars().take(10).collect()
}

fn compact(history: &History, month: Option<&str>, raw_nights: u32) -> CommandResult {
    let done = match month {
        None => history.compact(&today(), raw_nights).or_incomplete()?,
        Some(month) => {
            check_date(&format!("{month}-01"))?;
            vec![history.compact_month(month).or_incomplete()?]
        }
    };
    for month in &done {
        tell(&month.notes);
        if month.removed > 0 {
            print(&format!(
                "{}: {} rows of {} files in {}, {} instead of {}\n",
                month.month,
                month.rows,
                month.removed,
                month.files.len(),
                human_bytes(month.bytes_after),
                human_bytes(month.bytes_before)
            ))?;
        }
    }
    let left = done.iter().any(|month| !month.notes.is_empty());
    if done.iter().all(|month| month.removed == 0) {
        print("nothing to put together\n")?;
    }
    Ok(if left { Exit::Incomplete } else { Exit::Fine })
}

fn import(
    history: &History,
    settings: &Settings,
    names: &[String],
    night: Option<&str>,
    raw: bool,
) -> CommandResult {
    night.map_or(Ok(()), check_date)?;
    for name in names {
        let record = store::load(&runs::find(name, &settings.out)?).or_usage()?;
        let found = verdicts(&record);
        let of_run = Night::of_run(&record.plan);
        let night = Night { date: night.map_or(of_run.date.clone(), str::to_owned), ..of_run };
        let rows = rows(&record, &found, &night);
        if rows.is_empty() {
            say(&format!("history: {} has nothing to keep", record.plan.run));
            continue;
        }
        let kept = history.append(&rows).or_usage()?;
        tell(&kept.notes);
        if raw {
            history.append_raw(&record, &found, &night).or_usage()?;
        }
        let what = if kept.new { "kept" } else { "was there already" };
        print(&format!("{} {what}: {} rows in {}\n", record.plan.run, rows.len(), kept.file))?;
    }
    Ok(Exit::Fine)
}

fn export(history: &History, to: &Path, filter: &Filter, nights: &Nights) -> CommandResult {
    let parquet = match to.extension().and_then(|e| e.to_str()) {
        Some("parquet") => true,
        Some("csv") => false,
        _ if to.as_os_str() == "-" => false,
        _ => return Err(Failure::usage(format!("{}: name a .csv or .parquet file, or -", to.display()))),
    };
    let mut series = told(history.read_all(nights).or_incomplete()?);
    series.retain(|key, _| filter.holds(key));
    let rows: Vec<Row> = series.into_values().flatten().collect();
    if rows.is_empty() {
        return Err(nothing(history));
    }
    if to.as_os_str() == "-" {
        stream(|out| Ok(show::csv(&rows, out)?))?;
        return Ok(Exit::Fine);
    }
    if let Some(folder) = to.parent().filter(|p| !p.as_os_str().is_empty()) {
        fs::create_dir_all(folder)
            .with_context(|| format!("{} cannot be made", folder.display()))
            .or_usage()?;
    }
    let count = rows.len();
    let mut bytes = Vec::new();
    match parquet {
        true => bytes = show::parquet(rows).or_incomplete()?,
        false => show::csv(&rows, &mut bytes).or_incomplete()?,
    }
    store::write_atomic(to, &bytes).or_incomplete()?;
    print(&format!("{}: {count} rows\n", to.display()))?;
    Ok(Exit::Fine)
}
