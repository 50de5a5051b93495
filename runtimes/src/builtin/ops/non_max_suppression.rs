//! The best boxes that do not overlap with a better one, with scores lowered where they do.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::limits;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Operands: boxes `[boxes, 4]` (two corners, y first), scores `[boxes]`, f32. Results: numbers of the boxes `[most]`
/// (i32), their scores `[most]`, how many there are `[]` (i32); what is beyond that number is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NonMaxSuppression {
    /// Most boxes.
    pub most: usize,
    /// Boxes that overlap by this part of their union or more are one.
    pub overlap: f32,
    /// Only higher scores count.
    pub score: f32,
    /// Scores of boxes that overlap less fall by exp(−overlap² / 2 sigma); 0 leaves them.
    pub sigma: f32,
}

/// Most pairs of boxes that one invoke may compare.
const MAX_PAIRS: usize = 1 << 28;

#[derive(Clone, Copy)]
struct Candidate {
    index: usize,
    score: f32,
    /// Kept boxes before this one have been compared.
    compared: usize,
}

/// By score, then the first one.
impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.index.cmp(&self.index))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

impl Operator for NonMaxSuppression {
    fn name(&self) -> &'static str {
        "NonMaxSuppression"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 2, 2)?;
        let (boxes, scores) = (&inputs[0].fact.shape[..], &inputs[1].fact.shape[..]);
        match (boxes, scores) {
            (&[n, 4], &[m]) if n == m && n.saturating_mul(self.most.min(n)) <= MAX_PAIRS => {}
            _ => return Err(Error::ModelInvalid(format!("boxes {boxes:?}, scores {scores:?}, {} kept", self.most))),
        }
        limits::bytes(&[self.most], 4)?;
        let most = [self.most];
        Ok(vec![Fact::new(DType::I32, &most), Fact::new(DType::F32, &most), Fact::new(DType::I32, &[])])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        if on.inputs.iter().any(|i| i.fact.dtype != DType::F32) {
            return Ok(None);
        }
        let op = *self;
        Ok(Some(Step::new("non_max_suppression", move |inputs, mut outputs, _| {
            let kept = op.kept(inputs.get(0), inputs.get(1));
            outputs.get::<i32>(0).fill(0);
            outputs.get::<f32>(1).fill(0.0);
            for (i, candidate) in kept.iter().enumerate() {
                outputs.get::<i32>(0)[i] = candidate.index as i32;
                outputs.get::<f32>(1)[i] = candidate.score;
            }
            outputs.get::<i32>(2).fill(kept.len() as i32);
        })))
    }

    fn work(&self, inputs: &[Operand<'_>], _outputs: &[Fact]) -> u64 {
        let n = inputs[1].fact.len();
        (n as u64).saturating_mul(self.most.min(n).max(1) as u64)
    }
}

impl NonMaxSuppression {
    fn kept(&self, boxes: &[f32], scores: &[f32]) -> Vec<Candidate> {
        let all = scores.iter().enumerate().filter(|(_, s)| **s > self.score);
        let mut left: BinaryHeap<Candidate> =
            all.map(|(index, score)| Candidate { index, score: *score, compared: 0 }).collect();
        let mut kept: Vec<Candidate> = Vec::new();
        while kept.len() < self.most {
            let Some(mut next) = left.pop() else { break };
            let before = next.score;
            let hidden = self.lower(boxes, &kept, &mut next);
            next.compared = kept.len();
            if hidden || next.score <= self.score {
                continue;
            }
            if next.score == before {
                kept.push(next);
            } else {
                // A lower score: it waits for its turn again, compared with what has been kept so far.
                left.push(next);
            }
        }
        kept
    }

    /// Lowers a score by the boxes it has not been compared with; true when one of them hides it.
    fn lower(&self, boxes: &[f32], kept: &[Candidate], next: &mut Candidate) -> bool {
        for other in kept[next.compared..].iter().rev() {
            let overlap = overlap(&boxes[4 * next.index..][..4], &boxes[4 * other.index..][..4]);
            if overlap >= self.overlap {
                return true;
            }
            if self.sigma > 0.0 {
                next.score *= (-0.5 / self.sigma * overlap * overlap).exp();
            }
            if next.score <= self.score {
                break;
            }
        }
        false
    }
}

/// Intersection over union of boxes whose corners may be given in any order.
fn overlap(a: &[f32], b: &[f32]) -> f32 {
    let span = |b: &[f32], axis: usize| (b[axis].min(b[axis + 2]), b[axis].max(b[axis + 2]));
    let area = |b: &[f32]| (0..2).map(|axis| span(b, axis)).fold(1.0, |area, (low, high)| area * (high - low));
    let (first, second) = (area(a), area(b));
    if first <= 0.0 || second <= 0.0 {
        return 0.0;
    }
    let both = (0..2).fold(1.0, |both, axis| {
        let ((low, high), (low2, high2)) = (span(a, axis), span(b, axis));
        both * (high.min(high2) - low.max(low2)).max(0.0)
    });
    both / (first + second - both)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOXES: [f32; 16] =
        [0.0, 0.0, 2.0, 2.0, 0.0, 0.5, 2.0, 2.5, 2.0, 7.0, 0.0, 5.0, 0.0, 0.0, 2.0, 2.0];

    fn kept(sigma: f32, scores: &[f32]) -> Vec<(usize, f32)> {
        let op = NonMaxSuppression { most: 3, overlap: 0.7, score: 0.1, sigma };
        op.kept(&BOXES, scores).iter().map(|c| (c.index, c.score)).collect()
    }

    #[test]
    fn the_same_box_is_kept_once() {
        assert_eq!(kept(0.0, &[0.5, 0.6, 0.2, 0.9]), [(3, 0.9), (1, 0.6), (2, 0.2)]);
        assert_eq!(kept(0.0, &[0.5, 0.1, 0.2, 0.5]), [(0, 0.5), (2, 0.2)]);
    }

    #[test]
    fn scores_fall_by_overlap() {
        let got = kept(0.5, &[0.1, 0.6, 0.5, 0.9]);
        // 1.5 of 2.5 in common
        let lowered = 0.6 * (-0.36f32).exp();
        assert_eq!((got[0], got[1].0, got[2].0), ((3, 0.9), 2, 1));
        assert!((got[2].1 - lowered).abs() < 1e-6, "{got:?}");
    }
}
