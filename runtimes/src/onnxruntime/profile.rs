//! Reads the profile that ONNX Runtime writes: a Chrome trace, of which only the runs and their nodes count here.
//! Times are whole microseconds, because the library writes no finer ones.

use crate::{Error, Result};
use protocol::NodeProfile;
use serde::Deserialize;
use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use tempfile::TempDir;

/// Longest profile that is read: some 200,000 events. The library stops at a million.
const MAX_PROFILE_BYTES: u64 = 128 << 20;
/// Operators whose body is a graph with nodes of its own, which are part of their time.
const WITH_BODIES: [&str; 4] = ["If", "Loop", "Scan", "SequenceMap"];
/// What the library puts behind the name of a node.
const KERNEL: &str = "_kernel_time";

/// A folder for one profile, which goes when it is dropped.
pub(super) fn folder() -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("bench-onnxruntime-").tempdir();
    folder.map_err(|source| Error::Io { path: std::env::temp_dir(), source })
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    cat: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    ts: u64,
    #[serde(default)]
    dur: u64,
    #[serde(default)]
    args: Args,
}

#[derive(Default, Deserialize)]
struct Args {
    #[serde(default)]
    op_name: String,
    #[serde(default)]
    provider: String,
    #[serde(default)]
    node_index: String,
}

/// Nodes in execution order, with one time for each of `runs` runs.
///
/// # Errors
/// The file is missing, too long, no profile, or does not have so many runs.
pub(super) fn read(path: &Path, runs: usize) -> Result<Vec<NodeProfile>> {
    let at = |source| Error::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(at)?;
    let bytes = file.metadata().map_err(at)?.len();
    if bytes > MAX_PROFILE_BYTES {
        let message =
            format!("a profile of {bytes} bytes, at most {MAX_PROFILE_BYTES}: ask for fewer iterations");
        return Err(Error::Unsupported(message));
    }
    let events: Vec<Event> = serde_json::from_reader(BufReader::new(file))
        .map_err(|e| Error::Runtime(format!("the profile of ONNX Runtime cannot be read: {e}")))?;
    nodes(events, runs)
}

fn nodes(mut events: Vec<Event>, runs: usize) -> Result<Vec<NodeProfile>> {
    events.sort_by_key(|event| event.ts);
    let begins: Vec<u64> =
        events.iter().filter(|e| e.cat == "Session" && e.name == "model_run").map(|e| e.ts).collect();
    if begins.len() != runs {
        let message = format!("the profile of ONNX Runtime has {} runs, not {runs}", begins.len());
        return Err(Error::Runtime(message));
    }
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    let mut nodes: Vec<NodeProfile> = Vec::new();
    let mut body_until = 0;
    for event in events.into_iter().filter(|e| e.cat == "Node") {
        let Some(name) = event.name.strip_suffix(KERNEL) else { continue };
        // Runs begin one after the other; what is before the first belongs to none.
        let Some(run) = begins.partition_point(|begin| *begin <= event.ts).checked_sub(1) else { continue };
        if event.ts < body_until {
            continue;
        }
        if WITH_BODIES.contains(&event.args.op_name.as_str()) {
            body_until = event.ts + event.dur;
        }
        let place = *places.entry((name.to_owned(), event.args.node_index)).or_insert(nodes.len());
        if place == nodes.len() {
            let (node, op, unit) = (name.to_owned(), event.args.op_name, event.args.provider);
            nodes.push(NodeProfile { node, op, unit, wall_ns: vec![0; runs] });
        }
        if let Some(wall_ns) = nodes.get_mut(place).and_then(|node| node.wall_ns.get_mut(run)) {
            *wall_ns = wall_ns.saturating_add(event.dur.saturating_mul(1000));
        }
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(cat: &str, name: &str, ts: u64, dur: u64, op: &str, index: u32) -> String {
        format!(
            r#"{{"cat":"{cat}","pid":1,"tid":1,"dur":{dur},"ts":{ts},"ph":"X","name":"{name}","args":{{"op_name":"{op}",
            "provider":"P","node_index":"{index}","input_type_shape":[{{"float":[1]}}]}}}}"#
        )
    }

    fn written(events: &[String]) -> (TempDir, std::path::PathBuf) {
        let folder = folder().unwrap();
        let path = folder.path().join("profile.json");
        std::fs::write(&path, format!("[{}]", events.join(",\n"))).unwrap();
        (folder, path)
    }

    #[test]
    fn nodes_get_one_time_per_run_and_bodies_count_once() {
        let mut events = vec![event("Session", "model_loading", 0, 5, "", 0)];
        for begin in [10, 100] {
            events.push(event("Node", "a_kernel_time", begin + 1, 2, "Conv", 0));
            events.push(event("Node", "inner_kernel_time", begin + 5, 3, "Add", 0));
            events.push(event("Node", "inner_kernel_time", begin + 9, 3, "Add", 0));
            events.push(event("Node", "loop_kernel_time", begin + 4, 9, "Loop", 1));
            events.push(event("Node", "b_kernel_time", begin + 13, begin, "Relu", 2));
            events.push(event("Node", "b_fence_before", begin + 12, 1, "Relu", 2));
            events.push(event("Session", "model_run", begin, 80, "", 0));
        }
        let (_folder, path) = written(&events);
        let nodes = read(&path, 2).unwrap();
        let rows: Vec<_> =
            nodes.iter().map(|n| (n.node.as_str(), n.op.as_str(), n.wall_ns.as_slice())).collect();
        assert_eq!(
            rows,
            [
                ("a", "Conv", &[2000, 2000][..]),
                ("loop", "Loop", &[9000, 9000]),
                ("b", "Relu", &[10_000, 100_000])
            ]
        );
        assert_eq!(nodes[0].unit, "P");
        let words = read(&path, 3).unwrap_err().to_string();
        assert!(words.contains("has 2 runs, not 3"), "{words}");
    }

    #[test]
    fn what_is_no_profile_is_an_error() {
        let (_folder, path) = written(&["what".to_owned()]);
        assert!(read(&path, 1).unwrap_err().to_string().contains("cannot be read"));
        std::fs::remove_file(&path).unwrap();
        assert!(read(&path, 1).is_err());
    }

    #[test]
    fn the_folder_goes_with_its_owner() {
        let folder = folder().unwrap();
        let path = folder.path().to_owned();
        assert!(path.is_dir());
        drop(folder);
        assert!(!path.exists());
    }
}
