//! How fast the built-in engine is beside LiteRT and ONNX Runtime: one table over many models, as Markdown, for people
//! who work on the engine. Both sides are sessions behind the seam of this crate, in one process per model.
//!
//! ```text
//! speed LIBRARIES [threads=N] [core=N] [bursts=N] [fresh=N] [tier=NAME] [cap=avx2] MODEL[@D,D,..[;D,D,..]]..
//! ```
//! `LIBRARIES` is a folder of `RUNTIME/VERSION/ARCH/lib*.so`, of which the newest version is taken. A `.tflite` model is
//! compared with LiteRT (XNNPACK), an `.onnx` model with ONNX Runtime (CPU); what follows an `@` are shapes of its inputs.
//! With `cap=avx2` the libraries do not see the processor's AVX-512, see `cap.rs`.
//!
//! The two sessions take turns in bursts, in random order, on the same core when there is one thread. A burst is one
//! invoke that does not count and then some milliseconds of them; its value is the median. With more threads it begins with
//! a pause, until those of the other side sleep, and some milliseconds that do not count. The ratio is the median over
//! the pairs of bursts, its interval that of the median by ranks (95 %, no distribution assumed). Start-up and memory are
//! medians of processes that hold one side only: what `fresh` says, half of them each.

mod cap;
mod fresh;
mod pair;
mod table;

use protocol::{Artifact, DType, Library, Sha256Hex, TensorInfo};
use runtimes::{CompileOptions, Error, Result, Session};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What is asked of a session besides the model.
#[derive(Clone, Debug)]
struct Settings {
    libraries: PathBuf,
    threads: u16,
    core: Option<usize>,
    bursts: usize,
    fresh: usize,
    tier: Option<String>,
    cap: bool,
}

/// A model, and the shapes of its inputs where they are given.
#[derive(Clone, Debug)]
struct Case {
    path: PathBuf,
    shapes: Option<Vec<Vec<u64>>>,
    /// As it stood among the arguments.
    text: String,
}

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(text) => {
            write(&mut std::io::stdout(), &text);
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            write(&mut std::io::stderr(), &format!("{error}\n"));
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String> {
    let (job, arguments) = match arguments.first().map(String::as_str) {
        Some("--pair" | "--ours" | "--theirs") => arguments.split_first().expect("there is a first"),
        _ => (&String::new(), arguments),
    };
    let (settings, cases) = parse(arguments)?;
    let one = || cases.first().ok_or_else(|| wrong("no model"));
    if settings.cap && !job.is_empty() {
        cap::answer()?;
    }
    match job.as_str() {
        "--pair" => pair::measure(one()?, &settings),
        "--ours" => fresh::measure(one()?, &settings, Side::Ours),
        "--theirs" => fresh::measure(one()?, &settings, Side::Theirs),
        _ if settings.cap => {
            let folder = cap::libraries(&settings.libraries)?;
            table::print(&cases, &Settings { libraries: folder.path().to_owned(), ..settings }, arguments)
        }
        _ => table::print(&cases, &settings, arguments),
    }
}

fn parse(arguments: &[String]) -> Result<(Settings, Vec<Case>)> {
    let [libraries, rest @ ..] = arguments else {
        return Err(wrong("see the top of the source for the arguments"));
    };
    let mut settings = Settings {
        libraries: libraries.into(),
        threads: 1,
        core: None,
        bursts: 25,
        fresh: 5,
        tier: None,
        cap: false,
    };
    let mut cases = Vec::new();
    for word in rest {
        let number =
            |text: &str| text.parse::<usize>().map_err(|_| wrong(&format!("{word:?}: not a number")));
        match word.split_once('=') {
            Some(("threads", text)) => settings.threads = number(text)?.clamp(1, 64) as u16,
            Some(("core", text)) => settings.core = Some(number(text)?),
            Some(("bursts", text)) => settings.bursts = number(text)?.max(6),
            Some(("fresh", text)) => settings.fresh = number(text)?,
            Some(("tier", text)) => settings.tier = Some(text.to_owned()),
            Some(("cap", "avx2")) => settings.cap = true,
            _ => cases.push(case(word)?),
        }
    }
    Ok((settings, cases))
}

fn case(word: &str) -> Result<Case> {
    let (path, shapes) = word.split_once('@').map_or((word, None), |(path, shapes)| (path, Some(shapes)));
    let number = |text: &str| text.parse().map_err(|_| wrong(&format!("{word:?}: {text:?} is no dimension")));
    // Nothing is a scalar.
    let shape =
        |text: &str| text.split(',').filter(|d| !d.is_empty()).map(number).collect::<Result<Vec<u64>>>();
    let shapes = shapes.map(|all| all.split(';').map(shape).collect::<Result<Vec<_>>>()).transpose()?;
    Ok(Case { path: path.into(), shapes, text: word.to_owned() })
}

/// Which session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ours,
    Theirs,
}

impl Case {
    /// The runtime that is compared with, and its backend.
    fn peer(&self) -> Result<(&'static str, &'static str)> {
        match self.path.extension().and_then(|e| e.to_str()) {
            Some("tflite") => Ok(("litert", "xnnpack")),
            Some("onnx") => Ok(("onnxruntime", "cpu")),
            _ => Err(wrong(&format!("{}: not .tflite and not .onnx", self.path.display()))),
        }
    }

    fn options(&self, side: Side, settings: &Settings) -> Result<CompileOptions> {
        let mut options = CompileOptions::new(if side == Side::Ours { "cpu" } else { self.peer()?.1 });
        options.threads = settings.threads;
        options.input_shapes.clone_from(&self.shapes);
        if let (Side::Ours, Some(tier)) = (side, &settings.tier) {
            options.options.insert("tier".to_owned(), tier.clone());
        }
        Ok(options)
    }

    /// A runtime, ready to open models.
    fn load(&self, side: Side, settings: &Settings) -> Result<Box<dyn runtimes::Loaded>> {
        if side == Side::Ours {
            return runtimes::runtime("builtin")?.load(None);
        }
        let name = self.peer()?.0;
        let file = Artifact { path: newest(&settings.libraries, name)?.1, sha256: Sha256Hex::of_bytes(b"") };
        runtimes::runtime(name)?.load(Some(&Library { version: String::new(), file, with: Vec::new() }))
    }
}

/// Version and path of the newest library of a runtime for this machine.
fn newest(libraries: &Path, runtime: &str) -> Result<(String, PathBuf)> {
    let folder = libraries.join(runtime);
    let at = |source| Error::Io { path: folder.clone(), source };
    let mut found = Vec::new();
    for version in std::fs::read_dir(&folder).map_err(at)? {
        let version = version.map_err(at)?;
        let name = version.file_name().to_string_lossy().into_owned();
        let here = version.path().join(std::env::consts::ARCH);
        let is_library = |p: &Path| p.file_name().is_some_and(|n| n.to_string_lossy().contains(".so"));
        let files = std::fs::read_dir(here).into_iter().flatten().filter_map(|f| Some(f.ok()?.path()));
        found.extend(files.filter(|p| is_library(p)).map(|path| (name.clone(), path)));
    }
    let number = |v: &str| v.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>();
    found.sort_by_key(|(version, _)| number(version));
    found.pop().ok_or_else(|| wrong(&format!("{}: no library for this machine", folder.display())))
}

/// Fills every input with numbers that are neither constant nor absurd in any type; as f32 between 0 and 1.
fn fill(session: &mut dyn Session) -> Result<()> {
    for (index, info) in session.inputs().to_vec().iter().enumerate() {
        session.set_input(index, &small_numbers(info))?;
    }
    Ok(())
}

fn small_numbers(info: &TensorInfo) -> Vec<u8> {
    let count: u64 = info.shape.iter().map(|d| d.unwrap_or(1)).product();
    let element = |i: u64| match info.dtype {
        DType::F32 => ((i * 7919 % 255) as f32 / 255.0).to_le_bytes().to_vec(),
        DType::Bool => vec![1],
        other => (i * 7919 % 100).to_le_bytes()[..other.size()].to_vec(),
    };
    (0..count).flat_map(element).collect()
}

/// Keeps this process, and all threads that it starts from now on, on one core.
fn pin(settings: &Settings) -> Result<()> {
    let Some(core) = settings.core else { return Ok(()) };
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set).map_err(|e| wrong(&format!("core {core}: {e}")))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn wrong(message: &str) -> Error {
    Error::InputMismatch(message.to_owned())
}

fn write(to: &mut dyn Write, text: &str) {
    if to.write_all(text.as_bytes()).and_then(|()| to.flush()).is_err() {
        std::process::abort();
    }
}
