//! From a detector's raw answers to boxes: decoded around anchors, the best ones kept that do not overlap.
//! TFLite's `TFLite_Detection_PostProcess`.

use super::{Operand, Operator, Prepare, arity};
use crate::builtin::graph::Fact;
use crate::builtin::limits;
use crate::builtin::order::sort_places;
use crate::builtin::step::Step;
use crate::{Error, Result};
use protocol::DType;

/// Operands: encodings `[1, boxes, 4 or more]` (y, x, height, width relative to the anchor), scores
/// `[1, boxes, classes]` (perhaps with background classes in front), anchors `[boxes, 4]` (centre y, x, height,
/// width), f32. Results: boxes `[1, most, 4]` (y, x of two corners), classes `[1, most]`, scores `[1, most]`, number
/// of boxes `[1]`; what is beyond that number is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detections {
    /// Most boxes.
    pub most: usize,
    /// Classes without background.
    pub classes: usize,
    /// Boxes of each class by themselves, at most so many per class; `None` keeps boxes whatever their best class.
    pub per_class: Option<usize>,
    /// Lower scores are left out.
    pub score: f32,
    /// Boxes that overlap by a larger part of their union are one.
    pub overlap: f32,
    /// What y, x, height and width of an encoding are divided by.
    pub scale: [f32; 4],
}

/// Most pairs of boxes that one invoke may compare.
const MAX_PAIRS: usize = 1 << 30;

impl Operator for Detections {
    fn name(&self) -> &'static str {
        "Detections"
    }

    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>> {
        arity(inputs, 3, 3)?;
        let [e, s, a] = [0, 1, 2].map(|i| &inputs[i].fact.shape[..]);
        match (e, s, a) {
            (&[1, n, c], &[1, m, k], &[l, 4])
                if n == m && n == l && c >= 4 && k >= self.classes && self.classes > 0 =>
            {
                let rounds = self.per_class.map_or(1, |_| self.classes);
                let kept = self.per_class.unwrap_or(self.most).min(n);
                if n.saturating_mul(kept).saturating_mul(rounds) > MAX_PAIRS {
                    return Err(Error::Unsupported(format!("{n} boxes of which {kept} are kept, {rounds} times")));
                }
            }
            _ => return Err(Error::ModelInvalid(format!("boxes {e:?}, scores {s:?}, anchors {a:?}"))),
        }
        limits::bytes(&[self.most, 4], 4)?;
        let fact = |shape: &[usize]| Fact::new(DType::F32, shape);
        Ok(vec![fact(&[1, self.most, 4]), fact(&[1, self.most]), fact(&[1, self.most]), fact(&[1])])
    }

    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>> {
        if on.inputs.iter().map(|i| i.fact).chain(on.outputs).any(|f| f.dtype != DType::F32) {
            return Ok(None);
        }
        let op = *self;
        let (width, classes) = (on.inputs[0].fact.shape[2], on.inputs[1].fact.shape[2]);
        Ok(Some(Step::new("detections.f32", move |inputs, mut outputs, _| {
            let boxes = op.boxes(inputs.get(0), width, inputs.get(2));
            let found = op.found(&boxes, inputs.get(1), classes);
            for index in 0..3 {
                outputs.get::<f32>(index).fill(0.0);
            }
            for (i, (score, class, which)) in found.iter().enumerate() {
                outputs.get::<f32>(0)[4 * i..4 * i + 4].copy_from_slice(&boxes[*which]);
                outputs.get::<f32>(1)[i] = *class as f32;
                outputs.get::<f32>(2)[i] = *score;
            }
            outputs.get::<f32>(3).fill(found.len() as f32);
        })))
    }

    fn work(&self, inputs: &[Operand<'_>], _outputs: &[Fact]) -> u64 {
        let rounds = self.per_class.map_or(1, |_| self.classes) as u64;
        let kept = self.per_class.unwrap_or(self.most) as u64;
        (inputs[2].fact.len() as u64).saturating_mul(kept).saturating_mul(rounds)
    }
}

impl Detections {
    fn boxes(&self, encodings: &[f32], width: usize, anchors: &[f32]) -> Vec<[f32; 4]> {
        let decode = |(e, a): (&[f32], &[f32])| {
            let [y, x] = [0, 1].map(|i| e[i] / self.scale[i] * a[2 + i] + a[i]);
            let [h, w] = [2, 3].map(|i| 0.5 * (e[i] / self.scale[i]).exp() * a[i]);
            [y - h, x - w, y + h, x + w]
        };
        encodings.chunks_exact(width).zip(anchors.chunks_exact(4)).map(decode).collect()
    }

    /// Score, class and number of every box that is kept, best first.
    fn found(&self, boxes: &[[f32; 4]], scores: &[f32], classes: usize) -> Vec<(f32, usize, usize)> {
        let background = classes - self.classes;
        let rows = || scores.chunks_exact(classes).map(|row| &row[background..]);
        let Some(per_class) = self.per_class else {
            let best = |row: &[f32]| {
                let better = |best: (f32, usize), (class, score): (usize, &f32)| {
                    if *score > best.0 { (*score, class) } else { best }
                };
                row.iter().enumerate().skip(1).fold((row[0], 0), better)
            };
            let best: Vec<(f32, usize)> = rows().map(best).collect();
            let scores: Vec<f32> = best.iter().map(|b| b.0).collect();
            let kept = self.apart(boxes, &scores, self.most);
            return kept.into_iter().map(|i| (best[i].0, best[i].1, i)).collect();
        };
        let mut found = Vec::new();
        for class in 0..self.classes {
            let scores: Vec<f32> = rows().map(|row| row[class]).collect();
            found.extend(self.apart(boxes, &scores, per_class).into_iter().map(|i| (scores[i], class, i)));
            found.sort_by(|a, b| b.0.total_cmp(&a.0));
            found.truncate(self.most);
        }
        found
    }

    /// Boxes that do not overlap with a better one, best first.
    fn apart(&self, boxes: &[[f32; 4]], scores: &[f32], most: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..boxes.len()).filter(|i| scores[*i] >= self.score).collect();
        sort_places(&mut order, &|a, b| scores[b].total_cmp(&scores[a]));
        let mut kept: Vec<usize> = Vec::new();
        for i in order {
            if kept.len() >= most {
                break;
            }
            if kept.iter().all(|k| overlap(&boxes[*k], &boxes[i]) <= self.overlap) {
                kept.push(i);
            }
        }
        kept
    }
}

/// Intersection over union.
fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let area = |b: &[f32; 4]| (b[2] - b[0]) * (b[3] - b[1]);
    let (first, second) = (area(a), area(b));
    if first <= 0.0 || second <= 0.0 {
        return 0.0;
    }
    let side = |low: usize, high: usize| (a[high].min(b[high]) - a[low].max(b[low])).max(0.0);
    let both = side(0, 2) * side(1, 3);
    both / (first + second - both)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Session;
    use crate::builtin::graph::Graph;
    use crate::builtin::kernels::Tier;
    use crate::builtin::kernels::memory::{as_bytes, elements};
    use crate::builtin::ops::Op;
    use crate::builtin::prepare;

    fn run(per_class: Option<usize>) -> Vec<Vec<f32>> {
        let mut g = Graph::new();
        let input = |g: &mut Graph, shape: &[usize]| g.input("x", Fact::new(DType::F32, shape)).unwrap();
        let ids = [input(&mut g, &[1, 3, 4]), input(&mut g, &[1, 3, 3]), input(&mut g, &[3, 4])];
        let op = Detections { most: 3, classes: 2, per_class, score: 0.2, overlap: 0.5, scale: [1.0; 4] };
        let outputs = g.add_node(&["b", "c", "s", "n"], Op::from(op), &ids, &[None, None, None, None]).unwrap();
        outputs.into_iter().for_each(|id| g.output(id));
        let mut session = prepare(&g, Tier::Portable).unwrap();
        // two boxes that overlap by more than a half, one apart
        let anchors = [2.0f32, 2.0, 2.0, 2.0, 2.0, 2.25, 2.0, 2.0, 8.0, 8.0, 2.0, 4.0];
        session.set_input(0, as_bytes(&[0f32; 12])).unwrap();
        session.set_input(1, as_bytes(&[0.9f32, 0.5, 0.1, 0.9, 0.3, 0.6, 0.9, 0.1, 0.25])).unwrap();
        session.set_input(2, as_bytes(&anchors)).unwrap();
        session.invoke().unwrap();
        (0..4).map(|i| elements::<f32>(session.output(i).unwrap()).unwrap().to_vec()).collect()
    }

    #[test]
    fn boxes_whatever_their_class() {
        let got = run(None);
        assert_eq!(got[0], [1.0, 1.25, 3.0, 3.25, 7.0, 6.0, 9.0, 10.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!((&got[1][..], &got[2][..], &got[3][..]), (&[1.0, 1.0, 0.0][..], &[0.6, 0.25, 0.0][..], &[2.0][..]));
    }

    #[test]
    fn boxes_of_each_class() {
        let got = run(Some(9));
        assert_eq!((&got[1][..], &got[2][..], &got[3][..]), (&[1.0, 0.0, 1.0][..], &[0.6, 0.5, 0.25][..], &[3.0][..]));
    }
}
