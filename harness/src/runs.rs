//! Where runs are kept on the host, and how one is found again by path, name, or `latest`. Reads no record.

use crate::{
    exit::{CommandResult, Failure},
    unknown::unknown,
};
use reports::store::PLAN_FILE;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The word for the newest run.
pub(crate) const LATEST: &str = "latest";

/// Most runs that are listed in a message.
const SHOWN: usize = 5;

/// The folder of a run.
///
/// # Errors
/// There is no such run; names those that are like it.
pub(crate) fn find(run: &str, out: &Path) -> CommandResult<PathBuf> {
    let is_run = |path: &Path| path.join(PLAN_FILE).is_file();
    for path in [PathBuf::from(run), out.join(run)] {
        if is_run(&path) {
            return Ok(path);
        }
    }
    let all = names(out);
    if run == LATEST {
        return match all.last() {
            Some(name) => Ok(out.join(name)),
            None => Err(Failure::usage(format!(
                "there is no run in {}; make one with `bench compare`",
                out.display()
            ))),
        };
    }
    let last: Vec<&str> = all.iter().rev().take(SHOWN).map(String::as_str).collect();
    Err(Failure::usage(format!("{} (in {})", unknown("run", run, &last), out.display())))
}

/// Names of all runs, oldest first: a name begins with the time.
fn names(out: &Path) -> Vec<String> {
    let entries = fs::read_dir(out).into_iter().flatten().flatten();
    let mut all: Vec<String> = entries
        .filter(|entry| entry.path().join(PLAN_FILE).is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_found_by_path_name_and_age() {
        let out = tempfile::tempdir().unwrap();
        assert!(find(LATEST, out.path()).is_err());
        for name in ["20260102-000000-aaaa", "20260101-000000-bbbb"] {
            fs::create_dir(out.path().join(name)).unwrap();
            fs::write(out.path().join(name).join(PLAN_FILE), "{}").unwrap();
        }
        fs::create_dir(out.path().join("29990101-no-run")).unwrap();
        let newest = out.path().join("20260102-000000-aaaa");
        assert_eq!(find(LATEST, out.path()).unwrap(), newest);
        assert_eq!(find("20260102-000000-aaaa", out.path()).unwrap(), newest);
        assert_eq!(find(&newest.display().to_string(), Path::new("/nowhere")).unwrap(), newest);
        let failure = find("20260102-000000-aaab", out.path()).unwrap_err();
        assert!(failure.error.to_string().contains("did you mean \"20260102-000000-aaaa\""));
    }
}
