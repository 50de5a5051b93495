//! The commands, one file each: arguments and work.

pub(crate) mod agents;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod devices;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod gate;
pub(crate) mod history;
pub(crate) mod inspect;
pub(crate) mod nightly;
pub(crate) mod open;
pub(crate) mod profile;
pub(crate) mod recheck;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod runtimes;
pub(crate) mod selftest;
pub(crate) mod serve;
pub(crate) mod spec;
pub(crate) mod suites;
pub(crate) mod worker;

use crate::{
    exit::{CommandResult, ExitWith},
    transport,
};
use anyhow::Context;
use clap::ValueEnum;
use std::{future::Future, time::Duration};

/// How a command that tells facts prints them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FactsFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// File work that hangs (a dead network disk) is not waited for at the end.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(1);

/// Runs asynchronous work on this thread. One thread is enough for the host, and leaves the cores of a local
/// device alone.
///
/// # Errors
/// The work's own.
pub(crate) fn block_on<T>(work: impl Future<Output = CommandResult<T>>) -> CommandResult<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the event loop cannot be started")
        .or_incomplete()?;
    let result = runtime.block_on(async {
        let result = work.await;
        transport::last_orders().await;
        result
    });
    runtime.shutdown_timeout(SHUTDOWN_LIMIT);
    // a thread may still ask for a password, and ends with the process
    transport::restore_terminal();
    result
}
