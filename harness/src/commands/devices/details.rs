//! Everything about a device, as an agent that was started on it says.

use crate::{
    commands::FactsFormat,
    devices::{Device, Known, Registry},
    exit::{CommandResult, Exit, ExitWith},
    interrupt::Interrupts,
    libraries::Wish,
    link::Hello,
    progress::Progress,
    session::{Greeting, Session},
    settings::Settings,
    stdout::{print, print_json},
    values::human_bytes,
};
use anyhow::Context;
use serde_json::{Value, json};
use std::fmt::Write;

/// Starts an agent on every device that is meant, and prints what it says.
pub(super) async fn show(settings: &Settings, format: FactsFormat) -> CommandResult {
    let all = ask(settings).await?;
    match format {
        FactsFormat::Text => {
            print(&all.iter().map(|(known, greeting)| text(known, greeting)).collect::<String>())?
        }
        FactsFormat::Json => {
            print_json(&all.iter().map(|(known, greeting)| value(known, greeting)).collect::<Vec<_>>())?
        }
    }
    let ready = all.iter().all(|(_, greeting)| greeting.is_ok());
    Ok(if ready { Exit::Fine } else { Exit::Incomplete })
}

async fn ask(settings: &Settings) -> CommandResult<Vec<(Known, Greeting)>> {
    let registry = Registry::read(settings)?;
    let chosen = registry.choose(&settings.devices).await?;
    let devices: Vec<Device> = registry.open_all(chosen.clone())?;
    let interrupts = Interrupts::listen().context("signals cannot be heard").or_incomplete()?;
    let mut session = Session::start(devices, &[], &Wish::nothing(&settings.cache), settings, interrupts)?;
    let greetings = session.greet(&mut Progress::new(true)).await?;
    session.end().await;
    Ok(chosen.into_iter().zip(greetings).collect())
}

fn text(known: &Known, greeting: &Greeting) -> String {
    let mut out = format!("{}\n", known.id);
    let mut line = |name: &str, value: String| {
        writeln!(out, "  {name:<10} {}", reports::visible(&value)).unwrap_or_default();
    };
    if !known.reach.address.is_empty() {
        line("reached", format!("{}:{}", known.transport, known.reach.address));
    }
    if !known.tags.is_empty() {
        line("tags", known.tags.join(" "));
    }
    let hello = match greeting {
        Ok((hello, _)) => hello,
        Err(trouble) => {
            line("not ready", trouble.reason.clone());
            return out;
        }
    };
    let device = &hello.device;
    if let Some(model) = &device.model {
        line("model", model.clone());
    }
    if let Some(soc) = &device.soc {
        line("soc", soc.clone());
    }
    let emulated = if device.emulated { ", emulated" } else { "" };
    line("cpu", format!("{}, {} cores, {}{emulated}", device.cpu, device.cores.len(), device.arch));
    line("features", device.features.join(" "));
    if !device.thermal_zones.is_empty() {
        line("zones", device.thermal_zones.join(", "));
    }
    line("memory", human_bytes(device.memory_bytes));
    line("system", format!("{}, kernel {}, {}", device.os, device.kernel, device.hostname));
    line("agent", format!("{} ({})", hello.agent.version, hello.agent.sha256.short()));
    line("runtimes", runtimes(hello).join(", "));
    out
}

fn runtimes(hello: &Hello) -> Vec<String> {
    let backends = hello.runtimes.iter().filter(|r| !r.pretends);
    backends.flat_map(|r| r.backends.iter().map(|b| format!("{}/{b} {}", r.runtime, r.version))).collect()
}

fn value(known: &Known, greeting: &Greeting) -> Value {
    let told = match greeting {
        Ok((hello, _)) => {
            json!({ "ready": true, "device": hello.device, "agent": hello.agent, "runtimes": hello.runtimes })
        }
        Err(trouble) => json!({ "ready": false, "reason": trouble.reason }),
    };
    super::with_identity(known, told)
}
