//! Invented runs side by side.

use super::*;
use crate::testing::{FakeCase, Recipe};
use protocol::{Format, Precision};

/// A run of two variants, the second `slow` times as slow; another seed is another session, with other labels.
fn run(seed: u64, slow: f64, noise: f64) -> RunRecord {
    let case = |variant: &str, latency_ns, output_noise| FakeCase {
        variant: variant.to_owned(),
        format: Format::Tflite,
        precision: Precision::Fp32,
        latency_ns,
        bytes: 100_000,
        output_noise,
    };
    let cases = vec![case("m@same", 200_000.0, 0.0), case("m@changed", 200_000.0 * slow, noise)];
    Recipe { seed, cases, units: 8, ..Recipe::small() }.run().record()
}

/// Makes the model of a case another file.
fn changed(mut record: RunRecord, case: CaseIndex) -> RunRecord {
    let sha256 = Sha256Hex::of_bytes(b"changed");
    record.plan.cases[case].model_sha256 = sha256.clone();
    let trials = record.units.iter_mut().flat_map(|unit| &mut unit.trials);
    for loaded in trials.filter(|t| t.case == case).filter_map(|t| t.loaded.as_mut()) {
        loaded.model_sha256 = sha256.clone();
    }
    record
}

fn row<'a>(found: &'a Diff, variant: &str, metric: &str) -> &'a Row {
    let mut rows = found.rows().filter(|(case, row)| case.variant == variant && row.metric == metric);
    rows.next().map(|(_, row)| row).expect("the row")
}

#[test]
fn what_looks_worse_needs_confirmation_and_is_never_called_worse() {
    for (slow, answer) in
        [(1.0, Answer::Inconclusive), (1.02, Answer::Inconclusive), (1.5, Answer::NeedsConfirmation)]
    {
        let found = diff(&run(1, 1.0, 0.0), &changed(run(2, slow, 0.0), 1));
        let latency = row(&found, "m@changed", "latency_ns");
        assert_eq!(latency.answer, answer, "{slow}: {latency:?}");
        let (low, high) = (latency.low.unwrap(), latency.high.unwrap());
        assert!(low < slow && slow < high && high / low > 1.05, "{latency:?}");
        let notes = latency.notes.join("; ");
        assert!(notes.contains("relative to m@same, the same file in both"), "{notes}");
        assert_eq!(notes.contains("looks worse"), answer == Answer::NeedsConfirmation, "{notes}");
    }
    let found = diff(&changed(run(2, 1.5, 0.0), 1), &run(1, 1.0, 0.0));
    assert_eq!(row(&found, "m@changed", "latency_ns").notes[0], "looks better");
    let timed = ["latency_ns", "first_inference_ns", "init_ns", "memory_peak_bytes"];
    let decided = |row: &Row| matches!(row.answer, Answer::Better | Answer::Worse | Answer::Equivalent);
    assert!(!found.rows().any(|(_, row)| timed.contains(&row.metric) && decided(row)), "{found:?}");
}

#[test]
fn without_a_file_in_common_the_error_between_sessions_is_wider() {
    let (base, head) = (run(1, 1.0, 0.0), changed(run(2, 1.0, 0.0), 1));
    let width = |found: &Diff| {
        let row = row(found, "m@changed", "latency_ns");
        (row.high.unwrap() / row.low.unwrap()).ln()
    };
    let (anchored, alone) = (diff(&base, &head), diff(&base, &changed(head.clone(), 0)));
    assert!(width(&alone) > 1.5 * width(&anchored), "{} {}", width(&alone), width(&anchored));
    assert!(!row(&alone, "m@changed", "latency_ns").notes.join(" ").contains("relative to"));
}

#[test]
fn the_same_file_is_said_to_be_the_same() {
    let found = diff(&run(1, 1.0, 0.0), &run(2, 1.0, 0.0));
    assert!(found.cases.iter().all(|case| case.identical));
    assert_eq!(row(&found, "m@same", "latency_ns").answer, Answer::IdenticalArtefact);
    assert_eq!(row(&found, "m@same", "model_bytes").answer, Answer::Equivalent);
    assert!(found.text(120).contains("identical artefact"), "{}", found.text(120));
}

#[test]
fn scores_are_paired_by_example_across_runs() {
    let base = run(1, 1.0, 0.0);
    // the outputs of the first session, in a second one
    let mut head = changed(run(1, 1.0, 0.0), 1);
    let same = diff(&base, &head);
    let accuracy = row(&same, "m@changed", "accuracy_top1");
    assert_eq!((accuracy.answer, accuracy.change), (Answer::Equivalent, Some(0.0)));
    assert!(accuracy.notes[0].contains("bit for bit"), "{accuracy:?}");
    let units = head.units.iter_mut().filter(|unit| unit.purpose == Purpose::Accuracy);
    for trial in units.flat_map(|unit| &mut unit.trials).filter(|t| t.case == 1) {
        trial.outputs.as_mut().unwrap().values.as_mut().unwrap().reverse();
    }
    let broken = diff(&base, &head);
    let accuracy = row(&broken, "m@changed", "accuracy_top1");
    assert_eq!(accuracy.answer, Answer::Worse, "{accuracy:?}");
    assert!(accuracy.high.unwrap() < 0.0 && accuracy.base > accuracy.head);
    let size = changed(run(1, 1.0, 0.0), 1);
    let mut larger = size.clone();
    larger.plan.cases[1].model_bytes *= 2;
    assert_eq!(row(&diff(&size, &larger), "m@changed", "model_bytes").answer, Answer::Worse);
}

/// What changes in a run.
type Change = fn(&mut RunRecord);

#[test]
fn what_was_not_measured_alike_is_not_compared_and_named() {
    let cases: [(&str, &str, Change); 9] = [
        ("device", "other", |r| r.devices[0].as_mut().unwrap().info.hostname = "other".into()),
        ("system", "6.9", |r| r.devices[0].as_mut().unwrap().info.kernel = "6.9".into()),
        ("agent", "9.9", |r| r.devices[0].as_mut().unwrap().agent.version = "9.9".into()),
        ("version of the runtime", "2.0", |r| {
            r.units
                .iter_mut()
                .flat_map(|u| &mut u.trials)
                .filter_map(|t| t.loaded.as_mut())
                .for_each(|l| l.proof.runtime_version = "2.0".into());
        }),
        ("rules of measuring", "77", |r| r.plan.measuring.ping_pong.burst_min_ms = 77),
        ("governor", "powersave", |r| {
            r.units
                .iter_mut()
                .flat_map(|u| &mut u.before)
                .flat_map(|s| &mut s.frequencies)
                .for_each(|p| p.governor = Some("powersave".into()));
        }),
        ("clock", "0.60 GHz", |r| {
            r.units
                .iter_mut()
                .flat_map(|u| &mut u.trials)
                .flat_map(|t| &mut t.bursts)
                .for_each(|b| b.khz = Some(600_000));
        }),
        ("temperature", "90 °C", |r| {
            r.units
                .iter_mut()
                .flat_map(|u| &mut u.before)
                .flat_map(|s| &mut s.thermal)
                .for_each(|z| z.milli_celsius = 90_000);
        }),
        ("throttling", "0x4", |r| {
            r.units.iter_mut().flat_map(|u| &mut u.after).for_each(|s| s.throttled = Some(4));
        }),
    ];
    let base = run(1, 1.0, 0.0);
    for (what, value, change) in cases {
        let mut head = changed(run(1, 1.0, 0.0), 1);
        change(&mut head);
        let found = diff(&base, &head);
        let apart = found.cases[1].apart.iter().find(|a| a.what == what).expect(what);
        assert!(apart.head.contains(value) && apart.base != apart.head, "{apart:?}");
        assert_eq!(row(&found, "m@changed", "latency_ns").answer, Answer::NotComparable, "{what}");
        assert_eq!(row(&found, "m@changed", "latency_ns").change, None);
        assert_eq!(row(&found, "m@changed", "accuracy_top1").answer, Answer::Equivalent, "{what}");
        assert!(found.text(120).contains(&format!("time and memory not compared: {what} was")), "{what}");
    }
}

#[test]
fn other_inputs_and_labels_bar_scores_too() {
    let base = run(1, 1.0, 0.0);
    let mut head = run(1, 1.0, 0.0);
    let trials = head.units.iter_mut().flat_map(|unit| &mut unit.trials);
    trials
        .filter_map(|t| t.loaded.as_mut())
        .for_each(|l| l.input_sha256 = vec![Sha256Hex::of_bytes(b"other")]);
    let found = diff(&base, &head);
    for metric in ["latency_ns", "accuracy_top1", "cosine"] {
        assert_eq!(row(&found, "m@same", metric).answer, Answer::NotComparable, "{metric}");
    }
    assert_eq!(row(&found, "m@same", "model_bytes").answer, Answer::Equivalent);
    let mut head = run(1, 1.0, 0.0);
    head.plan.dataset.labels = crate::record::Labels::Classes(vec![1; 60]);
    let found = diff(&base, &head);
    assert_eq!(row(&found, "m@same", "accuracy_top1").answer, Answer::NotComparable);
    assert_eq!(row(&found, "m@same", "latency_ns").answer, Answer::IdenticalArtefact);
}

#[test]
fn a_variant_on_another_runtime_is_named_with_both() {
    let (base, mut head) = (run(1, 1.0, 0.0), run(2, 1.0, 0.0));
    head.plan.cases[1].runtime = "litert/xnnpack".parse().unwrap();
    head.plan.cases.push(CasePlan { variant: "m@new".parse().unwrap(), ..head.plan.cases[0].clone() });
    let found = diff(&base, &head);
    assert_eq!(found.cases.len(), 1);
    assert_eq!(
        found.alone,
        [
            "m@changed is not compared: builtin/cpu in the base, litert/xnnpack in the head",
            "m@new (builtin/cpu, local, 1 threads) is only in the head",
        ]
    );
    let json: serde_json::Value = serde_json::from_str(&found.json().unwrap()).unwrap();
    assert_eq!(
        (json["schema"].as_u64(), json["cases"][0]["rows"][0]["answer"].as_str()),
        (Some(1), Some("identical-artefact"))
    );
}
