//! `bench diff`: two recorded runs compared. Measures nothing; says what would.

use super::FactsFormat;
use crate::{
    exit::{CommandResult, Exit, ExitWith, Failure},
    progress::say,
    render::width,
    runs,
    settings::{Layer, Settings},
    stdout::print,
    transport::HostFile,
};
use reports::{
    diff::{Answer, CaseDiff, Diff, ModelFile, diff},
    record::{Plan, Subject},
    store, visible,
};
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The earlier run: its folder or its name
    #[arg(value_name = "BASE")]
    base: String,
    /// The later run: its folder, its name, or `latest`
    #[arg(value_name = "HEAD", default_value = runs::LATEST)]
    head: String,
    /// For CI: end with 1 when size or a score is worse, with 3 when something needs confirmation or cannot be compared
    #[arg(long)]
    gate: bool,
    /// What to print on stdout
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: FactsFormat,
    /// Folder in which runs are kept [default: runs]
    #[arg(long, env = "BENCH_OUT", value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Compares them.
pub(crate) fn work(args: &Args, config: Option<&Path>) -> CommandResult {
    let settings = Settings::resolve(Layer { out: args.out.clone(), ..Layer::default() }, config)?;
    let load = |run: &str| store::load(&runs::find(run, &settings.out)?).or_usage();
    let (base, head) = (load(&args.base)?, load(&args.head)?);
    let mut found = diff(&base, &head);
    for case in &mut found.cases {
        case.interleaved = interleaved(case, &head.plan);
    }
    match args.format {
        FactsFormat::Text => print(&found.text(width()))?,
        FactsFormat::Json => print(&found.json().or_incomplete()?)?,
    }
    if found.cases.is_empty() {
        return Err(Failure::nothing("the two runs have no case in common: nothing is compared"));
    }
    Ok(if args.gate { gated(&found) } else { compared(&found) })
}

/// Whether everything that both runs have could be compared.
fn compared(found: &Diff) -> Exit {
    match found.rows().any(|(_, row)| matches!(row.answer, Answer::NotComparable | Answer::Invalid)) {
        true => Exit::Incomplete,
        false => Exit::Fine,
    }
}

/// The same as a gate: what may be worse is no pass. Says why on stderr.
fn gated(found: &Diff) -> Exit {
    let mut exit = if found.alone.is_empty() { Exit::Fine } else { Exit::Incomplete };
    found.alone.iter().for_each(|words| say(&format!("gate: {}", visible(words))));
    for (case, row) in found.rows() {
        let fails = row.answer == Answer::Worse;
        let open = matches!(row.answer, Answer::NotComparable | Answer::Invalid | Answer::NeedsConfirmation);
        if fails || open {
            say(&format!("gate: {}: {} is {}", visible(&case.variant), row.metric, row.answer.word()));
        }
        exit = match (fails, open, exit) {
            (true, _, _) | (_, _, Exit::GateFailed) => Exit::GateFailed,
            (_, true, _) => Exit::Incomplete,
            (false, false, exit) => exit,
        };
    }
    exit
}

/// The command that measures both files of a case in turns; `None` where one is gone, changed since, or both are one.
fn interleaved(case: &CaseDiff, head: &Plan) -> Option<String> {
    let at_hand = |file: &ModelFile| {
        HostFile::from_path(Path::new(&file.path)).is_ok_and(|found| found.sha256 == file.sha256)
    };
    if case.identical || !at_hand(&case.base) || !at_hand(&case.head) {
        return None;
    }
    let (base, now) = (Path::new(&case.base.path), Path::new(&case.head.path));
    let mut words: Vec<String> = match (base.file_name() == now.file_name(), base.parent(), now.parent()) {
        (true, Some(before), Some(after)) => {
            let folder = |path: &Path| path.display().to_string();
            vec![
                "bench".into(),
                "gate".into(),
                "--base".into(),
                folder(before),
                "--head".into(),
                folder(after),
            ]
        }
        _ => vec!["bench".into(), "compare".into(), case.base.path.clone(), case.head.path.clone()],
    };
    let data = match &head.subject {
        Subject::Suite { at } => Some(at),
        Subject::Selftest { .. } => None,
        Subject::Models { data, .. } | Subject::Versions { data, .. } => data.as_ref(),
    };
    words.extend(data.into_iter().flat_map(|data| ["--data".to_owned(), data.clone()]));
    words.extend(["--device".to_owned(), case.device.clone(), "--runtime".to_owned(), case.runtime.clone()]);
    Some(words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "))
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:@=,+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back_by_a_shell() {
        assert_eq!(quoted("a/b-1.tflite"), "a/b-1.tflite");
        assert_eq!((quoted("it's here").as_str(), quoted("").as_str()), (r"'it'\''s here'", "''"));
    }
}
