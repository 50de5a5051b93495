//! The one place where a shared library is opened: looked at before the loader sees it, kept for good, and its
//! functions copied out by name. What the functions mean is for the `ffi` modules of the runtimes to know.

#![expect(unsafe_code, reason = "the loader is C, and so is what it loads")]

use crate::{Error, Result};
use libloading::os::unix::{Library as Handle, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};
use object::{
    Endianness, FileKind,
    elf::{EM_386, EM_AARCH64, EM_ARM, EM_RISCV, EM_X86_64, ET_DYN, FileHeader32, FileHeader64, PT_LOAD},
    read::elf::{FileHeader, ProgramHeader},
};
use protocol::{Artifact, Library};
use std::{fs::File, io::Read, mem::ManuallyDrop, path::Path};

/// The headers that are looked at lie at the beginning of a file.
const MAX_HEADER_BYTES: u64 = 64 << 10;

/// Numbers of instruction sets in a file's header, as Rust names them.
const MACHINES: &[(u16, &str)] = &[
    (EM_AARCH64, "aarch64"),
    (EM_ARM, "arm"),
    (EM_X86_64, "x86_64"),
    (EM_386, "x86"),
    (EM_RISCV, "riscv64"),
];

/// A library in this process. It stays there: libraries of runtimes leave threads and exit handlers behind, and
/// a process that unloads one can crash when it ends.
#[derive(Debug)]
pub(crate) struct Opened {
    /// File, for messages.
    file: String,
    handle: ManuallyDrop<Handle>,
}

impl Opened {
    /// Loads a library, and before it those that it needs, whose symbols are for all to see.
    ///
    /// # Errors
    /// A file is missing, no shared library, cut off, made for another instruction set, or refused by the loader:
    /// for want of a newer C library, of another library or of a symbol.
    pub(crate) fn open(library: &Library) -> Result<Self> {
        for needed in &library.with {
            open(needed, RTLD_NOW | RTLD_GLOBAL)?;
        }
        open(&library.file, RTLD_NOW | RTLD_LOCAL)
    }

    /// A function of the library.
    ///
    /// # Errors
    /// The library has no such symbol, and which versions have it, by `wanted`: "LiteRT 2.1.0 to 2.3".
    ///
    /// # Safety
    /// `T` must be the type of that function.
    pub(crate) unsafe fn symbol<T: Copy>(&self, name: &str, wanted: &str) -> Result<T> {
        // SAFETY: the caller's promise.
        unsafe { self.find(name) }.ok_or_else(|| {
            let file = &self.file;
            Error::Unsupported(format!("{file} has no symbol {name}: it is not the library of {wanted}"))
        })
    }

    /// A function that not every version of the library has.
    ///
    /// # Safety
    /// `T` must be the type of that function.
    pub(crate) unsafe fn find<T: Copy>(&self, name: &str) -> Option<T> {
        // SAFETY: the caller's promise; the function is there for good, because the library is never unloaded.
        unsafe { self.handle.get::<T>(name) }.ok().map(|symbol| *symbol)
    }

    /// The file, for messages.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }
}

fn open(artifact: &Artifact, flags: i32) -> Result<Opened> {
    let file = artifact.path.display().to_string();
    check(&artifact.path).map_err(|why| why.at(&file))?;
    // A name without a folder would be searched for elsewhere.
    let path = std::path::absolute(&artifact.path)
        .map_err(|source| Error::Io { path: artifact.path.clone(), source })?;
    // SAFETY: runs the initialisers of a library that the user chose to run, and that was just seen to be one for
    // this instruction set. It is never unloaded.
    match unsafe { Handle::open(Some(path.as_path()), flags) } {
        Ok(handle) => Ok(Opened { file, handle: ManuallyDrop::new(handle) }),
        Err(error) => {
            let said = match &error {
                libloading::Error::DlOpen { source } => source.to_string(),
                other => other.to_string(),
            };
            Err(Error::Unsupported(format!("{file} cannot be loaded: {}", in_words(&said))))
        }
    }
}

/// Looks at the header of a file, because the loader says little, and takes a library that is cut off for whole
/// until the process dies of it.
fn check(path: &Path) -> Result<()> {
    let mut bytes = Vec::new();
    let length = File::open(path)
        .and_then(|file| {
            let length = file.metadata()?.len();
            file.take(MAX_HEADER_BYTES).read_to_end(&mut bytes)?;
            Ok(length)
        })
        .map_err(|e| Error::RuntimeMissing(format!("the library cannot be read: {e}")))?;
    let parsed = match FileKind::parse(bytes.as_slice()) {
        Ok(FileKind::Elf32) => Header::parse::<FileHeader32<Endianness>>(&bytes),
        Ok(FileKind::Elf64) => Header::parse::<FileHeader64<Endianness>>(&bytes),
        _ => return Err(Error::Unsupported("is no shared library of Linux or Android (ELF)".to_owned())),
    };
    let header = parsed.map_err(|e| Error::Unsupported(format!("is damaged: {e}")))?;
    header.fits(length, std::env::consts::ARCH).map_err(Error::Unsupported)
}

/// What the header of an ELF file says.
#[derive(Clone, Copy)]
struct Header {
    machine: u16,
    library: bool,
    /// How long the file must be for all that is mapped from it.
    end: u64,
}

impl Header {
    fn parse<H: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> object::read::Result<Self> {
        let header = H::parse(bytes)?;
        let endian = header.endian()?;
        let mut end = 0;
        for segment in header.program_headers(endian, bytes)? {
            if segment.p_type(endian) == PT_LOAD {
                end =
                    end.max(segment.p_offset(endian).into().saturating_add(segment.p_filesz(endian).into()));
            }
        }
        Ok(Self { machine: header.e_machine(endian), library: header.e_type(endian) == ET_DYN, end })
    }

    fn fits(self, length: u64, arch: &str) -> std::result::Result<(), String> {
        if !self.library {
            return Err("is an ELF file, but no shared library".to_owned());
        }
        let made_for = MACHINES.iter().find(|(machine, _)| *machine == self.machine);
        let made_for =
            made_for.map_or_else(|| format!("machine {}", self.machine), |(_, name)| (*name).to_owned());
        if made_for != arch {
            return Err(format!("is made for {made_for}, and this process is {arch}"));
        }
        if length < self.end {
            return Err(format!("is cut off: it has {length} bytes of at least {}", self.end));
        }
        Ok(())
    }
}

/// What the loader said, and what it means.
fn in_words(said: &str) -> String {
    let quoted = |before: &str| said.split(before).nth(1)?.split(['\'', '"']).next().map(str::to_owned);
    let version = quoted("version `").filter(|_| said.contains("not found"));
    let meaning = if let Some(version) = version {
        let of = if version.starts_with("GLIBCXX") || version.starts_with("CXXABI") {
            "C++ library (libstdc++)"
        } else if version.starts_with("GLIBC") {
            "C library (glibc)"
        } else {
            "library"
        };
        format!(
            "it needs {version}, and the {of} of this device is older: take an older version or a newer system"
        )
    } else if let Some(name) = said.split_once(": cannot open shared object file").map(|(name, _)| name) {
        format!("it needs {name}, which this device has not: add that library as well")
    } else if let Some(name) = quoted("library \"").filter(|_| said.contains("not found")) {
        format!("it needs {name}, which this device has not: add that library as well")
    } else if let Some(name) = said.split("undefined symbol: ").nth(1) {
        format!("it needs the symbol {name}, which no library that it names has")
    } else {
        return said.to_owned();
    };
    format!("{meaning} ({said})")
}

/// Declares a table of functions, `load`ed by the names of their symbols: those that every version has, which is
/// an error otherwise, and those that only some have.
macro_rules! functions {
    (
        $(#[$meta:meta])*
        $vis:vis struct $table:ident of $wanted:literal {
            $($need:ident = $need_symbol:literal: fn($($need_arg:ty),* $(,)?) $(-> $need_ret:ty)?;)*
        }
        some have {
            $($may:ident = $may_symbol:literal: fn($($may_arg:ty),* $(,)?) $(-> $may_ret:ty)?;)*
        }
    ) => {
        $(#[$meta])*
        $vis struct $table {
            $($vis $need: unsafe extern "C" fn($($need_arg),*) $(-> $need_ret)?,)*
            $($vis $may: Option<unsafe extern "C" fn($($may_arg),*) $(-> $may_ret)?>,)*
        }

        impl $table {
            /// Finds the functions.
            ///
            /// # Errors
            /// One that every version has is missing.
            fn load(library: &$crate::dlopen::Opened) -> $crate::Result<Self> {
                // SAFETY: the types are those of the library's headers, as written where the table is declared.
                unsafe {
                    Ok(Self {
                        $($need: library.symbol($need_symbol, $wanted)?,)*
                        $($may: library.find($may_symbol),)*
                    })
                }
            }
        }
    };
}
pub(crate) use functions;

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Sha256Hex;

    fn artifact(path: &Path) -> Artifact {
        Artifact { path: path.to_owned(), sha256: Sha256Hex::of_bytes(b"") }
    }

    fn library(path: &Path) -> Library {
        Library { version: String::new(), file: artifact(path), with: Vec::new() }
    }

    fn refusal(path: &Path) -> String {
        Opened::open(&library(path)).unwrap_err().to_string()
    }

    /// A library that this process has loaded already: the C library.
    fn libc() -> std::path::PathBuf {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let paths = maps.lines().filter_map(|line| Some(line[line.find('/')?..].to_owned()));
        paths.map(std::path::PathBuf::from).find(|p| p.to_string_lossy().contains("/libc.so")).unwrap()
    }

    #[test]
    fn a_library_that_is_there_is_opened_and_a_missing_symbol_named() {
        let opened = Opened::open(&library(&libc())).unwrap();
        // SAFETY: the C library's own type.
        let abs = unsafe { opened.symbol::<extern "C" fn(i32) -> i32>("abs", "C") }.unwrap();
        assert_eq!(abs(-3), 3);
        // SAFETY: there is no such function.
        let missing = unsafe { opened.symbol::<extern "C" fn()>("BenchNoSuch", "Bench 2 or newer") };
        let words = missing.unwrap_err().to_string();
        assert!(words.contains("no symbol BenchNoSuch") && words.contains("Bench 2 or newer"), "{words}");
    }

    #[test]
    fn what_is_no_library_of_this_device_is_refused_before_it_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lib.so");
        assert!(refusal(&path).contains("cannot be read"));
        std::fs::write(&path, "not a library").unwrap();
        assert!(refusal(&path).contains("no shared library of Linux"), "{}", refusal(&path));
        let whole = std::fs::read(libc()).unwrap();
        for length in [17, 63, 64, 200, 4096, whole.len() / 2] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let words = refusal(&path);
            assert!(words.contains("is damaged") || words.contains("cut off"), "{length}: {words}");
        }
        let mut other = whole.clone();
        other[18..20].copy_from_slice(&0xf7u16.to_le_bytes());
        std::fs::write(&path, other).unwrap();
        assert!(refusal(&path).contains("is made for machine 247"), "{}", refusal(&path));
        let mut object = whole;
        object[16..18].copy_from_slice(&1u16.to_le_bytes());
        std::fs::write(&path, object).unwrap();
        assert!(refusal(&path).contains("no shared library"), "{}", refusal(&path));
    }

    #[test]
    fn what_a_library_needs_is_loaded_first_and_refused_by_its_own_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libneeded.so");
        std::fs::write(&path, "").unwrap();
        let library = Library { with: vec![artifact(&path)], ..library(&libc()) };
        assert!(Opened::open(&library).unwrap_err().to_string().contains("libneeded.so"));
    }

    #[test]
    fn the_words_of_the_loader_are_explained() {
        for (said, expected) in [
            (
                "/lib/libc.so.6: version `GLIBC_2.38' not found (required by /x/libLiteRt.so)",
                "it needs GLIBC_2.38, and the C library (glibc) of this device is older",
            ),
            (
                "/lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by /x/a.so)",
                "it needs GLIBCXX_3.4.30, and the C++ library (libstdc++)",
            ),
            (
                "libfoo.so.2: cannot open shared object file: No such file or directory",
                "it needs libfoo.so.2, which this device has not",
            ),
            (
                "dlopen failed: library \"libbar.so\" not found: needed by /x/a.so in namespace (default)",
                "it needs libbar.so, which this device has not",
            ),
            ("/x/a.so: undefined symbol: TfLiteNope", "it needs the symbol TfLiteNope"),
            ("something else", "something else"),
        ] {
            let words = in_words(said);
            assert!(words.starts_with(expected) && words.contains(said), "{words}");
        }
    }
}
