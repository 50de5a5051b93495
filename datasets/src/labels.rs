//! What is right, read from arrays and texts into the kind of labels that a task needs. The problem is the error;
//! the caller knows the file and the key.

use crate::{classes, npy::Array, preprocess::to_f32};
use protocol::{BOX_NUMBERS, Corners, LabelArrays, LabelKind, Labels, Task};
use std::io::Read;

/// Most bytes of labels that are arrays: what a record keeps in one file.
const MAX_LABEL_BYTES: u64 = 1 << 30;

/// Labels of segmentation: classes from 0 up to this, with the one that is ignored.
const MAX_PIXEL_CLASS: f32 = 65_535.0;

/// Numbers of a row of boxes, with and without a crowd.
const BOX_ROW: [u64; 2] = [BOX_NUMBERS as u64 - 1, BOX_NUMBERS as u64];

/// The kind of labels that are read for a task; without a need, classes.
fn kind(task: &Task) -> LabelKind {
    task.labels().unwrap_or(LabelKind::Classes)
}

/// Labels of the examples at the positions of `wanted`, which ascend.
pub(crate) fn of_array<R: Read>(
    array: Array<R>,
    task: &Task,
    wanted: impl Iterator<Item = u64>,
) -> Result<Labels, String> {
    let at = |i: u64| usize::try_from(i).unwrap_or(usize::MAX);
    match kind(task) {
        LabelKind::Classes => {
            let all = array.into_labels()?;
            Ok(Labels::Classes(wanted.filter_map(|i| all.get(at(i)).copied()).collect()))
        }
        LabelKind::Texts => {
            let all = array.into_names()?;
            Ok(Labels::Texts(wanted.filter_map(|i| all.get(at(i)).cloned()).collect()))
        }
        LabelKind::Values => {
            let all = array.into_numbers()?;
            let values: Vec<f64> = wanted.filter_map(|i| all.get(at(i)).copied()).collect();
            Ok(Labels::Values(values))
        }
        LabelKind::Arrays | LabelKind::Boxes => arrays(array, task, wanted),
    }
}

fn arrays<R: Read>(
    array: Array<R>,
    task: &Task,
    wanted: impl Iterator<Item = u64>,
) -> Result<Labels, String> {
    let shape = array.row().to_vec();
    if kind(task) == LabelKind::Boxes && !matches!(shape.as_slice(), [_, row] if BOX_ROW.contains(row)) {
        return Err(
            "holds no boxes: examples × boxes × 5 numbers are needed (class, four of the box), or 6 \
                    (crowd: 0 or 1); a class of -1 fills up"
                .to_owned(),
        );
    }
    let last = shape.last().copied().unwrap_or(1);
    // boxes without a crowd get the number that says so
    let padded = kind(task) == LabelKind::Boxes && last == BOX_ROW[0];
    let elements = if padded { shape[0] * BOX_ROW[1] } else { shape.iter().product() };
    let mut values: Vec<f32> = Vec::new();
    array.for_rows(wanted, |index, row| {
        let numbers = to_f32(row.dtype, &row.bytes);
        check(&numbers, task, last).map_err(|p| format!("row {index}: {p}"))?;
        if padded {
            values.extend(numbers.chunks(BOX_NUMBERS - 1).flat_map(|row| row.iter().chain(&[0.0])));
        } else {
            values.extend(numbers);
        }
        if values.len() as u64 > MAX_LABEL_BYTES / 4 {
            return Err(format!("the labels up to here fill the limit of {MAX_LABEL_BYTES} bytes"));
        }
        Ok(())
    })?;
    Ok(Labels::Arrays(LabelArrays::new(elements, values)))
}

/// One example; `last` is the last dimension.
fn check(numbers: &[f32], task: &Task, last: u64) -> Result<(), String> {
    if let Task::Detection { corners, .. } = task {
        let mut rows = numbers.chunks_exact(usize::try_from(last).unwrap_or(usize::MAX)).enumerate();
        let check = |(at, row)| check_box(row, *corners).map_err(|p| format!("box {at} {p}"));
        return rows.try_for_each(check);
    }
    if let Some(at) = numbers.iter().position(|v| !v.is_finite()) {
        return Err(format!("number {at} is not finite"));
    }
    let no_pixel = numbers.iter().find(|v| !is_class(**v));
    match (task, no_pixel) {
        (Task::Segmentation { .. }, Some(value)) => {
            Err(format!("a pixel has the class {value}, which is no index"))
        }
        _ => Ok(()),
    }
}

fn is_class(value: f32) -> bool {
    (0.0..=MAX_PIXEL_CLASS).contains(&value) && value.fract() == 0.0
}

fn check_box(row: &[f32], corners: Corners) -> Result<(), String> {
    let (class, numbers) = match row {
        [class, ..] if *class == -1.0 => return Ok(()),
        [class, a, b, c, d, ..] => (*class, [*a, *b, *c, *d].map(f64::from)),
        _ => return Err("has too few numbers".to_owned()),
    };
    if !is_class(class) {
        return Err(format!("has the class {class}, which is no index"));
    }
    if row.get(5).is_some_and(|crowd| *crowd != 0.0 && *crowd != 1.0) {
        return Err("must have 0 or 1 for a crowd".to_owned());
    }
    let bounds = corners.bounds(numbers);
    if bounds.iter().any(|v| !v.is_finite()) || bounds[2] < 0.0 || bounds[3] < 0.0 {
        return Err("has bounds that are not finite or below 0 in size: look at score.corners".to_owned());
    }
    Ok(())
}

/// Labels that are read one by one from texts.
pub(crate) struct TextLabels {
    labels: Labels,
}

impl TextLabels {
    /// None yet.
    ///
    /// # Errors
    /// The labels of this task do not fit a text.
    pub(crate) fn new(task: &Task) -> Result<Self, String> {
        let labels = match kind(task) {
            LabelKind::Classes => Labels::Classes(Vec::new()),
            LabelKind::Texts => Labels::Texts(Vec::new()),
            LabelKind::Values => Labels::Values(Vec::new()),
            LabelKind::Arrays | LabelKind::Boxes => {
                return Err(
                    "holds texts, and this task needs arrays as labels: use [dataset.npz] or [dataset.npy]"
                        .to_owned(),
                );
            }
        };
        Ok(Self { labels })
    }

    /// Adds what is right for the next example.
    pub(crate) fn push(&mut self, text: &str, classes: &[String]) -> Result<(), String> {
        match &mut self.labels {
            Labels::Classes(all) => all.push(classes::class_of(text, classes)?),
            Labels::Texts(all) => all.push(text.to_owned()),
            Labels::Values(all) => match text.trim().parse::<f64>() {
                Ok(value) if value.is_finite() => all.push(value),
                _ => return Err(format!("the label {text:?} is not a finite number")),
            },
            Labels::None | Labels::Arrays(_) => {}
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Labels {
        self.labels
    }
}

/// The labels at these positions.
pub(crate) fn pick(labels: &Labels, at: impl Iterator<Item = usize>) -> Labels {
    fn some<T: Clone>(all: &[T], at: impl Iterator<Item = usize>) -> Vec<T> {
        at.filter_map(|i| all.get(i).cloned()).collect()
    }
    match labels {
        Labels::Classes(all) => Labels::Classes(some(all, at)),
        Labels::Values(all) => Labels::Values(some(all, at)),
        Labels::Texts(all) => Labels::Texts(some(all, at)),
        other => other.clone(),
    }
}
