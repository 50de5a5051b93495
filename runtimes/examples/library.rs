//! Runs a model with a runtime that is a library, for people who work on the runtimes and for
//! `tests/real/fidelity.py`. Not a measurement that anything else relies on: `bench` measures through its agent.
//!
//! ```text
//! library RUNTIME/BACKEND LIBRARY MODEL [threads=N] [profile=N] [with=FILE].. [input=FILE].. [shape=D,D,..]..
//!         [option:NAME=TEXT]..
//! ```
//! `with` is a library that is loaded before it. Inputs are files of raw elements, or else small numbers; `shape`
//! gives every input its dimensions. Prints what the session is and, when profiled, its nodes. Then, for every line
//! on stdin: `N` invokes that often and answers with the ns of each; `output FILE` writes all outputs of the last
//! invoke.

use protocol::{Artifact, DType, Library, Sha256Hex, TensorInfo};
use runtimes::{CompileOptions, Error, Result, Session};
use std::{io::Write, path::Path, time::Instant};

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [runtime, library, model, settings @ ..] => start(runtime, library, model, settings).and_then(serve),
        _ => Err(wrong("see the top of the source for the arguments")),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            write(&mut std::io::stderr(), &format!("{error}\n"));
            std::process::ExitCode::FAILURE
        }
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

fn say(text: &str) {
    write(&mut std::io::stdout(), text);
}

fn read(path: &str) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Io { path: path.into(), source })
}

fn start(runtime: &str, library: &str, model: &str, settings: &[String]) -> Result<Box<dyn Session>> {
    let (runtime, backend) = runtime.split_once('/').ok_or_else(|| wrong("RUNTIME/BACKEND"))?;
    let mut options = CompileOptions::new(backend);
    let (mut inputs, mut shapes, mut with, mut profile) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let artifact = |path: &str| Artifact { path: path.into(), sha256: Sha256Hex::of_bytes(b"") };
    for setting in settings {
        let (name, text) = setting.split_once('=').ok_or_else(|| wrong(setting))?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| wrong(setting));
        match name {
            "threads" => options.threads = number(text)? as u16,
            "profile" => profile = number(text)? as u32,
            "with" => with.push(artifact(text)),
            "input" => inputs.push(read(text)?),
            "shape" => shapes.push(text.split(',').map(number).collect::<Result<Vec<u64>>>()?),
            _ => {
                let name = name.strip_prefix("option:").ok_or_else(|| wrong(setting))?;
                options.options.insert(name.to_owned(), text.to_owned());
            }
        }
    }
    options.profile = profile > 0;
    options.input_shapes = Some(shapes).filter(|shapes| !shapes.is_empty());
    let library = Library { version: String::new(), file: artifact(library), with };
    let library = Some(&library).filter(|library| library.file.path != Path::new("-"));
    let loaded = runtimes::runtime(runtime)?.load(library)?;
    let model = loaded.open(Path::new(model))?;
    say(&format!("version {:?}\nbefore compiling {}\n", loaded.version(), shown(&model.inputs()?)));
    let mut session = model.compile(&options)?;
    for (i, info) in session.inputs().to_vec().iter().enumerate() {
        session.set_input(i, &inputs.get(i).cloned().unwrap_or_else(|| small_numbers(info)))?;
    }
    let (ins, outs) = (shown(session.inputs()), shown(session.outputs()));
    say(&format!("inputs {ins}\noutputs {outs}\n{:#?}\n", session.proof()));
    let begin = Instant::now();
    let clock = || begin.elapsed().as_nanos() as u64;
    for node in if profile > 0 { session.profile(profile, &clock)? } else { Vec::new() } {
        let mean = node.wall_ns.iter().sum::<u64>() / node.wall_ns.len().max(1) as u64;
        say(&format!("{mean:>9} ns {:<44} {:<24} {}\n", node.op, node.unit, node.node));
    }
    Ok(session)
}

fn shown(infos: &[TensorInfo]) -> String {
    let one = |i: &TensorInfo| format!("{} {} {:?} {:?}", i.name, i.dtype.name(), i.shape, i.quantization);
    infos.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Neither constant nor absurd in any type; as f32 between 0 and 1.
fn small_numbers(info: &TensorInfo) -> Vec<u8> {
    let count: u64 = info.shape.iter().map(|d| d.unwrap_or(1)).product();
    let element = |i: u64| match info.dtype {
        DType::F32 => ((i * 7919 % 255) as f32 / 255.0).to_le_bytes().to_vec(),
        other => (i * 7919 % 100).to_le_bytes()[..other.size()].to_vec(),
    };
    (0..count).flat_map(element).collect()
}

fn serve(mut session: Box<dyn Session>) -> Result<()> {
    say("ready\n");
    for line in std::io::stdin().lines() {
        let line = line.map_err(|e| wrong(&e.to_string()))?;
        if let Some(path) = line.strip_prefix("output ") {
            let mut all = Vec::new();
            for i in 0..session.outputs().len() {
                all.extend_from_slice(session.output(i)?);
            }
            std::fs::write(path, all).map_err(|source| Error::Io { path: path.into(), source })?;
            say("written\n");
            continue;
        }
        let count: u32 = line.parse().map_err(|_| wrong(&line))?;
        let mut times = Vec::new();
        for _ in 0..count {
            let start = Instant::now();
            session.invoke()?;
            times.push(start.elapsed().as_nanos().to_string());
        }
        say(&format!("{}\n", times.join(" ")));
    }
    Ok(())
}
