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
use stats::{MAD_TO_SD, Pelt, autocorrelation, median, neighbour_noise, t_quantile_upper};
use std::collections::BTreeMap;

/// Points around a change within which it may really lie.
pub(super) const NEAR: usize = 5;
/// Confidence of the interval of an effect.
pub const EFFECT_LEVEL: f64 = 0.95;
/// Most changes of versions that are told of one change of level.
const MAX_MOVED: usize = 20;
/// Standard error of a median over that of a mean, of a normal distribution.
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
mod tests;
