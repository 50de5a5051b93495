//! The closed set of operators. An operator is a file and a line in the list below: a struct of its
//! attributes, the shape rule, and the preparation of a step that computes it.

mod activation;
mod body;
#[cfg(test)]
mod conv_tests;
mod depthwise;
mod hybrid_lstm;
mod product;
mod quantized_binary;
mod quantized_lstm;
mod quantized_mat_mul;
mod quantized_softmax;
mod quantized_transpose_conv;
mod quantized_unary;
pub mod window;
pub mod window_nd;

use super::graph::Fact;
use super::kernels::Tier;
use super::kernels::nest::{Nest, SharedNest};
use super::kernels::threads::Threads;
use super::step::Step;
use super::tensor::Tensor;
use crate::{Error, Result};
pub use activation::Clamp;
pub use binary::BinaryKind;
pub use bitwise::BitwiseKind;
pub use body::Body;
pub use compare::CompareKind;
pub use conv2d::Dynamic;
pub use grid_sample::{Outside, Sampling};
pub use pad::PadMode;
pub use pool_nd::PoolNdKind;
pub use pool2d::PoolKind;
pub use recurrent::{Direction, RecurrentKind};
pub use reduce::ReduceKind;
pub use resample::Mix;
pub(crate) use resample::cubic;
pub use resize::{Coordinates, ResizeMode};
pub use scatter::{Reduction, ScatterKind};
pub use sequence_lstm::LstmStates;
pub use slice::SliceRange;
pub use unary::UnaryKind;
pub use window::Window;
pub use window_nd::WindowNd;

/// An operand as the shape rule and the preparation see it.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// Type, shape, quantisation.
    pub fact: &'a Fact,
    /// Elements, when they are known.
    pub constant: Option<&'a Tensor>,
}

/// What a step is prepared for.
#[derive(Clone, Copy, Debug)]
pub struct Prepare<'a> {
    /// Operands.
    pub inputs: &'a [Operand<'a>],
    /// Results, shapes as [`Operator::infer`] gave them.
    pub outputs: &'a [Fact],
    /// Kernels to use.
    pub tier: Tier,
    /// Threads to use.
    pub threads: &'a Threads,
    /// Whose quantised arithmetic to reproduce.
    pub dialect: Dialect,
}

/// Whose quantised arithmetic a graph's numbers come from: the formats define real arithmetic and leave
/// roundings to their runtimes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// LiteRT with XNNPACK.
    #[default]
    Tflite,
    /// ONNX Runtime.
    Onnx,
}

/// What every operator does.
pub trait Operator {
    /// Name of the operator in profiles and messages.
    fn name(&self) -> &'static str;

    /// Facts of the outputs. `dtype` and `quant` are what the operator gives when nobody asks for
    /// another type: `f32` for arithmetic, the first operand's for what only moves elements.
    ///
    /// # Errors
    /// Operands that do not fit together.
    fn infer(&self, inputs: &[Operand<'_>]) -> Result<Vec<Fact>>;

    /// Everything that can be done before the first invoke, and the step that then runs.
    ///
    /// `Ok(None)` means: not for these types. The graph then goes through f32 where operands or results
    /// are quantised, which the proof reports, and is refused otherwise. Every operator that computes
    /// with reals must do all-f32 operands.
    ///
    /// # Errors
    /// Attributes or operands that no kernel does.
    fn prepare(&self, on: &Prepare<'_>) -> Result<Option<Step>>;

    /// Elementary operations of one evaluation, roughly: bounds constant folding.
    fn work(&self, inputs: &[Operand<'_>], outputs: &[Fact]) -> u64 {
        let count = |n: usize| n as u64;
        let read: u64 = inputs.iter().map(|i| count(i.fact.len())).sum();
        read + outputs.iter().map(|o| count(o.len())).sum::<u64>()
    }
}

macro_rules! operators {
    ($($module:ident :: $name:ident),* $(,)?) => {
        $(mod $module;)*
        $(pub use $module::$name;)*

        /// Any operator.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Op { $(
            #[doc = concat!("See [`", stringify!($name), "`].")]
            $name($name),
        )* }

        impl std::ops::Deref for Op {
            type Target = dyn Operator;
            fn deref(&self) -> &Self::Target {
                match self { $(Self::$name(op) => op,)* }
            }
        }

        $(impl From<$name> for Op {
            fn from(op: $name) -> Self {
                Self::$name(op)
            }
        })*
    };
}

operators! {
    binary::Binary,
    bitwise::Bitwise,
    branch::Branch,
    cast::Cast,
    clip::Clip,
    col2im::Col2Im,
    compare::Compare,
    concat::Concat,
    conv2d::Conv2d,
    conv_nd::ConvNd,
    cum_sum::CumSum,
    deform_conv::DeformConv,
    depthwise_conv2d::DepthwiseConv2d,
    det::Det,
    detections::Detections,
    dft::Dft,
    dynamic_quantize::DynamicQuantize,
    dynamic_slice::DynamicSlice,
    dynamic_update::DynamicUpdate,
    expand::Expand,
    fully_connected::FullyConnected,
    fused_conv2d::FusedConv2d,
    gather::Gather,
    gather_elements::GatherElements,
    gather_nd::GatherNd,
    grid_sample::GridSample,
    landmark_matrix::LandmarkMatrix,
    local_response::LocalResponse,
    mat_mul::MatMul,
    non_max_suppression::NonMaxSuppression,
    pad::Pad,
    pool2d::Pool2d,
    pool_nd::PoolNd,
    prelu::Prelu,
    recurrent::Recurrent,
    reduce::Reduce,
    reinterpret::Reinterpret,
    repeat::Repeat,
    requantize::Requantize,
    resample::Resample,
    reshape::Reshape,
    resize::Resize,
    roi_align::RoiAlign,
    scatter::Scatter,
    select::Select,
    sequence_lstm::SequenceLstm,
    sequence_rnn::SequenceRnn,
    slice::Slice,
    softmax::Softmax,
    svdf::Svdf,
    top_k::TopK,
    transpose::Transpose,
    transpose_conv2d::TransposeConv2d,
    unary::Unary,
    warp::Warp,
}

/// Whether a node with constant operands may be computed while the graph is built.
pub(crate) fn foldable(op: &Op) -> bool {
    match op {
        // What keeps a state gives another result every time.
        Op::SequenceLstm(_) | Op::SequenceRnn(_) | Op::Svdf(_) => false,
        // How long a loop runs is not known.
        Op::Repeat(_) => false,
        _ => true,
    }
}

/// The operands, when there are between `min` and `max`.
///
/// # Errors
/// There are not.
pub(crate) fn arity(inputs: &[Operand<'_>], min: usize, max: usize) -> Result<()> {
    if (min..=max).contains(&inputs.len()) {
        return Ok(());
    }
    Err(Error::ModelInvalid(format!("{} operands, {min} to {max} are needed", inputs.len())))
}

/// A step that copies whole elements of one operand, whatever their type; `None` when the result is to
/// have another type or quantisation.
pub(crate) fn mover(label: &'static str, on: &Prepare<'_>, nest: Nest<1>) -> Option<Step> {
    let (from, to) = (on.inputs[0].fact, &on.outputs[0]);
    if from.as_output() != to.as_output() && !same_elements(from, to) {
        return None;
    }
    let nest = SharedNest::new(nest, to.len(), on.threads);
    Some(match from.dtype.size() {
        1 => Step::map(label, move |x: &[u8], y: &mut [u8]| nest.copy(x, y)),
        2 => Step::map(label, move |x: &[u16], y: &mut [u16]| nest.copy(x, y)),
        4 => Step::map(label, move |x: &[u32], y: &mut [u32]| nest.copy(x, y)),
        _ => Step::map(label, move |x: &[u64], y: &mut [u64]| nest.copy(x, y)),
    })
}

/// Whether elements mean the same in both: one type, and one quantisation per tensor or none.
pub(crate) fn same_elements(a: &Fact, b: &Fact) -> bool {
    a.dtype == b.dtype && a.per_tensor() == b.per_tensor() && a.quant.is_some() == b.quant.is_some()
}

/// Shape of two operands broadcast against each other, aligned at the last dimension.
///
/// # Errors
/// Dimensions that differ and are not 1.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |k| s[k]);
    let dimension = |i: usize| match (at(a, i), at(b, i)) {
        (x, y) if x == y || y == 1 => Ok(x),
        (1, y) => Ok(y),
        _ => Err(Error::ModelInvalid(format!("shapes {a:?} and {b:?} cannot be broadcast"))),
    };
    (0..rank).map(dimension).collect()
}
