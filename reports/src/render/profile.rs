//! Where the time goes, for a terminal: the slowest nodes of every profiled case, side by side.

use super::{Format, Kept, Options, RenderError};
use crate::profile::{Profile, TimedNode, UnitTime};
use crate::record::{CaseIndex, Purpose, RunRecord};
use crate::table::Source;
use crate::text;
use crate::view::View;
use comfy_table::{ContentArrangement, LineStyle, Table, TableStyle, presets};
use std::io::Write;

pub(super) const FORMAT: Format = Format {
    name: "profile",
    file: "profile.txt",
    kept: Kept::OnRequest,
    text: true,
    about: "the slowest nodes of every case, side by side",
    render,
};

/// Nodes of a case that are listed.
const TOP: usize = 10;
/// Columns that a case needs to be read.
const CASE_WIDTH: u16 = 42;
/// Longest name of a node, from its end.
const NAME_CHARS: usize = 28;
/// What the sums are not.
const CAVEAT: &str = "Profiling takes time of its own, and LiteRT and ONNX Runtime tell whole microseconds: sums are no latencies\n\
    and runtimes are not to be compared by them. bench compare measures latency.\n";
/// A line below the header, none between rows.
const LINES: TableStyle = presets::NOTHING.header_separator(LineStyle::new('─', '─', '─', '─'));

fn render(source: Source<'_>, options: &Options, out: &mut dyn Write) -> Result<(), RenderError> {
    let view = View::new(source.record, source.verdicts);
    let cases = 0..source.record.plan.variants().len();
    let profiles: Vec<Profile<'_>> =
        cases.clone().filter_map(|case| Profile::of(source.record, case)).collect();
    let mut page = String::new();
    let abreast = usize::from((options.width / CASE_WIDTH).max(1));
    for some in profiles.chunks(abreast) {
        page.push_str(&side_by_side(&view, some, options));
        page.push('\n');
    }
    if cases.is_empty() {
        page.push_str("Nothing was profiled.\n");
    }
    for case in cases.filter(|case| !profiles.iter().any(|profile| profile.case == *case)) {
        page.push_str(&format!("{}: no profile{}\n", view.name(case), why(source.record, case)));
    }
    if !profiles.is_empty() {
        page.push_str(CAVEAT);
    }
    // a terminal has no use for a narrow space
    out.write_all(page.replace('\u{202f}', " ").as_bytes())?;
    Ok(())
}

/// What became of the trial that should have brought one.
fn why(record: &RunRecord, case: CaseIndex) -> String {
    let units = record.units.iter().filter(|unit| unit.purpose == Purpose::Profile);
    let mut trials = units.flat_map(|unit| &unit.trials).filter(|trial| trial.case == case);
    match trials.next().map(|trial| &trial.outcome) {
        Some(protocol::Outcome::Failed { message, .. }) => format!(": {}", text::clean(message)),
        Some(protocol::Outcome::Crashed { signal, .. }) => {
            format!(": its worker was ended by signal {signal}")
        }
        Some(protocol::Outcome::TimedOut) => ": its worker outlived its deadline".to_owned(),
        _ => String::new(),
    }
}

fn side_by_side(view: &View<'_>, profiles: &[Profile<'_>], options: &Options) -> String {
    let mut table = Table::new();
    table.load_style(LINES).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(options.width);
    table.set_header(profiles.iter().map(|p| view.name(p.case)));
    table.add_row(profiles.iter().map(summary));
    let slowest: Vec<_> = profiles.iter().map(|profile| (profile, profile.slowest(TOP))).collect();
    let rows = slowest.iter().map(|(_, nodes)| nodes.len()).max().unwrap_or_default();
    for row in 0..rows {
        table
            .add_row(slowest.iter().map(|(p, nodes)| nodes.get(row).map(|n| cell(p, n)).unwrap_or_default()));
    }
    format!("{table}\n")
}

fn summary(profile: &Profile<'_>) -> String {
    let unit = |UnitTime { unit, nodes, share }: UnitTime<'_>| {
        let unit = if unit.is_empty() { "unit not told".into() } else { text::clean(unit) };
        format!("{nodes} on {unit} {}", text::percent(share, 0))
    };
    let units: Vec<String> = profile.units().into_iter().map(unit).collect();
    format!("{} in all; {}", text::time(profile.total_ns), units.join(", "))
}

fn cell(profile: &Profile<'_>, timed: &TimedNode<'_>) -> String {
    let name = text::clean(&timed.node.node);
    let chars = name.chars().count();
    let short: String = match chars.checked_sub(NAME_CHARS) {
        Some(more) if more > 0 => std::iter::once('…').chain(name.chars().skip(more + 1)).collect(),
        _ => name.into_owned(),
    };
    let share = text::percent(profile.share(timed.median_ns), 1);
    format!("{:>8} {share:>6}  {} {short}", text::time(timed.median_ns), text::clean(&timed.node.op))
}
