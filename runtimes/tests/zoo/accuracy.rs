//! Accuracy of every variant over the whole evaluation set, against what the real runtime scored.

use crate::family::{Expected, Family};
use crate::run::{Runner, reals, top1};
use protocol::Precision;
use runtimes::runtime;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Allowed difference of accuracy for float weights: a tenth of a percentage point.
const FLOAT_TOLERANCE: f64 = 0.001;
/// The same where integers are computed with, whose kernels differ from runtime to runtime.
const INTEGER_TOLERANCE: f64 = 0.005;

macro_rules! families {
    ($($format:ident: $($family:ident),*;)*) => { $(
        mod $format {
            $(
                #[test]
                fn $family() {
                    super::check(stringify!($family), stringify!($format));
                }
            )*
        }
    )* };
}
families! {
    tflite: fashion_dscnn, fsdd_dscnn, tiny_kws_dscnn, tiny_ic_resnet8, cifar_mbnet, sst2_textcnn;
    onnx: fashion_dscnn, fsdd_dscnn, tiny_kws_dscnn, tiny_ic_resnet8, cifar_mbnet, sst2_textcnn;
}

fn answers(family: &Family, path: &Path) -> Vec<usize> {
    let mut runner = Runner::new(path).unwrap();
    let output = runner.output().clone();
    let answer = |i| top1(&reals(runner.example(&family.example(i)), &output));
    (0..family.labels.len()).map(answer).collect()
}

fn share(hits: impl Iterator<Item = bool>) -> f64 {
    let (hits, all) = hits.fold((0u32, 0u32), |(h, n), hit| (h + u32::from(hit), n + 1));
    f64::from(hits) / f64::from(all)
}

#[test]
fn shipped_tflite() {
    let family = Family::shipped();
    compare("shipped fashion_dscnn", &family, family.shipped_variants("tflite"));
}

fn check(name: &str, format: &str) {
    if let Some(family) = Family::load(name) {
        compare(name, &family, family.variants(format));
    }
}

fn compare(name: &str, family: &Family, variants: BTreeMap<PathBuf, Expected>) {
    assert!(!variants.is_empty());
    let reference = answers(family, &family.reference());
    let mut wrong = Vec::new();
    for (path, expected) in variants {
        let answers = answers(family, &path);
        let accuracy = share(answers.iter().zip(&family.labels).map(|(a, l)| a == l));
        let agreement = share(answers.iter().zip(&reference).map(|(a, r)| a == r));
        let facts = runtime("builtin").unwrap().load(None).unwrap().open(&path).unwrap().facts().unwrap();
        let float = matches!(facts.precision, Precision::Fp32 | Precision::Fp16);
        let tolerance = if float { FLOAT_TOLERANCE } else { INTEGER_TOLERANCE };
        let line = format!(
            "{}: accuracy {accuracy:.4} (real runtime {:.4}), agreement {agreement:.4} ({:.4})",
            path.file_name().unwrap().to_string_lossy(),
            expected.accuracy,
            expected.agreement,
        );
        println!("{name} {line}");
        // results.csv holds four digits.
        let within = |a: f64, b: f64, tolerance: f64| (a - b).abs() <= tolerance + 0.000_05;
        if !within(accuracy, expected.accuracy, tolerance) || !within(agreement, expected.agreement, 0.01) {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "{name}: {wrong:#?}");
}
