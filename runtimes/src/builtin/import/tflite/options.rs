//! Attributes of built-in operators: the schema's option tables as plain values, a function each.
//! Values are checked for what the schema says of them (strides are positive, an enum is in range),
//! not for what an operator makes of them. Pairs are height, width.

use super::flat::Table;
use super::schema::Operator;
use crate::{Error, Result};

/// Bounds of a fused activation: minus and plus infinity where it has none.
pub(crate) type Clamp = (f32, f32);

/// How borders are padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Padding {
    /// So that the output has ⌈input / stride⌉ elements, the odd one at the end.
    Same,
    /// Not at all.
    Valid,
}

/// Sliding window of a convolution or pooling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    /// Borders.
    pub(crate) padding: Padding,
    /// Step.
    pub(crate) stride: [usize; 2],
    /// Distance of taps.
    pub(crate) dilation: [usize; 2],
    /// Fused activation.
    pub(crate) clamp: Clamp,
}

/// `CONV_2D`.
pub(crate) fn conv_2d(op: &Operator<'_>) -> Result<Window> {
    let t = table(op, 1)?;
    Ok(Window {
        padding: padding(&t, 0)?,
        stride: [positive(&t, 2, 0)?, positive(&t, 1, 0)?],
        dilation: [positive(&t, 5, 1)?, positive(&t, 4, 1)?],
        clamp: clamp(&t, 3)?,
    })
}

/// `DEPTHWISE_CONV_2D`. The multiplier follows from the shapes, as every runtime takes it.
pub(crate) fn depthwise_conv_2d(op: &Operator<'_>) -> Result<Window> {
    let t = table(op, 2)?;
    Ok(Window {
        padding: padding(&t, 0)?,
        stride: [positive(&t, 2, 0)?, positive(&t, 1, 0)?],
        dilation: [positive(&t, 6, 1)?, positive(&t, 5, 1)?],
        clamp: clamp(&t, 4)?,
    })
}

/// `TRANSPOSE_CONV`.
pub(crate) fn transpose_conv(op: &Operator<'_>) -> Result<Window> {
    let t = table(op, 49)?;
    Ok(Window {
        padding: padding(&t, 0)?,
        stride: [positive(&t, 2, 0)?, positive(&t, 1, 0)?],
        dilation: [1, 1],
        clamp: clamp(&t, 3)?,
    })
}

/// `AVERAGE_POOL_2D` and `MAX_POOL_2D`: window and its size.
pub(crate) fn pool_2d(op: &Operator<'_>) -> Result<(Window, [usize; 2])> {
    let t = table(op, 5)?;
    let window = Window {
        padding: padding(&t, 0)?,
        stride: [positive(&t, 2, 0)?, positive(&t, 1, 0)?],
        dilation: [1, 1],
        clamp: clamp(&t, 5)?,
    };
    Ok((window, [positive(&t, 4, 0)?, positive(&t, 3, 0)?]))
}

/// `FULLY_CONNECTED`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FullyConnected {
    /// Fused activation.
    pub(crate) clamp: Clamp,
    /// The output keeps all dimensions of the input but the last.
    pub(crate) keep_num_dims: bool,
}

/// `FULLY_CONNECTED`.
pub(crate) fn fully_connected(op: &Operator<'_>) -> Result<FullyConnected> {
    let t = table(op, 8)?;
    if t.scalar(1, 0i8)? != 0 {
        return Err(Error::Unsupported("weights shuffled for one old CPU kernel (4x16 int8)".to_owned()));
    }
    Ok(FullyConnected { clamp: clamp(&t, 0)?, keep_num_dims: t.flag(2, false)? })
}

/// `SOFTMAX`: beta.
pub(crate) fn softmax(op: &Operator<'_>) -> Result<f32> {
    number(&table(op, 9)?, 0)
}

/// `CONCATENATION`: axis, activation.
pub(crate) fn concatenation(op: &Operator<'_>) -> Result<(i32, Clamp)> {
    let t = table(op, 10)?;
    Ok((t.scalar(0, 0)?, clamp(&t, 1)?))
}

/// Fused activation of `ADD`, `SUB`, `MUL`, `DIV`, `L2_NORMALIZATION`, all in the first slot.
pub(crate) fn arithmetic(op: &Operator<'_>) -> Result<Clamp> {
    match op.options_type {
        11 | 12 | 21 | 28 | 29 => clamp(&op.options, 0),
        _ => clamp(&table(op, 11)?, 0),
    }
}

/// `RESIZE_BILINEAR` and `RESIZE_NEAREST_NEIGHBOR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resize {
    /// Corner pixels keep their place.
    pub(crate) align_corners: bool,
    /// Pixels are areas, not points.
    pub(crate) half_pixel_centers: bool,
}

/// `RESIZE_BILINEAR`.
pub(crate) fn resize_bilinear(op: &Operator<'_>) -> Result<Resize> {
    let t = table(op, 15)?;
    Ok(Resize { align_corners: t.flag(2, false)?, half_pixel_centers: t.flag(3, false)? })
}

/// `RESIZE_NEAREST_NEIGHBOR`.
pub(crate) fn resize_nearest(op: &Operator<'_>) -> Result<Resize> {
    let t = table(op, 74)?;
    Ok(Resize { align_corners: t.flag(0, false)?, half_pixel_centers: t.flag(1, false)? })
}

/// `SPACE_TO_DEPTH`: block size.
pub(crate) fn space_to_depth(op: &Operator<'_>) -> Result<usize> {
    positive(&table(op, 19)?, 0, 0)
}

/// `DEPTH_TO_SPACE`: block size.
pub(crate) fn depth_to_space(op: &Operator<'_>) -> Result<usize> {
    positive(&table(op, 94)?, 0, 0)
}

/// `RESHAPE`: the shape when it is an attribute, empty when not.
pub(crate) fn reshape(op: &Operator<'_>) -> Result<Vec<i64>> {
    Ok(table(op, 17)?.vector::<i32>(0)?.iter().take(9).map(i64::from).collect())
}

/// `GATHER`: axis, batch dimensions.
pub(crate) fn gather(op: &Operator<'_>) -> Result<(i32, i32)> {
    let t = table(op, 23)?;
    Ok((t.scalar(0, 0)?, t.scalar(1, 0)?))
}

/// Reductions: whether reduced dimensions stay as 1.
pub(crate) fn reducer(op: &Operator<'_>) -> Result<bool> {
    Ok(table(op, 27)?.flag(0, false)?)
}

/// `SQUEEZE`: dimensions; none means all that are 1.
pub(crate) fn squeeze(op: &Operator<'_>) -> Result<Vec<i32>> {
    Ok(table(op, 30)?.vector::<i32>(0)?.iter().take(9).collect())
}

/// `STRIDED_SLICE`: bit masks by dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StridedSlice {
    /// Begin is ignored.
    pub(crate) begin: i32,
    /// End is ignored.
    pub(crate) end: i32,
    /// Stands for all dimensions not named.
    pub(crate) ellipsis: i32,
    /// Adds a dimension of 1.
    pub(crate) new_axis: i32,
    /// Takes one element and drops the dimension.
    pub(crate) shrink: i32,
    /// `end` counts from `begin`.
    pub(crate) offset: bool,
}

/// `STRIDED_SLICE`.
pub(crate) fn strided_slice(op: &Operator<'_>) -> Result<StridedSlice> {
    let t = table(op, 32)?;
    Ok(StridedSlice {
        begin: t.scalar(0, 0)?,
        end: t.scalar(1, 0)?,
        ellipsis: t.scalar(2, 0)?,
        new_axis: t.scalar(3, 0)?,
        shrink: t.scalar(4, 0)?,
        offset: t.flag(5, false)?,
    })
}

/// `PACK`: axis.
pub(crate) fn pack(op: &Operator<'_>) -> Result<i32> {
    Ok(table(op, 59)?.scalar(1, 0)?)
}

/// `UNPACK`: axis.
pub(crate) fn unpack(op: &Operator<'_>) -> Result<i32> {
    Ok(table(op, 64)?.scalar(1, 0)?)
}

/// `LEAKY_RELU`: slope below zero.
pub(crate) fn leaky_relu(op: &Operator<'_>) -> Result<f32> {
    number(&table(op, 75)?, 0)
}

/// `MIRROR_PAD`: true when the border itself is repeated (SYMMETRIC), false for REFLECT.
pub(crate) fn mirror_pad(op: &Operator<'_>) -> Result<bool> {
    match table(op, 77)?.scalar(0, 0i8)? {
        0 => Ok(false),
        1 => Ok(true),
        mode => Err(Error::ModelInvalid(format!("mirror pad mode {mode}"))),
    }
}

/// `BATCH_MATMUL`: whether the operands are transposed.
pub(crate) fn batch_matmul(op: &Operator<'_>) -> Result<(bool, bool)> {
    let t = table(op, 101)?;
    Ok((t.flag(0, false)?, t.flag(1, false)?))
}

/// `GELU`: whether the tanh approximation is asked for.
pub(crate) fn gelu(op: &Operator<'_>) -> Result<bool> {
    Ok(table(op, 116)?.flag(0, false)?)
}

/// LSTMs over sequences and of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lstm {
    /// The cell state is clamped to ± this; 0 means not at all.
    pub(crate) cell_clip: f32,
    /// The same of the projected output.
    pub(crate) projection_clip: f32,
    /// Time is the first dimension, batch the second.
    pub(crate) time_major: bool,
    /// Activations are quantised with a zero point where weights alone are int8.
    pub(crate) asymmetric: bool,
    /// Both directions of a bidirectional one are one result.
    pub(crate) merged: bool,
}

/// `LSTM`, of the kind with all operands.
pub(crate) fn lstm(op: &Operator<'_>) -> Result<Lstm> {
    let t = table(op, 14)?;
    if t.scalar(3, 0i8)? != 0 {
        return Err(Error::Unsupported("an LSTM of the old basic kind".to_owned()));
    }
    lstm_of(&t, None, t.flag(4, false)?, false)
}

/// `UNIDIRECTIONAL_SEQUENCE_LSTM`.
pub(crate) fn sequence_lstm(op: &Operator<'_>) -> Result<Lstm> {
    let t = table(op, 71)?;
    if t.flag(5, false)? {
        return Err(Error::Unsupported("diagonal recurrent weights".to_owned()));
    }
    lstm_of(&t, Some((3, false)), t.flag(4, false)?, false)
}

/// `BIDIRECTIONAL_SEQUENCE_LSTM`.
pub(crate) fn bidirectional_lstm(op: &Operator<'_>) -> Result<Lstm> {
    let t = table(op, 69)?;
    lstm_of(&t, Some((4, true)), t.flag(5, false)?, t.flag(3, false)?)
}

/// `time_major` is its slot and what it is unless stated.
fn lstm_of(t: &Table<'_>, time_major: Option<(usize, bool)>, asymmetric: bool, merged: bool) -> Result<Lstm> {
    match t.scalar(0, 0i8)? {
        // The activation is that of the cell; every converter writes tanh.
        0 | 4 => {}
        other => return Err(Error::Unsupported(format!("cell activation {other}, only tanh is done"))),
    }
    let time_major = time_major.map_or(Ok(false), |(slot, default)| t.flag(slot, default))?;
    Ok(Lstm { cell_clip: number(t, 1)?, projection_clip: number(t, 2)?, time_major, asymmetric, merged })
}

/// Simple recurrent networks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rnn {
    /// As of [`Lstm`].
    pub(crate) time_major: bool,
    /// As of [`Lstm`].
    pub(crate) asymmetric: bool,
    /// As of [`Lstm`].
    pub(crate) merged: bool,
    /// Range of the state; `None` means tanh.
    pub(crate) clamp: Option<Clamp>,
}

/// `RNN`.
pub(crate) fn rnn(op: &Operator<'_>) -> Result<Rnn> {
    let t = table(op, 7)?;
    Ok(Rnn { time_major: false, asymmetric: t.flag(1, false)?, merged: false, clamp: bounded(&t, 0)? })
}

/// `UNIDIRECTIONAL_SEQUENCE_RNN`.
pub(crate) fn sequence_rnn(op: &Operator<'_>) -> Result<Rnn> {
    let t = table(op, 31)?;
    let (time_major, asymmetric) = (t.flag(0, false)?, t.flag(2, false)?);
    Ok(Rnn { time_major, asymmetric, merged: false, clamp: bounded(&t, 1)? })
}

/// `BIDIRECTIONAL_SEQUENCE_RNN`.
pub(crate) fn bidirectional_rnn(op: &Operator<'_>) -> Result<Rnn> {
    let t = table(op, 70)?;
    let (time_major, asymmetric) = (t.flag(0, false)?, t.flag(3, false)?);
    Ok(Rnn { time_major, asymmetric, merged: t.flag(2, false)?, clamp: bounded(&t, 1)? })
}

/// An activation that may be tanh.
fn bounded(t: &Table<'_>, slot: usize) -> Result<Option<Clamp>> {
    if t.scalar(slot, 0i8)? == 4 { Ok(None) } else { clamp(t, slot).map(Some) }
}

/// `SVDF`: rank, activation, whether activations are quantised with a zero point where weights alone are int8.
pub(crate) fn svdf(op: &Operator<'_>) -> Result<(usize, Clamp, bool)> {
    let t = table(op, 6)?;
    Ok((positive(&t, 0, 0)?, clamp(&t, 1)?, t.flag(2, false)?))
}

/// `ONE_HOT`: axis.
pub(crate) fn one_hot(op: &Operator<'_>) -> Result<i32> {
    Ok(table(op, 61)?.scalar(0, 0)?)
}

/// `BUCKETIZE`: boundaries.
pub(crate) fn bucketize(op: &Operator<'_>) -> Result<Vec<f32>> {
    Ok(table(op, 115)?.vector::<f32>(0)?.iter().collect())
}

/// `CUMSUM`: whether the element itself is left out, and whether it runs from the end.
pub(crate) fn cumsum(op: &Operator<'_>) -> Result<(bool, bool)> {
    let t = table(op, 102)?;
    Ok((t.flag(0, false)?, t.flag(1, false)?))
}

/// `REVERSE_SEQUENCE`: dimensions of the sequence and of the batch.
pub(crate) fn reverse_sequence(op: &Operator<'_>) -> Result<(i32, i32)> {
    let t = table(op, 87)?;
    Ok((t.scalar(0, 0)?, t.scalar(1, 0)?))
}

/// `LOCAL_RESPONSE_NORMALIZATION`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LocalResponse {
    /// Channels on either side.
    pub(crate) radius: usize,
    /// What is added.
    pub(crate) bias: f32,
    /// Weight of the sum of squares.
    pub(crate) alpha: f32,
    /// The power.
    pub(crate) beta: f32,
}

/// `LOCAL_RESPONSE_NORMALIZATION`.
pub(crate) fn local_response(op: &Operator<'_>) -> Result<LocalResponse> {
    let t = table(op, 13)?;
    let radius = t.scalar(0, 0i32)?;
    let radius = usize::try_from(radius).map_err(|_| Error::ModelInvalid(format!("a radius of {radius}")))?;
    Ok(LocalResponse { radius, bias: number(&t, 1)?, alpha: number(&t, 2)?, beta: number(&t, 3)? })
}

/// `CONV_3D`: depth, height, width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Conv3d {
    /// Borders.
    pub(crate) padding: Padding,
    /// Step.
    pub(crate) stride: [usize; 3],
    /// Distance of taps.
    pub(crate) dilation: [usize; 3],
    /// Fused activation.
    pub(crate) clamp: Clamp,
}

/// `CONV_3D` and `CONV_3D_TRANSPOSE`.
pub(crate) fn conv_3d(op: &Operator<'_>) -> Result<Conv3d> {
    let t = table(op, 106)?;
    Ok(Conv3d {
        padding: padding(&t, 0)?,
        stride: [positive(&t, 1, 0)?, positive(&t, 3, 0)?, positive(&t, 2, 0)?],
        dilation: [positive(&t, 5, 1)?, positive(&t, 7, 1)?, positive(&t, 6, 1)?],
        clamp: clamp(&t, 4)?,
    })
}

/// `IF`: subgraphs where the condition holds and where it does not.
pub(crate) fn if_(op: &Operator<'_>) -> Result<[usize; 2]> {
    let t = table(op, 92)?;
    Ok([subgraph(&t, 0)?, subgraph(&t, 1)?])
}

/// `WHILE`: subgraphs of condition and body.
pub(crate) fn while_(op: &Operator<'_>) -> Result<[usize; 2]> {
    let t = table(op, 93)?;
    Ok([subgraph(&t, 0)?, subgraph(&t, 1)?])
}

/// `CALL`: the subgraph.
pub(crate) fn call(op: &Operator<'_>) -> Result<usize> {
    subgraph(&table(op, 16)?, 0)
}

/// `CALL_ONCE`: the subgraph.
pub(crate) fn call_once(op: &Operator<'_>) -> Result<usize> {
    subgraph(&table(op, 103)?, 0)
}

/// `VAR_HANDLE`: the variable's name.
pub(crate) fn var_handle(op: &Operator<'_>) -> Result<Vec<u8>> {
    let t = table(op, 111)?;
    let part = |slot| Ok::<_, Error>(t.bytes(slot)?.unwrap_or_default());
    Ok([part(0)?, &[0], part(1)?].concat())
}

/// `FAKE_QUANT`: least and largest number, bits.
pub(crate) fn fake_quant(op: &Operator<'_>) -> Result<(f32, f32, u32)> {
    let t = table(op, 58)?;
    let (min, max, bits) = (number(&t, 0)?, number(&t, 1)?, t.scalar(2, 0i32)?);
    if t.flag(3, false)? {
        return Err(Error::Unsupported(
            "a range without its lowest number: LiteRT refuses it as well".to_owned(),
        ));
    }
    let bits = u32::try_from(bits).ok().filter(|bits| (2..=16).contains(bits));
    match bits {
        Some(bits) if min <= 0.0 && max >= 0.0 && min < max && (max - min).is_finite() => {
            Ok((min, max, bits))
        }
        _ => Err(Error::ModelInvalid(format!("numbers from {min} to {max} in {bits:?} bits"))),
    }
}

/// What `REDUCE_WINDOW` does with the elements of a window.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Windowed {
    Add,
    Mul,
    Min,
    Max,
    All,
    Any,
}

/// `REDUCE_WINDOW`.
pub(crate) fn reduce_window(op: &Operator<'_>) -> Result<Windowed> {
    if op.options_2_type != 20 {
        return Err(Error::ModelInvalid(format!("options of kind {} where 20 belongs", op.options_2_type)));
    }
    Ok(match op.options_2.scalar(0, 0i32)? {
        1 => Windowed::Add,
        2 => Windowed::Mul,
        3 => Windowed::Min,
        4 => Windowed::Max,
        5 => Windowed::All,
        6 => Windowed::Any,
        other => return Err(Error::ModelInvalid(format!("function {other} of a window"))),
    })
}

fn subgraph(t: &Table<'_>, slot: usize) -> Result<usize> {
    let index = t.scalar(slot, 0i32)?;
    usize::try_from(index).map_err(|_| Error::ModelInvalid(format!("subgraph {index}")))
}

/// The options of an operator when they are of the kind it should have; none at all are all defaults.
fn table<'a>(op: &Operator<'a>, kind: u8) -> Result<Table<'a>> {
    match op.options_type {
        0 => Ok(Table::EMPTY),
        k if k == kind => Ok(op.options),
        k => Err(Error::ModelInvalid(format!("options of kind {k} where {kind} belongs"))),
    }
}

fn positive(t: &Table<'_>, slot: usize, default: i32) -> Result<usize> {
    let value = t.scalar(slot, default)?;
    let positive = usize::try_from(value).ok().filter(|v| *v > 0);
    positive.ok_or_else(|| Error::ModelInvalid(format!("a stride, dilation or size of {value}")))
}

fn number(t: &Table<'_>, slot: usize) -> Result<f32> {
    let value = t.scalar(slot, 0f32)?;
    if value.is_finite() { Ok(value) } else { Err(Error::ModelInvalid(format!("an attribute of {value}"))) }
}

fn padding(t: &Table<'_>, slot: usize) -> Result<Padding> {
    match t.scalar(slot, 0i8)? {
        0 => Ok(Padding::Same),
        1 => Ok(Padding::Valid),
        other => Err(Error::ModelInvalid(format!("padding {other}"))),
    }
}

fn clamp(t: &Table<'_>, slot: usize) -> Result<Clamp> {
    match t.scalar(slot, 0i8)? {
        0 => Ok((f32::NEG_INFINITY, f32::INFINITY)),
        1 => Ok((0.0, f32::INFINITY)),
        2 => Ok((-1.0, 1.0)),
        3 => Ok((0.0, 6.0)),
        4 => Err(Error::Unsupported("fused activation TANH".to_owned())),
        5 => Err(Error::Unsupported("fused activation SIGN_BIT".to_owned())),
        other => Err(Error::ModelInvalid(format!("fused activation {other}"))),
    }
}
