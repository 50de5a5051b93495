//! Libraries of runtimes: what lies on the shelf in the user's cache, and which of it a device can load. `fetch` and
//! `take` bring files there; nothing here loads one.
//!
//! The shelf is a folder per runtime, version and kind of device; beside the library lies `library.toml`, which says
//! where it came from and what it hashes to.

mod fetch;
mod take;

pub(crate) use fetch::fetch;
pub(crate) use take::{Origin, take};

use crate::{
    agents::ARCHES,
    elf::Needs,
    transport::{Glibc, HostFile, Libc},
    unknown::unknown,
};
use protocol::{RuntimeId, Sha256Hex};
use reports::record::CaseLibrary;
use serde::{Deserialize, Serialize};
use std::{
    cmp::Ordering,
    fs,
    path::{Path, PathBuf},
};

/// Folder of the shelf below the host's cache folder.
const FOLDER: &str = "runtimes";
/// What is written beside a library.
const ABOUT: &str = "library.toml";
/// Version of that file.
const SCHEMA: u32 = 1;
/// Longest file of that kind.
const MAX_ABOUT_BYTES: u64 = 64 << 10;
/// Added to the name of an architecture for devices with Android's C library.
const ANDROID: &str = "-android";

/// A runtime that is a library.
#[derive(Debug)]
pub(crate) struct Kind {
    /// As in [`RuntimeId::runtime`].
    pub(crate) name: &'static str,
    /// One line for people.
    pub(crate) about: &'static str,
    /// The backend that is measured when nobody names one: what its users get.
    pub(crate) backend: &'static str,
    /// How the library's file is called; it may be followed by a version.
    pub(crate) files: &'static [&'static str],
    /// Package of Python's that carries it.
    pub(crate) package: &'static str,
}

/// Every one of them. A new one is a line here, and a runtime of that name in the agent.
pub(crate) const KINDS: &[Kind] = &[
    Kind {
        name: "litert",
        about: "LiteRT, the runtime of .tflite files",
        backend: "xnnpack",
        files: &["libLiteRt.so"],
        package: "ai-edge-litert",
    },
    Kind {
        name: "onnxruntime",
        about: "ONNX Runtime",
        backend: "cpu",
        files: &["libonnxruntime.so"],
        package: "onnxruntime",
    },
    Kind {
        name: "tflite",
        about: "TensorFlow Lite by its C API, as older apps have it",
        backend: "xnnpack",
        files: &["libtensorflowlite_c.so", "libtensorflowlite_jni.so"],
        package: "pymicro-wakeword",
    },
];

impl Kind {
    /// The kind of that name.
    ///
    /// # Errors
    /// There is none; names those that there are.
    pub(crate) fn of(name: &str) -> Result<&'static Self, String> {
        Self::find(name).ok_or_else(|| {
            let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            unknown("runtime", name, &known)
        })
    }

    fn find(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    /// The kind whose library has a file name.
    pub(crate) fn of_file(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.is_file(name))
    }

    /// `libonnxruntime.so`, and `libonnxruntime.so.1.32.0`.
    pub(crate) fn is_file(&self, name: &str) -> bool {
        self.files.iter().any(|file| {
            name.strip_prefix(file).is_some_and(|rest| {
                rest.is_empty()
                    || rest.starts_with('.') && rest[1..].starts_with(|c: char| c.is_ascii_digit())
            })
        })
    }
}

/// What `library.toml` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    schema: u32,
    /// Name of the library's file.
    library: String,
    sha256: Sha256Hex,
    /// Where it came from.
    source: String,
}

/// A library on the shelf.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Its runtime.
    pub(crate) kind: &'static Kind,
    /// Its version.
    pub(crate) version: String,
    /// Architecture, as Rust names it.
    pub(crate) arch: String,
    /// It is linked to Android's C library.
    pub(crate) android: bool,
    /// The file.
    pub(crate) path: PathBuf,
    /// What it must hash to.
    pub(crate) sha256: Sha256Hex,
    /// Where it came from.
    pub(crate) source: String,
}

impl Entry {
    /// What its headers ask of a device.
    ///
    /// # Errors
    /// It is no library.
    pub(crate) fn needs(&self) -> Result<Needs, String> {
        Needs::read(&self.path).map_err(|why| format!("{} {why}", self.path.display()))
    }

    /// Whether a device with that C library can load it.
    fn fits(&self, libc: &Libc) -> Result<(), String> {
        let name = format!("{} {}", self.kind.name, self.version);
        match (self.android, libc) {
            (true, Libc::Bionic(_)) => Ok(()),
            (true, other) => Err(format!("{name} is for Android, and the device has {other}")),
            (false, Libc::Glibc(Glibc(has))) => match self.needs()?.glibc {
                Some(least) if least > *has => Err(format!(
                    "{name} needs glibc {least}, and the device has {has}: a newer system, or an older version of the \
                     runtime"
                )),
                _ => Ok(()),
            },
            (false, other) => Err(format!("{name} is for glibc, and the device has {other}")),
        }
    }

    /// As it is pushed.
    fn provided(&self, asked: &RuntimeId) -> Result<Provided, String> {
        let shown = self.path.display();
        let file = HostFile::from_path(&self.path).map_err(|e| format!("{shown}: {e}"))?;
        if file.sha256 != self.sha256 {
            return Err(format!(
                "{shown} is not the file that was put there (its hash is {}, not {}): run `bench runtimes fetch` or \
                 `add` again",
                file.sha256.short(),
                self.sha256.short()
            ));
        }
        let name = self.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let library = CaseLibrary {
            version: self.version.clone(),
            name,
            sha256: file.sha256.clone(),
            with: Vec::new(),
        };
        Ok(Provided { runtime: asked.clone(), library, files: vec![file] })
    }
}

/// A runtime with the library that a device is given for it.
#[derive(Clone, Debug)]
pub(crate) struct Provided {
    /// As it was asked for.
    pub(crate) runtime: RuntimeId,
    /// As the record keeps it.
    pub(crate) library: CaseLibrary,
    /// What is pushed.
    pub(crate) files: Vec<HostFile>,
}

/// What a device is given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Libraries {
    /// One per runtime.
    pub(crate) provided: Vec<Provided>,
    /// What lies there and cannot be used, in words.
    pub(crate) notes: Vec<String>,
}

impl PartialEq for Libraries {
    fn eq(&self, other: &Self) -> bool {
        let hashes = |all: &Self| -> Vec<Sha256Hex> {
            all.provided.iter().map(|one| one.library.sha256.clone()).collect()
        };
        hashes(self) == hashes(other)
    }
}

/// What a run wants of the shelf.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// Where libraries lie.
    pub(crate) shelf: Shelf,
    /// Runtimes that were asked for by name; empty: all for which there is a library. `None`: none is wanted.
    pub(crate) runtimes: Option<Vec<RuntimeId>>,
}

impl Wish {
    /// For work that runs no model with a library.
    pub(crate) fn nothing(cache: &Path) -> Self {
        Self { shelf: Shelf::new(cache), runtimes: None }
    }

    /// Nobody asked for a runtime by name: what cannot be had is left out.
    pub(crate) fn is_open(&self) -> bool {
        self.runtimes.as_ref().is_none_or(Vec::is_empty)
    }

    /// What a device is given.
    ///
    /// # Errors
    /// As [`Shelf::for_device`].
    pub(crate) fn for_device(&self, arch: &str, libc: &Libc) -> Result<Libraries, String> {
        match &self.runtimes {
            None => Ok(Libraries::default()),
            Some(asked) => self.shelf.for_device(asked, arch, libc),
        }
    }
}

/// Where libraries lie.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    /// Below the host's cache folder.
    pub(crate) fn new(cache: &Path) -> Self {
        Self { folder: cache.join(FOLDER) }
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a library for a kind of device goes.
    pub(crate) fn place(&self, kind: &Kind, version: &str, arch: &str, android: bool) -> PathBuf {
        let device = if android { format!("{arch}{ANDROID}") } else { arch.to_owned() };
        self.folder.join(kind.name).join(version).join(device)
    }

    /// Everything that lies there, the newest version of a runtime first; and what is wrong with the rest.
    pub(crate) fn entries(&self) -> (Vec<Entry>, Vec<String>) {
        let (mut entries, mut wrong) = (Vec::new(), Vec::new());
        for kind in KINDS {
            for version in folders(&self.folder.join(kind.name)) {
                for device in folders(&self.folder.join(kind.name).join(&version)) {
                    match self.entry(kind, &version, &device) {
                        Ok(entry) => entries.push(entry),
                        Err(why) => wrong.push(why),
                    }
                }
            }
        }
        let place = |entry: &Entry| KINDS.iter().position(|kind| kind.name == entry.kind.name);
        entries.sort_by(|a, b| {
            place(a)
                .cmp(&place(b))
                .then(by_version(&b.version, &a.version))
                .then(a.arch.cmp(&b.arch))
                .then(a.android.cmp(&b.android))
        });
        (entries, wrong)
    }

    fn entry(&self, kind: &'static Kind, version: &str, device: &str) -> Result<Entry, String> {
        let folder = self.folder.join(kind.name).join(version).join(device);
        let about = folder.join(ABOUT);
        let at = |why: &dyn std::fmt::Display| format!("{}: {why}", about.display());
        let size = fs::metadata(&about).map_err(|e| at(&e))?.len();
        if size > MAX_ABOUT_BYTES {
            return Err(at(&format!("{size} bytes, at most {MAX_ABOUT_BYTES}")));
        }
        let text = fs::read_to_string(&about).map_err(|e| at(&e))?;
        let read: About = toml::from_str(&text).map_err(|e| at(&e.message()))?;
        if read.schema != SCHEMA {
            return Err(at(&format!("schema {} is not known, {SCHEMA} is", read.schema)));
        }
        if Path::new(&read.library).file_name() != Some(read.library.as_ref()) {
            return Err(at(&format!("library: {:?} is no file name", read.library)));
        }
        let (arch, android) = match device.strip_suffix(ANDROID) {
            Some(arch) => (arch, true),
            None => (device, false),
        };
        Ok(Entry {
            kind,
            version: version.to_owned(),
            arch: arch.to_owned(),
            android,
            path: folder.join(read.library),
            sha256: read.sha256,
            source: read.source,
        })
    }

    /// What a device is given: for every runtime asked for, or, where none is, for every one that lies there.
    ///
    /// # Errors
    /// What was asked for is not there, or the device cannot load it; and what to do.
    pub(crate) fn for_device(
        &self,
        asked: &[RuntimeId],
        arch: &str,
        libc: &Libc,
    ) -> Result<Libraries, String> {
        let (entries, _) = self.entries();
        let mut libraries = Libraries::default();
        for id in asked {
            let Some(kind) = Kind::find(&id.runtime) else { continue };
            libraries.provided.push(choose(&entries, kind, id, arch, libc)?);
        }
        if !asked.is_empty() {
            return Ok(libraries);
        }
        let is_here = |kind: &&Kind| entries.iter().any(|e| e.kind.name == kind.name && e.arch == arch);
        for kind in KINDS.iter().filter(is_here) {
            let id =
                RuntimeId { runtime: kind.name.to_owned(), version: None, backend: kind.backend.to_owned() };
            match choose(&entries, kind, &id, arch, libc) {
                Ok(provided) => libraries.provided.push(provided),
                Err(why) => libraries.notes.push(why),
            }
        }
        Ok(libraries)
    }
}

/// The newest version that the device can load, or the one that was asked for.
fn choose(
    entries: &[Entry],
    kind: &Kind,
    asked: &RuntimeId,
    arch: &str,
    libc: &Libc,
) -> Result<Provided, String> {
    let of_kind = |e: &&Entry| {
        e.kind.name == kind.name && e.arch == arch && asked.version.as_ref().is_none_or(|v| *v == e.version)
    };
    let mut why = None;
    for entry in entries.iter().filter(of_kind) {
        match entry.fits(libc) {
            Ok(()) => return entry.provided(asked),
            Err(reason) => why = why.or(Some(reason)),
        }
    }
    Err(why.unwrap_or_else(|| missing(kind, asked.version.as_deref(), arch, libc)))
}

fn missing(kind: &Kind, version: Option<&str>, arch: &str, libc: &Libc) -> String {
    let named = version.map_or_else(|| kind.name.to_owned(), |version| format!("{}@{version}", kind.name));
    let how = match libc {
        Libc::Bionic(_) => {
            format!("`bench runtimes add FILE.aar` with that of the app, or its {}", kind.files[0])
        }
        _ if ARCHES.iter().any(|known| known.name == arch) => {
            format!("`bench runtimes fetch {named} --arch {arch}`, or `bench runtimes add FILE`")
        }
        _ => "`bench runtimes add FILE`".to_owned(),
    };
    format!("there is no library of {named} for {arch} with {libc}: {how}")
}

fn folders(at: &Path) -> Vec<String> {
    let entries = fs::read_dir(at).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Numbers as numbers: 1.9 comes before 1.20.
fn by_version(a: &str, b: &str) -> Ordering {
    let mut parts = a.split(['.', '-']).zip(b.split(['.', '-']));
    let first = parts.find_map(|(a, b)| {
        let order = match (a.parse::<u64>(), b.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => a.cmp(b),
        };
        (order != Ordering::Equal).then_some(order)
    });
    first.unwrap_or_else(|| a.len().cmp(&b.len()).then(a.cmp(b)))
}
