//! Seeded mutations of good files through every loader: no panic, an error that names the file, and no
//! memory beyond what a small host can spare.

#![expect(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

mod files;

use datasets::*;
use files::npy;
use protocol::{Rng, Task};
use std::io::{Cursor, Write};

const SEED: u64 = 20_260_101;

/// Labels are classes.
fn load(spec: &DatasetSpec, root: &Root, max_examples: Option<u64>) -> Result<Dataset, DataError> {
    datasets::load(spec, root, max_examples, &Task::CLASSIFICATION)
}

/// Peak memory of this process may grow by so much over all mutations of all loaders.
const MAX_GROWTH_BYTES: u64 = 300 << 20;

/// One to eight random changes: bits, extreme bytes, lost, doubled and foreign parts.
fn mutate(rng: &mut Rng, good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=rng.below(7) {
        if bytes.is_empty() {
            return bytes;
        }
        let at = rng.below(bytes.len() as u64) as usize;
        let span = (rng.below(16) as usize + 1).min(bytes.len() - at);
        match rng.below(7) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at..at + span].fill(0xff),
            2 => bytes[at..at + span].fill(0),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..at + span)),
            5 => {
                let part = bytes[at..at + span].to_vec();
                bytes.splice(at..at, part);
            }
            _ => bytes[at] = rng.next_u64() as u8,
        }
    }
    bytes
}

fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kb| kb * 1024)
}

/// A root that holds these files, never freed: writing each round to disk would take minutes.
fn root_of(files: Vec<(&'static str, Vec<u8>)>) -> Root {
    let shipped = files.into_iter().map(|(path, bytes)| ShippedFile { path, bytes: Vec::leak(bytes) });
    Root::Shipped { folder: "", files: Vec::leak(shipped.collect()) }
}

/// Loads what `make` gives, `rounds` times; some must be refused and some not, and every error must name the file or,
/// where labels and examples do not fit together, the dataset.
fn torture(spec: &DatasetSpec, rounds: u64, mut make: impl FnMut(&mut Rng) -> Vec<(&'static str, Vec<u8>)>) {
    let before = peak_bytes();
    let mut rng = Rng::new(SEED);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..rounds {
        let root = root_of(make(&mut rng));
        match load(spec, &root, None) {
            Ok(dataset) => {
                accepted += 1;
                assert!(dataset.examples() > 0, "round {round}");
            }
            Err(error) => {
                refused += 1;
                let text = error.to_string();
                let named = ["d.", "d: ", "d, ", "l.csv"].iter().any(|place| text.starts_with(place));
                assert!(named && text.len() < 2_000, "round {round}: {text}");
            }
        }
    }
    assert!(accepted > 0 && refused > 0, "{accepted} were accepted, {refused} refused: too mild or too wild");
    if let (Some(before), Some(after)) = (before, peak_bytes()) {
        let grown = after.saturating_sub(before);
        assert!(grown < MAX_GROWTH_BYTES, "the peak grew by {grown} bytes");
    }
}

fn zip_of(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer
            .start_file(
                *name,
                zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored),
            )
            .unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn npz_spec() -> DatasetSpec {
    let npz = NpzSpec {
        path: "d.npz".into(),
        inputs: vec!["x".into()],
        labels: Some("y".into()),
        names: Some("names".into()),
        groups: None,
    };
    let preprocess = Preprocess { scale: Some(0.5), ..Preprocess::default() };
    DatasetSpec {
        npz: Some(npz),
        classes: vec!["a".into(), "b".into()],
        preprocess,
        ..DatasetSpec::default()
    }
}

fn arrays() -> [(&'static str, Vec<u8>); 3] {
    [
        ("x.npy", npy("<f4", "2, 2, 2", &[0x3e; 32])),
        ("y.npy", npy("<i4", "2,", &[0, 0, 0, 0, 1, 0, 0, 0])),
        ("names.npy", npy("<U2", "2,", &[b'a', 0, 0, 0, 0, 0, 0, 0, b'b', 0, 0, 0, 0, 0, 0, 0])),
    ]
}

#[test]
fn mutated_archives() {
    let good = zip_of(&arrays());
    torture(&npz_spec(), 5_000, |rng| vec![("d.npz", mutate(rng, &good))]);
}

#[test]
fn mutated_arrays_in_sound_archives() {
    torture(&npz_spec(), 8_000, |rng| {
        let mut files = arrays();
        let chosen = rng.below(3) as usize;
        files[chosen].1 = mutate(rng, &files[chosen].1);
        vec![("d.npz", zip_of(&files))]
    });
}

#[test]
fn mutated_recordings() {
    let spec = |bits, sample_format| hound::WavSpec {
        channels: 2,
        sample_rate: 8000,
        bits_per_sample: bits,
        sample_format,
    };
    let kinds = [8, 16, 24, 32].map(|bits| spec(bits, hound::SampleFormat::Int));
    let mut good = Vec::new();
    for kind in kinds {
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, kind).unwrap();
        (0..64).for_each(|s| writer.write_sample(s - 32).unwrap());
        writer.finalize().unwrap();
        good.push(bytes.into_inner());
    }
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec(32, hound::SampleFormat::Float)).unwrap();
    (0..64).for_each(|s| writer.write_sample(s as f32 / 64.0).unwrap());
    writer.finalize().unwrap();
    good.push(bytes.into_inner());

    let log_mel = LogMel { window: 16, hop: 8, bins: 3, low_hz: 0.0, high_hz: 4000.0, floor: 1e-6 };
    let audio = AudioSpec { path: "d.zip".into(), labels: None, sample_rate: 8000, clip: None };
    let preprocess = Preprocess { log_mel: Some(log_mel), ..Preprocess::default() };
    let spec = DatasetSpec { audio: Some(audio), preprocess, ..DatasetSpec::default() };
    torture(&spec, 10_000, |rng| {
        let chosen = rng.below(good.len() as u64) as usize;
        vec![("d.zip", zip_of(&[("1.wav", mutate(rng, &good[chosen]))]))]
    });
}

#[test]
fn mutated_images() {
    let image = image::RgbImage::from_fn(20, 12, |x, y| image::Rgb([x as u8 * 9, y as u8 * 20, 77]));
    let good = [image::ImageFormat::Png, image::ImageFormat::Jpeg, image::ImageFormat::Bmp].map(|format| {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    });
    let images = ImagesSpec { path: "d.zip".into(), labels: None, channels: Channels::Gray };
    let resize = Resize { width: 8, height: 8, rule: ResizeRule::Bilinear, fit: Fit::CenterCrop };
    let preprocess = Preprocess { resize: Some(resize), ..Preprocess::default() };
    let spec = DatasetSpec { images: Some(images), preprocess, ..DatasetSpec::default() };
    torture(&spec, 20_000, |rng| {
        let chosen = rng.below(good.len() as u64) as usize;
        vec![("d.zip", zip_of(&[("1.png", mutate(rng, &good[chosen]))]))]
    });
}

#[test]
fn mutated_tables() {
    let csv = CsvSpec {
        path: "d.csv".into(),
        inputs: vec![],
        label: Some("y".into()),
        name: Some("n".into()),
        group: None,
    };
    let spec =
        DatasetSpec { csv: Some(csv), classes: vec!["a".into(), "b".into()], ..DatasetSpec::default() };
    let good = b"n,p,q,y\nfirst,1.5,-2e3,a\n\"second, quoted\",0,7,b\nthird,3,4,0\n";
    torture(&spec, 10_000, |rng| vec![("d.csv", mutate(rng, good))]);
}

#[test]
fn mutated_labels_files() {
    let mut png = Cursor::new(Vec::new());
    image::GrayImage::new(1, 1).write_to(&mut png, image::ImageFormat::Png).unwrap();
    let images = ["1.png", "2.png"].map(|name| (name, png.get_ref().clone()));
    let folder = zip_of(&images);
    let images = ImagesSpec { path: "d.zip".into(), labels: Some("l.csv".into()), channels: Channels::Gray };
    let classes = vec!["cat".to_owned(), "dog".to_owned()];
    let spec = DatasetSpec { images: Some(images), classes, ..DatasetSpec::default() };
    torture(&spec, 10_000, |rng| {
        vec![("d.zip", folder.clone()), ("l.csv", mutate(rng, b"file,label\n1.png,cat\n2.png,1\n"))]
    });
}
