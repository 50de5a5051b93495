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
        entries.iter().any(|e| e["entry"] == "unit-started" && e["unit"] == *unit && e["device"] == device)
    };
    entries.iter().filter(|e| e["entry"] == "unit-done" && started(&e["unit"])).count()
}

/// Two pretended models, with units long enough for something to happen in them.
pub(crate) fn suite(lab: &Lab, units: u32) -> String {
    lab.scene.model("a", "busy_us = 200");
    lab.scene.model("b", "sleep_us = 200");
    let path = lab.scene.suite(&["a", "b"], units);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("min_ms = 10\nmax_ms = 500", "min_ms = 500\nmax_ms = 2000")).unwrap();
    path.display().to_string()
}

#[test]
fn an_agent_that_is_killed_costs_one_attempt() {
    let Some(lab) = Lab::up("killed agents", &["1", "1"]) else { return };
    let suite = suite(&lab, 4);
    let names = [phone(1), pi(1)].join(",");
    let mut talk = Talk::start(lab.bench(&["run", "--suite", &suite, "--device", &names]));
    for device in ["phone1", "pi1"] {
        let address = if device == "phone1" { "10.99.0.11" } else { "10.99.0.101" };
        talk.until(&[address, "performance unit 1"]);
        lab.fault(&[device, "kill-agent"]);
        talk.until(&[address, "lost", "the agent went away"]);
    }
    talk.finish().expect(0, &[]);
    let run = lab.scene.the_run();
    assert_eq!((count(&run, "finished"), count(&run, "unit-lost")), (1, 2));
    assert_eq!((units_of(&run, 0), units_of(&run, 1)), (2 + 4, 2 + 4), "every unit of both, once");
}

#[test]
fn a_cable_that_is_pulled_takes_one_device_and_the_others_go_on() {
    let Some(lab) = Lab::up("a pulled cable", &["2", "1"]) else { return };
    let suite = suite(&lab, 4);
    let names = [phone(1), phone(2), pi(1)].join(",");
    let mut talk = Talk::start(lab.bench(&["run", "--suite", &suite, "--device", &names]));
    talk.until(&["10.99.0.11", "performance unit 1"]);
    lab.fault(&["phone1", "link-down"]);
    talk.until(&["10.99.0.11", "lost"]);
    // it comes back while it is waited for
    lab.fault(&["phone1", "link-up"]);
    talk.until(&["10.99.0.11", "ready"]);
    lab.fault(&["pi1", "unmount"]);
    lab.fault(&["pi1", "kill-agent"]);
    talk.finish().expect(3, &["10.99.0.101", "given up", "Permission denied", "bench run --resume"]);
    let run = lab.scene.the_run();
    assert_eq!((units_of(&run, 0), units_of(&run, 1)), (2 + 4, 2 + 4), "both phones came to their end");
    assert_eq!(count(&run, "device-lost"), 1);

    lab.fault(&["pi1", "mount"]);
    lab.run(&["run", "--resume", "latest"]).expect(0, &["going on with"]);
    assert_eq!((units_of(&run, 2), count(&run, "finished")), (2 + 4, 1));
}
