//! Whether the intervals hold the true ratio as often as they say, on simulated devices whose noise has all
//! that real ones have: processes that differ, iterations that depend on each other, outliers, drift, heat,
//! throttling. Bursts of two processes in random order, as the agent serves them.

use super::{PLAIN_COVERS, Tally, Unit, at_most, run_up_to};
use stats::sequential::MAX_UNITS;
use stats::{Halved, LOCATION_UNITS, Levels, Location, Rng, choose_location};

const CELLS: u32 = 2_000;
/// Blocks of a unit that is measured as planned.
const BLOCKS: usize = 10;
/// Iterations of a burst.
const BURST: usize = 5;
/// Seconds of a burst.
const BURST_S: f64 = 0.05;
/// Seconds that the two processes of a unit take before their first burst.
const START_S: f64 = 2.0;
/// Seconds after which drift has forgotten where it was.
const MEMORY_S: f64 = 20.0;

/// Standard deviations of ln(latency), and what comes on top of it.
struct Device {
    name: &'static str,
    process: f64,
    iteration: f64,
    /// Correlation of an iteration with the one before.
    rho: f64,
    drift: f64,
    /// Share of iterations that something else interrupts, and the scale of what that adds.
    outliers: (f64, f64),
    /// What a device adds that has become hot, with 20 s to get there.
    ramp: f64,
    /// Throttled, a device is so much slower; it stays so for a minute on average.
    throttling: f64,
}

const DEVICES: [Device; 3] = [
    Device {
        name: "quiet",
        process: 0.003,
        iteration: 0.01,
        rho: 0.2,
        drift: 0.002,
        outliers: (0.01, 0.05),
        ramp: 0.0,
        throttling: 0.0,
    },
    Device {
        name: "laptop",
        process: 0.01,
        iteration: 0.03,
        rho: 0.4,
        drift: 0.01,
        outliers: (0.03, 0.2),
        ramp: 0.01,
        throttling: 0.0,
    },
    Device {
        name: "phone",
        process: 0.015,
        iteration: 0.04,
        rho: 0.6,
        drift: 0.015,
        outliers: (0.03, 0.3),
        ramp: 0.03,
        throttling: 0.12,
    },
];

/// What both sides share, as time goes on.
struct Weather {
    seconds: f64,
    drift: f64,
    throttled: bool,
}

impl Weather {
    fn pass(&mut self, device: &Device, seconds: f64, rng: &mut Rng) {
        let keep = (-seconds / MEMORY_S).exp();
        self.drift = self.drift * keep + device.drift * (1.0 - keep * keep).sqrt() * rng.normal();
        self.throttled ^= rng.uniform() < seconds / 60.0;
        self.seconds += seconds;
    }

    fn log(&self, device: &Device) -> f64 {
        let hot = device.ramp * (1.0 - (-self.seconds / 20.0).exp());
        self.drift + hot + if self.throttled { device.throttling } else { 0.0 }
    }
}

/// One unit: log ratios by location, of all blocks, of the even ones and of the odd ones.
fn unit(device: &Device, blocks: usize, weather: &mut Weather, rng: &mut Rng) -> [Unit; 3] {
    let process = [0, 1].map(|_| device.process * rng.normal());
    let mut state = [0.0_f64; 2];
    let mut logs: [[Vec<f64>; 2]; 2] = Default::default();
    weather.pass(device, START_S, rng);
    for block in 0..blocks {
        let first = rng.below(2);
        for side in [first, 1 - first, 1 - first, first] {
            weather.pass(device, BURST_S, rng);
            for _ in 0..BURST {
                let fresh = (1.0 - device.rho * device.rho).sqrt() * device.iteration * rng.normal();
                state[side] = device.rho * state[side] + fresh;
                let hit = rng.uniform() < device.outliers.0;
                let outlier = if hit { (device.outliers.1 * rng.normal()).abs() } else { 0.0 };
                logs[block % 2][side].push(process[side] + state[side] + outlier + weather.log(device));
            }
        }
    }
    let ratios = |sides: [Vec<f64>; 2]| -> Unit {
        let [reference, candidate] = sides.map(|mut side| {
            side.sort_by(f64::total_cmp);
            // quantiles of logs are logs of quantiles; CPU time is taken as the wall's
            Location::ALL.map(|l| l.of_sorted(&side, &side).expect("iterations"))
        });
        std::array::from_fn(|i| candidate[i] - reference[i])
    };
    let [even, odd] = logs;
    let all = [0, 1].map(|side| [even[side].as_slice(), odd[side].as_slice()].concat());
    [all, even, odd].map(ratios)
}

/// Blocks of the units after the first ones, by the rule of Kalibera and Jones.
fn blocks_of(first: &[[Unit; 3]]) -> usize {
    let of = |at: usize| first.iter().map(|[all, ..]| all[at]).collect::<Vec<f64>>();
    let offers: Vec<_> = Location::ALL.into_iter().enumerate().map(|(at, l)| (l, of(at))).collect();
    let chosen = choose_location(&offers).expect("finite units");
    let at = Location::ALL.iter().position(|l| *l == chosen).expect("one of them");
    let halves = |[all, even, odd]: &[Unit; 3]| Halved { whole: all[at], halves: [even[at], odd[at]] };
    let levels = Levels::of(&first.iter().map(halves).collect::<Vec<_>>()).expect("finite units");
    let per_block = 2 * BURST;
    let iteration = BURST_S / BURST as f64;
    let iterations = levels.iterations((BLOCKS * per_block) as u32, START_S / 2.0, iteration);
    (iterations.expect("costs") as usize).div_ceil(per_block)
}

/// The whole procedure on so many simulated devices, and the mean of seconds that they were measured.
fn cells(device: &Device, percent: f64, cost_rule: bool, seed: u64) -> (Tally, f64) {
    let mut rng = Rng::new(seed);
    let mut tally = Tally::default();
    let mut seconds = 0.0;
    for _ in 0..CELLS {
        let mut weather = Weather { seconds: 0.0, drift: 0.0, throttled: false };
        let mut measured = Vec::new();
        let mut blocks = vec![BLOCKS; MAX_UNITS];
        for at in 0..MAX_UNITS {
            if cost_rule && at == LOCATION_UNITS {
                blocks[at..].fill(blocks_of(&measured));
            }
            measured.push(unit(device, blocks[at], &mut weather, &mut rng));
        }
        let units: Vec<Unit> = measured.iter().map(|[all, ..]| *all).collect();
        let before = tally.units;
        run_up_to(MAX_UNITS, &units, f64::ln_1p(percent / 100.0), false, &mut rng, &mut tally);
        let used = blocks.iter().take(tally.units - before);
        seconds += used.map(|blocks| START_S + *blocks as f64 * 4.0 * BURST_S).sum::<f64>();
    }
    (tally, seconds / f64::from(CELLS))
}

#[test]
fn intervals_hold_what_they_say_on_every_kind_of_device() {
    println!(
        "| device | units after six | true | worse | better | equivalent | units | seconds | decision covers | plain covers | bias |"
    );
    for (stream, device) in DEVICES.iter().enumerate() {
        for (percent, cost_rule) in [(0.0, false), (3.0, false), (0.0, true), (1.0, true), (3.0, true)] {
            let seed = 42 + 10 * stream as u64 + percent as u64;
            let (tally, seconds) = cells(device, percent, cost_rule, seed);
            let share = |count: u32| f64::from(count) / f64::from(CELLS);
            println!(
                "| {} | {} | +{percent} % | {:.2} % | {:.2} % | {:.1} % | {:.1} | {:.0} | {:.2} % | {:.2} % | {:+.2} % |",
                device.name,
                if cost_rule { "as chosen" } else { "as planned" },
                100.0 * share(tally.higher),
                100.0 * share(tally.lower),
                100.0 * share(tally.equivalent),
                tally.units as f64 / f64::from(CELLS),
                seconds,
                100.0 * share(tally.covered_by_decision),
                100.0 * share(tally.covered_by_plain),
                100.0 * tally.bias / f64::from(CELLS),
            );
            at_most(device.name, 1.0 - share(tally.covered_by_decision), 0.02, CELLS);
            assert!(share(tally.covered_by_plain) >= PLAIN_COVERS, "{}: plain interval", device.name);
            if percent == 0.0 {
                at_most(device.name, share(tally.higher), 0.01, CELLS);
            }
        }
    }
}
