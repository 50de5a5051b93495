//! A definition for data that came without one: `--data` on the command line. Only what leaves no doubt.

use crate::{CsvSpec, DataError, DatasetSpec, FileRef, NpySpec, NpzSpec, npz};
use std::path::Path;

/// Array and column names that are taken for labels, and for names.
const LABELS: &[&str] = &["y", "labels", "label"];
const NAMES: &[&str] = &["names", "name"];

impl DatasetSpec {
    /// A definition for an .npz, .npy or .csv file by its usual names: input `x` (or the only other
    /// array, or all other columns), labels `y`, `labels` or `label`, names `names` or `name`.
    ///
    /// # Errors
    /// When the file leaves a choice; says how to make it.
    pub fn for_file(path: &Path) -> Result<Self, DataError> {
        let extension =
            path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        let error = |problem: &str| Err(DataError::file(path, problem));
        let path = path.to_owned();
        let empty = Self::default();
        match extension.as_str() {
            _ if path.is_dir() => error(
                "is a folder: images and recordings need pre-processing, so describe them in a suite \
                 (suites/FORMAT.md), or save the inputs as .npz",
            ),
            "npz" => {
                let arrays = npz::peek(&FileRef::on_disk(&path))?;
                let found = |names: &[&str]| arrays.iter().find(|a| names.contains(&a.as_str())).cloned();
                let (labels, names) = (found(LABELS), found(NAMES));
                let rest = |a: &&String| Some(*a) != labels.as_ref() && Some(*a) != names.as_ref();
                let rest: Vec<String> = arrays.iter().filter(rest).cloned().collect();
                let inputs = match (arrays.iter().any(|a| a == "x"), rest.as_slice()) {
                    (true, _) => vec!["x".to_owned()],
                    (false, [only]) => vec![only.clone()],
                    (false, _) => {
                        let there = arrays.join(", ");
                        return error(&format!(
                            "has no array \"x\", and it is not clear which of its arrays is the input ({there}): \
                             rename it, or name the arrays in a suite (suites/FORMAT.md)"
                        ));
                    }
                };
                Ok(Self { npz: Some(NpzSpec { path, inputs, labels, names }), ..empty })
            }
            "npy" => {
                Ok(Self { npy: Some(NpySpec { inputs: vec![path], labels: None, names: None }), ..empty })
            }
            "csv" => {
                let file = FileRef::on_disk(&path);
                let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file.open()?);
                let header = reader
                    .headers()
                    .map_err(|e| DataError::file(&path, format!("is not a CSV table: {e}")))?;
                let found = |names: &[&str]| header.iter().find(|h| names.contains(h)).map(str::to_owned);
                let (label, name) = (found(LABELS), found(NAMES));
                Ok(Self { csv: Some(CsvSpec { path, inputs: Vec::new(), label, name }), ..empty })
            }
            _ => error("is not data that can be used as it is: give .npz, .npy or .csv, or a suite (.toml)"),
        }
    }
}
