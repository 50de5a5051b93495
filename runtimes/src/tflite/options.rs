//! Backends and options in the words of a suite.

use super::ffi::{Asked, Nnapi};
use crate::{CompileOptions, Error, Result};
use std::ffi::{CString, c_int};

/// What NNAPI may be told, with its numbers.
const PREFERENCES: &[(&str, c_int)] =
    &[("undefined", -1), ("low-power", 0), ("fast-single-answer", 1), ("sustained-speed", 2)];
/// Options of the backend `nnapi`.
const NNAPI: &[&str] =
    &["accelerator", "preference", "cpu", "fp16", "max-partitions", "cache-dir", "cache-token"];

/// Who is asked for.
///
/// # Errors
/// A backend, option or value that there is not.
pub(super) fn asked(options: &CompileOptions) -> Result<Asked> {
    match options.backend.as_str() {
        "xnnpack" => options.only("tflite", &[]).map(|()| Asked::Xnnpack),
        "builtin" => options.only("tflite", &[]).map(|()| Asked::Nobody),
        "nnapi" => nnapi(options).map(Asked::Nnapi),
        other => {
            let message = format!("tflite has no backend {other:?}; there is xnnpack, builtin, nnapi");
            Err(Error::Unsupported(message))
        }
    }
}

fn nnapi(options: &CompileOptions) -> Result<Nnapi> {
    options.only("tflite", NNAPI)?;
    let words: Vec<&str> = PREFERENCES.iter().map(|(word, _)| *word).collect();
    let preference = options.word("preference", &words)?;
    let text = |name: &str| {
        let text = options.options.get(name).filter(|text| !text.is_empty());
        let zero = |_| Error::Unsupported(format!("option {name} has a zero in it"));
        text.map(|text| CString::new(text.as_bytes()).map_err(zero)).transpose()
    };
    let max_partitions = match options.options.get("max-partitions") {
        None => 0,
        Some(text) => text.parse().ok().filter(|n| *n >= 0).ok_or_else(|| {
            Error::Unsupported(format!("option max-partitions is a number, 0 for no limit, not {text:?}"))
        })?,
    };
    Ok(Nnapi {
        accelerator: text("accelerator")?,
        cache_dir: text("cache-dir")?,
        token: text("cache-token")?,
        preference: PREFERENCES
            .iter()
            .find(|(word, _)| *word == preference)
            .map_or(-1, |(_, number)| *number),
        allow_cpu: options.word("cpu", &["no", "yes"])? == "yes",
        allow_fp16: options.word("fp16", &["no", "yes"])? == "yes",
        max_partitions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(backend: &str, pairs: &[(&str, &str)]) -> Result<Asked> {
        let mut options = CompileOptions::new(backend);
        options.options = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        asked(&options)
    }

    #[test]
    fn nnapi_is_told_what_was_said() {
        let pairs =
            [("accelerator", "npu"), ("preference", "low-power"), ("fp16", "yes"), ("max-partitions", "3")];
        let Asked::Nnapi(nnapi) = with("nnapi", &pairs).unwrap() else { panic!("not nnapi") };
        let expected = Nnapi {
            accelerator: Some(c"npu".to_owned()),
            preference: 0,
            allow_fp16: true,
            max_partitions: 3,
            ..Nnapi::default()
        };
        assert_eq!(nnapi, expected);
        let Asked::Nnapi(nnapi) = with("nnapi", &[]).unwrap() else { panic!("not nnapi") };
        assert_eq!(nnapi, Nnapi { preference: -1, ..Nnapi::default() });
    }

    #[test]
    fn what_there_is_not_is_refused() {
        for (backend, pairs, word) in [
            ("gpu", &[][..], "xnnpack, builtin, nnapi"),
            ("xnnpack", &[("accelerator", "npu")][..], "accelerator"),
            ("nnapi", &[("preference", "quick")][..], "low-power"),
            ("nnapi", &[("max-partitions", "-1")][..], "max-partitions"),
            ("nnapi", &[("cache-dir", "a\0b")][..], "cache-dir"),
        ] {
            let words = with(backend, pairs).err().unwrap().to_string();
            assert!(words.contains(word), "{words}");
        }
    }
}
