//! Recurrent layers.

use super::super::call::Call;
use super::Import;
use crate::builtin::graph::ValueId;
use crate::builtin::ops::{Direction, Op, Recurrent, RecurrentKind, Transpose, UnaryKind};
use crate::{Error, Result};
use protocol::DType;

pub(super) const OPS: &[(&str, Import)] = &[("GRU", gru), ("LSTM", lstm), ("RNN", rnn)];

fn rnn(call: &mut Call<'_, '_>) -> Result<()> {
    layer(call, RecurrentKind::Simple, &["Tanh"])
}

fn gru(call: &mut Call<'_, '_>) -> Result<()> {
    let reset_after = call.int_or("linear_before_reset", 0)? != 0;
    layer(call, RecurrentKind::Gru { reset_after }, &["Sigmoid", "Tanh"])
}

fn lstm(call: &mut Call<'_, '_>) -> Result<()> {
    let coupled = call.int_or("input_forget", 0)? != 0;
    layer(call, RecurrentKind::Lstm { coupled }, &["Sigmoid", "Tanh", "Tanh"])
}

/// Operands: sequence, weights, recurrent weights, bias, lengths, first output, first cell, peepholes.
fn layer(call: &mut Call<'_, '_>, kind: RecurrentKind, functions: &[&str]) -> Result<()> {
    call.ignore(&["hidden_size"]);
    let batch_first = call.int_or("layout", 0)? != 0;
    let directions = directions(call, functions)?;
    let clip = call.float_or("clip", 0.0)?;
    let mut inputs = vec![call.input(0)?, call.input(1)?, call.input(2)?];
    let mut present = [false; 5];
    for (which, there) in present.iter_mut().enumerate() {
        if let Some(value) = call.optional(3 + which)? {
            *there = true;
            inputs.push(value);
        }
    }
    if batch_first {
        // the sequence, and the first output and cell
        let states = [(0, true), (3, present[2]), (4, present[3])];
        let first = 3 + usize::from(present[0]) + usize::from(present[1]);
        let places = [0, first, first + usize::from(present[2])];
        for ((_, there), place) in states.into_iter().zip(places) {
            if there {
                inputs[place] = call.transpose(inputs[place], &[1, 0, 2])?;
            }
        }
    }
    for (index, input) in inputs.iter_mut().enumerate() {
        let lengths = present[1] && index == 3 + usize::from(present[0]);
        *input = call.cast(*input, if lengths { DType::I32 } else { DType::F32 })?;
    }
    let count = if matches!(kind, RecurrentKind::Lstm { .. }) { 3 } else { 2 };
    let inner: Vec<String> = (0..count).map(|_| call.inner()).collect();
    let names: Vec<&str> = inner.iter().map(String::as_str).collect();
    let op = Op::from(Recurrent { kind, directions, clip, present });
    let results = call.graph().add_node(&names, op, &inputs, &vec![None; count])?;
    for (index, value) in
        results.into_iter().enumerate().filter(|(index, _)| call.wants(*index)).collect::<Vec<_>>()
    {
        result(call, index, value, batch_first)?;
    }
    Ok(())
}

/// A result under its name, with the batch in front where that is asked for.
fn result(call: &mut Call<'_, '_>, index: usize, value: ValueId, batch_first: bool) -> Result<()> {
    let rank = call.rank(value);
    let perm = match (batch_first, index) {
        (false, _) => (0..rank).collect(),
        (true, 0) => vec![2, 0, 1, 3],
        (true, _) => vec![1, 0, 2],
    };
    let name = call.name(index);
    let value = call.graph().add(name, Transpose { perm }, &[value])?;
    call.set(index, value)
}

fn directions(call: &Call<'_, '_>, defaults: &[&str]) -> Result<Vec<Direction>> {
    let reverse: &[bool] = match call.text_or("direction", "forward")? {
        "forward" => &[false],
        "reverse" => &[true],
        "bidirectional" => &[false, true],
        other => return Err(Error::ModelInvalid(format!("direction `{other}`"))),
    };
    let given = call.texts("activations")?;
    let mut alphas = call.floats("activation_alpha")?.unwrap_or_default().into_iter();
    let mut betas = call.floats("activation_beta")?.unwrap_or_default().into_iter();
    let count = defaults.len() * reverse.len();
    if given.as_ref().is_some_and(|given| given.len() != count) {
        return Err(Error::ModelInvalid(format!("{:?} for {count} activations", given.unwrap_or_default())));
    }
    let name = |index: usize| match &given {
        Some(given) => given[index],
        None => defaults[index % defaults.len()],
    };
    let mut directions = Vec::new();
    for (d, reverse) in reverse.iter().enumerate() {
        let mut functions = [UnaryKind::Tanh; 3];
        for (k, function) in functions.iter_mut().enumerate().take(defaults.len()) {
            *function = activation(name(d * defaults.len() + k), &mut alphas, &mut betas)?;
        }
        directions.push(Direction { reverse: *reverse, functions });
    }
    Ok(directions)
}

/// A function by its name, with the next numbers of those that have any.
fn activation(
    name: &str,
    alphas: &mut impl Iterator<Item = f32>,
    betas: &mut impl Iterator<Item = f32>,
) -> Result<UnaryKind> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "sigmoid" => UnaryKind::Logistic,
        "tanh" => UnaryKind::Tanh,
        "relu" => UnaryKind::LeakyRelu { slope: 0.0 },
        "leakyrelu" => UnaryKind::LeakyRelu { slope: alphas.next().unwrap_or(0.01) },
        "elu" => UnaryKind::Elu { alpha: alphas.next().unwrap_or(1.0) },
        "hardsigmoid" => {
            UnaryKind::HardSigmoid { alpha: alphas.next().unwrap_or(0.2), beta: betas.next().unwrap_or(0.5) }
        }
        "softsign" => UnaryKind::Softsign,
        "softplus" => UnaryKind::Softplus,
        _ => return Err(Error::Unsupported(format!("activation `{name}`"))),
    })
}
