//! A suite that was checked: plain values, and the data it names on demand.

use crate::{Compare, Measure, SuiteError};
use datasets::{DataError, Dataset, DatasetSpec, FileRef, Root};
use protocol::{Format, Precision, RuntimeId, Sha256Hex, Task, Unit, VariantId};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    path::{Component, Path, PathBuf},
};

/// Number of seeded random examples when neither data nor `max_examples` is given.
const RANDOM_EXAMPLES: u64 = 64;

/// What is compared, on what data, and by which rules.
#[derive(Clone, Debug)]
pub struct Suite {
    /// `vision`; `ad-hoc` when models were named on the command line.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// How to find it again: the name of a built-in suite, the absolute path of a definition, or
    /// `ad-hoc`.
    pub origin: String,
    /// Hash of the TOML text; of the empty text when ad hoc.
    pub sha256: Sha256Hex,
    /// What the outputs mean.
    pub task: Task,
    /// At least one; ids are unique.
    pub variants: Vec<Variant>,
    /// Unique; empty: the built-in one, and every other that a device has the library for.
    pub runtimes: Vec<RuntimeId>,
    /// Options of runtimes, in their own words.
    pub options: RuntimeOptions,
    /// Threads of every runtime.
    pub threads: u16,
    /// What the variants are fed; seeded random inputs without it.
    pub dataset: Option<DatasetSpec>,
    /// Where the paths of `dataset` start.
    pub root: Root,
    /// How variants are measured.
    pub measure: Measure,
    /// What is compared and decided.
    pub compare: Compare,
}

/// Options by name, of each runtime that has some.
pub type RuntimeOptions = BTreeMap<RuntimeId, BTreeMap<String, String>>;

/// One model file of a suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// `mobilenet@tflite-int8`.
    pub id: VariantId,
    /// The model file.
    pub file: FileRef,
    /// Its format, from its first bytes and its extension.
    pub format: Format,
    /// Its precision as the definition declares it. What the file really holds decides.
    pub precision: Option<Precision>,
    /// Position in [`Suite::variants`] of the one it is compared with; its own, when it is a reference.
    pub reference: usize,
}

impl Suite {
    /// Whether the variant at this position is one that others are compared with.
    pub fn is_reference(&self, variant: usize) -> bool {
        self.variants.get(variant).is_some_and(|v| v.reference == variant)
    }

    /// Reads the examples; `None` when the suite has no data and random inputs are to be used.
    ///
    /// # Errors
    /// Data that cannot be read or does not fit the task.
    pub fn load_dataset(&self) -> Result<Option<Dataset>, SuiteError> {
        let Some(spec) = &self.dataset else { return Ok(None) };
        let dataset = datasets::load(spec, &self.root, self.measure.max_examples, &self.task)?;
        if self.task.labels().is_some() && dataset.labels.is_none() {
            let problem = "has no labels, and the task needs them for every example: name them, or set \
                           task = \"agreement\" to compare with the reference only";
            return Err(DataError::new(&dataset.name, problem).into());
        }
        if self.measure.example >= dataset.examples() {
            let examples = dataset.examples();
            let problem = format!("is {}, and there are {examples} examples, from 0", self.measure.example);
            return Err(DataError::new("measure.example", problem).into());
        }
        Ok(Some(dataset))
    }

    /// Every file on disk that it is made of: its definition, its models, its data, of folders all that lies in them.
    /// Absolute, without `..`, each once. Empty for what is part of the program.
    ///
    /// # Errors
    /// A folder that cannot be read, or more files than `most`.
    pub fn files(&self, most: usize) -> Result<Vec<PathBuf>, SuiteError> {
        let mut paths: Vec<PathBuf> = Vec::new();
        paths.extend(Some(PathBuf::from(&self.origin)).filter(|path| path.is_absolute()));
        let on_disk = self.variants.iter().filter(|variant| variant.file.shipped_bytes().is_none());
        paths.extend(on_disk.map(|variant| variant.file.path().to_owned()));
        if let (Some(spec), Root::Folder(root)) = (&self.dataset, &self.root) {
            paths.extend(spec.paths().into_iter().map(|path| root.join(path)));
        }
        let mut files = BTreeSet::new();
        while let Some(path) = paths.pop() {
            let unreadable = |e| DataError::new(path.display(), format_args!("cannot be read: {e}"));
            if path.is_dir() {
                for entry in path.read_dir().map_err(unreadable)? {
                    paths.push(entry.map_err(unreadable)?.path());
                }
            } else {
                files.insert(plain(&std::path::absolute(&path).map_err(unreadable)?));
            }
            if files.len() + paths.len() > most {
                let problem = format!("is made of more than {most} files");
                return Err(DataError::new(&self.origin, problem).into());
            }
        }
        Ok(files.into_iter().collect())
    }

    /// Drop of the task score that is still acceptable, in its unit: as the suite says, else one percentage
    /// point, or a tenth of a dB.
    pub fn accuracy_margin(&self) -> f64 {
        let usual = if self.task.metric().unit == Unit::Db { 0.1 } else { 0.01 };
        self.compare.accuracy_margin.unwrap_or(usual)
    }

    /// How many random examples are made when the suite has no data.
    pub fn random_examples(&self) -> u64 {
        self.measure.max_examples.unwrap_or(RANDOM_EXAMPLES)
    }
}

/// `/a/b/../c` as `/a/c`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
        plain
    })
}

/// Format of a model file: TFLite says so in its first bytes, ONNX only in its name.
///
/// # Errors
/// A file that cannot be read or is neither.
pub(crate) fn format_of(file: &FileRef) -> Result<Format, DataError> {
    let mut start = Vec::new();
    let read = file.open()?.take(8).read_to_end(&mut start);
    read.map_err(|e| DataError::new(file.path().display(), format_args!("cannot be read: {e}")))?;
    if start.get(4..8) == Some(b"TFL3") {
        return Ok(Format::Tflite);
    }
    let extension = file.path().extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        Some("onnx") => Ok(Format::Onnx),
        Some("tflite") => {
            Err(DataError::new(file.path().display(), "is named .tflite, but holds no TFLite model"))
        }
        _ => Err(DataError::new(file.path().display(), "is neither a TFLite model nor named .onnx")),
    }
}
