//! From a record to a verdict for every kind of task, with answers made by hand.

use super::*;
use crate::record::{Labels, OutputsRecord, Purpose};
use crate::testing::Recipe;
use protocol::{Averaging, Channels, Corners, Decode, LabelArrays, Sha256Hex, TextUnit};

/// Examples of most tests.
const N: usize = 40;

/// A task with the answers of two sides.
#[derive(Clone)]
struct Made {
    task: Task,
    labels: Labels,
    groups: Vec<String>,
    /// Elements of each output.
    elements: Vec<u64>,
    candidate: Vec<f32>,
    reference: Vec<f32>,
}

impl Made {
    fn record(&self) -> RunRecord {
        let mut recipe = Recipe::small();
        recipe.cases.truncate(2);
        recipe.examples = 1;
        let mut record = recipe.run().record();
        let stride: u64 = self.elements.iter().sum();
        let examples = self.reference.len() as u64 / stride;
        record.plan.suite.task = self.task.clone();
        let dataset = &mut record.plan.dataset;
        (dataset.examples, dataset.labels) = (examples, self.labels.clone());
        (dataset.groups, dataset.names, dataset.classes) = (self.groups.clone(), Vec::new(), Vec::new());
        let units = record.units.iter_mut().filter(|unit| unit.purpose == Purpose::Accuracy);
        for trial in units.flat_map(|unit| &mut unit.trials) {
            let values = if trial.case == 0 { &self.reference } else { &self.candidate };
            trial.outputs = Some(OutputsRecord {
                sha256: Sha256Hex::of_bytes(b""),
                examples: values.len() as u64 / stride,
                elements: self.elements.clone(),
                values: Some(values.clone()),
            });
        }
        record
    }

    #[track_caller]
    fn row(&self) -> ContrastRow {
        let verdicts = verdicts(&self.record());
        let name = self.task.metric().name;
        verdicts.rows.into_iter().find(|row| row.metric.name == name).expect("the row of the score")
    }

    /// Scores of candidate and reference, and the verdict.
    #[track_caller]
    fn check(&self, candidate: f64, reference: f64, verdict: Verdict) -> ScoreEvidence {
        let row = self.row();
        let near = |found: Option<f64>, expected: f64| (found.expect("a score") - expected).abs() < 1e-5;
        assert!(near(row.candidate, candidate) && near(row.reference, reference), "{row:?}");
        assert_eq!(row.verdict, Some(verdict), "{row:?}");
        let Evidence::Score(evidence) = row.evidence else { panic!("{row:?}") };
        assert!((evidence.difference.point - (candidate - reference)).abs() < 1e-5);
        *evidence
    }

    #[track_caller]
    fn invalid(&self, words: &str) {
        let row = self.row();
        assert_eq!(row.verdict, Some(Verdict::Invalid), "{row:?}");
        assert!(row.reasons[0].to_string().contains(words), "{:?}", row.reasons);
    }

    fn swapped(&self) -> Self {
        Self { candidate: self.reference.clone(), reference: self.candidate.clone(), ..self.clone() }
    }
}

fn made(task: Task, labels: Labels, elements: &[u64], candidate: Vec<f32>, reference: Vec<f32>) -> Made {
    Made { task, labels, groups: Vec::new(), elements: elements.to_vec(), candidate, reference }
}

/// Two classes, the greater value given by `answer`.
fn two_classes(answer: impl Fn(usize) -> u32) -> Vec<f32> {
    (0..N).flat_map(|i| if answer(i) == 0 { [1.0, 0.0] } else { [0.0, 1.0] }).collect()
}

fn labels(label: impl Fn(usize) -> u32) -> Labels {
    Labels::Classes((0..N).map(label).collect())
}

fn arrays(elements: u64, values: Vec<f32>) -> Labels {
    Labels::Arrays(LabelArrays::new(elements, values))
}

#[test]
fn top_k() {
    let row = |order: [f32; 3]| order.repeat(N);
    let task = Task::Classification { top: 2, f1: None, positive: 1 };
    let case = made(task, labels(|_| 1), &[3], row([2.0, 0.0, 1.0]), row([2.0, 1.0, 0.0]));
    let evidence = case.check(0.0, 1.0, Verdict::Worse);
    assert_eq!((evidence.flips.len(), evidence.flips[0].lost), (N, true));
    assert!(matches!(evidence.method, Method::Table { .. }));
}

#[test]
fn f1_by_average() {
    let task = |f1| Task::Classification { top: 1, f1: Some(f1), positive: 1 };
    let (truth, wrong) = (|i: usize| (i % 2) as u32, |i: usize| (i % 2) as u32 & (i / 2 % 2) as u32);
    let case = |f1| made(task(f1), labels(truth), &[2], two_classes(wrong), two_classes(truth));
    // of 20 positives 10 are found, none is invented: 2 · 10 / (10 + 20); of the others 2 · 20 / (30 + 20)
    case(Averaging::Binary).check(2.0 / 3.0, 1.0, Verdict::Worse);
    let evidence = case(Averaging::Macro).check((2.0 / 3.0 + 0.8) / 2.0, 1.0, Verdict::Worse);
    assert!(matches!(evidence.method, Method::Resampled { groups: None, .. }));
    assert!(!evidence.non_inferior && evidence.difference.interval.high < 0.0);
    case(Averaging::Micro).check(0.75, 1.0, Verdict::Worse);
    case(Averaging::Macro).swapped().check(1.0, (2.0 / 3.0 + 0.8) / 2.0, Verdict::Better);
    let mut odd = case(Averaging::Macro);
    odd.labels = labels(|i| if i == 3 { 2 } else { 0 });
    odd.invalid("a label is 2, and the models tell 2 classes apart");
}

#[test]
fn examples_of_one_group_are_one_observation() {
    let (truth, wrong) = (|_: usize| 1, |i: usize| u32::from(i >= 10));
    let mut case = made(Task::CLASSIFICATION, labels(truth), &[2], two_classes(wrong), two_classes(truth));
    case.check(0.75, 1.0, Verdict::Worse);
    // all ten losses are one speaker's
    case.groups = (0..N).map(|i| if i < 10 { "one".to_owned() } else { i.to_string() }).collect();
    let evidence = case.check(0.75, 1.0, Verdict::Inconclusive);
    assert!(matches!(evidence.method, Method::Resampled { groups: Some(31), .. }), "{:?}", evidence.method);
    assert_eq!(evidence.flips.len(), 10);
    case.groups = (0..N).map(|i| (i / 10).to_string()).collect();
    assert!(matches!(case.row().reasons[0], Reason::TooFewExamples { found: 4, needed: 20 }));
}

#[test]
fn area_under_the_curve() {
    let truth = |i: usize| u32::from(i.is_multiple_of(2));
    let reference: Vec<f32> = (0..N).map(|i| truth(i) as f32 + i as f32 * 1e-3).collect();
    // every third example is scored as if it were of the other kind
    let candidate: Vec<f32> =
        (0..N).map(|i| if i % 3 == 0 { 1.0 - reference[i] } else { reference[i] }).collect();
    let task = Task::Binary { positive: 1, value: None };
    let case = made(task.clone(), labels(truth), &[1], candidate.clone(), reference.clone());
    let row = case.row();
    assert_eq!((row.reference, row.verdict), (Some(1.0), Some(Verdict::Worse)), "{row:?}");
    let Evidence::Score(evidence) = row.evidence else { panic!() };
    assert!(matches!(evidence.method, Method::DeLong) && evidence.smallest_visible > 0.1);
    let one_kind = Made { labels: labels(|_| 1), ..case.clone() };
    one_kind.invalid("no example of a kind that is needed");
    let rare = Made { labels: labels(|i| u32::from(i < 5)), ..case.clone() };
    assert!(matches!(rare.row().reasons[0], Reason::TooFewExamples { found: 5, needed: 20 }));
    let mut nan = case.clone();
    nan.candidate[7] = f32::NAN;
    nan.invalid("example 7 has no finite score");
    let beyond = Made { task: Task::Binary { positive: 1, value: Some(1) }, ..case };
    beyond.invalid("score.value is 1, and the first output has 1 values");
}

#[test]
fn segmentation_by_layout() {
    let truth = [0.0, 0.0, 1.0, 1.0];
    let answer = |classes: [usize; 4], channels| -> Vec<f32> {
        let value = |pixel: usize, class: usize| f32::from(u8::from(classes[pixel] == class));
        match channels {
            Channels::Last => (0..4).flat_map(|p| [value(p, 0), value(p, 1)]).collect(),
            Channels::First => (0..2).flat_map(|c| (0..4).map(move |p| value(p, c))).collect(),
            Channels::None => classes.map(|class| class as f32).to_vec(),
        }
    };
    for channels in [Channels::Last, Channels::First, Channels::None] {
        let side = |classes| answer(classes, channels).repeat(N);
        let elements = if channels == Channels::None { 4 } else { 8 };
        let task = Task::Segmentation { ignored: None, channels };
        let labels = arrays(4, truth.repeat(N));
        let case = made(task, labels, &[elements], side([0, 0, 0, 1]), side([0, 0, 1, 1]));
        // class 0: 2 of 3 pixels, class 1: 1 of 2
        let evidence = case.check((2.0 / 3.0 + 0.5) / 2.0, 1.0, Verdict::Worse);
        assert_eq!(evidence.moved.len(), 12);
        assert_eq!((evidence.moved[0].example, evidence.moved[0].reference), (0, 1.0));
        let ignoring = Task::Segmentation { ignored: Some(1), channels };
        Made { task: ignoring, ..case.clone() }.check(1.0, 1.0, Verdict::Inconclusive);
        let mut nan = case.clone();
        nan.candidate[0] = f32::NAN;
        assert_eq!(nan.row().verdict, Some(Verdict::Worse), "a pixel without an answer is wrong");
        Made { labels: arrays(3, vec![0.0; 3 * N]), ..case.clone() }.invalid("score.channels");
        let LabelArrays { sha256, elements, .. } = LabelArrays::new(4, truth.repeat(N));
        let lost = Labels::Arrays(LabelArrays { sha256, elements, values: None });
        Made { labels: lost, ..case }.invalid("labels of 0 examples");
    }
}

/// Two places for boxes per image: the box itself and one beyond the count.
fn boxes(right: f32, count: f32) -> Vec<f32> {
    // ymin, xmin, ymax, xmax; classes; scores; count
    let image = [0.0, 0.0, 10.0, right, 0.0, 0.0, 10.0, 10.0, 3.0, 3.0, 0.9, 0.95, count];
    image.repeat(N)
}

#[test]
fn detection_as_tflite_writes_it() {
    let corners = Corners::Yxyx;
    let task = Task::Detection { boxes: 0, classes: 1, scores: 2, count: None, corners };
    let truth = [3.0, 0.0, 0.0, 10.0, 10.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let labels = arrays(12, truth.repeat(N));
    let case = made(task, labels, &[8, 2, 2, 1], boxes(8.0, 1.0), boxes(10.0, 1.0));
    // overlap 0.8: right at 0.50 to 0.80
    let evidence = case.check(0.7, 1.0, Verdict::Worse);
    assert!((evidence.moved[0].candidate - 0.7).abs() < 1e-9);
    // what stands beyond the count is no answer; without a count it would be
    Made { candidate: boxes(8.0, 2.0), ..case.clone() }.check(1.0, 1.0, Verdict::Inconclusive);
    Made { candidate: boxes(8.0, f32::NAN), ..case.clone() }.check(0.0, 1.0, Verdict::Worse);
    Made { elements: vec![8, 1, 2, 2], ..case.clone() }.invalid("those of n boxes are 4 n, n and n");
    let nowhere = Task::Detection { boxes: 0, classes: 1, scores: 9, count: None, corners };
    Made { task: nowhere, ..case.clone() }.invalid("score.scores is output 9");
    let none = [-1.0, 0.0, 0.0, 0.0, 0.0, 0.0].repeat(2 * N);
    Made { labels: arrays(12, none), ..case }.invalid("nothing to find");
}

fn text(unit: TextUnit, decode: Decode) -> Task {
    Task::Text { unit, decode, alphabet: Some("_ab ".to_owned()), blank: 0 }
}

/// Steps over the alphabet, one for each character.
fn steps(text: &str) -> Vec<f32> {
    let one_hot = |c: char| "_ab ".chars().map(move |other| f32::from(u8::from(other == c)));
    text.chars().flat_map(one_hot).collect()
}

#[test]
fn texts_by_decoder() {
    let truth = Labels::Texts(vec!["ab a".to_owned(); N]);
    let side = |text: &str| steps(text).repeat(N);
    let task = text(TextUnit::Words, Decode::Ctc);
    let case = made(task, truth.clone(), &[28], side("a_ab__b"), side("aab  _a"));
    // "aabb": of two words one is replaced, one is missing; lower is better
    let evidence = case.check(1.0, 0.0, Verdict::Worse);
    assert!(!evidence.non_inferior && evidence.difference.point > 0.0);
    case.swapped().check(0.0, 1.0, Verdict::Better);
    let characters = Made { task: text(TextUnit::Characters, Decode::Ctc), ..case.clone() };
    characters.check(0.75, 0.0, Verdict::Worse);
    // greedy: doubled ones stay, a blank ends the text
    let greedy = text(TextUnit::Characters, Decode::Greedy);
    let case = Made { task: greedy, candidate: side("aab _aa"), reference: side("ab a_aa"), ..case };
    case.check(0.75, 0.0, Verdict::Worse);
    let token = |tokens: [f32; 7]| tokens.repeat(N);
    let tokens = made(
        text(TextUnit::Characters, Decode::Tokens),
        truth,
        &[7],
        token([1.0, 2.0, 3.0, 99.0, 0.0, 1.0, 1.0]),
        token([1.0, 2.0, 3.0, 1.0, 0.0, f32::NAN, 7.5]),
    );
    tokens.check(0.25, 0.0, Verdict::Worse);
    Made { elements: vec![4, 3], ..tokens.clone() }.check(0.25, 0.0, Verdict::Worse);
    let mut odd = case.clone();
    odd.elements = vec![27, 1];
    odd.invalid("no whole number of steps over 4 tokens");
    Made { labels: Labels::Texts(vec![String::new(); N]), ..case }.invalid("no words");
}

#[test]
fn regression_by_rank() {
    let truth: Vec<f64> = (0..N).map(|i| i as f64).collect();
    let reference: Vec<f32> = (0..N).map(|i| (i as f32).exp2()).collect();
    let candidate: Vec<f32> = (0..N).map(|i| ((i * 17) % N) as f32).collect();
    let task = Task::Regression { value: 0 };
    let case = made(task, Labels::Values(truth), &[1], candidate, reference);
    let row = case.row();
    assert_eq!((row.reference, row.verdict), (Some(1.0), Some(Verdict::Worse)), "{row:?}");
    let Evidence::Score(evidence) = row.evidence else { panic!() };
    assert!(evidence.moved.is_empty(), "one example has no rank correlation");
    Made { labels: Labels::Values(vec![1.0; N]), ..case.clone() }.invalid("one value throughout");
    Made { labels: Labels::Values(vec![1.0; 3]), ..case.clone() }.invalid("labels of 3 examples");
    Made { labels: labels(|_| 0), ..case }.invalid("not of the kind");
}

#[test]
fn reconstruction_in_db() {
    let side = |error: f32| -> Vec<f32> { (0..N).flat_map(|_| [0.5 + error, 0.5 - error]).collect() };
    let task = Task::Reconstruction { peak: 1.0 };
    let case = made(task, arrays(2, vec![0.5; 2 * N]), &[2], side(0.2), side(0.1));
    let evidence = case.check(20.0 - 20.0 * 2f64.log10(), 20.0, Verdict::Worse);
    assert_eq!(evidence.moved.len(), 12);
    let mut record = case.record();
    record.plan.suite.accuracy_margin = 7.0;
    let row = &verdicts(&record).rows.into_iter().find(|row| row.metric.name == "psnr_db").unwrap();
    assert!(row.reasons.iter().all(|r| !matches!(r, Reason::WithinMargin { .. })));
    let mut nan = case.clone();
    nan.candidate[0] = f32::NAN;
    let found = nan.row();
    assert_eq!((found.verdict, found.candidate.unwrap() < 14.0), (Some(Verdict::Worse), true), "{found:?}");
    Made { labels: arrays(3, vec![0.5; 3 * N]), ..case }.invalid("2 answers for 3 truths");
}

#[test]
fn one_example_is_never_enough() {
    let task = Task::Reconstruction { peak: 1.0 };
    let case = made(task, arrays(1, vec![0.5]), &[1], vec![0.1], vec![0.4]);
    let row = case.row();
    assert_eq!((row.verdict, row.reasons.len()), (Some(Verdict::Inconclusive), 1), "{row:?}");
    assert!(row.candidate.unwrap() < row.reference.unwrap());
    let same = Made { candidate: vec![0.4], ..case };
    assert_eq!(same.row().verdict, Some(Verdict::Equivalent), "bit for bit the same");
}
