//! Examples for a model's inputs: from files that are hashed before use, or from a seed. Knows nothing
//! about labels or pre-processing.

use crate::{convert::to_input, failure::Failure};
use protocol::{Artifact, DType, FailKind, Inputs, Rng, Sha256Hex, TensorFile, TensorInfo};
use runtimes::Session;
use std::{
    fs::{self, File},
    io::ErrorKind,
    os::unix::fs::FileExt,
};

/// Random integers are below this: small enough to index any embedding or class.
const RANDOM_INTEGERS: f32 = 10.0;

/// Opens a file and reads it through once, to be sure that it is the one the host means. What runs later
/// reads it again, out of the page cache.
pub(crate) fn open_verified(artifact: &Artifact) -> Result<(File, u64), Failure> {
    let path = &artifact.path;
    let failed = |e: std::io::Error| match e.kind() {
        ErrorKind::NotFound => {
            let message = format!("{}: is missing; push it to the device again", path.display());
            Failure::new(FailKind::HashMismatch, message)
        }
        _ => Failure::file(path, &e),
    };
    // A pipe or a device would block or never end.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Failure::new(FailKind::Io, format!("{}: not a regular file", path.display())));
    }
    let mut file = File::open(path).map_err(failed)?;
    let (hash, bytes) = Sha256Hex::of_reader(&mut file).map_err(failed)?;
    if hash == artifact.sha256 {
        return Ok((file, bytes));
    }
    let message =
        format!("{}: hashes to {hash}, not {}; push it to the device again", path.display(), artifact.sha256);
    Err(Failure::new(FailKind::HashMismatch, message))
}

/// Where the examples of a trial come from.
pub(crate) struct Source {
    kind: Kind,
    examples: u64,
    /// Bytes of one example, as in the file and as the model takes them.
    raw: Vec<u8>,
    ready: Vec<u8>,
}

enum Kind {
    Files(Vec<(TensorFile, File)>),
    Random(u64),
}

impl Source {
    /// Opens and verifies the files.
    pub(crate) fn open(inputs: &Inputs) -> Result<Self, Failure> {
        let examples = inputs.examples().map_err(Failure::inputs)?;
        let kind = match inputs {
            Inputs::Random { seed, .. } => Kind::Random(*seed),
            Inputs::Files { files } => {
                Kind::Files(files.iter().map(open_tensor).collect::<Result<Vec<_>, _>>()?)
            }
        };
        Ok(Self { kind, examples, raw: Vec::new(), ready: Vec::new() })
    }

    /// Number of examples.
    pub(crate) fn examples(&self) -> u64 {
        self.examples
    }

    /// Hashes of the files, in the model's order.
    pub(crate) fn hashes(&self) -> Vec<Sha256Hex> {
        match &self.kind {
            Kind::Files(files) => files.iter().map(|(spec, _)| spec.file.sha256.clone()).collect(),
            Kind::Random(_) => Vec::new(),
        }
    }

    /// The shapes to compile the model for: `None` where the model leaves nothing open.
    pub(crate) fn shapes(&self, inputs: &[TensorInfo]) -> Result<Option<Vec<Vec<u64>>>, Failure> {
        let Kind::Files(files) = &self.kind else { return Ok(None) };
        if files.len() != inputs.len() {
            return Err(Failure::inputs(format!(
                "the model has {} inputs ({}), the host gave {} files",
                inputs.len(),
                inputs.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(", "),
                files.len()
            )));
        }
        if inputs.iter().all(|i| i.shape.iter().all(Option::is_some)) {
            return Ok(None);
        }
        let resolve = |(input, (spec, _)): (&TensorInfo, &(TensorFile, File))| {
            let example = spec.shape.get(1..).unwrap_or_default();
            resolve_shape(&input.shape, example).ok_or_else(|| {
                let wanted = shape_text(&input.shape);
                Failure::inputs(format!("input {:?} is {wanted}, an example is {example:?}", input.name))
            })
        };
        inputs.iter().zip(files).map(resolve).collect::<Result<Vec<_>, _>>().map(Some)
    }

    /// Copies an example into the session.
    pub(crate) fn feed(&mut self, session: &mut dyn Session, example: u64) -> Result<(), Failure> {
        for index in 0..session.inputs().len() {
            let info = session.inputs().get(index).cloned();
            let info = info.ok_or_else(|| Failure::inputs("the model changed its inputs"))?;
            self.prepare(&info, index, example)?;
            session.set_input(index, &self.ready)?;
        }
        Ok(())
    }

    fn prepare(&mut self, info: &TensorInfo, index: usize, example: u64) -> Result<(), Failure> {
        let count = elements(info)?;
        self.ready.clear();
        let place = |text: String| Failure::inputs(format!("input {:?}: {text}", info.name));
        let Kind::Files(files) = &self.kind else {
            return self.random(info, index, example, count).map_err(place);
        };
        let (spec, file) = files.get(index).ok_or_else(|| place("no file for it".to_owned()))?;
        let given = spec.elements().map_err(Failure::inputs)?;
        if given != count {
            let takes = shape_text(&info.shape);
            return Err(place(format!("takes {takes}, an example in the file has {given} elements")));
        }
        let size = given as usize * spec.dtype.size();
        self.raw.resize(size, 0);
        let at = (size as u64).saturating_mul(example);
        file.read_exact_at(&mut self.raw, at).map_err(|e| Failure::file(&spec.file.path, &e))?;
        let convert = to_input(spec.dtype, &self.raw, info, &mut self.ready);
        convert.map_err(|text| place(format!("example {example}: {text}")))
    }

    /// The stream depends on seed, example and input alone, and every element takes one draw: the same
    /// values for every element type.
    fn random(&mut self, info: &TensorInfo, index: usize, example: u64, count: u64) -> Result<(), String> {
        let Kind::Random(seed) = self.kind else { return Ok(()) };
        let mut rng = Rng::for_stream(seed, &[example, index as u64]);
        let float = matches!(info.dtype, DType::F32 | DType::F64 | DType::F16 | DType::BF16);
        self.raw.clear();
        if float || info.quantization.is_some() {
            (0..count).for_each(|_| self.raw.extend_from_slice(&rng.unit_f32().to_le_bytes()));
            return to_input(DType::F32, &self.raw, info, &mut self.ready);
        }
        if info.dtype == DType::Bool {
            (0..count).for_each(|_| self.ready.push(u8::from(rng.unit_f32() >= 0.5)));
            return Ok(());
        }
        (0..count).for_each(|_| self.raw.push((rng.unit_f32() * RANDOM_INTEGERS) as u8));
        to_input(DType::U8, &self.raw, info, &mut self.ready)
    }
}

fn open_tensor(spec: &TensorFile) -> Result<(TensorFile, File), Failure> {
    let (file, bytes) = open_verified(&spec.file)?;
    let elements = spec.elements().map_err(Failure::inputs)?;
    let examples = spec.shape.first().copied().unwrap_or_default();
    let expected = elements.checked_mul(examples).and_then(|n| n.checked_mul(spec.dtype.size() as u64));
    if expected == Some(bytes) {
        return Ok((spec.clone(), file));
    }
    let path = spec.file.path.display();
    Err(Failure::inputs(format!("{path}: {bytes} bytes are not {:?} of {}", spec.shape, spec.dtype)))
}

/// Elements of an input that the session has fixed.
fn elements(info: &TensorInfo) -> Result<u64, Failure> {
    let product = info.shape.iter().try_fold(1u64, |all, d| all.checked_mul((*d)?));
    // 4 GiB of the widest type: no device has a model with such an input.
    product.filter(|n| *n <= 1 << 29).ok_or_else(|| {
        Failure::inputs(format!("input {:?} is {}: open or too large", info.name, shape_text(&info.shape)))
    })
}

fn shape_text(shape: &[Option<u64>]) -> String {
    let dims: Vec<String> = shape.iter().map(|d| d.map_or("?".to_owned(), |n| n.to_string())).collect();
    format!("[{}]", dims.join(", "))
}

/// Fills the open dimensions of a model's input so that it takes one example.
///
/// The example's own dimensions are taken where they line up, with a batch of 1 in front or without;
/// otherwise an open first dimension becomes 1 and a single other one whatever the number of elements asks
/// for.
fn resolve_shape(model: &[Option<u64>], example: &[u64]) -> Option<Vec<u64>> {
    let batched: Vec<u64> = std::iter::once(1).chain(example.iter().copied()).collect();
    let fits = |shape: &[u64]| {
        shape.len() == model.len() && model.iter().zip(shape).all(|(m, s)| m.is_none_or(|m| m == *s))
    };
    if let Some(shape) = [batched.as_slice(), example].into_iter().find(|shape| fits(shape)) {
        return Some(shape.to_vec());
    }
    let mut shape: Vec<Option<u64>> = model.to_vec();
    if let Some(first @ None) = shape.first_mut() {
        *first = Some(1);
    }
    let open = shape.iter().filter(|d| d.is_none()).count();
    let known = shape.iter().flatten().try_fold(1u64, |all, d| all.checked_mul(*d))?;
    let total = example.iter().try_fold(1u64, |all, d| all.checked_mul(*d))?;
    if open > 1 || known == 0 || !total.is_multiple_of(known) || (open == 0 && known != total) {
        return None;
    }
    Some(shape.into_iter().map(|d| d.unwrap_or(total / known)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Quantization;

    #[test]
    fn open_dimensions_follow_the_example() {
        let (a, b) = (Some(28), None);
        assert_eq!(resolve_shape(&[b, a, a, Some(1)], &[28, 28, 1]), Some(vec![1, 28, 28, 1]));
        assert_eq!(resolve_shape(&[b, b], &[17]), Some(vec![1, 17]));
        assert_eq!(resolve_shape(&[b, a, a], &[784]), Some(vec![1, 28, 28]));
        assert_eq!(resolve_shape(&[b, b, a], &[84]), Some(vec![1, 3, 28]));
        assert_eq!(resolve_shape(&[b], &[9]), Some(vec![9]));
        assert_eq!(resolve_shape(&[Some(4), b], &[4, 2]), Some(vec![4, 2]));
        assert_eq!(resolve_shape(&[], &[]), Some(vec![]));
        for (model, example) in [
            (vec![b, a], vec![27]),
            (vec![b, b, b], vec![6]),
            (vec![Some(0), b], vec![3]),
            (vec![a], vec![1]),
        ] {
            assert_eq!(resolve_shape(&model, &example), None, "{model:?} {example:?}");
        }
    }

    fn info(dtype: DType, quantization: Option<Quantization>) -> TensorInfo {
        TensorInfo { name: "x".into(), dtype, shape: vec![Some(1), Some(500)], quantization }
    }

    fn random(info: &TensorInfo, seed: u64, example: u64) -> Vec<u8> {
        let mut source = Source::open(&Inputs::Random { seed, examples: 9 }).unwrap();
        source.prepare(info, 0, example).unwrap();
        source.ready
    }

    #[test]
    fn random_values_are_the_same_for_every_variant() {
        let floats = random(&info(DType::F32, None), 5, 2);
        assert_eq!(floats, random(&info(DType::F32, None), 5, 2));
        assert_ne!(floats, random(&info(DType::F32, None), 5, 3));
        assert_ne!(floats, random(&info(DType::F32, None), 6, 2));
        let scale = 1.0 / 255.0;
        let quantised =
            info(DType::U8, Some(Quantization { scale: vec![scale], zero_point: vec![0], axis: 0 }));
        for (f, q) in floats.as_chunks::<4>().0.iter().zip(random(&quantised, 5, 2)) {
            assert!((f32::from_le_bytes(*f) - f32::from(q) * scale).abs() <= scale / 2.0 + 1e-6);
        }
        let narrow = random(&info(DType::U8, None), 5, 2);
        let wide = random(&info(DType::I64, None), 5, 2);
        assert!(narrow.iter().all(|x| *x < 10) && narrow.contains(&9) && narrow.contains(&0));
        assert!(
            narrow.iter().zip(wide.as_chunks::<8>().0).all(|(n, w)| i64::from(*n) == i64::from_le_bytes(*w))
        );
        assert!(random(&info(DType::Bool, None), 5, 2).iter().all(|b| *b < 2));
    }

    #[test]
    fn files_are_verified_before_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, [1, 2, 3, 4, 5, 6]).unwrap();
        let artifact = Artifact { path: path.clone(), sha256: Sha256Hex::of_bytes(&[1, 2, 3, 4, 5, 6]) };
        assert_eq!(open_verified(&artifact).unwrap().1, 6);
        let kind = |artifact: &Artifact| open_verified(artifact).unwrap_err().kind;
        let other = Artifact { sha256: Sha256Hex::of_bytes(b"other"), ..artifact.clone() };
        assert_eq!(kind(&other), FailKind::HashMismatch);
        assert_eq!(
            kind(&Artifact { path: folder.path().join("none"), ..artifact.clone() }),
            FailKind::HashMismatch
        );
        assert_eq!(kind(&Artifact { path: folder.path().into(), ..artifact.clone() }), FailKind::Io);
        let tensor = |shape: Vec<u64>| Inputs::Files {
            files: vec![TensorFile { file: artifact.clone(), dtype: DType::U8, shape }],
        };
        assert_eq!(Source::open(&tensor(vec![2, 3])).unwrap().examples(), 2);
        let failure = Source::open(&tensor(vec![2, 4])).map(|_| ()).unwrap_err();
        assert_eq!(failure.kind, FailKind::InputMismatch);
    }
}
