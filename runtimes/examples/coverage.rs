//! How much of a set of ONNX models the built-in engine runs, and whether its answers are right. Every folder of the
//! set holds a `model.onnx` and folders `test_data_set_*` with `input_N.pb` and `output_N.pb` (`TensorProto`), as the
//! tests of ONNX's operators do (`onnx/backend/test/data/node` of the package `onnx` up to 1.17); `tests/golden/models.py`
//! makes such a set of any models. The tables are Markdown; [COVERAGE.md](../COVERAGE.md) is made of them.
//!
//! ```text
//! coverage nodes FOLDER     counts by kind of operand, and why tests fail
//! coverage models FOLDER    a line per model
//! ```

use protocol::{DType, ModelFacts};
use runtimes::builtin::import::tensor_of_file;
use runtimes::builtin::tensor::Tensor;
use runtimes::{CompileOptions, Error, Result};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Tolerances of ONNX's own runner of these tests, relative to the expected number, and absolute.
const NODE_TOLERANCE: (f64, f64) = (1e-3, 1e-7);
/// Largest difference of a model's output, relative to the largest number of that output, and absolute.
const MODEL_TOLERANCE: (f64, f64) = (1e-4, 1e-6);
/// Why tests fail that will go on to fail, by the beginning of their names. What ONNX Runtime gives was looked up with 1.32.
const REASONS: &[(&str, &str)] = &[
    ("test_averagepool_3d_dilations_large", "ONNX Runtime differs from the expected numbers as much"),
    ("test_bernoulli", "random numbers"),
    ("test_cast_FLOAT_to_BFLOAT16", "the file of expected numbers calls them u16"),
    ("test_castlike_FLOAT_to_BFLOAT16", "the file of expected numbers calls them u16"),
    ("test_dft_inverse", "the expected numbers are of a transform in f32, and not zero where zero is right"),
    ("test_maxunpool_export_with_output_shape", "ONNX Runtime gives what we give"),
    ("test_qlinearmatmul_", "expected integers wrap around; ONNX Runtime saturates, as we do"),
    ("test_resize_downsample_scales_", "ONNX Runtime gives what we give: lengths are whole numbers"),
    ("test_training_dropout", "random numbers"),
];

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["nodes", folder] => tests(Path::new(folder)).map(|tests| nodes(&tests)),
        ["models", folder] => tests(Path::new(folder)).map(|tests| models(&tests)),
        _ => Err(Error::InputMismatch("see the top of the source for the arguments".to_owned())),
    };
    let (mut to, text, code): (Box<dyn std::io::Write>, _, _) = match done {
        Ok(text) => (Box::new(std::io::stdout()), text, std::process::ExitCode::SUCCESS),
        Err(error) => (Box::new(std::io::stderr()), format!("{error}\n"), std::process::ExitCode::FAILURE),
    };
    if to.write_all(text.as_bytes()).is_err() {
        std::process::abort();
    }
    code
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let at = |source| Error::Io { path: folder.to_owned(), source };
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(at)? {
        all.push(entry.map_err(at)?.path());
    }
    all.sort();
    Ok(all)
}

fn tests(folder: &Path) -> Result<Vec<PathBuf>> {
    let tests: Vec<PathBuf> =
        entries(folder)?.into_iter().filter(|path| path.join("model.onnx").is_file()).collect();
    if tests.is_empty() {
        return Err(Error::InputMismatch(format!("{}: no folder with a model.onnx", folder.display())));
    }
    Ok(tests)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// `KIND_0.pb`, `KIND_1.pb`, ... of a folder, as many as there are.
fn tensors(folder: &Path, kind: &str) -> Result<Vec<Tensor>> {
    let mut all = Vec::new();
    loop {
        let path = folder.join(format!("{kind}_{}.pb", all.len()));
        if !path.is_file() {
            return Ok(all);
        }
        let bytes = std::fs::read(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        all.push(tensor_of_file(&bytes).map_err(|e| e.at(&name(&path)))?);
    }
}

/// An output, and what it ought to be.
type Pair = (Tensor, Tensor);

/// Runs a model on its inputs of every data set.
fn run(test: &Path) -> Result<Vec<Pair>> {
    let model = runtimes::runtime("builtin")?.load(None)?.open(&test.join("model.onnx"))?;
    let mut pairs = Vec::new();
    let sets = entries(test)?.into_iter().filter(|path| name(path).starts_with("test_data_set_"));
    for set in sets {
        let (inputs, expected) = (tensors(&set, "input")?, tensors(&set, "output")?);
        let shape = |tensor: &Tensor| tensor.shape().iter().map(|d| *d as u64).collect();
        let mut options = CompileOptions::new("cpu");
        options.input_shapes = Some(inputs.iter().map(shape).collect());
        let mut session = model.compile(&options)?;
        for (index, tensor) in inputs.iter().enumerate() {
            session.set_input(index, tensor.bytes())?;
        }
        session.invoke()?;
        if session.outputs().len() != expected.len() {
            let (got, wanted) = (session.outputs().len(), expected.len());
            return Err(Error::Runtime(format!("{got} outputs, not {wanted}")));
        }
        for (index, wanted) in expected.into_iter().enumerate() {
            let info = &session.outputs()[index];
            let shape: Vec<usize> = info.shape.iter().map(|d| d.unwrap_or(0) as usize).collect();
            let (dtype, expected) = (info.dtype, (wanted.dtype(), wanted.shape()));
            if (dtype, shape.as_slice()) != expected {
                return Err(Error::Runtime(format!("output {index} is {dtype} {shape:?}, not {expected:?}")));
            }
            pairs.push((Tensor::from_bytes(dtype, &shape, session.output(index)?)?, wanted));
        }
    }
    if pairs.is_empty() { Err(Error::InputMismatch("no data sets".to_owned())) } else { Ok(pairs) }
}

/// As [`run`]; a panic is an error that says so.
fn survived(test: &Path) -> Result<Vec<Pair>> {
    let run = catch_unwind(AssertUnwindSafe(|| run(test)));
    run.unwrap_or_else(|_| Err(Error::Runtime("PANIC".to_owned())))
}

/// Absolute differences beside what was expected; equal infinities and NaNs do not differ.
fn differences(pair: &Pair) -> Result<Vec<(f64, f64)>> {
    let (got, expected) = (pair.0.to_f64()?, pair.1.to_f64()?);
    let difference = |(a, b): (&f64, &f64)| {
        let same = a == b || a.is_nan() && b.is_nan();
        let difference = (a - b).abs();
        (
            if same {
                0.0
            } else if difference.is_nan() {
                f64::INFINITY
            } else {
                difference
            },
            *b,
        )
    };
    Ok(got.iter().zip(&expected).map(difference).collect())
}

/// Whether all is as ONNX's runner wants it; integers must be equal.
fn check(pairs: &[Pair]) -> Result<()> {
    let (relative, absolute) = NODE_TOLERANCE;
    for (index, pair) in pairs.iter().enumerate() {
        let float = matches!(pair.0.dtype(), DType::F32 | DType::F64 | DType::F16 | DType::BF16);
        let allowed = |expected: f64| if float { absolute + relative * expected.abs() } else { 0.0 };
        let all = differences(pair)?;
        let wrong = all.iter().filter(|(difference, expected)| *difference > allowed(*expected)).count();
        if wrong > 0 {
            let worst = all.iter().fold(0.0, |m: f64, (difference, _)| m.max(*difference));
            let message = format!("output {index}: {wrong} of {} are wrong, by up to {worst:.2e}", all.len());
            return Err(Error::Runtime(message));
        }
    }
    Ok(())
}

/// Kinds of node tests, in the order of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Core,
    Wide,
    Training,
    OtherTypes,
}

impl Kind {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Core, "core: f32, integers, bool"),
        (Self::Wide, "f16, bf16, f64"),
        (Self::Training, "losses and training, `ImageDecoder`, `TfIdfVectorizer`, `ai.onnx.ml`"),
        (Self::OtherTypes, "strings, sequences, optionals, 8-bit floats, 4-bit integers"),
    ];

    /// What a test is about, by the operators and the inputs and outputs of its model.
    fn of(test: &Path) -> Self {
        let facts = runtimes::runtime("builtin")
            .and_then(|r| r.load(None))
            .and_then(|r| r.open(&test.join("model.onnx")))
            .and_then(|m| m.facts());
        match facts {
            Ok(facts) => Self::of_facts(&name(test), &facts),
            Err(_) => Self::OtherTypes,
        }
    }

    fn of_facts(test: &str, facts: &ModelFacts) -> Self {
        let left_out = [
            "SoftmaxCrossEntropyLoss",
            "NegativeLogLikelihoodLoss",
            "ImageDecoder",
            "TfIdfVectorizer",
            "Adagrad",
            "Adam",
            "Momentum",
            "Gradient",
        ];
        let is = |op: &str| left_out.iter().any(|name| op == *name || op.ends_with(&format!(".{name}")));
        let written_out = test.starts_with("test_sce_") || test.starts_with("test_nllloss_");
        if written_out || facts.ops.iter().any(|op| is(&op.op) || op.op.starts_with("ai.onnx.ml.")) {
            return Self::Training;
        }
        let sequence =
            |op: &str| op.contains("Optional") || op.contains("Sequence") && op != "ReverseSequence";
        if facts.ops.iter().any(|op| sequence(&op.op)) || test.contains("FLOAT8") || test.contains("INT4") {
            return Self::OtherTypes;
        }
        let wide = |dtype| matches!(dtype, DType::F16 | DType::BF16 | DType::F64);
        let all = facts.inputs.iter().chain(&facts.outputs);
        if all.map(|info| info.dtype).any(wide) { Self::Wide } else { Self::Core }
    }
}

fn nodes(tests: &[PathBuf]) -> String {
    let mut counts: BTreeMap<Kind, [usize; 4]> = BTreeMap::new();
    let mut failures: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
    for test in tests {
        let kind = Kind::of(test);
        let counts = counts.entry(kind).or_default();
        let written_out = name(test).contains("_expanded");
        let done = survived(test).and_then(|pairs| check(&pairs));
        counts[0] += 1;
        counts[1] += usize::from(done.is_ok());
        counts[2] += usize::from(!written_out);
        counts[3] += usize::from(!written_out && done.is_ok());
        if let Err(error) = done {
            let test = name(test);
            let known = REASONS.iter().find(|(begin, _)| test.starts_with(begin));
            let reason = known.map_or_else(String::new, |(_, reason)| format!(" ({reason})"));
            let error = error.to_string().replace(['\n', '|'], " ");
            failures.entry(kind).or_default().push(format!("- `{test}`: {error}{reason}"));
        }
    }
    let mut text = String::from(
        "| tests | all | pass | | without those of functions written out (`_expanded`) | pass | |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let share = |part: usize, all: usize| format!("{:.1} %", 100.0 * part as f64 / all.max(1) as f64);
    for (kind, label) in Kind::ALL {
        let [all, pass, own, own_pass] = counts.get(&kind).copied().unwrap_or_default();
        let shares = (share(pass, all), share(own_pass, own));
        let row =
            format!("| {label} | {all} | {pass} | {} | {own} | {own_pass} | {} |\n", shares.0, shares.1);
        text += &row;
    }
    for (kind, label) in Kind::ALL.into_iter().filter(|(kind, _)| *kind != Kind::OtherTypes) {
        let failures = failures.remove(&kind).unwrap_or_default();
        if write!(text, "\nFailures of {label}:\n\n{}\n", failures.join("\n")).is_err() {
            std::process::abort();
        }
    }
    text
}

fn models(tests: &[PathBuf]) -> String {
    let mut text =
        String::from("| model | largest difference | elements that differ at all | |\n|---|---|---|---|\n");
    let mut good = 0;
    for test in tests {
        let row = match survived(test).and_then(|pairs| model_row(&pairs)) {
            Ok((row, fits)) => {
                good += usize::from(fits);
                row
            }
            Err(error) => format!("| | | {} |", error.to_string().replace(['\n', '|'], " ")),
        };
        text += &format!("| {} {row}\n", name(test));
    }
    text + &format!("\n{good} of {} agree.\n", tests.len())
}

fn model_row(pairs: &[Pair]) -> Result<(String, bool)> {
    let (mut worst, mut differ, mut all, mut fits) = (0f64, 0, 0, true);
    for pair in pairs {
        let differences = differences(pair)?;
        let largest = differences.iter().fold(f64::MIN_POSITIVE, |m, (_, expected)| m.max(expected.abs()));
        let difference = differences.iter().fold(0f64, |m, (difference, _)| m.max(*difference));
        worst = worst.max(difference / largest);
        fits &= difference <= MODEL_TOLERANCE.1.max(MODEL_TOLERANCE.0 * largest);
        differ += differences.iter().filter(|(difference, _)| *difference > 0.0).count();
        all += differences.len();
    }
    let verdict = if fits { "agrees" } else { "DIFFERS" };
    Ok((format!("| {worst:.1e} | {:.1} % | {verdict} |", 100.0 * differ as f64 / all.max(1) as f64), fits))
}
