//! What one device does next. Pure: it is told what happened and how much time has passed, and answers with
//! the next step. A result is never measured again to get a better one; only lost units are repeated, and
//! only so often.

use crate::plan::PlannedUnit;
use protocol::{CaseIndex, FailKind, Outcome, UnitId};
use reports::record::Purpose;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A unit is tried so often before its device is given up.
pub(crate) const UNIT_ATTEMPTS: u32 = 3;
/// A case whose worker crashed or hung in so many units is left out of later ones: it is a finding, not
/// something to wait for.
pub(crate) const CASE_STRIKES: u32 = 2;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Measure this.
    Measure {
        /// The unit, without cases that are left out.
        unit: PlannedUnit,
        /// Which attempt.
        attempt: u32,
    },
    /// Ask the rule these questions, give the agenda the answers, and come back.
    Ask(Vec<Question>),
    /// Give the device up.
    GiveUp(String),
    /// Nothing is left.
    Finish(&'static str),
}

/// Whether the comparisons within a group are decided, or what was found worse in it is confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// Which of the two: [`Purpose::Performance`] or [`Purpose::Confirmation`].
    pub(crate) purpose: Purpose,
    /// Position in the plan's groups.
    pub(crate) group: usize,
    /// Units of the group that are done for that purpose, in all sessions.
    pub(crate) done: u32,
    /// Cases that will not be measured again.
    pub(crate) left_out: Vec<CaseIndex>,
}

/// The rule's answer for a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing new can be known before more units.
    Continue {
        /// So many.
        units: u32,
        /// Of these cases alone; `None`: of all.
        only: Option<Vec<CaseIndex>>,
        /// Least iterations of their sides; `None`: as the plan has it.
        iterations: Option<u32>,
    },
    /// Everything is decided.
    Decided,
}

/// A group of cases, and what its units are for.
type Part = (Purpose, usize);

#[derive(Debug, Default)]
struct Group {
    done: u32,
    /// Units before the next look; 0: the rule is to be asked.
    wanted: u32,
    /// What `wanted` was when the rule answered.
    stretch: u32,
    /// How often the rule answered.
    answers: u32,
    decided: bool,
    /// The cases that matter; `None`: all.
    only: Option<Vec<CaseIndex>>,
    /// Least iterations of a side, once they are chosen.
    iterations: Option<u32>,
}

impl Group {
    /// Units to reckon with: all up to the next look when the way there is about to begin, for it is of no
    /// use to end in the middle. Before the first look of all nothing can be said at all, so there every unit
    /// that fits in is measured.
    fn ahead(&self, purpose: Purpose) -> u32 {
        let first = purpose == Purpose::Performance && self.answers <= 1;
        match self.decided {
            true => 0,
            false if !first && self.wanted == self.stretch => self.wanted,
            false => 1,
        }
    }
}

/// The state of one device's work.
#[derive(Debug)]
pub(crate) struct Agenda {
    units: Vec<PlannedUnit>,
    at: usize,
    groups: BTreeMap<Part, Group>,
    attempts: BTreeMap<UnitId, u32>,
    strikes_of_unit: u32,
    strikes: BTreeMap<CaseIndex, u32>,
    left_out: BTreeMap<CaseIndex, String>,
    budget: Option<Duration>,
    spent: Duration,
    performance_took: Vec<Duration>,
    lost: Option<String>,
}

impl Agenda {
    /// `units`: all of this device, in order; `done`: those that are complete. `attempts`: the attempt to
    /// give a unit that was started in an earlier session.
    pub(crate) fn new(
        units: Vec<PlannedUnit>,
        done: &BTreeSet<UnitId>,
        attempts: BTreeMap<UnitId, u32>,
        budget: Option<Duration>,
    ) -> Self {
        let mut groups: BTreeMap<Part, Group> = BTreeMap::new();
        for unit in &units {
            if let Some(part) = part(unit) {
                groups.entry(part).or_default().done += u32::from(done.contains(&unit.unit));
            }
        }
        Self {
            units: units.into_iter().filter(|u| !done.contains(&u.unit)).collect(),
            at: 0,
            groups,
            attempts,
            strikes_of_unit: 0,
            strikes: BTreeMap::new(),
            left_out: BTreeMap::new(),
            budget,
            spent: Duration::ZERO,
            performance_took: Vec::new(),
            lost: None,
        }
    }

    /// The next step. Asking twice gives the same step twice.
    pub(crate) fn next(&mut self) -> Step {
        if let Some(reason) = &self.lost {
            return Step::GiveUp(reason.clone());
        }
        while let Some(unit) = self.units.get(self.at) {
            let due = self.questions(unit);
            if !due.is_empty() {
                return Step::Ask(due);
            }
            let Some(cases) = self.cases_of(unit) else {
                self.at += 1;
                continue;
            };
            if unit.group.is_some() && !self.fits(unit.purpose) {
                return Step::Finish("the time budget is used up");
            }
            let attempt = self.attempts.get(&unit.unit).copied().unwrap_or(0);
            let iterations = part(unit).and_then(|part| self.groups.get(&part)?.iterations);
            return Step::Measure { unit: PlannedUnit { cases, iterations, ..unit.clone() }, attempt };
        }
        match !self.groups.is_empty() && self.groups.values().all(|g| g.decided) {
            true => Step::Finish("every latency is known well enough"),
            false => Step::Finish("all units are measured"),
        }
    }

    /// What must be known before this unit: of all groups that are measured for the same.
    fn questions(&self, unit: &PlannedUnit) -> Vec<Question> {
        let due = |(part, g): &(&Part, &Group)| {
            unit.group.is_some() && part.0 == unit.purpose && !g.decided && g.wanted == 0
        };
        let left_out = || self.left_out.keys().copied().collect();
        let question = |((purpose, group), g): (&Part, &Group)| Question {
            purpose: *purpose,
            group: *group,
            done: g.done,
            left_out: left_out(),
        };
        self.groups.iter().filter(due).map(question).collect()
    }

    /// The cases of a unit that are still worth measuring; `None` when it is not needed.
    fn cases_of(&self, unit: &PlannedUnit) -> Option<Vec<CaseIndex>> {
        let group = part(unit).and_then(|part| self.groups.get(&part));
        if group.is_some_and(|g| g.decided) {
            return None;
        }
        let only = group.and_then(|g| g.only.as_ref());
        let matters = |case: &CaseIndex| only.is_none_or(|only| only.contains(case));
        let left = |case: &CaseIndex| matters(case) && !self.left_out.contains_key(case);
        let cases: Vec<CaseIndex> = unit.cases.iter().copied().filter(left).collect();
        (!cases.is_empty()).then_some(cases)
    }

    /// Whether measuring up to the next look would stay within the budget.
    fn fits(&self, purpose: Purpose) -> bool {
        let Some(budget) = self.budget else { return true };
        let mut took = self.performance_took.clone();
        took.sort_unstable();
        // later sides may be longer than the first ones
        let typical = took.get(took.len() / 2).max(self.performance_took.last()).copied().unwrap_or_default();
        let groups = self.groups.iter().filter(|(part, _)| part.0 == purpose);
        let ahead: u32 = groups.map(|(_, group)| group.ahead(purpose)).sum();
        self.spent.saturating_add(typical.saturating_mul(ahead)) <= budget
    }

    /// Time that the device has been at work on performance units, with everything around them.
    pub(crate) fn spend(&mut self, spent: Duration) {
        self.spent = spent;
    }

    /// A unit is done. `outcomes`: how its trials ended.
    pub(crate) fn done(&mut self, unit: UnitId, took: Duration, outcomes: &[(CaseIndex, Outcome)]) {
        let Some(planned) = self.units.get(self.at).filter(|u| u.unit == unit) else { return };
        self.strikes_of_unit = 0;
        self.at += 1;
        if let Some(group) = part(planned).and_then(|part| self.groups.get_mut(&part)) {
            group.done += 1;
            group.wanted = group.wanted.saturating_sub(1);
            self.performance_took.push(took);
        }
        // a runtime that does not show its nodes is measured all the same
        if planned.purpose != Purpose::Profile {
            for (case, outcome) in outcomes {
                self.judge(*case, outcome);
            }
        }
    }

    /// What an outcome means for the units to come; also for those of earlier sessions.
    pub(crate) fn judge(&mut self, case: CaseIndex, outcome: &Outcome) {
        let strike = |strikes: &mut BTreeMap<CaseIndex, u32>| {
            let n = strikes.entry(case).or_default();
            *n += 1;
            *n >= CASE_STRIKES
        };
        let reason = match outcome {
            Outcome::Ok | Outcome::Skipped { .. } | Outcome::DeviceLost => None,
            // of the device, and its unit is lost
            Outcome::Failed { kind: FailKind::Io, .. } => None,
            Outcome::Failed { kind: FailKind::Runtime, message } => {
                strike(&mut self.strikes).then(|| message.clone())
            }
            Outcome::Failed { message, .. } => Some(message.clone()),
            Outcome::Crashed { signal, .. } => {
                strike(&mut self.strikes).then(|| format!("crashed by signal {signal}"))
            }
            Outcome::TimedOut => strike(&mut self.strikes).then(|| "timed out".to_owned()),
        };
        if let Some(reason) = reason {
            self.left_out.insert(case, reason);
        }
    }

    /// A unit was lost.
    pub(crate) fn lost(&mut self, unit: UnitId, attempt: u32, reason: &str, permanent: bool) {
        self.attempts.insert(unit, attempt.saturating_add(1));
        self.strikes_of_unit += 1;
        if permanent || self.strikes_of_unit >= UNIT_ATTEMPTS {
            self.lost = Some(reason.to_owned());
        }
    }

    /// The rule answered.
    pub(crate) fn answer(&mut self, question: &Question, answer: Answer) {
        let Some(group) = self.groups.get_mut(&(question.purpose, question.group)) else { return };
        group.answers += 1;
        let Answer::Continue { units, only, iterations } = answer else {
            group.decided = true;
            return;
        };
        group.only = only;
        group.iterations = iterations;
        // a rule that wants nothing would be asked for ever
        group.wanted = units.max(1);
        group.stretch = group.wanted;
    }
}

/// What the unit is a part of, where the rule decides whether it is needed.
fn part(unit: &PlannedUnit) -> Option<Part> {
    Some((unit.purpose, unit.group?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(number: u32, group: Option<usize>, cases: &[CaseIndex]) -> PlannedUnit {
        let purpose = if group.is_some() { Purpose::Performance } else { Purpose::Accuracy };
        PlannedUnit {
            unit: UnitId(number),
            device: 0,
            purpose,
            round: 0,
            group,
            seed: 0,
            cases: cases.to_vec(),
            iterations: None,
        }
    }

    /// One accuracy unit for each of two cases, then eight performance units of both.
    fn agenda(budget: Option<u64>) -> Agenda {
        let mut units = vec![unit(0, None, &[0]), unit(1, None, &[1])];
        units.extend((2..10).map(|n| unit(n, Some(0), &[0, 1])));
        Agenda::new(units, &BTreeSet::new(), BTreeMap::new(), budget.map(Duration::from_secs))
    }

    fn more(units: u32) -> Answer {
        Answer::Continue { units, only: None, iterations: None }
    }

    const OK: &[(CaseIndex, Outcome)] = &[(0, Outcome::Ok), (1, Outcome::Ok)];

    /// Answers until the next unit, which it returns.
    fn measured(agenda: &mut Agenda, answer: Answer) -> Option<PlannedUnit> {
        loop {
            match agenda.next() {
                Step::Ask(questions) => questions.iter().for_each(|q| agenda.answer(q, answer.clone())),
                Step::Measure { unit, .. } => return Some(unit),
                Step::GiveUp(_) | Step::Finish(_) => return None,
            }
        }
    }

    fn through(agenda: &mut Agenda, answer: Answer, seconds: u64) -> u32 {
        let mut spent = 0;
        let mut units = 0;
        while let Some(unit) = measured(agenda, answer.clone()) {
            if unit.purpose == Purpose::Performance {
                spent += seconds;
                units += 1;
            }
            agenda.done(unit.unit, Duration::from_secs(seconds), OK);
            agenda.spend(Duration::from_secs(spent));
        }
        units
    }

    #[test]
    fn accuracy_comes_first_and_needs_no_rule() {
        let mut agenda = agenda(None);
        for number in 0..2 {
            assert!(
                matches!(agenda.next(), Step::Measure { ref unit, attempt: 0 } if unit.unit == UnitId(number))
            );
            agenda.done(UnitId(number), Duration::ZERO, &[(number as usize, Outcome::Ok)]);
        }
        let purpose = Purpose::Performance;
        let question = Question { purpose, group: 0, done: 0, left_out: vec![] };
        assert_eq!(agenda.next(), Step::Ask(vec![question.clone()]));
        assert_eq!(agenda.next(), Step::Ask(vec![question]), "asking twice changes nothing");
    }

    #[test]
    fn the_rule_ends_it_and_so_does_the_plan() {
        assert_eq!(through(&mut agenda(None), Answer::Decided, 1), 0);
        let mut to_the_end = agenda(None);
        assert_eq!(through(&mut to_the_end, more(3), 1), 8);
        assert_eq!(to_the_end.next(), Step::Finish("all units are measured"));
    }

    #[test]
    fn the_budget_ends_it_at_a_look() {
        // looks after 6 and 8 units of 10 s: the way to 8 takes 20 s more
        let looks = |budget| {
            let mut agenda = agenda(Some(budget));
            let (mut done, mut spent) = (0, 0);
            while let Some(unit) = measured(&mut agenda, more(if done == 0 { 6 } else { 2 })) {
                if unit.purpose == Purpose::Performance {
                    done += 1;
                    spent += 10;
                }
                agenda.done(unit.unit, Duration::from_secs(10), OK);
                agenda.spend(Duration::from_secs(spent));
            }
            (done, agenda.next())
        };
        let used_up = Step::Finish("the time budget is used up");
        assert_eq!(looks(80), (8, Step::Finish("all units are measured")));
        assert_eq!(looks(79), (6, used_up.clone()), "no seventh unit that nobody would look at");
        assert_eq!(looks(35), (3, used_up), "before the first look everything that fits is measured");
    }

    #[test]
    fn a_lost_unit_is_repeated_and_a_third_loss_gives_the_device_up() {
        let mut agenda = agenda(None);
        for attempt in 0..UNIT_ATTEMPTS {
            let Step::Measure { unit, attempt: asked } = agenda.next() else { panic!("no unit") };
            assert_eq!((unit.unit, asked), (UnitId(0), attempt));
            agenda.lost(unit.unit, attempt, "gone", false);
        }
        assert_eq!(agenda.next(), Step::GiveUp("gone".to_owned()));
    }

    #[test]
    fn losses_of_different_units_do_not_add_up() {
        let mut agenda = agenda(None);
        for number in 0..2 {
            agenda.lost(UnitId(number), 0, "gone", false);
            agenda.lost(UnitId(number), 1, "gone", false);
            agenda.done(UnitId(number), Duration::ZERO, &[]);
        }
        assert!(matches!(agenda.next(), Step::Ask(_)));
        agenda.lost(UnitId(2), 0, "no space", true);
        assert_eq!(
            agenda.next(),
            Step::GiveUp("no space".to_owned()),
            "permanent trouble is not tried again"
        );
    }

    #[test]
    fn a_model_that_cannot_work_is_left_out_at_once_and_one_that_crashes_after_two_units() {
        let broken = Outcome::Failed { kind: FailKind::ModelInvalid, message: "bad".into() };
        for (outcome, strikes) in
            [(broken, 1), (Outcome::Crashed { signal: 11, why: None }, 2), (Outcome::TimedOut, 2)]
        {
            let mut agenda = agenda(None);
            for _ in 0..strikes {
                assert_eq!(agenda.units.last().and_then(|u| agenda.cases_of(u)), Some(vec![0, 1]));
                agenda.judge(1, &outcome);
            }
            assert_eq!(agenda.units.last().and_then(|u| agenda.cases_of(u)), Some(vec![0]), "{outcome:?}");
        }
        let mut agenda = agenda(None);
        agenda.judge(1, &Outcome::DeviceLost);
        agenda.judge(1, &Outcome::DeviceLost);
        assert_eq!(agenda.units.last().and_then(|u| agenda.cases_of(u)), Some(vec![0, 1]));
    }

    /// Two groups with two units each, and as many to confirm.
    fn to_confirm(budget: Option<u64>) -> Agenda {
        let cases = |group: usize| [2 * group, 2 * group + 1];
        let of = |purpose, n: u32| {
            let group = (n % 2) as usize;
            PlannedUnit { purpose, ..unit(n, Some(group), &cases(group)) }
        };
        let first = (0..4).map(|n| of(Purpose::Performance, n));
        let units = first.chain((4..8).map(|n| of(Purpose::Confirmation, n))).collect();
        Agenda::new(units, &BTreeSet::new(), BTreeMap::new(), budget.map(Duration::from_secs))
    }

    /// Each unit takes 10 s; of the first group the second case is to be confirmed, of the other nothing.
    fn confirmed(agenda: &mut Agenda) -> Vec<(u32, Vec<CaseIndex>)> {
        let mut measured = Vec::new();
        loop {
            match agenda.next() {
                Step::Ask(questions) => questions.iter().for_each(|q| {
                    let answer = match (q.purpose, q.group, q.done) {
                        (Purpose::Performance, _, 0) => more(2),
                        (Purpose::Confirmation, 0, 0) => {
                            Answer::Continue { units: 2, only: Some(vec![1]), iterations: None }
                        }
                        _ => Answer::Decided,
                    };
                    agenda.answer(q, answer);
                }),
                Step::Measure { unit, .. } => {
                    measured.push((unit.unit.0, unit.cases));
                    agenda.done(unit.unit, Duration::from_secs(10), &[]);
                    agenda.spend(Duration::from_secs(10 * measured.len() as u64));
                }
                Step::GiveUp(_) | Step::Finish(_) => return measured,
            }
        }
    }

    #[test]
    fn only_what_is_to_be_confirmed_is_measured_again_and_last_of_all() {
        let first = vec![(0, vec![0, 1]), (1, vec![2, 3]), (2, vec![0, 1]), (3, vec![2, 3])];
        let again = [first.clone(), vec![(4, vec![1]), (6, vec![1])]].concat();
        let mut all = to_confirm(None);
        assert_eq!(confirmed(&mut all), again);
        assert_eq!(all.next(), Step::Finish("all units are measured"));
        assert_eq!(confirmed(&mut to_confirm(Some(60))), again);
        let mut cut = to_confirm(Some(59));
        assert_eq!(confirmed(&mut cut), first, "half a confirmation is of no use");
        assert_eq!(cut.next(), Step::Finish("the time budget is used up"));
    }

    #[test]
    fn sides_are_as_long_as_the_rule_says_from_its_answer_on() {
        let mut agenda = agenda(None);
        for number in 0..4 {
            measured(&mut agenda, more(2));
            agenda.done(UnitId(number), Duration::ZERO, OK);
        }
        let chosen = Answer::Continue { units: 2, only: None, iterations: Some(300) };
        let longer = measured(&mut agenda, chosen).unwrap();
        assert_eq!((longer.unit, longer.iterations), (UnitId(4), Some(300)));
        agenda.done(UnitId(4), Duration::ZERO, OK);
        assert_eq!(
            measured(&mut agenda, more(1)).unwrap().iterations,
            Some(300),
            "nobody was asked meanwhile"
        );
    }

    #[test]
    fn a_resumed_run_goes_on_confirming() {
        let whole = to_confirm(None);
        let done: BTreeSet<UnitId> = (0..5).map(UnitId).collect();
        let mut agenda = Agenda::new(whole.units, &done, BTreeMap::new(), None);
        let Step::Ask(questions) = agenda.next() else { panic!("a unit without a question") };
        let known: Vec<_> = questions.iter().map(|q| (q.purpose, q.group, q.done)).collect();
        assert_eq!(known, [(Purpose::Confirmation, 0, 1), (Purpose::Confirmation, 1, 0)]);
    }

    #[test]
    fn what_an_earlier_session_did_is_not_done_again() {
        let units: Vec<PlannedUnit> = (0..4).map(|n| unit(n, Some(0), &[0, 1])).collect();
        let done = BTreeSet::from([UnitId(0), UnitId(1)]);
        let mut agenda = Agenda::new(units, &done, BTreeMap::from([(UnitId(2), 4)]), None);
        let question = Question { purpose: Purpose::Performance, group: 0, done: 2, left_out: vec![] };
        assert_eq!(agenda.next(), Step::Ask(vec![question.clone()]));
        agenda.answer(&question, more(4));
        assert!(matches!(agenda.next(), Step::Measure { ref unit, attempt: 4 } if unit.unit == UnitId(2)));
    }
}
