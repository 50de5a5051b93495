//! Puts a library on the shelf: from its own file, or out of an archive that carries it (.aar, .whl, .zip).

use super::{ABOUT, About, Entry, KINDS, Kind, SCHEMA, Shelf};
use crate::{agents, elf::Needs};
use protocol::Sha256Hex;
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};
use zip::ZipArchive;

/// Largest library, and most members of an archive that are looked at.
const MAX_BYTES: u64 = 1 << 30;
const MAX_MEMBERS: usize = 20_000;
/// Longest version: it is the name of a folder.
const MAX_VERSION: usize = 60;

/// What is known of a file beside its content.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    /// Where it came from, for people; else its path.
    pub(crate) source: Option<String>,
    /// Its version; else as the name of the file says.
    pub(crate) version: Option<String>,
    /// Its runtime; else as the name of the library says.
    pub(crate) kind: Option<&'static Kind>,
}

/// Puts every library that a file is or carries on the shelf.
///
/// # Errors
/// It is none and carries none, its version is not known, or the shelf cannot be written to.
pub(crate) fn take(shelf: &Shelf, path: &Path, origin: &Origin) -> Result<Vec<Entry>, String> {
    let shown = path.display();
    let at = |e: &dyn std::fmt::Display| format!("{shown}: {e}");
    let mut file = File::open(path).map_err(|e| at(&e))?;
    if !file.metadata().is_ok_and(|facts| facts.is_file()) {
        return Err(at(&"is no file"));
    }
    let mut magic = Vec::new();
    Read::by_ref(&mut file).take(4).read_to_end(&mut magic).map_err(|e| at(&e))?;
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let place = Placing { shelf, origin, archive: name.clone(), source: shown.to_string() };
    if !magic.starts_with(b"PK") {
        let mut content = File::open(path).map_err(|e| at(&e))?;
        return place.put(&name, &mut content).map(|entry| vec![entry]);
    }
    let mut archive = ZipArchive::new(File::open(path).map_err(|e| at(&e))?).map_err(|e| at(&e))?;
    let mut taken = Vec::new();
    for index in 0..archive.len().min(MAX_MEMBERS) {
        let mut member = archive.by_index(index).map_err(|e| at(&e))?;
        let inside = member.name().map_err(|e| at(&e))?.into_owned();
        let library = inside.rsplit('/').next().unwrap_or_default().to_owned();
        if member.is_file() && Kind::of_file(&library).is_some() {
            taken.push(place.put(&library, &mut member)?);
        }
    }
    if taken.is_empty() {
        return Err(at(&format!("carries none of {}", libraries())));
    }
    Ok(taken)
}

fn libraries() -> String {
    KINDS.iter().flat_map(|kind| kind.files).copied().collect::<Vec<_>>().join(", ")
}

/// Where files of one origin go.
struct Placing<'a> {
    shelf: &'a Shelf,
    origin: &'a Origin,
    /// Name of the file that was given.
    archive: String,
    source: String,
}

impl Placing<'_> {
    fn put(&self, library: &str, content: &mut dyn Read) -> Result<Entry, String> {
        let kind =
            self.origin.kind.or_else(|| Kind::of_file(library)).ok_or_else(|| {
                format!("{library} is none of {}: say whose it is with --runtime", libraries())
            })?;
        let version = self.version(library)?;
        let folder = self.shelf.folder();
        let failed = |e: io::Error| format!("{}: {e}", folder.display());
        fs::create_dir_all(folder).map_err(failed)?;
        let mut part = tempfile::Builder::new().prefix(".part-").tempfile_in(folder).map_err(failed)?;
        let copied = io::copy(&mut content.take(MAX_BYTES + 1), &mut part).map_err(failed)?;
        if copied > MAX_BYTES {
            return Err(format!("{library} is larger than {MAX_BYTES} bytes"));
        }
        part.flush().map_err(failed)?;
        let needs = Needs::read(part.path()).map_err(|why| format!("{library} {why}"))?;
        if !needs.shared {
            return Err(format!("{library} is no library that can be loaded"));
        }
        let arch = agents::arch_of(needs.machine)
            .ok_or_else(|| format!("{library} is for a processor that no agent is built for"))?;
        let place = self.shelf.place(kind, &version, arch, needs.is_android());
        self.settle(library, part, &place)?;
        let device = place.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        self.shelf.entry(kind, &version, &device)
    }

    /// Gives the file its name, and writes beside it what it is.
    fn settle(&self, library: &str, part: tempfile::NamedTempFile, place: &Path) -> Result<(), String> {
        let failed = |e: io::Error| format!("{}: {e}", place.display());
        fs::create_dir_all(place).map_err(failed)?;
        let (sha256, _) =
            File::open(part.path()).and_then(|mut file| Sha256Hex::of_reader(&mut file)).map_err(failed)?;
        let about = About {
            schema: SCHEMA,
            library: library.to_owned(),
            sha256,
            source: self.origin.source.clone().unwrap_or_else(|| self.source.clone()),
        };
        let text = toml::to_string(&about).map_err(|e| format!("{}: {e}", place.display()))?;
        let path: PathBuf = place.join(library);
        part.persist(&path).map_err(|e| failed(e.error))?;
        fs::write(place.join(ABOUT), text).map_err(failed)
    }

    /// As it was given, or behind the name in `litert-2.3.0.aar`, `onnxruntime-1.32.0-cp312-….whl`,
    /// `libonnxruntime.so.1.32.0`.
    fn version(&self, library: &str) -> Result<String, String> {
        let starts = |part: &&str| part.starts_with(|c: char| c.is_ascii_digit());
        let in_library = library.split_once(".so.").map(|(_, version)| version);
        let stem = self.archive.rsplit_once('.').map_or(self.archive.as_str(), |(stem, _)| stem);
        let in_archive = || stem.split('-').skip(1).find(starts);
        let given = self.origin.version.as_deref();
        let version = given.or(in_library.filter(|v| starts(v))).or_else(in_archive).ok_or_else(|| {
            format!("{}: its version is not in its name: say it with --version", self.archive)
        })?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
        if version.len() > MAX_VERSION || !version.chars().all(plain) || !starts(&version) {
            return Err(format!(
                "{version:?} is no version: a digit first, then letters, digits, '.', '-', '_' and '+'"
            ));
        }
        Ok(version.replace('+', "-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Libc;
    use protocol::RuntimeId;
    use zip::write::SimpleFileOptions;

    fn own() -> Vec<u8> {
        fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    fn archive(path: &Path, members: &[(&str, &[u8])]) {
        let mut zip = zip::ZipWriter::new(File::create(path).unwrap());
        for (name, bytes) in members {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();
    }

    #[test]
    fn a_wheel_fills_the_shelf_and_a_device_finds_the_newest_version() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(dir.path());
        for version in ["1.9.0", "1.32.0"] {
            let wheel = dir.path().join(format!("onnxruntime-{version}-cp312-cp312-linux.whl"));
            let inside = format!("onnxruntime/capi/libonnxruntime.so.{version}");
            archive(&wheel, &[("onnxruntime/__init__.py", b""), (&inside, &own())]);
            let taken = take(&shelf, &wheel, &Origin::default()).unwrap();
            assert_eq!((taken.len(), taken[0].version.as_str()), (1, version));
        }
        let (entries, wrong) = shelf.entries();
        let versions: Vec<&str> = entries.iter().map(|e| e.version.as_str()).collect();
        assert_eq!((versions, wrong), (vec!["1.32.0", "1.9.0"], vec![]));
        let here = std::env::consts::ARCH;
        let libc = Libc::Glibc(crate::transport::Glibc(crate::elf::Version([9, 0, 0])));
        let found = shelf.for_device(&[], here, &libc).unwrap();
        assert_eq!(found.provided[0].library.version, "1.32.0");
        assert_eq!(found.provided[0].runtime.to_string(), "onnxruntime/cpu");
        let asked: RuntimeId = "onnxruntime@1.9.0/cpu".parse().unwrap();
        let found = shelf.for_device(std::slice::from_ref(&asked), here, &libc).unwrap();
        assert_eq!(found.provided[0].library.name, "libonnxruntime.so.1.9.0");
        let refused = |asked: &str, arch: &str, libc: &Libc| {
            shelf.for_device(&[asked.parse().unwrap()], arch, libc).unwrap_err()
        };
        assert!(refused("onnxruntime@2.0/cpu", here, &libc).contains("bench runtimes fetch onnxruntime@2.0"));
        assert!(refused("litert/xnnpack", here, &libc).contains("bench runtimes fetch litert"));
        assert!(refused("onnxruntime/cpu", here, &Libc::Bionic(Some(34))).contains("is for glibc"));
        let old = Libc::Glibc(crate::transport::Glibc(crate::elf::Version([2, 1, 0])));
        assert!(
            refused("onnxruntime/cpu", here, &old).contains("needs glibc"),
            "a device too old is told so"
        );
        assert_eq!(shelf.for_device(&[], "mips", &libc).unwrap(), Default::default());
        fs::write(&entries[0].path, b"changed").unwrap();
        assert!(refused("onnxruntime@1.32.0/cpu", here, &libc).contains("no library of Linux"));
        fs::write(&entries[0].path, own().repeat(2)).unwrap();
        assert!(
            refused("onnxruntime@1.32.0/cpu", here, &libc).contains("is not the file that was put there")
        );
        fs::write(entries[1].path.with_file_name(ABOUT), "library = 3").unwrap();
        assert_eq!(shelf.entries().1.len(), 1);
    }

    #[test]
    fn what_is_no_library_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(dir.path());
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let refused = |path: &Path, origin: &Origin| take(&shelf, path, origin).unwrap_err();
        let version = || Origin { version: Some("1.0".into()), ..Origin::default() };
        assert!(refused(&file("x.bin", b"abc"), &version()).contains("--runtime"));
        assert!(refused(&file("libLiteRt.so", b"abc"), &version()).contains("is no library"));
        assert!(refused(&file("libLiteRt.so", &own()), &Origin::default()).contains("--version"));
        assert!(refused(&file("libLiteRt.so", &own()[..9000]), &version()).contains("cut off"));
        assert!(refused(dir.path(), &version()).contains("is no file"));
        assert!(refused(&dir.path().join("none"), &version()).contains("No such file"));
        assert!(refused(&file("a.aar", b"PK\x03\x04nonsense"), &version()).contains("a.aar"));
        for bad in ["../1", "1/2", "", "v1"] {
            let origin = Origin { version: Some(bad.into()), ..Origin::default() };
            assert!(refused(&file("libLiteRt.so", &own()), &origin).contains("no version"), "{bad}");
        }
        archive(&dir.path().join("e.aar"), &[("classes.jar", b"x")]);
        assert!(refused(&dir.path().join("e.aar"), &version()).contains("carries none of"));
        assert_eq!(shelf.entries().0.len(), 0);
    }
}
