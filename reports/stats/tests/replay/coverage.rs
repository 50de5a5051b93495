//! Whether the intervals hold the true ratio as often as they say, on simulated devices whose noise has all
//! that real ones have: processes that differ, iterations that depend on each other, outliers, drift, heat,
//! throttling. Bursts of two processes in random order, as the agent serves them.

use super::{Tally, Unit, at_most, run_up_to};
use stats::sequential::MAX_UNITS;
use stats::{Location, Rng};

const CELLS: u32 = 2_000;
const BLOCKS: usize = 10;
/// Iterations of a burst.
const BURST: usize = 5;
/// Seconds of a burst.
const BURST_S: f64 = 0.05;
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

/// One unit: log ratios by location.
fn unit(device: &Device, weather: &mut Weather, rng: &mut Rng) -> Unit {
    let process = [0, 1].map(|_| device.process * rng.normal());
    let mut state = [0.0_f64; 2];
    let mut logs: [Vec<f64>; 2] = Default::default();
    // start and warm-up
    weather.pass(device, 2.0, rng);
    for _ in 0..BLOCKS {
        let first = rng.below(2);
        for side in [first, 1 - first, 1 - first, first] {
            weather.pass(device, BURST_S, rng);
            for _ in 0..BURST {
                let fresh = (1.0 - device.rho * device.rho).sqrt() * device.iteration * rng.normal();
                state[side] = device.rho * state[side] + fresh;
                let hit = rng.uniform() < device.outliers.0;
                let outlier = if hit { (device.outliers.1 * rng.normal()).abs() } else { 0.0 };
                logs[side].push(process[side] + state[side] + outlier + weather.log(device));
            }
        }
    }
    let [reference, candidate] = logs.map(|mut side| {
        side.sort_by(f64::total_cmp);
        // quantiles of logs are logs of quantiles; CPU time is taken as the wall's
        Location::ALL.map(|l| l.of_sorted(&side, &side).expect("iterations"))
    });
    std::array::from_fn(|i| candidate[i] - reference[i])
}

#[test]
fn intervals_hold_what_they_say_on_every_kind_of_device() {
    println!(
        "| device | true | worse | better | equivalent | units | decision covers | plain covers | bias |"
    );
    for (stream, device) in DEVICES.iter().enumerate() {
        for percent in [0.0, 3.0] {
            let mut rng = Rng::new(42 + 10 * stream as u64 + percent as u64);
            let mut tally = Tally::default();
            for _ in 0..CELLS {
                let mut weather = Weather { seconds: 0.0, drift: 0.0, throttled: false };
                let units: Vec<Unit> = (0..MAX_UNITS).map(|_| unit(device, &mut weather, &mut rng)).collect();
                let effect = f64::ln_1p(percent / 100.0);
                run_up_to(MAX_UNITS, &units, effect, false, &mut rng, &mut tally);
            }
            let share = |count: u32| f64::from(count) / f64::from(CELLS);
            println!(
                "| {} | +{percent} % | {:.2} % | {:.2} % | {:.1} % | {:.1} | {:.2} % | {:.2} % | {:+.2} % |",
                device.name,
                100.0 * share(tally.higher),
                100.0 * share(tally.lower),
                100.0 * share(tally.equivalent),
                tally.units as f64 / f64::from(CELLS),
                100.0 * share(tally.covered_by_decision),
                100.0 * share(tally.covered_by_plain),
                100.0 * tally.bias / f64::from(CELLS),
            );
            at_most(device.name, 1.0 - share(tally.covered_by_decision), 0.02, CELLS);
            at_most(device.name, 1.0 - share(tally.covered_by_plain), 0.045, CELLS);
            if percent == 0.0 {
                at_most(device.name, share(tally.higher), 0.01, CELLS);
            }
        }
    }
}
