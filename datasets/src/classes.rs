//! Class names and labels: from a definition, a file, folder names or a column of text. Class indices
//! are never guessed where two orders are possible.

use crate::{
    DataError, DatasetSpec, Root, did_you_mean,
    folder::{Folder, Folders},
    labels::TextLabels,
    spec::duplicate,
};
use protocol::{LabelKind, Labels, Task};
use std::{collections::BTreeSet, path::Path};

/// Most bytes of a file of class names or labels.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// The declared classes; empty when there are none.
pub(crate) fn declared(spec: &DatasetSpec, root: &Root) -> Result<Vec<String>, DataError> {
    let Some(path) = &spec.classes_file else { return Ok(spec.classes.clone()) };
    let file = root.file(path)?;
    let text = String::from_utf8(file.read(MAX_TEXT_BYTES)?)
        .map_err(|_| DataError::file(file.path(), "is not UTF-8 text"))?;
    let classes: Vec<String> = text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect();
    if classes.is_empty() {
        return Err(DataError::file(file.path(), "holds no class names: one per line is expected"));
    }
    if let Some(twice) = duplicate(&classes) {
        return Err(DataError::file(file.path(), format_args!("the class {twice:?} is there twice")));
    }
    Ok(classes)
}

/// The class that a text names: one of `classes`, or an index. The error is the problem alone.
pub(crate) fn class_of(text: &str, classes: &[String]) -> Result<u32, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("has no label: give each example one".to_owned());
    }
    if let Some(index) = classes.iter().position(|c| c == text) {
        return Ok(index as u32);
    }
    match text.parse::<u32>() {
        Ok(index) if classes.is_empty() || (index as usize) < classes.len() => Ok(index),
        Ok(index) => Err(format!(
            "the label {index} is out of range: there are {} classes, counted from 0",
            classes.len()
        )),
        Err(_) if classes.is_empty() => Err(format!(
            "the label {text:?} is a name: list the classes in the order of the model's output (classes = [...])"
        )),
        Err(_) => {
            let hint = did_you_mean(text, classes.iter().map(String::as_str));
            Err(format!("the label {text:?} is none of the {} classes{hint}", classes.len()))
        }
    }
}

/// Files of a folder that are examples, with their classes.
#[derive(Debug, PartialEq)]
pub(crate) struct Listing {
    pub(crate) names: Vec<String>,
    /// As many as `names`, or none at all.
    pub(crate) labels: Labels,
    /// As many as `names`, or none at all.
    pub(crate) groups: Vec<String>,
    pub(crate) classes: Vec<String>,
}

/// The examples of a folder: those that a labels file names, or all with one of the `extensions`,
/// labelled by the folder they are in.
pub(crate) fn listing(
    spec: &DatasetSpec,
    labels: Option<&Path>,
    folder: &Folder,
    root: &Root,
    extensions: &[&str],
    task: &Task,
) -> Result<Listing, DataError> {
    let classes = declared(spec, root)?;
    let listing = match labels {
        Some(path) => by_file(path, folder, root, classes, task)?,
        None => by_folder(folder, extensions, classes, task)?,
    };
    if listing.names.is_empty() {
        let expected = extensions.iter().map(|e| format!(".{e}")).collect::<Vec<_>>().join(", ");
        return Err(DataError::file(
            folder.path(),
            format_args!("holds no examples: {expected} are looked for"),
        ));
    }
    Ok(listing)
}

fn by_file(
    path: &Path,
    folder: &Folder,
    root: &Root,
    classes: Vec<String>,
    task: &Task,
) -> Result<Listing, DataError> {
    let file = root.file(path)?;
    let text = file.read(MAX_TEXT_BYTES)?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_slice());
    let error = |problem: String| DataError::file(file.path(), problem);
    let header = reader.headers().map_err(|e| error(format!("is not a CSV table: {e}")))?.clone();
    let column = |name: &str| {
        let hint = did_you_mean(name, header.iter());
        let missing = || error(format!("has no column {name:?}{hint}: the header must be file,label"));
        header.iter().position(|h| h == name).ok_or_else(missing)
    };
    let (file_column, label_column) = (column("file")?, column("label")?);
    let group_column = header.iter().position(|h| h == "group");
    let known: BTreeSet<&str> = folder.names().iter().map(String::as_str).collect();
    let mut seen = BTreeSet::new();
    let (mut names, mut groups) = (Vec::new(), Vec::new());
    let mut labels = TextLabels::new(task).map_err(error)?;
    for (index, record) in reader.records().enumerate() {
        let row = format!("row {}", index + 2);
        let within = |problem: String| DataError::within(file.path(), &row, problem);
        let record = record.map_err(|e| within(format!("cannot be read: {e}")))?;
        let name = record.get(file_column).unwrap_or_default().trim_start_matches("./").replace('\\', "/");
        if !known.contains(name.as_str()) {
            let hint = did_you_mean(&name, known.iter().copied().take(10_000));
            return Err(within(format!("there is no file {name:?} in {}{hint}", folder.path().display())));
        }
        if !seen.insert(name.clone()) {
            return Err(within(format!("the file {name:?} is there for the second time")));
        }
        labels.push(record.get(label_column).unwrap_or_default(), &classes).map_err(within)?;
        groups.extend(group_column.and_then(|column| record.get(column)).map(str::to_owned));
        names.push(name);
    }
    Ok(Listing { names, labels: labels.finish(), groups, classes })
}

fn by_folder(
    folder: &Folder,
    extensions: &[&str],
    declared: Vec<String>,
    task: &Task,
) -> Result<Listing, DataError> {
    let wanted = |name: &&String| {
        let extension = name.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase()).unwrap_or_default();
        extensions.contains(&extension.as_str())
    };
    let names: Vec<String> = folder.names().iter().filter(wanted).cloned().collect();
    let folders = Folders::of(&names);
    if folders.names.is_empty() {
        return Ok(Listing { names, labels: Labels::None, groups: Vec::new(), classes: declared });
    }
    let error = |problem: String| DataError::file(folder.path(), problem);
    if !matches!(task.labels(), None | Some(LabelKind::Classes)) {
        return Err(error(
            "has folders as classes, and this task needs other labels: name each file in a labels file"
                .to_owned(),
        ));
    }
    if let Some(stray) = folders.stray {
        return Err(error(format!(
            "{stray:?} lies in no class folder, others do: move it, or name each file in a labels file"
        )));
    }
    let classes = if declared.is_empty() { in_order(&folders.names).map_err(error)? } else { declared };
    let class = |name: &String| {
        let class = name.split('/').next().unwrap_or_default();
        classes.iter().position(|c| c == class).map(|c| c as u32).ok_or_else(|| {
            let hint = did_you_mean(class, classes.iter().map(String::as_str));
            error(format!("the folder {class:?} is none of the {} classes{hint}", classes.len()))
        })
    };
    let labels = Labels::Classes(names.iter().map(class).collect::<Result<_, _>>()?);
    Ok(Listing { names, labels, groups: Vec::new(), classes })
}

/// Folder names as classes, sorted, where sorting as text and as numbers agree.
fn in_order(folders: &BTreeSet<String>) -> Result<Vec<String>, String> {
    let classes: Vec<String> = folders.iter().cloned().collect();
    let numbers: Option<Vec<u64>> = classes.iter().map(|c| c.parse().ok()).collect();
    let counts = numbers.as_ref().is_none_or(|n| n.iter().copied().eq(0..n.len() as u64));
    if counts {
        return Ok(classes);
    }
    Err("the class folders are numbers, but not 0, 1, 2, ... in the order of their names: list the classes in \
         the order of the model's output (classes = [...])"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn a_label_is_a_name_or_an_index() {
        let classes = names(&["cat", "dog"]);
        assert_eq!(class_of("dog", &classes), Ok(1));
        assert_eq!(class_of(" 0 ", &classes), Ok(0));
        assert_eq!(class_of("7", &[]), Ok(7));
        assert!(class_of("2", &classes).unwrap_err().contains("out of range"));
        assert!(class_of("dgo", &classes).unwrap_err().contains("did you mean \"dog\""));
        assert!(class_of("dog", &[]).unwrap_err().contains("list the classes"));
        assert!(class_of("-1", &[]).is_err());
        assert!(class_of("", &classes).unwrap_err().contains("has no label"));
    }

    #[test]
    fn a_name_that_looks_like_a_number_is_a_name_first() {
        let classes = names(&["7", "0"]);
        assert_eq!(class_of("7", &classes), Ok(0));
        assert_eq!(class_of("0", &classes), Ok(1));
    }

    #[test]
    fn numbered_folders_must_have_one_order() {
        let set = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(in_order(&set(&["b", "a"])), Ok(names(&["a", "b"])));
        assert_eq!(in_order(&set(&["1", "0", "2"])), Ok(names(&["0", "1", "2"])));
        let eleven: Vec<String> = (0..11).map(|n| n.to_string()).collect();
        assert!(in_order(&eleven.into_iter().collect()).unwrap_err().contains("list the classes"));
        assert!(in_order(&set(&["1", "2"])).is_err(), "a model counts from 0");
        assert_eq!(in_order(&set(&["00", "01"])), Ok(names(&["00", "01"])));
    }
}
