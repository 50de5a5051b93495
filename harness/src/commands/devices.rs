//! `bench devices`: what can be measured on, and what it is.

use super::{FactsFormat, block_on};
use crate::{
    devices::Registry,
    exit::{CommandResult, Exit, ExitWith},
    interrupt::Interrupts,
    link::Hello,
    progress::Progress,
    session::{Greeting, Session},
    settings::{Layer, Settings},
    stdout::{print, print_json},
    values::human_bytes,
};
use anyhow::Context;
use serde_json::{Value, json};
use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these [default: all that are found]
    #[arg(value_name = "ID")]
    devices: Vec<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: FactsFormat,
    /// Folder for files that are pushed to the local device [default: ~/.cache/bench]
    #[arg(long, env = "BENCH_CACHE", value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// Starts an agent on every device and prints what it says.
pub(crate) fn work(args: &Args, config: Option<&Path>) -> CommandResult {
    let devices = if args.devices.is_empty() { vec!["all".to_owned()] } else { args.devices.clone() };
    let layer = Layer { cache: args.cache.clone(), device: Some(devices), ..Layer::default() };
    let settings = Settings::resolve(layer, config)?;
    let all = block_on(ask(&settings))?;
    match args.format {
        FactsFormat::Text => print(&all.iter().map(|(id, greeting)| text(id, greeting)).collect::<String>())?,
        FactsFormat::Json => {
            print_json(&all.iter().map(|(id, greeting)| value(id, greeting)).collect::<Vec<_>>())?
        }
    }
    let ready = all.iter().all(|(_, greeting)| greeting.is_ok());
    Ok(if ready { Exit::Fine } else { Exit::Incomplete })
}

async fn ask(settings: &Settings) -> CommandResult<Vec<(String, Greeting)>> {
    let registry = Registry::read(settings)?;
    let devices = registry.open_all(registry.choose(&settings.devices).await?)?;
    let ids: Vec<String> = devices.iter().map(|device| device.known.id.clone()).collect();
    let interrupts = Interrupts::listen().context("signals cannot be heard").or_incomplete()?;
    let mut session = Session::start(devices, &[], settings, interrupts)?;
    let greetings = session.greet(&mut Progress::new(true)).await?;
    session.end().await;
    Ok(ids.into_iter().zip(greetings).collect())
}

fn text(id: &str, greeting: &Greeting) -> String {
    let mut out = format!("{id}\n");
    let mut line = |name: &str, value: String| writeln!(out, "  {name:<10} {value}").unwrap_or_default();
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

fn value(id: &str, greeting: &Greeting) -> Value {
    match greeting {
        Ok((hello, _)) => {
            json!({ "id": id, "ready": true, "device": hello.device, "agent": hello.agent, "runtimes": hello.runtimes })
        }
        Err(trouble) => json!({ "id": id, "ready": false, "reason": trouble.reason }),
    }
}
