//! `bench suites`: list them, show one, check a file.

use crate::{
    exit::{CommandResult, Exit, ExitWith},
    stdout::print,
    values::human_bytes,
};
use protocol::Unit;
use std::fmt::Write;
use suites::{BUILTIN, Suite};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List the suites that are built in
    List,
    /// Show what a suite compares, on what data and by which rules
    Show {
        /// Name or path
        #[arg(value_name = "NAME|PATH")]
        suite: String,
    },
    /// Check a definition, its files and its data
    Check {
        /// Name or path
        #[arg(value_name = "NAME|PATH")]
        suite: String,
    },
}

/// Does it.
pub(crate) fn work(args: &Args) -> CommandResult {
    match args.what.as_ref().unwrap_or(&What::List) {
        What::List => {
            let mut text = String::new();
            for builtin in BUILTIN {
                let suite = builtin.suite().or_usage()?;
                writeln!(text, "{:<8} {} variants. {}", suite.name, suite.variants.len(), suite.title)
                    .unwrap_or_default();
            }
            text.push_str("\nYour own: bench compare --suite path/to/suite.toml\n");
            print(&text)?;
        }
        What::Show { suite } => print(&show(&suites::lookup(suite).or_usage()?)?)?,
        What::Check { suite } => {
            let suite = suites::lookup(suite).or_usage()?;
            let variants = suite.variants.len();
            for variant in &suite.variants {
                variant.file.size().or_usage()?;
            }
            let examples = match suite.load_dataset().or_usage()? {
                Some(dataset) => format!("{} examples", dataset.examples()),
                None => format!("{} random examples", suite.random_examples()),
            };
            print(&format!("{}: fine; {variants} variants, {examples}\n", suite.name))?;
        }
    }
    Ok(Exit::Fine)
}

fn show(suite: &Suite) -> CommandResult<String> {
    let mut out = String::new();
    let mut line = |name: &str, value: String| writeln!(out, "{name:<12} {value}").unwrap_or_default();
    line("suite", suite.name.clone());
    line("title", suite.title.clone());
    line("from", suite.origin.clone());
    for (index, variant) in suite.variants.iter().enumerate() {
        let size = human_bytes(variant.file.size().or_usage()?);
        let mark = if suite.is_reference(index) { "  (reference)" } else { "" };
        line("variant", format!("{}  {size}  {}{mark}", variant.id, variant.file.path().display()));
    }
    let runtimes: Vec<String> = suite.runtimes.iter().map(ToString::to_string).collect();
    line("runtimes", format!("{}, {} thread(s)", runtimes.join(", "), suite.threads));
    match suite.load_dataset().or_usage()? {
        Some(data) => {
            line("data", format!("{}, {} examples", data.name, data.examples()));
            line("source", data.source);
        }
        None => line("data", format!("{} random examples", suite.random_examples())),
    }
    let (measure, compare) = (&suite.measure, &suite.compare);
    line(
        "unit",
        format!(
            "{} ms and {} iterations of every variant, after warm-up",
            measure.min_ms, measure.min_iterations
        ),
    );
    line("units", format!("at most {}", compare.max_units));
    line("margin", format!("{} % of a cost", 100.0 * compare.margin));
    for (name, margin) in &compare.margins {
        line("", format!("{} % of {name}", 100.0 * margin));
    }
    let (margin, score) = (suite.accuracy_margin(), suite.task.metric());
    line(
        "",
        match score.unit {
            Unit::Fraction => format!("{} percentage points of {}", 100.0 * margin, score.title),
            Unit::Db => format!("{margin} dB of {}", score.title),
            _ => format!("{margin} of {}", score.title),
        },
    );
    Ok(out)
}
