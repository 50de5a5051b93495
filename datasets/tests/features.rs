//! Our log-mel features against those that the shipped models were trained on: a few kept here, all of
//! them where the full evaluation set lies beside the checkout.

#![expect(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

use datasets::{
    AudioSpec, Clip, ClipEnd, Dataset, DatasetSpec, LogMel, NpzSpec, PadEnd, PerChannel, Preprocess, Root,
};
use protocol::Task;
use std::path::{Path, PathBuf};

/// Largest difference of a feature. One eight-bit step of the quantised models is 300 times as much.
const TOLERANCE: f32 = 1e-4;

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn preprocess() -> Preprocess {
    let log_mel = LogMel { window: 256, hop: 128, bins: 32, low_hz: 60.0, high_hz: 3900.0, floor: 1e-6 };
    Preprocess {
        log_mel: Some(log_mel),
        mean: Some(PerChannel::One(-9.728_204_727_172_852)),
        std: Some(PerChannel::One(5.134_079_456_329_346)),
        ..Preprocess::default()
    }
}

fn recordings(path: &Path) -> Dataset {
    let clip = Clip { samples: 8000, pad: PadEnd::Both, cut: ClipEnd::End };
    let audio = AudioSpec { path: path.into(), labels: None, sample_rate: 8000, clip: Some(clip) };
    let spec = DatasetSpec { audio: Some(audio), preprocess: preprocess(), ..DatasetSpec::default() };
    datasets::load(&spec, &Root::Folder(here()), None, &Task::CLASSIFICATION).unwrap()
}

/// The features stored in an .npz, with names (array `names`) and labels.
fn stored(path: &Path, names: &str) -> Dataset {
    let npz = NpzSpec {
        path: path.into(),
        inputs: vec!["x".into()],
        labels: Some("y".into()),
        names: Some(names.into()),
        groups: None,
    };
    let spec = DatasetSpec { npz: Some(npz), ..DatasetSpec::default() };
    datasets::load(&spec, &Root::Folder(here()), None, &Task::CLASSIFICATION).unwrap()
}

fn feature_rows(dataset: &Dataset) -> Vec<Vec<f32>> {
    let input = &dataset.inputs[0];
    assert_eq!(input.shape[1..], [61, 32, 1]);
    let values: Vec<f32> = input.bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    values.chunks(61 * 32).map(<[f32]>::to_vec).collect()
}

/// Compares every stored example with the recording of that name; the number compared.
fn compare(recorded: &Dataset, stored: &Dataset, file_of: impl Fn(&str) -> String) -> usize {
    let (ours, theirs) = (feature_rows(recorded), feature_rows(stored));
    let mut compared = 0;
    for (index, name) in stored.names.iter().enumerate() {
        let file = file_of(name);
        let Some(found) = recorded.names.iter().position(|n| *n == file) else { continue };
        assert_eq!(recorded.labels.classes()[found], stored.labels.classes()[index], "{name}");
        let pairs = ours[found].iter().zip(&theirs[index]);
        let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= TOLERANCE, "{name}: a feature differs by {worst}");
        compared += 1;
    }
    compared
}

#[test]
fn features_equal_those_of_the_recipe() {
    let recorded = recordings(Path::new("data/fsdd_540.zip"));
    let stored = stored(Path::new("tests/data/fsdd_features.npz"), "names");
    assert_eq!(compare(&recorded, &stored, str::to_owned), 6);
}

#[test]
fn all_features_equal_the_evaluation_set() {
    let path = here().join("../../shared/zoo/fsdd_dscnn/eval.npz");
    if !path.exists() {
        println!("left out: all_features_equal_the_evaluation_set, {} is not there", path.display());
        return;
    }
    let recorded = recordings(Path::new("data/fsdd_540.zip"));
    let digit = |name: &str| format!("{}/{name}.wav", name.split('_').next().unwrap_or_default());
    assert_eq!(compare(&recorded, &stored(&path, "name"), digit), 540);
}
