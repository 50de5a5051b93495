//! `Einsum`: diagonals, sums and products of matrices.

use super::super::call::Call;
use super::Import;
use super::normalization::renamed;
use crate::builtin::graph::ValueId;
use crate::builtin::limits::{self, MAX_RANK};
use crate::builtin::ops::{MatMul, Reduce, ReduceKind, Slice, SliceRange};
use crate::{Error, Result};
use std::collections::HashMap;

pub(super) const OPS: &[(&str, Import)] = &[("Einsum", einsum)];

/// Name of a dimension: a letter, or its place from the end among those of `...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Label {
    Rest(std::cmp::Reverse<usize>),
    Letter(char),
}

/// A value and the names of its dimensions.
#[derive(Clone)]
struct Term {
    value: ValueId,
    labels: Vec<Label>,
}

fn einsum(call: &mut Call<'_, '_>) -> Result<()> {
    let equation: String = call.text_or("equation", "")?.chars().filter(|c| !c.is_whitespace()).collect();
    let inputs = call.inputs()?;
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let unfit = || Error::ModelInvalid(format!("equation `{equation}` for {} operands", inputs.len()));
    let parts: Vec<&str> = left.split(',').collect();
    if parts.len() != inputs.len() || inputs.is_empty() {
        return Err(unfit());
    }
    let mut terms = Vec::new();
    for (part, value) in parts.iter().zip(&inputs) {
        let labels = labels(part, call.rank(*value)).ok_or_else(unfit)?;
        terms.push(Term { value: *value, labels });
    }
    let of_rest = |term: &Term| term.labels.iter().filter(|label| matches!(label, Label::Rest(_))).count();
    let rest = terms.iter().map(of_rest).max().unwrap_or(0);
    let output = match right {
        Some(right) => {
            let letters = right.replace("...", "").chars().count();
            let rank = letters + if right.contains("...") { rest } else { 0 };
            labels(right, rank).ok_or_else(unfit)?
        }
        None => implied(&terms),
    };
    let known = |label: &Label| terms.iter().any(|term| term.labels.contains(label));
    let repeated = output.iter().enumerate().any(|(i, label)| output[..i].contains(label));
    if repeated || !output.iter().all(known) || output.len() > MAX_RANK {
        return Err(unfit());
    }
    let sizes = sizes(call, &terms).ok_or_else(unfit)?;
    let y = product(call, terms, &output, &sizes)?;
    let value = arranged(call, &y, &output)?;
    renamed(call, value)
}

/// The names in one part of an equation, for a value of `rank` dimensions.
fn labels(part: &str, rank: usize) -> Option<Vec<Label>> {
    let (before, after) =
        part.split_once("...").map_or((part, None), |(before, after)| (before, Some(after)));
    let letters = before.chars().count() + after.map_or(0, |after| after.chars().count());
    let rest = rank.checked_sub(letters)?;
    if after.is_none() && rest != 0
        || !before.chars().chain(after.unwrap_or("").chars()).all(char::is_alphabetic)
    {
        return None;
    }
    let middle = (0..rest).rev().map(|i| Label::Rest(std::cmp::Reverse(i)));
    let letter = |text: &str| text.chars().map(Label::Letter).collect::<Vec<_>>();
    Some(letter(before).into_iter().chain(middle).chain(letter(after.unwrap_or(""))).collect())
}

/// Without `->`: what is there once, in order, after the dimensions of `...`.
fn implied(terms: &[Term]) -> Vec<Label> {
    let all: Vec<Label> = terms.iter().flat_map(|term| term.labels.iter().copied()).collect();
    let once = |label: &Label| match label {
        Label::Rest(_) => true,
        Label::Letter(_) => all.iter().filter(|other| *other == label).count() == 1,
    };
    let mut output: Vec<Label> = all.iter().copied().filter(once).collect();
    output.sort_unstable();
    output.dedup();
    output
}

/// The length of every dimension; 1 fits all.
fn sizes(call: &Call<'_, '_>, terms: &[Term]) -> Option<HashMap<Label, usize>> {
    let mut sizes = HashMap::new();
    for term in terms {
        for (label, length) in term.labels.iter().zip(call.shape(term.value)) {
            let known = sizes.entry(*label).or_insert(length);
            if *known == 1 {
                *known = length;
            } else if length != 1 && length != *known {
                return None;
            }
        }
    }
    Some(sizes)
}

fn product(
    call: &mut Call<'_, '_>,
    terms: Vec<Term>,
    output: &[Label],
    sizes: &HashMap<Label, usize>,
) -> Result<Term> {
    let mut own = Vec::new();
    for term in terms {
        let term = without_ones(call, term, sizes)?;
        own.push(diagonal(call, term)?);
    }
    let mut rest = own.into_iter();
    let first = rest.next().ok_or_else(|| Error::ModelInvalid("no operand".to_owned()))?;
    let later: Vec<Term> = rest.collect();
    let mut sum = first;
    for (index, next) in later.iter().enumerate() {
        let wanted = |label: &Label| {
            output.contains(label) || later[index + 1..].iter().any(|term| term.labels.contains(label))
        };
        let left = summed(call, sum, |label| wanted(label) || next.labels.contains(label))?;
        let right = summed(call, next.clone(), |label| wanted(label) || left.labels.contains(label))?;
        sum = pair(call, &left, &right, wanted)?;
    }
    summed(call, sum, |label| output.contains(label))
}

/// Dimensions of 1 that stand for longer ones of others go.
fn without_ones(call: &mut Call<'_, '_>, term: Term, sizes: &HashMap<Label, usize>) -> Result<Term> {
    let shape = call.shape(term.value);
    let kept: Vec<usize> =
        (0..shape.len()).filter(|d| shape[*d] != 1 || sizes.get(&term.labels[*d]) == Some(&1)).collect();
    let dims: Vec<usize> = kept.iter().map(|d| shape[*d]).collect();
    let labels = kept.iter().map(|d| term.labels[*d]).collect();
    Ok(Term { value: call.reshape(term.value, &dims)?, labels })
}

/// A name that is there twice walks both dimensions at once.
fn diagonal(call: &mut Call<'_, '_>, mut term: Term) -> Result<Term> {
    loop {
        let twice = (0..term.labels.len()).find_map(|j| {
            let i = term.labels[..j].iter().position(|label| *label == term.labels[j])?;
            Some((i, j))
        });
        let Some((i, j)) = twice else { return Ok(term) };
        let others: Vec<usize> = (0..term.labels.len()).filter(|d| *d != i && *d != j).collect();
        let perm: Vec<usize> = others.iter().copied().chain([i, j]).collect();
        let moved = call.transpose(term.value, &perm)?;
        let shape = call.shape(moved);
        let (n, outer) = (shape[shape.len() - 1], &shape[..shape.len() - 2]);
        if shape[shape.len() - 2] != n {
            return Err(Error::ModelInvalid(format!("the diagonal of {shape:?}")));
        }
        let flat = [outer, &[n * n]].concat();
        let value = call.reshape(moved, &flat)?;
        let mut ranges: Vec<SliceRange> = flat.iter().map(|length| SliceRange::all(*length)).collect();
        ranges[outer.len()] = SliceRange { start: 0, count: n, step: n as isize + 1 };
        let value = call.add(Slice { ranges }, &[value])?;
        let labels = others.iter().map(|d| term.labels[*d]).chain([term.labels[i]]).collect();
        term = Term { value, labels };
    }
}

/// Sums over the dimensions that nobody wants.
fn summed(call: &mut Call<'_, '_>, term: Term, wanted: impl Fn(&Label) -> bool) -> Result<Term> {
    let axes: Vec<usize> = (0..term.labels.len()).filter(|d| !wanted(&term.labels[*d])).collect();
    if axes.is_empty() {
        return Ok(term);
    }
    let value = call.add(Reduce { kind: ReduceKind::Sum, axes, keep_dims: false }, &[term.value])?;
    Ok(Term { value, labels: term.labels.into_iter().filter(wanted).collect() })
}

/// The product of two, summed over what both have and nobody else wants.
fn pair(call: &mut Call<'_, '_>, left: &Term, right: &Term, wanted: impl Fn(&Label) -> bool) -> Result<Term> {
    let both = |label: &&Label| right.labels.contains(label);
    let batch: Vec<Label> = left.labels.iter().filter(both).filter(|l| wanted(l)).copied().collect();
    let inner: Vec<Label> = left.labels.iter().filter(both).filter(|l| !wanted(l)).copied().collect();
    let rows: Vec<Label> = left.labels.iter().filter(|l| !right.labels.contains(l)).copied().collect();
    let columns: Vec<Label> = right.labels.iter().filter(|l| !left.labels.contains(l)).copied().collect();
    let length = |call: &Call<'_, '_>, term: &Term, labels: &[Label]| -> Vec<usize> {
        let shape = call.shape(term.value);
        let one = |label| term.labels.iter().position(|own| own == label).map_or(1, |d| shape[d]);
        labels.iter().map(one).collect()
    };
    let of_batch = length(call, left, &batch);
    let (of_rows, of_columns) = (length(call, left, &rows), length(call, right, &columns));
    let product = |dims: &[usize]| dims.iter().product::<usize>();
    let depth = product(&length(call, left, &inner));
    let a = arranged(call, left, &[&batch[..], &rows, &inner].concat())?;
    let a = call.reshape(a, &[product(&of_batch), product(&of_rows), depth])?;
    let b = arranged(call, right, &[&batch[..], &inner, &columns].concat())?;
    let b = call.reshape(b, &[product(&of_batch), depth, product(&of_columns)])?;
    let y = call.add(MatMul::default(), &[a, b])?;
    let shape = [of_batch, of_rows, of_columns].concat();
    limits::elements(&shape)?;
    Ok(Term { value: call.reshape(y, &shape)?, labels: [batch, rows, columns].concat() })
}

/// The value with its dimensions in the order of `labels`.
fn arranged(call: &mut Call<'_, '_>, term: &Term, labels: &[Label]) -> Result<ValueId> {
    let place = |label| term.labels.iter().position(|own| own == label);
    let perm: Option<Vec<usize>> = labels.iter().map(place).collect();
    let perm = perm.ok_or_else(|| Error::ModelInvalid("a dimension without a name".to_owned()))?;
    if perm.is_sorted() { Ok(term.value) } else { call.transpose(term.value, &perm) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_dimensions() {
        let letter = Label::Letter;
        let rest = |i| Label::Rest(std::cmp::Reverse(i));
        assert_eq!(labels("ab", 2), Some(vec![letter('a'), letter('b')]));
        assert_eq!(labels("a...b", 4), Some(vec![letter('a'), rest(1), rest(0), letter('b')]));
        assert_eq!(labels("ab", 3), None);
        assert_eq!(labels("a1", 2), None);
        assert_eq!(labels("......", 2), None);
        assert!(rest(1) < rest(0) && rest(0) < letter('A'));
    }
}
