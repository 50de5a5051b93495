//! Where the history lies: a folder, or a bucket of an object store. What is in it, `reports::history` knows.

mod s3;
mod worker;

use crate::{
    exit::{CommandResult, ExitWith, Failure},
    settings::Settings,
};
use reports::history::History;
use std::{path::Path, sync::Arc};

/// How a place in a bucket begins.
pub(crate) const S3: &str = "s3://";

/// The history of these settings; nothing is written, and it need not be there yet.
///
/// # Errors
/// The place is no folder and no bucket, or the variables for its bucket make no sense.
pub(crate) fn open(settings: &Settings) -> CommandResult<History> {
    let place = settings.history.as_str();
    if place.starts_with(S3) {
        let files = s3::Bucket::open(place, &settings.cache.join("history")).or_usage()?;
        return Ok(History::new(Arc::new(files)));
    }
    if let Some((scheme, _)) = place.split_once("://") {
        return Err(Failure::usage(format!(
            "the history {place}: {scheme} is not supported; name a folder, or s3://bucket/prefix"
        )));
    }
    if Path::new(place).is_file() {
        return Err(Failure::usage(format!("the history {place} is a file; name a folder")));
    }
    Ok(History::folder(place))
}
