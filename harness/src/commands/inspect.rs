//! `bench inspect`: what a model file really holds, as the agent reads it.

use super::{FactsFormat, block_on};
use crate::{
    devices::Registry,
    dispatch::Remedy,
    exit::{CommandResult, Exit, ExitWith, Failure},
    interrupt::Interrupts,
    libraries::Wish,
    plan::Observe,
    progress::Progress,
    selection::examples,
    session::Session,
    settings::{Layer, Settings},
    stdout::{print, print_json},
    transport::HostFile,
    values::human_bytes,
};
use anyhow::Context;
use protocol::{LayerStats, ModelFacts, Observed, TensorInfo};
use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

/// Operators that are listed before the rest is counted.
const SHOWN_OPS: usize = 20;
/// Characters of a layer's name that are shown.
const LAYER_NAME: usize = 60;
/// Random examples are the same for every model and call.
const RANDOM_SEED: u64 = 1;
/// Quantisation along an axis is shown by its first values.
const SHOWN_SCALES: usize = 3;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Model file, .tflite or .onnx
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// Run it, and say what becomes of every tensor: range, mean, what is 0, not a number, at the end of its type
    #[arg(long)]
    run: bool,
    /// File, folder or suite of examples to run it on [default: random numbers]
    #[arg(long, value_name = "DATA", requires = "run")]
    data: Option<String>,
    /// Examples to run it on
    #[arg(long, value_name = "N", requires = "run", default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=protocol::MAX_OBSERVED))]
    examples: u64,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: FactsFormat,
    /// Folder for files that are pushed to the local device [default: ~/.cache/bench]
    #[arg(long, env = "BENCH_CACHE", value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// Prints the facts; a model that cannot be read does not keep the others from being told.
pub(crate) fn work(args: &Args, config: Option<&Path>) -> CommandResult {
    let layer =
        Layer { cache: args.cache.clone(), device: Some(vec!["local".to_owned()]), ..Layer::default() };
    let settings = Settings::resolve(layer, config)?;
    let mut files = Vec::new();
    for path in &args.models {
        let read =
            HostFile::from_path(path).with_context(|| format!("the model {} cannot be read", path.display()));
        files.push(read.or_usage()?);
    }
    let (run, data) = if args.run {
        let (run, data) = observe(args)?;
        (Some(run), data)
    } else {
        (None, Vec::new())
    };
    let mut facts = block_on(ask(&settings, &files, &data, run.as_ref()))?;
    let mut bad = Vec::new();
    for (path, file) in args.models.iter().zip(&files) {
        match facts.remove(&file.sha256) {
            Some(Ok(found)) if args.format == FactsFormat::Json => print_json(&found)?,
            Some(Ok(found)) => print(&text(path, &found))?,
            Some(Err(reason)) => bad.push(reason),
            None => bad.push(format!("{}: the agent gave no answer", path.display())),
        }
    }
    if bad.is_empty() { Ok(Exit::Fine) } else { Err(Failure::usage(bad.join("\n"))) }
}

type Answers = std::collections::BTreeMap<protocol::Sha256Hex, Result<ModelFacts, String>>;

/// What to run the models on, and its files.
fn observe(args: &Args) -> CommandResult<(Observe, Vec<HostFile>)> {
    let mut suite = suites::ad_hoc(&args.models, args.data.as_deref()).or_usage()?;
    suite.measure.max_examples = Some(args.examples);
    let (facts, feed, data) = examples(&suite, RANDOM_SEED)?;
    Ok((Observe { feed, examples: facts.examples.min(args.examples) }, data))
}

async fn ask(
    settings: &Settings,
    models: &[HostFile],
    data: &[HostFile],
    run: Option<&Observe>,
) -> CommandResult<Answers> {
    let mut progress = Progress::new(true);
    let registry = Registry::bare(settings);
    let devices = registry.open_all(registry.choose(&settings.devices).await?)?;
    let interrupts = Interrupts::listen().context("signals cannot be heard").or_incomplete()?;
    let files = [models, data].concat();
    let mut session = Session::start(devices, &files, &Wish::nothing(&settings.cache), settings, interrupts)?;
    let greetings = session.greet(&mut progress).await?;
    if let Some(Err(trouble)) = greetings.first() {
        let error = anyhow::Error::msg(trouble.reason.clone()).context("the agent does not work");
        let setting = trouble.remedy == Remedy::Setting;
        return if setting { Err(error).or_usage() } else { Err(error).or_incomplete() };
    }
    let models: Vec<_> = models.iter().map(|f| f.sha256.clone()).collect();
    let facts = session.inspect(&[0], &models, run, &mut progress).await?;
    session.end().await;
    Ok(facts)
}

fn text(path: &Path, facts: &ModelFacts) -> String {
    let mut out = String::new();
    let format = json_word(&facts.format);
    let precision = json_word(&facts.precision);
    // writing to a String cannot fail
    let mut line = |name: &str, value: String| writeln!(out, "{name:<12} {value}").unwrap_or_default();
    line("model", path.display().to_string());
    line("format", format!("{format}, {}", reports::visible(&facts.producer)));
    line("size", format!("{} ({} bytes)", human_bytes(facts.file_bytes), facts.file_bytes));
    line("precision", precision);
    line("parameters", facts.parameters.to_string());
    let weights: Vec<String> =
        facts.weights.iter().map(|w| format!("{} {}", human_bytes(w.bytes), w.dtype)).collect();
    line("constants", if weights.is_empty() { "none".to_owned() } else { weights.join(", ") });
    for (name, tensors) in [("input", &facts.inputs), ("output", &facts.outputs)] {
        for tensor in tensors {
            line(name, tensor_text(tensor));
        }
    }
    let all: u32 = facts.ops.iter().map(|op| op.count).sum();
    let mut ops: Vec<String> = facts
        .ops
        .iter()
        .take(SHOWN_OPS)
        .map(|op| format!("{} × {}", op.count, reports::visible(&op.op)))
        .collect();
    if facts.ops.len() > SHOWN_OPS {
        ops.push(format!("{} more kinds", facts.ops.len() - SHOWN_OPS));
    }
    line("operators", format!("{all}: {}", ops.join(", ")));
    out + &facts.observed.as_ref().map(layers_text).unwrap_or_default()
}

/// A row per layer, of what the runs made of it.
fn layers_text(observed: &Observed) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "layer",
        "computed by",
        "type",
        "shape",
        "min",
        "max",
        "mean",
        "stored",
        "zeros",
        "NaN",
        "Inf",
        "at end",
    ]);
    table.add_rows(observed.layers.iter().map(row));
    let more = match observed.left_out {
        0 => String::new(),
        more => format!("and {more} more layers\n"),
    };
    let plural = if observed.examples == 1 { "" } else { "s" };
    format!("\nlayers in {} example{plural}\n{table}\n{more}", observed.examples)
}

fn row(layer: &LayerStats) -> [String; 12] {
    let share = |count: u64| match (count, layer.elements) {
        (0, _) | (_, 0) => "-".to_owned(),
        (count, all) => format!("{:.1}%", 100.0 * count as f64 / all as f64),
    };
    let count = |count: u64| if count == 0 { "-".to_owned() } else { count.to_string() };
    let number = |v: Option<f64>| v.map_or_else(|| "-".to_owned(), |v| format!("{v:.4}"));
    let shape: Vec<String> = layer.shape.iter().map(u64::to_string).collect();
    [
        reports::visible(&layer.name).chars().take(LAYER_NAME).collect(),
        reports::visible(&layer.op).into_owned(),
        layer.dtype.to_string(),
        shape.join("×"),
        number(layer.min),
        number(layer.max),
        number(layer.mean),
        layer.stored.map_or_else(|| "-".to_owned(), |[low, high]| format!("{low}..{high}")),
        share(layer.zeros),
        count(layer.nans),
        count(layer.infinite),
        share(layer.saturated),
    ]
}

/// The word that the record uses for a value.
fn json_word(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default().trim_matches('"').to_owned()
}

fn tensor_text(tensor: &TensorInfo) -> String {
    let shape: Vec<String> =
        tensor.shape.iter().map(|d| d.map_or_else(|| "?".to_owned(), |n| n.to_string())).collect();
    let mut text = format!("{} {} [{}]", reports::visible(&tensor.name), tensor.dtype, shape.join(", "));
    if let Some(q) = &tensor.quantization {
        let shown = q.scale.iter().zip(&q.zero_point).take(SHOWN_SCALES);
        let pairs: Vec<String> = shown.map(|(scale, zero)| format!("scale {scale} zero {zero}")).collect();
        let more = if q.scale.len() > SHOWN_SCALES {
            format!(" … {} along axis {}", q.scale.len(), q.axis)
        } else {
            String::new()
        };
        text.push_str(&format!(", {}{more}", pairs.join("; ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{DType, Format, OpCount, Precision, Quantization, WeightBytes};

    #[test]
    fn the_facts_are_told_line_by_line() {
        let quantization = Some(Quantization { scale: vec![0.5], zero_point: vec![-3], axis: 0 });
        let input =
            TensorInfo { name: "x".into(), dtype: DType::I8, shape: vec![None, Some(28)], quantization };
        let facts = ModelFacts {
            format: Format::Tflite,
            producer: "schema 3".into(),
            file_bytes: 48_100,
            precision: Precision::DynamicInt8,
            parameters: 24_000,
            weights: vec![WeightBytes { dtype: DType::I8, bytes: 24_000 }],
            inputs: vec![input],
            outputs: vec![],
            ops: vec![OpCount { op: "CONV_2D".into(), count: 4 }, OpCount { op: "SOFTMAX".into(), count: 1 }],
            observed: None,
        };
        let got = text(Path::new("m.tflite"), &facts);
        let wanted = "\
model        m.tflite
format       tflite, schema 3
size         48.1 kB (48100 bytes)
precision    dynamic-int8
parameters   24000
constants    24.0 kB i8
input        x i8 [?, 28], scale 0.5 zero -3
operators    5: 4 × CONV_2D, 1 × SOFTMAX
";
        assert_eq!(got, wanted);
    }

    #[test]
    fn a_layer_is_a_row() {
        let layer = LayerStats {
            name: "conv".into(),
            op: "conv2d.i8".into(),
            dtype: DType::I8,
            shape: vec![1, 28],
            min: Some(-0.5),
            max: Some(2.0),
            mean: None,
            stored: Some([-128, 127]),
            elements: 28,
            zeros: 7,
            saturated: 28,
            nans: 0,
            infinite: 3,
        };
        let got = layers_text(&Observed { examples: 2, layers: vec![layer], left_out: 4 });
        let lines: Vec<&str> = got.trim_start().lines().collect();
        assert_eq!((lines[0], *lines.last().unwrap()), ("layers in 2 examples", "and 4 more layers"));
        let words: Vec<&str> = lines[2].split_whitespace().collect();
        assert_eq!(
            words,
            [
                "conv",
                "conv2d.i8",
                "i8",
                "1×28",
                "-0.5000",
                "2.0000",
                "-",
                "-128..127",
                "25.0%",
                "-",
                "3",
                "100.0%"
            ],
            "{got}"
        );
    }
}
