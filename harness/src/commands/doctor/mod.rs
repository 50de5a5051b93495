//! `bench doctor`: whether this machine can measure, and how well; every complaint with what to do.

mod checks;
mod ways;

use super::{FactsFormat, block_on};
use crate::{
    devices::Registry,
    exit::{CommandResult, Exit, ExitWith},
    interrupt::Interrupts,
    libraries::Wish,
    progress::Progress,
    session::{Greeting, Session},
    settings::{Layer, Settings},
    stdout::{print, print_json},
};
use anyhow::Context;
use checks::{Check, State, System};
use std::path::Path;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: FactsFormat,
    #[command(flatten, next_help_heading = "Settings")]
    settings: Layer,
}

/// Checks everything and prints what was found; ends with 2 when measuring cannot work.
pub(crate) fn work(args: &Args, config: Option<&Path>) -> CommandResult {
    let settings = Settings::resolve(args.settings.clone(), config)?;
    let system = System { root: "/".into() };
    let mut all = vec![checks::folder("cache", &settings.cache), checks::folder("runs", &settings.out)];
    let usable = all.iter().all(|check| check.state != State::Bad);
    all.push(if usable { agent(&settings)? } else { checks::agent_not_tried() });
    all.extend([
        system.clock(),
        system.governor(),
        system.cores(),
        system.load(),
        system.pressure(),
        system.power(),
        ways::devices(&settings),
        block_on(async { Ok(ways::phones().await) })?,
        ways::ssh(),
        ways::agents(&settings.agents()),
    ]);
    match args.format {
        FactsFormat::Text => print(&all.iter().map(Check::text).collect::<String>())?,
        FactsFormat::Json => print_json(&all)?,
    }
    let bad = all.iter().any(|check| check.state == State::Bad);
    Ok(if bad { Exit::Usage } else { Exit::Fine })
}

fn agent(settings: &Settings) -> CommandResult<Check> {
    let greeting: Greeting = block_on(async {
        let registry = Registry::bare(settings);
        let local = registry.open_all(registry.choose(&["local".to_owned()]).await?)?;
        let interrupts = Interrupts::listen().context("signals cannot be heard").or_incomplete()?;
        let mut session = Session::start(local, &[], &Wish::nothing(&settings.cache), settings, interrupts)?;
        let mut greetings = session.greet(&mut Progress::new(true)).await?;
        session.end().await;
        greetings.pop().context("the agent gave no answer").or_incomplete()
    })?;
    Ok(match greeting {
        Ok((hello, _)) => {
            let runtimes: Vec<String> =
                hello.runtimes.iter().filter(|r| !r.pretends).map(|r| r.runtime.clone()).collect();
            Check::good(
                "agent",
                format!("answers; version {}; runtimes: {}", hello.agent.version, runtimes.join(", ")),
            )
        }
        Err(trouble) => Check::new(
            "agent",
            State::Bad,
            trouble.reason,
            "end another bench or bench-agent that holds the cache folder, or name another one with --cache",
        ),
    })
}
