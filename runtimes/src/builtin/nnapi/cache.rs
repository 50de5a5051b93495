//! The compilation cache of our own accelerator: what a first load finds out and a warm load need not find out
//! again. The device checks a partition once before it trusts its kernels with it: one execution on made-up inputs
//! must give the bits that the portable kernels give. The cache holds that it did.

use super::host::{Host, Request};
use super::{Cached, Compiled, DeviceInfo};
use crate::builtin::graph::Graph;
use crate::builtin::kernels::Tier;
use crate::{Error, Result};
use protocol::{Sha256, Sha256Hex};
use std::path::Path;

/// What identifies a graph as compiled by a device: the same again is the same token.
pub(super) fn token(info: &DeviceInfo, graph: &Graph, detail: &str) -> Sha256Hex {
    let mut hash = Sha256::new();
    let mut take = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    for text in [&info.name, &info.version, detail] {
        take(text.as_bytes());
    }
    take(format!("{:?} {:?} {:?}", graph.dialect(), graph.inputs(), graph.outputs()).as_bytes());
    for (_, node) in graph.nodes() {
        take(format!("{:?} {:?} {:?}", node.op, node.inputs, node.outputs).as_bytes());
    }
    for (_, value) in graph.values() {
        take(format!("{:?}", value.fact).as_bytes());
        take(value.constant.as_ref().map_or(&[], |tensor| tensor.bytes()));
    }
    hash.finish()
}

/// Checks a graph, unless the folder says that it was checked.
///
/// # Errors
/// Kernels that give other bits, or a folder that cannot be written.
pub(super) fn checked(folder: &Path, info: &DeviceInfo, graph: &Graph, tier: Tier) -> Result<Cached> {
    let token = token(info, graph, tier.name());
    let path = folder.join(format!("{}.nnapi", token.as_str()));
    let content = format!("{} {} {} {}\n", info.name, info.version, tier.name(), token.as_str());
    if std::fs::read(&path).is_ok_and(|kept| kept == content.as_bytes()) {
        return Ok(Cached::WarmLoad);
    }
    let run = |tier: Tier| {
        let mut host = Host::new(graph, tier, Request::Direct, Cached::Unused)?;
        let inputs: Vec<Vec<u8>> = graph.inputs().iter().map(|id| numbers(graph.fact(*id).bytes())).collect();
        let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        let mut outputs = vec![Vec::new(); graph.outputs().len()];
        host.run(&inputs, &mut outputs)?;
        Ok::<_, Error>(outputs)
    };
    if tier != Tier::BASELINE && run(tier)? != run(Tier::BASELINE)? {
        let message = format!("{} kernels give other bits than portable ones on this device", tier.name());
        return Err(Error::Runtime(message));
    }
    let at = |source| Error::Io { path: path.clone(), source };
    std::fs::create_dir_all(folder).map_err(at)?;
    // Another process may read at any time: the file is whole or not there.
    let fresh = folder.join(format!("{}.{}", token.short(), std::process::id()));
    std::fs::write(&fresh, content).map_err(at)?;
    std::fs::rename(&fresh, &path).map_err(at)?;
    Ok(Cached::FirstLoad)
}

/// Bytes that are no pattern, the same every time.
fn numbers(count: usize) -> Vec<u8> {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 32) as u8
    };
    (0..count).map(next).collect()
}
