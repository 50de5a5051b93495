//! A suite made of model files named on the command line, with or without data.

use crate::{Compare, Measure, RuntimeOptions, Suite, SuiteError, Variant, lookup, suite::format_of};
use datasets::{DatasetSpec, FileRef, Root};
use protocol::{Format, Sha256Hex, Task, VariantId};
use std::path::{Path, PathBuf};

/// Name of such a suite, and of the model in its variants' ids.
const AD_HOC: &str = "ad-hoc";

/// Longest part of a file name that goes into an id.
const MAX_STEM: usize = 60;

/// Compares the models; the first is the reference. `data` is an .npz, .npy or .csv file, or a suite
/// (name or path) whose data is taken; without it inputs are random and seeded. With labels the task is
/// classification, else agreement with the reference.
///
/// # Errors
/// No model, a file that is no model, data that cannot be understood.
pub fn ad_hoc(models: &[PathBuf], data: Option<&str>) -> Result<Suite, SuiteError> {
    let mut variants: Vec<Variant> = Vec::new();
    for path in models {
        let file = Root::Folder(".".into()).file(path)?;
        let file = FileRef::on_disk(std::path::absolute(path).unwrap_or_else(|_| file.path().to_owned()));
        let format = format_of(&file)?;
        let id = unique_id(path, format, &variants)?;
        variants.push(Variant { id, file, format, precision: None, reference: 0 });
    }
    if variants.is_empty() {
        return Err(SuiteError::AdHoc(
            "no model is named: give at least one .tflite or .onnx file".to_owned(),
        ));
    }
    suite_of(variants, data)
}

/// Variants without a definition, with the data of a file or a suite, or random inputs.
pub(crate) fn suite_of(variants: Vec<Variant>, data: Option<&str>) -> Result<Suite, SuiteError> {
    let (dataset, root, measure) = match data {
        None => (None, Root::Folder(".".into()), Measure::default()),
        Some(data) => data_of(data)?,
    };
    let labelled = dataset.as_ref().is_some_and(DatasetSpec::declares_labels);
    let names: Vec<&str> = variants.iter().map(|v| v.id.variant.as_str()).collect();
    Ok(Suite {
        name: AD_HOC.to_owned(),
        title: names.join(", "),
        origin: AD_HOC.to_owned(),
        sha256: Sha256Hex::of_bytes(b""),
        task: if labelled { Task::CLASSIFICATION } else { Task::Agreement {} },
        variants,
        runtimes: Vec::new(),
        options: RuntimeOptions::new(),
        threads: 1,
        dataset,
        root,
        measure,
        compare: Compare::default(),
    })
}

/// The data of a file or of a suite; a suite brings its rules of measuring with it.
fn data_of(data: &str) -> Result<(Option<DatasetSpec>, Root, Measure), SuiteError> {
    let path = Path::new(data);
    if path.exists() && path.extension().is_none_or(|e| e != "toml") {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        return Ok((Some(DatasetSpec::for_file(&absolute)?), Root::Folder(".".into()), Measure::default()));
    }
    let looks_like_data = [".npz", ".npy", ".csv"].iter().any(|e| data.ends_with(e));
    if looks_like_data {
        // not there: the error names the file beside it
        Root::Folder(".".into()).file(path)?;
    }
    let suite = lookup(data)?;
    if suite.dataset.is_none() {
        return Err(SuiteError::AdHoc(format!("the suite {data:?} has no [dataset] to take")));
    }
    Ok((suite.dataset, suite.root, suite.measure))
}

/// A file's name as part of an id.
pub(crate) fn plain(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    name.chars().take(MAX_STEM).map(plain).collect()
}

/// `tflite-model_int8`, with `-2`, `-3`, ... where that is taken already.
fn unique_id(path: &Path, format: Format, taken: &[Variant]) -> Result<VariantId, SuiteError> {
    let format = match format {
        Format::Tflite => "tflite",
        Format::Onnx => "onnx",
    };
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let base = format!("{AD_HOC}@{format}-{}", plain(&stem));
    let mut text = base.clone();
    for number in 2.. {
        if taken.iter().all(|v| v.id.to_string() != text) {
            break;
        }
        text = format!("{base}-{number}");
    }
    text.parse().map_err(|e| SuiteError::AdHoc(format!("{}: {e}", path.display())))
}
