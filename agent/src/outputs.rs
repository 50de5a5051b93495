//! Outputs of a model: digests, the file they are kept in, and the check that they do not change from one
//! iteration to the next. Scores nothing.

use crate::{convert::to_f32, failure::Failure};
use protocol::{FailKind, Sha256, Sha256Hex};
use runtimes::Session;
use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

/// Hexadecimal digits of a digest of one example.
const DIGEST_DIGITS: usize = 16;

/// All outputs of the last invoke as f32.
#[derive(Default)]
pub(crate) struct Outputs {
    /// Elements of each output.
    pub(crate) elements: Vec<u64>,
    values: Vec<f32>,
    bytes: Vec<u8>,
}

impl Outputs {
    /// Takes them from the session.
    pub(crate) fn read(&mut self, session: &dyn Session) -> Result<(), Failure> {
        self.elements.clear();
        self.values.clear();
        self.bytes.clear();
        for (index, info) in session.outputs().iter().enumerate() {
            let before = self.values.len();
            let converted = to_f32(info, session.output(index)?, &mut self.values);
            converted.map_err(|text| Failure::new(FailKind::Unsupported, text))?;
            self.elements.push((self.values.len() - before) as u64);
        }
        self.values.iter().for_each(|x| self.bytes.extend_from_slice(&x.to_le_bytes()));
        Ok(())
    }

    /// Little-endian.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// First digits of the SHA-256 of [`Self::bytes`].
    pub(crate) fn digest(&self) -> String {
        Sha256Hex::of_bytes(&self.bytes).as_str().chars().take(DIGEST_DIGITS).collect()
    }
}

/// Remembers the outputs of the first inference, without keeping them in memory, which is being measured.
#[derive(Default)]
pub(crate) struct Stability {
    expected: Vec<u64>,
}

impl Stability {
    /// What every later iteration on the same input must give.
    pub(crate) fn of(session: &dyn Session) -> Result<Self, Failure> {
        let hash = |index| hash_output(session, index);
        Ok(Self { expected: (0..session.outputs().len()).map(hash).collect::<Result<_, _>>()? })
    }

    /// Compares the last invoke with the first.
    pub(crate) fn check(&self, session: &dyn Session, when: impl Fn() -> String) -> Result<(), Failure> {
        for (index, expected) in self.expected.iter().enumerate() {
            if hash_output(session, index)? != *expected {
                let name = session.outputs().get(index).map_or("", |o| o.name.as_str());
                return Err(Failure::new(
                    FailKind::OutputsUnstable,
                    format!(
                        "output {name:?} at the end of {} differs from the first inference, on the same input",
                        when()
                    ),
                ));
            }
        }
        Ok(())
    }
}

fn hash_output(session: &dyn Session, index: usize) -> Result<u64, Failure> {
    let mut hasher = DefaultHasher::new();
    session.output(index)?.hash(&mut hasher);
    Ok(hasher.finish())
}

/// A file that gets its name when all is in it: the hash of its contents.
pub(crate) struct OutputFile {
    dir: PathBuf,
    part: PathBuf,
    out: BufWriter<File>,
    hash: Sha256,
}

impl OutputFile {
    /// Begins a file in `dir`, which is made if need be.
    pub(crate) fn create(dir: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(dir).map_err(|e| Failure::file(dir, &e))?;
        let part = dir.join(format!("{}.part", std::process::id()));
        let file = File::create(&part).map_err(|e| Failure::file(&part, &e))?;
        Ok(Self { dir: dir.to_owned(), part, out: BufWriter::new(file), hash: Sha256::new() })
    }

    /// Appends.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.hash.update(bytes);
        self.out.write_all(bytes).map_err(|e| Failure::file(&self.part, &e))
    }

    /// Gives the file its name.
    pub(crate) fn finish(mut self) -> Result<(PathBuf, Sha256Hex), Failure> {
        self.out.flush().map_err(|e| Failure::file(&self.part, &e))?;
        let hash = std::mem::replace(&mut self.hash, Sha256::new()).finish();
        let path = self.dir.join(format!("{hash}.f32"));
        fs::rename(&self.part, &path).map_err(|e| Failure::file(&path, &e))?;
        Ok((path, hash))
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        // After `finish` there is nothing left under this name, and that is fine.
        drop(fs::remove_file(&self.part));
    }
}
