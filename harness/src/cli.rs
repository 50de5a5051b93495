//! The command line. One variant per command; each command's arguments and work are a file of their own.

use crate::{
    commands::{
        agents, compare, completions, devices, diff, doctor, export, gate, history, inspect, nightly, open,
        profile, recheck, report, run, runtimes, selftest, serve, spec, suites, worker,
    },
    exit::CommandResult,
};
use clap::{
    ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind, parser::ValueSource,
};
use std::{ffi::OsString, path::PathBuf};

const EXAMPLES: &str = "\
Examples:
  bench compare --suite vision       eight variants of one model on labelled images
  bench compare a.tflite b.onnx      two models; the first is the reference
  bench gate --base old/ --head new/ --data d.npz
                                     for CI: ends with 1 when a model got worse
  bench inspect a.tflite             what a model file really holds
  bench report                       the latest run once more
  bench report run-a run-b           runs and devices side by side
  bench open                         the latest report in a browser
  bench export --format samples-parquet --out samples.parquet
                                     every sample, for pandas, polars or DuckDB
  bench selftest aa --cells 30       how often is a verdict of this machine wrong?

Exit codes:
  0  fine
  1  a gate failed: see `bench gate --help`; or a selftest found errors beyond the promised rate
  2  usage or configuration
  3  incomplete: a device or a variant gave no result, or the run was interrupted
  4  nothing selected

Settings: flags, then BENCH_* variables, then the nearest bench.toml, then defaults.";

/// Is this model variant faster, smaller, as accurate on my device: yes, no, or can't tell yet?
#[derive(Debug, Parser)]
#[command(name = "bench", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Settings file [default: the nearest bench.toml, from here upwards]
    #[arg(long, global = true, env = "BENCH_CONFIG", value_name = "FILE", help_heading = "Global options")]
    pub(crate) config: Option<PathBuf>,
    /// Show no progress; errors and results only
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure variants against each other and judge them
    Compare(compare::Args),
    /// For CI: measure the models of two folders against each other, and fail when one got worse
    Gate(gate::Args),
    /// Measure and keep the record, without judging
    Run(run::Args),
    /// Compare two recorded runs, as far as two runs can be compared
    Diff(diff::Args),
    /// Render the reports of a run again, or several runs side by side
    Report(report::Args),
    /// Open the report of a run in a browser
    Open(open::Args),
    /// Write a run in formats that other tools read: Parquet, CSV, JSON, pictures, traces
    Export(export::Args),
    /// What was measured night after night: series, trends, changes of level and their alarms
    History(history::Args),
    /// Check that the reports of a run follow from its record, and that nobody changed the record
    Recheck(recheck::Args),
    /// Say what a model file really holds
    Inspect(inspect::Args),
    /// Measure everything that a farm file asks for, keep a history, and say what moved
    Nightly(nightly::Args),
    /// Do jobs of a farm on many hosts with the devices of this one
    Worker(worker::Args),
    /// Show where a model's time goes, node by node, on one runtime beside another
    Profile(profile::Args),
    /// List, show and check suites
    Suites(suites::Args),
    /// List, check and clean devices
    Devices(devices::Args),
    /// List and build the agents that run on devices
    Agents(agents::Args),
    /// List, fetch and add the libraries of runtimes: LiteRT, ONNX Runtime
    Runtimes(runtimes::Args),
    /// Print one trial as the agent is told it; pipes into bench-agent
    Spec(spec::Args),
    /// Measure how often this machine calls equal models different, and what it finds of a known slowdown
    Selftest(selftest::Args),
    /// Show the nightly farm in a browser: devices, last night, trends
    Serve(serve::Args),
    /// Check that this machine can measure, and say what to do where it cannot
    Doctor(doctor::Args),
    /// Print a completion script for a shell
    Completions(completions::Args),
}

/// Flags that the plan of a run holds: they would do nothing to a run that is resumed.
const PLANNED: [&str; 12] = [
    "device",
    "runtime",
    "option",
    "threads",
    "seed",
    "units",
    "time_budget",
    "schedule",
    "precision",
    "margin",
    "accuracy_margin",
    "canaries",
];

impl Cli {
    /// Reads a command line, the program's name included.
    ///
    /// # Errors
    /// A mistake in it, or a wish for help.
    pub(crate) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(words)?;
        let typed = |of: &ArgMatches, id: &str| {
            of.ids().any(|known| known == id) && of.value_source(id) == Some(ValueSource::CommandLine)
        };
        if let Some((_, of)) = matches.subcommand()
            && typed(of, "resume")
            && let Some(flag) = PLANNED.iter().find(|flag| typed(of, flag))
        {
            let flag = flag.replace('_', "-");
            return Err(command.error(
                ErrorKind::ArgumentConflict,
                format!("--{flag} cannot be used with --resume: a run goes on as it was planned"),
            ));
        }
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }

    /// Does it.
    pub(crate) fn work(self) -> CommandResult {
        let Self { config, quiet, command } = self;
        let config = config.as_deref();
        match command {
            Command::Compare(args) => compare::work(args, config, quiet),
            Command::Gate(args) => gate::work(args, config, quiet),
            Command::Run(args) => run::work(args, config, quiet),
            Command::Diff(args) => diff::work(&args, config),
            Command::Report(args) => report::work(&args, config),
            Command::Open(args) => open::work(&args, config),
            Command::Export(args) => export::work(&args, config),
            Command::History(args) => history::work(args, config),
            Command::Recheck(args) => recheck::work(&args, config),
            Command::Inspect(args) => inspect::work(&args, config),
            Command::Suites(args) => suites::work(&args),
            Command::Devices(args) => devices::work(args, config, quiet),
            Command::Nightly(args) => nightly::work(args, config, quiet),
            Command::Worker(args) => worker::work(args, config),
            Command::Profile(args) => profile::work(args, config, quiet),
            Command::Agents(args) => agents::work(args, config, quiet),
            Command::Runtimes(args) => runtimes::work(args, config),
            Command::Spec(args) => spec::work(args, config),
            Command::Selftest(args) => selftest::work(args, config, quiet),
            Command::Serve(args) => serve::work(&args, config),
            Command::Doctor(args) => doctor::work(&args, config),
            Command::Completions(args) => completions::work(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    fn read(line: &str) -> Result<Cli, String> {
        Cli::read(line.split(' ').map(OsString::from)).map_err(|e| e.to_string())
    }

    #[test]
    fn commands_of_the_workflows_are_understood() {
        let files = [
            include_str!("../../reports/ci/github-pull-request.yml"),
            include_str!("../../reports/ci/github-nightly.yml"),
            include_str!("../../reports/ci/gitlab-ci.yml"),
        ];
        let units = [
            include_str!("../systemd/bench-nightly.service"),
            include_str!("../systemd/bench-serve.service"),
        ];
        for unit in units {
            let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/")).unwrap();
            read(line).unwrap();
        }
        for file in files {
            let lines = file.lines().map(|line| line.trim().trim_start_matches("- "));
            let commands: Vec<&str> = lines.filter(|line| line.starts_with("bench ")).collect();
            assert!(commands.len() > 1);
            commands.into_iter().for_each(|command| {
                read(command).unwrap();
            });
        }
    }

    #[test]
    fn a_run_that_is_resumed_takes_no_other_settings() {
        for flag in PLANNED {
            let flag = format!("--{}", flag.replace('_', "-"));
            let value = if flag == "--runtime" { "builtin/cpu" } else { "7" };
            let value = if flag == "--option" { "builtin/cpu:a=b" } else { value };
            let value = if flag.ends_with("budget") { "7s" } else { value };
            let value = if flag.ends_with("canaries") { "false" } else { value };
            let value = if flag == "--schedule" { "pairs" } else { value };
            let value = if flag.ends_with("margin") || flag == "--precision" { "7%" } else { value };
            for command in ["run", "compare", "gate"] {
                let why = read(&format!("bench {command} --resume latest {flag} {value}")).unwrap_err();
                assert!(why.contains(&format!("{flag} cannot be used with --resume")), "{why}");
            }
            read(&format!("bench run m.onnx {flag} {value}")).unwrap();
        }
        read("bench run --resume latest --out o --cache c --agent-dir a --devices d --cache-limit 1GB")
            .unwrap();
    }
}
