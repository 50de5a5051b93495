//! Files that people write: read as a whole, within a limit, and mistakes in them named by file, line and column. Knows
//! nothing of what they say.

use crate::exit::{CommandResult, Failure};
use std::{fmt::Display, fs, ops::Range, path::Path};
use suites::line_of;

/// Longest file that is read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A part of the text, where it is known, and what is wrong with it.
pub(crate) type Mistake = (Option<Range<usize>>, String);

/// What `parse` makes of the text of a file. `what`: how the file is called, `the devices file`.
///
/// # Errors
/// It cannot be read, or `parse` found a mistake; names file, line and column.
pub(crate) fn read<T>(
    what: &str,
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, Mistake>,
) -> CommandResult<T> {
    let shown = path.display();
    let failed = |e: &dyn Display| Failure::usage(format!("{what} {shown}: {e}"));
    let found = fs::metadata(path).map_err(|e| failed(&e))?;
    if !found.is_file() {
        return Err(failed(&"not a regular file"));
    }
    if found.len() > MAX_FILE_BYTES {
        return Err(failed(&format!("longer than {MAX_FILE_BYTES} bytes")));
    }
    let text = fs::read_to_string(path).map_err(|e| failed(&e))?;
    parse(&text).map_err(|(span, why)| {
        let place = line_of(&text, span).map(|(line, column)| format!(":{line}:{column}"));
        Failure::usage(format!("{what} {shown}{}: {why}", place.unwrap_or_default()))
    })
}
