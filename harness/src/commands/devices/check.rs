//! `bench devices check`: the smoke suite on every device by itself, so that each gets an answer of its own:
//! everything that a run needs works, or which trouble it has. The record is thrown away.

use crate::{
    commands::{block_on, run::listen},
    devices::{Device, Registry},
    exit::{CommandResult, Exit, ExitWith, Failure},
    measure::{self, NoDevice, random_seed},
    progress::Progress,
    selection::{Selection, Wanted},
    settings::Settings,
    stdout::print,
    transport::is_asking,
    values::human_time,
};
use anyhow::Context;
use protocol::Outcome;
use reports::{record::RunRecord, store};
use std::{
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{task::LocalSet, time::sleep};

/// The suite that is run.
const SUITE: &str = "smoke";

/// A device that is not done by then is not checked any further.
const LIMIT: Duration = Duration::from_secs(60);

/// Checks all devices at the same time and prints each answer when it is there.
pub(super) fn work(settings: &Settings, quiet: bool) -> CommandResult {
    let seed = settings.seed.unwrap_or_else(random_seed);
    let wanted = Wanted { suite: Some(SUITE.to_owned()), ..Wanted::default() };
    let selection = Rc::new(Selection::load(&wanted, settings, seed)?);
    block_on(async {
        let registry = Registry::read(settings)?;
        let devices = registry.open_all(registry.choose(&settings.devices).await?)?;
        Progress::new(quiet).note(&format!("{} devices, {} s at most", devices.len(), LIMIT.as_secs()));
        let local = LocalSet::new();
        let checks: Vec<_> = devices
            .into_iter()
            .map(|device| {
                let (selection, settings) = (Rc::clone(&selection), settings.clone());
                local.spawn_local(async move {
                    let id = device.known.id.clone();
                    let checked = check(device, &selection, settings, seed).await;
                    let line = match &checked {
                        Ok(facts) => format!("{id}: ok, {facts}\n"),
                        Err(failure) => format!("{id}: {}\n", reports::visible(&trouble(&failure.error))),
                    };
                    print(&line)?;
                    Ok::<_, Failure>(checked.map_or_else(|failure| failure.exit, |_| Exit::Fine))
                })
            })
            .collect();
        local
            .run_until(async {
                let mut exits = Vec::new();
                for check in checks {
                    exits.push(check.await.context("a check ended too early").or_incomplete()??);
                }
                Ok(Exit::worst(&exits))
            })
            .await
    })
}

/// Over after [`LIMIT`]; the time in which a person is asked for something is not the device's.
async fn limit() {
    const GLANCE: Duration = Duration::from_millis(500);
    let mut left = LIMIT;
    while !left.is_zero() {
        sleep(GLANCE).await;
        if !is_asking() {
            left = left.saturating_sub(GLANCE);
        }
    }
}

/// What is wrong with the one device there is.
fn trouble(error: &anyhow::Error) -> String {
    match error.downcast_ref::<NoDevice>().and_then(|none| none.reasons.first()) {
        Some((_, reason)) => reason.clone(),
        None => format!("{error:#}"),
    }
}

async fn check(
    device: Device,
    selection: &Selection,
    mut settings: Settings,
    seed: u64,
) -> CommandResult<String> {
    let began = Instant::now();
    let folder = tempfile::tempdir().context("no folder for the record").or_incomplete()?;
    settings.out = folder.path().to_owned();
    let mut progress = Progress::new(true);
    let work = measure::start_on(vec![device], selection, &settings, seed, &mut progress, listen()?);
    let measured = tokio::select! {
        measured = work => measured?,
        () = limit() => return Err(anyhow::anyhow!("not done within {} s", LIMIT.as_secs())).or_incomplete(),
    };
    if let Some((_, why)) = measured.ended.lost.first() {
        return Err(anyhow::Error::msg(why.clone())).or_incomplete();
    }
    if measured.ended.interrupted {
        return Err(anyhow::anyhow!("interrupted")).or_incomplete();
    }
    let record = store::load(&measured.dir).or_incomplete()?;
    if let Some(why) = failed(&record) {
        return Err(anyhow::Error::msg(why)).or_incomplete();
    }
    let agent = record.devices.first().and_then(Option::as_ref).map(|device| device.agent.version.as_str());
    Ok(format!(
        "{} units of {} variants in {}, agent {}",
        record.units.len(),
        record.plan.cases.len(),
        human_time(began.elapsed()),
        agent.unwrap_or("unknown")
    ))
}

/// The first variant that did not run well.
fn failed(record: &RunRecord) -> Option<String> {
    let trials = record.units.iter().flat_map(|unit| &unit.trials);
    let mut bad = trials.filter(|trial| trial.outcome != Outcome::Ok);
    bad.next().map(|trial| {
        let variant = record.plan.cases.get(trial.case).map(|case| case.variant.to_string());
        format!(
            "{}: {}",
            variant.unwrap_or_default(),
            reports::visible(&reports::outcome_words(&trial.outcome))
        )
    })
}
