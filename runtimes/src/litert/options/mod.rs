//! What a compilation is told: which accelerators, which kernels, how many threads. As text it is what LiteRT's own
//! header-only helpers would write; a key that a version does not know is passed over by it in silence.

mod ffi;

pub(super) use ffi::Options;

use super::ffi::Library;
use crate::{CompileOptions, Error, Result};
use std::ffi::c_int;

/// Backends, with the accelerators they ask for and the kernel set of the CPU.
pub(super) const BACKENDS: &[(&str, c_int, &str)] = &[
    ("xnnpack", CPU, "delegate"),
    ("builtin", CPU, "builtin"),
    ("reference", CPU, "reference"),
    ("gpu", GPU, "delegate"),
    ("npu", NPU, "delegate"),
];
const CPU: c_int = 1;
const GPU: c_int = 2;
const NPU: c_int = 4;

/// What a compilation is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// Bits of accelerators.
    pub(super) accelerators: c_int,
    /// Kernel set of the CPU.
    pub(super) kernels: &'static str,
    /// Threads.
    pub(super) threads: c_int,
    /// XNNPACK's flags.
    pub(super) flags: Option<u32>,
    /// Where XNNPACK keeps packed weights.
    pub(super) weight_cache: Option<String>,
    /// Events are to be recorded.
    pub(super) profile: bool,
    /// Errors are to be printed, and not kept with the compiled model: for when there will be none.
    pub(super) print_errors: bool,
}

impl Settings {
    /// From the options of a session, for a version of the library.
    ///
    /// # Errors
    /// A backend, option or value that there is not, or not in that version.
    pub(super) fn of(options: &CompileOptions, library: &Library) -> Result<Self> {
        let known: &[&str] = match options.backend.as_str() {
            "xnnpack" => &["flags", "weight-cache"],
            "gpu" | "npu" => &["fallback"],
            _ => &[],
        };
        let Some((name, accelerators, kernels)) = BACKENDS.iter().find(|b| b.0 == options.backend) else {
            let all: Vec<&str> = BACKENDS.iter().map(|b| b.0).collect();
            let message = format!("litert has no backend {:?}; there is {}", options.backend, all.join(", "));
            return Err(Error::Unsupported(message));
        };
        options.only("litert", known)?;
        if *kernels != "delegate" && !library.has_kernel_mode() {
            let message =
                format!("litert/{name} needs LiteRT 2.1.4 or newer: before, there was only XNNPACK");
            return Err(Error::Unsupported(message));
        }
        let fallback = known.contains(&"fallback") && options.word("fallback", &["none", "cpu"])? == "cpu";
        Ok(Self {
            accelerators: if fallback { accelerators | CPU } else { *accelerators },
            kernels,
            threads: c_int::from(options.threads.clamp(1, i16::MAX as u16)),
            flags: options.options.get("flags").map(|text| flags(text)).transpose()?,
            weight_cache: options.options.get("weight-cache").map(|path| quotable(path)).transpose()?,
            profile: options.profile,
            print_errors: false,
        })
    }

    /// The library's number of where errors go.
    pub(super) fn error_reporter(&self) -> c_int {
        if self.print_errors { 1 } else { 2 }
    }

    /// Something other than a CPU is asked for.
    pub(super) fn needs_accelerator(&self) -> bool {
        self.accelerators & !CPU != 0
    }

    /// As text, by the names under which the library looks it up.
    pub(super) fn toml(&self) -> Vec<(&'static str, String)> {
        let mut cpu = format!("num_threads = {}\n", self.threads);
        // not every version has a word for XNNPACK, which is what is taken without one
        if self.kernels != "delegate" {
            cpu += &format!("kernel_mode = \"{}\"\n", self.kernels);
        }
        if let Some(flags) = self.flags {
            cpu += &format!("flags = {flags}\n");
        }
        if let Some(path) = &self.weight_cache {
            cpu += &format!("weight_cache_file_path = \"{path}\"\n");
        }
        let runtime =
            format!("enable_profiling = {}\nerror_reporter_mode = {}\n", self.profile, self.error_reporter());
        // From 2.2.0 on the compiled model looks under one name and the accelerator under another.
        vec![("xnnpack", cpu.clone()), ("cpu_delegate", cpu), ("runtime_options_string", runtime)]
    }
}

fn flags(text: &str) -> Result<u32> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number
        .map_err(|_| Error::Unsupported(format!("option flags is a number such as 8 or 0x08, not {text:?}")))
}

/// The library's reader of text knows no escapes.
fn quotable(path: &str) -> Result<String> {
    if path.is_empty() || path.contains(['"', '\\', '\n', '\0']) {
        let message = format!("option weight-cache is a path without quotes and backslashes, not {path:?}");
        return Err(Error::Unsupported(message));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_as_text() {
        let settings = Settings {
            accelerators: CPU,
            kernels: "builtin",
            threads: 2,
            flags: Some(8),
            weight_cache: Some("/data/cache".to_owned()),
            profile: true,
            print_errors: false,
        };
        let toml = settings.toml();
        let cpu = "num_threads = 2\nkernel_mode = \"builtin\"\nflags = 8\nweight_cache_file_path = \"/data/cache\"\n";
        assert_eq!(toml[0], ("xnnpack", cpu.to_owned()));
        assert_eq!(toml[1], ("cpu_delegate", cpu.to_owned()));
        let runtime = "enable_profiling = true\nerror_reporter_mode = 2\n";
        assert_eq!(toml[2], ("runtime_options_string", runtime.to_owned()));
    }

    #[test]
    fn values_are_checked() {
        assert_eq!((flags("8").unwrap(), flags("0x10").unwrap()), (8, 16));
        for bad in ["", "-1", "x", "0xz", "99999999999"] {
            assert!(flags(bad).unwrap_err().to_string().contains("flags"), "{bad}");
        }
        for bad in ["", "a\"b", "a\\b", "a\nb"] {
            assert!(quotable(bad).is_err(), "{bad:?}");
        }
    }
}
