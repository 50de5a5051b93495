//! How a definition describes its data: the `[dataset]` table of a suite. Plain values and the checks
//! that need no file. `suites/FORMAT.md` explains every key.

use crate::{DataError, Preprocess};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The `[dataset]` table. Exactly one of `npz`, `npy`, `images`, `audio` and `csv` is present.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetSpec {
    /// Name for reports; the path without it.
    pub name: Option<String>,
    /// Where the examples come from, and their licence; the path without it.
    pub source: Option<String>,
    /// Names of the classes, in the order of the model's output.
    #[serde(default)]
    pub classes: Vec<String>,
    /// A text file with one class per line, in place of `classes`.
    pub classes_file: Option<PathBuf>,
    /// Arrays in an .npz archive.
    pub npz: Option<NpzSpec>,
    /// Arrays in .npy files.
    pub npy: Option<NpySpec>,
    /// A folder or .zip of images.
    pub images: Option<ImagesSpec>,
    /// A folder or .zip of .wav recordings.
    pub audio: Option<AudioSpec>,
    /// A table of numbers.
    pub csv: Option<CsvSpec>,
    /// From what was read to what the model is fed.
    #[serde(default)]
    pub preprocess: Preprocess,
}

/// Arrays in an .npz archive, the first dimension counting examples.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NpzSpec {
    /// The archive.
    pub path: PathBuf,
    /// Array of each model input, in the model's order; `["x"]` without it.
    #[serde(default = "default_inputs")]
    pub inputs: Vec<String>,
    /// Array of what is right: class indices, or what the task needs.
    pub labels: Option<String>,
    /// Array of texts that name the examples.
    pub names: Option<String>,
    /// Array of texts or integers, the same for examples that belong together.
    pub groups: Option<String>,
}

fn default_inputs() -> Vec<String> {
    vec!["x".to_owned()]
}

/// Arrays in .npy files, the first dimension counting examples.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NpySpec {
    /// File of each model input, in the model's order.
    pub inputs: Vec<PathBuf>,
    /// File of what is right: class indices, or what the task needs.
    pub labels: Option<PathBuf>,
    /// File of texts that name the examples.
    pub names: Option<PathBuf>,
    /// File of texts or integers, the same for examples that belong together.
    pub groups: Option<PathBuf>,
}

/// Images (.png, .jpg, .jpeg, .bmp) in a folder or a .zip.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagesSpec {
    /// The folder or .zip.
    pub path: PathBuf,
    /// A CSV file with the columns `file`, `label` and, where examples belong together, `group`; without it every
    /// folder within is a class, and files directly in the folder have no label.
    pub labels: Option<PathBuf>,
    /// Colour channels of the tensors.
    #[serde(default)]
    pub channels: Channels,
}

/// Colour channels that images are brought to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channels {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// One channel of brightness.
    Gray,
}

/// Recordings (.wav) in a folder or a .zip.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioSpec {
    /// The folder or .zip.
    pub path: PathBuf,
    /// As in [`ImagesSpec::labels`].
    pub labels: Option<PathBuf>,
    /// Samples per second. A recording with another rate is an error: nothing is resampled.
    pub sample_rate: u32,
    /// Brings every recording to one length.
    pub clip: Option<Clip>,
}

/// One length for every recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clip {
    /// The length.
    pub samples: u32,
    /// Where a shorter recording is filled up with silence.
    #[serde(default)]
    pub pad: PadEnd,
    /// Where a longer recording is cut.
    #[serde(default)]
    pub cut: ClipEnd,
}

/// Where silence is added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PadEnd {
    /// At the end.
    #[default]
    End,
    /// At both ends; an odd sample at the end.
    Both,
}

/// Where samples are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClipEnd {
    /// At the end.
    #[default]
    End,
    /// At both ends; an odd sample at the end.
    Both,
}

/// A table of numbers, one example per row, with a header.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvSpec {
    /// The file.
    pub path: PathBuf,
    /// Columns that are fed, in this order; without it all that are neither label nor name.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// Column of what is right: a class (an index, or one of the names in `classes`), or a number or text where
    /// the task needs one.
    pub label: Option<String>,
    /// Column that names the examples.
    pub name: Option<String>,
    /// Column that is the same for examples that belong together.
    pub group: Option<String>,
}

pub(crate) enum Kind<'a> {
    Npz(&'a NpzSpec),
    Npy(&'a NpySpec),
    Images(&'a ImagesSpec),
    Audio(&'a AudioSpec),
    Csv(&'a CsvSpec),
}

impl DatasetSpec {
    /// Every file and folder that it names, as it names them.
    pub fn paths(&self) -> Vec<&Path> {
        let npz = self.npz.iter().map(|npz| &npz.path);
        let npy = self
            .npy
            .iter()
            .flat_map(|npy| npy.inputs.iter().chain(&npy.labels).chain(&npy.names).chain(&npy.groups));
        let images =
            self.images.iter().flat_map(|images| std::iter::once(&images.path).chain(&images.labels));
        let audio = self.audio.iter().flat_map(|audio| std::iter::once(&audio.path).chain(&audio.labels));
        let csv = self.csv.iter().map(|csv| &csv.path);
        let all = self.classes_file.iter().chain(npz).chain(npy).chain(images).chain(audio).chain(csv);
        all.map(PathBuf::as_path).collect()
    }

    /// Whether labels are declared. A folder of images or recordings counts as labelled: what lies in it
    /// is only seen when it is read.
    pub fn declares_labels(&self) -> bool {
        self.npz.as_ref().is_some_and(|n| n.labels.is_some())
            || self.npy.as_ref().is_some_and(|n| n.labels.is_some())
            || self.csv.as_ref().is_some_and(|c| c.label.is_some())
            || self.images.is_some()
            || self.audio.is_some()
    }

    /// All checks that need no file.
    ///
    /// # Errors
    /// Names the key, and what to do.
    pub fn check(&self) -> Result<(), DataError> {
        let error = |key: &str, problem: &str| Err(DataError::new(key, problem));
        if !self.classes.is_empty() && self.classes_file.is_some() {
            return error("dataset.classes_file", "give either classes or classes_file, not both");
        }
        if let Some(twice) = duplicate(&self.classes) {
            return error("dataset.classes", &format!("{twice:?} is there twice"));
        }
        let inputs = match self.kind()? {
            Kind::Npz(npz) => npz.inputs.len(),
            Kind::Npy(npy) => npy.inputs.len(),
            Kind::Images(_) | Kind::Audio(_) | Kind::Csv(_) => 1,
        };
        if inputs == 0 {
            return error("dataset, inputs", "is empty: name the array of each model input");
        }
        if inputs > 1 && self.preprocess != Preprocess::default() {
            let problem = "works on a single input: store several inputs as the model takes them";
            return error("dataset.preprocess", problem);
        }
        if let Some(audio) = &self.audio {
            audio.check()?;
        }
        self.preprocess.check(self.images.is_some(), self.audio.is_some())
    }

    pub(crate) fn kind(&self) -> Result<Kind<'_>, DataError> {
        let kinds = [
            self.npz.as_ref().map(Kind::Npz),
            self.npy.as_ref().map(Kind::Npy),
            self.images.as_ref().map(Kind::Images),
            self.audio.as_ref().map(Kind::Audio),
            self.csv.as_ref().map(Kind::Csv),
        ];
        let mut present = kinds.into_iter().flatten();
        match (present.next(), present.next()) {
            (Some(kind), None) => Ok(kind),
            (None, _) => Err(DataError::new(
                "dataset",
                "says nothing about where the examples are: add one of \
                 [dataset.npz], [dataset.npy], [dataset.images], [dataset.audio] and [dataset.csv]",
            )),
            (Some(_), Some(_)) => Err(DataError::new(
                "dataset",
                "has more than one of npz, npy, images, audio and csv: keep one of them",
            )),
        }
    }

    /// Name and source for reports, with `path` in place of what is not given.
    pub(crate) fn title(&self, path: &Path) -> (String, String) {
        let shown = path.display().to_string();
        let stem = path.file_stem().map_or_else(|| shown.clone(), |s| s.to_string_lossy().into_owned());
        (self.name.clone().unwrap_or(stem), self.source.clone().unwrap_or(shown))
    }
}

impl AudioSpec {
    fn check(&self) -> Result<(), DataError> {
        if self.sample_rate == 0 {
            return Err(DataError::new("dataset.audio.sample_rate", "is 0: give samples per second"));
        }
        if self.clip.is_some_and(|c| c.samples == 0) {
            return Err(DataError::new("dataset.audio.clip.samples", "is 0: give the length of a clip"));
        }
        Ok(())
    }
}

pub(crate) fn duplicate(names: &[String]) -> Option<&str> {
    let mut sorted: Vec<&str> = names.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    sorted.windows(2).find_map(|pair| match pair {
        [a, b] if a == b => Some(*a),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npz() -> NpzSpec {
        NpzSpec { path: "a.npz".into(), inputs: default_inputs(), labels: None, names: None, groups: None }
    }

    #[test]
    fn exactly_one_kind_of_data() {
        let none = DatasetSpec::default();
        assert!(none.check().unwrap_err().to_string().contains("add one of [dataset.npz]"));
        let csv = CsvSpec { path: "a.csv".into(), inputs: vec![], label: None, name: None, group: None };
        let two = DatasetSpec { npz: Some(npz()), csv: Some(csv), ..none };
        assert!(two.check().unwrap_err().to_string().contains("more than one"));
    }

    #[test]
    fn contradictions_are_found_without_reading_a_file() {
        let spec = DatasetSpec { npz: Some(npz()), ..DatasetSpec::default() };
        assert_eq!(spec.check(), Ok(()));
        let twice = DatasetSpec { classes: vec!["a".into(), "b".into(), "a".into()], ..spec.clone() };
        assert!(twice.check().unwrap_err().to_string().contains("\"a\" is there twice"));
        let both = DatasetSpec { classes: vec!["a".into()], classes_file: Some("c".into()), ..spec.clone() };
        assert!(both.check().unwrap_err().to_string().contains("either classes or classes_file"));
        let scale = Preprocess { scale: Some(2.0), ..Preprocess::default() };
        let inputs = vec!["a".to_owned(), "b".to_owned()];
        let several = DatasetSpec { npz: Some(NpzSpec { inputs, ..npz() }), preprocess: scale, ..spec };
        assert!(several.check().unwrap_err().to_string().contains("single input"));
    }
}
