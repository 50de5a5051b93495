//! The rule on real recordings (`fixtures/README.md`): how often it calls a difference where there is none,
//! and how often it finds one that is put in. Sides are exchanged at random, which is what a random order
//! of measuring does; units are drawn without replacement.
//!
//! `cargo test --release -p stats --test replay -- --nocapture` prints the table of METHODOLOGY.md.

#![expect(clippy::print_stdout, reason = "the table is printed for people")]

mod coverage;
mod rivals;
mod sessions;

use stats::sequential::{Call, LOOKS, MAX_UNITS, Next, Path, Rule, decide, look};
use stats::{Location, Rng, choose_location};

const REPETITIONS: u32 = 3000;
/// The plain interval holds the true ratio at least so often, in spite of the looks and the choice of location.
const PLAIN_COVERS: f64 = 0.955;
const LOCATIONS: [Location; 5] = Location::ALL;

/// ln(candidate) − ln(reference) of one unit, by location.
type Unit = [f64; 5];

fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().skip(1).map(|line| line.split(',').collect())
}

fn ns(text: &str) -> f64 {
    text.parse().expect("a time in ns")
}

/// Units of one kind of interleaved recording. Columns: kind, unit, five of the base, five of the candidate.
fn interleaved(kind: &str) -> Vec<Unit> {
    let rows = lines(include_str!("../fixtures/interleaved_units.csv")).filter(|row| row[0] == kind);
    rows.map(|row| std::array::from_fn(|i| ns(row[7 + i]).ln() - ns(row[2 + i]).ln())).collect()
}

/// Neighbouring processes as pairs. Columns: model, seq, start, iterations, median, p25, p10, min, mean,
/// CPU median.
fn process_pairs(model: &str) -> Vec<Unit> {
    let rows = lines(include_str!("../fixtures/aa_processes.csv")).filter(|row| row[0] == model);
    let rows: Vec<[f64; 5]> = rows.map(|row| [4, 5, 6, 7, 9].map(|column| ns(row[column]).ln())).collect();
    rows.chunks_exact(2).map(|pair| std::array::from_fn(|i| pair[1][i] - pair[0][i])).collect()
}

#[derive(Default)]
struct Tally {
    higher: u32,
    lower: u32,
    equivalent: u32,
    undecided: u32,
    units: usize,
    covered_by_decision: u32,
    covered_by_plain: u32,
    bias: f64,
}

impl Tally {
    fn share(&self, count: u32) -> f64 {
        f64::from(count) / f64::from(REPETITIONS)
    }
}

/// One run of the whole procedure: choose the location blind, look, stop as the rule says.
fn run_once(units: &[Unit], effect: f64, exchange: bool, rng: &mut Rng, tally: &mut Tally) {
    run_up_to(MAX_UNITS, units, effect, exchange, rng, tally);
}

/// As [`run_once`], with another last look.
fn run_up_to(most: usize, units: &[Unit], effect: f64, exchange: bool, rng: &mut Rng, tally: &mut Tally) {
    let rule = Rule::new(0.03, 0.01).expect("a sane rule");
    let mut order: Vec<usize> = (0..units.len()).collect();
    rng.shuffle(&mut order);
    let signs: Vec<f64> =
        order.iter().map(|_| if exchange && rng.below(2) == 0 { -1.0 } else { 1.0 }).collect();
    let series = |at: usize| -> Vec<f64> {
        order.iter().zip(&signs).map(|(unit, sign)| units[*unit][at] * sign + effect).take(most).collect()
    };
    let offers: Vec<(Location, Vec<f64>)> = (0..5).map(|at| (LOCATIONS[at], series(at))).collect();
    let location = choose_location(&offers).expect("six finite units");
    let log_ratios = &offers.iter().find(|(l, _)| *l == location).expect("one of the offers").1;
    let mut n = 0;
    while let Next::Continue { units } =
        decide(&[Path { log_ratios: &log_ratios[..n], rule }]).expect("finite")
    {
        if units > most {
            break;
        }
        n = units;
    }
    let last = look(&log_ratios[..n], &rule).expect("at least six units");
    let decision = last.decision.expect("at least six units");
    tally.units += n;
    tally.covered_by_decision += u32::from(decision.contains(effect));
    tally.covered_by_plain += u32::from(last.plain.contains(effect));
    tally.bias += last.paired.mean - effect;
    *match last.call {
        Call::Higher => &mut tally.higher,
        Call::Lower => &mut tally.lower,
        Call::Equivalent => &mut tally.equivalent,
        Call::Undecided => &mut tally.undecided,
    } += 1;
}

fn replay(name: &str, units: &[Unit], percent: f64) -> Tally {
    assert!(units.len() > LOOKS[8], "{name}: {} units", units.len());
    let mut rng = Rng::new(20_260_101);
    let mut tally = Tally::default();
    for _ in 0..REPETITIONS {
        run_once(units, (percent / 100.0).ln_1p(), true, &mut rng, &mut tally);
    }
    println!(
        "| {name} | +{percent} % | {:.2} % | {:.2} % | {:.1} % | {:.1} % | {:.1} | {:.2} % | {:.2} % | {:+.2} % |",
        100.0 * tally.share(tally.higher),
        100.0 * tally.share(tally.lower),
        100.0 * tally.share(tally.equivalent),
        100.0 * tally.share(tally.undecided),
        tally.units as f64 / f64::from(REPETITIONS),
        100.0 * tally.share(tally.covered_by_decision),
        100.0 * tally.share(tally.covered_by_plain),
        100.0 * tally.bias / f64::from(REPETITIONS),
    );
    tally
}

/// A share that must be at most `limit`, measured in so many draws: three standard errors are let pass.
#[track_caller]
fn at_most(what: &str, found: f64, limit: f64, draws: u32) {
    let error = (limit * (1.0 - limit) / f64::from(draws)).sqrt();
    assert!(found <= limit + 3.0 * error, "{what}: {found}, at most {limit}");
}

/// `least_power` at +3 %.
fn check(name: &str, units: &[Unit], least_power: f64) {
    println!(
        "| recording | true | higher | lower | equivalent | undecided | units | decision covers | plain covers | bias |"
    );
    let all = [0.0, 1.0, 2.0, 3.0, 5.0].map(|percent| replay(name, units, percent));
    let [same, .., slower, large] = &all;
    // sides are exchanged at random, so that both directions measure the same rate
    at_most(name, same.share(same.higher + same.lower) / 2.0, 0.01, 2 * REPETITIONS);
    assert!(slower.share(slower.higher) >= least_power, "{name}: power {}", slower.share(slower.higher));
    assert!(slower.lower == 0, "{name}: {} on the wrong side", slower.lower);
    assert!(large.share(large.higher) >= 0.97, "{name}: power at 5 % {}", large.share(large.higher));
    for tally in &all {
        at_most(name, 1.0 - tally.share(tally.covered_by_decision), 0.02, REPETITIONS);
        assert!(tally.share(tally.covered_by_plain) >= PLAIN_COVERS, "{name}: plain interval");
        assert!((tally.bias / f64::from(REPETITIONS)).abs() < 0.003, "{name}: bias");
    }
}

#[test]
fn ping_pong_conv_s() {
    check("ping-pong conv_s", &interleaved("pingpong_aa_conv_s"), 0.99);
}

#[test]
fn ping_pong_conv_m() {
    check("ping-pong conv_m", &interleaved("pingpong_aa_conv_m"), 0.97);
}

#[test]
fn ping_pong_mlp() {
    check("ping-pong mlp", &interleaved("pingpong_aa_mlp"), 0.97);
}

#[test]
fn duet_conv_s() {
    check("duet conv_s", &interleaved("duet_aa_random_order_conv_s"), 0.99);
}

#[test]
fn process_pairs_conv_s() {
    check("pairs conv_s", &process_pairs("conv_s"), 0.94);
}

#[test]
fn process_pairs_conv_m() {
    check("pairs conv_m", &process_pairs("conv_m"), 0.85);
}

#[test]
fn process_pairs_mlp() {
    check("pairs mlp", &process_pairs("mlp"), 0.84);
}

/// A model with one more depthwise convolution, sides as recorded: every draw of the units finds it.
#[test]
fn a_true_slowdown_is_found() {
    for kind in ["pingpong_conv_s_plus_depthwise", "duet_conv_s_plus_depthwise"] {
        let units = interleaved(kind);
        let mut tally = Tally::default();
        let mut rng = Rng::new(5);
        for _ in 0..REPETITIONS {
            run_once(&units, 0.0, false, &mut rng, &mut tally);
        }
        println!(
            "{kind}: {:.2} % higher, mean {:+.2} %",
            100.0 * tally.share(tally.higher),
            100.0 * tally.bias / f64::from(REPETITIONS)
        );
        assert!(tally.share(tally.higher) >= 0.99, "{kind}: {}", tally.share(tally.higher));
    }
}

/// What the rule is up against: "slower if the mean is more than 5 % above", one process against the next.
#[test]
fn the_usual_rule_is_wrong_every_third_time() {
    for model in ["conv_s", "conv_m", "mlp"] {
        let rows = lines(include_str!("../fixtures/aa_processes.csv")).filter(|row| row[0] == model);
        let means: Vec<f64> = rows.map(|row| ns(row[8])).collect();
        let flagged = means.windows(2).filter(|pair| pair[1] > 1.05 * pair[0]).count();
        let share = flagged as f64 / (means.len() - 1) as f64;
        println!("mean more than 5 % above, {model}: {:.1} % of identical pairs", 100.0 * share);
        assert!(share > 0.3, "{model}: {share}");
    }
}
