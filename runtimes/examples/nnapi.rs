//! Shows the NNAPI devices there are, and what one of them takes of a model: partitions, and the reason of every node
//! that stays on the CPU.
//!
//! `nnapi [--library libneuralnetworks.so] [MODEL [name=value ...]]`, with the options of the backend.

use protocol::{Artifact, Library, Sha256Hex};
use runtimes::builtin::nnapi::{Devices, Hint};
use runtimes::{CompileOptions, Error, Result, runtime};
use std::io::Write;
use std::path::Path;

fn main() -> Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let library = match arguments.iter().position(|a| a == "--library") {
        Some(at) if at + 1 < arguments.len() => {
            Some(library(&arguments.drain(at..at + 2).nth(1).unwrap_or_default()))
        }
        _ => None,
    };
    let mut arguments = arguments.into_iter();
    match arguments.next() {
        None => devices(library.as_ref()),
        Some(model) => partitions(library.as_ref(), &model, arguments.collect()),
    }
}

fn print(text: &str) -> Result<()> {
    let at = |source| Error::Io { path: "stdout".into(), source };
    writeln!(std::io::stdout(), "{text}").map_err(at)
}

fn library(path: &str) -> Library {
    let file = Artifact { path: path.into(), sha256: Sha256Hex::of_bytes(b"") };
    Library { version: "unknown".to_owned(), file, with: Vec::new() }
}

fn devices(library: Option<&Library>) -> Result<()> {
    let all = library.map_or_else(Devices::of_system, Devices::with_library)?;
    let hint = |hint: Option<Hint>| hint.map_or("-".to_owned(), |h| format!("{}/{}", h.time, h.power));
    print("device             type         version  level  time/power hints: f32  f32 as f16  8 bits")?;
    for info in all.iter().map(|d| d.info()) {
        let place = if info.in_process { "" } else { "  (library)" };
        let [float, relaxed, quantized] =
            [info.performance.float, info.performance.relaxed_float, info.performance.quantized].map(hint);
        let (name, kind, version, level) = (&info.name, info.kind.name(), &info.version, info.feature_level);
        print(&format!(
            "{name:18} {kind:12} {version:8} {level:5}  {float:>22}  {relaxed:>10}  {quantized:>6}{place}"
        ))?;
    }
    Ok(())
}

fn partitions(library: Option<&Library>, model: &str, options: Vec<String>) -> Result<()> {
    let pair =
        |option: String| option.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let options = options.into_iter().filter_map(pair).collect();
    let options = CompileOptions { options, ..CompileOptions::new("nnapi") };
    let loaded = runtime("builtin")?.load(library)?;
    let mut session = loaded.open(Path::new(model))?.compile(&options)?;
    session.invoke()?;
    let proof = session.proof();
    let (part, all) = (proof.nodes_on_backend, proof.nodes_total);
    print(&format!("{}\n{part} of {all} nodes in {} partitions", proof.kernels, proof.partitions))?;
    for fallback in &proof.fallbacks {
        print(&format!("  {} {:?}: {}", fallback.op, fallback.node, fallback.reason))?;
    }
    Ok(())
}
