//! The suites that are part of the program, with every file they need, so that an installed `bench` runs
//! them away from a checkout. This is the one place where files are built in: about 5 MB, of which 3 MB
//! are recordings.

use crate::{Suite, SuiteError, definition};
use datasets::{Root, ShippedFile};

/// A suite that is part of the program.
#[derive(Debug)]
pub struct Builtin {
    /// Its name on the command line.
    pub name: &'static str,
    /// Path of its definition, from the root of the repository.
    pub path: &'static str,
    pub(crate) text: &'static str,
}

impl Builtin {
    /// Parses the definition as any other.
    ///
    /// # Errors
    /// A mistake in the definition; the tests of this crate keep it out.
    pub fn suite(&self) -> Result<Suite, SuiteError> {
        let root = Root::Shipped { folder: "suites", files: FILES };
        definition::parse(self.text, self.path, self.name, root)
    }
}

macro_rules! suite {
    ($name:literal) => {
        Builtin {
            name: $name,
            path: concat!("suites/", $name, ".toml"),
            text: include_str!(concat!("../", $name, ".toml")),
        }
    };
}

macro_rules! file {
    ($path:literal) => {
        ShippedFile { path: $path, bytes: include_bytes!(concat!("../../", $path)) }
    };
}

/// All of them, in the order of the list that people see.
pub const BUILTIN: &[Builtin] = &[suite!("vision"), suite!("audio"), suite!("smoke")];

/// Every file they name.
pub const FILES: &[ShippedFile] = &[
    file!("datasets/data/fashion_mnist_2000.npz"),
    file!("datasets/data/fsdd_540.zip"),
    file!("suites/models/fashion_dscnn/model_dynint8.onnx"),
    file!("suites/models/fashion_dscnn/model_dynint8.tflite"),
    file!("suites/models/fashion_dscnn/model_fp16.onnx"),
    file!("suites/models/fashion_dscnn/model_fp16.tflite"),
    file!("suites/models/fashion_dscnn/model_fp32.onnx"),
    file!("suites/models/fashion_dscnn/model_fp32.tflite"),
    file!("suites/models/fashion_dscnn/model_int8.onnx"),
    file!("suites/models/fashion_dscnn/model_int8.tflite"),
    file!("suites/models/fsdd_dscnn/model_dynint8.onnx"),
    file!("suites/models/fsdd_dscnn/model_dynint8.tflite"),
    file!("suites/models/fsdd_dscnn/model_fp16.onnx"),
    file!("suites/models/fsdd_dscnn/model_fp16.tflite"),
    file!("suites/models/fsdd_dscnn/model_fp32.onnx"),
    file!("suites/models/fsdd_dscnn/model_fp32.tflite"),
    file!("suites/models/fsdd_dscnn/model_int8.onnx"),
    file!("suites/models/fsdd_dscnn/model_int8.tflite"),
];
