//! A definition for data that came without one: `--data` on the command line. Only what leaves no doubt.

use crate::{CsvSpec, DataError, DatasetSpec, FileRef, NpySpec, NpzSpec, npz};
use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// Array and column names that are taken for labels, and for names.
const LABELS: &[&str] = &["y", "labels", "label"];
const NAMES: &[&str] = &["names", "name", "text"];

/// So much of a table is looked at for its column names.
const MAX_HEADER_BYTES: u64 = 1 << 20;

impl DatasetSpec {
    /// A definition for an .npz, .npy or .csv file by its usual names: input `x` (or the only other
    /// array, or all other columns), labels `y`, `labels` or `label`, names `names`, `name` or
    /// `text`.
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
            "npz" => Ok(Self { npz: Some(arrays_of(path)?), ..empty }),
            "npy" => Ok(Self {
                npy: Some(NpySpec { inputs: vec![path], labels: None, names: None, groups: None }),
                ..empty
            }),
            "csv" => Ok(Self { csv: Some(columns_of(path)?), ..empty }),
            _ => error("is not data that can be used as it is: give .npz, .npy or .csv, or a suite (.toml)"),
        }
    }
}

fn arrays_of(path: PathBuf) -> Result<NpzSpec, DataError> {
    let arrays = npz::peek(&FileRef::on_disk(&path))?;
    let found = |names: &[&str]| arrays.iter().find(|a| names.contains(&a.as_str())).cloned();
    let (labels, names) = (found(LABELS), found(NAMES));
    let rest: Vec<&String> =
        arrays.iter().filter(|a| Some(*a) != labels.as_ref() && Some(*a) != names.as_ref()).collect();
    let input = match rest.as_slice() {
        rest if rest.iter().any(|a| *a == "x") => "x".to_owned(),
        [only] => (*only).clone(),
        _ => {
            let there = arrays.join(", ");
            let problem = format!(
                "has no array \"x\", and it is not clear which of its arrays is the input ({there}): rename \
                 it, or name the arrays in a suite (suites/FORMAT.md)"
            );
            return Err(DataError::file(&path, problem));
        }
    };
    Ok(NpzSpec { path, inputs: vec![input], labels, names, groups: None })
}

fn columns_of(path: PathBuf) -> Result<CsvSpec, DataError> {
    let start = FileRef::on_disk(&path).open()?.take(MAX_HEADER_BYTES);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(start);
    let header = reader.headers().map_err(|e| DataError::file(&path, format!("is not a CSV table: {e}")))?;
    let found = |names: &[&str]| header.iter().find(|h| names.contains(h)).map(str::to_owned);
    let (label, name) = (found(LABELS), found(NAMES));
    Ok(CsvSpec { path, inputs: Vec::new(), label, name, group: None })
}
