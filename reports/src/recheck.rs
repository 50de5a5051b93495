//! Whether the report files of a run are what its record gives: each is made once more and compared byte by byte,
//! in bounded memory. Changes nothing.

use crate::{
    record::RunRecord,
    render::{FORMATS, Kept, Options, RenderError},
    verdict::Verdicts,
};
use std::{
    fs::File,
    io::{self, BufReader, ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

/// How a file on disk stands to the one that the record gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rechecked {
    /// The same bytes.
    Same,
    /// Other bytes, the first of them at this position.
    Differs(u64),
    /// There is no such file.
    Missing,
}

/// Compares every report that is a file, in the order of [`FORMATS`]; what is written on request, where it is there.
///
/// # Errors
/// A report cannot be made, or a file cannot be read.
pub fn recheck(
    run_dir: &Path,
    record: &RunRecord,
    verdicts: &Verdicts,
) -> Result<Vec<(PathBuf, Rechecked)>, RenderError> {
    let mut found = Vec::new();
    for format in FORMATS {
        let path = run_dir.join(format.file);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                if format.kept == Kept::Always {
                    found.push((path, Rechecked::Missing));
                }
                continue;
            }
            Err(e) => return Err(e.into()),
        };
        let mut comparison = Comparison { file: BufReader::new(file), at: 0, differs: None };
        format.write(record, verdicts, &Options::default(), &mut comparison)?;
        found.push((path, comparison.end()?));
    }
    Ok(found)
}

/// Takes what a file should hold, and reads what it does hold.
struct Comparison<R> {
    file: R,
    at: u64,
    differs: Option<u64>,
}

impl<R: Read> Comparison<R> {
    fn end(mut self) -> io::Result<Rechecked> {
        let more = self.file.read(&mut [0])? > 0;
        let differs = self.differs.or(more.then_some(self.at));
        Ok(differs.map_or(Rechecked::Same, Rechecked::Differs))
    }
}

impl<R: Read> Write for Comparison<R> {
    fn write(&mut self, expected: &[u8]) -> io::Result<usize> {
        if self.differs.is_none() {
            let mut there = Vec::with_capacity(expected.len());
            (&mut self.file).take(expected.len() as u64).read_to_end(&mut there)?;
            let same = there.iter().zip(expected).take_while(|(a, b)| a == b).count();
            self.at += same as u64;
            self.differs = (same < expected.len()).then_some(self.at);
        }
        Ok(expected.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{testing::Recipe, verdict::verdicts};
    use std::fs;

    #[test]
    fn files_are_the_same_until_somebody_changes_one() {
        let root = tempfile::tempdir().unwrap();
        let dir = Recipe::small().run().write(root.path());
        let record = crate::store::load(&dir).unwrap();
        let verdicts = verdicts(&record);
        let check = || recheck(&dir, &record, &verdicts).unwrap();
        assert!(check().iter().all(|(_, found)| *found == Rechecked::Missing));
        let paths = crate::write_all(&dir, &record, &verdicts).unwrap();
        assert!(check().iter().all(|(_, found)| *found == Rechecked::Same));
        let results = paths.iter().position(|path| path.ends_with("results.csv")).unwrap();
        let text = fs::read(&paths[results]).unwrap();
        let mut changed = text.clone();
        changed[100] ^= 1;
        let longer = [text.as_slice(), b"x"].concat();
        let cases = [(&changed[..], 100), (&text[..50], 50), (&longer[..], text.len() as u64), (&[], 0)];
        for (bytes, at) in cases {
            fs::write(&paths[results], bytes).unwrap();
            assert_eq!(check()[results].1, Rechecked::Differs(at));
        }
    }
}
