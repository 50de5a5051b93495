//! Run records, verdicts and everything rendered from them. Measures nothing and talks to no device:
//! the same record always gives the same report.

pub mod accuracy;
mod brief;
pub mod diff;
pub mod history;
pub mod page;
mod profile;
mod recheck;
pub mod record;
pub mod render;
mod score;
pub mod store;
pub mod table;
#[cfg(test)]
mod testing;
pub mod text;
pub mod verdict;
mod view;

use record::RunRecord;
use render::{FORMATS, Kept, Options, RenderError};
use std::path::{Path, PathBuf};
use verdict::Verdicts;

pub use brief::{Line, brief};
pub use recheck::{Rechecked, recheck};
pub use render::{Format, SideFormat, format, markdown_text, render, side_by_side};
pub use text::visible;
pub use view::outcome_words;

/// Writes every report that is a file into the run's directory, in the order of [`FORMATS`], and says where. Each
/// file is replaced whole; the same run gives the same bytes.
///
/// # Errors
/// A report cannot be made or written; reports made before it are there.
pub fn write_all(
    run_dir: &Path,
    record: &RunRecord,
    verdicts: &Verdicts,
) -> Result<Vec<PathBuf>, RenderError> {
    let mut paths = Vec::new();
    for format in FORMATS.iter().filter(|format| format.kept == Kept::Always) {
        let path = run_dir.join(format.file);
        let options = Options::default();
        store::write_atomic_with(&path, |out| format.write(record, verdicts, &options, out))?;
        paths.push(path);
    }
    Ok(paths)
}
