//! Suites: TOML definitions of what is compared on what data, checked and expanded into cases.
//!
//! Four ways lead to a [`Suite`]: the name of a built-in one or the path of a definition ([`lookup`]),
//! model files named on the command line ([`ad_hoc`]), or two folders with versions of the same models
//! ([`versions`]). Built-in suites go through the same parser as
//! everybody's; only their files are part of the program.
//!
//! Not here: devices, the order of measurement, verdicts. Every key is explained in `suites/FORMAT.md`.

mod ad_hoc;
mod builtin;
mod contrasts;
mod definition;
mod error;
mod rules;
mod suite;
mod versions;

pub use ad_hoc::ad_hoc;
pub use builtin::{BUILTIN, Builtin, FILES};
pub use contrasts::{Side, contrasts};
pub use error::{SuiteError, line_of};
pub use rules::{Burst, COSTS, Compare, Measure, WarmUpRules};
pub use suite::{RuntimeOptions, Suite, Variant};
pub use versions::{Versions, versions};

use datasets::did_you_mean;
use std::path::Path;

/// The suite of that name, or the one defined in that file.
///
/// # Errors
/// An unknown name (with the nearest one), a file that cannot be read, or a definition that is wrong
/// (with file, line, key and what to do).
pub fn lookup(name_or_path: &str) -> Result<Suite, SuiteError> {
    let is_path = name_or_path.contains(['/', '\\']) || name_or_path.ends_with(".toml");
    match BUILTIN.iter().find(|b| b.name == name_or_path) {
        Some(builtin) if !is_path => builtin.suite(),
        _ if is_path => definition::read(Path::new(name_or_path)),
        _ => Err(SuiteError::Unknown {
            name: name_or_path.to_owned(),
            hint: did_you_mean(name_or_path, BUILTIN.iter().map(|b| b.name)),
            known: BUILTIN.iter().map(|b| b.name).collect::<Vec<_>>().join(", "),
        }),
    }
}
