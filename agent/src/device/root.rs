//! Files and programs of the device, below a root that is `/` but for tests. Bounded in size and time;
//! what cannot be read is `None`.

use super::tool;
use std::{
    fs::{self, File},
    io::Read,
    path::PathBuf,
    str::FromStr,
};

/// Longest text read from one file of `/proc` or `/sys`.
const MAX_TEXT: u64 = 1 << 20;

/// Entries of one kind that are read: a phone has about a hundred thermal zones.
const MAX_ENTRIES: usize = 256;

/// Where the device's files are.
#[derive(Clone, Debug)]
pub(crate) struct Root(pub(crate) PathBuf);

impl Root {
    /// Names in a folder that start with `prefix`, in order of their numbers.
    pub(crate) fn entries(&self, folder: &str, prefix: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.0.join(folder)) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|n| n.starts_with(prefix)).take(MAX_ENTRIES).collect();
        names.sort_by_key(|name| (name.len(), name.clone()));
        names
    }

    /// A whole file.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let mut text = Vec::new();
        File::open(self.0.join(path)).ok()?.take(MAX_TEXT).read_to_end(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    /// A file of one line.
    pub(crate) fn line(&self, path: &str) -> Option<String> {
        let text = self.text(path)?;
        Some(text.trim().to_owned()).filter(|line| !line.is_empty())
    }

    /// A file of one number.
    pub(crate) fn number<T: FromStr>(&self, path: &str) -> Option<T> {
        self.line(path)?.parse().ok()
    }

    /// What a program of the platform prints, where there is one and it ends well.
    pub(crate) fn tool(&self, program: &str, arguments: &[&str]) -> Option<String> {
        let program = self.0.join(program);
        if program.exists() { tool::output(&program, arguments) } else { None }
    }
}
