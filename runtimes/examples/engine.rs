//! Runs a model on the built-in engine, for people who work on the engine. Not a measurement that anything
//! else relies on: `bench` measures through its agent.
//!
//! ```text
//! engine time MODEL MS             shortest and median time of an invoke, in ns, over so many ms
//! engine profile MODEL MS          the same per node
//! engine run MODEL OUTPUT INPUT..  every example in the input files (raw elements), outputs appended
//! engine serve MODEL INPUT..       for every number N on stdin: N invokes of the input files, and their ns
//! ```
//! `threads=N` and `tier=NAME` may stand anywhere.

use runtimes::{CompileOptions, Error, Observer, Result, Session};
use std::path::Path;
use std::time::{Duration, Instant};

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (settings, words): (Vec<&str>, Vec<&str>) = arguments
        .iter()
        .map(String::as_str)
        .partition(|a| a.starts_with("threads=") || a.starts_with("tier="));
    let open = |model| open(model, &settings);
    let done = match words[..] {
        ["time", model, ms] => open(model).and_then(|mut s| time(&mut *s, ms)),
        ["profile", model, ms] => open(model).and_then(|mut s| profile(&mut *s, ms)),
        ["run", model, output, ref inputs @ ..] => open(model).and_then(|mut s| run(&mut *s, output, inputs)),
        ["serve", model, ref inputs @ ..] => open(model).and_then(|mut s| serve(&mut *s, inputs)),
        _ => Err(Error::InputMismatch("see the top of the source for the arguments".to_owned())),
    };
    match done {
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

fn write(to: &mut dyn std::io::Write, text: &str) {
    if to.write_all(text.as_bytes()).is_err() {
        std::process::abort();
    }
}

fn open(model: &str, settings: &[&str]) -> Result<Box<dyn Session>> {
    let model = runtimes::runtime("builtin")?.load(None)?.open(Path::new(model))?;
    let mut options = CompileOptions::new("cpu");
    for (key, value) in settings.iter().filter_map(|s| s.split_once('=')) {
        if key == "threads" {
            let wrong = |_| Error::InputMismatch(format!("threads={value}: not a number of threads"));
            options.threads = value.parse().map_err(wrong)?;
        } else {
            options.options.insert(key.to_owned(), value.to_owned());
        }
    }
    let mut session = model.compile(&options)?;
    // Something that is neither constant nor absurd in any type: small numbers, as f32 between 0 and 1.
    for index in 0..session.inputs().len() {
        let info = session.inputs()[index].clone();
        let count: u64 = info.shape.iter().map(|d| d.unwrap_or(1)).product();
        let element = |i: u64| match info.dtype {
            protocol::DType::F32 => ((i * 7919 % 255) as f32 / 255.0).to_le_bytes().to_vec(),
            other => (i * 7919 % 100).to_le_bytes()[..other.size()].to_vec(),
        };
        let bytes: Vec<u8> = (0..count).flat_map(element).collect();
        session.set_input(index, &bytes)?;
    }
    Ok(session)
}

fn duration(ms: &str) -> Result<Duration> {
    ms.parse().map(Duration::from_millis).map_err(|_| Error::InputMismatch(format!("{ms:?} is not a number")))
}

fn time(session: &mut dyn Session, ms: &str) -> Result<String> {
    let (until, mut all) = (Instant::now() + duration(ms)?, Vec::new());
    while all.len() < 3 || Instant::now() < until {
        let start = Instant::now();
        session.invoke()?;
        all.push(start.elapsed().as_nanos());
    }
    all.sort_unstable();
    Ok(format!("{} {}\n", all[0], all[all.len() / 2]))
}

struct Clock {
    start: Instant,
    times: Vec<Vec<u128>>,
}

impl Observer for Clock {
    fn started(&mut self, _index: usize) {
        self.start = Instant::now();
    }
    fn finished(&mut self, index: usize, _output: &protocol::TensorInfo, _bytes: &[u8]) {
        self.times[index].push(self.start.elapsed().as_nanos());
    }
}

fn profile(session: &mut dyn Session, ms: &str) -> Result<String> {
    let until = Instant::now() + duration(ms)?;
    let mut clock = Clock { start: Instant::now(), times: vec![Vec::new(); session.nodes().len()] };
    while clock.times[0].len() < 3 || Instant::now() < until {
        session.invoke_observed(&mut clock)?;
    }
    let mut text = format!("{:?}\n", session.proof());
    let mut sum = 0;
    for (node, times) in session.nodes().iter().zip(&mut clock.times) {
        times.sort_unstable();
        sum += times[times.len() / 2];
        text += &format!("{:>9} {:<28} {}\n", times[times.len() / 2], node.op, node.name);
    }
    Ok(text + &format!("{sum:>9} in all\n"))
}

fn run(session: &mut dyn Session, output: &str, inputs: &[&str]) -> Result<String> {
    let io = |path: &str, source| Error::Io { path: path.into(), source };
    let files = inputs.iter().map(|p| std::fs::read(p).map_err(|e| io(p, e))).collect::<Result<Vec<_>>>()?;
    let size = |i: usize| {
        let info = &session.inputs()[i];
        info.shape.iter().map(|d| d.unwrap_or(1)).product::<u64>() as usize * info.dtype.size()
    };
    let sizes: Vec<usize> = (0..files.len()).map(size).collect();
    let count = files.first().map_or(0, |f| f.len() / sizes[0].max(1));
    let mut results = Vec::new();
    for example in 0..count {
        for (i, file) in files.iter().enumerate() {
            let bytes = file.get(example * sizes[i]..(example + 1) * sizes[i]).unwrap_or(&[]);
            session.set_input(i, bytes)?;
        }
        session.invoke()?;
        for i in 0..session.outputs().len() {
            results.extend_from_slice(session.output(i)?);
        }
    }
    std::fs::write(output, results).map_err(|e| io(output, e))?;
    Ok(String::new())
}

fn serve(session: &mut dyn Session, inputs: &[&str]) -> Result<String> {
    for (i, path) in inputs.iter().enumerate() {
        let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.into(), source })?;
        session.set_input(i, &bytes)?;
    }
    for line in std::io::stdin().lines() {
        let line = line.map_err(|e| Error::InputMismatch(e.to_string()))?;
        let count: u32 =
            line.parse().map_err(|_| Error::InputMismatch(format!("{line:?} is not a number")))?;
        let start = Instant::now();
        for _ in 0..count {
            session.invoke()?;
        }
        write(&mut std::io::stdout(), &format!("{}\n", start.elapsed().as_nanos()));
    }
    Ok(String::new())
}
