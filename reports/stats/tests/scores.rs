//! Every score against what scikit-learn, pycocotools, jiwer and SciPy answer (`scores/make.py`), to 1e-9; and
//! what must hold for any answers.

#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod common;

use common::{list, number, numbers};
use proptest::prelude::*;
use serde_json::Value;
use stats::scores::{
    Average, Bounds, Detection, ErrorRate, F1, Hits, Image, MeanAveragePrecision, MeanIou, Outcomes, Psnr,
    RocAuc, Spearman, Truth,
};

fn vectors(part: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("scores/vectors.json")).unwrap();
    all[part].clone()
}

fn floats(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|v| v as f32).collect()
}

fn whole(value: &Value) -> u32 {
    value.as_u64().unwrap_or_else(|| panic!("a whole number, not {value}")) as u32
}

fn wholes(value: &Value) -> Vec<u32> {
    list(value).iter().map(whole).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().map(|v| v.as_str().unwrap()).collect()
}

/// The score of all examples, and of those at `at`.
#[track_caller]
fn check(what: &str, outcomes: &impl Outcomes, at: &Value, all: &Value, drawn: &Value) {
    let at: Vec<usize> = wholes(at).into_iter().map(|i| i as usize).collect();
    for (found, expected) in [(outcomes.total(), number(all)), (outcomes.score(&at), number(drawn))] {
        let found = found.unwrap_or_else(|| panic!("{what}: no score"));
        assert!(
            (found - expected).abs() <= 1e-9 * expected.abs().max(1e-3),
            "{what}: {found}, expected {expected}"
        );
    }
}

#[track_caller]
fn check_case(what: &str, outcomes: &impl Outcomes, case: &Value) {
    check(what, outcomes, &case["at"], &case["score"], &case["score_at"]);
}

#[test]
fn top_k() {
    for case in list(&vectors("top_k")) {
        let (classes, k) = (whole(&case["classes"]) as usize, whole(&case["k"]) as usize);
        let hits = Hits::top_k(&floats(&case["outputs"]), classes, &wholes(&case["labels"]), k).unwrap();
        check_case("top-k", &hits, case);
    }
}

#[test]
fn f1() {
    for case in list(&vectors("f1")) {
        let predicted: Vec<Option<u32>> = wholes(&case["predicted"]).into_iter().map(Some).collect();
        for (name, average) in [
            ("binary", Average::Binary { positive: 1 }),
            ("macro", Average::Macro),
            ("micro", Average::Micro),
        ] {
            let found = F1::new(&predicted, &wholes(&case["truth"]), average).unwrap();
            check(name, &found, &case["at"], &case[name][0], &case[name][1]);
        }
    }
}

#[test]
fn mean_iou() {
    for case in list(&vectors("iou")) {
        let mut found = MeanIou::new(whole(&case["classes"]), Some(whole(&case["ignored"]))).unwrap();
        for (predicted, truth) in list(&case["predicted"]).iter().zip(list(&case["truth"])) {
            found.push(&wholes(predicted), &wholes(truth)).unwrap();
        }
        check_case("mIoU", &found, case);
    }
}

fn bounds(value: &Value) -> Bounds {
    let [x, y, width, height] = numbers(value).try_into().unwrap();
    Bounds { x, y, width, height }
}

fn image(value: &Value) -> Image {
    let detection = |d: &Value| Detection {
        class: whole(&d["class"]),
        score: number(&d["score"]),
        bounds: bounds(&d["bounds"]),
    };
    let truth = |t: &Value| Truth {
        class: whole(&t["class"]),
        bounds: bounds(&t["bounds"]),
        crowd: whole(&t["crowd"]) == 1,
    };
    Image {
        detections: list(&value["detections"]).iter().map(detection).collect(),
        truths: list(&value["truths"]).iter().map(truth).collect(),
    }
}

#[test]
fn mean_average_precision() {
    for case in list(&vectors("detection")) {
        let images: Vec<Image> = list(&case["images"]).iter().map(image).collect();
        let found = MeanAveragePrecision::new(&images).unwrap();
        check("mAP", &found, &case["at"], &case["score"][0], &case["score_at"][0]);
        let all: Vec<usize> = (0..images.len()).collect();
        let half = found.at_half(&all).unwrap();
        assert!((half - number(&case["score"][1])).abs() < 1e-9, "{half}");
    }
}

#[test]
fn roc_auc() {
    for case in list(&vectors("auc")) {
        let positive: Vec<bool> = list(&case["positive"]).iter().map(|p| p.as_bool().unwrap()).collect();
        check_case("AUC", &RocAuc::new(&numbers(&case["scores"]), &positive).unwrap(), case);
    }
}

#[test]
fn error_rates() {
    let case = vectors("edits");
    let (answers, truths) = (texts(&case["answers"]), texts(&case["truths"]));
    for (name, found) in [
        ("words", ErrorRate::words(&answers, &truths)),
        ("characters", ErrorRate::characters(&answers, &truths)),
    ] {
        check(name, &found.unwrap(), &case["at"], &case[name][0], &case[name][1]);
    }
}

#[test]
fn spearman() {
    for case in list(&vectors("spearman")) {
        check_case(
            "Spearman",
            &Spearman::new(&numbers(&case["predicted"]), &numbers(&case["truth"])).unwrap(),
            case,
        );
    }
}

#[test]
fn psnr() {
    for case in list(&vectors("psnr")) {
        let mut found = Psnr::new(number(&case["peak"])).unwrap();
        for (answer, truth) in list(&case["answers"]).iter().zip(list(&case["truths"])) {
            found.push(&floats(answer), &floats(truth)).unwrap();
        }
        for (i, expected) in numbers(&case["each"]).into_iter().enumerate() {
            assert!((found.of_example(i).unwrap() - expected).abs() < 1e-9, "{i}");
        }
        check_case("PSNR", &found, case);
    }
}

fn hostile() -> impl Strategy<Value = f64> {
    let odd = vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1.0, -1.0, f64::MAX, 5e-324];
    prop_oneof![any::<f64>(), prop::sample::select(odd), 0.0f64..50.0]
}

/// A box of a coarse grid, so that overlaps and ties are common.
fn grid_box() -> impl Strategy<Value = Bounds> {
    (0u32..6, 0u32..6, 1u32..5, 1u32..5).prop_map(|(x, y, width, height)| Bounds {
        x: x.into(),
        y: y.into(),
        width: width.into(),
        height: height.into(),
    })
}

fn grid_image() -> impl Strategy<Value = Image> {
    let detection = (0u32..3, 0u32..1000, grid_box()).prop_map(|(class, score, bounds)| Detection {
        class,
        score: score.into(),
        bounds,
    });
    let truth = (0u32..3, grid_box(), prop::bool::weighted(0.1)).prop_map(|(class, bounds, crowd)| Truth {
        class,
        bounds,
        crowd,
    });
    (prop::collection::vec(detection, 0..8), prop::collection::vec(truth, 0..6))
        .prop_map(|(detections, truths)| Image { detections, truths })
}

/// The order of the drawn examples, and drawing all of them the same number of times, change nothing.
fn order_free(outcomes: &impl Outcomes) -> Result<(), TestCaseError> {
    let n = outcomes.len();
    let thrice: Vec<usize> = (0..3 * n).map(|i| (3 * n - 1 - i) % n).collect();
    match (outcomes.total(), outcomes.score(&thrice)) {
        (Some(once), Some(thrice)) => prop_assert!((once - thrice).abs() < 1e-9, "{} {}", once, thrice),
        (once, thrice) => prop_assert_eq!(once, thrice),
    }
    Ok(())
}

proptest! {
    // a failure prints its input: nothing is written beside the sources
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn classes(pairs in prop::collection::vec((prop::option::of(0u32..5), 0u32..5), 1..40)) {
        let (predicted, truth): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        for average in [Average::Binary { positive: 1 }, Average::Macro, Average::Micro] {
            let found = F1::new(&predicted, &truth, average).unwrap();
            order_free(&found)?;
            prop_assert!((0.0..=1.0).contains(&found.total().unwrap()));
            // one more right answer never lowers it, but where a class falls out of the mean
            let mut better = predicted.clone();
            better[0] = Some(truth[0]);
            let better = F1::new(&better, &truth, average).unwrap();
            prop_assert!(average == Average::Macro || better.total() >= found.total());
        }
        let right: Vec<_> = truth.iter().copied().map(Some).collect();
        prop_assert_eq!(F1::new(&right, &truth, Average::Macro).unwrap().total(), Some(1.0));
    }

    #[test]
    fn outputs(values in prop::collection::vec(-3i32..3, 30), labels in prop::collection::vec(0u32..5, 6)) {
        let outputs: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        let score = |k| Hits::top_k(&outputs, 5, &labels, k).unwrap();
        order_free(&score(2))?;
        for k in 1..5 {
            prop_assert!(score(k).total() <= score(k + 1).total());
        }
        prop_assert_eq!(score(5).total(), Some(1.0));
    }

    #[test]
    fn pixels(images in prop::collection::vec(prop::collection::vec((0u32..4, 0u32..5), 1..20), 1..6)) {
        let (mut found, mut mirrored) = (MeanIou::new(4, Some(4)).unwrap(), MeanIou::new(4, None).unwrap());
        let mut plain = MeanIou::new(4, None).unwrap();
        for image in images {
            let (predicted, truth): (Vec<u32>, Vec<u32>) = image.into_iter().unzip();
            found.push(&predicted, &truth).unwrap();
            let truth: Vec<u32> = truth.into_iter().map(|t| t % 4).collect();
            plain.push(&predicted, &truth).unwrap();
            mirrored.push(&truth, &predicted).unwrap();
        }
        order_free(&found)?;
        prop_assert_eq!(plain.total(), mirrored.total());
    }

    #[test]
    fn boxes(images in prop::collection::vec(grid_image(), 1..5)) {
        let found = MeanAveragePrecision::new(&images).unwrap();
        if let Some(score) = found.total() {
            prop_assert!((0.0..=1.0 + 1e-12).contains(&score));
        }
        // scale of the boxes and a rising function of the scores change nothing
        let mut other = images.clone();
        for image in &mut other {
            let zoom = |b: &mut Bounds| *b = Bounds { x: 4.0 * b.x, y: 4.0 * b.y, width: 4.0 * b.width, height: 4.0 * b.height };
            image.detections.iter_mut().for_each(|d| { zoom(&mut d.bounds); d.score = (d.score / 100.0).exp() });
            image.truths.iter_mut().for_each(|t| zoom(&mut t.bounds));
        }
        prop_assert_eq!(MeanAveragePrecision::new(&other).unwrap().total(), found.total());
        // what is there, found exactly and most surely, is perfect
        for image in &mut other {
            let exact = |t: &Truth| Detection { class: t.class, score: 1e9, bounds: t.bounds };
            image.detections = image.truths.iter().filter(|t| !t.crowd).map(exact).collect();
        }
        let perfect = MeanAveragePrecision::new(&other).unwrap();
        prop_assert!(perfect.total().is_none_or(|score| (score - 1.0).abs() < 1e-12));
    }

    #[test]
    fn ranks(examples in prop::collection::vec((-6i32..6, -6i32..6), 2..40)) {
        let (a, b): (Vec<f64>, Vec<f64>) = examples.iter().map(|e| (f64::from(e.0), f64::from(e.1))).unzip();
        let positive: Vec<bool> = b.iter().map(|v| *v > 0.0).collect();
        let auc = RocAuc::new(&a, &positive).unwrap();
        order_free(&auc)?;
        let risen: Vec<f64> = a.iter().map(|v| v.exp()).collect();
        prop_assert_eq!(RocAuc::new(&risen, &positive).unwrap().total(), auc.total());
        let turned: Vec<f64> = a.iter().map(|v| -v).collect();
        if let (Some(up), Some(down)) = (auc.total(), RocAuc::new(&turned, &positive).unwrap().total()) {
            prop_assert!((up + down - 1.0).abs() < 1e-12);
        }
        let rho = Spearman::new(&a, &b).unwrap();
        order_free(&rho)?;
        prop_assert_eq!(rho.total(), Spearman::new(&risen, &b).unwrap().total());
        prop_assert_eq!(rho.total(), Spearman::new(&b, &a).unwrap().total());
        if let (Some(up), Some(down)) = (rho.total(), Spearman::new(&turned, &b).unwrap().total()) {
            prop_assert!((up + down).abs() < 1e-12 && up.abs() <= 1.0);
        }
    }

    #[test]
    fn sentences(texts in prop::collection::vec(("[abc ]{0,12}", "[abc ]{0,12}"), 1..8)) {
        let (answers, truths): (Vec<String>, Vec<String>) = texts.into_iter().unzip();
        for rate in [ErrorRate::words(&answers, &truths).unwrap(), ErrorRate::characters(&answers, &truths).unwrap()] {
            order_free(&rate)?;
        }
        let same = ErrorRate::words(&truths, &truths).unwrap().total();
        prop_assert!(same.is_none_or(|rate| rate == 0.0));
    }

    #[test]
    fn nothing_panics(
        x in prop::collection::vec(hostile(), 0..12), classes in 0u32..6, at in prop::collection::vec(0usize..20, 0..9), text: String,
    ) {
        let floats: Vec<f32> = x.iter().map(|v| *v as f32).collect();
        let wholes: Vec<u32> = x.iter().map(|v| *v as u32).collect();
        let positive: Vec<bool> = x.iter().map(|v| *v > 0.5).collect();
        let bounds: Vec<Bounds> =
            x.chunks_exact(4).map(|c| Bounds { x: c[0], y: c[1], width: c[2], height: c[3] }).collect();
        let image = Image {
            detections: bounds.iter().zip(&x).map(|(b, score)| Detection { class: classes, score: *score, bounds: *b }).collect(),
            truths: bounds.iter().map(|b| Truth { class: classes, bounds: *b, crowd: b.x > 1.0 }).collect(),
        };
        let first = |scores: Vec<Option<f64>>| assert!(scores.into_iter().flatten().all(|s| !s.is_nan()));
        let mut psnr = Psnr::new(1.0).unwrap();
        let pushed = psnr.push(&floats, &[0.25, 0.5][..floats.len().min(2)]).is_ok();
        prop_assert!(!pushed || psnr.len() == 1);
        let mut iou = MeanIou::new(classes.max(1), None).unwrap();
        prop_assert!(iou.push(&wholes, &wholes).is_ok() || iou.is_empty());
        first(vec![psnr.total(), iou.total(), psnr.score(&at), iou.score(&at)]);
        first(Hits::top_k(&floats, classes as usize, &wholes, 2).map(|o| o.score(&at)).into_iter().collect());
        first(F1::new(&wholes.iter().copied().map(Some).collect::<Vec<_>>(), &wholes, Average::Macro).map(|o| o.score(&at)).into_iter().collect());
        first(RocAuc::new(&x, &positive).map(|o| o.score(&at)).into_iter().collect());
        first(Spearman::new(&x, &x).map(|o| o.score(&at)).into_iter().collect());
        first(MeanAveragePrecision::new(&[image]).map(|o| o.score(&at)).into_iter().collect());
        first(ErrorRate::characters(&[text.as_str()], &[text.as_str()]).map(|o| o.score(&at)).into_iter().collect());
    }
}
