//! Two versions of the same models, in two folders: every file of the one against the file of the same name in
//! the other, as a suite that needs no definition.

use crate::{
    Suite, SuiteError, Variant,
    ad_hoc::{self, plain},
    suite::format_of,
};
use datasets::FileRef;
use protocol::VariantId;
use std::{collections::BTreeSet, fs, path::Path};

/// Model files looked for in a folder, at most.
const MAX_MODELS: usize = 64;

/// Entries of a folder that are looked at, at most.
const MAX_ENTRIES: usize = 10_000;

/// What two folders have in common, and what not.
#[derive(Clone, Debug)]
pub struct Versions {
    /// `NAME@base` and `NAME@head` for every file that both have; each head is compared with its base.
    pub suite: Suite,
    /// Models that only the base has.
    pub gone: Vec<String>,
    /// Models that only the head has.
    pub new: Vec<String>,
}

impl Versions {
    /// What the heads of the models would be called that only the base has.
    pub fn missing(&self) -> Vec<String> {
        self.gone.iter().map(|name| format!("{}@head", plain(name))).collect()
    }
}

/// The models of two folders. `data` as for models on the command line.
///
/// # Errors
/// A folder that cannot be read or has no models, folders without a model in common, more than 64 in common, or
/// data that cannot be used.
pub fn versions(base: &Path, head: &Path, data: Option<&str>) -> Result<Versions, SuiteError> {
    let (in_base, in_head) = (models(base)?, models(head)?);
    let both: Vec<&String> = in_base.intersection(&in_head).collect();
    if both.is_empty() {
        return Err(SuiteError::AdHoc(format!(
            "{} and {} have no model file of the same name: nothing can be compared",
            base.display(),
            head.display()
        )));
    }
    let mut variants = Vec::new();
    for name in both {
        let reference = variants.len();
        if let Some(other) = variants.iter().find(|v: &&Variant| v.id.model == plain(name)) {
            return Err(SuiteError::AdHoc(format!(
                "{name:?} and {:?} would have the same name in a report: rename one",
                other.file.path().file_name().unwrap_or_default()
            )));
        }
        for (folder, version) in [(base, "base"), (head, "head")] {
            variants.push(variant(&folder.join(name), name, version, reference)?);
        }
    }
    let mut suite = ad_hoc::suite_of(variants, data)?;
    suite.title = format!("{} against {}", head.display(), base.display());
    let only = |ours: &BTreeSet<String>, theirs| ours.difference(theirs).cloned().collect();
    Ok(Versions { suite, gone: only(&in_base, &in_head), new: only(&in_head, &in_base) })
}

fn variant(path: &Path, name: &str, version: &str, reference: usize) -> Result<Variant, SuiteError> {
    let file = FileRef::on_disk(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    let format = format_of(&file)?;
    let text = format!("{}@{version}", plain(name));
    let id: VariantId = text.parse().map_err(|e| SuiteError::AdHoc(format!("{}: {e}", path.display())))?;
    Ok(Variant { id, file, format, precision: None, reference })
}

fn is_model_name(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tflite") || e.eq_ignore_ascii_case("onnx"))
}

/// Names of the model files that lie in a folder.
fn models(folder: &Path) -> Result<BTreeSet<String>, SuiteError> {
    let bad = |problem: String| SuiteError::AdHoc(format!("{}: {problem}", folder.display()));
    let entries = fs::read_dir(folder).map_err(|e| bad(format!("cannot be read as a folder: {e}")))?;
    let mut names = BTreeSet::new();
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(|e| bad(format!("cannot be read to its end: {e}")))?.path());
        if paths.len() > MAX_ENTRIES {
            return Err(bad(format!("has more than {MAX_ENTRIES} entries")));
        }
    }
    for path in paths.into_iter().filter(|path| is_model_name(path)) {
        let name = path.file_name().and_then(|name| name.to_str());
        names.insert(name.ok_or_else(|| bad(format!("{path:?} has a name that is no UTF-8")))?.to_owned());
    }
    match names.len() {
        0 => Err(bad("has no .tflite and no .onnx file".to_owned())),
        n if n > MAX_MODELS => Err(bad(format!("has {n} models, more than {MAX_MODELS}"))),
        _ => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|name| fs::write(folder.path().join(name), b"....TFL3").unwrap());
        folder
    }

    #[test]
    fn every_head_is_compared_with_the_base_of_its_name() {
        let base = folder(&["a.tflite", "b c.tflite", "old.tflite", "notes.txt"]);
        let head = folder(&["a.tflite", "b c.tflite", "young.tflite"]);
        let found = versions(base.path(), head.path(), None).unwrap();
        assert_eq!(found.missing(), ["old.tflite@head"]);
        let Versions { suite, gone, new } = found;
        let ids: Vec<String> = suite.variants.iter().map(|v| v.id.to_string()).collect();
        assert_eq!(ids, ["a.tflite@base", "a.tflite@head", "b_c.tflite@base", "b_c.tflite@head"]);
        assert_eq!(suite.variants.iter().map(|v| v.reference).collect::<Vec<_>>(), [0, 0, 2, 2]);
        assert_eq!((gone, new), (vec!["old.tflite".to_owned()], vec!["young.tflite".to_owned()]));
    }

    #[test]
    fn folders_that_cannot_be_compared_are_named() {
        let (some, other, none) = (folder(&["a.tflite"]), folder(&["b.tflite"]), folder(&["x.txt"]));
        let error = |base: &Path, head: &Path| versions(base, head, None).unwrap_err().to_string();
        assert!(error(some.path(), other.path()).contains("no model file of the same name"));
        assert!(error(some.path(), none.path()).contains("has no .tflite and no .onnx file"));
        assert!(error(Path::new("/nowhere"), some.path()).contains("/nowhere"));
        let many: Vec<String> = (0..=MAX_MODELS).map(|n| format!("{n}.tflite")).collect();
        let many = folder(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(error(many.path(), many.path()).contains("has 65 models"));
        let alike = folder(&["b c.tflite", "b_c.tflite"]);
        assert!(error(alike.path(), alike.path()).contains("would have the same name"));
    }
}
