//! The families of the zoo: labelled examples and model variants.

use crate::run::Example;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A family's examples.
pub(crate) struct Family {
    folder: PathBuf,
    examples: Examples,
    /// Elements of one example.
    size: usize,
    meta: Meta,
    /// The right answer to each example.
    pub(crate) labels: Vec<usize>,
}

enum Examples {
    U8(Vec<u8>),
    I8(Vec<i8>),
    I32(Vec<i32>),
    F32(Vec<f32>),
}

#[derive(Deserialize)]
struct Meta {
    scale: Option<f64>,
    offset: Option<f64>,
}

/// What results.csv says of a variant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// Top-1 accuracy.
    pub(crate) accuracy: f64,
    /// Share of examples on which it gives the same answer as fp32 (TFLite).
    pub(crate) agreement: f64,
}

/// The zoo beside the checkout.
pub(crate) fn zoo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/zoo")
}

impl Family {
    /// Reads a family, or says that it is not there.
    pub(crate) fn load(name: &str) -> Option<Self> {
        let folder = zoo().join(name);
        if !folder.is_dir() {
            println!("left out, not there: {}", folder.display());
            return None;
        }
        let meta = serde_json::from_slice(&fs::read(folder.join("meta.json")).unwrap()).unwrap();
        // CIFAR examples are kept once.
        let data = if name == "cifar_mbnet" { "tiny_ic_resnet8" } else { name };
        Some(Self::read(folder, &zoo().join(data).join("eval.npz"), meta))
    }

    /// The Fashion-MNIST examples and models that are in the repository.
    pub(crate) fn shipped() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let meta = Meta { scale: Some(1.0 / 255.0), offset: None };
        Self::read(
            root.join("suites/models/fashion_dscnn"),
            &root.join("datasets/data/fashion_mnist_2000.npz"),
            meta,
        )
    }

    fn read(folder: PathBuf, examples: &Path, meta: Meta) -> Self {
        let mut archive = zip::ZipArchive::new(File::open(examples).unwrap()).unwrap();
        let labels = npyz::NpyFile::new(archive.by_name("y.npy").unwrap()).unwrap();
        let labels: Vec<usize> = labels.into_vec::<u8>().unwrap().into_iter().map(usize::from).collect();
        let x = npyz::NpyFile::new(archive.by_name("x.npy").unwrap()).unwrap();
        let examples = match x.dtype().descr().trim_matches('\'') {
            "|u1" => Examples::U8(x.into_vec().unwrap()),
            "|i1" => Examples::I8(x.into_vec().unwrap()),
            "<i4" => Examples::I32(x.into_vec().unwrap()),
            "<f4" => Examples::F32(x.into_vec().unwrap()),
            other => panic!("{}: examples of type {other}", examples.display()),
        };
        let size = examples.len() / labels.len();
        Self { folder, examples, size, meta, labels }
    }

    /// Example `index` as a model's input.
    pub(crate) fn example(&self, index: usize) -> Example<'_> {
        let range = index * self.size..(index + 1) * self.size;
        let (scale, offset) = (self.meta.scale.unwrap_or(1.0) as f32, self.meta.offset.unwrap_or(0.0) as f32);
        match &self.examples {
            Examples::U8(x) => {
                Example::Real(x[range].iter().map(|v| f32::from(*v) * scale + offset).collect())
            }
            Examples::I8(x) => {
                Example::Real(x[range].iter().map(|v| f32::from(*v) * scale + offset).collect())
            }
            Examples::F32(x) => Example::Real(x[range].to_vec()),
            Examples::I32(x) => Example::Ids(&x[range]),
        }
    }

    /// Files of a format with what results.csv says of them.
    pub(crate) fn variants(&self, format: &str) -> BTreeMap<PathBuf, Expected> {
        let csv = fs::read_to_string(self.folder.join("results.csv")).unwrap();
        let rows = csv.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
        let number = |text: &str| text.parse::<f64>().unwrap();
        rows.filter(|row| row[0] == format)
            .map(|row| {
                let expected = Expected { accuracy: number(row[3]), agreement: number(row[4]) };
                (self.file(row[1], format), expected)
            })
            .collect()
    }

    /// The same for the shipped models and examples, from their expected.csv.
    pub(crate) fn shipped_variants(&self, format: &str) -> BTreeMap<PathBuf, Expected> {
        let csv = fs::read_to_string(self.folder.join("../expected.csv")).unwrap();
        let rows = csv.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
        let number = |text: &str| text.parse::<f64>().unwrap();
        rows.filter(|row| row[0] == "fashion_dscnn" && row[1] == format)
            .map(|row| {
                let share = |i: usize| number(row[i]) / number(row[3]);
                (self.file(row[2], format), Expected { accuracy: share(4), agreement: share(5) })
            })
            .collect()
    }

    fn file(&self, variant: &str, format: &str) -> PathBuf {
        let prefix = if variant.starts_with("official") { "" } else { "model_" };
        let path = self.folder.join(format!("{prefix}{variant}.{format}"));
        assert!(path.is_file(), "{} is in the table of results and not there", path.display());
        path
    }

    /// The variant that agreement is counted against.
    pub(crate) fn reference(&self) -> PathBuf {
        self.folder.join("model_fp32.tflite")
    }
}

impl Examples {
    fn len(&self) -> usize {
        match self {
            Self::U8(x) => x.len(),
            Self::I8(x) => x.len(),
            Self::I32(x) => x.len(),
            Self::F32(x) => x.len(),
        }
    }
}
