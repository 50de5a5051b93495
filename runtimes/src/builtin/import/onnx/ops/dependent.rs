//! Operators whose results have a shape that depends on the data. Their operands must be known while the graph is built,
//! which is then built anew for other data; see [`crate::builtin::import::Built`].

use super::super::call::Call;
use super::Import;
use crate::builtin::order::sort_places;
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};
use std::cmp::Ordering;

pub(super) const OPS: &[(&str, Import)] =
    &[("NonMaxSuppression", non_max_suppression), ("NonZero", non_zero), ("Unique", unique)];

/// Places of all elements that are not zero, a column each.
fn non_zero(call: &mut Call<'_, '_>) -> Result<()> {
    let x = call.constant(0)?;
    let shape = x.shape().to_vec();
    let places: Vec<usize> =
        x.to_f64()?.iter().enumerate().filter(|(_, v)| **v != 0.0).map(|(i, _)| i).collect();
    let mut indices = Vec::with_capacity(places.len() * shape.len());
    let mut stride: usize = shape.iter().product();
    for length in &shape {
        stride /= (*length).max(1);
        indices.extend(places.iter().map(|place| (place / stride.max(1) % length) as i64));
    }
    // a number is taken for a row of one
    let rows = if shape.is_empty() { vec![0; places.len()] } else { indices };
    call.set_constant(0, Tensor::from_elements(&[shape.len().max(1), places.len()], &rows)?)
}

/// Slices along a dimension, or elements, each once: their first places, for each the number of its like, and how often
/// it is there.
fn unique(call: &mut Call<'_, '_>) -> Result<()> {
    let sorted = call.int_or("sorted", 1)? != 0;
    let axis = call.int("axis")?;
    let x = call.constant(0)?;
    let numbers = x.to_f64()?;
    let shape = x.shape().to_vec();
    let axis = axis.map(|axis| Call::axis(axis, shape.len())).transpose()?;
    let (outer, length, inner) = match axis {
        None => (1, numbers.len(), 1),
        Some(axis) => (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product()),
    };
    let slice = |at: usize| {
        (0..outer * inner).map(move |k| ((k / inner.max(1)) * length + at) * inner + k % inner.max(1))
    };
    let order = |a: usize, b: usize| -> Ordering {
        let pairs = slice(a).zip(slice(b)).map(|(a, b)| numbers[a].total_cmp(&numbers[b]));
        pairs.fold(Ordering::Equal, Ordering::then)
    };
    let mut all: Vec<usize> = (0..length).collect();
    sort_places(&mut all, &order);
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for at in all {
        match groups.last_mut() {
            Some(group) if order(group[0], at) == Ordering::Equal => group.push(at),
            _ => groups.push(vec![at]),
        }
    }
    if !sorted {
        groups.sort_by_key(|group| group[0]);
    }
    let size = x.dtype().size();
    let mut bytes = Vec::new();
    let mut result_shape = shape.clone();
    match axis {
        None => result_shape = vec![groups.len()],
        Some(axis) => result_shape[axis] = groups.len(),
    }
    for row in 0..outer {
        for group in &groups {
            let start = (row * length + group[0]) * inner * size;
            bytes.extend_from_slice(&x.bytes()[start..start + inner * size]);
        }
    }
    let values = Tensor::from_bytes(x.dtype(), &result_shape, &bytes)?;
    let first: Vec<i64> = groups.iter().map(|group| group[0] as i64).collect();
    let counts: Vec<i64> = groups.iter().map(|group| group.len() as i64).collect();
    let mut likes = vec![0i64; length];
    for (number, group) in groups.iter().enumerate() {
        group.iter().for_each(|at| likes[*at] = number as i64);
    }
    call.set_constant(0, values)?;
    for (index, column) in [(1, first), (2, likes), (3, counts)] {
        call.set_constant(index, Tensor::from_elements(&[column.len()], &column)?)?;
    }
    Ok(())
}

/// A box by its corners: top, left, bottom, right.
#[derive(Clone, Copy)]
struct Corners([f32; 4]);

impl Corners {
    /// Any two opposite corners, or center and size.
    fn new(numbers: &[f32], center: bool) -> Self {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| numbers.get(i).copied().unwrap_or(0.0));
        if center {
            return Self([b - d / 2.0, a - c / 2.0, b + d / 2.0, a + c / 2.0]);
        }
        Self([a.min(c), b.min(d), a.max(c), b.max(d)])
    }

    fn area(self) -> f32 {
        let Self([top, left, bottom, right]) = self;
        (bottom - top) * (right - left)
    }

    /// Area of both over area of any.
    fn overlap(self, other: Self) -> f32 {
        let (Self(a), Self(b)) = (self, other);
        let height = a[2].min(b[2]) - a[0].max(b[0]);
        let width = a[3].min(b[3]) - a[1].max(b[1]);
        let union = self.area() + other.area() - height * width;
        if height <= 0.0 || width <= 0.0 || self.area() <= 0.0 || other.area() <= 0.0 || union <= 0.0 {
            return 0.0;
        }
        height * width / union
    }
}

/// Operands: boxes `[n, boxes, 4]`, scores `[n, classes, boxes]`, most boxes per class, most overlap, least score. Result:
/// image, class and box of every box that is kept, the best first.
fn non_max_suppression(call: &mut Call<'_, '_>) -> Result<()> {
    let center = call.int_or("center_point_box", 0)? != 0;
    let most = call.constant_number(2)?.unwrap_or(0.0).max(0.0) as usize;
    let most_overlap = call.constant_number(3)?.unwrap_or(0.0) as f32;
    let least_score = call.constant_number(4)?.map(|score| score as f32);
    let (boxes, scores) = (call.constant(0)?.clone(), call.constant(1)?.clone());
    let fits = match (boxes.shape(), scores.shape()) {
        (&[n, count, 4], &[images, classes, each]) if n == images && count == each => {
            Some([n, count, classes])
        }
        _ => None,
    };
    let unfit = || Error::ModelInvalid(format!("boxes {:?} and scores {:?}", boxes.shape(), scores.shape()));
    let [images, count, classes] = fits.ok_or_else(unfit)?;
    // every box may be compared with every one that is kept
    let work = (scores.len() as u64).saturating_mul(most.min(count) as u64).saturating_mul(8);
    call.graph().spend(work)?;
    let (boxes, scores) = (boxes.elements::<f32>()?, scores.elements::<f32>()?);
    let mut kept: Vec<i64> = Vec::new();
    for (image, class) in (0..images).flat_map(|image| (0..classes).map(move |class| (image, class))) {
        let score = &scores[(image * classes + class) * count..][..count];
        let corners = |at: usize| Corners::new(&boxes[(image * count + at) * 4..][..4], center);
        let mut order: Vec<usize> =
            (0..count).filter(|at| least_score.is_none_or(|least| score[*at] > least)).collect();
        sort_places(&mut order, &|a, b| score[b].total_cmp(&score[a]));
        let mut own: Vec<Corners> = Vec::new();
        for at in order {
            if own.len() >= most {
                break;
            }
            let now = corners(at);
            if own.iter().all(|other| now.overlap(*other) <= most_overlap) {
                own.push(now);
                kept.extend([image as i64, class as i64, at as i64]);
            }
        }
    }
    call.set_constant(0, Tensor::from_elements(&[kept.len() / 3, 3], &kept)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps() {
        let a = Corners::new(&[0.0, 0.0, 2.0, 2.0], false);
        let b = Corners::new(&[2.0, 2.0, 2.0, 2.0], true);
        assert!((a.overlap(b) - 1.0 / 7.0).abs() < 1e-6);
        let flipped = Corners::new(&[2.0, 2.0, 0.0, 0.0], false);
        assert_eq!(a.overlap(flipped), 1.0);
        let empty = Corners::new(&[1.0, 1.0, 1.0, 1.0], false);
        assert_eq!(a.overlap(empty), 0.0);
    }
}
