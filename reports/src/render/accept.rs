//! What reads our files, as strict as the strictest of those that do: for tests.

use quick_xml::events::{BytesStart, Event};
use std::collections::BTreeSet;

/// An element of Jenkins' schema for JUnit (junit-10.xsd), as far as we use it: its name, the elements it may stand in,
/// the attributes it must have, and those that it may have.
type Rule = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

const RULES: &[Rule] = &[
    ("testsuites", &[""], &[], &["name", "time", "tests", "failures", "errors"]),
    (
        "testsuite",
        &["testsuites"],
        &["name", "tests", "failures", "errors"],
        &["skipped", "time", "timestamp", "hostname", "id"],
    ),
    ("properties", &["testsuite"], &[], &[]),
    ("property", &["properties"], &["name", "value"], &[]),
    ("testcase", &["testsuite"], &["name"], &["time", "classname", "group"]),
    ("failure", &["testcase"], &[], &["type", "message"]),
    ("error", &["testcase"], &[], &["type", "message"]),
    ("skipped", &["testcase"], &[], &["type", "message"]),
    ("system-out", &["testcase", "testsuite"], &[], &[]),
];
/// Elements with text in them.
const TEXT: &[&str] = &["failure", "error", "skipped", "system-out"];

/// Well-formed, and what Jenkins' schema allows.
pub(super) fn junit(page: &str) {
    let mut reader = quick_xml::Reader::from_str(page);
    let mut open: Vec<String> = Vec::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) => {
                let parent = open.last().cloned().unwrap_or_default();
                open.push(element(&start, &parent));
            }
            Event::End(_) => {
                open.pop().unwrap();
            }
            Event::Text(text) => {
                let text = text.decode().unwrap();
                let inside = open.last().map(String::as_str).unwrap_or_default();
                assert!(text.trim().is_empty() || TEXT.contains(&inside), "{text:?} in {inside}");
            }
            Event::GeneralRef(name) => {
                assert!(["amp", "lt", "gt", "quot"].contains(&name.decode().unwrap().as_ref()), "{name:?}");
            }
            Event::Decl(_) => assert!(open.is_empty()),
            Event::Eof => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(open.is_empty());
}

fn element(start: &BytesStart<'_>, parent: &str) -> String {
    let name = String::from_utf8(start.name().as_ref().to_vec()).unwrap();
    let (_, parents, required, optional) =
        RULES.iter().find(|(known, ..)| *known == name).unwrap_or_else(|| panic!("<{name}>"));
    assert!(parents.contains(&parent), "<{name}> in <{parent}>");
    let attributes = start.attributes().map(|a| {
        let attribute = a.unwrap();
        let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).unwrap();
        assert!(!value.contains(char::is_control), "{value:?}");
        String::from_utf8(attribute.key.as_ref().to_vec()).unwrap()
    });
    let attributes: Vec<String> = attributes.collect();
    assert!(required.iter().all(|name| attributes.iter().any(|a| a == name)), "{name}: {attributes:?}");
    let known = |a: &String| required.iter().chain(*optional).any(|name| a == name);
    assert!(attributes.iter().all(known), "{name}: {attributes:?}");
    name
}

/// Every line of a family below its type, every point once, labels that end where they seem to.
pub(super) fn openmetrics(page: &str) {
    let body = page.strip_suffix("# EOF\n").expect("an end");
    let (mut family, mut seen) = (String::new(), BTreeSet::new());
    for line in body.lines() {
        if let Some(of) = line.strip_prefix("# TYPE ") {
            family = of.strip_suffix(" gauge").expect("a gauge").to_owned();
            assert!(seen.insert(family.clone()), "{family} twice");
        } else if let Some(of) = line.strip_prefix("# HELP ") {
            assert!(of.starts_with(&format!("{family} ")), "{line}");
        } else {
            let rest = line.strip_prefix(&format!("{family}{{")).unwrap_or_else(|| panic!("{line}"));
            let value = after_labels(rest);
            assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
            assert!(seen.insert(line.strip_suffix(value).unwrap().to_owned()), "{line} twice");
        }
    }
}

/// What follows the labels, each of them read to its closing quote.
fn after_labels(mut rest: &str) -> &str {
    loop {
        let (name, quoted) = rest.split_once("=\"").unwrap();
        assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        let (mut escaped, mut end) = (false, None);
        for (at, c) in quoted.char_indices() {
            match c {
                _ if escaped => {
                    assert!(matches!(c, '\\' | '"' | 'n'), "\\{c}");
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        let after = &quoted[end.expect("a closing quote") + 1..];
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return after.strip_prefix("} ").unwrap(),
        }
    }
}

/// Commands that GitHub's runner reads as they were meant, and nothing beside them.
pub(super) fn annotations(page: &str) {
    for line in page.lines() {
        let rest = line.strip_prefix("::error title=").or_else(|| line.strip_prefix("::warning title="));
        let (title, message) = rest.unwrap_or_else(|| panic!("{line}")).split_once("::").unwrap();
        assert!(!title.is_empty() && !title.contains([':', ',']), "{title}");
        for part in title.split('%').skip(1).chain(message.split('%').skip(1)) {
            assert!(["25", "3A", "2C"].iter().any(|code| part.starts_with(code)), "{line}");
        }
    }
}

/// One object, with a row of results for each column that the table has.
pub(super) fn json(page: &str) {
    let document: serde_json::Value = serde_json::from_str(page).unwrap();
    let columns = (crate::table::RESULTS.columns)().len();
    for row in document["results"].as_array().unwrap() {
        assert_eq!(row.as_object().unwrap().len(), columns);
    }
    assert!(document["headline"].is_string() && document["contrasts"].is_array());
}

/// Events that a viewer of traces understands.
pub(super) fn trace(page: &str) {
    let document: serde_json::Value = serde_json::from_str(page).unwrap();
    for event in document["traceEvents"].as_array().unwrap() {
        let number = |key: &str| event[key].as_f64().is_some_and(|n| n >= 0.0);
        assert!(event["name"].is_string() && number("pid"), "{event}");
        match event["ph"].as_str().unwrap() {
            "X" => assert!(number("ts") && number("dur") && number("tid"), "{event}"),
            "C" => assert!(number("ts") && event["args"]["value"].is_number(), "{event}"),
            "M" => assert!(event["args"]["name"].is_string(), "{event}"),
            other => panic!("{other}"),
        }
    }
    assert!(document["otherData"]["run"].is_string());
}
