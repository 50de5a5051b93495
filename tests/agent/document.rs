//! The example by hand in `agent/PROTOCOL.md`, run as it stands there.

use protocol::{AgentMessage, Event, LineReader, Outcome};
use std::{env, fs, path::Path, process::Command};
use tempfile::tempdir;

#[test]
fn the_example_by_hand_works() {
    let document =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("agent/PROTOCOL.md")).unwrap();
    let (_, rest) = document.split_once("```sh\n").expect("a block of shell");
    let (script, _) = rest.split_once("```").expect("its end");
    let agent = Path::new(env!("CARGO_BIN_EXE_bench-agent")).parent().unwrap();
    let path = format!("{}:{}", agent.display(), env::var("PATH").unwrap());
    let dir = tempdir().unwrap();
    let run = Command::new("sh").args(["-euc", script]).current_dir(dir.path()).env("PATH", path).output();
    let run = run.unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let mut lines = LineReader::new(run.stdout.as_slice());
    let mut all = Vec::new();
    while let Some(message) = lines.next_message::<AgentMessage>().unwrap() {
        all.push(message);
    }
    assert!(matches!(all.first(), Some(AgentMessage::Hello { .. })));
    assert!(matches!(all.last(), Some(AgentMessage::UnitDone { .. })), "{:?}", all.last());
    let ended = |m: &AgentMessage| {
        matches!(m, AgentMessage::Event { event: Event::TrialFinished { outcome: Outcome::Ok, .. }, .. })
    };
    assert!(all.iter().any(ended));
}
