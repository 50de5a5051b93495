//! Damaged and hostile model files, made from real ones by seeded mutations: an import may refuse them, and
//! what it accepts must compile or be refused, and run. Nothing may panic, hang, or take much memory: the
//! address space of this process is limited, so an allocation out of bounds ends the test.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may stop at what should not happen, and says what it left out"
)]

mod live;
mod protobuf;

use live::{Fate, live};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Cases per kind of file in a usual run; `HOSTILE_CASES` asks for more.
const CASES: u64 = 4000;
/// A different run of cases for every number; `HOSTILE_SEED` sets it.
const SEED: u64 = 2026;
/// Address space of the process: the largest tensor that a file may ask for is 1 GB.
const MEMORY_BYTES: u64 = 6 << 30;
/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// A number that tends to break things.
    fn nasty(&mut self) -> u32 {
        let known =
            [0, 1, 2, 3, 4, 7, 8, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, u32::MAX];
        match self.below(3) {
            0 => self.next() as u32,
            1 => 1 << self.below(32),
            _ => known[self.below(known.len())],
        }
    }
}

/// One file with one to four things wrong with it.
fn mutate(random: &mut Random, files: &[Vec<u8>]) -> Vec<u8> {
    let mut file = files[random.below(files.len())].clone();
    for _ in 0..=random.below(4) {
        if file.is_empty() {
            break;
        }
        // Structure is at the ends of the file: weights fill the middle.
        let edge = 2048.min(file.len());
        let at = match random.below(3) {
            0 => random.below(edge),
            1 => file.len() - 1 - random.below(edge),
            _ => random.below(file.len()),
        };
        match random.below(8) {
            0 | 1 => file[at] ^= 1 << random.below(8),
            2 => file[at] = random.nasty() as u8,
            3 | 4 => {
                let bytes = random.nasty().to_le_bytes();
                let n = bytes.len().min(file.len() - at);
                file[at..at + n].copy_from_slice(&bytes[..n]);
            }
            5 => file.truncate(at),
            6 => {
                let other = &files[random.below(files.len())];
                let from = random.below(other.len());
                let n = random.below(64).min(other.len() - from).min(file.len() - at);
                file[at..at + n].copy_from_slice(&other[from..from + n]);
            }
            _ => {
                let n = random.below(64).min(file.len() - at);
                let copy = file[at..at + n].to_vec();
                file.splice(at..at, copy);
            }
        }
    }
    file
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |v| v.parse().unwrap())
}

fn attack(files: &[Vec<u8>], mutate: fn(&mut Random, &[Vec<u8>]) -> Vec<u8>) {
    let limit = Rlimit { current: Some(MEMORY_BYTES), ..getrlimit(Resource::As) };
    setrlimit(Resource::As, limit).unwrap();
    assert!(files.iter().all(|f| live(f.clone()) == Fate::Ran), "the files themselves must run");
    let (seed, cases) = (number("HOSTILE_SEED", SEED), number("HOSTILE_CASES", CASES));
    let mut fates = [0; 3];
    for case in 0..cases {
        let mut random = Random(seed.wrapping_mul(1 << 32).wrapping_add(case));
        let file = mutate(&mut random, files);
        let fate = catch_unwind(AssertUnwindSafe(|| live(file.clone())));
        let Ok(fate) = fate else {
            let path = std::env::temp_dir().join(format!("hostile-{seed}-{case}"));
            fs::write(&path, &file).unwrap();
            panic!("HOSTILE_SEED={seed} case {case} panics; the file is {}", path.display());
        };
        fates[fate as usize] += 1;
    }
    println!("{cases} files: {} refused, {} imported and no more, {} ran", fates[0], fates[1], fates[2]);
    let balanced = fates[0] > cases / 100 && fates[2] > cases / 100;
    assert!(balanced, "mutations are too weak or too strong: {fates:?}");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn shipped(extension: &str) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    for family in ["fashion_dscnn", "fsdd_dscnn"] {
        let mut paths: Vec<_> = fs::read_dir(root().join("suites/models").join(family))
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        paths.sort();
        let of_kind = paths.iter().filter(|p| p.extension().is_some_and(|e| e == extension));
        files.extend(of_kind.map(|p| fs::read(p).unwrap()));
    }
    assert!(files.len() > 4);
    files
}

#[test]
fn tflite_models() {
    attack(&shipped("tflite"), mutate);
}

fn operators(name: &str) -> Vec<Vec<u8>> {
    let file = fs::File::open(root().join("runtimes/tests/golden").join(name)).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    let mut files = Vec::new();
    for index in 0..archive.len() {
        let mut bytes = Vec::new();
        archive.by_index(index).unwrap().read_to_end(&mut bytes).unwrap();
        files.push(bytes);
    }
    files.retain(|f| live(f.clone()) == Fate::Ran);
    assert!(files.len() > 200);
    files
}

#[test]
fn tflite_operators() {
    attack(&operators("ops.zip"), mutate);
}

#[test]
fn onnx_models() {
    attack(&shipped("onnx"), mutate);
}

#[test]
fn onnx_operators() {
    attack(&operators("onnx_ops.zip"), mutate);
}

#[test]
fn onnx_operators_that_say_something_else() {
    attack(&operators("onnx_ops.zip"), protobuf::mutate);
}

#[test]
fn onnx_models_that_say_something_else() {
    attack(&shipped("onnx"), protobuf::mutate);
}

/// A field of a protobuf message that holds bytes.
fn field(number: u8, contents: &[u8]) -> Vec<u8> {
    let mut length = contents.len();
    let mut message = vec![number << 3 | 2];
    while length >= 0x80 {
        message.push(length as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend(contents);
    message
}

#[test]
fn onnx_graphs_in_graphs() {
    let mut graph = Vec::new();
    for depth in 0..2000 {
        // GraphProto.node, NodeProto.attribute, AttributeProto.g
        let attribute = [field(1, b"then_branch"), field(6, &graph)].concat();
        let node = [field(1, b"c"), field(2, b"y"), field(4, b"If"), field(5, &attribute)].concat();
        graph = field(1, &node);
        if depth % 100 == 0 {
            assert_eq!(live(field(7, &graph)), Fate::Refused);
        }
    }
}
