//! Names: of a runtime with its backend, of a variant, of a unit. Parsed once, at the edge.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Longest name a suite, variant, runtime or device may have: fits a file name with a suffix.
const MAX_NAME: usize = 100;

/// A name that breaks the rules, with the rule it breaks.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("bad {what} {text:?}: {rule}")]
pub struct IdError {
    what: &'static str,
    text: String,
    rule: &'static str,
}

fn check_name(what: &'static str, text: &str) -> Result<(), IdError> {
    let error = |rule| IdError { what, text: text.chars().take(MAX_NAME).collect(), rule };
    if text.is_empty() || text.len() > MAX_NAME {
        return Err(error("it must have 1 to 100 characters"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.chars().all(plain) || text.starts_with(['-', '.']) {
        return Err(error("only letters, digits, '-', '_' and '.' are allowed, and no '-' or '.' in front"));
    }
    Ok(())
}

/// A runtime and one of its backends, written `builtin/cpu`; where one version of several is meant,
/// `litert@2.3.0/xnnpack`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RuntimeId {
    /// `builtin`, `litert`, `onnxruntime`, ...
    pub runtime: String,
    /// Version of its library; `None`: the newest there is.
    pub version: Option<String>,
    /// `cpu`, `nnapi`, `xnnpack`, ...
    pub backend: String,
}

impl FromStr for RuntimeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (runtime, backend) = text.split_once('/').ok_or(IdError {
            what: "runtime",
            text: text.chars().take(MAX_NAME).collect(),
            rule: "it is written runtime/backend, for example builtin/cpu",
        })?;
        let (runtime, version) = match runtime.split_once('@') {
            Some((runtime, version)) => (runtime, Some(version)),
            None => (runtime, None),
        };
        check_name("runtime", runtime)?;
        check_name("backend", backend)?;
        version.map_or(Ok(()), |version| check_name("version", version))?;
        let version = version.map(str::to_owned);
        Ok(Self { runtime: runtime.to_owned(), version, backend: backend.to_owned() })
    }
}

impl RuntimeId {
    /// The one that every agent has inside itself.
    pub fn builtin() -> Self {
        Self { runtime: "builtin".to_owned(), version: None, backend: "cpu".to_owned() }
    }
}

impl fmt::Display for RuntimeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            None => write!(f, "{}/{}", self.runtime, self.backend),
            Some(version) => write!(f, "{}@{version}/{}", self.runtime, self.backend),
        }
    }
}

impl fmt::Debug for RuntimeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for RuntimeId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<RuntimeId> for String {
    fn from(id: RuntimeId) -> Self {
        id.to_string()
    }
}

/// A variant of a model, written `model@variant`: `mobilenet@tflite-int8`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VariantId {
    /// What all variants were made from.
    pub model: String,
    /// Format and precision, or whatever tells the variants of one model apart.
    pub variant: String,
}

impl FromStr for VariantId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (model, variant) = text.split_once('@').ok_or(IdError {
            what: "variant",
            text: text.chars().take(MAX_NAME).collect(),
            rule: "it is written model@variant, for example mobilenet@tflite-int8",
        })?;
        check_name("model", model)?;
        check_name("variant", variant)?;
        Ok(Self { model: model.to_owned(), variant: variant.to_owned() })
    }
}

impl fmt::Display for VariantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.model, self.variant)
    }
}

impl fmt::Debug for VariantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for VariantId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<VariantId> for String {
    fn from(id: VariantId) -> Self {
        id.to_string()
    }
}

/// Number of a unit within its run: the position in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnitId(pub u32);

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unit {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text() {
        for text in ["litert/xnnpack", "litert@2.1.0/xnnpack"] {
            let id: RuntimeId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
        }
        let id: VariantId = "mobilenet@tflite-int8".parse().unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"mobilenet@tflite-int8\"");
    }

    #[test]
    fn hostile_names_are_refused() {
        for bad in [
            "",
            "cpu",
            "a/",
            "/b",
            "a/b/c",
            "../x/cpu",
            "a b/c",
            "a@/b",
            "@1/b",
            "a@1@2/b",
            "a/b@1",
            "builtin/\u{202e}cpu",
        ] {
            assert!(bad.parse::<RuntimeId>().is_err(), "{bad:?}");
        }
        for bad in ["", "m", "m@", "@v", "m@v@w", "m/x@v", &format!("{}@v", "m".repeat(101))] {
            assert!(bad.parse::<VariantId>().is_err(), "{bad:?}");
        }
    }
}
