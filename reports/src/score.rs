//! From outputs and labels to the outcomes that a score is made of: classes, boxes, texts and pixels are read as the
//! task says. Pure functions of the record; what scores mean is in `stats::scores`, what a difference of two means
//! in `verdict`.
//!
//! An answer that is none (a NaN, a class that does not exist) is wrong. Labels that do not fit the outputs are an
//! error.

use crate::accuracy::{Outputs, greatest};
use crate::record::{DatasetFacts, Labels, Task};
use protocol::{Averaging, BOX_NUMBERS, Channels, Corners, Decode, LabelArrays, TextUnit};
use stats::scores::{
    Average, Bounds, Detection, ErrorRate, F1, Hits, Image, MeanAveragePrecision, MeanIou, Outcomes, Psnr,
    RocAuc, ScoreError, Spearman, Truth,
};

/// Stands in a text for a step without an answer.
const NO_ANSWER: &str = "\u{fffd}";

/// Right and wrong, or what another score is made of.
pub(crate) enum Scored {
    /// Per example.
    Hits(Hits),
    /// Value of the positive class, and whether it is positive.
    Binary(Vec<f64>, Vec<bool>),
    /// Any other.
    Other(Box<dyn Outcomes>),
}

impl Scored {
    /// What all scores have in common.
    pub(crate) fn outcomes(self) -> Result<Box<dyn Outcomes>, String> {
        Ok(match self {
            Self::Hits(hits) => Box::new(hits),
            Self::Binary(values, positive) => Box::new(RocAuc::new(&values, &positive).map_err(words)?),
            Self::Other(outcomes) => outcomes,
        })
    }
}

/// The outcomes of all sides, one after the other, each with all examples.
///
/// # Errors
/// Outputs that cannot be read as the task says, and labels that do not fit them, in words.
pub(crate) fn scored(task: &Task, dataset: &DatasetFacts, sides: &[Outputs<'_>]) -> Result<Scored, String> {
    let labels = &dataset.labels;
    for side in sides {
        if labels.examples() != Some(side.examples() as u64) {
            let there = labels.examples().unwrap_or(0);
            return Err(format!("there are labels of {there} examples, and outputs of {}", side.examples()));
        }
    }
    match (task, labels) {
        (Task::Classification { top, f1: None, .. }, Labels::Classes(labels)) => {
            let mut hits = Vec::new();
            for side in sides {
                let outputs: Vec<f32> = side.part(0).into_iter().flatten().flatten().copied().collect();
                hits.extend(Hits::top_k(&outputs, side.first(), labels, *top as usize).map_err(words)?.0);
            }
            Ok(Scored::Hits(Hits(hits)))
        }
        (Task::Classification { f1: Some(average), positive, .. }, Labels::Classes(labels)) => {
            f1(sides, labels, *average, *positive).map(other)
        }
        (Task::Binary { positive, value }, Labels::Classes(labels)) => {
            let values = values(sides, *value)?;
            let positive: Vec<bool> = labels.iter().map(|label| label == positive).collect();
            Ok(Scored::Binary(values, positive.repeat(sides.len())))
        }
        (Task::Segmentation { ignored, channels }, Labels::Arrays(labels)) => {
            segmentation(sides, labels, *ignored, *channels).map(other)
        }
        (Task::Detection { corners, .. }, Labels::Arrays(labels)) => {
            let truths: Vec<Vec<Truth>> = examples(labels)?.map(|rows| truths(rows, *corners)).collect();
            let mut images = Vec::new();
            for side in sides {
                let found = detections(side, task)?;
                let image =
                    |(detections, truths): (_, &Vec<Truth>)| Image { detections, truths: truths.clone() };
                images.extend(found.into_iter().zip(&truths).map(image));
            }
            MeanAveragePrecision::new(&images).map(other).map_err(words)
        }
        (Task::Text { unit, .. }, Labels::Texts(labels)) => {
            let answers: Vec<String> =
                sides.iter().map(|side| texts(side, task, dataset)).collect::<Result<Vec<_>, _>>()?.concat();
            let truths = vec![labels.as_slice(); sides.len()].concat();
            let rate = match unit {
                TextUnit::Words => ErrorRate::words(&answers, &truths),
                TextUnit::Characters => ErrorRate::characters(&answers, &truths),
            };
            rate.map(other).map_err(words)
        }
        (Task::Regression { value }, Labels::Values(labels)) => {
            Spearman::new(&values(sides, Some(*value))?, &labels.repeat(sides.len()))
                .map(other)
                .map_err(words)
        }
        (Task::Reconstruction { peak }, Labels::Arrays(labels)) => {
            let mut psnr = Psnr::new(*peak).map_err(words)?;
            for side in sides {
                for (answer, truth) in side.part(0).into_iter().flatten().zip(examples(labels)?) {
                    psnr.push(answer, truth).map_err(words)?;
                }
            }
            Ok(other(psnr))
        }
        _ => Err("the labels are not of the kind that the task needs".to_owned()),
    }
}

fn other(outcomes: impl Outcomes + 'static) -> Scored {
    Scored::Other(Box::new(outcomes))
}

fn words(error: ScoreError) -> String {
    error.to_string()
}

/// The numbers of each example.
fn examples(labels: &LabelArrays) -> Result<impl Iterator<Item = &[f32]>, String> {
    let values = labels.values.as_deref().ok_or("the file of labels is missing or damaged")?;
    Ok(values.chunks_exact(usize::try_from(labels.elements).unwrap_or(usize::MAX).max(1)))
}

fn f1(sides: &[Outputs<'_>], labels: &[u32], average: Averaging, positive: u32) -> Result<F1, String> {
    let classes = sides.iter().map(Outputs::first).min().unwrap_or(0);
    if let Some(label) = labels.iter().find(|label| **label as usize >= classes) {
        return Err(format!("a label is {label}, and the models tell {classes} classes apart, from 0"));
    }
    let average = match average {
        Averaging::Binary => Average::Binary { positive },
        Averaging::Macro => Average::Macro,
        Averaging::Micro => Average::Micro,
    };
    let predicted: Vec<Option<u32>> = sides.iter().flat_map(Outputs::predictions).collect();
    F1::new(&predicted, &labels.repeat(sides.len()), average).map_err(words)
}

/// One value of the first output, without a position the last one.
fn values(sides: &[Outputs<'_>], value: Option<u32>) -> Result<Vec<f64>, String> {
    let mut all = Vec::new();
    for side in sides {
        let at = value.map_or(side.first().saturating_sub(1), |value| value as usize);
        if at >= side.first() {
            return Err(format!("score.value is {at}, and the first output has {} values", side.first()));
        }
        let of_example = |example: &[f32]| example.get(at).map_or(f64::NAN, |v| f64::from(*v));
        all.extend(side.part(0).into_iter().flatten().map(of_example));
    }
    Ok(all)
}

fn segmentation(
    sides: &[Outputs<'_>],
    labels: &LabelArrays,
    ignored: Option<u32>,
    channels: Channels,
) -> Result<MeanIou, String> {
    let pixels = usize::try_from(labels.elements).unwrap_or(usize::MAX);
    let mut classes = 0;
    for side in sides {
        let elements = side.first();
        let of_pixel =
            elements.checked_div(pixels).filter(|n| *n > 0 && n.saturating_mul(pixels) == elements);
        match (of_pixel, channels) {
            (Some(1), Channels::None) => {
                let truth = labels.values.iter().flatten().copied();
                let all = side.part(0).into_iter().flatten().flatten().copied().chain(truth);
                let seen = all.filter_map(class_of).filter(|class| Some(*class) != ignored).max();
                classes = classes.max(seen.map_or(1, |class| class as usize + 1));
            }
            (Some(n @ 2..), Channels::Last | Channels::First) => classes = classes.max(n),
            _ => {
                return Err(format!(
                    "the first output has {elements} values and the labels have {pixels} pixels: that is not what \
                     score.channels says"
                ));
            }
        }
    }
    let classes = u32::try_from(classes).unwrap_or(u32::MAX);
    let mut iou = MeanIou::new(classes, ignored).map_err(words)?;
    for side in sides {
        for (answer, truth) in side.part(0).into_iter().flatten().zip(examples(labels)?) {
            // labels are whole numbers: datasets has seen to it
            let truth: Vec<u32> = truth.iter().map(|class| *class as u32).collect();
            let of_pixel = answer.len() / pixels;
            let class = |(pixel, truth): (usize, &u32)| {
                let value = |class: usize| match channels {
                    Channels::First => answer[class * pixels + pixel],
                    Channels::Last | Channels::None => answer[pixel * of_pixel + class],
                };
                let found = match channels {
                    Channels::None => class_of(value(0)),
                    _ => greatest((0..of_pixel).map(value)).map(|class| class as u32),
                };
                // no answer: any class but the true one, where there is one
                found.unwrap_or((truth + 1) % classes)
            };
            let predicted: Vec<u32> = truth.iter().enumerate().map(class).collect();
            iou.push(&predicted, &truth).map_err(words)?;
        }
    }
    Ok(iou)
}

/// A class as a model writes it.
fn class_of(value: f32) -> Option<u32> {
    ((0.0..65_536.0).contains(&value) && value.fract() == 0.0).then_some(value as u32)
}

fn bounds(corners: Corners, numbers: [f32; 4]) -> Bounds {
    let [x, y, width, height] = corners.bounds(numbers.map(f64::from));
    Bounds { x, y, width, height }
}

/// Rows of [`BOX_NUMBERS`]; a class of −1 fills up.
fn truths(rows: &[f32], corners: Corners) -> Vec<Truth> {
    let (rows, _) = rows.as_chunks::<BOX_NUMBERS>();
    let truth = |row: &[f32; BOX_NUMBERS]| {
        let [class, a, b, c, d, crowd] = *row;
        Some(Truth { class: class_of(class)?, bounds: bounds(corners, [a, b, c, d]), crowd: crowd == 1.0 })
    };
    rows.iter().filter_map(truth).collect()
}

/// What a model found in each image.
fn detections(side: &Outputs<'_>, task: &Task) -> Result<Vec<Vec<Detection>>, String> {
    let Task::Detection { boxes, classes, scores, count, corners } = task else { return Ok(Vec::new()) };
    let output = |key: &str, at: u32| {
        let missing = || format!("score.{key} is output {at}, and the model has no such output");
        side.part(at as usize).map(Iterator::collect::<Vec<&[f32]>>).ok_or_else(missing)
    };
    let (boxes, classes, scores) =
        (output("boxes", *boxes)?, output("classes", *classes)?, output("scores", *scores)?);
    let counts = match count {
        Some(at) => Some(output("count", *at)?),
        None => output("count", 3).ok().filter(|all| all.iter().all(|example| example.len() == 1)),
    };
    let mut all = Vec::new();
    for (example, ((boxes, classes), scores)) in boxes.iter().zip(&classes).zip(&scores).enumerate() {
        let (boxes, rest) = boxes.as_chunks::<4>();
        if !rest.is_empty() || boxes.len() != classes.len() || boxes.len() != scores.len() {
            return Err(format!(
                "the outputs hold {} numbers of boxes, {} classes and {} scores: those of n boxes are 4 n, n and n",
                boxes.len() * 4 + rest.len(),
                classes.len(),
                scores.len()
            ));
        }
        let count = counts.as_ref().and_then(|all| all.get(example)?.first().copied());
        let there = count.map_or(boxes.len(), |count| count.clamp(0.0, boxes.len() as f32) as usize);
        let found = boxes.iter().zip(*classes).zip(*scores).take(there);
        let found = found.filter_map(|((numbers, class), score)| {
            let (class, score) = (class_of(class.round())?, f64::from(*score));
            Some(Detection { class, score, bounds: bounds(*corners, *numbers) })
        });
        all.push(found.collect());
    }
    Ok(all)
}

/// What a model wrote for each example.
fn texts(side: &Outputs<'_>, task: &Task, dataset: &DatasetFacts) -> Result<Vec<String>, String> {
    let Task::Text { decode, alphabet, blank, .. } = task else { return Ok(Vec::new()) };
    let tokens: Vec<String> = match alphabet {
        Some(alphabet) => alphabet.chars().map(String::from).collect(),
        None => dataset.classes.iter().map(|token| token.replace('\u{2581}', " ")).collect(),
    };
    let (values, steps_of) = (side.first(), if *decode == Decode::Tokens { 1 } else { tokens.len() });
    if steps_of == 0 || !values.is_multiple_of(steps_of) {
        return Err(format!(
            "the first output has {values} values, no whole number of steps over {} tokens",
            tokens.len()
        ));
    }
    let blank = *blank as usize;
    let text = |example: &[f32]| {
        let steps = example.chunks_exact(steps_of).map(|step| match decode {
            Decode::Tokens => step.first().and_then(|value| class_of(*value)).map(|token| token as usize),
            Decode::Ctc | Decode::Greedy => greatest(step.iter().copied()),
        });
        let (mut text, mut last) = (String::new(), None);
        for step in steps {
            match (step, decode) {
                (Some(token), Decode::Greedy | Decode::Tokens) if token == blank => break,
                (Some(token), Decode::Ctc) if token == blank || last == Some(token) => {}
                (step, _) => {
                    text.push_str(step.and_then(|t| tokens.get(t)).map_or(NO_ANSWER, String::as_str))
                }
            }
            last = step;
        }
        text
    };
    Ok(side.part(0).into_iter().flatten().map(text).collect())
}
