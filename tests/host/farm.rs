//! Several devices out of a `devices.toml`: chosen, listed, measured, checked, cleaned, and found again.

use crate::scene::{Done, Scene, count, finish};
use std::fs;

/// This machine and three pretended devices, one of which never answers.
fn farm() -> Scene {
    let scene = Scene::new();
    scene.write("scripts/good.toml", "");
    scene.write("scripts/other.toml", "");
    scene.write("scripts/hung.toml", "hangs = true\n");
    let device = |id: &str, tags: &str, more: &str| {
        let script = scene.path(&format!("scripts/{id}.toml"));
        format!(
            "[[device]]\nid = \"{id}\"\ntransport = \"fake\"\naddress = {script:?}\ntags = [{tags}]\n{more}\n"
        )
    };
    let text = [
        device("good", "\"pair\", \"quick\"", ""),
        device("other", "\"pair\"", "cache-limit = \"1MB\""),
        device("hung", "\"slow\"", ""),
    ];
    scene.write("devices.toml", text.concat());
    scene
}

fn run(scene: &Scene, devices: &[&str], more: &[&str]) -> Done {
    let a = scene.model("a", "").display().to_string();
    let mut args = vec!["run", &a, "--units", "1"];
    args.extend(devices.iter().flat_map(|device| ["--device", device]));
    args.extend(more);
    scene.run(&args)
}

fn devices_of(scene: &Scene) -> Vec<(String, String)> {
    let plan = fs::read_to_string(scene.the_run().join("plan.json")).unwrap();
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    plan["devices"].as_array().unwrap().iter().map(|d| (text(&d["id"]), text(&d["transport"]))).collect()
}

#[test]
fn devices_are_chosen_by_tag_and_logic() {
    let scene = farm();
    run(&scene, &["tag:pair and not other"], &[]).expect(0, &[]);
    assert_eq!(devices_of(&scene), [("good".to_owned(), "fake".to_owned())]);
    let scene = farm();
    run(&scene, &["other,good"], &["--device", "tag:pair"]).expect(0, &[]);
    assert_eq!(devices_of(&scene).into_iter().map(|(id, _)| id).collect::<Vec<_>>(), ["other", "good"]);
    run(&scene, &["tag:pairs"], &[]).expect(4, &["no device has the tag \"pairs\" (did you mean \"pair\"?)"]);
    run(&scene, &["good and other"], &[]).expect(4, &["chooses no device"]);
    run(&scene, &["goood"], &[]).expect(2, &["did you mean \"good\""]);
    run(&scene, &["good and"], &[]).expect(2, &["tag:NAME"]);
}

#[test]
fn the_file_is_found_named_and_checked() {
    let scene = farm();
    fs::rename(scene.path("devices.toml"), scene.path("my-farm.toml")).unwrap();
    let file = scene.path("my-farm.toml").display().to_string();
    run(&scene, &["good"], &[]).expect(2, &["no device \"good\""]);
    run(&scene, &["good"], &["--devices", &file]).expect(0, &[]);
    let config = scene.path("config");
    let mut command = scene.command(&["devices", "--format", "json"]);
    fs::create_dir_all(config.join("bench")).unwrap();
    fs::write(config.join("bench/devices.toml"), "[[device]]\nid = \"mine\"\ntransport = \"local\"\n")
        .unwrap();
    command.env("XDG_CONFIG_HOME", &config);
    let done = finish(command.spawn().unwrap()).expect(0, &["\"mine\""]);
    assert!(!done.stdout.contains("\"id\": \"local\""), "one machine is one device: {}", done.stdout);
    scene.write("bench.toml", "devices = \"my-farm.toml\"\n");
    scene.run(&["devices", "good"]).expect(0, &["imagined"]);
    scene.write("my-farm.toml", "[[device]]\nid = \"a\"\ntransprot = \"fake\"\n");
    scene.run(&["devices"]).expect(2, &["my-farm.toml:3:1", "did you mean `transport`"]);
    scene.run(&["doctor"]).expect(2, &["devices    BAD", "my-farm.toml:3:1", "agent      good"]);
}

#[test]
fn a_device_that_hangs_hides_no_other_in_the_list() {
    let scene = farm();
    let done = scene.run(&["devices"]).expect(0, &["hung: no answer within 10 s"]);
    for id in ["local", "good", "other"] {
        let line = done.stdout.lines().find(|line| line.trim_start().starts_with(id)).unwrap();
        assert!(line.contains("ready"), "{line}");
    }
}

#[test]
fn devices_are_checked_each_with_an_answer_of_its_own() {
    let scene = farm();
    scene.write("scripts/other.toml", "[[fault]]\nkind = \"disk-full\"\nat = 0\ntimes = 9\n");
    let done = scene.run(&["devices", "check", "tag:pair or local"]).expect(3, &[]);
    let line = |id: &str| done.stdout.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert!(line("local: ").contains("ok, "), "{done:?}");
    assert!(line("good: ").contains("ok, "), "{done:?}");
    assert!(line("other: ").starts_with("other: no space left on the device"), "{done:?}");
    assert!(!scene.path("runs").exists(), "nothing is kept");
}

#[test]
fn what_a_device_cannot_do_as_it_is_written_down_is_a_setting_and_named() {
    let cool_down = "cool-down = { below-celsius = 60, wait = \"1s\", zone = \"nonsense\" }";
    for (line, words) in [
        ("cores = [1023]", ["cores: core 1023 does not exist", "usable are 0"]),
        (cool_down, ["cool-down: there is no thermal zone \"nonsense\"", "there are: "]),
        ("identity = \"keys/none\"", ["identity: ", "keys/none: No such file"]),
    ] {
        let scene = Scene::new();
        scene.write("devices.toml", format!("[[device]]\nid = \"here\"\ntransport = \"local\"\n{line}\n"));
        run(&scene, &["here"], &[]).expect(2, &words);
        scene.run(&["devices", "check", "here"]).expect(2, &words);
    }
}

#[test]
fn pushed_files_are_deleted_and_old_ones_make_room() {
    let scene = farm();
    run(&scene, &["good"], &[]).expect(0, &[]);
    let files = scene.path("cache/bench/fake/files");
    let pushed = fs::read_dir(&files).unwrap().count();
    assert!(pushed > 0);
    scene.run(&["devices", "clean", "good", "--keep", "1GB"]).expect(0, &["good: 0 files deleted"]);
    scene.run(&["devices", "clean", "good"]).expect(0, &[&format!("good: {pushed} files deleted")]);
    assert_eq!(fs::read_dir(&files).unwrap().count(), 0);
    // a file of an earlier run leaves a device whose limit is passed, and the files of this run stay
    fs::write(files.join("f".repeat(64)), vec![0; 2_000_000]).unwrap();
    fs::remove_dir_all(scene.path("runs")).unwrap();
    run(&scene, &["other"], &[]).expect(0, &[]);
    assert_eq!(fs::read_dir(&files).unwrap().count(), pushed);
    scene.run(&["devices", "clean", "hung", "--keep", "much"]).expect(2, &["--keep"]);
}

#[test]
fn a_run_is_resumed_on_the_same_devices() {
    let scene = farm();
    let script = scene.path("scripts/good.toml").display().to_string();
    let said = format!("fake:{script}");
    // the first session loses its device for good, the second finds it in order
    scene.write("scripts/good.toml", "[[fault]]\nkind = \"lost\"\nat = 1\ntimes = 9\n");
    scene.write("devices.toml", "");
    run(&scene, &[&said], &[]).expect(3, &["--resume"]);
    scene.write("scripts/good.toml", "");
    scene.run(&["run", "--resume", "latest"]).expect(0, &[]);
    assert_eq!(count(&scene.the_run(), "finished"), 1);
    assert_eq!(devices_of(&scene), [("fake-good".to_owned(), "fake".to_owned())]);
}

#[test]
fn agents_are_listed_with_what_to_do() {
    let scene = Scene::new();
    let dir = scene.path("agents").display().to_string();
    scene
        .run(&["agents", "list", "--agent-dir", &dir])
        .expect(0, &["aarch64", "arm", "x86_64", "missing", "bench agents build aarch64"]);
    scene.write("agents/bench-agent-arm", "#!/bin/sh\n");
    let done = scene.run(&["agents", "list", "--agent-dir", &dir, "--format", "json"]).expect(0, &[]);
    let all: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&all[1]["arch"], &all[1]["ready"]), (&"arm".into(), &false.into()));
    assert!(all[1]["trouble"].as_str().unwrap().contains("no executable of Linux"), "{all}");
    scene.run(&["agents", "build", "mips"]).expect(2, &["no architecture \"mips\"", "aarch64"]);
    scene.run(&["agents", "build", "arm", "--source", &dir]).expect(2, &["--source"]);
}

/// The header of a static executable for 64-bit ARM, and nothing behind it.
fn header() -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(64, 0);
    for (at, value) in [(16, 2), (18, 183), (20, 1), (52, 64), (54, 56), (58, 64)] {
        bytes[at] = value;
    }
    bytes
}

#[test]
fn an_agent_that_is_missing_wrong_or_not_the_pushed_one_is_named() {
    let scene = farm();
    scene.write("scripts/good.toml", "needs-agent = \"aarch64\"\n");
    scene
        .run(&["devices", "good"])
        .expect(3, &["no agent for a device of architecture aarch64", "agents build"]);
    run(&scene, &["good"], &[]).expect(2, &["bench agents build aarch64"]);
    scene.write("agents/bench-agent-aarch64", "#!/bin/sh\n");
    let dir = scene.path("agents").display().to_string();
    run(&scene, &["good"], &["--agent-dir", &dir]).expect(2, &["is no executable of Linux"]);
    scene.write("agents/bench-agent-aarch64", header());
    run(&scene, &["good"], &["--agent-dir", &dir]).expect(3, &["not the agent that was pushed has answered"]);
    assert!(!scene.path("runs").exists(), "nothing was begun");
}
