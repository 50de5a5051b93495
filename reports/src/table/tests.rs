//! Columns against their description, and cells against the record.

use super::*;
use crate::testing::Recipe;
use crate::verdict::verdicts;

/// Name and type of each column that SCHEMA.md lists under a heading.
fn described(table: &str) -> Vec<(String, String)> {
    let schema = include_str!("../../SCHEMA.md");
    let section = schema.split("\n## ").find(|part| part.starts_with(&format!("{table}\n"))).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let name = cells.next().unwrap().trim_matches('`').to_owned();
        (name, cells.next().unwrap().to_owned())
    })
    .collect()
}

#[test]
fn schema_md_describes_every_column_in_order() {
    let headings = include_str!("../../SCHEMA.md").matches("\n## ").count();
    assert_eq!(headings, TABLES.len());
    for table in TABLES {
        let columns: Vec<_> =
            (table.columns)().into_iter().map(|c| (c.name.to_owned(), c.kind.name().to_owned())).collect();
        assert_eq!(described(table.name), columns, "{}", table.name);
        assert!(
            include_str!("../../SCHEMA.md").contains(&format!("One row is {}.", table.row)),
            "{}",
            table.name
        );
    }
}

#[test]
fn frames_have_the_columns_and_types_that_are_promised() {
    let record = Recipe::small().run().record();
    let verdicts = verdicts(&record);
    for table in TABLES {
        let mut rows = 0;
        for frame in (table.frames)(Source { record: &record, verdicts: &verdicts }) {
            let frame = frame.unwrap();
            rows += frame.height();
            for (column, info) in frame.columns().iter().zip((table.columns)()) {
                assert_eq!((column.name().as_str(), column.dtype()), (info.name, &info.kind.dtype()));
            }
            assert_eq!(frame.width(), (table.columns)().len());
        }
        let expected = match table.name {
            "results" => verdicts.rows.len(),
            "cases" => 8,
            "canaries" => 0,
            "units" => 11 * 4 * 6,
            "trials" => 8 * 8,
            "memory" => 6 * 8 * 5,
            // seven profiled nodes each, and a fallback in the int8 ones
            "ops" => 8 * 7 + 2,
            // four numbers and memory, before and after each unit that has a state
            "env" => 7 * 2 * 5,
            "accuracy" => 11 * 60,
            _ => 6 * 8 * (6 + 2 * 2 * 7),
        };
        assert_eq!(rows, expected, "{}", table.name);
    }
}

#[test]
fn ratios_can_be_computed_again_from_the_units() {
    let record = Recipe::small().run().record();
    let verdicts = verdicts(&record);
    let source = Source { record: &record, verdicts: &verdicts };
    let frame = (units::TABLE.frames)(source).next().unwrap().unwrap();
    let column = |name: &str| frame.column(name).unwrap().clone();
    let (contrast, metric) = (column("contrast"), column("metric"));
    let logs = column("log_ratio").f64().unwrap().clone();
    for row in verdicts.rows.iter().filter(|row| row.metric.name == "latency_ns") {
        let mine: Vec<f64> = (0..frame.height())
            .filter(|i| contrast.u64().unwrap().get(*i) == Some(row.contrast as u64))
            .filter(|i| metric.str().unwrap().get(*i) == Some("latency_ns"))
            .filter_map(|i| logs.get(i))
            .collect();
        let mean = mine.iter().sum::<f64>() / mine.len() as f64;
        let ratio = crate::view::ratio_of(row).unwrap();
        assert!((mean.exp() - ratio).abs() < 1e-12, "{} {ratio}", mean.exp());
    }
}

/// Values of a column of a table.
fn values(frame: &DataFrame, name: &str) -> Vec<Option<f64>> {
    let column = frame.column(name).unwrap().as_materialized_series().clone();
    (0..frame.height()).map(|row| column.get(row).unwrap().extract::<f64>()).collect()
}

#[test]
fn accuracies_can_be_computed_again_from_their_examples() {
    let record = Recipe::small().run().record();
    let verdicts = verdicts(&record);
    let source = Source { record: &record, verdicts: &verdicts };
    let frames: Vec<_> = (accuracy::TABLE.frames)(source).collect();
    for row in verdicts.rows.iter().filter(|row| row.metric.name == "accuracy_top1") {
        let frame = frames[row.contrast].as_ref().unwrap();
        let mean = |name: &str| values(frame, name).iter().flatten().sum::<f64>() / frame.height() as f64;
        assert!((mean("candidate_score") - row.candidate.unwrap()).abs() < 1e-12);
        assert!((mean("reference_score") - row.reference.unwrap()).abs() < 1e-12);
        let (labels, classes) = (values(frame, "label"), values(frame, "candidate_class"));
        let right = labels.iter().zip(&classes).filter(|(label, class)| label == class);
        assert_eq!(right.count() as f64, (mean("candidate_score") * 60.0).round());
    }
}

#[test]
fn shares_of_the_time_of_a_case_add_up() {
    let record = Recipe::small().run().record();
    let verdicts = verdicts(&record);
    let frame = (ops::TABLE.frames)(Source { record: &record, verdicts: &verdicts }).next().unwrap().unwrap();
    let sum: f64 = values(&frame, "wall_share").iter().flatten().sum();
    assert!((sum - 1.0).abs() < 1e-12, "{sum}");
}

#[test]
fn cells_without_a_finite_number_are_empty() {
    assert_eq!(number(f64::NAN), AnyValue::Null);
    assert_eq!(number(None), AnyValue::Null);
    assert_eq!(number(-0.5), AnyValue::Float64(-0.5));
    assert_eq!(word(&protocol::MemoryPhase::FirstInference), "first-inference");
}
