//! Labelled examples: where they lie on disk, how they are decoded and prepared, and the tensors and
//! labels that come out. Deterministic: the same files and the same definition give the same bytes.
//!
//! Not here: what the answers to them are worth (`stats::scores`, `reports`), seeded random inputs (the agent
//! makes them), and which models are fed (`suites`).
//!
//! Every kind of data is described, with an example, in `suites/FORMAT.md`.

mod audio;
mod classes;
mod dataset;
mod error;
mod file;
mod folder;
mod guess;
mod images;
mod labels;
mod log_mel;
mod nearest;
mod npy;
mod npz;
mod preprocess;
mod resize;
mod spec;
mod table;

use protocol::Task;

pub use dataset::{Dataset, TensorData};
pub use error::DataError;
pub use file::{FileRef, ReadSeek, Root, ShippedFile};
pub use log_mel::LogMel;
pub use nearest::{did_you_mean, nearest, with_nearest};
pub use preprocess::{Layout, PerChannel, Preprocess};
pub use resize::{Fit, Resize, ResizeRule};
pub use spec::{
    AudioSpec, Channels, Clip, ClipEnd, CsvSpec, DatasetSpec, ImagesSpec, NpySpec, NpzSpec, PadEnd,
};

/// Most examples of one dataset.
pub const MAX_EXAMPLES: u64 = 1_000_000;

/// Most bytes of all tensors of one dataset together: what a small host can hold beside everything else.
pub const MAX_TENSOR_BYTES: u64 = 2 << 30;

/// Reads the examples of `spec`, with its paths relative to `root`; at most `max_examples` of them,
/// taken at even distances so that every class of a sorted folder stays represented. Labels are read as `task`
/// needs them.
///
/// # Errors
/// Names the file, the row or key, and what to do.
pub fn load(
    spec: &DatasetSpec,
    root: &Root,
    max_examples: Option<u64>,
    task: &Task,
) -> Result<Dataset, DataError> {
    let limit = max_examples.unwrap_or(MAX_EXAMPLES).min(MAX_EXAMPLES);
    if limit == 0 {
        return Err(DataError::new("max_examples", "is 0: at least one example is needed"));
    }
    let dataset = match spec.kind()? {
        spec::Kind::Npz(npz) => npz::load_npz(spec, npz, root, limit, task),
        spec::Kind::Npy(npy) => npz::load_npy(spec, npy, root, limit, task),
        spec::Kind::Images(images) => images::load(spec, images, root, limit, task),
        spec::Kind::Audio(audio) => audio::load(spec, audio, root, limit, task),
        spec::Kind::Csv(csv) => table::load(spec, csv, root, limit, task),
    }?;
    dataset.check()?;
    Ok(dataset)
}
