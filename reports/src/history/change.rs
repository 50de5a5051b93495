//! Where a series changed its level, by how much, and what else changed there. Pure: rows of one series in, a [`Trend`]
//! out.
//!
//! Times are followed by their ratio to the pinned reference of the same night, which knows nothing of what slowed the
//! whole device, for as long as the reference is the same: same model, run by the same. Where the reference changes, its
//! own level, over all nights that it was used, joins the two pieces; a change found just there must be visible without
//! a reference as well.

use super::row::{Row, SeriesKey};
use protocol::{Direction, Unit};
use serde::{Deserialize, Serialize};
use stats::{Pelt, autocorrelation, median, neighbour_noise, t_quantile_upper};
use std::collections::BTreeMap;

/// Points around a change within which it may really lie.
pub(super) const NEAR: usize = 5;
/// Confidence of the interval of an effect.
pub const EFFECT_LEVEL: f64 = 0.95;
/// Most changes of versions that are told of one change of level.
const MAX_MOVED: usize = 20;
/// sd of a normal distribution over its median absolute deviation, and standard error of a median over that of a mean.
const MAD_TO_SD: f64 = 1.482_602_218_505_602;
const MEDIAN_ERROR: f64 = 1.253_314_137_315_5;
/// A new build is looked at when it is off by so many times the noise between nights.
const NEW_BUILD_NOISE: f64 = 3.0;
/// Strongest dependence of neighbours that is reckoned with.
const MAX_DEPENDENCE: f64 = 0.9;

/// A series over time, with its changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trend {
    /// Which series.
    pub key: SeriesKey,
    /// Every row, by time.
    pub points: Vec<TrendPoint>,
    /// Changes of level, by time.
    pub changes: Vec<Change>,
    /// Rows that are not used.
    pub invalid: usize,
}

/// One row of a trend.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrendPoint {
    /// Date of the night.
    pub night: String,
    /// When it was measured, RFC 3339.
    pub measured_at: String,
    /// Name of the run.
    pub run: String,
    /// As measured, in the metric's unit.
    pub value: Option<f64>,
    /// Lower end of its 95 % interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// The same without what moved the reference: what changes are looked for in. `None`: not used.
    pub steadied: Option<f64>,
    /// Why it is not used.
    pub reasons: Option<String>,
}

/// What a series was followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The ratio to one reference, on both sides of the change.
    Ratio,
    /// Values as measured: there is no reference, or not the same one.
    Absolute,
}

/// How much it changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Effect {
    /// Of times and sizes: level after over level before.
    Ratio {
        /// The ratio.
        ratio: f64,
        /// Lower end of its interval at [`EFFECT_LEVEL`].
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// Of everything else: level after minus level before, in the metric's unit.
    Difference {
        /// The difference.
        difference: f64,
        /// Lower end of its interval at [`EFFECT_LEVEL`].
        low: f64,
        /// Upper end.
        high: f64,
    },
}

/// A stretch of nights with one level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// Median of the values as measured, in the metric's unit.
    pub value: f64,
    /// Values that count.
    pub points: usize,
    /// Its first night.
    pub from: String,
    /// Its last night.
    pub to: String,
    /// The run next to the change.
    pub run: String,
    /// Hash of the model in that run.
    pub model_sha256: String,
    /// Version of the runtime in that run.
    pub runtime_version: Option<String>,
    /// Hash of its library.
    pub library_sha256: Option<String>,
    /// Build of the agent in that run.
    pub agent: Option<String>,
}

/// Something that is not what it was before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// `model`, `runtime`, `library`, `agent`, `os`, `data`, `reference`, `device-model`, `host`.
    pub what: String,
    /// Before.
    pub from: Option<String>,
    /// After.
    pub to: Option<String>,
    /// The first night with the new one.
    pub night: String,
    /// True where that is the first night of the new level; false: some nights before or after it.
    pub exact: bool,
}

/// One change of level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Which series.
    pub key: SeriesKey,
    /// First night of the new level.
    pub since: String,
    /// The new level may have begun as early as this.
    pub earliest: String,
    /// Or as late as this.
    pub latest: String,
    /// How much.
    pub effect: Effect,
    /// True where it got worse, by the direction of the metric.
    pub worse: bool,
    /// By what it was found.
    pub basis: Basis,
    /// The level before.
    pub before: Level,
    /// The level after.
    pub after: Level,
    /// What else changed there.
    pub moved: Vec<Moved>,
}

impl Effect {
    /// Distance from no change: |ln ratio|, or |difference|.
    pub fn size(&self) -> f64 {
        match self {
            Self::Ratio { ratio, .. } => ratio.ln().abs(),
            Self::Difference { difference, .. } => difference.abs(),
        }
    }

    fn is_up(&self) -> bool {
        match self {
            Self::Ratio { ratio, .. } => *ratio > 1.0,
            Self::Difference { difference, .. } => *difference > 0.0,
        }
    }
}

/// The trend of one series, whose rows are by time.
pub fn trend(rows: &[Row], pelt: Pelt) -> Trend {
    let key = rows.first().map(|row| row.key.clone()).unwrap_or_default();
    let signal = Signal::of(&key, rows);
    let mut steadied = vec![None; rows.len()];
    for (at, value) in signal.at.iter().zip(&signal.values) {
        steadied[*at] = Some(signal.shown(*value));
    }
    let point = |(row, steadied): (&Row, Option<f64>)| TrendPoint {
        night: row.night.clone(),
        measured_at: row.measured_at.clone(),
        run: row.run.clone(),
        value: row.value,
        low: row.low,
        high: row.high,
        steadied,
        reasons: row.reasons.clone(),
    };
    let points = rows.iter().zip(steadied).map(point).collect();
    let found = pelt.change_points(&signal.values).unwrap_or_default();
    let changes = signal.changes(&key, rows, &found, pelt);
    Trend { key, points, changes, invalid: rows.len() - signal.at.len() }
}

/// The step to the present level where the model or the runtime is a new one, before there are nights enough to find it
/// by: with the place known, one night on each side says whether it is worth measuring both again. `None`: nothing is
/// new, or it is not beyond the noise of the nights before.
pub(super) fn new_build(rows: &[Row]) -> Option<Change> {
    let key = &rows.first()?.key;
    let signal = Signal::of(key, rows);
    let build =
        |at: &usize| rows.get(*at).map(|row| (&row.model_sha256, &row.library_sha256, &row.runtime_version));
    let to = signal.at.len();
    let newest = build(signal.at.last()?);
    let at = to - signal.at.iter().rev().take_while(|at| build(at) == newest).count();
    if at == 0 {
        return None;
    }
    let older = build(signal.at.get(at - 1)?);
    let from = at - signal.at[..at].iter().rev().take_while(|at| build(at) == older).count();
    let (before, after) = (median(&signal.values[from..at]).ok()?, median(&signal.values[at..to]).ok()?);
    let noise = neighbour_noise(&signal.values[from..at]).unwrap_or_default();
    let beyond = (after - before).abs() > NEW_BUILD_NOISE * noise;
    beyond.then(|| signal.change(key, rows, [from, at, to], signal.basis(from, at, to)))?
}

/// What changes are looked for in.
struct Signal {
    /// Positions of the rows that count.
    at: Vec<usize>,
    /// Steadied values: logarithms of times and sizes.
    values: Vec<f64>,
    /// The same as measured.
    absolute: Vec<f64>,
    /// Which reference each has; `None`: none.
    references: Vec<Option<usize>>,
    logarithms: bool,
}

impl Signal {
    fn of(key: &SeriesKey, rows: &[Row]) -> Self {
        let unit = key.known_metric().map(|metric| metric.unit);
        let logarithms = matches!(unit, Some(Unit::Ns | Unit::Bytes));
        let counts =
            |row: &Row| row.valid && row.value.is_some_and(|v| v.is_finite() && (!logarithms || v > 0.0));
        let at: Vec<usize> = (0..rows.len()).filter(|i| counts(&rows[*i])).collect();
        let value = |at: &usize| rows[*at].value.map_or(0.0, |v| if logarithms { v.ln() } else { v });
        let absolute: Vec<f64> = at.iter().map(value).collect();
        let mut names: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut found: Vec<Option<(usize, f64)>> = Vec::new();
        for row in at.iter().map(|at| &rows[*at]) {
            let ratio = row.ratio.filter(|ratio| logarithms && ratio.is_finite() && *ratio > 0.0);
            let reference = row.reference_sha256.as_deref().zip(row.reference_stack.as_deref());
            found.push(ratio.zip(reference).map(|(ratio, reference)| {
                let next = names.len();
                (*names.entry(reference).or_insert(next), ratio.ln())
            }));
        }
        // what each reference takes by itself, over all its nights
        let levels: Vec<f64> = (0..names.len())
            .map(|name| {
                let of = found.iter().zip(&absolute).filter_map(|(found, absolute)| {
                    found.filter(|(other, _)| *other == name).map(|(_, ratio)| absolute - ratio)
                });
                median(&of.collect::<Vec<_>>()).unwrap_or_default()
            })
            .collect();
        let steadied = |(found, absolute): (&Option<(usize, f64)>, &f64)| {
            found.and_then(|(name, ratio)| Some(ratio + levels.get(name)?)).unwrap_or(*absolute)
        };
        let values = found.iter().zip(&absolute).map(steadied).collect();
        let references = found.iter().map(|found| found.map(|(name, _)| name)).collect();
        Self { at, values, absolute, references, logarithms }
    }

    fn shown(&self, value: f64) -> f64 {
        if self.logarithms { value.exp() } else { value }
    }

    fn changes(&self, key: &SeriesKey, rows: &[Row], found: &[usize], pelt: Pelt) -> Vec<Change> {
        let mut starts = vec![0];
        starts.extend(found);
        starts.push(self.at.len());
        let change = |pieces: &[usize]| {
            let [from, at, to] = pieces.try_into().ok()?;
            let basis = self.basis(from, at, to);
            (basis == Basis::Ratio || !self.has_references() || self.is_visible(from, at, to, pelt))
                .then(|| self.change(key, rows, [from, at, to], basis))?
        };
        starts.windows(3).filter_map(change).collect()
    }

    fn has_references(&self) -> bool {
        self.references.iter().any(Option::is_some)
    }

    /// One reference near the change, on both of its sides.
    fn basis(&self, from: usize, at: usize, to: usize) -> Basis {
        let near = at.saturating_sub(NEAR).max(from)..(at + NEAR).min(to);
        let all = &self.references[near];
        let same = all.iter().all(|reference| reference.is_some() && *reference == all[0]);
        if same && !all.is_empty() { Basis::Ratio } else { Basis::Absolute }
    }

    /// Whether PELT's own price is worth paying for it in the values as measured.
    fn is_visible(&self, from: usize, at: usize, to: usize, pelt: Pelt) -> bool {
        let (Ok(before), Ok(after), Ok(noise)) = (
            median(&self.absolute[from..at]),
            median(&self.absolute[at..to]),
            neighbour_noise(&self.absolute),
        ) else {
            return false;
        };
        let (n, m) = ((at - from) as f64, (to - at) as f64);
        let saved = n * m / (n + m) * (after - before).powi(2);
        saved > pelt.penalty * noise * noise * (self.absolute.len() as f64).ln()
    }

    fn change(&self, key: &SeriesKey, rows: &[Row], pieces: [usize; 3], basis: Basis) -> Option<Change> {
        let [from, at, to] = pieces;
        let [point, low, high] = self.effect(from, at, to)?;
        let effect = match self.logarithms {
            true => Effect::Ratio { ratio: point.exp(), low: low.exp(), high: high.exp() },
            false => Effect::Difference { difference: point, low, high },
        };
        let row = |i: usize| self.at.get(i).and_then(|at| rows.get(*at));
        let level = |from: usize, to: usize, next: usize| {
            let values: Vec<f64> = self.absolute[from..to].iter().map(|v| self.shown(*v)).collect();
            let next = row(next)?;
            Some(Level {
                value: median(&values).ok()?,
                points: to - from,
                from: row(from)?.night.clone(),
                to: row(to - 1)?.night.clone(),
                run: next.run.clone(),
                model_sha256: next.model_sha256.clone(),
                runtime_version: next.runtime_version.clone(),
                library_sha256: next.library_sha256.clone(),
                agent: next.agent.clone(),
            })
        };
        let (first, last) = (at.saturating_sub(NEAR).max(from), (at + NEAR).min(to - 1));
        let better = key.known_metric().map_or(Direction::Lower, |metric| metric.better);
        Some(Change {
            key: key.clone(),
            since: row(at)?.night.clone(),
            earliest: row(first)?.night.clone(),
            latest: row(last)?.night.clone(),
            effect,
            worse: effect.is_up() == (better == Direction::Lower),
            basis,
            before: level(from, at, at - 1)?,
            after: level(at, to, at)?,
            moved: moved(&rows[*self.at.get(first)?..=*self.at.get(last)?], &row(at)?.run),
        })
    }

    /// Difference of the medians with its t interval, for values of which neighbours depend on each other.
    fn effect(&self, from: usize, at: usize, to: usize) -> Option<[f64; 3]> {
        let (before, after) = (&self.values[from..at], &self.values[at..to]);
        let (low, high) = (median(before).ok()?, median(after).ok()?);
        let residuals: Vec<f64> =
            before.iter().map(|v| v - low).chain(after.iter().map(|v| v - high)).collect();
        let sizes: Vec<f64> = residuals.iter().map(|r| r.abs()).collect();
        let sd = MAD_TO_SD * median(&sizes).ok()?;
        let dependence = autocorrelation(&residuals, 1).unwrap_or_default().clamp(0.0, MAX_DEPENDENCE);
        let worth = (1.0 - dependence) / (1.0 + dependence);
        let (n, m) = (before.len() as f64 * worth, after.len() as f64 * worth);
        let error = MEDIAN_ERROR * sd * (1.0 / n + 1.0 / m).sqrt();
        let df = (n + m - 2.0).max(1.0);
        let half = t_quantile_upper((1.0 - EFFECT_LEVEL) / 2.0, df) * error;
        let point = high - low;
        Some([point, point - half, point + half])
    }
}

/// How a version is got from a row.
type Get = fn(&Row) -> Option<&str>;

/// What may move, and where a row has it.
const VERSIONS: [(&str, Get); 8] = [
    ("model", |row| Some(&row.model_sha256)),
    ("runtime", |row| row.runtime_version.as_deref()),
    ("library", |row| row.library_sha256.as_deref()),
    ("agent", |row| row.agent.as_deref()),
    ("os", |row| row.os.as_deref()),
    ("data", |row| row.data_sha256.as_deref()),
    ("device-model", |row| row.device_model.as_deref()),
    ("host", |row| row.host.as_deref()),
];

/// What changed within these rows; `first`: the run with which the new level begins.
fn moved(rows: &[Row], first: &str) -> Vec<Moved> {
    let mut all = Vec::new();
    for (what, get) in VERSIONS {
        // a row that does not tell is no change
        let told: Vec<(&Row, &str)> = rows.iter().filter_map(|row| Some((row, get(row)?))).collect();
        for pair in told.windows(2).filter(|pair| pair[0].1 != pair[1].1) {
            all.push(Moved {
                what: what.to_owned(),
                from: Some(pair[0].1.to_owned()),
                to: Some(pair[1].1.to_owned()),
                night: pair[1].0.night.clone(),
                exact: pair[1].0.run == first,
            });
        }
    }
    all.sort_by_key(|moved| !moved.exact);
    all.truncate(MAX_MOVED);
    all
}

#[cfg(test)]
mod tests {
    use super::super::tests::{invented, night};
    use super::*;
    use stats::Rng;

    const NIGHTS: u32 = 60;

    /// What is invented of each night.
    #[derive(Clone)]
    struct Night {
        /// True logarithm of the value.
        level: f64,
        /// What the whole device is slower by, as a logarithm.
        device: f64,
        reference: Option<&'static str>,
    }

    fn rows(of: impl Fn(u32) -> Night) -> Vec<Row> {
        let mut rng = Rng::new(3);
        (0..NIGHTS)
            .map(|day| {
                let Night { level, device, reference } = of(day);
                let (own, other) = (0.003 * rng.normal(), 0.01 * rng.normal());
                let value = 1e6 * (level + device + own + other).exp();
                let mut row = invented(0, &night(day), &format!("r{day}"), value);
                if let Some(reference) = reference {
                    row.reference_sha256 = Some(reference.to_owned());
                    row.reference_stack = Some("builtin/cpu".to_owned());
                    let slower = if reference == "slow" { 1.3 } else { 1.0 };
                    row.ratio = Some(0.5 / slower * (level + own).exp());
                }
                row
            })
            .collect()
    }

    fn step(day: u32, at: u32, by: f64) -> f64 {
        if day >= at { (1.0 + by).ln() } else { 0.0 }
    }

    fn plain(day: u32) -> Night {
        Night { level: step(day, 30, 0.05), device: 0.0, reference: None }
    }

    #[test]
    fn a_step_is_told_with_what_moved_there() {
        let mut rows = rows(plain);
        for (day, row) in rows.iter_mut().enumerate() {
            row.model_sha256 = if day < 30 { "old".into() } else { "new".into() };
            row.agent = Some(if day < 32 { "1".into() } else { "2".into() });
            row.runtime_version = Some(if day < 50 { "1".into() } else { "2".into() });
        }
        let found = trend(&rows, Pelt::REPORT);
        let [change] = &found.changes[..] else { panic!("{:?}", found.changes) };
        assert_eq!((change.since.as_str(), change.worse, change.basis), (&*night(30), true, Basis::Absolute));
        assert!(change.earliest < change.since && change.since < change.latest);
        let Effect::Ratio { ratio, low, high } = change.effect else { panic!("a time has a ratio") };
        assert!((ratio - 1.05).abs() < 0.01 && low < 1.05 && 1.05 < high && high - low < 0.03, "{change:?}");
        assert!(
            (change.before.value / 1e6 - 1.0).abs() < 0.01 && (change.after.value / 1e6 - 1.05).abs() < 0.01
        );
        assert_eq!((change.before.points, change.after.points), (30, 30));
        assert_eq!((change.before.run.as_str(), change.after.run.as_str()), ("r29", "r30"));
        assert_eq!((change.before.model_sha256.as_str(), change.after.model_sha256.as_str()), ("old", "new"));
        let moved: Vec<_> =
            change.moved.iter().map(|m| (m.what.as_str(), m.night.clone(), m.exact)).collect();
        assert_eq!(moved, [("model", night(30), true), ("agent", night(32), false)]);
    }

    #[test]
    fn what_slows_the_whole_device_is_no_change_beside_a_reference() {
        let throttled = |day| Night { level: 0.0, device: step(day, 30, 0.1), reference: Some("r") };
        assert_eq!(trend(&rows(throttled), Pelt::PROPOSE).changes, []);
        let alone = |day| Night { reference: None, ..throttled(day) };
        assert_eq!(trend(&rows(alone), Pelt::PROPOSE).changes.len(), 1);
    }

    #[test]
    fn beside_a_reference_smaller_steps_are_seen() {
        let small = |day| Night { level: step(day, 40, 0.015), device: 0.0, reference: Some("r") };
        let found = trend(&rows(small), Pelt::REPORT);
        let [change] = &found.changes[..] else { panic!("{:?}", found.changes) };
        assert_eq!(change.basis, Basis::Ratio);
        assert!(change.since.as_str().abs_diff_nights(&night(40)) <= 1, "{}", change.since);
    }

    trait Apart {
        fn abs_diff_nights(&self, other: &str) -> usize;
    }

    impl Apart for str {
        fn abs_diff_nights(&self, other: &str) -> usize {
            let at = |date: &str| (0..NIGHTS as usize).position(|day| night(day as u32) == date).unwrap();
            at(self).abs_diff(at(other))
        }
    }

    #[test]
    fn another_reference_is_no_change_and_hides_none() {
        let swapped =
            |day| Night { level: 0.0, device: 0.0, reference: Some(if day < 30 { "r" } else { "slow" }) };
        assert_eq!(
            trend(&rows(swapped), Pelt::PROPOSE).changes,
            [],
            "the ratio alone would have moved by 30 %"
        );
        let both = |day| Night { level: step(day, 30, 0.08), ..swapped(day) };
        let found = trend(&rows(both), Pelt::REPORT);
        let [change] = &found.changes[..] else { panic!("{:?}", found.changes) };
        assert_eq!((change.since.as_str(), change.basis), (&*night(30), Basis::Absolute));
        // two hosts, two references, by turns
        let turns =
            |day| Night { level: 0.0, device: 0.0, reference: Some(if day % 2 == 0 { "r" } else { "slow" }) };
        assert_eq!(trend(&rows(turns), Pelt::PROPOSE).changes, []);
    }

    #[test]
    fn a_runtime_that_slows_model_and_reference_alike_is_seen_when_the_reference_has_another_stack() {
        let mut rows = rows(|day| Night { level: 0.0, device: step(day, 30, 0.08), reference: Some("r") });
        for row in &mut rows[30..] {
            row.reference_stack = Some("builtin/cpu, newer".to_owned());
        }
        let found = trend(&rows, Pelt::REPORT);
        assert_eq!(found.changes.len(), 1, "{:?}", found.changes);
        assert_eq!(found.changes[0].since, night(30));
    }

    #[test]
    fn invalid_rows_are_counted_and_left_out() {
        let mut rows = rows(|_| Night { level: 0.0, device: 0.0, reference: None });
        for row in &mut rows[20..30] {
            row.valid = false;
            row.value = row.value.map(|value| value * 2.0);
        }
        rows[40].value = None;
        let found = trend(&rows, Pelt::PROPOSE);
        assert_eq!((found.invalid, found.points.len(), found.changes), (11, 60, vec![]));
        assert!(found.points[20].steadied.is_none() && found.points[20].value.is_some());
    }

    #[test]
    fn a_score_changes_by_a_difference_and_up_is_better() {
        let mut rows = rows(plain);
        for (day, row) in rows.iter_mut().enumerate() {
            row.key.metric = "accuracy_top1".into();
            row.value = Some(if day < 30 { 0.8 } else { 0.75 });
        }
        let found = trend(&rows, Pelt::REPORT);
        let [change] = &found.changes[..] else { panic!("{:?}", found.changes) };
        let Effect::Difference { difference, low, high } = change.effect else { panic!("a difference") };
        assert!((difference + 0.05).abs() < 1e-12 && low == high && change.worse, "{change:?}");
        let short = trend(&rows[..3], Pelt::REPORT);
        assert_eq!((short.points.len(), short.changes.len()), (3, 0));
        assert_eq!(trend(&[], Pelt::REPORT).points, []);
    }

    #[test]
    fn the_interval_of_an_effect_holds_what_it_promises() {
        let (mut held, mut found) = (0, 0);
        for seed in 0..400 {
            let mut rng = Rng::new(seed);
            let mut drift = 0.0;
            let rows: Vec<Row> = (0..NIGHTS)
                .map(|day| {
                    drift = 0.3 * drift + 0.95 * rng.normal();
                    let value = 1e6 * (0.01 * drift + step(day, 30, 0.06)).exp();
                    invented(0, &night(day), &format!("r{day}"), value)
                })
                .collect();
            if let [change] = &trend(&rows, Pelt::REPORT).changes[..]
                && let Effect::Ratio { low, high, .. } = change.effect
            {
                found += 1;
                held += u32::from(low <= 1.06 && 1.06 <= high);
            }
        }
        println!("{found} of 400 steps of 6 % found, {held} intervals held the truth");
        assert!(found > 380 && f64::from(held) >= 0.9 * f64::from(found), "{held} of {found}");
    }

    #[test]
    fn a_new_build_is_looked_at_in_its_first_night() {
        let level = |step: f64, nights: u32| {
            let mut all = rows(|day| Night {
                level: if day + 1 >= nights { step } else { 0.0 },
                device: 0.0,
                reference: Some("pinned"),
            });
            all.truncate(nights as usize);
            if let Some(last) = all.last_mut() {
                last.model_sha256 = "new".to_owned();
            }
            all
        };
        for nights in [2, 8, 40] {
            let change = new_build(&level(0.05, nights)).unwrap();
            assert!(change.worse && change.since == night(nights - 1), "{change:?}");
            assert_eq!((change.after.points, change.before.points), (1, nights as usize - 1));
            assert!(change.moved.iter().any(|moved| moved.what == "model"));
        }
        assert_eq!(new_build(&level(0.0, 40)), None, "within the noise");
        let same = level(0.05, 40).into_iter().map(|row| Row { model_sha256: "old".to_owned(), ..row });
        assert_eq!(new_build(&same.collect::<Vec<_>>()), None, "nothing is new");
        assert_eq!(new_build(&level(0.05, 1)), None);
    }
}
