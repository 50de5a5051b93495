//! What a user does first: phones and Pis measured at once, again, and looked at.

use crate::{
    lab::{Lab, phone, pi},
    scene::{count, journal},
};
use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt, path::Path};

/// Where the transports keep pushed files, below a device's root.
const CACHES: [&str; 2] = ["/data/local/tmp", "/home/pi/.cache"];

/// Name and inode of every pushed file: a file that is pushed again is another one.
fn pushed(lab: &Lab, devices: &[&str]) -> BTreeSet<(String, u64)> {
    let mut found = BTreeSet::new();
    for device in devices {
        let mut folders: Vec<_> = CACHES.iter().map(|cache| lab.on_device(device, cache)).collect();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false if name.len() == 64 => {
                        found.insert((format!("{device} {name}"), entry.metadata().unwrap().ino()));
                    }
                    false => {}
                }
            }
        }
    }
    found
}

/// Every device has given samples, under its own name.
fn assert_all_measured(run: &Path, devices: u64) {
    assert_eq!(count(run, "finished"), 1);
    let entries = journal(run);
    for device in 0..devices {
        let of_device = |e: &&serde_json::Value| e["device"] == device;
        assert!(
            entries.iter().filter(of_device).any(|e| e["entry"] == "device"),
            "{device} has not answered"
        );
        let units: BTreeSet<u64> = entries
            .iter()
            .filter(of_device)
            .filter(|e| e["entry"] == "unit-started" && e["purpose"] == "performance")
            .map(|e| e["unit"].as_u64().unwrap())
            .collect();
        let samples: u64 = entries
            .iter()
            .filter(|e| e["entry"] == "unit-done" && units.contains(&e["unit"].as_u64().unwrap()))
            .map(|e| e["counts"]["samples"].as_u64().unwrap())
            .sum();
        assert!(samples > 0, "{device} has measured nothing");
    }
}

#[test]
fn two_phones_and_two_pis_are_measured_at_once_and_get_every_file_once() {
    let Some(lab) = Lab::up("phones and Pis at once", &["2", "2"]) else { return };
    let names = [phone(1), phone(2), pi(1), pi(2)].join(",");
    let words = ["compare", "--suite", "smoke", "--device", &names];
    let first = lab.run(&words).expect(0, &["report.html", " sent"]);
    assert!(!first.stderr.contains("every file was there"), "{}", first.stderr);
    let run = lab.scene.the_run();
    assert_all_measured(&run, 4);
    for device in ["phone1", "phone2", "pi1", "pi2"] {
        assert_eq!(lab.processes(device), "", "{device}: nothing is left running");
    }

    let before = pushed(&lab, &["phone1", "phone2", "pi1", "pi2"]);
    assert!(before.len() >= 4 * 4, "an agent, two models and data, each on four devices: {before:?}");
    let second = lab.run(&[&words[..], &["--out", "second"]].concat()).expect(0, &["report.html"]);
    assert_eq!(second.stderr.matches("every file was there").count(), 4, "{}", second.stderr);
    assert_eq!(pushed(&lab, &["phone1", "phone2", "pi1", "pi2"]), before, "nothing is pushed twice");
}

#[test]
fn what_a_phone_says_of_itself_is_shown_harmlessly() {
    let Some(lab) = Lab::up("a phone with hostile properties", &["1", "0"]) else { return };
    let mut properties = lab.read("phone1", "/system/build.prop");
    // the first value of a name counts
    let hostile = b"\x1b[2J\x07\xff\x9b31m$(reboot)`reboot`\"'<script>alert(1)</script>\x08\r";
    for name in ["ro.product.model", "ro.product.manufacturer", "ro.soc.model", "ro.build.version.release"] {
        let line = [name.as_bytes(), b"=", hostile, b"\n"].concat();
        properties.splice(0..0, line);
    }
    lab.write("phone1", "/system/build.prop", &properties);
    let harmless = |text: &str| !text.chars().any(|c| c.is_control() && c != '\n');
    for words in [vec!["devices"], vec!["compare", "--suite", "smoke", "--device"]] {
        let done = lab.run(&[&words[..], &[&phone(1)]].concat());
        assert!(harmless(&done.stdout) && harmless(&done.stderr), "{done:?}");
        assert!(!done.stderr.contains("panicked"), "{done:?}");
    }
    let run = lab.scene.the_run();
    assert_all_measured(&run, 1);
    let report = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(
        report.contains("alert(1)") && !report.contains("<script>alert"),
        "its model is named, and only named"
    );
    assert!(harmless(&report), "no control characters in the report");
}

#[test]
fn a_phone_and_a_pi_of_another_architecture_run_the_agent_that_is_theirs() {
    for arch in ["aarch64", "arm"] {
        let test = format!("devices of {arch}");
        if std::env::consts::ARCH != "x86_64" {
            println!("left out: {test}: this machine is no x86_64");
            continue;
        }
        let Some(lab) = Lab::up(&test, &[&format!("--{arch}"), "1", "1"]) else { continue };
        let names = [phone(1), pi(1)].join(",");
        lab.run(&["compare", "--suite", "smoke", "--device", &names]).expect(0, &["report.html"]);
        let run = lab.scene.the_run();
        assert_all_measured(&run, 2);
        let answered: Vec<_> = journal(&run).into_iter().filter(|e| e["entry"] == "device").collect();
        assert!(
            answered.iter().all(|e| e["info"]["arch"] == arch && e["info"]["emulated"] == true),
            "{answered:?}"
        );
    }
}
