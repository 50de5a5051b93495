//! What is known about the state of every device, for whoever shows it. Draws nothing.

use crate::{
    dispatch::{DispatchEvent, Precision, Standing},
    values::human_time,
};
use protocol::{Event, SamplePhase};
use reports::record::{CaseIndex, CasePlan, ContrastKind, Plan, Purpose};
use std::time::{Duration, Instant};

/// Contrasts whose precision a line names.
const MOST_NAMED: usize = 12;

/// All devices, and the names of cases.
#[derive(Default)]
pub(super) struct View {
    devices: Vec<DeviceView>,
    cases: Vec<String>,
    /// So many of them were asked for; the rest are canaries.
    variants: usize,
    budget: Option<Duration>,
}

/// One device.
#[derive(Default)]
pub(super) struct DeviceView {
    pub(super) id: String,
    pub(super) accuracy: Tally,
    profile: Tally,
    pub(super) performance: Tally,
    confirmation: Tally,
    phase: Phase,
    /// What the rule saw last.
    pub(super) standing: Option<Standing>,
    /// What it does now.
    pub(super) doing: String,
    took: Vec<Duration>,
    began_performance: Option<Instant>,
}

/// What a device is at.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Outputs of every example.
    #[default]
    Accuracy,
    /// Time per node.
    Profile,
    /// Latency and memory.
    Performance,
    /// Latency once more.
    Confirmation,
}

/// Units of one kind.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) done: u32,
    pub(super) planned: u32,
}

impl View {
    pub(super) fn devices(&mut self, ids: &[String]) {
        self.devices = ids.iter().map(|id| DeviceView { id: id.clone(), ..DeviceView::default() }).collect();
    }

    pub(super) fn plan(&mut self, plan: &Plan, done: &[(usize, Purpose)]) {
        self.budget = plan.measuring.time_budget_ms.map(Duration::from_millis);
        self.cases = names(plan);
        self.variants = plan.variants().len();
        for (index, device) in self.devices.iter_mut().enumerate() {
            let asked = |case: &&CasePlan| case.device == index && !plan.measuring.costs_only;
            let cases = plan.variants().iter().filter(asked).count();
            let of_device = |g: &&Vec<CaseIndex>| {
                g.first().and_then(|c| plan.cases.get(*c)).is_some_and(|c| c.device == index)
            };
            let groups = plan.measuring.groups.iter().filter(of_device).count();
            let count = |purpose| done.iter().filter(|d| **d == (index, purpose)).count() as u32;
            device.accuracy = Tally { done: count(Purpose::Accuracy), planned: cases as u32 };
            let profiled = if plan.measuring.profiles { cases as u32 } else { 0 };
            device.profile = Tally { done: count(Purpose::Profile), planned: profiled };
            let planned = (groups as u32).saturating_mul(plan.suite.max_units);
            device.performance = Tally { done: count(Purpose::Performance), planned };
            device.confirmation = Tally { done: count(Purpose::Confirmation), planned };
        }
    }

    /// How well each contrast is known: what is open first, then the widest. Canaries are not named.
    pub(super) fn precision(&self, standing: &Standing, most: usize) -> String {
        let mut all: Vec<&Precision> =
            standing.contrasts.iter().filter(|c| c.cases.candidate < self.variants).collect();
        let width = |c: &Precision| c.half.unwrap_or(f64::INFINITY);
        all.sort_by(|a, b| a.decided.cmp(&b.decided).then(width(b).total_cmp(&width(a))));
        let one = |c: &&Precision| {
            let name = |case: CaseIndex| self.cases.get(case).map(String::as_str).unwrap_or_default();
            let against = match c.cases.kind {
                ContrastKind::Reference => String::new(),
                _ => format!(" vs {}", name(c.cases.reference)),
            };
            let half = c.half.map_or("±?".to_owned(), |half| format!("±{:.1} %", 100.0 * half));
            let open = if c.decided { "" } else { " open" };
            format!("{}{against} {half}{open}", name(c.cases.candidate))
        };
        let mut words: Vec<String> = all.iter().take(most).map(one).collect();
        if all.len() > most {
            words.push(format!("{} more", all.len() - most));
        }
        words.join(", ")
    }

    pub(super) fn device(&self, index: usize) -> Option<&DeviceView> {
        self.devices.get(index)
    }

    /// The variants of these cases.
    pub(super) fn names(&self, cases: &[CaseIndex]) -> String {
        match cases {
            [one] => self.cases.get(*one).cloned().unwrap_or_default(),
            many => format!("{} variants", many.len()),
        }
    }

    pub(super) fn take(&mut self, event: &DispatchEvent) {
        let names = match event {
            DispatchEvent::UnitStarted { cases, .. } => self.names(cases),
            _ => String::new(),
        };
        let Some(device) = device_of(event).and_then(|index| self.devices.get_mut(index)) else { return };
        match event {
            DispatchEvent::Pushing { name, .. } => device.doing = format!("pushing {name}"),
            DispatchEvent::Ready { .. } => device.doing = "ready".to_owned(),
            DispatchEvent::NotReady { .. } => device.doing = "not ready".to_owned(),
            DispatchEvent::UnitStarted { purpose, .. } => {
                device.phase = match purpose {
                    Purpose::Accuracy => Phase::Accuracy,
                    Purpose::Profile => Phase::Profile,
                    Purpose::Performance => Phase::Performance,
                    Purpose::Confirmation => Phase::Confirmation,
                };
                if device.phase > Phase::Profile {
                    device.began_performance.get_or_insert_with(Instant::now);
                }
                device.doing = names;
            }
            DispatchEvent::Fetched { .. } => device.doing = "fetching outputs".to_owned(),
            DispatchEvent::Agent { event, .. } => device.follow(event),
            DispatchEvent::UnitDone { took, .. } => device.unit_done(*took),
            DispatchEvent::Looked { standing, .. } => device.standing = Some(standing.clone()),
            DispatchEvent::DeviceLost { .. } => device.doing = "lost".to_owned(),
            DispatchEvent::DeviceFinished { reason, .. } => device.doing = (*reason).to_owned(),
            DispatchEvent::UnitLost { .. } | DispatchEvent::UnitCancelled { .. } => {
                device.doing = "unit lost".to_owned();
            }
            DispatchEvent::Inspected { .. } => device.doing = "looking into models".to_owned(),
            DispatchEvent::Interrupted => {}
        }
    }

    /// Time until the device has finished, at most.
    pub(super) fn at_most_left(&self, device: &DeviceView) -> Option<Duration> {
        let mut took = device.took.clone();
        took.sort_unstable();
        let typical = *took.get(took.len() / 2)?;
        let (_, tally) = device.phase();
        let units = tally.planned.saturating_sub(tally.done);
        let by_units = typical.saturating_mul(units);
        let spent = device.began_performance.map(|at| at.elapsed()).unwrap_or_default();
        Some(self.budget.map_or(by_units, |all| by_units.min(all.saturating_sub(spent))))
    }
}

impl DeviceView {
    /// Bursts come by the hundred: only what changes slowly is told.
    fn follow(&mut self, event: &Event) {
        match event {
            Event::TrialStarted { .. } => self.doing = "starting".to_owned(),
            Event::Loaded { .. } => self.doing = "loading".to_owned(),
            Event::WarmedUp { .. } => self.doing = "warming up".to_owned(),
            Event::Samples { samples, .. }
                if samples.phase == SamplePhase::Steady && self.doing != "measuring" =>
            {
                self.doing = "measuring".to_owned();
            }
            _ => {}
        }
    }

    fn unit_done(&mut self, took: Duration) {
        let tally = match self.phase {
            Phase::Accuracy => &mut self.accuracy,
            Phase::Profile => &mut self.profile,
            Phase::Performance => &mut self.performance,
            Phase::Confirmation => &mut self.confirmation,
        };
        tally.done += 1;
        if self.phase > Phase::Profile {
            self.took.push(took);
        }
    }

    /// What it is at, and how far.
    pub(super) fn phase(&self) -> (Phase, Tally) {
        let tally = match self.phase {
            Phase::Accuracy => self.accuracy,
            Phase::Profile => self.profile,
            Phase::Performance => self.performance,
            Phase::Confirmation => self.confirmation,
        };
        (self.phase, tally)
    }
}

/// Names of the cases as short as they tell them apart: the model only where there are several, and so with runtimes.
fn names(plan: &Plan) -> Vec<String> {
    let first = plan.cases.first();
    let one_model =
        plan.cases.iter().all(|case| first.is_some_and(|f| f.variant.model == case.variant.model));
    let one_runtime = plan.cases.iter().all(|case| first.is_some_and(|f| f.runtime == case.runtime));
    let name = |case: &CasePlan| {
        let variant = if one_model { case.variant.variant.clone() } else { case.variant.to_string() };
        if one_runtime { variant } else { format!("{variant} on {}", case.runtime) }
    };
    plan.cases.iter().map(name).collect()
}

/// Which device an event is about.
pub(super) fn device_of(event: &DispatchEvent) -> Option<usize> {
    match event {
        DispatchEvent::Pushing { device, .. }
        | DispatchEvent::Ready { device, .. }
        | DispatchEvent::NotReady { device, .. }
        | DispatchEvent::Inspected { device, .. }
        | DispatchEvent::UnitStarted { device, .. }
        | DispatchEvent::Agent { device, .. }
        | DispatchEvent::Fetched { device, .. }
        | DispatchEvent::UnitDone { device, .. }
        | DispatchEvent::UnitLost { device, .. }
        | DispatchEvent::UnitCancelled { device, .. }
        | DispatchEvent::Looked { device, .. }
        | DispatchEvent::DeviceLost { device, .. }
        | DispatchEvent::DeviceFinished { device, .. } => Some(*device),
        DispatchEvent::Interrupted => None,
    }
}

/// `latency after 6 units, 10 of 11 decided: tflite-fp16 ±1.9 % open, tflite-int8 ±0.4 %`.
pub(super) fn looked(view: &View, standing: &Standing) -> String {
    let (decided, of) = (standing.decided(), standing.contrasts.len());
    let known = view.precision(standing, MOST_NAMED);
    format!("latency after {} units, {decided} of {of} decided: {known}", standing.units)
}

/// `, at most 2 min 3 s left`, or nothing.
pub(super) fn left(view: &View, device: &DeviceView) -> String {
    match view.at_most_left(device) {
        Some(left) if left.as_secs() > 0 => format!(", at most {} left", human_time(left)),
        _ => String::new(),
    }
}
