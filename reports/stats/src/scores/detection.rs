//! Mean average precision of object detection as COCO defines it: ten overlaps from 0.50 to 0.95, precision at
//! 101 recalls, at most 100 boxes per image and class, areas of all sizes.

use super::{Outcomes, ScoreError};
use std::collections::BTreeMap;

const SCORE: &str = "mAP";

/// Boxes of one class that count in one image: those with the greatest scores.
pub const MAX_DETECTIONS: usize = 100;
/// True boxes of one image: every one is held against every detection.
const MAX_TRUTHS: usize = 10_000;
/// Overlaps at which a detection counts as right.
const OVERLAPS: usize = 10;
/// Recalls at which precision is read: 0, 0.01, …, 1.
const RECALLS: usize = 101;

/// A box in pixels or in any other unit, the same for answers and truths.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// From left to right.
    pub width: f64,
    /// From top to bottom.
    pub height: f64,
}

/// A box that a model found. One without a finite score is left out; one with bounds that make no box is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// What it is said to be.
    pub class: u32,
    /// How sure the model is.
    pub score: f64,
    /// Where.
    pub bounds: Bounds,
}

/// A box that is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Truth {
    /// What it is.
    pub class: u32,
    /// Where.
    pub bounds: Bounds,
    /// A region of many that nobody counted: whatever is found within is neither right nor wrong.
    pub crowd: bool,
}

/// One example.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// In any order.
    pub detections: Vec<Detection>,
    /// In any order.
    pub truths: Vec<Truth>,
}

/// A detection after matching; bit k is overlap k.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Outcome {
    image: usize,
    score: f64,
    right: u16,
    ignored: u16,
}

/// One class over all images.
#[derive(Clone, Debug, Default, PartialEq)]
struct Class {
    /// By falling score.
    outcomes: Vec<Outcome>,
    /// Image and true boxes in it that must be found.
    wanted: Vec<(usize, u64)>,
}

/// Matched boxes, image by image. The score is the mean over overlaps and over the classes that are there.
#[derive(Clone, Debug, PartialEq)]
pub struct MeanAveragePrecision {
    images: usize,
    classes: Vec<Class>,
    /// The score of each image by itself.
    each: Vec<Option<f64>>,
}

impl MeanAveragePrecision {
    /// Of all images with what was found in them.
    pub fn new(images: &[Image]) -> Result<Self, ScoreError> {
        let mut all = Self::matched(images)?;
        let alone = |image: &Image| Ok(Self::matched(std::slice::from_ref(image))?.score(&[0]));
        all.each = images.iter().map(alone).collect::<Result<_, _>>()?;
        Ok(all)
    }

    fn matched(images: &[Image]) -> Result<Self, ScoreError> {
        let mut classes: BTreeMap<u32, Class> = BTreeMap::new();
        for (example, image) in images.iter().enumerate() {
            check_truths(example, &image.truths)?;
            let mut by_class: BTreeMap<u32, (Vec<&Detection>, Vec<&Truth>)> = BTreeMap::new();
            for truth in &image.truths {
                by_class.entry(truth.class).or_default().1.push(truth);
            }
            for detection in image.detections.iter().filter(|d| d.score.is_finite()) {
                by_class.entry(detection.class).or_default().0.push(detection);
            }
            for (class, (mut detections, mut truths)) in by_class {
                detections.sort_by(|a, b| falling(a.score, b.score));
                detections.truncate(MAX_DETECTIONS);
                truths.sort_by_key(|truth| truth.crowd);
                let entry = classes.entry(class).or_default();
                entry.outcomes.extend(match_boxes(example, &detections, &truths));
                let wanted = truths.iter().filter(|truth| !truth.crowd).count();
                if wanted > 0 {
                    entry.wanted.push((example, wanted as u64));
                }
            }
        }
        // a class that is nowhere has no precision
        let mut classes: Vec<Class> = classes.into_values().filter(|c| !c.wanted.is_empty()).collect();
        for class in &mut classes {
            class.outcomes.sort_by(|a, b| falling(a.score, b.score));
        }
        Ok(Self { images: images.len(), classes, each: Vec::new() })
    }

    /// The score at an overlap of 0.50 alone.
    pub fn at_half(&self, at: &[usize]) -> Option<f64> {
        self.over(at, 1)
    }

    /// Over the first so many overlaps.
    fn over(&self, at: &[usize], overlaps: usize) -> Option<f64> {
        let mut weights = vec![0u64; self.images];
        for image in at {
            if let Some(weight) = weights.get_mut(*image) {
                *weight += 1;
            }
        }
        let (mut sum, mut n) = (0.0, 0);
        for class in &self.classes {
            let wanted: u64 = class.wanted.iter().map(|(image, count)| weights[*image] * count).sum();
            if wanted > 0 {
                sum += (0..overlaps).map(|k| average_precision(class, &weights, wanted, k)).sum::<f64>();
                n += overlaps;
            }
        }
        (n > 0).then(|| sum / n as f64)
    }
}

impl Outcomes for MeanAveragePrecision {
    fn len(&self) -> usize {
        self.images
    }

    fn score(&self, at: &[usize]) -> Option<f64> {
        self.over(at, OVERLAPS)
    }

    fn of_example(&self, example: usize) -> Option<f64> {
        self.each.get(example).copied().flatten()
    }

    fn work(&self) -> usize {
        let boxes = |class: &Class| class.outcomes.len() + class.wanted.len() + RECALLS;
        self.images + OVERLAPS * self.classes.iter().map(boxes).sum::<usize>()
    }
}

fn check_truths(example: usize, truths: &[Truth]) -> Result<(), ScoreError> {
    let problem = if truths.len() > MAX_TRUTHS {
        format!("has {} true boxes, more than the limit of {MAX_TRUTHS}", truths.len())
    } else if let Some(index) = truths.iter().position(|t| !t.bounds.is_box()) {
        format!("has a true box, number {index}, whose bounds are not finite or below 0 in size")
    } else {
        return Ok(());
    };
    Err(ScoreError::Example { score: SCORE, example, problem })
}

/// The greater score first; equal ones stay as they are, also 0 and −0.
fn falling(a: f64, b: f64) -> std::cmp::Ordering {
    b.partial_cmp(&a).unwrap_or(std::cmp::Ordering::Equal)
}

impl Bounds {
    fn is_box(&self) -> bool {
        [self.x, self.y, self.width, self.height].iter().all(|v| v.is_finite())
            && self.width >= 0.0
            && self.height >= 0.0
    }

    fn area(&self) -> f64 {
        self.width * self.height
    }
}

/// Intersection over union; within a crowd, over the detection alone.
fn overlap(found: &Bounds, truth: &Truth) -> f64 {
    if !found.is_box() {
        return 0.0;
    }
    let there = &truth.bounds;
    let width = (found.x + found.width).min(there.x + there.width) - found.x.max(there.x);
    let height = (found.y + found.height).min(there.y + there.height) - found.y.max(there.y);
    if width <= 0.0 || height <= 0.0 {
        return 0.0;
    }
    let shared = width * height;
    let whole = if truth.crowd { found.area() } else { found.area() + there.area() - shared };
    shared / whole
}

/// 0.50, 0.55, …, 0.95, with the roundings of the reference.
fn least_overlap(k: usize) -> f64 {
    const STEP: f64 = (0.95 - 0.5) / 9.0;
    if k + 1 == OVERLAPS { 0.95 } else { k as f64 * STEP + 0.5 }
}

/// Gives each detection, the surest first, the free true box that it overlaps most; a crowd only where none is
/// left. `truths` has the crowds at its end.
fn match_boxes(image: usize, detections: &[&Detection], truths: &[&Truth]) -> Vec<Outcome> {
    let overlaps: Vec<Vec<f64>> = detections
        .iter()
        .map(|found| truths.iter().map(|truth| overlap(&found.bounds, truth)).collect())
        .collect();
    let blank = |found: &&Detection| Outcome { image, score: found.score, right: 0, ignored: 0 };
    let mut outcomes: Vec<Outcome> = detections.iter().map(blank).collect();
    for k in 0..OVERLAPS {
        let mut taken = vec![false; truths.len()];
        for (outcome, row) in outcomes.iter_mut().zip(&overlaps) {
            let (mut best, mut chosen) = (least_overlap(k), None);
            for (g, truth) in truths.iter().enumerate() {
                if taken[g] && !truth.crowd {
                    continue;
                }
                if truth.crowd && chosen.is_some_and(|c: usize| !truths[c].crowd) {
                    break;
                }
                if row[g] >= best {
                    (best, chosen) = (row[g], Some(g));
                }
            }
            if let Some(g) = chosen {
                taken[g] = true;
                outcome.right |= u16::from(!truths[g].crowd) << k;
                outcome.ignored |= u16::from(truths[g].crowd) << k;
            }
        }
    }
    outcomes
}

/// Precision, made to fall, at each recall; an image counts as often as its weight says.
fn average_precision(class: &Class, weights: &[u64], wanted: u64, k: usize) -> f64 {
    let (mut right, mut wrong) = (0u64, 0u64);
    let mut curve: Vec<(f64, f64)> = Vec::new();
    for outcome in class.outcomes.iter().filter(|o| (o.ignored >> k) & 1 == 0) {
        let weight = weights[outcome.image];
        if weight > 0 {
            let counted = if (outcome.right >> k) & 1 == 1 { &mut right } else { &mut wrong };
            *counted += weight;
            curve.push((right as f64 / wanted as f64, right as f64 / (right + wrong) as f64));
        }
    }
    let mut best = 0.0f64;
    for point in curve.iter_mut().rev() {
        best = best.max(point.1);
        point.1 = best;
    }
    let at = |i: usize| {
        // the last one exactly, the others with the roundings of the reference
        let recall = if i + 1 == RECALLS { 1.0 } else { i as f64 * 0.01 };
        curve.get(curve.partition_point(|point| point.0 < recall)).map_or(0.0, |point| point.1)
    };
    (0..RECALLS).map(at).sum::<f64>() / RECALLS as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(x: f64, width: f64) -> Bounds {
        Bounds { x, y: 0.0, width, height: 10.0 }
    }

    fn found(score: f64, bounds: Bounds) -> Detection {
        Detection { class: 1, score, bounds }
    }

    fn there(x: f64) -> Truth {
        Truth { class: 1, bounds: bounds(x, 10.0), crowd: false }
    }

    fn map(detections: Vec<Detection>, truths: Vec<Truth>) -> MeanAveragePrecision {
        MeanAveragePrecision::new(&[Image { detections, truths }]).unwrap()
    }

    #[test]
    fn by_hand() {
        let exact = map(vec![found(0.9, bounds(0.0, 10.0))], vec![there(0.0)]);
        assert_eq!((exact.total(), exact.at_half(&[0])), (Some(1.0), Some(1.0)));
        // overlap 0.8: right at 0.50 to 0.80
        let near = map(vec![found(0.9, bounds(0.0, 8.0))], vec![there(0.0)]);
        assert!((near.total().unwrap() - 0.7).abs() < 1e-12);
        // a wrong one before the right one halves precision
        let late = map(vec![found(0.9, bounds(50.0, 10.0)), found(0.8, bounds(0.0, 10.0))], vec![there(0.0)]);
        assert_eq!(late.total(), Some(0.5));
        // one of two found: 51 of the 101 recalls
        let half = map(vec![found(0.9, bounds(0.0, 10.0))], vec![there(0.0), there(90.0)]);
        assert!((half.total().unwrap() - 51.0 / 101.0).abs() < 1e-12);
    }

    #[test]
    fn a_crowd_counts_for_nothing() {
        let crowd = Truth { crowd: true, ..there(100.0) };
        let hits = vec![found(0.95, bounds(101.0, 2.0)), found(0.9, bounds(0.0, 10.0))];
        assert_eq!(map(hits, vec![crowd, there(0.0)]).total(), Some(1.0));
        assert_eq!(map(vec![], vec![crowd]).total(), None);
    }

    #[test]
    fn answers_may_be_anything() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, f64::MAX];
        let mut detections = vec![found(f64::NAN, bounds(0.0, 10.0)), found(0.1, bounds(0.0, 10.0))];
        detections.extend(odd.map(|v| found(0.9, bounds(v, v))));
        // five wrong ones before the right one
        assert!((map(detections, vec![there(0.0)]).total().unwrap() - 1.0 / 6.0).abs() < 1e-12);
        assert_eq!(map(vec![found(1.0, bounds(0.0, 1.0))], vec![]).total(), None);
        assert_eq!(map(vec![], vec![there(0.0)]).total(), Some(0.0));
        assert_eq!(MeanAveragePrecision::new(&[]).unwrap().total(), None);
    }

    #[test]
    fn truths_must_be_boxes() {
        let bad = |x: f64, width: f64| {
            let truths = vec![Truth { bounds: bounds(x, width), ..there(0.0) }];
            MeanAveragePrecision::new(&[Image { detections: vec![], truths }]).unwrap_err().to_string()
        };
        assert!(bad(f64::NAN, 1.0).contains("example 0 has a true box"));
        assert!(bad(0.0, -1.0).contains("number 0"));
        let many = Image { detections: vec![], truths: vec![there(0.0); MAX_TRUTHS + 1] };
        assert!(MeanAveragePrecision::new(&[many]).unwrap_err().to_string().contains("limit"));
    }
}
