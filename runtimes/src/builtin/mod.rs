//! Our own engine: graph, operators, kernels and importers in plain Rust, so that any model can be run
//! on any device without a library. See the modules for the parts; this one is the seam to the agent.

pub mod exec;
pub mod graph;
pub mod import;
pub mod kernels;
pub mod limits;
mod lower;
pub mod nnapi;
pub mod ops;
mod order;
pub mod passes;
mod plan;
mod specialized;
pub mod step;
#[cfg(all(test, feature = "dlopen"))]
mod table;
pub mod tensor;
#[cfg(test)]
mod testing;

use crate::layers::ALL_TAPS;
use crate::{CompileOptions, Error, Loaded, Model, Result, Runtime, Session};
use graph::Graph;
use import::{Built, Fixed, Source};
use kernels::Tier;
use kernels::threads::Threads;
use nnapi::Devices;
use protocol::{Library, ModelFacts, TensorInfo};
pub use specialized::Recipe;
use std::path::Path;
use std::rc::Rc;

/// Largest model file: larger ones do not fit a phone's memory beside their packed weights.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// The built-in runtime.
#[derive(Clone, Copy, Debug)]
pub struct Builtin;

impl Runtime for Builtin {
    fn name(&self) -> &'static str {
        "builtin"
    }

    fn backends(&self) -> &'static [&'static str] {
        &["cpu", "nnapi"]
    }

    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    fn load(&self, library: Option<&Library>) -> Result<Box<dyn Loaded>> {
        let devices = library.map(Devices::with_library).transpose()?.map(Rc::new);
        Ok(Box::new(Ready { devices }))
    }
}

/// The engine, and the NNAPI devices of a library that was given.
struct Ready {
    devices: Option<Rc<Devices>>,
}

impl Loaded for Ready {
    fn open(&self, path: &Path) -> Result<Box<dyn Model>> {
        let at = |source| Error::Io { path: path.to_owned(), source };
        let size = std::fs::metadata(path).map_err(at)?.len();
        if size > MAX_FILE_BYTES {
            let message = format!("{}: {size} bytes, at most {MAX_FILE_BYTES}", path.display());
            return Err(Error::Unsupported(message));
        }
        let bytes = std::fs::read(path).map_err(at)?;
        let source = import::parse(bytes, path.parent()).map_err(|e| e.at(&path.display().to_string()))?;
        Ok(Box::new(Parsed { source: source.into(), devices: self.devices.clone() }))
    }
}

struct Parsed {
    source: Rc<dyn Source>,
    devices: Option<Rc<Devices>>,
}

impl Parsed {
    fn shapes(options: &CompileOptions) -> Option<Vec<Vec<usize>>> {
        let convert =
            |shape: &Vec<u64>| shape.iter().map(|d| usize::try_from(*d).unwrap_or(usize::MAX)).collect();
        options.input_shapes.as_ref().map(|all| all.iter().map(convert).collect())
    }

    /// Names of the tensors that must stay what they are in the file.
    fn taps(&self, options: &CompileOptions) -> Result<Vec<String>> {
        if options.taps.iter().all(|tap| tap != ALL_TAPS) {
            return Ok(options.taps.clone());
        }
        let built = self.source.build_for(Self::shapes(options).as_deref(), &[], &Fixed::new())?;
        let Built::Graph(graph) = built else { return Ok(Vec::new()) };
        let computed = graph.values().filter(|(_, value)| value.producer.is_some());
        Ok(computed.map(|(_, value)| value.name.clone()).collect())
    }

    fn graph(&self, options: &CompileOptions) -> Result<Graph> {
        let taps = self.taps(options)?;
        passes::optimize(&self.source.build(Self::shapes(options).as_deref(), &taps)?, &taps)
    }

    fn on_device(&self, options: &CompileOptions, note: &str) -> Result<Box<dyn Session>> {
        let asked = nnapi::Options::read(options)?;
        let devices = match &self.devices {
            Some(devices) => Rc::clone(devices),
            None => Rc::new(Devices::of_system()?),
        };
        nnapi::compile(&self.graph(options)?, devices.choose(asked.device.as_deref())?, &asked, note)
    }
}

impl Model for Parsed {
    fn facts(&self) -> Result<ModelFacts> {
        Ok(self.source.facts().clone())
    }

    fn inputs(&self) -> Result<Vec<TensorInfo>> {
        Ok(self.source.facts().inputs.clone())
    }

    fn compile(&self, options: &CompileOptions) -> Result<Box<dyn Session>> {
        match options.backend.as_str() {
            "cpu" if self.devices.is_some() => {
                Err(Error::Unsupported("builtin/cpu takes no library: builtin/nnapi does".to_owned()))
            }
            "cpu" => {
                options.only("builtin", &["tier"])?;
                let threads = Threads::new(usize::from(options.threads))?;
                let note = match threads.count() {
                    1 => String::new(),
                    count => format!(", {count} threads"),
                };
                let recipe = Recipe {
                    source: Rc::clone(&self.source),
                    shapes: Self::shapes(options),
                    taps: self.taps(options)?,
                    tier: tier(options)?,
                    threads,
                    note,
                };
                recipe.session()
            }
            // More threads are allowed than are used; the proof must not let anybody believe otherwise.
            "nnapi" => self.on_device(options, if options.threads > 1 { ", 1 thread" } else { "" }),
            other => Err(Error::Unsupported(format!("no backend {other:?}; there is cpu, nnapi"))),
        }
    }
}

/// The best tier, or the one that the option `tier` names.
fn tier(options: &CompileOptions) -> Result<Tier> {
    let available = Tier::available();
    let names: Vec<&str> = available.iter().rev().map(|tier| tier.name()).collect();
    let name = options.word("tier", &names)?;
    Ok(available.into_iter().find(|tier| tier.name() == name).unwrap_or_else(Tier::detect))
}

/// Makes a graph ready to run on one thread with the kernels of a tier.
///
/// # Errors
/// A node that no kernel does, or too much memory.
pub fn prepare(graph: &Graph, tier: Tier) -> Result<exec::Program> {
    plan::plan(graph.clone(), tier, &Threads::one())
}

#[cfg(test)]
mod tests {
    use super::graph::Fact;
    use super::kernels::memory::as_bytes;
    use super::ops::{Binary, BinaryKind, Reshape, Softmax, Transpose};
    use super::tensor::Tensor;
    use super::*;
    use protocol::{DType, Quantization, TensorInfo};

    fn per_tensor(scale: f32, zero: i32) -> Quantization {
        Quantization { scale: vec![scale], zero_point: vec![zero], axis: 0 }
    }

    fn f32s(bytes: &[u8]) -> Vec<f32> {
        kernels::memory::elements::<f32>(bytes).unwrap().to_vec()
    }

    #[test]
    fn a_graph_runs_again_and_again() {
        let mut g = Graph::new();
        let x = g.input("x", Fact::new(DType::F32, &[2, 3])).unwrap();
        let one = g.constant("one", Tensor::scalar(1.0f32).unwrap(), None).unwrap();
        let y = g.add("y", Binary::new(BinaryKind::Add), &[x, one]).unwrap();
        let t = g.add("t", Transpose { perm: vec![1, 0] }, &[y]).unwrap();
        let z = g.add("z", Reshape { shape: vec![6] }, &[t]).unwrap();
        g.output(z);
        let mut session = prepare(&g, Tier::detect()).unwrap();
        for shift in [0.0, 10.0] {
            let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(|v: f32| v + shift);
            session.set_input(0, as_bytes(&x)).unwrap();
            session.invoke().unwrap();
            let expected = [2.0, 5.0, 3.0, 6.0, 4.0, 7.0].map(|v: f32| v + shift);
            assert_eq!(f32s(session.output(0).unwrap()), expected);
        }
        assert!(session.set_input(0, &[0; 4]).is_err());
        assert!(session.set_input(1, &[]).is_err());
        assert!(session.output(1).is_err());
    }

    #[test]
    fn constants_are_folded() {
        let mut g = Graph::new();
        let a = g.constant("a", Tensor::from_elements(&[2], &[1i64, 2]).unwrap(), None).unwrap();
        let b = g.add("b", Binary::new(BinaryKind::Mul), &[a, a]).unwrap();
        assert_eq!(g.constant_value(b).unwrap().to_i64().unwrap(), [1, 4]);
        assert_eq!(g.nodes().count(), 0);
    }

    #[test]
    fn quantised_operands_without_kernel_go_through_f32_and_say_so() {
        let mut g = Graph::new();
        let x = g.input("x", Fact::new(DType::U8, &[1, 2]).quantized(per_tensor(0.5, 10))).unwrap();
        let out = Fact::new(DType::U8, &[]).quantized(per_tensor(1.0 / 256.0, 0)).as_output();
        let y = g.add_as("y", Softmax { beta: 1.0, log: true }, &[x], out).unwrap();
        g.output(y);
        let mut session = prepare(&g, Tier::Portable).unwrap();
        assert_eq!(session.proof().fallbacks.len(), 1, "{:?}", session.proof());
        session.set_input(0, &[10, 10]).unwrap();
        session.invoke().unwrap();
        assert_eq!(session.output(0).unwrap(), [0, 0]);
    }

    struct Seen(Vec<(usize, String, Vec<u8>)>);

    impl crate::Observer for Seen {
        fn started(&mut self, index: usize) {
            assert_eq!(index, self.0.len());
        }
        fn finished(&mut self, index: usize, output: &TensorInfo, bytes: &[u8]) {
            self.0.push((index, output.name.clone(), bytes.to_vec()));
        }
    }

    #[test]
    fn an_observer_sees_every_node_by_its_original_name() {
        let mut g = Graph::new();
        let x = g.input("x", Fact::new(DType::I32, &[2])).unwrap();
        let y = g.add("double", Binary::new(BinaryKind::Add), &[x, x]).unwrap();
        let z = g.add("square", Binary::new(BinaryKind::Mul), &[y, y]).unwrap();
        g.output(z);
        let mut session = prepare(&g, Tier::Portable).unwrap();
        session.set_input(0, as_bytes(&[3i32, -1])).unwrap();
        let mut seen = Seen(Vec::new());
        session.invoke_observed(&mut seen).unwrap();
        let names: Vec<&str> = seen.0.iter().map(|(_, n, _)| n.as_str()).collect();
        assert_eq!(names, ["double", "square"]);
        assert_eq!(names, session.nodes().iter().map(|n| n.name.as_str()).collect::<Vec<_>>());
        assert_eq!(seen.0[1].2, as_bytes(&[36i32, 4]));
    }
}
