//! The table of all devices: asked at the same time through their shells, each under its deadline. Starts no
//! agent and pushes nothing.

use super::with_identity;
use crate::{
    agents::Agents,
    commands::FactsFormat,
    devices::{Known, Listing, Registry},
    exit::{CommandResult, Exit},
    progress::say,
    settings::Settings,
    stdout::{print, print_json},
    transport::{HostFile, Look, TransportError},
    values::human_bytes,
};
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle, presets};
use serde_json::{Value, json};
use std::{collections::BTreeMap, io};
use terminal_size::{Width, terminal_size_of};
use tokio::task::JoinSet;

/// A line below the header, none between rows.
const LINES: TableStyle = presets::NOTHING.header_separator(LineStyle::new('─', '─', '─', '─'));

/// Printed where a device tells nothing.
const NONE: &str = "–";

/// A device, and what was seen.
struct Row {
    known: Known,
    seen: Result<Look, String>,
    agent: Agent,
}

/// How a device gets its agent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Agent {
    /// It has it, of this version.
    There,
    /// The next run pushes it.
    ToPush,
    /// The host has none for it.
    Missing(String),
    /// Nobody knows what it needs.
    Unknown,
}

/// Prints the table. Devices that cannot be used are part of the answer, and no failure.
pub(super) async fn show(settings: &Settings, format: FactsFormat) -> CommandResult {
    let registry = Registry::read(settings)?;
    let Listing { devices, notes } = registry.list().await;
    let rows = seen(&registry, devices, settings.agents()).await;
    match format {
        FactsFormat::Text => {
            let width = terminal_size_of(io::stdout()).map(|(Width(columns), _)| usize::from(columns));
            print(&text(&rows, width.unwrap_or(usize::MAX)))?;
        }
        FactsFormat::Json => print_json(&rows.iter().map(Row::value).collect::<Vec<_>>())?,
    }
    for note in notes {
        say(&reports::visible(&note));
    }
    Ok(Exit::Fine)
}

/// All of them at once: one that hangs costs its own deadline and hides nobody.
async fn seen(registry: &Registry, devices: Vec<Known>, agents: Agents) -> Vec<Row> {
    let mut looks = JoinSet::new();
    let mut all: Vec<(Known, Result<Look, String>)> = Vec::new();
    for (at, known) in devices.into_iter().enumerate() {
        let opened = known.state.clone().and_then(|()| registry.open(known.clone()));
        let waiting = Err("was not asked".to_owned());
        all.push((known, opened.as_ref().err().map_or(waiting, |why| Err(why.clone()))));
        if let Ok(device) = opened {
            looks.spawn(async move { (at, device.way.look().await.map_err(in_words)) });
        }
    }
    for (at, look) in looks.join_all().await {
        if let Some((_, slot)) = all.get_mut(at) {
            *slot = look;
        }
    }
    let mut found = BTreeMap::new();
    let row = |(known, seen): (Known, Result<Look, String>)| {
        let agent = seen.as_ref().map_or(Agent::Unknown, |look| agent(&known, look, &agents, &mut found));
        Row { known, seen, agent }
    };
    all.into_iter().map(row).collect()
}

fn in_words(error: TransportError) -> String {
    match error {
        TransportError::Stalled { seconds, .. } => format!("no answer within {seconds} s"),
        other => other.to_string(),
    }
}

type Found = BTreeMap<String, Result<HostFile, String>>;

fn agent(known: &Known, look: &Look, agents: &Agents, found: &mut Found) -> Agent {
    if matches!(known.transport, "local" | "fake") {
        return Agent::There;
    }
    let Some(arch) = known.agent.as_ref().or(look.arch.as_ref()) else { return Agent::Unknown };
    match found.entry(arch.clone()).or_insert_with(|| agents.find(arch)) {
        Ok(file) if look.agents.contains(&file.sha256) => Agent::There,
        Ok(_) => Agent::ToPush,
        Err(why) => Agent::Missing(why.clone()),
    }
}

const COLUMNS: [&str; 11] =
    ["device", "state", "model", "SoC", "cores", "system", "ABI", "battery", "temp.", "free", "agent"];

impl Row {
    fn trouble(&self) -> Option<&str> {
        match (&self.seen, &self.agent) {
            (Err(why), _) | (Ok(_), Agent::Missing(why)) => Some(why),
            _ => None,
        }
    }

    fn cells(&self) -> [String; COLUMNS.len()] {
        let nothing = Look::default();
        let look = self.seen.as_ref().unwrap_or(&nothing);
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| NONE.to_owned());
        let shown = |value: Option<String>| value.unwrap_or_else(|| NONE.to_owned());
        let about = (!self.known.about.is_empty()).then(|| self.known.about.clone());
        let charging = if look.battery_status.as_deref() == Some("discharging") { " ↓" } else { "" };
        [
            self.known.id.clone(),
            if self.trouble().is_none() { "ready" } else { "not usable" }.to_owned(),
            shown(look.model.clone().or(about)),
            text(&look.soc),
            shown(look.cores.map(|cores| cores.to_string())),
            text(&look.os),
            text(&look.abi),
            shown(look.battery_percent.map(|percent| format!("{percent} %{charging}"))),
            shown(look.milli_celsius.map(|milli| format!("{:.1} °C", milli as f64 / 1000.0))),
            shown(look.free_bytes.map(human_bytes)),
            match &self.agent {
                Agent::There => env!("CARGO_PKG_VERSION").to_owned(),
                Agent::ToPush => "to push".to_owned(),
                Agent::Missing(_) => "to build".to_owned(),
                Agent::Unknown => NONE.to_owned(),
            },
        ]
        .map(|cell| reports::visible(&cell).into_owned())
    }

    fn value(&self) -> Value {
        let nothing = Look::default();
        let look = self.seen.as_ref().unwrap_or(&nothing);
        let agent = match &self.agent {
            Agent::There => json!({ "state": "ready", "version": env!("CARGO_PKG_VERSION") }),
            Agent::ToPush => json!({ "state": "to-push" }),
            Agent::Missing(_) => json!({ "state": "missing" }),
            Agent::Unknown => Value::Null,
        };
        let facts = json!({
            "ready": self.trouble().is_none(),
            "reason": self.trouble(),
            "about": self.known.about,
            "model": look.model,
            "soc": look.soc,
            "cores": look.cores,
            "os": look.os,
            "abi": look.abi,
            "battery_percent": look.battery_percent,
            "battery_status": look.battery_status,
            "milli_celsius": look.milli_celsius,
            "free_bytes": look.free_bytes,
            "agent": agent,
        });
        with_identity(&self.known, facts)
    }
}

/// A table where it fits, else a few lines per device; below it, what is wrong with whom.
fn text(rows: &[Row], width: usize) -> String {
    let wide = table(rows);
    let fits = wide.lines().all(|line| line.chars().count() <= width);
    let mut out = if fits { wide } else { rows.iter().map(narrow).collect() };
    let troubled: Vec<&Row> = rows.iter().filter(|row| row.trouble().is_some()).collect();
    if !troubled.is_empty() && fits {
        out.push('\n');
        for row in troubled {
            out.push_str(&format!(
                "{}: {}\n",
                row.known.id,
                reports::visible(row.trouble().unwrap_or_default())
            ));
        }
    }
    out
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(LINES).set_header(COLUMNS);
    for row in rows {
        table.add_row(row.cells());
    }
    for right in [4, 7, 8, 9] {
        if let Some(column) = table.column_mut(right) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn narrow(row: &Row) -> String {
    let [id, state, model, soc, cores, system, abi, battery, heat, free, agent] = row.cells();
    let mut out = format!("{id}  {state}\n");
    let mut line = |parts: [(&str, String, &str); 4]| {
        let told = parts.into_iter().filter(|(_, value, _)| value != NONE);
        let told: Vec<String> =
            told.map(|(before, value, after)| format!("{before}{value}{after}")).collect();
        if !told.is_empty() {
            out.push_str(&format!("  {}\n", told.join(", ")));
        }
    };
    line([("", model, ""), ("", soc, ""), ("", cores, " cores"), ("", abi, "")]);
    line([("", system, ""), ("battery ", battery, ""), ("", heat, ""), ("", free, " free")]);
    if let Some(why) = row.trouble() {
        out.push_str(&format!("  {}\n", reports::visible(why)));
    } else {
        out.push_str(&format!("  agent {agent}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::TRANSPORTS;

    fn rows() -> Vec<Row> {
        let known = |id: &str| Known::said(&TRANSPORTS[0], id);
        let look = Look {
            model: Some("Pixel \u{202e}8".to_owned()),
            cores: Some(8),
            battery_percent: Some(50),
            battery_status: Some("discharging".to_owned()),
            milli_celsius: Some(41_500),
            ..Look::default()
        };
        vec![
            Row {
                known: Known { id: "pixel".to_owned(), ..known("") },
                seen: Ok(look),
                agent: Agent::ToPush,
            },
            Row {
                known: Known { id: "pi5".to_owned(), ..known("") },
                seen: Err("no route to host".to_owned()),
                agent: Agent::Unknown,
            },
        ]
    }

    #[test]
    fn a_wide_table_has_one_line_per_device_and_a_narrow_one_a_few() {
        let wide = text(&rows(), 200);
        assert_eq!(wide.lines().count(), 2 + 2 + 2, "{wide}");
        assert!(wide.contains("50 % ↓") && wide.contains("41.5 °C") && wide.contains("to push"), "{wide}");
        assert!(wide.ends_with("\npi5: no route to host\n"), "{wide}");
        assert!(!wide.contains('\u{202e}'), "{wide}");
        let narrow = text(&rows(), 40);
        assert!(narrow.lines().all(|line| line.chars().count() <= 60), "{narrow}");
        assert!(narrow.contains("pi5  not usable\n  no route to host\n"), "{narrow}");
    }
}
