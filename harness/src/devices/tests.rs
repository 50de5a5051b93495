//! What is chosen by which words, among devices written down, found and said.

use super::*;
use crate::{exit::Exit, transport::Found};
use std::{future::Future, path::Path, pin::Pin};

type Search = Pin<Box<dyn Future<Output = Result<Vec<Found>, String>> + Send>>;

fn open(reach: &Reach, _: &Options) -> Result<Box<dyn crate::transport::Transport>, String> {
    let script = crate::transport::Script::default();
    if reach.address.is_empty() {
        return Err("an address is missing".to_owned());
    }
    Ok(Box::new(crate::transport::Fake::new("/nowhere".into(), script)))
}

fn open_here(_: &Reach, _: &Options) -> Result<Box<dyn crate::transport::Transport>, String> {
    Ok(Box::new(crate::transport::Fake::new("/nowhere".into(), crate::transport::Script::default())))
}

fn phones() -> Search {
    let found = |address: &str, state: Result<(), &str>| Found {
        address: address.to_owned(),
        about: "Pixel".to_owned(),
        state: state.map_err(str::to_owned),
    };
    let all = vec![
        found("S1", Ok(())),
        found("S2", Err("unauthorized")),
        found("10.0.0.7:5555", Ok(())),
        found("10.0.0.7/5555", Ok(())),
        found("10.0.0.7@5555", Ok(())),
    ];
    Box::pin(async { Ok(all) })
}

fn hung() -> Search {
    Box::pin(std::future::pending())
}

const KINDS: &[Kind] = &[
    Kind { name: "here", about: "", listed: true, open: open_here, discover: None },
    Kind { name: "usb", about: "", listed: true, open, discover: Some(phones) },
    Kind { name: "net", about: "", listed: true, open, discover: None },
    Kind { name: "bus", about: "", listed: true, open, discover: Some(hung) },
];

const FILE: &str = r#"
[[device]]
id = "pi4"
transport = "net"
address = "pi@pi4"
tags = ["pi", "old"]

[[device]]
id = "pi5"
transport = "net"
address = "pi@pi5"
tags = ["pi"]

[[device]]
id = "pixel"
transport = "usb"
address = "S1"
tags = ["phone"]
"#;

fn registry() -> Registry {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("devices.toml");
    fs::write(&path, FILE).unwrap();
    let written = file::read(&path, KINDS).unwrap();
    Registry::new(KINDS, written, Options::default(), Size(7))
}

/// Time is paused: the transport that hangs costs none.
fn on_loop<T>(work: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(work)
}

fn chosen(asked: &[&str]) -> CommandResult<Vec<String>> {
    let asked: Vec<String> = asked.iter().map(|a| (*a).to_owned()).collect();
    let chosen = on_loop(registry().choose(&asked))?;
    Ok(chosen.into_iter().map(|known| known.id).collect())
}

#[test]
fn devices_are_chosen_by_id_tag_transport_address_and_logic() {
    let found = ["usb-S2", "usb-10.0.0.7-5555", "usb-5555", "usb-10.0.0.7-5555-2"];
    for (asked, wanted) in [
        (&["pi5"][..], &["pi5"][..]),
        (&["here"], &["here"]),
        (&["tag:pi"], &["pi4", "pi5"]),
        (&["tag:pi and not pi4"], &["pi5"]),
        (&["not net and not usb"], &["here"]),
        (&["pi5", "pi4", "tag:pi"], &["pi5", "pi4"]),
        (&["net"], &["pi4", "pi5"]),
        (&["usb and not tag:phone"], &found),
        (&["usb-S2"], &["usb-S2"]),
        (&["usb:S1"], &["pixel"]),
        (&["net:pi@pi5"], &["pi5"]),
        (&["net:root@pi6"], &["net-root-pi6"]),
        (&["net:root@pi6 or pi4"], &["pi4", "net-root-pi6"]),
        (&["usb:S9"], &["usb-S9"]),
        (&["tag:pi and (tag:old or tag:none)"], &["pi4"]),
    ] {
        assert_eq!(chosen(asked).unwrap(), wanted, "{asked:?}");
    }
    let all = chosen(&["all"]).unwrap();
    assert_eq!(all, [&["here", "pi4", "pi5", "pixel"][..], &found].concat(), "{all:?}");
}

#[test]
fn what_chooses_nothing_and_what_makes_no_sense_are_told_apart() {
    for (asked, exit, words) in [
        ("tag:pii", Exit::NothingSelected, "did you mean \"pi\""),
        ("pi4 and pi5", Exit::NothingSelected, "chooses no device"),
        ("not all", Exit::NothingSelected, "pixel"),
        ("bus", Exit::NothingSelected, "did not say within 5 s"),
        ("pi6", Exit::Usage, "no device \"pi6\" (did you mean \"pi4\"?)"),
        ("tag:pi and nought", Exit::Usage, "nought"),
        ("nte:pi@pi5", Exit::Usage, "nte:pi@pi5"),
        ("pi4 pi5", Exit::Usage, "stands where it should end"),
        ("net:a@b or net:a-b", Exit::Usage, "two devices would have the name \"net-a-b\""),
    ] {
        let failure = chosen(&[asked]).unwrap_err();
        let message = format!("{:#}", failure.error);
        assert_eq!(failure.exit, exit, "{asked}: {message}");
        assert!(message.contains(words), "{asked}: {message}");
    }
}

#[test]
fn the_list_knows_what_was_found_and_what_hangs() {
    let Listing { devices, notes } = on_loop(registry().list());
    let pixel = devices.iter().find(|d| d.id == "pixel").unwrap();
    assert_eq!((pixel.about.as_str(), pixel.tags.as_slice()), ("Pixel", ["phone".to_owned()].as_slice()));
    let locked = devices.iter().find(|d| d.id == "usb-S2").unwrap();
    assert_eq!(locked.state, Err("unauthorized".to_owned()));
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].starts_with("bus: "), "{notes:?}");
}

#[test]
fn a_plan_leads_back_to_its_devices() {
    let registry = registry();
    let asked: Vec<String> = ["pi5", "usb:S2", "net:root@pi6"].map(str::to_owned).to_vec();
    let first = on_loop(registry.choose(&asked)).unwrap();
    let plans: Vec<DevicePlan> = first.iter().map(Known::plan).collect();
    let again = registry.again(&plans).unwrap();
    let places = |all: &[Known]| -> Vec<(String, Reach)> {
        all.iter().map(|known| (known.id.clone(), known.reach.clone())).collect()
    };
    assert_eq!(places(&again), places(&first));
    let gone = DevicePlan::new("x", "pigeon");
    assert_eq!(registry.again(&[gone]).unwrap_err().exit, Exit::Usage);
}

#[test]
fn ids_are_file_names() {
    for (transport, address, id) in [
        ("adb", "10.0.0.7:5555", "adb-10.0.0.7-5555"),
        ("fake", "/a b/script.toml", "fake-script"),
        ("ssh", "pi@[fe80::1%eth0]:22", "ssh-pi--fe80--1-eth0--22"),
        ("adb", "\u{1b}[31m$(x)\n", "adb---31m--x"),
        ("local", "", "local"),
    ] {
        assert_eq!(derived_id(transport, address), id);
        assert!(check_name(id).is_ok(), "{id}");
    }
    assert_eq!(derived_id("adb", &"x".repeat(500)).len(), MAX_NAME);
    for bad in ["", ".", "-a", "a/b", "a b", "a:b", "all", "not", "check", "é", &"x".repeat(65)] {
        assert!(check_id(bad).is_err(), "{bad}");
    }
    assert!(check_name("pair").is_ok(), "a tag stands behind `tag:`");
    assert_eq!(Path::new("runs").join("adb-10.0.0.7-5555").components().count(), 2);
}
