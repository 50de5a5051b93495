//! Examples in numpy arrays: one .npz archive, or .npy files side by side.

use crate::{
    DataError, Dataset, DatasetSpec, FileRef, Preprocess, ReadSeek, Root, TensorData, classes,
    dataset::{Collector, spread},
    did_you_mean,
    folder::{member_names, open_zip},
    labels,
    npy::Array,
    preprocess::{Decoded, Values},
    spec::{NpySpec, NpzSpec},
};
use protocol::{Labels, Task};
use std::io::Read;
use zip::ZipArchive;

type Archive = ZipArchive<Box<dyn ReadSeek>>;

/// The names of the arrays in an archive.
fn array_names(archive: &Archive, file: &FileRef) -> Result<Vec<String>, DataError> {
    let names = member_names(archive, file.path())?;
    Ok(names.iter().filter_map(|n| n.strip_suffix(".npy")).map(str::to_owned).collect())
}

pub(crate) fn load_npz(
    spec: &DatasetSpec,
    npz: &NpzSpec,
    root: &Root,
    limit: u64,
    task: &Task,
) -> Result<Dataset, DataError> {
    let file = root.file(&npz.path)?;
    let mut archive = open_zip(&file)?;
    let mut parts = Parts::new(spec, limit, task);
    for key in &npz.inputs {
        with_array(&mut archive, &file, key, |array| parts.input(array))?;
    }
    if let Some(key) = &npz.labels {
        with_array(&mut archive, &file, key, |array| parts.labels(array))?;
    }
    if let Some(key) = &npz.names {
        with_array(&mut archive, &file, key, |array| parts.names(array))?;
    }
    if let Some(key) = &npz.groups {
        with_array(&mut archive, &file, key, |array| parts.groups(array))?;
    }
    let (name, source) = spec.title(file.path());
    parts.finish(name, source, classes::declared(spec, root)?)
}

pub(crate) fn load_npy(
    spec: &DatasetSpec,
    npy: &NpySpec,
    root: &Root,
    limit: u64,
    task: &Task,
) -> Result<Dataset, DataError> {
    let mut parts = Parts::new(spec, limit, task);
    let open = |path| -> Result<_, DataError> {
        let file = root.file(path)?;
        let array = Array::open(file.open()?, file.size()?).map_err(|p| DataError::file(file.path(), p))?;
        Ok((file, array))
    };
    let mut title = None;
    for path in &npy.inputs {
        let (file, array) = open(path)?;
        parts.input(array).map_err(|p| DataError::file(file.path(), p))?;
        title.get_or_insert_with(|| spec.title(file.path()));
    }
    if let Some(path) = &npy.labels {
        let (file, array) = open(path)?;
        parts.labels(array).map_err(|p| DataError::file(file.path(), p))?;
    }
    if let Some(path) = &npy.names {
        let (file, array) = open(path)?;
        parts.names(array).map_err(|p| DataError::file(file.path(), p))?;
    }
    if let Some(path) = &npy.groups {
        let (file, array) = open(path)?;
        parts.groups(array).map_err(|p| DataError::file(file.path(), p))?;
    }
    let (name, source) = title.unwrap_or_default();
    parts.finish(name, source, classes::declared(spec, root)?)
}

/// Opens one array of the archive; errors name the file and the key.
fn with_array(
    archive: &mut Archive,
    file: &FileRef,
    key: &str,
    take: impl FnOnce(Array<&mut dyn Read>) -> Result<(), String>,
) -> Result<(), DataError> {
    let names = array_names(archive, file)?;
    let error = |problem: String| DataError::within(file.path(), format_args!("array {key:?}"), problem);
    if !names.iter().any(|n| n == key) {
        let hint = did_you_mean(key, names.iter().map(String::as_str));
        let there = names.iter().take(20).map(String::as_str).collect::<Vec<_>>().join(", ");
        return Err(error(format!("is not in the archive{hint}; it holds: {there}")));
    }
    let member = archive.by_name(&format!("{key}.npy"));
    let mut member = member.map_err(|e| error(format!("cannot be read: {e}")))?;
    let size = member.size();
    let reader: &mut dyn Read = &mut member;
    Array::open(reader, size).and_then(take).map_err(error)
}

/// What has been read of a dataset.
struct Parts<'a> {
    preprocess: &'a Preprocess,
    limit: u64,
    task: &'a Task,
    /// Examples in the files, before any are left out.
    rows: Option<u64>,
    inputs: Vec<TensorData>,
    labels: Labels,
    names: Vec<String>,
    groups: Vec<String>,
}

impl<'a> Parts<'a> {
    fn new(spec: &'a DatasetSpec, limit: u64, task: &'a Task) -> Self {
        let (preprocess, rows, inputs, labels) = (&spec.preprocess, None, Vec::new(), Labels::None);
        Self { preprocess, limit, task, rows, inputs, labels, names: Vec::new(), groups: Vec::new() }
    }

    fn same_count(&mut self, rows: u64) -> Result<u64, String> {
        match *self.rows.get_or_insert(rows) {
            before if before == rows => Ok(rows),
            before => {
                Err(format!("has {rows} rows, and the first input has {before} examples: they must match"))
            }
        }
    }

    fn input<R: Read>(&mut self, array: Array<R>) -> Result<(), String> {
        let rows = self.same_count(array.rows())?;
        if rows == 0 {
            return Err("holds no examples: the first dimension is 0".to_owned());
        }
        let mut collector = Collector::default();
        array.for_rows(spread(rows, self.limit), |index, row| {
            let decoded = Decoded { shape: row.shape, values: Values::Raw(row.dtype, row.bytes) };
            let prepared = self.preprocess.finish(decoded);
            prepared.and_then(|e| collector.push(&e)).map_err(|p| format!("row {index}: {p}"))
        })?;
        self.inputs.extend(collector.finish());
        Ok(())
    }

    fn labels<R: Read>(&mut self, array: Array<R>) -> Result<(), String> {
        let rows = self.same_count(array.rows())?;
        self.labels = labels::of_array(array, self.task, spread(rows, self.limit))?;
        Ok(())
    }

    fn groups<R: Read>(&mut self, array: Array<R>) -> Result<(), String> {
        self.same_count(array.rows())?;
        self.groups = array.into_names()?;
        Ok(())
    }

    fn names<R: Read>(&mut self, array: Array<R>) -> Result<(), String> {
        self.same_count(array.rows())?;
        self.names = array.into_names()?;
        Ok(())
    }

    fn finish(self, name: String, source: String, classes: Vec<String>) -> Result<Dataset, DataError> {
        let rows = self.rows.unwrap_or(0);
        let names = pick(&self.names, rows, self.limit);
        let groups = pick(&self.groups, rows, self.limit);
        Ok(Dataset { name, source, inputs: self.inputs, labels: self.labels, classes, names, groups })
    }
}

fn pick<T: Clone>(all: &[T], rows: u64, limit: u64) -> Vec<T> {
    spread(rows, limit).filter_map(|i| all.get(i as usize).cloned()).collect()
}

/// The names of the arrays in a file.
pub(crate) fn peek(file: &FileRef) -> Result<Vec<String>, DataError> {
    array_names(&open_zip(file)?, file)
}
