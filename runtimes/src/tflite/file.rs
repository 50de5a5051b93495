//! What a model file says that the libraries do not: which dimensions are open, and what nodes are called.

pub(crate) use crate::builtin::import::Outline;

use crate::{Error, Result, builtin::import::outline, mapped::Mapped};
use std::path::Path;

/// Reads the structure of a file, and leaves its weights alone.
///
/// # Errors
/// It cannot be read, is no TFLite file, or damaged.
pub(crate) fn read(path: &Path) -> Result<Outline> {
    let file = Mapped::of(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    outline(&file).map_err(|e| e.at(&path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shipped_model_is_outlined() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../suites/models/fashion_dscnn/model_int8.tflite");
        let outline = read(&path).unwrap();
        assert_eq!(outline.inputs.len(), 1);
        assert!(outline.nodes.iter().any(|(_, op)| op == "DEPTHWISE_CONV_2D"), "{:?}", outline.nodes);
        assert!(outline.nodes.iter().all(|(name, _)| !name.is_empty()));
    }

    #[test]
    fn what_is_no_model_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.tflite");
        assert!(matches!(read(&path), Err(Error::Io { .. })));
        for text in ["", "TFL3", "0000TFL3 and nothing that follows"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(read(&path), Err(Error::ModelInvalid(_))), "{text:?}");
        }
    }
}
