//! Control flow that constants decide: a branch is chosen, loops are unrolled. Where the data decides, the session is
//! prepared anew for it, see [`crate::builtin::import::Built`].

use super::super::call::Call;
use super::super::proto::{Dim, Graph as OnnxGraph, ValueInfo};
use super::super::tensor::element_type;
use super::Import;
use crate::builtin::graph::ValueId;
use crate::builtin::ops::{Concat, Reshape, Slice, SliceRange};
use crate::builtin::tensor::Tensor;
use crate::{Error, Result};
use protocol::DType;

pub(super) const OPS: &[(&str, Import)] = &[("If", if_), ("Loop", loop_), ("Scan", scan)];

/// Only the branch that a constant condition chooses.
fn if_(call: &mut Call<'_, '_>) -> Result<()> {
    let condition = call.constant_number(0)?.ok_or_else(|| Error::ModelInvalid("no condition".to_owned()))?;
    call.ignore(&["then_branch", "else_branch"]);
    let name = if condition != 0.0 { "then_branch" } else { "else_branch" };
    let branch = call.subgraph(name)?;
    if branch.outputs.len() != call.node.outputs.len() {
        return Err(Error::ModelInvalid(format!("{} results of `{name}`", branch.outputs.len())));
    }
    let results = call.importer.scoped(|importer| {
        importer.constants(&branch)?;
        importer.nodes(&branch)?;
        branch.outputs.iter().map(|output| importer.value(output.name)).collect::<Result<Vec<_>>>()
    })?;
    results.into_iter().enumerate().try_for_each(|(index, result)| call.set(index, result))
}

/// One turn: the values of the body's outputs for those of its inputs. The body's constants are there already.
fn turn<'a>(call: &mut Call<'_, 'a>, body: &OnnxGraph<'a>, inputs: &[ValueId]) -> Result<Vec<ValueId>> {
    call.importer.count()?;
    if body.inputs.len() != inputs.len() {
        let message = format!("{} inputs of the body for {} values", body.inputs.len(), inputs.len());
        return Err(Error::ModelInvalid(message));
    }
    call.importer.turn(body, inputs)
}

/// Operands: number of turns, condition, first values of what the body passes on.
fn loop_(call: &mut Call<'_, '_>) -> Result<()> {
    let turns = call.constant_number(0)?.map(|turns| turns.max(0.0) as u64);
    let condition = call.constant_number(1)?.is_none_or(|condition| condition != 0.0);
    let body = call.subgraph("body")?;
    let carried = (2..call.node.inputs.len()).map(|i| call.input(i)).collect::<Result<Vec<_>>>()?;
    let scans = body.outputs.len().checked_sub(1 + carried.len());
    let scans = scans.ok_or_else(|| Error::ModelInvalid("too few outputs of the body".to_owned()))?;
    let (values, collected) = call.importer.in_body(&body, |importer| {
        let mut inner = Call::new(importer, call.node);
        unroll(&mut inner, &body, (turns, condition), carried, scans)
    })?;
    let first = values.len();
    for (index, value) in values.into_iter().enumerate() {
        call.set(index, value)?;
    }
    for (index, parts) in collected.into_iter().enumerate() {
        let value = stacked(call, first + index, &parts, 0, &body.outputs[1 + first + index])?;
        call.set(first + index, value)?;
    }
    Ok(())
}

/// The values passed on by the last turn, and what every turn gave.
type Unrolled = (Vec<ValueId>, Vec<Vec<ValueId>>);

fn unroll<'a>(
    call: &mut Call<'_, 'a>,
    body: &OnnxGraph<'a>,
    (turns, mut condition): (Option<u64>, bool),
    mut carried: Vec<ValueId>,
    scans: usize,
) -> Result<Unrolled> {
    let mut collected = vec![Vec::new(); scans];
    let mut index = 0u64;
    while condition && turns.is_none_or(|turns| index < turns) {
        // some bodies declare the counter with a dimension of 1
        let scalar = |input: usize| {
            let rank = body.inputs.get(input).and_then(|info| info.shape.as_ref()).map_or(0, Vec::len);
            vec![1; rank.min(1)]
        };
        let counter = call.add_constant(Tensor::from_elements(&scalar(0), &[index as i64])?)?;
        let truth = call.add_constant(Tensor::from_bytes(DType::Bool, &scalar(1), &[1])?)?;
        let inputs: Vec<ValueId> = [counter, truth].into_iter().chain(carried.iter().copied()).collect();
        let mut results = turn(call, body, &inputs)?;
        index += 1;
        let outputs = results.split_off(1);
        if turns != Some(index) {
            let graph = &call.importer.graph;
            let known = results.first().and_then(|value| graph.constant_value(*value)).map(Tensor::to_f64);
            let Some(known) = known.transpose()? else {
                results.iter().for_each(|value| call.importer.need(*value));
                return Err(Error::Unsupported("the number of turns depends on the data".to_owned()));
            };
            condition = known.first().is_some_and(|value| *value != 0.0);
        }
        let (next, scanned) = outputs.split_at(carried.len());
        carried = next.to_vec();
        collected.iter_mut().zip(scanned).for_each(|(all, value)| all.push(*value));
    }
    Ok((carried, collected))
}

/// The results of all turns along a new dimension.
fn stacked(
    call: &mut Call<'_, '_>,
    index: usize,
    parts: &[ValueId],
    axis: usize,
    info: &ValueInfo<'_>,
) -> Result<ValueId> {
    let name = call.name(index);
    if parts.is_empty() {
        let known = |dim: &Dim<'_>| match dim {
            Dim::Value(value) => usize::try_from(*value).ok(),
            Dim::Param(_) => None,
        };
        let dims: Option<Vec<usize>> = info.shape.as_ref().and_then(|dims| dims.iter().map(known).collect());
        let (Some(mut dims), Some(dtype)) = (dims, info.elem_type.and_then(element_type)) else {
            return Err(Error::Unsupported("no turn, and a result of unknown shape".to_owned()));
        };
        dims.insert(axis.min(dims.len()), 0);
        return call.graph().constant(name, Tensor::zeros(dtype, &dims)?, None);
    }
    let mut rows = Vec::new();
    for part in parts {
        let mut shape = call.shape(*part);
        if axis > shape.len() {
            return Err(Error::ModelInvalid(format!("axis {axis} of a result {shape:?}")));
        }
        shape.insert(axis, 1);
        rows.push(call.add(Reshape { shape }, &[*part])?);
    }
    call.graph().add(name, Concat { axis }, &rows)
}

/// Element `index` of a dimension, which goes.
fn element(call: &mut Call<'_, '_>, value: ValueId, axis: usize, index: usize) -> Result<ValueId> {
    let mut shape = call.shape(value);
    let mut ranges: Vec<SliceRange> = shape.iter().map(|length| SliceRange::all(*length)).collect();
    ranges[axis] = SliceRange { start: index, count: 1, step: 1 };
    let part = call.add(Slice { ranges }, &[value])?;
    shape.remove(axis);
    call.reshape(part, &shape)
}

/// How a `Scan` walks.
struct Walk {
    /// States at the beginning.
    states: usize,
    input_axes: Vec<i64>,
    input_reversed: Vec<i64>,
    output_axes: Vec<i64>,
    output_reversed: Vec<i64>,
}

/// Operands: first states, then what is walked; in version 8 lengths before them, and a batch as first dimension.
fn scan(call: &mut Call<'_, '_>) -> Result<()> {
    let batched = call.opset() < 9;
    let first = usize::from(batched);
    if batched && call.has(0) {
        return Err(Error::Unsupported("lengths of sequences".to_owned()));
    }
    let inputs = (first..call.node.inputs.len()).map(|i| call.input(i)).collect::<Result<Vec<_>>>()?;
    let walked = usize::try_from(call.int_or("num_scan_inputs", 0)?).unwrap_or(0);
    let states = inputs.len().checked_sub(walked).filter(|_| walked > 0);
    let states = states.ok_or_else(|| Error::ModelInvalid(format!("{walked} operands to walk")))?;
    let body = call.subgraph("body")?;
    if body.outputs.len() < states || body.outputs.len() < call.node.outputs.len() {
        return Err(Error::ModelInvalid("too few outputs of the body".to_owned()));
    }
    let reversed = call.ints("directions")?.unwrap_or_default();
    let walk = Walk {
        states,
        input_axes: call.ints("scan_input_axes")?.unwrap_or_default(),
        input_reversed: call.ints("scan_input_directions")?.unwrap_or(reversed),
        output_axes: call.ints("scan_output_axes")?.unwrap_or_default(),
        output_reversed: call.ints("scan_output_directions")?.unwrap_or_default(),
    };
    let results = call.importer.in_body(&body, |importer| {
        let mut inner = Call::new(importer, call.node);
        if !batched {
            return walk_once(&mut inner, &body, &walk, &inputs);
        }
        let lengths: Vec<usize> =
            inputs.iter().map(|x| inner.shape(*x).first().copied().unwrap_or(0)).collect();
        if lengths.iter().any(|length| *length != lengths[0]) || lengths[0] == 0 {
            return Err(Error::ModelInvalid(format!("batches of {lengths:?}")));
        }
        let mut parts: Vec<Vec<ValueId>> = vec![Vec::new(); body.outputs.len()];
        for batch in 0..lengths[0] {
            let own = inputs.iter().map(|x| element(&mut inner, *x, 0, batch)).collect::<Result<Vec<_>>>()?;
            let results = walk_once(&mut inner, &body, &walk, &own)?;
            parts.iter_mut().zip(results).for_each(|(all, value)| all.push(value));
        }
        let stack =
            |(index, all): (usize, &Vec<ValueId>)| stacked(&mut inner, index, all, 0, &body.outputs[index]);
        parts.iter().enumerate().map(stack).collect()
    })?;
    results.into_iter().enumerate().try_for_each(|(index, value)| call.set(index, value))
}

fn walk_once<'a>(
    call: &mut Call<'_, 'a>,
    body: &OnnxGraph<'a>,
    walk: &Walk,
    inputs: &[ValueId],
) -> Result<Vec<ValueId>> {
    let (states, walked) = inputs.split_at(walk.states);
    let at = |all: &[i64], index: usize| all.get(index).copied().unwrap_or(0);
    let mut axes = Vec::new();
    for (index, x) in walked.iter().enumerate() {
        axes.push(Call::axis(at(&walk.input_axes, index), call.rank(*x))?);
    }
    let lengths: Vec<usize> = walked.iter().zip(&axes).map(|(x, axis)| call.shape(*x)[*axis]).collect();
    if lengths.iter().any(|length| *length != lengths[0]) {
        return Err(Error::ModelInvalid(format!("operands of lengths {lengths:?} to walk")));
    }
    let mut states = states.to_vec();
    let mut collected = vec![Vec::new(); body.outputs.len() - walk.states];
    for step in 0..lengths[0] {
        let mut now = states.clone();
        for (index, x) in walked.iter().enumerate() {
            let place = if at(&walk.input_reversed, index) != 0 { lengths[0] - 1 - step } else { step };
            now.push(element(call, *x, axes[index], place)?);
        }
        let results = turn(call, body, &now)?;
        states = results[..walk.states].to_vec();
        collected.iter_mut().zip(&results[walk.states..]).for_each(|(all, value)| all.push(*value));
    }
    for (index, mut parts) in collected.into_iter().enumerate() {
        if at(&walk.output_reversed, index) != 0 {
            parts.reverse();
        }
        let rank = parts.first().map_or(0, |part| call.rank(*part)) + 1;
        let axis = Call::axis(at(&walk.output_axes, index), rank)?;
        let info = &body.outputs[walk.states + index];
        states.push(stacked(call, walk.states + index, &parts, axis, info)?);
    }
    Ok(states)
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Message, floats, ints, node, value_info};
    use crate::builtin::import::parse;
    use crate::{Error, Result};
    use protocol::DType;

    fn attribute(name: &str, graph: Message) -> Message {
        Message::new().text(1, name).nested(6, graph).int(20, 5)
    }

    /// A loop that doubles `x` as often as `turns` says, with this body's condition.
    fn doubling(turns: i64, condition: &str) -> Vec<u8> {
        let body = Message::new()
            .nested(1, node("Add", &["v", "v"], &["w"]))
            .nested(1, node("Identity", &[condition], &["go"]))
            .nested(11, value_info("i", 7, &[]))
            .nested(11, value_info("c", 9, &[]))
            .nested(11, value_info("v", 1, &[Some(1)]))
            .nested(12, value_info("go", 9, &[]))
            .nested(12, value_info("w", 1, &[Some(1)]));
        let graph = Message::new()
            .nested(1, node("Loop", &["n", "", "x"], &["y"]).nested(5, attribute("body", body)))
            .nested(5, ints("n", &[], &[turns]))
            .nested(11, value_info("x", 1, &[Some(1)]))
            .nested(12, value_info("y", 1, &[Some(1)]));
        super::super::super::testing::model(17, graph)
    }

    fn nodes(file: Vec<u8>) -> Result<usize> {
        Ok(parse(file, None)?.build(None, &[])?.nodes().count())
    }

    #[test]
    fn loops_are_unrolled_within_bounds() {
        assert_eq!(nodes(doubling(3, "c")).unwrap(), 3 + 1, "and a node for the name of the output");
        let error = nodes(doubling(i64::MAX, "c")).unwrap_err();
        assert!(matches!(error, Error::Unsupported(ref text) if text.contains("nodes")), "{error}");
    }

    #[test]
    fn a_condition_of_another_type_or_of_nothing_is_refused() {
        assert!(nodes(doubling(2, "nothing")).is_err());
        let file = Message::new()
            .nested(1, node("Loop", &["n", "", "x"], &["y"]))
            .nested(5, floats("n", &[], &[1.0]))
            .nested(11, value_info("x", 1, &[Some(1)]))
            .nested(12, value_info("y", 1, &[Some(1)]));
        let error = nodes(super::super::super::testing::model(17, file)).unwrap_err();
        assert!(error.to_string().contains("`body`"), "{error} {}", DType::Bool);
    }
}
