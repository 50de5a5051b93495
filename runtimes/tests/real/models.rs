//! The models that every runtime is given: the shipped ones, and those of the zoo beside the checkout.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folder of the shipped models.
pub(crate) fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../suites/models")
}

/// Every model whose name ends so, with a name for messages: `FAMILY/FILE`.
pub(crate) fn all(ending: &str) -> Vec<(String, PathBuf)> {
    let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/zoo");
    if !zoo.is_dir() {
        println!("left out, not there: {}", zoo.display());
    }
    let mut models: Vec<(String, PathBuf)> = Vec::new();
    for folder in [shipped(), zoo] {
        for family in fs::read_dir(folder).into_iter().flatten() {
            for file in fs::read_dir(family.unwrap().path()).into_iter().flatten() {
                let path = file.unwrap().path();
                let part = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
                let name = format!("{}/{}", part(path.parent().unwrap()), part(&path));
                if name.ends_with(ending) && !models.iter().any(|(known, _)| *known == name) {
                    models.push((name, path));
                }
            }
        }
    }
    models.sort();
    models
}
