//! Ping-pong units: the order replays from the seed, blocks are whole, one worker's end is not another's.

use crate::client::{Agent, agent, fake_model, outcomes, ping_pong, trial};
use protocol::{Event, Mode, Outcome, SamplePhase, UnitOrder, UnitSpec};
use std::collections::BTreeMap;
use tempfile::tempdir;

fn run(unit: &UnitSpec, dir: &std::path::Path) -> Vec<Event> {
    let (mut agent, _) = Agent::greeted(&agent(), dir);
    let events = agent.run(unit);
    agent.bye();
    events
}

/// Trials in the order of an event of theirs.
fn order_of(events: &[Event], pick: impl Fn(&Event) -> Option<u32>) -> Vec<u32> {
    events.iter().filter_map(pick).collect()
}

/// Trial of every steady burst, by block and position.
fn bursts(events: &[Event]) -> BTreeMap<(u32, u32), u32> {
    let steady = events.iter().filter_map(|e| match e {
        Event::Samples { trial, samples } if samples.phase == SamplePhase::Steady => {
            Some(((samples.block, samples.burst), *trial))
        }
        _ => None,
    });
    steady.collect()
}

#[test]
fn the_order_replays_from_the_seed() {
    let dir = tempdir().unwrap();
    let model = |name: &str| trial(fake_model(dir.path(), name, "busy_us = 60"));
    let unit = ping_pong(vec![model("a"), model("b"), model("c")]);
    let events = run(&unit, dir.path());
    assert_eq!(outcomes(&events).len(), 3);
    assert!(outcomes(&events).iter().all(|(_, outcome)| *outcome == Outcome::Ok));

    let mut order = UnitOrder::new(unit.seed, 3);
    let loaded = order_of(&events, |e| if let Event::Loaded { trial, .. } = e { Some(*trial) } else { None });
    let warmed =
        order_of(&events, |e| if let Event::WarmedUp { trial, .. } = e { Some(*trial) } else { None });
    assert_eq!((loaded.as_slice(), warmed.as_slice()), (order.load(), order.warm_up()));
    let bursts = bursts(&events);
    let blocks = bursts.keys().map(|(block, _)| block + 1).max().unwrap_or_default();
    assert!(blocks >= 1);
    let drawn: Vec<u32> = (0..blocks).flat_map(|_| order.next_block()).collect();
    assert_eq!(bursts.values().copied().collect::<Vec<_>>(), drawn);
}

#[test]
fn every_burst_begins_with_a_switch_that_stands_apart() {
    let dir = tempdir().unwrap();
    let model = |name: &str| trial(fake_model(dir.path(), name, "busy_us = 60"));
    let events = run(&ping_pong(vec![model("a"), model("b")]), dir.path());
    let switches = events.iter().filter_map(|e| match e {
        Event::Samples { trial, samples } if samples.phase == SamplePhase::Switch => {
            assert_eq!(samples.wall_ns.len(), 1);
            Some(((samples.block, samples.burst), *trial))
        }
        _ => None,
    });
    assert_eq!(switches.collect::<BTreeMap<_, _>>(), bursts(&events));
}

#[test]
fn all_of_a_block_run_where_its_first_ran() {
    let dir = tempdir().unwrap();
    let model = |name: &str| trial(fake_model(dir.path(), name, "busy_us = 60"));
    let events = run(&ping_pong(vec![model("a"), model("b"), model("c")]), dir.path());
    let mut cores: BTreeMap<u32, Vec<Option<u32>>> = BTreeMap::new();
    for event in &events {
        if let Event::Samples { samples, .. } = event
            && samples.phase == SamplePhase::Steady
        {
            cores.entry(samples.block).or_default().push(samples.core);
        }
    }
    assert!(!cores.is_empty());
    for (block, cores) in cores {
        assert!(cores.len() == 6 && cores.iter().all(|core| *core == cores[0]), "{block}: {cores:?}");
    }
}

#[test]
fn one_that_dies_does_not_take_the_others_with_it() {
    let dir = tempdir().unwrap();
    let model = |name: &str, more: &str| {
        let mut spec = trial(fake_model(dir.path(), name, &format!("busy_us = 60\n{more}")));
        if let Mode::Performance(rules) = &mut spec.mode {
            // One burst of at most 17 invokes: the faults below come after it, and before block 6.
            (rules.warm_up.min_iterations, rules.warm_up.max_ms) = (0, 1);
        }
        spec
    };
    let mut hanging = model("hangs", "fault = hang at invoke 40");
    hanging.deadline_ms = 2_000;
    let mut many = model("fine", "");
    if let Mode::Performance(rules) = &mut many.mode {
        rules.min_iterations = 200;
    }
    let unit = ping_pong(vec![
        model("crashes", "fault = crash 11 at invoke 45"),
        many,
        hanging,
        model("never", "fault = error at load"),
    ]);
    let events = run(&unit, dir.path());
    let ended: BTreeMap<u32, Outcome> = outcomes(&events).into_iter().collect();
    assert_eq!(ended.len(), 4);
    assert_eq!(ended[&0], Outcome::Crashed { signal: 11, why: None });
    assert_eq!(ended[&1], Outcome::Ok);
    assert_eq!(ended[&2], Outcome::TimedOut);
    assert!(matches!(ended[&3], Outcome::Failed { .. }));
    // A block in which somebody died was not the same for all.
    let dropped: Vec<u32> = events
        .iter()
        .filter_map(|e| if let Event::BlockDropped { block, .. } = e { Some(*block) } else { None })
        .collect();
    assert!(!dropped.is_empty());
    let kept: usize = events
        .iter()
        .filter_map(|e| match e {
            Event::Samples { trial: 1, samples }
                if samples.phase == SamplePhase::Steady && !dropped.contains(&samples.block) =>
            {
                Some(samples.wall_ns.len())
            }
            _ => None,
        })
        .sum();
    assert!(kept >= 200, "{kept}");
}

#[test]
fn too_little_time_is_said() {
    let dir = tempdir().unwrap();
    let model = |name: &str| {
        let mut spec = trial(fake_model(dir.path(), name, "busy_us = 2000"));
        if let Mode::Performance(rules) = &mut spec.mode {
            (rules.min_iterations, rules.max_ms) = (1_000_000, 30);
        }
        spec
    };
    let events = run(&ping_pong(vec![model("a"), model("b")]), dir.path());
    let cut = order_of(&events, |e| match e {
        Event::CutShort { trial, reason } if reason.contains("of 1000000 iterations") => Some(*trial),
        _ => None,
    });
    assert_eq!(cut, [0, 1]);
    assert!(outcomes(&events).iter().all(|(_, outcome)| *outcome == Outcome::Ok));
}
