//! NNAPI devices of this process: partitions and fallbacks of real models, and graphs of every odd kind. What a device
//! ran must be, to the bit, what the CPU gives; only arithmetic that was allowed to be f16 may differ.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may stop, and says what it saw and left out"
)]

mod graphs;
mod models;
mod random;

use protocol::{DType, TensorInfo};
use runtimes::builtin::graph::Graph;
use runtimes::builtin::kernels::Tier;
use runtimes::builtin::nnapi::{self, Devices, Options};
use runtimes::{Session, builtin};

/// The graph on a device.
fn on(graph: &Graph, device: &str, options: &Options) -> Box<dyn Session> {
    let devices = Devices::in_process();
    nnapi::compile(graph, devices.choose(Some(device)).unwrap(), options, "").unwrap()
}

/// Outputs of a session for made-up inputs, and of its second invoke with others.
fn outputs(session: &mut dyn Session) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for seed in [1, 2] {
        for (index, info) in session.inputs().to_vec().iter().enumerate() {
            session.set_input(index, &numbers(info, seed + index as u64)).unwrap();
        }
        session.invoke().unwrap();
        all.extend((0..session.outputs().len()).map(|i| session.output(i).unwrap().to_vec()));
    }
    all
}

/// Elements that fit the type: reals from −1 to 1, small numbers for what may be an index.
fn numbers(info: &TensorInfo, seed: u64) -> Vec<u8> {
    let count: u64 = info.shape.iter().map(|d| d.unwrap()).product();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u32
    };
    let mut bytes = Vec::new();
    for _ in 0..count {
        let number = next();
        let real = number as f32 / u32::MAX as f32 * 2.0 - 1.0;
        match info.dtype {
            DType::F32 => bytes.extend(real.to_le_bytes()),
            DType::F16 => bytes.extend(half::f16::from_f32(real).to_le_bytes()),
            DType::I64 => bytes.extend(u64::from(number % 50).to_le_bytes()),
            DType::I32 if info.quantization.is_none() => bytes.extend((number % 50).to_le_bytes()),
            DType::Bool => bytes.push((number % 2) as u8),
            other => bytes.extend(&number.to_le_bytes()[..other.size()]),
        }
    }
    bytes
}

/// The same on the CPU, unpartitioned.
fn on_cpu(graph: &Graph) -> Vec<Vec<u8>> {
    outputs(&mut builtin::prepare(graph, Tier::detect()).unwrap())
}
