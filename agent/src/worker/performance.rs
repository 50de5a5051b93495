//! A performance trial: first inference, warm-up, steady state, each with its memory. The supervisor says
//! when; what a burst is stands in `burst`.

use super::{
    Link, Trial,
    burst::{Limits, Place, median},
};
use crate::{
    clock::{self, ms},
    failure::Failure,
    outputs::{Outputs, Stability},
};
use protocol::{Event, FailKind, MemoryPhase, Mode, PerformanceRules, SamplePhase, Samples};

/// Consecutive warm-up bursts whose medians must agree.
const AGREEING: usize = 3;

impl Trial {
    fn rules(&self) -> Result<PerformanceRules, Failure> {
        match &self.spec.mode {
            Mode::Performance(rules) => Ok(rules.clone()),
            Mode::Accuracy | Mode::Profile { .. } => {
                Err(Failure::new(FailKind::Runtime, "not a performance trial"))
            }
        }
    }

    /// The first invoke of the process, on the example of the trial, which stays fed from here on.
    pub(super) fn first(&mut self, out: &mut Link) -> Result<(), Failure> {
        let example = self.rules()?.example;
        self.source.feed(&mut *self.session, example)?;
        self.memory.begin();
        let begin = clock::monotonic_ns();
        self.session.invoke()?;
        let wall_ns = clock::end_ns(begin, self.spec.slowdown_permille.unwrap_or(0)) - begin;
        let reading = self.memory.read(MemoryPhase::FirstInference);
        self.stability = Stability::of(&*self.session)?;
        let mut outputs = Outputs::default();
        outputs.read(&*self.session)?;
        let digests = vec![outputs.digest()];
        out.event(&Event::FirstInference { trial: self.number, wall_ns })?;
        out.event(&Event::OutputDigests { trial: self.number, first: example, digests })?;
        out.event(&Event::Memory { trial: self.number, reading })
    }

    /// Bursts until the rules are met and three in a row agree, or time is up.
    pub(super) fn warm_up(&mut self, out: &mut Link) -> Result<(), Failure> {
        let rules = self.rules()?.warm_up;
        let mut medians: Vec<u64> = Vec::new();
        let (mut iterations, mut wall_ns, mut burst) = (0u64, 0u64, 0u32);
        let settled = loop {
            let left = ms(rules.max_ms).saturating_sub(wall_ns);
            let place = Place { phase: SamplePhase::WarmUp, block: 0, burst };
            let done = self.burst(place, self.timing.limits(left), None, out)?;
            iterations += done.samples * u64::from(self.timing.batch);
            wall_ns += done.wall_ns;
            burst += 1;
            medians.push(done.invoke_ns);
            self.timing.choose_batch(done.invoke_ns);
            let enough = iterations >= u64::from(rules.min_iterations) && wall_ns >= ms(rules.min_ms);
            if enough && agree(&medians, rules.agree_permille) {
                break true;
            }
            if wall_ns >= ms(rules.max_ms) {
                break false;
            }
        };
        self.memory.begin();
        let (trial, batch) = (self.number, self.timing.batch);
        out.event(&Event::WarmedUp { trial, iterations, wall_ns, batch, settled })
    }

    /// The whole steady state, burst after burst, without another worker in between.
    pub(super) fn steady(&mut self, out: &mut Link) -> Result<(), Failure> {
        let rules = self.rules()?;
        let (mut samples, mut wall_ns, mut burst) = (0u64, 0u64, 0u32);
        while samples < u64::from(rules.min_iterations) || wall_ns < ms(rules.min_ms) {
            let left = ms(rules.max_ms).saturating_sub(wall_ns);
            if left == 0 {
                let reason =
                    format!("{samples} of {} iterations in {} ms", rules.min_iterations, wall_ns / 1_000_000);
                return out.event(&Event::CutShort { trial: self.number, reason });
            }
            let place = Place { phase: SamplePhase::Steady, block: 0, burst };
            let done = self.burst(place, self.timing.limits(left), None, out)?;
            samples += done.samples;
            wall_ns += done.wall_ns;
            burst = burst.saturating_add(1);
        }
        Ok(())
    }

    /// One burst between other workers' bursts; its first sample, which pays for the switch, stands apart.
    pub(super) fn burst_in_turn(&mut self, block: u32, burst: u32, out: &mut Link) -> Result<(), Failure> {
        let max_ns = ms(self.rules()?.max_ms);
        let switch = Place { phase: SamplePhase::Switch, block, burst };
        let one = Limits { samples: 1, ns: 0, max_ns: 0 };
        let first = self.timing.run(&mut *self.session, switch, one)?;
        // The buffers belong to the burst: a single sample is copied, and sent when the burst is over.
        let copy = first.clone();
        self.timing.reuse(first);
        let steady = Place { phase: SamplePhase::Steady, ..switch };
        self.burst(steady, self.timing.limits(max_ns), Some(copy), out).map(|_| ())
    }

    /// Memory after the steady state.
    pub(super) fn finish(&mut self, out: &mut Link) -> Result<(), Failure> {
        let mut reading = self.memory.read(MemoryPhase::Steady);
        reading.arena_peak_bytes = self.session.arena_peak_bytes();
        out.event(&Event::Memory { trial: self.number, reading })
    }

    /// Times a burst, checks the outputs, and only then reports, what came before it first.
    fn burst(
        &mut self,
        place: Place,
        limits: Limits,
        before: Option<Samples>,
        out: &mut Link,
    ) -> Result<Done, Failure> {
        let samples = self.timing.run(&mut *self.session, place, limits)?;
        let Place { phase, block, burst } = place;
        let name = || match phase {
            SamplePhase::WarmUp => format!("warm-up burst {burst}"),
            SamplePhase::Steady | SamplePhase::Switch => format!("burst {burst} of block {block}"),
        };
        let stable = self.stability.check(&*self.session, name);
        let done = Done {
            samples: samples.wall_ns.len() as u64,
            wall_ns: samples.wall_ns.iter().sum(),
            invoke_ns: self.timing.median_invoke_ns(&samples),
        };
        if let Some(samples) = before {
            out.event(&Event::Samples { trial: self.number, samples })?;
        }
        let event = Event::Samples { trial: self.number, samples };
        out.event(&event)?;
        if let Event::Samples { samples, .. } = event {
            self.timing.reuse(samples);
        }
        stable.map(|()| done)
    }
}

/// What a burst came to.
struct Done {
    samples: u64,
    wall_ns: u64,
    /// Median of one invoke.
    invoke_ns: u64,
}

/// Whether the last medians lie within `permille` of their own median.
fn agree(medians: &[u64], permille: u32) -> bool {
    let Some(last) = medians.len().checked_sub(AGREEING).and_then(|at| medians.get(at..)) else {
        return false;
    };
    let (low, high) = last.iter().fold((u64::MAX, 0), |(low, high), m| (low.min(*m), high.max(*m)));
    let middle = median(&mut last.to_vec());
    (high - low).saturating_mul(1000) <= middle.saturating_mul(u64::from(permille))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_in_a_row_must_agree() {
        assert!(!agree(&[100, 100], 20));
        assert!(agree(&[900, 100, 101, 102], 20));
        assert!(!agree(&[100, 101, 103], 20));
        assert!(!agree(&[100, 101, 102, 200], 20));
        assert!(agree(&[7, 7, 7], 0));
    }
}
