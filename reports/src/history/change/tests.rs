//! Invented nights, and which changes of level are found in them.

use super::super::tests::{invented, night};
use super::*;
use stats::Rng;

const NIGHTS: u32 = 60;

/// What is invented of each night.
#[derive(Clone)]
struct Night {
    /// True logarithm of the value.
    level: f64,
    /// What the whole device is slower by, as a logarithm.
    device: f64,
    reference: Option<&'static str>,
}

fn rows(of: impl Fn(u32) -> Night) -> Vec<Row> {
    let mut rng = Rng::new(3);
    (0..NIGHTS)
        .map(|day| {
            let Night { level, device, reference } = of(day);
            let (own, other) = (0.003 * rng.normal(), 0.01 * rng.normal());
            let value = 1e6 * (level + device + own + other).exp();
            let mut row = invented(0, &night(day), &format!("r{day}"), value);
            if let Some(reference) = reference {
                row.reference_sha256 = Some(reference.to_owned());
                row.reference_stack = Some("builtin/cpu".to_owned());
                let slower = if reference == "slow" { 1.3 } else { 1.0 };
                row.ratio = Some(0.5 / slower * (level + own).exp());
            }
            row
        })
        .collect()
}

fn step(day: u32, at: u32, by: f64) -> f64 {
    if day >= at { (1.0 + by).ln() } else { 0.0 }
}

fn plain(day: u32) -> Night {
    Night { level: step(day, 30, 0.05), device: 0.0, reference: None }
}

#[test]
fn a_step_is_told_with_what_moved_there() {
    let mut rows = rows(plain);
    for (day, row) in rows.iter_mut().enumerate() {
        row.model_sha256 = if day < 30 { "old".into() } else { "new".into() };
        row.agent = Some(if day < 32 { "1".into() } else { "2".into() });
        row.runtime_version = Some(if day < 50 { "1".into() } else { "2".into() });
    }
    let found = trend(&rows, Pelt::REPORT);
    let [change] = &found.changes[..] else { panic!("{:?}", found.changes) };
    assert_eq!((change.since.as_str(), change.worse, change.basis), (&*night(30), true, Basis::Absolute));
    assert!(change.earliest < change.since && change.since < change.latest);
    let Effect::Ratio { ratio, low, high } = change.effect else { panic!("a time has a ratio") };
    assert!((ratio - 1.05).abs() < 0.01 && low < 1.05 && 1.05 < high && high - low < 0.03, "{change:?}");
    assert!((change.before.value / 1e6 - 1.0).abs() < 0.01 && (change.after.value / 1e6 - 1.05).abs() < 0.01);
    assert_eq!((change.before.points, change.after.points), (30, 30));
    assert_eq!((change.before.run.as_str(), change.after.run.as_str()), ("r29", "r30"));
    assert_eq!((change.before.model_sha256.as_str(), change.after.model_sha256.as_str()), ("old", "new"));
    let moved: Vec<_> = change.moved.iter().map(|m| (m.what.as_str(), m.night.clone(), m.exact)).collect();
    assert_eq!(moved, [("model", night(30), true), ("agent", night(32), false)]);
}

#[test]
fn what_slows_the_whole_device_is_no_change_beside_a_reference() {
    let throttled = |day| Night { level: 0.0, device: step(day, 30, 0.1), reference: Some("r") };
    assert_eq!(trend(&rows(throttled), Pelt::PROPOSE).changes, []);
    let alone = |day| Night { reference: None, ..throttled(day) };
    assert_eq!(trend(&rows(alone), Pelt::PROPOSE).changes.len(), 1);
}

#[test]
fn beside_a_reference_smaller_steps_are_seen() {
    let small = |day| Night { level: step(day, 40, 0.015), device: 0.0, reference: Some("r") };
    let found = trend(&rows(small), Pelt::REPORT);
    let [change] = &found.changes[..] else { panic!("{:?}", found.changes) };
    assert_eq!(change.basis, Basis::Ratio);
    assert!(change.since.as_str().abs_diff_nights(&night(40)) <= 1, "{}", change.since);
}

trait Apart {
    fn abs_diff_nights(&self, other: &str) -> usize;
}

impl Apart for str {
    fn abs_diff_nights(&self, other: &str) -> usize {
        let at = |date: &str| (0..NIGHTS as usize).position(|day| night(day as u32) == date).unwrap();
        at(self).abs_diff(at(other))
    }
}

#[test]
fn another_reference_is_no_change_and_hides_none() {
    let swapped =
        |day| Night { level: 0.0, device: 0.0, reference: Some(if day < 30 { "r" } else { "slow" }) };
    assert_eq!(trend(&rows(swapped), Pelt::PROPOSE).changes, [], "the ratio alone would have moved by 30 %");
    let both = |day| Night { level: step(day, 30, 0.08), ..swapped(day) };
    let found = trend(&rows(both), Pelt::REPORT);
    let [change] = &found.changes[..] else { panic!("{:?}", found.changes) };
    assert_eq!((change.since.as_str(), change.basis), (&*night(30), Basis::Absolute));
    // two hosts, two references, by turns
    let turns =
        |day| Night { level: 0.0, device: 0.0, reference: Some(if day % 2 == 0 { "r" } else { "slow" }) };
    assert_eq!(trend(&rows(turns), Pelt::PROPOSE).changes, []);
}

#[test]
fn a_runtime_that_slows_model_and_reference_alike_is_seen_when_the_reference_has_another_stack() {
    let mut rows = rows(|day| Night { level: 0.0, device: step(day, 30, 0.08), reference: Some("r") });
    for row in &mut rows[30..] {
        row.reference_stack = Some("builtin/cpu, newer".to_owned());
    }
    let found = trend(&rows, Pelt::REPORT);
    assert_eq!(found.changes.len(), 1, "{:?}", found.changes);
    assert_eq!(found.changes[0].since, night(30));
}

#[test]
fn invalid_rows_are_counted_and_left_out() {
    let mut rows = rows(|_| Night { level: 0.0, device: 0.0, reference: None });
    for row in &mut rows[20..30] {
        row.valid = false;
        row.value = row.value.map(|value| value * 2.0);
    }
    rows[40].value = None;
    let found = trend(&rows, Pelt::PROPOSE);
    assert_eq!((found.invalid, found.points.len(), found.changes), (11, 60, vec![]));
    assert!(found.points[20].steadied.is_none() && found.points[20].value.is_some());
}

#[test]
fn a_score_changes_by_a_difference_and_up_is_better() {
    let mut rows = rows(plain);
    for (day, row) in rows.iter_mut().enumerate() {
        row.key.metric = "accuracy_top1".into();
        row.value = Some(if day < 30 { 0.8 } else { 0.75 });
    }
    let found = trend(&rows, Pelt::REPORT);
    let [change] = &found.changes[..] else { panic!("{:?}", found.changes) };
    let Effect::Difference { difference, low, high } = change.effect else { panic!("a difference") };
    assert!((difference + 0.05).abs() < 1e-12 && low == high && change.worse, "{change:?}");
    let short = trend(&rows[..3], Pelt::REPORT);
    assert_eq!((short.points.len(), short.changes.len()), (3, 0));
    assert_eq!(trend(&[], Pelt::REPORT).points, []);
}

#[test]
fn the_interval_of_an_effect_holds_what_it_promises() {
    let (mut held, mut found) = (0, 0);
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let mut drift = 0.0;
        let rows: Vec<Row> = (0..NIGHTS)
            .map(|day| {
                drift = 0.3 * drift + 0.95 * rng.normal();
                let value = 1e6 * (0.01 * drift + step(day, 30, 0.06)).exp();
                invented(0, &night(day), &format!("r{day}"), value)
            })
            .collect();
        if let [change] = &trend(&rows, Pelt::REPORT).changes[..]
            && let Effect::Ratio { low, high, .. } = change.effect
        {
            found += 1;
            held += u32::from(low <= 1.06 && 1.06 <= high);
        }
    }
    println!("{found} of 400 steps of 6 % found, {held} intervals held the truth");
    assert!(found > 380 && f64::from(held) >= 0.9 * f64::from(found), "{held} of {found}");
}

#[test]
fn a_new_build_is_looked_at_in_its_first_night() {
    let level = |step: f64, nights: u32| {
        let mut all = rows(|day| Night {
            level: if day + 1 >= nights { step } else { 0.0 },
            device: 0.0,
            reference: Some("pinned"),
        });
        all.truncate(nights as usize);
        if let Some(last) = all.last_mut() {
            last.model_sha256 = "new".to_owned();
        }
        all
    };
    for nights in [2, 8, 40] {
        let change = new_build(&level(0.05, nights)).unwrap();
        assert!(change.worse && change.since == night(nights - 1), "{change:?}");
        assert_eq!((change.after.points, change.before.points), (1, nights as usize - 1));
        assert!(change.moved.iter().any(|moved| moved.what == "model"));
    }
    assert_eq!(new_build(&level(0.0, 40)), None, "within the noise");
    let same = level(0.05, 40).into_iter().map(|row| Row { model_sha256: "old".to_owned(), ..row });
    assert_eq!(new_build(&same.collect::<Vec<_>>()), None, "nothing is new");
    assert_eq!(new_build(&level(0.05, 1)), None);
}
