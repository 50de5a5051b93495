//! Examples in a CSV table of numbers, one per row.

use crate::{
    CsvSpec, DataError, Dataset, DatasetSpec, Root, classes,
    dataset::{Collector, spread},
    did_you_mean,
    labels::TextLabels,
    preprocess::{Decoded, Values},
    spec::duplicate,
};
use csv::StringRecord;
use protocol::Task;
use std::io::Read;

/// Most bytes of a table.
const MAX_TABLE_BYTES: u64 = 1 << 30;

/// Positions of the columns.
struct Columns {
    inputs: Vec<(String, usize)>,
    label: Option<usize>,
    name: Option<usize>,
    group: Option<usize>,
}

pub(crate) fn load(
    spec: &DatasetSpec,
    table: &CsvSpec,
    root: &Root,
    limit: u64,
    task: &Task,
) -> Result<Dataset, DataError> {
    let file = root.file(&table.path)?;
    if file.size()? > MAX_TABLE_BYTES {
        let problem = format!("is larger than the limit of {MAX_TABLE_BYTES} bytes: save it as .npz");
        return Err(DataError::file(file.path(), problem));
    }
    let classes = classes::declared(spec, root)?;
    let rows = count_rows(&mut reader(file.open()?)).map_err(|p| DataError::file(file.path(), p))?;
    let mut reader = reader(file.open()?);
    let header = reader.headers().map_err(|e| DataError::file(file.path(), words(&e)))?.clone();
    let columns = columns(table, &header).map_err(|p| DataError::file(file.path(), p))?;
    let mut collector = Collector::default();
    let (mut names, mut groups) = (Vec::new(), Vec::new());
    let mut labels = match columns.label {
        Some(_) => Some(TextLabels::new(task).map_err(|p| DataError::file(file.path(), p))?),
        None => None,
    };
    let mut wanted = spread(rows, limit).peekable();
    for (index, record) in reader.records().enumerate() {
        if wanted.peek() != Some(&(index as u64)) {
            continue;
        }
        wanted.next();
        let within =
            |problem: String| DataError::within(file.path(), format_args!("row {}", index + 2), problem);
        let record = record.map_err(|e| within(words(&e)))?;
        let prepared = example(&record, &columns).and_then(|d| spec.preprocess.finish(d));
        prepared.and_then(|e| collector.push(&e)).map_err(within)?;
        if let (Some(column), Some(labels)) = (columns.label, &mut labels) {
            labels.push(record.get(column).unwrap_or_default(), &classes).map_err(within)?;
        }
        groups.extend(columns.group.map(|column| record.get(column).unwrap_or_default().to_owned()));
        if let Some(column) = columns.name {
            names.push(record.get(column).unwrap_or_default().to_owned());
        }
    }
    let (name, source) = spec.title(file.path());
    let inputs: Vec<_> = collector.finish().into_iter().collect();
    if inputs.is_empty() {
        return Err(DataError::file(file.path(), "holds no examples: there is no row below the header"));
    }
    let labels = labels.map(TextLabels::finish).unwrap_or_default();
    Ok(Dataset { name, source, inputs, labels, classes, names, groups })
}

fn reader<R: Read>(file: R) -> csv::Reader<impl Read> {
    // one byte beyond the limit is never reached: the size was checked, and a file that grows is cut
    csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file.take(MAX_TABLE_BYTES))
}

fn count_rows(reader: &mut csv::Reader<impl Read>) -> Result<u64, String> {
    let mut record = StringRecord::new();
    let mut rows = 0;
    while reader.read_record(&mut record).map_err(|e| words(&e))? {
        rows += 1;
    }
    Ok(rows)
}

fn columns(table: &CsvSpec, header: &StringRecord) -> Result<Columns, String> {
    let titles: Vec<String> = header.iter().map(str::to_owned).collect();
    if let Some(twice) = duplicate(&titles) {
        return Err(format!("has two columns named {twice:?}: the first row must name each column once"));
    }
    let position = |name: &String| {
        let hint = did_you_mean(name, titles.iter().map(String::as_str));
        titles.iter().position(|t| t == name).ok_or_else(|| format!("has no column {name:?}{hint}"))
    };
    let label = table.label.as_ref().map(position).transpose()?;
    let name = table.name.as_ref().map(position).transpose()?;
    let group = table.group.as_ref().map(position).transpose()?;
    let others = [label, name, group];
    let inputs: Vec<(String, usize)> = if table.inputs.is_empty() {
        let rest = titles.iter().cloned().enumerate().filter(|(i, _)| !others.contains(&Some(*i)));
        rest.map(|(i, title)| (title, i)).collect()
    } else {
        table
            .inputs
            .iter()
            .map(|title| Ok((title.clone(), position(title)?)))
            .collect::<Result<_, String>>()?
    };
    if inputs.is_empty() {
        return Err("has no column of numbers beside label and name".to_owned());
    }
    Ok(Columns { inputs, label, name, group })
}

fn example(record: &StringRecord, columns: &Columns) -> Result<Decoded, String> {
    let number = |(title, column): &(String, usize)| {
        let text = record.get(*column).unwrap_or_default();
        let value: Result<f32, _> = text.parse();
        match value {
            Ok(value) if value.is_finite() => Ok(value),
            Ok(_) => Err(format!("column {title:?}: {text} is not a finite number")),
            Err(_) => Err(format!("column {title:?}: {text:?} is not a number")),
        }
    };
    let values: Vec<f32> = columns.inputs.iter().map(number).collect::<Result<_, _>>()?;
    Ok(Decoded { shape: vec![values.len() as u64], values: Values::F32(values) })
}

fn words(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, pos } => {
            let line = pos.as_ref().map_or_else(|| "a line".to_owned(), |p| format!("line {}", p.line()));
            format!("{line} has {len} fields, and the lines before it have {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8 text".to_owned(),
        _ => format!("is not a CSV table: {error}"),
    }
}
