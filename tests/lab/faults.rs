//! What real devices do to a run, and what becomes of the run. The whole table is in `table.rs`; here is what must
//! hold on every day.

use crate::{
    lab::{Lab, phone, pi},
    scene::{count, journal},
    talk::Talk,
};
use std::path::Path;

/// Units that a device has completed.
pub(crate) fn units_of(run: &Path, device: u64) -> usize {
    let entries = journal(run);
    let started = |unit: &serde_json::Value| {
        let of_device = |e: &serde_json::Value| {
            // which fresh units a finding takes depends on what was found
            e["device"] == device && e["purpose"] != "confirmation"
        };
        entries.iter().any(|e| e["entry"] == "unit-started" && e["unit"] == *unit && of_device(e))
    };
    entries.iter().filter(|e| e["entry"] == "unit-done" && started(&e["unit"])).count()
}

/// Units of performance per device: as many as it takes to be decided, and no more.
pub(crate) const UNITS: usize = 6;
/// What a device measures in all: two models, each with its outputs and its profile, and those units.
pub(crate) const ALL_UNITS: usize = 4 + UNITS;

/// Two pretended models, with units long enough for something to happen in them.
pub(crate) fn suite(lab: &Lab) -> String {
    lab.scene.model("a", "busy_us = 200");
    lab.scene.model("b", "sleep_us = 200");
    let path = lab.scene.suite(&["a", "b"], UNITS as u32);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("min_ms = 10\nmax_ms = 500", "min_ms = 400\nmax_ms = 2000")).unwrap();
    path.display().to_string()
}

#[test]
fn an_agent_that_is_killed_costs_one_attempt() {
    let Some(lab) = Lab::up("killed agents", &["1", "1"]) else { return };
    let suite = suite(&lab);
    let names = [phone(1), pi(1)].join(",");
    let mut talk = Talk::start(lab.bench(&["run", "--suite", &suite, "--device", &names]));
    let mut waiting = vec![("10.99.0.11-", "phone1"), ("10.99.0.101:", "pi1")];
    while let Some(said) = talk.next() {
        let measures = |(address, _): &(&str, &str)| said.line.contains(address);
        if said.line.contains("performance unit 1 of")
            && let Some(at) = waiting.iter().position(measures)
        {
            lab.fault(&[waiting.remove(at).1, "kill-agent"]);
        }
    }
    talk.finish().expect(0, &["the agent went away; it was killed by signal 9"]);
    let run = lab.scene.the_run();
    assert_eq!((count(&run, "finished"), count(&run, "unit-lost")), (1, 2));
    assert_eq!((units_of(&run, 0), units_of(&run, 1)), (ALL_UNITS, ALL_UNITS), "every unit of both, once");
}

#[test]
fn a_cable_and_a_disk_that_are_pulled_leave_the_others_at_work() {
    let Some(lab) = Lab::up("a pulled cable", &["2", "1"]) else { return };
    let suite = suite(&lab);
    let names = [phone(1), phone(2), pi(1)].join(",");
    let mut talk = Talk::start(lab.bench(&["run", "--suite", &suite, "--device", &names]));
    talk.until(&["10.99.0.101", "performance unit 1"]);
    lab.fault(&["pi1", "unmount"]);
    lab.fault(&["pi1", "kill-agent"]);
    lab.fault(&["phone1", "link-down"]);
    talk.until(&["10.99.0.11", "lost"]);
    // it comes back while it is waited for
    lab.fault(&["phone1", "link-up"]);
    talk.finish().expect(3, &["10.99.0.101: given up", "Permission denied", "bench run --resume"]);
    let run = lab.scene.the_run();
    assert_eq!(
        (units_of(&run, 0), units_of(&run, 1)),
        (ALL_UNITS, ALL_UNITS),
        "both phones came to their end"
    );
    assert_eq!(count(&run, "device-lost"), 1);

    lab.fault(&["pi1", "mount"]);
    lab.run(&["run", "--resume", "latest"]).expect(0, &["going on with"]);
    assert_eq!((units_of(&run, 2), count(&run, "finished")), (ALL_UNITS, 1));
}

#[test]
fn nobody_deletes_the_files_of_a_device_that_measures() {
    let Some(lab) = Lab::up("files in use", &["1", "1"]) else { return };
    let suite = suite(&lab);
    let names = [phone(1), pi(1)].join(",");
    let mut talk = Talk::start(lab.bench(&["run", "--suite", &suite, "--device", &names]));
    let mut waiting = vec![("10.99.0.11-", phone(1)), ("10.99.0.101:", pi(1))];
    while let Some(said) = talk.next() {
        let measures = |(address, _): &(&str, String)| said.line.contains(address);
        if said.line.contains("performance unit 1 of")
            && let Some(at) = waiting.iter().position(measures)
        {
            let done = lab.run(&["devices", "clean", &waiting.remove(at).1]);
            done.expect(3, &["nothing was deleted: agent ", " is measuring there"]);
        }
    }
    talk.finish().expect(0, &[]);
    assert_eq!((waiting.len(), count(&lab.scene.the_run(), "unit-lost")), (0, 0));
    let done = lab.run(&["devices", "clean", &names]).expect(0, &[]);
    assert_eq!(done.stdout.matches(", 0 B left").count(), 2, "{done:?}");
}

#[test]
fn a_folder_that_the_user_cannot_write_to_is_a_mistake_in_the_settings() {
    let Some(lab) = Lab::up("folders that cannot be used", &["1", "1"]) else { return };
    let suite = suite(&lab);
    for (name, device) in [("phone1", phone(1)), ("pi1", pi(1))] {
        lab.fault(&[name, "noexec"]);
        let done = lab.run(&["run", "--suite", &suite, "--device", &device, "--out", name]);
        done.expect(3, &["status 126", "`noexec`, name another with `cache` in devices.toml"]);
    }
    for (transport, address, cache) in
        [("adb", "10.99.0.11:5555", "/system/bench"), ("ssh", "pi@10.99.0.101", "/usr/lib/bench")]
    {
        let device = format!(
            "[[device]]\nid = \"mine\"\ntransport = \"{transport}\"\naddress = \"{address}\"\ncache = \"{cache}\"\n"
        );
        lab.scene.write("devices.toml", device);
        let done = lab.run(&["run", "--suite", &suite, "--device", "mine"]);
        done.expect(2, &["mine", cache, "cannot be used", "`cache` in devices.toml"]);
    }
}

#[test]
fn whoever_interrupts_a_run_does_not_wait_for_a_device_that_hangs() {
    let Some(lab) = Lab::up("an interrupted wait", &["1", "1"]) else { return };
    let suite = suite(&lab);
    for (name, device) in [("phone1", phone(1)), ("pi1", pi(1))] {
        let numbered = ["sh", "-c", "echo number $$ >&2; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_bench")];
        let words = ["run", "--suite", &suite, "--device", &device, "--out", name];
        let mut talk = Talk::start(lab.command(&[&numbered[..], &words].concat()));
        let number = talk.next().unwrap().line.split(' ').next_back().unwrap().to_owned();
        talk.until(&["performance unit 1 of"]);
        lab.fault(&[name, "suspend"]);
        assert!(lab.command(&["kill", "-INT", &number]).status().unwrap().success());
        talk.finish().expect(3, &["interrupted", "bench run --resume"]);
        lab.fault(&[name, "clear"]);
    }
}
