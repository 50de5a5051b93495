//! The lines of `agent/PROTOCOL.md` are what they say they are.

use protocol::{AgentMessage, HostMessage};
use serde_json::Value;

const DOCUMENT: &str = include_str!("../../PROTOCOL.md");

/// Everything that the document shows is known to the protocol, and means the same when written again.
fn known(shown: &Value, written: &Value, path: &str) {
    match (shown, written) {
        (Value::Object(shown), Value::Object(written)) => {
            for (key, value) in shown {
                let place = format!("{path}.{key}");
                let written = written.get(key);
                assert!(written.is_some(), "{place} is not known");
                known(value, written.unwrap_or(&Value::Null), &place);
            }
        }
        (Value::Array(shown), Value::Array(written)) => {
            assert_eq!(shown.len(), written.len(), "{path}");
            shown.iter().zip(written).for_each(|(s, w)| known(s, w, path));
        }
        (Value::Number(shown), Value::Number(written)) if shown.is_f64() => {
            let (shown, written) = (shown.as_f64().expect("it is one"), written.as_f64().expect("it is one"));
            assert!((shown - written).abs() <= shown.abs() * 1e-6, "{path}: {shown} {written}");
        }
        _ => assert_eq!(shown, written, "{path}"),
    }
}

fn check<T: serde::Serialize + serde::de::DeserializeOwned>(line: &str) {
    let message: T = serde_json::from_str(line).expect(line);
    let written = serde_json::to_value(&message).expect("it is written");
    known(&serde_json::from_str(line).expect(line), &written, "");
}

#[test]
fn every_line_is_a_message() {
    let lines = |mark: &'static str| DOCUMENT.lines().filter_map(move |line| line.strip_prefix(mark));
    lines("> {").for_each(|line| check::<HostMessage>(&format!("{{{line}")));
    lines("< {").for_each(|line| check::<AgentMessage>(&format!("{{{line}")));
    assert!(lines("> {").count() >= 7 && lines("< {").count() >= 20, "the examples were not found");
}
