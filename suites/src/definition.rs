//! From TOML text to a [`Suite`]: parsing, then the rules that go beyond types. Every error names the
//! file, the line where it is known, the key, and what to do.

use crate::{Compare, Measure, RuntimeOptions, Suite, SuiteError, Variant, error::line_of, suite::format_of};
use datasets::{DatasetSpec, FileRef, Root, did_you_mean, with_nearest};
use protocol::{Precision, RuntimeId, Sha256Hex, Task, VariantId};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};
use toml::Spanned;

/// Version of the format; a definition of another one is refused with words.
const SCHEMA: u32 = 1;

/// Longest definition.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Most variants, runtimes and threads.
const MAX_VARIANTS: usize = 200;
const MAX_RUNTIMES: usize = 20;
const MAX_THREADS: u16 = 256;

/// Longest name or title, in characters.
const MAX_NAME: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    schema: Spanned<u32>,
    name: Spanned<String>,
    title: Option<Spanned<String>>,
    model: Spanned<String>,
    reference: Spanned<String>,
    task: Option<Spanned<String>>,
    score: Option<Spanned<toml::Table>>,
    runtimes: Option<Spanned<Vec<Spanned<String>>>>,
    options: Option<Spanned<BTreeMap<String, BTreeMap<String, OptionValue>>>>,
    threads: Option<Spanned<u16>>,
    #[serde(rename = "variant", default)]
    variants: Vec<DefinedVariant>,
    dataset: Option<Spanned<DatasetSpec>>,
    measure: Option<Spanned<Measure>>,
    compare: Option<Spanned<Compare>>,
}

/// A value of an option, as it is natural to write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum OptionValue {
    Text(String),
    Integer(i64),
    Bool(bool),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DefinedVariant {
    id: Spanned<String>,
    path: Spanned<PathBuf>,
    precision: Option<Precision>,
}

/// Reads the definition in a file; its relative paths start at the file's folder.
pub(crate) fn read(path: &Path) -> Result<Suite, SuiteError> {
    let file = FileRef::on_disk(path);
    let bytes = file.read(MAX_TEXT_BYTES)?;
    let shown = path.display().to_string();
    let text = String::from_utf8(bytes).map_err(|_| SuiteError::Definition {
        file: shown.clone(),
        line: None,
        problem: "is not UTF-8 text".to_owned(),
    })?;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = absolute.parent().unwrap_or(Path::new(".")).to_owned();
    parse(&text, &shown, &absolute.display().to_string(), Root::Folder(folder))
}

/// Checks a definition. `file` is its name in errors, `origin` how to find it again.
pub(crate) fn parse(text: &str, file: &str, origin: &str, root: Root) -> Result<Suite, SuiteError> {
    let parser = Parser { text, file };
    let definition: Definition =
        toml::from_str(text).map_err(|e| parser.error(e.span(), &with_nearest(e.message())))?;
    parser.check_schema(&definition)?;
    let mut variants = parser.variants(&definition, &root)?;
    let reference = parser.reference(&definition, &variants)?;
    variants.iter_mut().for_each(|variant| variant.reference = reference);
    let dataset = definition.dataset.as_ref().map(|d| parser.dataset(d)).transpose()?;
    let measure = definition.measure.map(|m| parser.rules(&m, Measure::check).map(|()| m.into_inner()));
    let compare = definition.compare.as_ref();
    let compare = compare.map(|c| parser.rules(c, Compare::check).map(|()| c.get_ref().clone()));
    let task = parser.task(definition.task.as_ref(), definition.score.as_ref(), dataset.as_ref())?;
    if let Some(compare) = &definition.compare {
        parser.rules(compare, |compare| compare.check_score(&task))?;
    }
    let name = parser.name("name", &definition.name)?;
    let title = definition.title.as_ref().map(|t| parser.name("title", t)).transpose()?;
    Ok(Suite {
        title: title.unwrap_or_else(|| name.clone()),
        name,
        origin: origin.to_owned(),
        sha256: Sha256Hex::of_bytes(text.as_bytes()),
        task,
        variants,
        runtimes: parser.runtimes(definition.runtimes.as_ref())?,
        options: parser.options(definition.options.as_ref())?,
        threads: parser.threads(definition.threads.as_ref())?,
        dataset,
        root,
        measure: measure.transpose()?.unwrap_or_default(),
        compare: compare.transpose()?.unwrap_or_default(),
    })
}

/// The text under way, for errors with a line.
struct Parser<'a> {
    text: &'a str,
    file: &'a str,
}

impl Parser<'_> {
    fn error(&self, span: Option<Range<usize>>, problem: &str) -> SuiteError {
        let line = line_of(self.text, span);
        SuiteError::Definition { file: self.file.to_owned(), line, problem: problem.trim().to_owned() }
    }

    fn at<T>(&self, value: &Spanned<T>, problem: &str) -> SuiteError {
        self.error(Some(value.span()), problem)
    }

    fn check_schema(&self, definition: &Definition) -> Result<(), SuiteError> {
        match *definition.schema.get_ref() {
            SCHEMA => Ok(()),
            other => {
                let problem = format!("schema: {other} is not known, this program reads schema {SCHEMA}");
                Err(self.at(&definition.schema, &problem))
            }
        }
    }

    fn name(&self, key: &str, value: &Spanned<String>) -> Result<String, SuiteError> {
        let text = value.get_ref().trim();
        if text.is_empty() || text.chars().count() > MAX_NAME || text.chars().any(char::is_control) {
            let problem = format!("{key}: must be one line of 1 to {MAX_NAME} characters");
            return Err(self.at(value, &problem));
        }
        Ok(text.to_owned())
    }

    fn variants(&self, definition: &Definition, root: &Root) -> Result<Vec<Variant>, SuiteError> {
        let mut variants: Vec<Variant> = Vec::new();
        for defined in &definition.variants {
            let text = format!("{}@{}", definition.model.get_ref(), defined.id.get_ref());
            let id: VariantId =
                text.parse().map_err(|e| self.at(&defined.id, &format!("variant.id: {e}")))?;
            if variants.iter().any(|v| v.id == id) {
                let problem = format!("variant.id: {:?} is there twice, ids must differ", id.variant);
                return Err(self.at(&defined.id, &problem));
            }
            let wrong = |e| self.at(&defined.path, &format!("variant.path: {e}"));
            let file = root.file(defined.path.get_ref()).map_err(wrong)?;
            let format = format_of(&file).map_err(wrong)?;
            variants.push(Variant { id, file, format, precision: defined.precision, reference: 0 });
        }
        if variants.is_empty() || variants.len() > MAX_VARIANTS {
            let problem =
                format!("[[variant]]: there are {}, between 1 and {MAX_VARIANTS} are needed", variants.len());
            return Err(self.error(None, &problem));
        }
        Ok(variants)
    }

    fn reference(&self, definition: &Definition, variants: &[Variant]) -> Result<usize, SuiteError> {
        let wanted = definition.reference.get_ref();
        variants.iter().position(|v| v.id.variant == *wanted).ok_or_else(|| {
            let hint = did_you_mean(wanted, variants.iter().map(|v| v.id.variant.as_str()));
            self.at(&definition.reference, &format!("reference: no [[variant]] has the id {wanted:?}{hint}"))
        })
    }

    fn runtimes(
        &self,
        defined: Option<&Spanned<Vec<Spanned<String>>>>,
    ) -> Result<Vec<RuntimeId>, SuiteError> {
        let Some(defined) = defined else {
            return Ok(Vec::new());
        };
        let mut runtimes = Vec::new();
        for entry in defined.get_ref() {
            let id: RuntimeId =
                entry.get_ref().parse().map_err(|e| self.at(entry, &format!("runtimes: {e}")))?;
            if runtimes.contains(&id) {
                return Err(self.at(entry, &format!("runtimes: {id} is there twice")));
            }
            runtimes.push(id);
        }
        if runtimes.is_empty() || runtimes.len() > MAX_RUNTIMES {
            return Err(self.at(defined, &format!("runtimes: between 1 and {MAX_RUNTIMES} are needed")));
        }
        Ok(runtimes)
    }

    fn options(
        &self,
        defined: Option<&Spanned<BTreeMap<String, BTreeMap<String, OptionValue>>>>,
    ) -> Result<RuntimeOptions, SuiteError> {
        let mut all = RuntimeOptions::new();
        let Some(defined) = defined else { return Ok(all) };
        for (runtime, options) in defined.get_ref() {
            let id = runtime.parse().map_err(|e| self.at(defined, &format!("options: {e}")))?;
            let text = |value: &OptionValue| match value {
                OptionValue::Text(text) => text.clone(),
                OptionValue::Integer(number) => number.to_string(),
                OptionValue::Bool(word) => word.to_string(),
            };
            all.insert(id, options.iter().map(|(name, value)| (name.clone(), text(value))).collect());
        }
        Ok(all)
    }

    fn threads(&self, defined: Option<&Spanned<u16>>) -> Result<u16, SuiteError> {
        match defined {
            None => Ok(1),
            Some(n) if (1..=MAX_THREADS).contains(n.get_ref()) => Ok(*n.get_ref()),
            Some(n) => Err(self.at(n, &format!("threads: must be between 1 and {MAX_THREADS}"))),
        }
    }

    fn dataset(&self, defined: &Spanned<DatasetSpec>) -> Result<DatasetSpec, SuiteError> {
        defined.get_ref().check().map_err(|e| self.at(defined, &e.to_string()))?;
        Ok(defined.get_ref().clone())
    }

    fn rules<T>(
        &self,
        defined: &Spanned<T>,
        check: impl FnOnce(&T) -> Result<(), (&'static str, String)>,
    ) -> Result<(), SuiteError> {
        check(defined.get_ref()).map_err(|(key, problem)| self.at(defined, &format!("{key}: {problem}")))
    }

    /// The task by its name, with what `[score]` says of it.
    fn task(
        &self,
        defined: Option<&Spanned<String>>,
        score: Option<&Spanned<toml::Table>>,
        dataset: Option<&DatasetSpec>,
    ) -> Result<Task, SuiteError> {
        let labelled = dataset.is_some_and(DatasetSpec::declares_labels);
        let name = match defined {
            Some(task) => task.get_ref().as_str(),
            None if labelled => "classification",
            None => "agreement",
        };
        if let Some(task) = defined.filter(|task| !Task::NAMES.contains(&task.get_ref().as_str())) {
            let (hint, known) = (did_you_mean(name, Task::NAMES), Task::NAMES.join(", "));
            return Err(self.at(task, &format!("task: {name:?} is not known{hint}: there are {known}")));
        }
        let mut table = score.map(|s| s.get_ref().clone()).unwrap_or_default();
        let wrong = |problem: &str| match (score, defined) {
            (Some(score), _) => self.at(score, problem),
            (None, Some(task)) => self.at(task, problem),
            (None, None) => self.error(None, problem),
        };
        if table.insert("task".to_owned(), name.into()).is_some() {
            return Err(wrong("score.task: belongs above the tables, as task"));
        }
        let task = Task::deserialize(table)
            .map_err(|e| wrong(&format!("score, of the task {name}: {}", with_nearest(e.message()))))?;
        task.check().map_err(|(key, problem)| wrong(&format!("score.{key}: {problem}")))?;
        if task.labels().is_some() && !labelled {
            let problem = format!(
                "task: {name} needs labels: name them in [dataset], or set task = \"agreement\" to compare with \
                 the reference only"
            );
            return Err(wrong(&problem));
        }
        let nameless = dataset.is_none_or(|d| d.classes.is_empty() && d.classes_file.is_none());
        if matches!(task, Task::Text { alphabet: None, .. }) && nameless {
            return Err(wrong(
                "score.alphabet: give one character for each value of a step, or dataset.classes",
            ));
        }
        Ok(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BUILTIN, FILES};
    use protocol::Rng;

    fn root() -> Root {
        Root::Shipped { folder: "suites", files: FILES }
    }

    /// One to six random changes of a text: characters lost, doubled, replaced, moved.
    fn mutate(rng: &mut Rng, good: &str) -> String {
        let mut chars: Vec<char> = good.chars().collect();
        for _ in 0..=rng.below(5) {
            let at = rng.below(chars.len().max(1) as u64) as usize;
            let span = (rng.below(12) as usize + 1).min(chars.len() - at);
            let strange = ['"', '[', ']', '{', '}', '=', '\n', '.', '-', '9', '\0', 'é', '\u{202e}'];
            match rng.below(5) {
                0 => drop(chars.drain(at..at + span)),
                1 => {
                    let part = chars[at..at + span].to_vec();
                    chars.splice(at..at, part);
                }
                2 => chars.truncate(at),
                3 => chars[at] = strange[rng.below(strange.len() as u64) as usize],
                _ => chars.insert(at, strange[rng.below(strange.len() as u64) as usize]),
            }
            if chars.is_empty() {
                break;
            }
        }
        chars.into_iter().collect()
    }

    /// Through the parser of the built-in suites, so that files are found and all rules are reached.
    #[test]
    fn mutated_definitions_are_parsed_or_refused() {
        let mut rng = Rng::new(7);
        let (mut parsed, mut refused) = (0, 0);
        for round in 0..6_000 {
            let builtin = &BUILTIN[round % BUILTIN.len()];
            match parse(&mutate(&mut rng, builtin.text), builtin.path, builtin.name, root()) {
                Ok(suite) => {
                    parsed += 1;
                    assert!(suite.variants.iter().all(|v| v.reference < suite.variants.len()));
                }
                Err(error) => {
                    refused += 1;
                    let text = error.to_string();
                    assert!(text.starts_with(builtin.path) && text.len() < 3_000, "round {round}: {text}");
                }
            }
        }
        assert!(parsed > 100 && refused > 100, "{parsed} parsed, {refused} refused: too mild or too wild");
    }
}
