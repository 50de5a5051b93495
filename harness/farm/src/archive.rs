//! A folder as one file: the record of a run on its way from who measured to who collects. What comes out of an archive
//! is held to bounds and stays in its folder, whoever made it: plain files and folders only.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    path::{Component, Path, PathBuf},
};
use zip::{CompressionMethod, ZipArchive, ZipWriter, result::ZipError, write::SimpleFileOptions};

/// Files and folders of a run: a large one has some ten thousand outputs.
const MAX_ENTRIES: usize = 200_000;
/// Bytes of a run's folder. More than any run has had; less than a disk.
const MAX_BYTES: u64 = 16 << 30;

/// Why a folder did not become an archive, or the reverse.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The archive is damaged.
    #[error("{path}: no archive that can be read: {source}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ZipError,
    },
    /// There is more in it than anybody needs.
    #[error("{path}: more than {what}")]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The bound.
        what: String,
    },
    /// A name or kind of file that has no place in a run.
    #[error("{path}: {name:?} {why}")]
    Hostile {
        /// Which archive.
        path: PathBuf,
        /// The entry.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// The bounds that hold.
#[derive(Clone, Copy)]
struct Bounds {
    entries: usize,
    bytes: u64,
}

const BOUNDS: Bounds = Bounds { entries: MAX_ENTRIES, bytes: MAX_BYTES };

/// Writes every file of `folder` into an archive. Links and what is no file are left out.
///
/// # Errors
/// Something cannot be read or written, or there is too much of it.
pub fn pack(folder: &Path, archive: &Path) -> Result<(), ArchiveError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ArchiveError::Io { path, source }
    };
    let damaged = |source| ArchiveError::Damaged { path: archive.to_owned(), source };
    let too_large = |what| ArchiveError::TooLarge { path: folder.to_owned(), what };
    let file = File::create(archive).map_err(failed(archive))?;
    let mut writer = ZipWriter::new(io::BufWriter::new(file));
    let options =
        SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).large_file(true);
    let mut bytes = 0;
    for name in files_in(folder, BOUNDS.entries)? {
        let path = folder.join(&name);
        writer.start_file_from_path(&name, options).map_err(damaged)?;
        let source = File::open(&path).map_err(failed(&path))?;
        // a file may grow while it is read
        bytes += io::copy(&mut source.take(BOUNDS.bytes - bytes + 1), &mut writer).map_err(failed(&path))?;
        if bytes > BOUNDS.bytes {
            return Err(too_large(format!("{} bytes", BOUNDS.bytes)));
        }
    }
    let mut file = writer.finish().map_err(damaged)?;
    file.flush().map_err(failed(archive))
}

/// Names of all plain files below a folder, from there on, in order.
fn files_in(folder: &Path, most: usize) -> Result<Vec<PathBuf>, ArchiveError> {
    let failed = |path: &Path, source| ArchiveError::Io { path: path.to_owned(), source };
    let (mut files, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(name) = folders.pop() {
        let path = folder.join(&name);
        for entry in fs::read_dir(&path).map_err(|e| failed(&path, e))? {
            let entry = entry.map_err(|e| failed(&path, e))?;
            let kind = entry.file_type().map_err(|e| failed(&path, e))?;
            let name = name.join(entry.file_name());
            if kind.is_dir() {
                folders.push(name);
            } else if kind.is_file() {
                files.push(name);
            }
            if files.len() + folders.len() > most {
                return Err(ArchiveError::TooLarge {
                    path: folder.to_owned(),
                    what: format!("{most} files and folders"),
                });
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Makes `folder`, at which nothing lies, of an archive. It appears whole or not at all.
///
/// # Errors
/// The archive is damaged, holds more than a run ever does, or something that has no place in one; or the disk gives
/// trouble.
pub fn unpack(archive: &Path, folder: &Path) -> Result<(), ArchiveError> {
    unpack_within(archive, folder, BOUNDS)
}

fn unpack_within(archive: &Path, folder: &Path, bounds: Bounds) -> Result<(), ArchiveError> {
    let failed = |path: &Path, source| ArchiveError::Io { path: path.to_owned(), source };
    if folder.symlink_metadata().is_ok() {
        return Err(failed(folder, io::ErrorKind::AlreadyExists.into()));
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let part =
        tempfile::Builder::new().prefix(".unpacking-").tempdir_in(parent).map_err(|e| failed(parent, e))?;
    let damaged = |source| ArchiveError::Damaged { path: archive.to_owned(), source };
    let file = File::open(archive).map_err(|e| failed(archive, e))?;
    let zip = ZipArchive::new(io::BufReader::new(file)).map_err(damaged)?;
    fill(archive, zip, part.path(), bounds)?;
    // made for us alone; a run may be read by whom the umask lets
    let made = part.path().join("run");
    fs::rename(&made, folder).map_err(|e| failed(folder, e))
}

/// Writes all that is in the archive into the folder `run` of that one.
fn fill(
    archive: &Path,
    mut zip: ZipArchive<impl Read + Seek>,
    into: &Path,
    bounds: Bounds,
) -> Result<(), ArchiveError> {
    let too_large = |what| ArchiveError::TooLarge { path: archive.to_owned(), what };
    if zip.len() > bounds.entries {
        return Err(too_large(format!("{} files and folders", bounds.entries)));
    }
    let root = into.join("run");
    fs::create_dir(&root).map_err(|source| ArchiveError::Io { path: root.clone(), source })?;
    let mut left = bounds.bytes;
    for index in 0..zip.len() {
        let damaged = |source| ArchiveError::Damaged { path: archive.to_owned(), source };
        let mut entry = zip.by_index(index).map_err(damaged)?;
        let name = entry.name().map_err(damaged)?.into_owned();
        let hostile = |why| ArchiveError::Hostile { path: archive.to_owned(), name: name.clone(), why };
        let inside = inside(&name).ok_or_else(|| hostile("leads out of the folder"))?;
        if !entry.is_file() && !entry.is_dir() || entry.is_symlink() {
            return Err(hostile("is neither file nor folder"));
        }
        let path = root.join(inside);
        let failed = |source| ArchiveError::Io { path: path.clone(), source };
        let folder = if entry.is_dir() { Some(path.as_path()) } else { path.parent() };
        folder.map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        if entry.is_file() {
            // one that is in it twice is refused here
            let mut file = File::create_new(&path).map_err(failed)?;
            // what an archive says of its sizes is not believed
            let written = io::copy(&mut (&mut entry).take(left + 1), &mut file).map_err(failed)?;
            left = left.checked_sub(written).ok_or_else(|| too_large(format!("{} bytes", bounds.bytes)))?;
        }
    }
    Ok(())
}

/// The path, if it is one of plain names only.
fn inside(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let plain = !name.contains(['\0', '\\']) && path.components().all(|c| matches!(c, Component::Normal(_)));
    (plain && !name.is_empty()).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("run/outputs/deep")).unwrap();
        fs::write(folder.path().join("run/plan.json"), "{}").unwrap();
        fs::write(folder.path().join("run/empty"), "").unwrap();
        fs::write(folder.path().join("run/outputs/deep/a b.npy"), vec![7; 300_000]).unwrap();
        folder
    }

    fn made_of(entries: &[(&str, &[u8], bool)]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = ZipWriter::new(file.reopen().unwrap());
        for (name, text, link) in entries {
            let options = SimpleFileOptions::default();
            match link {
                true => writer.add_symlink(*name, String::from_utf8_lossy(text), options).unwrap(),
                false => {
                    writer.start_file(*name, options).unwrap();
                    writer.write_all(text).unwrap();
                }
            }
        }
        writer.finish().unwrap();
        file
    }

    #[test]
    fn a_folder_comes_out_as_it_went_in() {
        let folder = folder();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("run/link")).unwrap();
        let archive = folder.path().join("a.zip");
        pack(&folder.path().join("run"), &archive).unwrap();
        assert!(fs::metadata(&archive).unwrap().len() < 10_000, "it is compressed");
        let out = folder.path().join("out");
        unpack(&archive, &out).unwrap();
        let names = files_in(&out, 10).unwrap();
        assert_eq!(names, ["empty", "outputs/deep/a b.npy", "plan.json"].map(PathBuf::from));
        for name in &names {
            assert_eq!(
                fs::read(out.join(name)).unwrap(),
                fs::read(folder.path().join("run").join(name)).unwrap()
            );
        }
        let twice = unpack(&archive, &out).unwrap_err().to_string();
        assert!(twice.contains("exists"), "{twice}");
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 3, "nothing half is left behind");
    }

    #[test]
    fn what_leads_out_or_is_no_file_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("in/out");
        fs::create_dir(place.path().join("in")).unwrap();
        for (name, link) in [
            ("../evil", false),
            ("a/../../evil", false),
            ("/tmp/evil", false),
            ("a\\..\\evil", false),
            ("link", true),
        ] {
            let archive = made_of(&[("good", b"1", false), (name, b"/etc/passwd", link)]);
            let why = unpack(archive.path(), &out).unwrap_err();
            assert!(matches!(why, ArchiveError::Hostile { .. }), "{name}: {why}");
            assert!(!out.exists() && !place.path().join("evil").exists());
        }
        assert_eq!(fs::read_dir(place.path().join("in")).unwrap().count(), 0);
    }

    #[test]
    fn bounds_hold_whatever_the_archive_says() {
        let out = tempfile::tempdir().unwrap();
        let archive = made_of(&[("a", &[0; 600], false), ("b", &[0; 500], false)]);
        let unpack = |entries, bytes| {
            unpack_within(archive.path(), &out.path().join("x"), Bounds { entries, bytes })
                .map_err(|e| e.to_string())
        };
        assert!(unpack(2, 1099).unwrap_err().contains("more than 1099 bytes"));
        assert!(unpack(1, 1100).unwrap_err().contains("more than 1 files"));
        unpack(2, 1100).unwrap();
    }

    #[test]
    fn damage_is_named() {
        let folder = folder();
        let archive = folder.path().join("a.zip");
        pack(&folder.path().join("run"), &archive).unwrap();
        let whole = fs::read(&archive).unwrap();
        for cut in [0, 10, whole.len() / 2, whole.len() - 1] {
            fs::write(&archive, &whole[..cut]).unwrap();
            let why = unpack(&archive, &folder.path().join("out")).unwrap_err();
            assert!(why.to_string().contains("a.zip"), "{why}");
        }
    }

    #[test]
    fn a_bent_archive_gives_what_went_in_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("run")).unwrap();
        fs::write(path("run/a"), b"what was measured, what was measured").unwrap();
        pack(&path("run"), &path("a.zip")).unwrap();
        let whole = fs::read(path("a.zip")).unwrap();
        let mut refused = 0;
        for at in 0..whole.len() {
            let mut bent = whole.clone();
            bent[at] ^= 0x55;
            fs::write(path("a.zip"), bent).unwrap();
            if unpack(&path("a.zip"), &path("out")).is_ok() {
                let contents: Vec<Vec<u8>> = files_in(&path("out"), 10)
                    .unwrap()
                    .iter()
                    .map(|name| fs::read(path("out").join(name)).unwrap())
                    .collect();
                assert!(contents.is_empty() || contents == [fs::read(path("run/a")).unwrap()], "{at}");
                fs::remove_dir_all(path("out")).unwrap();
            } else {
                refused += 1;
                assert!(!path("out").exists());
            }
        }
        assert!(refused > whole.len() / 3, "{refused} of {}", whole.len());
    }
}
