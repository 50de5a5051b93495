//! Models cut so that every tensor that an operator computes is an output: what LiteRT with XNNPACK computes inside a
//! model, our own engine computes too, integers to the last bit.
//!
//! Besides the shipped models and the zoo, those in the folder that `BENCH_TEST_MODELS` names, and below it.

use crate::libraries::found;
use crate::models;
use crate::worker::{Answer, Task, run};
use protocol::DType;
use std::collections::BTreeSet;
use std::{env, fs, path::Path, path::PathBuf};

/// Largest difference of a float, relative to the largest of its tensor.
const FLOATS: f64 = 1e-5;
/// The same where weights alone are int8: a last bit can decide how an activation is quantised.
const DYNAMIC: f64 = 5e-2;

/// Answers of more bytes take too long on their way between the processes.
const MOST_BYTES: usize = 48 << 20;

/// Numbers of a flatbuffer, and where its fields are.
struct File(Vec<u8>);

impl File {
    fn u32(&self, at: usize) -> usize {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap()) as usize
    }

    fn u16(&self, at: usize) -> usize {
        u16::from_le_bytes([self.0[at], self.0[at + 1]]).into()
    }

    /// Where the field of a table is noted in its description, and where it is, when it is there.
    fn field(&self, table: usize, slot: usize) -> Option<(usize, usize)> {
        let description = table.wrapping_sub(self.u32(table) as i32 as usize);
        let note = description + 4 + 2 * slot;
        let there = 4 + 2 * slot < self.u16(description) && self.u16(note) != 0;
        there.then(|| (note, table + self.u16(note)))
    }

    fn target(&self, at: usize) -> usize {
        at + self.u32(at)
    }

    /// What the numbers of a list are.
    fn list(&self, table: usize, slot: usize) -> Vec<usize> {
        let Some((_, at)) = self.field(table, slot) else { return Vec::new() };
        let at = self.target(at);
        (0..self.u32(at)).map(|i| self.u32(at + 4 + 4 * i)).collect()
    }

    fn tables(&self, table: usize, slot: usize) -> Vec<usize> {
        let Some((_, at)) = self.field(table, slot) else { return Vec::new() };
        let at = self.target(at);
        (0..self.u32(at)).map(|i| self.target(at + 4 + 4 * i)).collect()
    }

    fn byte(&self, table: usize, slot: usize) -> u8 {
        self.field(table, slot).map_or(0, |(_, at)| self.0[at])
    }

    /// Bytes of a tensor.
    fn bytes(&self, tensor: usize) -> usize {
        let size = match self.byte(tensor, 1) {
            3 | 6 | 9 => 1,
            7 => 2,
            4 => 8,
            _ => 4,
        };
        self.list(tensor, 0).into_iter().product::<usize>() * size
    }

    /// The same model with every tensor that depends on an input as an output; `None` when they are too large.
    fn cut(mut self) -> Option<Vec<u8>> {
        let model = self.u32(0);
        let graph = self.tables(model, 2)[0];
        let tensors = self.tables(graph, 0);
        let mut known: BTreeSet<usize> = self.list(graph, 1).into_iter().collect();
        known.extend((0..tensors.len()).filter(|t| self.byte(tensors[*t], 5) != 0));
        let mut outputs = self.list(graph, 2);
        for operator in self.tables(graph, 3) {
            if self.list(operator, 1).iter().any(|t| known.contains(t)) {
                let results = self.list(operator, 2);
                known.extend(&results);
                // f32, i32, u8, i64, bool, i16, i8
                let plain = |t: &usize| [0, 2, 3, 4, 6, 7, 9].contains(&self.byte(tensors[*t], 1));
                outputs.extend(results.into_iter().filter(plain));
            }
        }
        let mut seen = BTreeSet::new();
        outputs.retain(|t| seen.insert(*t));
        if outputs.iter().map(|t| self.bytes(tensors[*t])).sum::<usize>() > MOST_BYTES {
            return None;
        }
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        let (_, at) = self.field(graph, 2).unwrap();
        let distance = (self.0.len() - at) as u32;
        self.0[at..at + 4].copy_from_slice(&distance.to_le_bytes());
        for number in std::iter::once(outputs.len()).chain(outputs) {
            self.0.extend((number as u32).to_le_bytes());
        }
        // Signatures name outputs of their own.
        if let Some((note, _)) = self.field(model, 7) {
            self.0[note..note + 2].fill(0);
        }
        Some(self.0)
    }
}

fn below(folder: &Path, found: &mut Vec<(String, PathBuf)>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            below(&path, found);
        } else if path.extension().is_some_and(|e| e == "tflite") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            found.push((format!("BENCH_TEST_MODELS/{name}"), path));
        }
    }
}

/// What is wrong with our answer.
fn wrong(ours: &Answer, theirs: &Answer) -> Vec<String> {
    let mut wrong = Vec::new();
    let dynamic = ["dyn", "hybrid"].iter().any(|word| ours.model.contains(word));
    for (i, info) in theirs.outputs.iter().enumerate() {
        let (a, b) = (&ours.bytes[i], &theirs.bytes[i]);
        let what =
            || format!("{}: tensor {i} {:?}", ours.model, info.name.chars().take(60).collect::<String>());
        if info.dtype != DType::F32 {
            let size = info.dtype.size();
            let differ = a.chunks(size).zip(b.chunks(size)).filter(|(a, b)| a != b).count();
            if differ > 0 || a.len() != b.len() {
                wrong.push(format!("{}: {differ} of {} differ", what(), b.len() / size));
            }
            continue;
        }
        let reals = |bytes: &[u8]| -> Vec<f64> {
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect()
        };
        let (a, b) = (reals(a), reals(b));
        let largest = b.iter().filter(|v| v.is_finite()).fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
        let apart = a.iter().zip(&b).filter(|(a, b)| a != b && !(a.is_nan() && b.is_nan()));
        let apart = apart.fold(0f64, |m, (a, b)| m.max((a - b).abs() / largest));
        let most = if dynamic { DYNAMIC } else { FLOATS };
        if apart > most || apart.is_nan() {
            wrong.push(format!("{}: apart by {apart:.1e}", what()));
        }
    }
    wrong
}

#[test]
fn what_is_inside_is_the_same() {
    let test = "what_is_inside_is_the_same";
    let Some(library) = found(test, "litert").pop() else { return };
    let mut originals = models::all(".tflite");
    match env::var_os("BENCH_TEST_MODELS") {
        Some(folder) => below(Path::new(&folder), &mut originals),
        None => println!("left out: {test}: further models, as BENCH_TEST_MODELS names no folder"),
    }
    let folder = tempfile::tempdir().unwrap();
    let mut cut = Vec::new();
    for (number, (name, path)) in originals.iter().enumerate() {
        let to = folder.path().join(format!("{number}.tflite"));
        let Some(file) = File(fs::read(path).unwrap()).cut() else {
            println!("left out, its tensors are too large: {name}");
            continue;
        };
        fs::write(&to, file).unwrap();
        cut.push((format!("{number} {name}"), to));
    }
    let task = |runtime: &str, backend: &str, library| Task {
        runtime: runtime.to_owned(),
        backend: backend.to_owned(),
        library,
        models: cut.clone(),
        ..Task::default()
    };
    let theirs = run(&task("litert", "xnnpack", Some(library.path)));
    let ours = run(&task("builtin", "cpu", None));
    let (mut tensors, mut elements, mut all_wrong) = (0, 0, Vec::new());
    for (name, theirs) in &theirs {
        if let Some(error) = &theirs.error {
            println!("left out, LiteRT refuses it: {name}: {}", error.lines().next().unwrap_or_default());
            continue;
        }
        let ours = &ours[name];
        if let Some(error) = &ours.error {
            all_wrong.push(format!("{name}: {error}"));
            continue;
        }
        tensors += theirs.outputs.len();
        elements +=
            theirs.outputs.iter().zip(&theirs.bytes).map(|(o, b)| b.len() / o.dtype.size()).sum::<usize>();
        all_wrong.extend(wrong(ours, theirs));
    }
    println!("{} models, {tensors} tensors, {elements} elements", originals.len());
    assert!(all_wrong.is_empty(), "{all_wrong:#?}");
    assert!(tensors > originals.len());
}
