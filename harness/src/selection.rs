//! What a run is about: the suite or the models named on the command line, with the settings on top and the
//! data loaded. Finds, reads and hashes files; decides no order and knows no device.

use crate::{
    canaries::Pinned,
    exit::{CommandResult, ExitWith, Failure},
    pictures,
    plan::{Feed, MAX_GROUP},
    selftest::{self, Cells},
    settings::Settings,
    transport::{Content, HostFile},
};
use anyhow::Context;
use datasets::{Dataset, FileRef, did_you_mean};
use protocol::{ContrastKind, Format, Labels, Precision, RuntimeId, Sharing, VariantId};
use reports::{
    record::{CasePlan, DatasetFacts, Plan, Subject, SuiteFacts},
    visible,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use suites::{Measure, RuntimeOptions, Suite, Versions};

/// Measuring a device ends after so long, unless the settings or the suite say otherwise.
pub(crate) const DEFAULT_BUDGET: Duration = Duration::from_secs(240);

/// What was asked for on the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Name or path of a suite.
    pub(crate) suite: Option<String>,
    /// Model files.
    pub(crate) models: Vec<PathBuf>,
    /// Data for model files.
    pub(crate) data: Option<String>,
    /// Parts of names; variants with none of them are left out.
    pub(crate) filter: Vec<String>,
    /// Keep the reference whatever the filter says.
    pub(crate) keep_reference: bool,
    /// Two folders with versions of the same models, the earlier one first.
    pub(crate) versions: Option<(PathBuf, PathBuf)>,
    /// A shipped model against itself.
    pub(crate) selftest: Option<Cells>,
    /// Time per node and nothing else.
    pub(crate) profiles_only: bool,
}

/// A variant with its file.
#[derive(Clone, Debug)]
pub(crate) struct Entrant {
    /// Its name.
    pub(crate) id: VariantId,
    /// Format, as its first bytes and its name say.
    pub(crate) format: Format,
    /// Precision, as the suite declares it.
    pub(crate) declared: Option<Precision>,
    /// The model.
    pub(crate) file: HostFile,
    /// Position in the selection of the one it is compared with; `None` when that one was left out.
    pub(crate) reference: Option<usize>,
    /// The agent makes it slower on purpose.
    pub(crate) slowdown_permille: Option<u16>,
}

/// Everything that is to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) subject: Subject,
    pub(crate) suite: SuiteFacts,
    pub(crate) kinds: Vec<ContrastKind>,
    pub(crate) entrants: Vec<Entrant>,
    /// Empty: the built-in one, and those that a device has a library for.
    pub(crate) runtimes: Vec<RuntimeId>,
    /// Options of runtimes, in their own words.
    pub(crate) options: RuntimeOptions,
    pub(crate) threads: u16,
    pub(crate) measure: Measure,
    /// How variants share a device; `None`: ping-pong where they fit.
    pub(crate) schedule: Option<Sharing>,
    /// `None`: as long as it takes.
    pub(crate) budget: Option<Duration>,
    /// Most variants that are alive together.
    pub(crate) together: usize,
    /// Time per node is all that is asked.
    pub(crate) profiles_only: bool,
    /// Nobody asks what the variants answer.
    pub(crate) costs_only: bool,
    /// The measuring itself is watched.
    pub(crate) canaries: bool,
    /// By this model, and not by the smallest reference.
    pub(crate) pinned: Option<Pinned>,
    pub(crate) dataset: DatasetFacts,
    pub(crate) feed: Feed,
    /// Tensor files.
    pub(crate) data: Vec<HostFile>,
    /// What the user should know of what was found.
    pub(crate) notes: Vec<String>,
}

impl Selection {
    /// Finds and reads everything. `seed` makes random inputs, where there is no data.
    ///
    /// # Errors
    /// Names the file, key or name that is wrong, and what to do.
    pub(crate) fn load(wanted: &Wanted, settings: &Settings, seed: u64) -> CommandResult<Self> {
        if let Some(cells) = &wanted.selftest {
            return selftest::selection(cells, settings, seed);
        }
        let Chosen { suite, subject, notes } = find(wanted)?;
        Ok(Self { notes, ..Self::of_suite(&suite, subject, wanted, settings, seed)? })
    }

    fn of_suite(
        suite: &Suite,
        subject: Subject,
        wanted: &Wanted,
        settings: &Settings,
        seed: u64,
    ) -> CommandResult<Self> {
        let kept = filter(suite, wanted)?;
        let mut entrants = Vec::new();
        for variant in kept.iter().filter_map(|at| suite.variants.get(*at)) {
            let file = host_file(&variant.file).or_usage()?;
            let (id, format, declared) = (variant.id.clone(), variant.format, variant.precision);
            let reference = kept.iter().position(|at| *at == variant.reference);
            entrants.push(Entrant { id, format, declared, file, reference, slowdown_permille: None });
        }
        let (dataset, feed, data) = examples(suite, seed)?;
        let mut margins = suite.compare.margins.clone();
        margins.extend(settings.margin.own.clone());
        let budget = settings.time_budget.map(|span| span.0);
        let of_suite = suite.measure.time_budget_s.map(Duration::from_secs);
        Ok(Self {
            subject,
            suite: SuiteFacts {
                name: suite.name.clone(),
                title: suite.title.clone(),
                sha256: suite.sha256.clone(),
                task: suite.task.clone(),
                margin: settings.margin.all.unwrap_or(suite.compare.margin),
                margins,
                accuracy_margin: settings.accuracy_margin.map_or(suite.accuracy_margin(), |share| share.0),
                max_units: settings.units.unwrap_or(suite.compare.max_units),
                precision: settings.precision.map(|share| share.0),
            },
            kinds: suite.compare.contrasts.clone(),
            entrants,
            runtimes: if settings.runtimes.is_empty() {
                suite.runtimes.clone()
            } else {
                settings.runtimes.clone()
            },
            options: options(&suite.options, settings),
            threads: settings.threads.unwrap_or(suite.threads),
            measure: suite.measure.clone(),
            schedule: settings.schedule.or(suite.measure.schedule),
            budget: Some(budget.or(of_suite).unwrap_or(DEFAULT_BUDGET)),
            together: MAX_GROUP,
            profiles_only: wanted.profiles_only,
            costs_only: wanted.profiles_only,
            canaries: settings.canaries && !wanted.profiles_only,
            pinned: None,
            dataset,
            feed,
            data,
            notes: Vec::new(),
        })
    }

    /// Everything a device needs.
    pub(crate) fn files(&self) -> Vec<HostFile> {
        let pinned = self.pinned.iter().map(|pinned| &pinned.file);
        self.entrants.iter().map(|e| &e.file).chain(pinned).chain(&self.data).cloned().collect()
    }
}

/// Those of the suite, with those of the command line on top.
pub(crate) fn options(suite: &RuntimeOptions, settings: &Settings) -> RuntimeOptions {
    let mut all = suite.clone();
    for option in &settings.options {
        let of_runtime = all.entry(option.runtime.clone()).or_default();
        of_runtime.insert(option.name.clone(), option.value.clone());
    }
    all
}

/// What is measured, before it is read.
struct Chosen {
    suite: Suite,
    subject: Subject,
    notes: Vec<String>,
}

impl From<(Suite, Subject)> for Chosen {
    fn from((suite, subject): (Suite, Subject)) -> Self {
        Self { suite, subject, notes: Vec::new() }
    }
}

fn find(wanted: &Wanted) -> CommandResult<Chosen> {
    if let Some((base, head)) = &wanted.versions {
        return find_versions(base, head, wanted.data.as_deref());
    }
    match (&wanted.suite, wanted.models.is_empty()) {
        (Some(_), false) => Err(Failure::usage("give either --suite or model files, not both")),
        (Some(name), true) => {
            if wanted.data.is_some() {
                return Err(Failure::usage("--data goes with model files; a suite names its own data"));
            }
            let suite = suites::lookup(name).or_usage()?;
            let subject = Subject::Suite { at: suite.origin.clone() };
            Ok((suite, subject).into())
        }
        (None, false) => {
            let suite = suites::ad_hoc(&wanted.models, wanted.data.as_deref()).or_usage()?;
            let models = suite.variants.iter().map(|v| v.file.path().display().to_string()).collect();
            Ok((suite, Subject::Models { models, data: wanted.data.as_deref().map(absolute_data) }).into())
        }
        (None, true) => Err(Failure::usage(
            "nothing to measure is named: give --suite NAME (see `bench suites`) or model files",
        )),
    }
}

fn find_versions(base: &Path, head: &Path, data: Option<&str>) -> CommandResult<Chosen> {
    let found = suites::versions(base, head, data).or_usage()?;
    let missing = found.missing();
    let Versions { suite, gone, new } = found;
    let absolute =
        |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    let (base, head, data) = (absolute(base), absolute(head), data.map(absolute_data));
    let subject = Subject::Versions { base, head, data, gone: missing };
    let note = |names: &[String], what: &str| {
        let shown = visible(&names.join(", ")).into_owned();
        (!names.is_empty()).then(|| format!("not compared, for only the {what} has it: {shown}"))
    };
    let notes = [note(&gone, "base"), note(&new, "head")].into_iter().flatten().collect();
    Ok(Chosen { suite, subject, notes })
}

/// A path that exists, from the root, so that it is found again from anywhere; a name stays a name.
fn absolute_data(data: &str) -> String {
    match std::path::absolute(data) {
        Ok(path) if Path::new(data).exists() => path.display().to_string(),
        _ => data.to_owned(),
    }
}

fn filter(suite: &Suite, wanted: &Wanted) -> CommandResult<Vec<usize>> {
    let matches = |at: usize| {
        let name = suite.variants.get(at).map(|v| v.id.to_string()).unwrap_or_default();
        wanted.filter.is_empty() || wanted.filter.iter().any(|part| name.contains(part.as_str()))
    };
    let hit: Vec<usize> = (0..suite.variants.len()).filter(|at| matches(*at)).collect();
    if hit.is_empty() {
        let names: Vec<&str> = suite.variants.iter().map(|v| v.id.variant.as_str()).collect();
        let hint: String =
            wanted.filter.iter().map(|part| did_you_mean(part, names.iter().copied())).collect();
        return Err(Failure::nothing(format!(
            "no variant of {} has {} in its name{hint}; there are {}",
            suite.name,
            wanted.filter.join(" or "),
            names.join(", ")
        )));
    }
    let is_needed = |at| hit.iter().any(|h| suite.variants.get(*h).is_some_and(|v| v.reference == at));
    let keep = |at: &usize| matches(*at) || wanted.keep_reference && is_needed(*at);
    Ok((0..suite.variants.len()).filter(keep).collect())
}

/// A model as it is pushed.
///
/// # Errors
/// It cannot be read.
pub(crate) fn host_file(file: &FileRef) -> anyhow::Result<HostFile> {
    match file.shipped_bytes() {
        Some(bytes) => Ok(HostFile::from_memory(file.path().display().to_string(), bytes)),
        None => HostFile::from_path(file.path())
            .with_context(|| format!("the model {} cannot be read", file.path().display())),
    }
}

/// The examples of a suite, or those that are made from a seed.
///
/// # Errors
/// The data cannot be read.
pub(crate) fn examples(suite: &Suite, seed: u64) -> CommandResult<(DatasetFacts, Feed, Vec<HostFile>)> {
    let loaded = suite.load_dataset().or_usage()?;
    Ok(loaded.map_or_else(|| random(suite.random_examples(), seed), facts_of))
}

fn facts_of(dataset: Dataset) -> (DatasetFacts, Feed, Vec<HostFile>) {
    let examples = dataset.examples();
    let pictures = dataset.inputs.first().and_then(pictures::of);
    let (mut files, mut feed) = (Vec::new(), Vec::new());
    for (index, tensor) in dataset.inputs.into_iter().enumerate() {
        let bytes: Arc<[u8]> = tensor.bytes.into();
        let file = HostFile::from_memory(format!("examples of input {index}"), bytes);
        feed.push((file.sha256.clone(), tensor.dtype, tensor.shape));
        files.push(file);
    }
    let facts = DatasetFacts {
        name: dataset.name,
        source: dataset.source,
        sha256: files.iter().map(|f| f.sha256.clone()).collect(),
        examples,
        labels: dataset.labels,
        classes: dataset.classes,
        names: dataset.names,
        groups: dataset.groups,
        pictures,
    };
    (facts, Feed::Files(feed), files)
}

/// Seeded inputs, made by the agent.
pub(crate) fn random(examples: u64, seed: u64) -> (DatasetFacts, Feed, Vec<HostFile>) {
    let facts = DatasetFacts {
        name: "random".to_owned(),
        source: format!("made by the agent from seed {seed}; the same for every variant"),
        sha256: Vec::new(),
        examples,
        labels: Labels::None,
        classes: Vec::new(),
        names: Vec::new(),
        groups: Vec::new(),
        pictures: None,
    };
    (facts, Feed::Random { seed, examples }, Vec::new())
}

/// What a planned run needs again after it was cut off; everything must still hash to what was planned.
///
/// # Errors
/// Names what is gone or has changed.
pub(crate) fn again(plan: &Plan, settings: &Settings) -> CommandResult<Selection> {
    let wanted = match &plan.subject {
        Subject::Suite { at } => Wanted { suite: Some(at.clone()), ..Wanted::default() },
        Subject::Models { models, data } => Wanted {
            models: models.iter().map(PathBuf::from).collect(),
            data: data.clone(),
            ..Wanted::default()
        },
        Subject::Versions { base, head, data, .. } => {
            Wanted { versions: Some((base.into(), head.into())), data: data.clone(), ..Wanted::default() }
        }
        Subject::Selftest { cells, slowdown_permille } => {
            let cells = Cells { each: *cells, slowdown_permille: slowdown_permille.clone() };
            Wanted { selftest: Some(cells), ..Wanted::default() }
        }
    };
    let mut selection = Selection::load(&wanted, settings, plan.seed)?;
    let changed = |what: String| {
        Failure::usage(format!(
            "{what} changed since the run {} was planned: start a new run, or bring the old content back",
            plan.run
        ))
    };
    if selection.suite.sha256 != plan.suite.sha256 {
        return Err(changed(format!("the suite {}", plan.suite.name)));
    }
    if selection.dataset.sha256 != plan.dataset.sha256 || selection.dataset.labels != plan.dataset.labels {
        return Err(changed(format!("the data {}", plan.dataset.name)));
    }
    let is_there = |case: &CasePlan| {
        selection.entrants.iter().any(|e| e.id == case.variant && e.file.sha256 == case.model_sha256)
    };
    if let Some(case) = plan.cases.iter().find(|case| !is_there(case)) {
        return Err(changed(format!("the model {}", case.model_path)));
    }
    // what a filter left out is not to be pushed; who is compared with whom is in the plan
    selection.entrants.retain(|e| plan.cases.iter().any(|case| case.variant == e.id));
    selection.entrants.iter_mut().for_each(|e| e.reference = None);
    Ok(selection)
}

/// Path of a model on the host, for people.
pub(crate) fn shown_path(file: &HostFile) -> String {
    match &file.content {
        Content::Path(path) => path.display().to_string(),
        Content::Memory(_) => file.name.clone(),
    }
}
