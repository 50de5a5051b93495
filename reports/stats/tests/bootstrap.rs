//! How often decisions by bootstrap are wrong for scores without a formula, by simulation: both sides answer the
//! same examples, some of which are hard for both.
//!
//! `cargo test --release -p stats --test bootstrap -- --nocapture` prints the table of METHODOLOGY.md.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests; the table is printed for people"
)]

use stats::scores::{Average, ErrorRate, F1, MeanIou, ScorePair};
use stats::{Bootstrap, Clusters, Rng, clopper_pearson};

/// Repetitions of a line: so many in every test run, and so many for the table.
const FEW: u32 = 200;
const MANY: u32 = 2000;
const RESAMPLES: u32 = 1000;
/// Examples that the true difference is taken from.
const POPULATION: usize = 40_000;

/// The second side's answers and the first one's, which are worse by `harm`, a share of them.
type Draw = fn(&mut Rng, n: usize, harm: f64) -> ScorePair;

/// Macro F1 over five classes of unequal size, nine in ten right, one in twenty answered by chance anew.
fn f1(rng: &mut Rng, n: usize, harm: f64) -> ScorePair {
    let class = |rng: &mut Rng| ((rng.uniform() * rng.uniform() * 5.0) as u32).min(4);
    let (mut truth, mut sides) = (Vec::new(), [Vec::new(), Vec::new()]);
    for _ in 0..n {
        let label = class(rng);
        let shared = if rng.uniform() < 0.9 { label } else { class(rng) };
        for (side, harm) in sides.iter_mut().zip([harm, 0.0]) {
            let own = if rng.uniform() < 0.05 + harm { class(rng) } else { shared };
            side.push(Some(own));
        }
        truth.push(label);
    }
    truth.extend_from_within(..);
    ScorePair::new(Box::new(F1::new(&sides.concat(), &truth, Average::Macro).unwrap()))
}

/// Mean IoU over six classes; an image has two to four of them, and how well it is cut out differs from image to
/// image more than from side to side.
fn mean_iou(rng: &mut Rng, n: usize, harm: f64) -> ScorePair {
    let (mut truths, mut sides) = (Vec::new(), [Vec::new(), Vec::new()]);
    for _ in 0..n {
        let (classes, first) = (2 + rng.below(3), rng.below(6));
        let truth: Vec<u32> = (0..48).map(|pixel| ((first + pixel * classes / 48) % 6) as u32).collect();
        let hard = 0.3 * rng.uniform().powi(2);
        for (side, harm) in sides.iter_mut().zip([harm, 0.0]) {
            let wrong = hard + harm + 0.08 * rng.uniform();
            let answer = |label: &u32| if rng.uniform() < wrong { (label + 1) % 6 } else { *label };
            side.push(truth.iter().map(answer).collect::<Vec<_>>());
        }
        truths.push(truth);
    }
    let mut iou = MeanIou::new(6, None).unwrap();
    for side in &sides {
        for (answer, truth) in side.iter().zip(&truths) {
            iou.push(answer, truth).unwrap();
        }
    }
    ScorePair::new(Box::new(iou))
}

/// Word error rate of sentences of 3 to 14 words, a few of them hopeless.
fn wer(rng: &mut Rng, n: usize, harm: f64) -> ScorePair {
    let (mut truths, mut answers) = (Vec::new(), [Vec::new(), Vec::new()]);
    for _ in 0..n {
        let words = 3 + rng.below(12);
        let hard = if rng.uniform() < 0.1 { 0.5 } else { 0.1 * rng.uniform() };
        truths.push(vec!["a"; words].join(" "));
        for (side, harm) in answers.iter_mut().zip([harm, 0.0]) {
            let wrong = hard + harm + 0.04 * rng.uniform();
            let word = |_| if rng.uniform() < wrong { "b" } else { "a" };
            side.push((0..words).map(word).collect::<Vec<_>>().join(" "));
        }
    }
    truths.extend_from_within(..);
    ScorePair::new(Box::new(ErrorRate::words(&answers.concat(), &truths).unwrap()))
}

/// As [`wer`], ten sentences by each speaker, whom either side may understand better.
fn wer_by_speaker(rng: &mut Rng, n: usize, harm: f64) -> ScorePair {
    let mut truths = vec!["a a a a a a a a"; n / 10 * 10];
    let mut answers = [Vec::new(), Vec::new()];
    for _ in 0..n / 10 {
        let of_speaker = [0, 1].map(|_| 0.1 * rng.uniform());
        for _ in 0..10 {
            for ((side, harm), own) in answers.iter_mut().zip([harm, 0.0]).zip(of_speaker) {
                let wrong = 0.05 + harm + own;
                let word = |_| if rng.uniform() < wrong { "b" } else { "a" };
                side.push((0..8).map(word).collect::<Vec<_>>().join(" "));
            }
        }
    }
    truths.extend_from_within(..);
    let answers = answers.concat();
    let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
    ScorePair::new(Box::new(ErrorRate::words(&answers, &truths).unwrap()))
}

/// A line of the table.
struct Line {
    name: &'static str,
    draw: Draw,
    examples: usize,
    /// Examples drawn together.
    cluster: usize,
    /// Harm that changes the score by about the margin.
    harm: f64,
    margin: f64,
    lower_is_better: bool,
}

/// Shares of repetitions with each outcome.
struct Rates {
    worse: f64,
    better: f64,
    non_inferior: f64,
    equivalent: f64,
    covered: f64,
}

/// As `reports` decides: better and worse at 1 % each by exchange, the margin at 5 % by bootstrap, with what none
/// of so many clusters showed added to either end.
fn simulate(line: &Line, harm: f64, repetitions: u32) -> Rates {
    let mut rng = Rng::new(line.examples as u64 + (harm * 1e6) as u64);
    let truth = if harm == 0.0 {
        0.0
    } else {
        let (candidate, reference) =
            (line.draw)(&mut rng, POPULATION, harm).scores(&(0..POPULATION).collect::<Vec<_>>());
        candidate.unwrap() - reference.unwrap()
    };
    let labels: Vec<usize> = (0..line.examples).map(|i| i / line.cluster).collect();
    let clusters = Clusters::by_label(&labels);
    let left = line.margin - clopper_pearson(0, clusters.len() as u64, 0.9).unwrap().interval.high;
    let mut counts = [0u32; 5];
    for repetition in 0..repetitions {
        let pair = (line.draw)(&mut rng, line.examples, harm);
        let settings = Bootstrap { resamples: RESAMPLES, seed: u64::from(repetition) };
        let chance = pair.exchange(settings, &clusters).unwrap();
        let found = pair.resample(settings, &clusters).unwrap();
        let (worse, better, harmful) = match line.lower_is_better {
            true => (chance.greater, chance.less, found.test(left).less),
            false => (chance.less, chance.greater, found.test(-left).greater),
        };
        for (count, yes) in counts.iter_mut().zip([
            worse < 0.01,
            better < 0.01,
            left > 0.0 && harmful < 0.05,
            found.bca(0.9).unwrap().within(-left, left),
            found.bca(0.98).unwrap().contains(truth),
        ]) {
            *count += u32::from(yes);
        }
    }
    let [worse, better, non_inferior, equivalent, covered] =
        counts.map(|count| f64::from(count) / f64::from(repetitions));
    println!(
        "| {} | {} | {:+.1} pp | {:.2} % | {:.2} % | {:.1} % | {:.1} % | {:.1} % |",
        line.name,
        line.examples,
        100.0 * truth,
        100.0 * worse,
        100.0 * better,
        100.0 * non_inferior,
        100.0 * equivalent,
        100.0 * covered
    );
    Rates { worse, better, non_inferior, equivalent, covered }
}

const fn line(name: &'static str, draw: Draw, examples: usize, harm: f64) -> Line {
    Line { name, draw, examples, cluster: 1, harm, margin: 0.02, lower_is_better: false }
}

const LINES: &[Line] = &[
    line("macro F1", f1, 50, 0.029),
    line("macro F1", f1, 200, 0.029),
    line("macro F1", f1, 1000, 0.029),
    line("mean IoU", mean_iou, 50, 0.0132),
    line("mean IoU", mean_iou, 300, 0.0132),
    Line { lower_is_better: true, ..line("WER", wer, 50, 0.02) },
    Line { lower_is_better: true, ..line("WER", wer, 200, 0.02) },
    Line { lower_is_better: true, ..line("WER", wer, 1000, 0.02) },
    Line { lower_is_better: true, cluster: 10, ..line("WER by speaker", wer_by_speaker, 400, 0.02) },
    Line { lower_is_better: true, ..line("the same, by sentence", wer_by_speaker, 400, 0.02) },
];

fn table(lines: &[&Line], repetitions: u32) {
    println!(
        "| score | examples | true difference | worse | better | non-inferior | equivalent | 98 % interval covers |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let error = |p: f64| 3.0 * (p * (1.0 - p) / f64::from(repetitions)).sqrt();
    for line in lines {
        let (same, at_margin) = (simulate(line, 0.0, repetitions), simulate(line, line.harm, repetitions));
        if line.name == "the same, by sentence" {
            continue;
        }
        let name = format!("{} with {}", line.name, line.examples);
        assert!(same.worse.max(same.better) <= 0.01 + error(0.01), "{name}: {} {}", same.worse, same.better);
        assert!(at_margin.non_inferior.max(at_margin.equivalent) <= 0.05 + error(0.05), "{name}");
        assert!(line.examples < 300 || same.covered >= 0.96 - error(0.02), "{name}: {}", same.covered);
    }
}

#[test]
fn decisions_are_seldom_wrong() {
    table(&LINES.iter().filter(|line| line.examples <= 300).collect::<Vec<_>>(), FEW);
}

#[test]
#[ignore = "takes minutes: prints the table of METHODOLOGY.md"]
fn the_table() {
    table(&LINES.iter().collect::<Vec<_>>(), MANY);
}
