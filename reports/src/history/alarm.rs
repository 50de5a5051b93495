//! What becomes of a change that was found: proposed, measured again interleaved, confirmed or not, acknowledged. Every
//! step is a file of its own that is never changed; the state of an alarm is what its steps add up to, in whatever order
//! they are read.

use super::change::{Change, new_build, trend};
use super::row::{SeriesId, SeriesKey};
use super::{History, HistoryError, Nights, Note, Reading, Trouble};
use jiff::Timestamp;
use protocol::{Sha256Hex, Unit};
use serde::{Deserialize, Serialize};
use stats::Pelt;
use std::io::Read;

/// Version of the events.
const ALARM_SCHEMA: u32 = 1;
/// Largest event that is read.
const MAX_EVENT_BYTES: u64 = 1 << 20;
/// Digits of an alarm's name.
const ID_DIGITS: usize = 12;
/// Nights of a series that are looked at.
pub const WINDOW_NIGHTS: i64 = 120;
/// A new level that is older is history, and nobody is told of it.
pub const RECENT_NIGHTS: i64 = 30;
/// Changes below this, as a share of times and sizes, are never proposed: nobody acts on them.
pub const LEAST_EFFECT: f64 = 0.01;
/// How often an alarm that could not be confirmed is tried again.
pub const ATTEMPTS: usize = 3;

/// One thing that happened to an alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlarmEvent {
    /// Version of this form.
    pub schema: u32,
    /// Name of the alarm.
    pub alarm: String,
    /// When, RFC 3339, UTC.
    pub at: String,
    /// What.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Outcome {
    /// The change was found in the history.
    Proposed {
        /// It.
        change: Box<Change>,
    },
    /// Measured again, both builds interleaved: it is there.
    Confirmed {
        /// The run that says so; empty for what is known without measuring.
        run: String,
        /// New over old.
        ratio: f64,
        /// Lower end of its decision interval.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// Measured again: it is not there.
    Refuted {
        /// The run that says so.
        run: String,
        /// New over old.
        ratio: f64,
        /// Lower end of its interval.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// It could not be measured again, or the answer was no answer.
    Unconfirmable {
        /// Why.
        why: String,
    },
    /// Somebody knows of it.
    Acknowledged {
        /// Who.
        who: String,
        /// Why it is as it is.
        reason: String,
    },
}

impl Outcome {
    fn kind(&self) -> &'static str {
        match self {
            Self::Proposed { .. } => "proposed",
            Self::Confirmed { .. } => "confirmed",
            Self::Refuted { .. } => "refuted",
            Self::Unconfirmable { .. } => "unconfirmable",
            Self::Acknowledged { .. } => "acknowledged",
        }
    }
}

/// What an alarm has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nobody has measured it again yet.
    Proposed,
    /// It is there.
    Confirmed,
    /// It is not there.
    Refuted,
    /// It could not be found out.
    Unconfirmable,
}

impl State {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Confirmed => "confirmed",
            Self::Refuted => "refuted",
            Self::Unconfirmable => "unconfirmable",
        }
    }
}

/// An alarm: everything that happened to one change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alarm {
    /// Its name.
    pub id: String,
    /// The change as it was found last.
    pub change: Change,
    /// What it has come to.
    pub state: State,
    /// How often it could not be found out.
    pub attempts: usize,
    /// The last word on it, beside being found again.
    pub outcome: Option<AlarmEvent>,
    /// Who knows of it.
    pub acknowledged: Option<AlarmEvent>,
    /// When it was proposed first.
    pub proposed_at: String,
}

impl Alarm {
    /// Confirmed, and nobody has said that they know.
    pub fn is_open(&self) -> bool {
        self.state == State::Confirmed && self.acknowledged.is_none()
    }

    /// The same step, found with some nights more.
    pub fn is_about(&self, change: &Change) -> bool {
        let mine = &self.change;
        mine.key == change.key
            && mine.worse == change.worse
            && mine.earliest <= change.since
            && change.since <= mine.latest
    }
}

/// A change that waits for being measured again.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// Name of its alarm.
    pub alarm: String,
    /// The change.
    pub change: Change,
    /// What ran before.
    pub before: Build,
    /// What runs now.
    pub after: Build,
    /// How often it was tried in vain.
    pub attempts: usize,
    /// False: the value is known without error (sizes, scores, delegation), and measuring again would tell nothing.
    pub to_measure: bool,
}

/// What is to be measured again: as one run had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// The run, whose record names the file.
    pub run: String,
    /// Hash of the model.
    pub model_sha256: String,
    /// Version of the runtime.
    pub runtime_version: Option<String>,
    /// Hash of its library.
    pub library_sha256: Option<String>,
    /// Build of the agent.
    pub agent: Option<String>,
}

impl Build {
    fn of(level: &super::Level) -> Self {
        Self {
            run: level.run.clone(),
            model_sha256: level.model_sha256.clone(),
            runtime_version: level.runtime_version.clone(),
            library_sha256: level.library_sha256.clone(),
            agent: level.agent.clone(),
        }
    }
}

/// What events add up to, alarms by time. The same events in another order give the same alarms; an event that is there
/// twice counts once, and one step that two hosts proposed by different names is one alarm.
pub fn fold(events: &[AlarmEvent]) -> Vec<Alarm> {
    let mut events: Vec<&AlarmEvent> = events.iter().collect();
    // a proposal comes before what followed from it, even within one second
    let rank = |event: &AlarmEvent| !matches!(event.outcome, Outcome::Proposed { .. });
    let text = |event: &AlarmEvent| serde_json::to_string(event).unwrap_or_default();
    events.sort_by_cached_key(|event| (event.at.clone(), rank(event), text(event)));
    events.dedup();
    let mut alarms: Vec<(Alarm, Vec<String>)> = Vec::new();
    for event in events {
        let known = alarms.iter_mut().find(|(_, names)| names.contains(&event.alarm));
        match (&event.outcome, known) {
            (Outcome::Proposed { change }, Some((alarm, _))) => alarm.change = (**change).clone(),
            (Outcome::Proposed { change }, None) => match alarms.iter_mut().find(|(a, _)| a.is_about(change))
            {
                Some((alarm, names)) => {
                    alarm.change = (**change).clone();
                    names.push(event.alarm.clone());
                }
                None => alarms.push((first(event, change), vec![event.alarm.clone()])),
            },
            (_, Some((alarm, _))) => step(alarm, event),
            // its proposal is not there (any more): there is nothing to tell about it
            (_, None) => {}
        }
    }
    alarms.into_iter().map(|(alarm, _)| alarm).collect()
}

fn first(event: &AlarmEvent, change: &Change) -> Alarm {
    Alarm {
        id: event.alarm.clone(),
        change: change.clone(),
        state: State::Proposed,
        attempts: 0,
        outcome: None,
        acknowledged: None,
        proposed_at: event.at.clone(),
    }
}

fn step(alarm: &mut Alarm, event: &AlarmEvent) {
    let state = match event.outcome {
        Outcome::Confirmed { .. } => State::Confirmed,
        Outcome::Refuted { .. } => State::Refuted,
        Outcome::Unconfirmable { .. } => {
            alarm.attempts += 1;
            // what was found out once stays found out
            if matches!(alarm.state, State::Confirmed | State::Refuted) {
                return;
            }
            State::Unconfirmable
        }
        Outcome::Acknowledged { .. } => {
            alarm.acknowledged = Some(event.clone());
            return;
        }
        Outcome::Proposed { .. } => return,
    };
    alarm.state = state;
    alarm.outcome = Some(event.clone());
}

/// Name of an alarm: of the step as it was found first.
fn name_of(change: &Change) -> String {
    let id: SeriesId = change.key.id();
    let text = format!("{id} {} {}", change.since, change.worse);
    Sha256Hex::of_bytes(text.as_bytes()).as_str().chars().take(ID_DIGITS).collect()
}

impl History {
    /// Every alarm, by time.
    ///
    /// # Errors
    /// The place cannot be read.
    pub fn alarms(&self) -> Result<Reading<Vec<Alarm>>, HistoryError> {
        let Reading { found, notes } = self.events()?;
        Ok(Reading { found: fold(&found), notes })
    }

    /// Every event, in the order of its file's name.
    ///
    /// # Errors
    /// The place cannot be read.
    pub fn events(&self) -> Result<Reading<Vec<AlarmEvent>>, HistoryError> {
        let (mut found, mut notes) = (Vec::new(), Vec::new());
        for entry in self.files.list("alarms").map_err(|e| self.failed("listing alarms", e))? {
            match self.event(&entry) {
                Ok(event) => found.push(event),
                Err(Trouble::Gone) => {}
                Err(Trouble::Damaged(what)) => notes.push(Note { file: entry.path, what }),
                Err(Trouble::Place(e)) => return Err(self.failed(&format!("reading {}", entry.path), e)),
            }
        }
        Ok(Reading { found, notes })
    }

    fn event(&self, entry: &super::FileEntry) -> Result<AlarmEvent, Trouble> {
        let damaged = |what: String| Trouble::Damaged(format!("no event of an alarm, left out: {what}"));
        if entry.bytes > MAX_EVENT_BYTES {
            return Err(damaged(format!("longer than {MAX_EVENT_BYTES} bytes")));
        }
        let file = self.files.open(entry).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Trouble::Gone,
            _ => Trouble::Place(error),
        })?;
        let mut text = String::new();
        file.take(MAX_EVENT_BYTES).read_to_string(&mut text).map_err(|e| damaged(e.to_string()))?;
        let event: AlarmEvent = serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
        match event.schema {
            ALARM_SCHEMA => Ok(event),
            other => Err(damaged(format!("schema {other}, this version reads {ALARM_SCHEMA}"))),
        }
    }

    /// Writes down what happened to an alarm. `at`: RFC 3339, UTC. The same event is kept once.
    ///
    /// # Errors
    /// `alarm` or `at` cannot be part of a file's name; the place refused.
    pub fn record(&self, alarm: &str, at: &str, outcome: Outcome) -> Result<(), HistoryError> {
        let time: String = at.chars().filter(char::is_ascii_alphanumeric).collect();
        let plain =
            !alarm.is_empty() && alarm.len() <= 40 && alarm.bytes().all(|b| b.is_ascii_alphanumeric());
        if !plain || at.parse::<Timestamp>().is_err() {
            return Err(HistoryError::Refused(format!("an event of alarm {alarm:?} at {at:?}")));
        }
        let kind = outcome.kind();
        let event = AlarmEvent { schema: ALARM_SCHEMA, alarm: alarm.to_owned(), at: at.to_owned(), outcome };
        let text = serde_json::to_string_pretty(&event).map_err(|e| HistoryError::Refused(e.to_string()))?;
        let hash: String = Sha256Hex::of_bytes(text.as_bytes()).as_str().chars().take(8).collect();
        self.put(&format!("alarms/{time}-{alarm}-{kind}-{hash}.json"), text.as_bytes()).map(|_| ())
    }

    /// Looks at the last [`WINDOW_NIGHTS`] of every series, writes down what changed there and was not known yet, and
    /// says what is to be measured again, what got worse and the largest first. Of a series only the step to the present
    /// level is proposed, if it is recent.
    ///
    /// # Errors
    /// `today` (a date) or `at` (RFC 3339, UTC) is none; the place cannot be read or written.
    pub fn propose(&self, today: &str, at: &str) -> Result<Reading<Vec<Proposal>>, HistoryError> {
        let days = |back: i64| {
            super::days_before(today, back)
                .ok_or_else(|| HistoryError::Asked(format!("{today:?} is no date")))
        };
        let recent = days(RECENT_NIGHTS)?;
        let Reading { found, mut notes } = self.read_all(&Nights::since(&days(WINDOW_NIGHTS)?))?;
        let Reading { found: known, notes: more } = self.alarms()?;
        notes.extend(more);
        let mut proposals = Vec::new();
        for rows in found.values() {
            let last = trend(rows, Pelt::PROPOSE).changes.pop().filter(|change| change.since >= recent);
            let last = last.or_else(|| new_build(rows).filter(|change| change.since >= recent));
            let Some(change) = last.filter(|c| is_large(&c.key, c.effect.size())) else { continue };
            let alarm = known.iter().find(|alarm| alarm.is_about(&change));
            if alarm.is_none() {
                self.record(&name_of(&change), at, Outcome::Proposed { change: Box::new(change.clone()) })?;
            }
            if alarm.is_none_or(waits) {
                proposals.push(proposal(alarm, change));
            }
        }
        let by = |p: &Proposal| (!p.change.worse, std::cmp::Reverse((p.change.effect.size() * 1e9) as u64));
        proposals.sort_by_key(by);
        Ok(Reading { found: proposals, notes })
    }
}

fn is_large(key: &SeriesKey, size: f64) -> bool {
    let cost = key.known_metric().is_some_and(|metric| matches!(metric.unit, Unit::Ns | Unit::Bytes));
    !cost || size >= LEAST_EFFECT.ln_1p()
}

/// Not found out yet, and not tried too often.
fn waits(alarm: &Alarm) -> bool {
    matches!(alarm.state, State::Proposed | State::Unconfirmable) && alarm.attempts < ATTEMPTS
}

fn proposal(alarm: Option<&Alarm>, change: Change) -> Proposal {
    let metric = change.key.known_metric();
    let measured = metric.is_some_and(|m| m.unit == Unit::Ns || m.name == "memory_peak_bytes");
    Proposal {
        alarm: alarm.map_or_else(|| name_of(&change), |alarm| alarm.id.clone()),
        before: Build::of(&change.before),
        after: Build::of(&change.after),
        attempts: alarm.map_or(0, |alarm| alarm.attempts),
        to_measure: measured,
        change,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{invented, night};
    use super::super::{Night, Row};
    use super::*;
    use proptest::prelude::*;
    use stats::Rng;

    /// A history in which series 0 gets slower by 5 % on day 30, series 1 faster on day 32, and series 2 stays.
    fn filled(days: u32) -> (tempfile::TempDir, History) {
        let folder = tempfile::tempdir().unwrap();
        let history = History::folder(folder.path());
        (0..days).for_each(|day| keep(&history, day));
        (folder, history)
    }

    fn keep(history: &History, day: u32) {
        let mut rng = Rng::new(u64::from(day));
        let value = |series: usize, rng: &mut Rng| {
            let factor = match series {
                0 if day >= 30 => 1.05,
                1 if day >= 32 => 0.9,
                _ => 1.0,
            };
            1e6 * factor * (0.01 * rng.normal()).exp()
        };
        let run = format!("run-{day}");
        let rows: Vec<Row> = (0..3).map(|s| invented(s, &night(day), &run, value(s, &mut rng))).collect();
        history.append(&rows).unwrap();
    }

    fn proposals(history: &History, day: u32) -> Vec<Proposal> {
        let at = format!("{}T06:00:00Z", night(day));
        history.propose(&night(day), &at).unwrap().found
    }

    #[test]
    fn a_step_is_proposed_once_however_its_night_shifts() {
        let (_folder, history) = filled(34);
        let mut names = std::collections::BTreeSet::new();
        let mut sinces = std::collections::BTreeSet::new();
        for day in 34..50 {
            keep(&history, day);
            for proposal in proposals(&history, day) {
                names.insert((proposal.change.key.variant.clone(), proposal.alarm));
                sinces.insert((proposal.change.key.variant, proposal.change.since));
            }
        }
        assert_eq!(names.len(), 2, "{names:?} {sinces:?}");
        let alarms = history.alarms().unwrap().found;
        assert_eq!(alarms.len(), 2);
        assert!(alarms.iter().all(|alarm| alarm.state == State::Proposed));
        let open = proposals(&history, 49);
        assert_eq!(open.len(), 2);
        assert!(open[0].change.worse && !open[1].change.worse, "what got worse comes first");
        assert!(open[0].to_measure && open[0].before.run != open[0].after.run);
        // a month later it is history
        assert_eq!(history.propose("2027-02-10", "2027-02-10T00:00:00Z").unwrap().found, []);
        assert!(history.propose("soon", "2027-02-10T00:00:00Z").is_err());
    }

    #[test]
    fn an_alarm_goes_its_way() {
        let (_folder, history) = filled(45);
        let open = proposals(&history, 45);
        let name = open[0].alarm.clone();
        let state = || history.alarms().unwrap().found.into_iter().find(|a| a.id == name).unwrap();
        let record = |hour: u32, outcome| {
            history.record(&name, &format!("{}T{hour:02}:00:00Z", night(46)), outcome).unwrap();
        };
        let away = || Outcome::Unconfirmable { why: "the device was away".into() };
        record(1, away());
        record(2, away());
        assert_eq!((state().state, state().attempts), (State::Unconfirmable, 2));
        assert_eq!(proposals(&history, 46)[0].attempts, 2, "it is tried again");
        record(3, away());
        assert!(proposals(&history, 46).iter().all(|p| p.alarm != name), "and not for ever");
        record(4, Outcome::Confirmed { run: "r".into(), ratio: 1.05, low: 1.04, high: 1.06 });
        assert!(state().is_open());
        record(5, away());
        assert_eq!(state().state, State::Confirmed, "what was found out stays found out");
        record(6, Outcome::Acknowledged { who: "ann".into(), reason: "wanted".into() });
        let done = state();
        assert!(!done.is_open() && done.acknowledged.is_some());
        assert_eq!(super::super::show::state(&done), "confirmed, +5.00 %; acknowledged by ann: wanted");
        let other = open[1].alarm.clone();
        history
            .record(
                &other,
                "2026-12-20T00:00:00Z",
                Outcome::Refuted { run: "r".into(), ratio: 1.0, low: 0.99, high: 1.01 },
            )
            .unwrap();
        assert_eq!(proposals(&history, 47), [], "nothing is left to be found out");
        for (alarm, at) in [("../x", "2026-12-20T00:00:00Z"), ("abc", ""), ("abc", "../../../x")] {
            assert!(history.record(alarm, at, away()).is_err(), "{alarm} {at}");
        }
    }

    #[test]
    fn damaged_events_are_named() {
        let (folder, history) = filled(45);
        proposals(&history, 45);
        let before = history.alarms().unwrap().found;
        for (name, text) in
            [("a.json", "{"), ("b.json", r#"{"schema":2,"alarm":"x","at":"y","event":"refuted"}"#)]
        {
            std::fs::write(folder.path().join("alarms").join(name), text).unwrap();
        }
        let Reading { found, notes } = history.alarms().unwrap();
        assert_eq!((found, notes.len()), (before, 2), "{notes:?}");
    }

    #[test]
    fn sizes_and_scores_need_no_measuring() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::folder(folder.path());
        for day in 0..20 {
            let mut row =
                invented(0, &night(day), &format!("r{day}"), if day < 10 { 1000.0 } else { 1100.0 });
            row.key.metric = "model_bytes".into();
            history.append(&[row]).unwrap();
        }
        let found = proposals(&history, 20);
        assert_eq!(found.len(), 1);
        assert!(!found[0].to_measure && found[0].change.since == night(10));
    }

    #[test]
    fn a_run_of_its_own_night_is_told_apart() {
        let record = crate::testing::Recipe::small().run().record();
        let night = Night { date: "2026-03-04".into(), ..Night::of_run(&record.plan) };
        let rows = super::super::rows(&record, &crate::verdict::verdicts(&record), &night);
        assert!(
            rows.iter().all(|row| row.night == "2026-03-04" && row.measured_at.starts_with("2026-03-05"))
        );
    }

    fn events() -> Vec<AlarmEvent> {
        let (_folder, history) = filled(45);
        let names: Vec<String> = proposals(&history, 45).into_iter().map(|p| p.alarm).collect();
        let mut events = history.events().unwrap().found;
        // another host found the same step a night later, under another name
        let mut twin = events[0].clone();
        twin.alarm = "0123456789ab".into();
        twin.at = format!("{}T07:00:00Z", night(45));
        events.push(twin);
        let add = |alarm: &str, hour: u32, outcome| AlarmEvent {
            schema: ALARM_SCHEMA,
            alarm: alarm.to_owned(),
            at: format!("{}T{hour:02}:00:00Z", night(46)),
            outcome,
        };
        events.push(add("0123456789ab", 1, Outcome::Unconfirmable { why: "away".into() }));
        events.push(add(
            &names[0],
            2,
            Outcome::Confirmed { run: "r".into(), ratio: 1.05, low: 1.04, high: 1.06 },
        ));
        events.push(add(
            &names[1],
            2,
            Outcome::Refuted { run: "s".into(), ratio: 1.0, low: 0.99, high: 1.01 },
        ));
        events.push(add("unheardof", 3, Outcome::Unconfirmable { why: "away".into() }));
        events
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_order_of_events_and_repeating_them_change_nothing(
            order in Just((0..7usize).collect::<Vec<_>>()).prop_shuffle(),
            again in 0..7usize,
        ) {
            static EVENTS: std::sync::OnceLock<Vec<AlarmEvent>> = std::sync::OnceLock::new();
            let events = EVENTS.get_or_init(events);
            prop_assert_eq!(events.len(), 7);
            let mut shuffled: Vec<AlarmEvent> = order.iter().map(|at| events[*at].clone()).collect();
            shuffled.push(events[again].clone());
            let alarms = fold(&shuffled);
            prop_assert_eq!(&alarms, &fold(events));
            prop_assert_eq!(alarms.len(), 2);
            prop_assert!(alarms.iter().any(|a| a.state == State::Confirmed && a.attempts <= 1));
        }
    }
}
