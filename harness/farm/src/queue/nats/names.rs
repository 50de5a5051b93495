//! Names of streams, buckets and subjects. One prefix with a schema and the farm's name before all of them; what comes
//! from outside is escaped, so that it is one token of a subject, and no wildcard.

use crate::job::JobId;
use protocol::Sha256Hex;
use std::fmt::Write;

/// Schema of all that lies on the server: with another one, nothing is read.
const SCHEMA: &str = "bench_v1";
/// Names of consumers are names of folders on the server: longer ones are hashed.
const MAX_NAME_CHARS: usize = 100;

/// Names of one farm.
pub(super) struct Names {
    prefix: String,
}

impl Names {
    /// Of a farm whose name was checked.
    pub(super) fn new(farm: &str) -> Self {
        Self { prefix: format!("{SCHEMA}_{farm}") }
    }

    /// A stream or bucket. The last `_` parts farm and kind: no two farms meet.
    pub(super) fn of(&self, kind: &str) -> String {
        format!("{}_{kind}", self.prefix)
    }

    /// Subjects of all jobs.
    pub(super) fn all_jobs(&self) -> String {
        format!("{}.jobs.>", self.prefix)
    }

    /// Subjects of a class.
    pub(super) fn class_jobs(&self, class: &str) -> String {
        format!("{}.jobs.{}.>", self.prefix, token(class))
    }

    /// Subjects of a night, of one class or of all.
    pub(super) fn night_jobs(&self, night: &str, class: Option<&str>) -> String {
        let class = class.map_or("*".to_owned(), token);
        format!("{}.jobs.{class}.{}.*", self.prefix, token(night))
    }

    /// The subject of one job, which no other has.
    pub(super) fn job(&self, class: &str, night: &str, job: &JobId) -> String {
        format!("{}.jobs.{}.{}.{}", self.prefix, token(class), token(night), token(job.as_str()))
    }

    /// Subjects of all results.
    pub(super) fn all_results(&self) -> String {
        format!("{}.results.>", self.prefix)
    }

    /// Subjects of a night's results.
    pub(super) fn night_results(&self, night: &str) -> String {
        format!("{}.results.{}.*", self.prefix, token(night))
    }

    /// The subject of a job's result.
    pub(super) fn result(&self, night: &str, job: &JobId) -> String {
        format!("{}.results.{}.{}", self.prefix, token(night), token(job.as_str()))
    }
}

/// The consumer that hands out a class, or collects a night.
pub(super) fn consumer(of: &str) -> String {
    let name = token(of);
    if name.len() <= MAX_NAME_CHARS { name } else { Sha256Hex::of_bytes(of.as_bytes()).to_string() }
}

/// The text as one token: everything but letters, digits, `-` and `_` as `=` with two hexadecimal digits per byte.
pub(super) fn token(text: &str) -> String {
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            token.push(char::from(byte));
        } else {
            write!(token, "={byte:02X}").expect("writing to a String cannot fail");
        }
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn known_names() {
        let names = Names::new("lab");
        assert_eq!(names.of("jobs"), "bench_v1_lab_jobs");
        assert_eq!(names.class_jobs("pi.5>"), "bench_v1_lab.jobs.pi=2E5=3E.>");
        assert_eq!(names.night_jobs("n 1", None), "bench_v1_lab.jobs.*.n=201.*");
        assert_eq!(consumer("pi.5"), "pi=2E5");
        assert_eq!(consumer(&".".repeat(40)).len(), 64);
    }

    #[test]
    fn different_texts_have_different_tokens() {
        let texts = ["a.b", "a=2Eb", "a=b", "A.b", "a b", "a*", "ä"];
        let tokens: BTreeSet<String> = texts.iter().map(|text| token(text)).collect();
        assert_eq!(tokens.len(), texts.len());
    }

    proptest! {
        #[test]
        fn whatever_is_named_is_one_token(text in "\\PC{1,40}") {
            let token = token(&text);
            prop_assert!(!token.is_empty());
            prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)), "{token}");
        }
    }
}
