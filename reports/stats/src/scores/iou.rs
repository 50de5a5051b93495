//! Mean intersection over union of segmentations: per class, over the pixels of all examples together.

use super::error::check_pairs;
use super::{MAX_CLASSES, Outcomes, ScoreError, chosen};

const SCORE: &str = "mIoU";

/// Of one class in one example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Area {
    class: u32,
    intersection: u64,
    union: u64,
}

/// Pixels of each class, example by example. The score is the mean over the classes that were predicted or
/// true anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeanIou {
    classes: u32,
    ignored: Option<u32>,
    examples: Vec<Vec<Area>>,
}

impl MeanIou {
    /// Of so many classes; pixels whose true class is `ignored` (usually 255) are left out.
    pub fn new(classes: u32, ignored: Option<u32>) -> Result<Self, ScoreError> {
        if classes == 0 || classes > MAX_CLASSES {
            let problem = format!("{classes} classes: between 1 and {MAX_CLASSES} are possible");
            return Err(ScoreError::Setting { score: SCORE, problem });
        }
        Ok(Self { classes, ignored, examples: Vec::new() })
    }

    /// Adds an example: the class of every pixel.
    pub fn push(&mut self, predicted: &[u32], truth: &[u32]) -> Result<(), ScoreError> {
        check_pairs(SCORE, predicted.len(), truth.len())?;
        let classes = self.classes as usize;
        let (mut both, mut covered) = (vec![0u64; classes], vec![0u64; classes]);
        for (predicted, truth) in predicted.iter().zip(truth).filter(|(_, t)| Some(**t) != self.ignored) {
            if *predicted.max(truth) >= self.classes {
                let problem = format!(
                    "has a pixel of class {}: there are {classes} classes, counted from 0",
                    predicted.max(truth)
                );
                return Err(ScoreError::Example { score: SCORE, example: self.examples.len(), problem });
            }
            covered[*truth as usize] += 1;
            if predicted == truth {
                both[*truth as usize] += 1;
            } else {
                covered[*predicted as usize] += 1;
            }
        }
        let areas = (0..self.classes).zip(both).zip(covered);
        let areas = areas.filter(|(_, union)| *union > 0);
        self.examples
            .push(areas.map(|((class, intersection), union)| Area { class, intersection, union }).collect());
        Ok(())
    }
}

impl Outcomes for MeanIou {
    fn len(&self) -> usize {
        self.examples.len()
    }

    fn work(&self) -> usize {
        self.classes as usize + self.examples.iter().map(Vec::len).sum::<usize>()
    }

    fn score(&self, at: &[usize]) -> Option<f64> {
        let mut sums = vec![(0u64, 0u64); self.classes as usize];
        for area in chosen(&self.examples, at).flatten() {
            let (intersection, union) = &mut sums[area.class as usize];
            *intersection += area.intersection;
            *union += area.union;
        }
        let seen = sums.iter().filter(|(_, union)| *union > 0);
        let shares: Vec<f64> = seen.map(|(both, union)| *both as f64 / *union as f64).collect();
        (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let mut iou = MeanIou::new(4, Some(255)).unwrap();
        iou.push(&[0, 0, 1, 1], &[0, 1, 1, 255]).unwrap();
        // class 0: 1 of 2, class 1: 1 of 2; 2 and 3 are nowhere
        assert_eq!(iou.total(), Some(0.5));
        iou.push(&[3, 3], &[3, 3]).unwrap();
        assert_eq!((iou.total(), iou.score(&[1])), (Some(2.0 / 3.0), Some(1.0)));
        iou.push(&[1], &[255]).unwrap();
        assert_eq!((iou.len(), iou.score(&[2])), (3, None));
    }

    #[test]
    fn bad_input_is_named() {
        let mut iou = MeanIou::new(2, None).unwrap();
        assert!(matches!(iou.push(&[0], &[]), Err(ScoreError::Unpaired { .. })));
        assert!(
            iou.push(&[0, 2], &[0, 0]).unwrap_err().to_string().contains("example 0 has a pixel of class 2")
        );
        assert!(iou.push(&[0], &[u32::MAX]).is_err());
        assert!(iou.is_empty());
        assert!(MeanIou::new(0, None).is_err() && MeanIou::new(u32::MAX, None).is_err());
    }
}
