//! How this executable starts itself again, natively and under user-mode emulation, and whether it is
//! being emulated. Does not start anything itself.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    process::Command,
};

/// What keeps libraries of runtimes from reporting to their maker, where they would: ONNX Runtime since 1.29 does.
const SILENCED: [(&str, &str); 1] = [("ORT_DISABLE_TELEMETRY", "1")];

/// The way to start this executable once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Launcher {
    program: PathBuf,
    /// Arguments in front of ours: an emulator's options and the executable it is to run.
    prefix: Vec<OsString>,
    /// True under user-mode emulation.
    pub(crate) emulated: bool,
}

impl Launcher {
    /// Looks at the running process.
    ///
    /// A user-mode emulator shows the program under `/proc/self/exe` but not under
    /// `/proc/thread-self/exe`, which still names the emulator: that difference gives it away. The
    /// emulator's own command line ends with ours, and what stands before is how it was called.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let exe = Path::new("/proc/self/exe");
        let shown = fs::read_link(exe)?;
        let real = fs::read_link("/proc/thread-self/exe").unwrap_or_else(|_| shown.clone());
        if shown == real {
            return Ok(Self { program: exe.to_owned(), prefix: Vec::new(), emulated: false });
        }
        let line = fs::read("/proc/thread-self/cmdline").unwrap_or_default();
        // Started through binfmt_misc, the emulator may have our path among its own arguments, or may not
        // be visible from here at all: the kernel will find it again.
        let by_kernel = |options: &[OsString]| {
            !real.exists() || options.iter().any(|o| fs::canonicalize(o).is_ok_and(|path| path == shown))
        };
        let prefix = emulator_options(&line, std::env::args_os().count());
        Ok(match prefix {
            Some(mut prefix) if !by_kernel(&prefix) => {
                prefix.push(shown.into_os_string());
                Self { program: real, prefix, emulated: true }
            }
            _ => Self { program: shown, prefix: Vec::new(), emulated: true },
        })
    }

    /// A command that runs this executable; arguments are still to be added.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.prefix).envs(SILENCED);
        command
    }
}

/// Options in the emulator's command line (NUL-separated), which ends with `own` arguments of ours.
fn emulator_options(line: &[u8], own: usize) -> Option<Vec<OsString>> {
    let line = line.strip_suffix(b"\0")?;
    let all: Vec<OsString> = line.split(|b| *b == 0).map(|a| OsString::from_vec(a.to_vec())).collect();
    let options = all.get(1..all.len().checked_sub(own)?)?;
    // `-0 NAME` sets the name the program sees; the program itself then stands before it.
    let plain = options.iter().all(|o| o.as_bytes() != b"-0");
    plain.then(|| options.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_native_process_starts_itself_by_its_own_inode() {
        let launcher = Launcher::of_this_process().unwrap();
        if !launcher.emulated {
            assert_eq!(launcher.program, Path::new("/proc/self/exe"));
            assert!(launcher.prefix.is_empty());
        }
    }

    #[test]
    fn libraries_are_kept_from_reporting() {
        let command = Launcher::of_this_process().unwrap().command();
        let value = command.get_envs().find(|(name, _)| *name == "ORT_DISABLE_TELEMETRY");
        assert_eq!(value.and_then(|(_, value)| value), Some("1".as_ref()));
    }

    #[test]
    fn the_emulators_options_stand_before_our_arguments() {
        let line = b"qemu-aarch64\0-cpu\0max\0./bench-agent\0--dir\0/tmp/x\0";
        assert_eq!(emulator_options(line, 3), Some(vec!["-cpu".into(), "max".into()]));
        assert_eq!(emulator_options(b"qemu-aarch64\0./bench-agent\0", 1), Some(vec![]));
        assert_eq!(emulator_options(b"qemu-aarch64\0-0\0name\0./a\0", 1), None);
        assert_eq!(emulator_options(b"./bench-agent\0", 1), None);
        assert_eq!(emulator_options(b"", 1), None);
        assert_eq!(emulator_options(b"x\0", 9), None);
    }
}
