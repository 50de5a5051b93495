//! Every kind of data from real files: what comes out, and what a mistake is told as.

#![expect(clippy::unwrap_used, reason = "a test may stop at what should not happen")]

mod files;

use datasets::*;
use files::npy;
use protocol::{DType, Labels, Task};
use std::{
    fs,
    io::{Cursor, Write},
    path::Path,
};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn write(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn root(folder: &TempDir) -> Root {
    Root::Folder(folder.path().into())
}

fn zip_of(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn png(width: u32, height: u32, gray: u8) -> Vec<u8> {
    let image = image::GrayImage::from_pixel(width, height, image::Luma([gray]));
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn wav(rate: u32, samples: &[i16]) -> Vec<u8> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    samples.iter().for_each(|s| writer.write_sample(*s).unwrap());
    writer.finalize().unwrap();
    bytes.into_inner()
}

/// Labels are classes.
fn load(spec: &DatasetSpec, root: &Root, max_examples: Option<u64>) -> Result<Dataset, DataError> {
    datasets::load(spec, root, max_examples, &Task::CLASSIFICATION)
}

fn npz_spec(labels: Option<&str>) -> DatasetSpec {
    let npz = NpzSpec {
        path: "d.npz".into(),
        inputs: vec!["x".into()],
        labels: labels.map(str::to_owned),
        names: None,
        groups: None,
    };
    DatasetSpec { npz: Some(npz), ..DatasetSpec::default() }
}

fn images_spec(path: &str, labels: Option<&str>) -> DatasetSpec {
    let images = ImagesSpec { path: path.into(), labels: labels.map(Into::into), channels: Channels::Gray };
    DatasetSpec { images: Some(images), ..DatasetSpec::default() }
}

fn audio_spec(clip: Option<Clip>) -> DatasetSpec {
    let audio = AudioSpec { path: "w".into(), labels: None, sample_rate: 8000, clip };
    DatasetSpec { audio: Some(audio), ..DatasetSpec::default() }
}

fn csv_spec(label: Option<&str>) -> DatasetSpec {
    let csv = CsvSpec {
        path: "t.csv".into(),
        inputs: vec![],
        label: label.map(str::to_owned),
        name: None,
        group: None,
    };
    DatasetSpec { csv: Some(csv), ..DatasetSpec::default() }
}

/// The error, which must hold all of `words`.
fn refused(spec: &DatasetSpec, folder: &TempDir, words: &[&str]) {
    let error = load(spec, &root(folder), None).expect_err("refused").to_string();
    for word in words {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
}

#[test]
fn npz_with_labels() {
    let dir = folder();
    let files = [("x.npy", npy("|u1", "3, 2", &[1, 2, 3, 4, 5, 6])), ("y.npy", npy("<i8", "3,", &[0; 24]))];
    write(&dir, "d.npz", zip_of(&files));
    let dataset = load(&npz_spec(Some("y")), &root(&dir), None).unwrap();
    assert_eq!((dataset.inputs[0].dtype, dataset.inputs[0].shape.as_slice()), (DType::U8, [3, 2].as_slice()));
    assert_eq!((dataset.labels.classes(), dataset.name.as_str()), ([0, 0, 0].as_slice(), "d"));
    let some = load(&npz_spec(Some("y")), &root(&dir), Some(2)).unwrap();
    assert_eq!((some.inputs[0].bytes.as_slice(), some.labels.classes().len()), ([1, 2, 3, 4].as_slice(), 2));
    refused(&npz_spec(Some("z")), &dir, &["d.npz", "array \"z\"", "it holds: x, y"]);
}

#[test]
fn npz_mistakes() {
    let dir = folder();
    refused(&npz_spec(None), &dir, &["d.npz", "no such file"]);
    write(&dir, "d.npz", b"not a zip");
    refused(&npz_spec(None), &dir, &["d.npz", "not a zip archive"]);
    let x = ("x.npy", npy("|u1", "2, 1", &[1, 2]));
    write(&dir, "d.npz", zip_of(&[x.clone(), ("y.npy", npy("|u1", "3,", &[0, 0, 0]))]));
    refused(&npz_spec(Some("y")), &dir, &["array \"y\"", "3 rows", "2 examples"]);
    write(&dir, "d.npz", zip_of(&[x.clone(), ("y.npy", npy("|u1", "2,", &[0, 5]))]));
    let spec = DatasetSpec { classes: vec!["a".into(), "b".into()], ..npz_spec(Some("y")) };
    refused(&spec, &dir, &["example 1", "label 5 is out of range", "2 classes"]);
    write(&dir, "d.npz", zip_of(&[("x.npy", npy("<f4", "2, 1", &[0, 0, 0, 0, 0, 0, 0xc0, 0x7f]))]));
    refused(&npz_spec(None), &dir, &["array \"x\"", "row 1", "not a finite number"]);
    write(&dir, "d.npz", zip_of(&[("x.npy", npy("<f4", "0, 1", &[]))]));
    refused(&npz_spec(None), &dir, &["array \"x\"", "no examples"]);
    let whole = zip_of(&[x]);
    write(&dir, "d.npz", &whole[..whole.len() / 2]);
    refused(&npz_spec(None), &dir, &["d.npz", "damaged"]);
}

#[test]
fn npy_files_side_by_side() {
    let dir = folder();
    write(&dir, "x.npy", npy("<f4", "2, 1", &[0; 8]));
    write(&dir, "y.npy", npy("|u1", "2,", &[1, 0]));
    let npy_spec =
        NpySpec { inputs: vec!["x.npy".into()], labels: Some("y.npy".into()), names: None, groups: None };
    let spec = DatasetSpec { npy: Some(npy_spec.clone()), ..DatasetSpec::default() };
    assert_eq!(load(&spec, &root(&dir), None).unwrap().labels.classes(), [1, 0]);
    let two = NpySpec { inputs: vec!["x.npy".into(), "y.npy".into()], ..npy_spec };
    let both = load(&DatasetSpec { npy: Some(two), ..DatasetSpec::default() }, &root(&dir), None).unwrap();
    assert_eq!(both.inputs[1].dtype, DType::U8);
    write(&dir, "x.npy", &npy("<f4", "2, 1", &[0; 8])[..70]);
    refused(&spec, &dir, &["x.npy", "truncated"]);
}

#[test]
fn images_in_class_folders() {
    let dir = folder();
    for (name, gray) in [("i/cat/1.png", 10), ("i/cat/2.PNG", 20), ("i/dog/1.png", 30)] {
        write(&dir, name, png(2, 1, gray));
    }
    write(&dir, "i/.hidden/x.png", png(2, 1, 0));
    write(&dir, "i/notes.txt", "not an image");
    let dataset = load(&images_spec("i", None), &root(&dir), None).unwrap();
    assert_eq!(dataset.names, ["cat/1.png", "cat/2.PNG", "dog/1.png"]);
    assert_eq!(
        (dataset.classes.as_slice(), dataset.labels.classes()),
        (["cat".into(), "dog".into()].as_slice(), [0, 0, 1].as_slice())
    );
    assert_eq!(
        (dataset.inputs[0].shape.as_slice(), dataset.inputs[0].bytes.as_slice()),
        ([3, 1, 2, 1].as_slice(), [10, 10, 20, 20, 30, 30].as_slice())
    );
    let reversed = DatasetSpec { classes: vec!["dog".into(), "cat".into()], ..images_spec("i", None) };
    assert_eq!(load(&reversed, &root(&dir), None).unwrap().labels.classes(), [1, 1, 0]);
    let other = DatasetSpec { classes: vec!["dog".into(), "cats".into()], ..images_spec("i", None) };
    refused(&other, &dir, &["folder \"cat\"", "did you mean \"cats\""]);
}

#[test]
fn a_zip_is_a_folder() {
    let dir = folder();
    write(&dir, "i.zip", zip_of(&[("a/1.png", png(1, 1, 7)), ("b/1.png", png(1, 1, 9))]));
    let dataset = load(&images_spec("i.zip", None), &root(&dir), None).unwrap();
    assert_eq!(
        (dataset.labels.classes(), dataset.inputs[0].bytes.as_slice()),
        ([0, 1].as_slice(), [7, 9].as_slice())
    );
}

#[test]
fn images_named_in_a_labels_file() {
    let dir = folder();
    write(&dir, "i/1.png", png(1, 1, 1));
    write(&dir, "i/2.png", png(1, 1, 2));
    write(&dir, "l.csv", "file, label, note\n2.png, dog, x\n1.png, 0, y\n");
    let spec = DatasetSpec { classes: vec!["cat".into(), "dog".into()], ..images_spec("i", Some("l.csv")) };
    let dataset = load(&spec, &root(&dir), None).unwrap();
    assert_eq!(
        (dataset.names.as_slice(), dataset.labels.classes()),
        (["2.png".into(), "1.png".into()].as_slice(), [1, 0].as_slice())
    );
    for (labels, words) in [
        ("file,label\n3.png,cat\n", ["l.csv, row 2", "no file \"3.png\""]),
        ("file,label\n1.png,cat\n1.png,cat\n", ["l.csv, row 3", "second time"]),
        ("file,label\n1.png,dgo\n", ["l.csv, row 2", "did you mean \"dog\""]),
        ("file,label\n1.png,\n", ["l.csv, row 2", "has no label"]),
        ("file,label\n1.png,2\n", ["l.csv, row 2", "out of range"]),
        ("file,lable\n1.png,cat\n", ["l.csv", "no column \"label\" (did you mean \"lable\"?)"]),
        ("file,label\n1.png,cat,x\n", ["l.csv, row 2", "cannot be read"]),
        ("file,label\n", ["i: ", "no examples"]),
    ] {
        write(&dir, "l.csv", labels);
        refused(&spec, &dir, &words);
    }
}

#[test]
fn image_mistakes() {
    let dir = folder();
    fs::create_dir(dir.path().join("i")).unwrap();
    refused(&images_spec("i", None), &dir, &["no examples", ".png"]);
    refused(&images_spec("j", None), &dir, &["j", "no such file"]);
    write(&dir, "i/a/1.png", png(2, 2, 0));
    write(&dir, "i/a/2.png", png(3, 2, 0));
    refused(&images_spec("i", None), &dir, &["2.png", "is 2 × 3 × 1", "resize"]);
    let resize = Resize { width: 2, height: 2, rule: ResizeRule::Area, fit: Fit::Stretch };
    let preprocess = Preprocess { resize: Some(resize), ..Preprocess::default() };
    let resized = DatasetSpec { preprocess, ..images_spec("i", None) };
    assert_eq!(load(&resized, &root(&dir), None).unwrap().inputs[0].shape, [2, 2, 2, 1]);
    write(&dir, "i/a/2.png", "broken");
    refused(&images_spec("i", None), &dir, &["2.png", "not a png, jpeg or bmp"]);
    write(&dir, "i/3.png", png(2, 2, 0));
    refused(&images_spec("i", None), &dir, &["\"3.png\" lies in no class folder"]);
}

#[test]
fn unlabelled_files_have_no_labels() {
    let dir = folder();
    write(&dir, "i/1.png", png(1, 1, 1));
    assert!(load(&images_spec("i", None), &root(&dir), None).unwrap().labels.is_none());
}

#[test]
fn recordings_and_their_mistakes() {
    let dir = folder();
    write(&dir, "w/a/1.wav", wav(8000, &[16384, -16384]));
    let dataset = load(&audio_spec(None), &root(&dir), None).unwrap();
    let expected: Vec<u8> = [0.5f32, -0.5].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(
        (dataset.inputs[0].shape.as_slice(), &dataset.inputs[0].bytes),
        ([1, 2].as_slice(), &expected)
    );
    write(&dir, "w/b/1.wav", wav(8000, &[0, 0, 0]));
    refused(&audio_spec(None), &dir, &["b/1.wav", "is 3", "audio.clip"]);
    let clip = Clip { samples: 4, pad: PadEnd::End, cut: ClipEnd::End };
    assert_eq!(load(&audio_spec(Some(clip)), &root(&dir), None).unwrap().inputs[0].shape, [2, 4]);
    write(&dir, "w/b/1.wav", wav(16_000, &[0, 0]));
    refused(&audio_spec(None), &dir, &["b/1.wav", "16000 Hz", "sox"]);
    let log_mel = LogMel { window: 8, hop: 4, bins: 2, low_hz: 0.0, high_hz: 4000.0, floor: 1e-6 };
    let preprocess = Preprocess { log_mel: Some(log_mel), ..Preprocess::default() };
    let features = DatasetSpec { preprocess, ..audio_spec(None) };
    refused(&features, &dir, &["a/1.wav", "fewer than one window"]);
}

#[test]
fn tables_and_their_mistakes() {
    let dir = folder();
    write(&dir, "t.csv", "a, y, b\n1, 0, 2.5\n-3, 1, 1e3\n");
    let dataset = load(&csv_spec(Some("y")), &root(&dir), None).unwrap();
    let expected: Vec<u8> = [1.0f32, 2.5, -3.0, 1e3].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(
        (dataset.inputs[0].shape.as_slice(), &dataset.inputs[0].bytes),
        ([2, 2].as_slice(), &expected)
    );
    assert_eq!(dataset.labels.classes(), [0, 1]);
    for (table, words) in [
        ("a,y\n1,0\nx,1\n", ["t.csv, row 3", "column \"a\": \"x\" is not a number"]),
        ("a,y\n1,0\nNaN,1\n", ["t.csv, row 3", "not a finite number"]),
        ("a,y\n1,0\n2,\n", ["t.csv, row 3", "has no label"]),
        ("a,y\n1,0\n2,cat\n", ["t.csv, row 3", "list the classes"]),
        ("a,y\n1,0\n2\n", ["t.csv", "line 3 has 1 fields"]),
        ("a,y\n", ["t.csv", "no examples"]),
        ("", ["t.csv", "no column \"y\""]),
        ("y,y\n1,2\n", ["t.csv", "two columns named \"y\""]),
        ("y\n1\n", ["t.csv", "no column of numbers"]),
    ] {
        write(&dir, "t.csv", table);
        refused(&csv_spec(Some("y")), &dir, &words);
    }
    write(&dir, "t.csv", b"a,y\n\xff,1\n");
    refused(&csv_spec(Some("y")), &dir, &["t.csv", "UTF-8"]);
}

#[test]
fn class_names_from_a_file() {
    let dir = folder();
    write(&dir, "t.csv", "a,y\n1,dog\n");
    write(&dir, "c.txt", "cat\n\ndog\n");
    let spec = DatasetSpec { classes_file: Some("c.txt".into()), ..csv_spec(Some("y")) };
    let dataset = load(&spec, &root(&dir), None).unwrap();
    assert_eq!(
        (dataset.labels, dataset.classes),
        (Labels::Classes(vec![1]), vec!["cat".to_owned(), "dog".to_owned()])
    );
    write(&dir, "c.txt", "\n");
    refused(&spec, &dir, &["c.txt", "no class names"]);
}

#[test]
fn data_without_a_definition() {
    let dir = folder();
    let at = |name: &str| dir.path().join(name);
    let one = || npy("|u1", "1, 1", &[3]);
    write(
        &dir,
        "a.npz",
        zip_of(&[("x.npy", one()), ("label.npy", npy("|u1", "1,", &[2])), ("extra.npy", one())]),
    );
    let spec = DatasetSpec::for_file(&at("a.npz")).unwrap();
    assert_eq!(load(&spec, &root(&dir), None).unwrap().labels.classes(), [2]);
    write(&dir, "b.npz", zip_of(&[("images.npy", one())]));
    let spec = DatasetSpec::for_file(&at("b.npz")).unwrap();
    assert_eq!((spec.declares_labels(), load(&spec, &root(&dir), None).unwrap().examples()), (false, 1));
    write(&dir, "c.npz", zip_of(&[("p.npy", one()), ("q.npy", one())]));
    let error = DatasetSpec::for_file(&at("c.npz")).unwrap_err().to_string();
    assert!(error.contains("which of its arrays is the input (p, q)"), "{error}");
    write(&dir, "t.csv", "name,a,label\nfirst,1,4\n");
    let dataset = load(&DatasetSpec::for_file(&at("t.csv")).unwrap(), &root(&dir), None).unwrap();
    assert_eq!((dataset.labels, dataset.names), (Labels::Classes(vec![4]), vec!["first".to_owned()]));
    let error = |path: &Path| DatasetSpec::for_file(path).unwrap_err().to_string();
    assert!(error(dir.path()).contains("describe them in a suite"));
    assert!(error(&at("x.jpg")).contains("give .npz, .npy or .csv"));
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let spec = || {
        let audio = AudioSpec {
            path: "data/fsdd_540.zip".into(),
            labels: None,
            sample_rate: 8000,
            clip: Some(Clip { samples: 8000, pad: PadEnd::Both, cut: ClipEnd::End }),
        };
        DatasetSpec { audio: Some(audio), ..DatasetSpec::default() }
    };
    let root = Root::Folder(env!("CARGO_MANIFEST_DIR").into());
    assert_eq!(load(&spec(), &root, Some(50)).unwrap(), load(&spec(), &root, Some(50)).unwrap());
}

/// An array of f32 with this shape.
fn floats(shape: &str, values: &[f32]) -> Vec<u8> {
    npy("<f4", shape, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
}

#[test]
fn labels_are_what_the_task_needs() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, "x.npy", npy("|u1", "2, 1", &[1, 2]));
    let of = |labels: Vec<u8>, task: Task| {
        write(&dir, "y.npy", labels);
        write(&dir, "g.npy", npy("|u1", "2,", &[7, 7]));
        let (y, g) = (Some("y.npy".into()), Some("g.npy".into()));
        let npy = NpySpec { inputs: vec!["x.npy".into()], labels: y, names: None, groups: g };
        let spec = DatasetSpec { npy: Some(npy), ..DatasetSpec::default() };
        datasets::load(&spec, &root(&dir), None, &task).map_err(|e| e.to_string())
    };
    let regression = Task::Regression { value: 0 };
    let values = of(floats("2,", &[0.5, -1.0]), regression.clone()).unwrap();
    assert_eq!((values.labels, values.groups), (Labels::Values(vec![0.5, -1.0]), vec!["7".to_owned(); 2]));
    let error = of(floats("2,", &[0.5, f32::NAN]), regression).unwrap_err();
    assert!(error.contains("y.npy: row 1: the label is not a finite number"), "{error}");
    let detection: Task = usual("detection");
    let boxes = of(floats("2, 1, 5", &[1., 0., 0., 2., 2., -1., 0., 0., 0., 0.]), detection.clone()).unwrap();
    let Labels::Arrays(arrays) = boxes.labels else { panic!() };
    assert_eq!((arrays.elements, &arrays.values.unwrap()[..6]), (6, [1., 0., 0., 2., 2., 0.].as_slice()));
    for (values, words) in [
        ([1., 0., 0., -2., 2.], "row 0: box 0 has bounds"),
        ([0.5, 0., 0., 2., 2.], "row 0: box 0 has the class 0.5"),
        ([1., f32::NAN, 0., 2., 2.], "row 0: box 0 has bounds"),
    ] {
        let error = of(floats("2, 1, 5", &[values, values].concat()), detection.clone()).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    assert!(of(floats("2, 4", &[0.0; 8]), detection).unwrap_err().contains("holds no boxes"));
    let error = of(floats("2, 1", &[0.0, 1.5]), usual("segmentation")).unwrap_err();
    assert!(error.contains("row 1: a pixel has the class 1.5"), "{error}");
    let error = of(floats("2, 1", &[0.0, f32::INFINITY]), usual("reconstruction")).unwrap_err();
    assert!(error.contains("row 1: number 0 is not finite"), "{error}");
    assert!(of(floats("3,", &[0.0; 3]), usual("regression")).unwrap_err().contains("has 3 rows"));
}

/// A task as it is without a word about its score.
fn usual(name: &str) -> Task {
    let channels = protocol::Channels::default();
    let corners = protocol::Corners::default();
    match name {
        "detection" => Task::Detection { boxes: 0, classes: 1, scores: 2, count: None, corners },
        "segmentation" => Task::Segmentation { ignored: None, channels },
        "reconstruction" => Task::Reconstruction { peak: 1.0 },
        _ => Task::Regression { value: 0 },
    }
}

#[test]
fn tables_hold_numbers_and_texts() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, "t.csv", "a,y,who\n1,0.5,me\n2,-3,you\n");
    let csv = CsvSpec {
        path: "t.csv".into(),
        inputs: vec![],
        label: Some("y".into()),
        name: None,
        group: Some("who".into()),
    };
    let spec = DatasetSpec { csv: Some(csv), ..DatasetSpec::default() };
    let of = |name: &str| datasets::load(&spec, &root(&dir), None, &usual(name));
    let dataset = of("regression").unwrap();
    assert_eq!(
        (dataset.labels, dataset.groups),
        (Labels::Values(vec![0.5, -3.0]), vec!["me".to_owned(), "you".to_owned()])
    );
    assert_eq!(dataset.inputs[0].shape, [2, 1]);
    assert!(of("detection").unwrap_err().to_string().contains("this task needs arrays as labels"));
}
