//! A folder of example files, on disk or in a .zip: the names in it, sorted, and the bytes of each.
//! Bounded in depth, number and size; hidden files are left out.

use crate::{
    DataError, Dataset, DatasetSpec, FileRef, MAX_EXAMPLES, ReadSeek, Root,
    classes::Listing,
    dataset::{Collector, spread},
    file::io_words,
    labels,
    preprocess::Decoded,
};
use std::{
    collections::BTreeSet,
    io::{Read, Seek},
    path::{Path, PathBuf},
};
use zip::ZipArchive;

/// How far down files are looked for: folder, class, and one more.
const MAX_DEPTH: usize = 3;

/// Most bytes of one example file.
const MAX_MEMBER_BYTES: u64 = 256 << 20;

/// The folder.
pub(crate) struct Folder {
    path: PathBuf,
    names: Vec<String>,
    archive: Option<ZipArchive<Box<dyn ReadSeek>>>,
}

impl Folder {
    /// Lists a folder or a .zip.
    pub(crate) fn open(root: &Root, path: &Path) -> Result<Self, DataError> {
        let (path, mut names, archive) = match root.folder(path) {
            Some(folder) => {
                let mut names = Vec::new();
                walk(&folder, "", MAX_DEPTH, &mut names)?;
                (folder, names, None)
            }
            None => {
                let file = root.file(path)?;
                let archive = open_zip(&file)?;
                let names = member_names(&archive, file.path())?;
                (file.path().to_owned(), names, Some(archive))
            }
        };
        names.sort_unstable();
        if names.len() as u64 > MAX_EXAMPLES {
            return Err(DataError::file(&path, format_args!("holds more than {MAX_EXAMPLES} files")));
        }
        Ok(Self { path, names, archive })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Paths within, with `/`, sorted by bytes.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The bytes of one of the names.
    pub(crate) fn read(&mut self, name: &str) -> Result<Vec<u8>, DataError> {
        let Some(archive) = &mut self.archive else {
            return FileRef::on_disk(self.path.join(name)).read(MAX_MEMBER_BYTES);
        };
        let error = |problem: String| DataError::within(&self.path, name, problem);
        let member = archive.by_name(name).map_err(|e| error(format!("cannot be read: {e}")))?;
        let mut bytes = Vec::new();
        let read = member.take(MAX_MEMBER_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|e| error(io_words(&e)))?;
        if bytes.len() as u64 > MAX_MEMBER_BYTES {
            return Err(error(format!("is larger than the limit of {MAX_MEMBER_BYTES} bytes")));
        }
        Ok(bytes)
    }

    /// Where `name` lies, for an error.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// One example from each listed file, at most `limit` of them: decoded, then prepared. `remedy` is what to say
/// besides where an example has another size than those before it.
pub(crate) fn load_files(
    spec: &DatasetSpec,
    mut folder: Folder,
    listing: Listing,
    limit: u64,
    remedy: &str,
    decode: impl Fn(&[u8]) -> Result<Decoded, String>,
) -> Result<Dataset, DataError> {
    let Listing { names: listed, labels: known, groups: of_groups, classes } = listing;
    let mut collector = Collector::default();
    let (mut names, mut groups) = (Vec::new(), Vec::new());
    let labels = labels::pick(&known, spread(listed.len() as u64, limit).map(|i| i as usize));
    for index in spread(listed.len() as u64, limit) {
        let Some(name) = listed.get(index as usize) else { continue };
        let bytes = folder.read(name)?;
        let problem = |p: String| DataError::new(folder.place(name).display(), p);
        let example = decode(&bytes).and_then(|d| spec.preprocess.finish(d)).map_err(problem)?;
        collector.push(&example).map_err(|p| problem(format!("{p}{remedy}")))?;
        groups.extend(of_groups.get(index as usize).cloned());
        names.push(name.clone());
    }
    let (name, source) = spec.title(folder.path());
    let inputs = collector.finish().into_iter().collect();
    Ok(Dataset { name, source, inputs, labels, classes, names, groups })
}

/// Opens a .zip or .npz.
pub(crate) fn open_zip(file: &FileRef) -> Result<ZipArchive<Box<dyn ReadSeek>>, DataError> {
    let archive = ZipArchive::new(file.open()?);
    archive
        .map_err(|e| DataError::file(file.path(), format_args!("is not a zip archive, or is damaged: {e}")))
}

/// Names of the files in an archive, without hidden ones.
pub(crate) fn member_names<R: Read + Seek>(
    archive: &ZipArchive<R>,
    path: &Path,
) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for name in archive.file_names() {
        let name =
            name.map_err(|e| DataError::file(path, format_args!("holds a name that cannot be read: {e}")))?;
        if is_visible(&name) && !name.ends_with('/') {
            names.push(name.into_owned());
        }
    }
    Ok(names)
}

fn is_visible(name: &str) -> bool {
    !name.split('/').any(|part| part.starts_with('.') || part == "__MACOSX")
}

fn walk(folder: &Path, prefix: &str, depth: usize, names: &mut Vec<String>) -> Result<(), DataError> {
    let error = |e: std::io::Error| DataError::file(folder, io_words(&e));
    for entry in folder.read_dir().map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_visible(&name) {
            continue;
        }
        let path = entry.path();
        if path.is_file() {
            names.push(format!("{prefix}{name}"));
        } else if path.is_dir() && depth > 1 {
            walk(&path, &format!("{prefix}{name}/"), depth - 1, names)?;
        }
        if names.len() as u64 > MAX_EXAMPLES {
            return Err(DataError::file(folder, format_args!("holds more than {MAX_EXAMPLES} files")));
        }
    }
    Ok(())
}

/// The first folders of a list of names.
pub(crate) struct Folders<'a> {
    pub(crate) names: BTreeSet<String>,
    /// A name that is in no folder.
    pub(crate) stray: Option<&'a str>,
}

impl<'a> Folders<'a> {
    pub(crate) fn of(names: &'a [String]) -> Self {
        let first = |name: &'a String| name.split_once('/').map(|(folder, _)| folder.to_owned());
        let stray = names.iter().find(|n| !n.contains('/')).map(String::as_str);
        Self { names: names.iter().filter_map(first).collect(), stray }
    }
}
