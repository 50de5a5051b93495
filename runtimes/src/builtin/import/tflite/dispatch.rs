//! Which function imports which operator.

use super::importer::Importer;
use super::schema::Operator;
use crate::builtin::ops::{
    BinaryKind, BitwiseKind, Clamp, CompareKind, PoolKind, ReduceKind, Reduction, UnaryKind,
};
use crate::{Error, Result};

impl Importer<'_, '_> {
    /// Adds the nodes of an operator.
    pub(super) fn operator(&mut self, op: &Operator<'_>) -> Result<()> {
        let name = self.model.operator_name(op);
        self.named(op, &name)
    }

    fn named(&mut self, op: &Operator<'_>, name: &str) -> Result<()> {
        match name {
            "CONV_2D" => self.conv_2d(op),
            "DEPTHWISE_CONV_2D" => self.depthwise_conv_2d(op),
            "TRANSPOSE_CONV" => self.transpose_conv(op),
            "FULLY_CONNECTED" => self.fully_connected(op),
            "BATCH_MATMUL" => self.batch_matmul(op),
            "LSTM" => self.lstm(op),
            "UNIDIRECTIONAL_SEQUENCE_LSTM" => self.sequence_lstm(op),
            "BIDIRECTIONAL_SEQUENCE_LSTM" => self.bidirectional_lstm(op),
            "RNN" => self.rnn(op),
            "UNIDIRECTIONAL_SEQUENCE_RNN" => self.sequence_rnn(op),
            "BIDIRECTIONAL_SEQUENCE_RNN" => self.bidirectional_rnn(op),
            "SVDF" => self.svdf(op),
            "AVERAGE_POOL_2D" => self.pool_2d(op, PoolKind::Average),
            "MAX_POOL_2D" => self.pool_2d(op, PoolKind::Max),
            "SOFTMAX" => self.softmax(op),
            "LOG_SOFTMAX" => self.log_softmax(op),
            "QUANTIZE" | "DEQUANTIZE" => self.requantize(op),
            "CAST" => self.cast(op),
            "DENSIFY" => self.densify(op),
            "ADD_N" => self.add_n(op),
            "PRELU" => self.prelu(op),
            "LEAKY_RELU" => self.leaky_relu(op),
            "GELU" => self.gelu(op),
            "SELECT" | "SELECT_V2" => self.select(op),
            "L2_NORMALIZATION" => self.l2_normalization(op),
            "LOCAL_RESPONSE_NORMALIZATION" => self.local_response(op),
            "CONV_3D" => self.conv_3d(op),
            "CONV_3D_TRANSPOSE" => self.conv_3d_transpose(op),
            "BITWISE_XOR" => self.bitwise(op, BitwiseKind::Xor),
            "RIGHT_SHIFT" => self.bitwise(op, BitwiseKind::ShiftRightHeld),
            "FAKE_QUANT" => self.fake_quant(op),
            "ATAN2" => self.binary(op, BinaryKind::Atan2),
            "L2_POOL_2D" => self.l2_pool_2d(op),
            "ARG_MAX" => self.arg_reduce(op, ReduceKind::ArgMax),
            "ARG_MIN" => self.arg_reduce(op, ReduceKind::ArgMin),
            name => self.elementwise(op, name),
        }
    }

    /// Operators of one or two operands, element by element, and reductions.
    fn elementwise(&mut self, op: &Operator<'_>, name: &str) -> Result<()> {
        match name {
            "ADD" => self.binary(op, BinaryKind::Add),
            "SUB" => self.binary(op, BinaryKind::Sub),
            "MUL" => self.binary(op, BinaryKind::Mul),
            "DIV" => self.binary(op, BinaryKind::Div),
            "MAXIMUM" => self.binary(op, BinaryKind::Max),
            "MINIMUM" => self.binary(op, BinaryKind::Min),
            "POW" => self.binary(op, BinaryKind::Pow),
            "SQUARED_DIFFERENCE" => self.binary(op, BinaryKind::SquaredDifference),
            "FLOOR_DIV" => self.binary(op, BinaryKind::FloorDiv),
            "FLOOR_MOD" => self.binary(op, BinaryKind::FloorMod),
            "RELU" => self.clip(op, Clamp::RELU),
            "RELU6" => self.clip(op, Clamp::RELU6),
            "RELU_N1_TO_1" => self.clip(op, Clamp::RELU_N1_TO_1),
            "RELU_0_TO_1" => self.clip(op, Clamp { min: 0.0, max: 1.0 }),
            "MEAN" => self.reduce(op, ReduceKind::Mean),
            "SUM" => self.reduce(op, ReduceKind::Sum),
            "REDUCE_MAX" => self.reduce(op, ReduceKind::Max),
            "REDUCE_MIN" => self.reduce(op, ReduceKind::Min),
            "REDUCE_PROD" => self.reduce(op, ReduceKind::Prod),
            "REDUCE_ALL" => self.reduce(op, ReduceKind::All),
            "REDUCE_ANY" => self.reduce(op, ReduceKind::Any),
            "EQUAL" => self.compare(op, CompareKind::Equal),
            "NOT_EQUAL" => self.compare(op, CompareKind::NotEqual),
            "LESS" => self.compare(op, CompareKind::Less),
            "LESS_EQUAL" => self.compare(op, CompareKind::LessEqual),
            "GREATER" => self.compare(op, CompareKind::Greater),
            "GREATER_EQUAL" => self.compare(op, CompareKind::GreaterEqual),
            "LOGICAL_AND" => self.compare(op, CompareKind::And),
            "LOGICAL_OR" => self.compare(op, CompareKind::Or),
            name => match unary(name) {
                Some(kind) => self.unary(op, kind),
                None => self.layout(op, name),
            },
        }
    }

    /// Operators that move elements.
    fn layout(&mut self, op: &Operator<'_>, name: &str) -> Result<()> {
        match name {
            "RESHAPE" => self.reshape(op),
            "SQUEEZE" => self.squeeze(op),
            "EXPAND_DIMS" => self.expand_dims(op),
            "TRANSPOSE" => self.transpose(op),
            "PAD" | "PADV2" => self.pad(op),
            "MIRROR_PAD" => self.mirror_pad(op),
            "CONCATENATION" => self.concatenation(op),
            "PACK" => self.pack(op),
            "UNPACK" => self.unpack(op),
            "SPLIT" => self.split(op),
            "SPLIT_V" => self.split_v(op),
            "SLICE" => self.slice(op),
            "STRIDED_SLICE" => self.strided_slice(op),
            "GATHER" => self.gather(op),
            "EMBEDDING_LOOKUP" => self.embedding_lookup(op),
            "BROADCAST_TO" => self.broadcast_to(op),
            "TILE" => self.tile(op),
            "RESIZE_BILINEAR" => self.resize(op, true),
            "RESIZE_NEAREST_NEIGHBOR" => self.resize(op, false),
            "SPACE_TO_DEPTH" => self.space_to_depth(op, false),
            "DEPTH_TO_SPACE" => self.space_to_depth(op, true),
            "SPACE_TO_BATCH_ND" => self.space_to_batch(op),
            "BATCH_TO_SPACE_ND" => self.batch_to_space(op),
            "REVERSE_V2" => self.reverse(op),
            "RANGE" => self.range(op),
            "SHAPE" => self.shape_of(op),
            "RANK" => self.rank(op),
            "FILL" => self.fill(op),
            "ZEROS_LIKE" => self.zeros_like(op),
            "IF" => self.if_(op),
            "WHILE" => self.while_(op),
            "CALL" => self.call(op),
            "CALL_ONCE" => self.call_once(op),
            "VAR_HANDLE" => self.var_handle(op),
            "READ_VARIABLE" => self.read_variable(op),
            "ASSIGN_VARIABLE" => self.assign_variable(op),
            "ONE_HOT" => self.one_hot(op),
            "TOPK_V2" => self.top_k(op),
            "GATHER_ND" => self.gather_nd(op),
            "SCATTER_ND" => self.scatter_nd(op),
            "SPARSE_TO_DENSE" => self.sparse_to_dense(op),
            "SEGMENT_SUM" | "UNSORTED_SEGMENT_SUM" => self.segments(op, Reduction::Add),
            "UNSORTED_SEGMENT_PROD" => self.segments(op, Reduction::Mul),
            "UNSORTED_SEGMENT_MAX" => self.segments(op, Reduction::Max),
            "UNSORTED_SEGMENT_MIN" => self.segments(op, Reduction::Min),
            "CUMSUM" => self.cumsum(op),
            "REVERSE_SEQUENCE" => self.reverse_sequence(op),
            "WHERE" => self.where_(op),
            "UNIQUE" => self.unique(op),
            "MATRIX_DIAG" => self.matrix_diag(op),
            "MATRIX_SET_DIAG" => self.matrix_set_diag(op),
            "BUCKETIZE" => self.bucketize(op),
            "BROADCAST_ARGS" => self.broadcast_args(op),
            "NON_MAX_SUPPRESSION_V4" => self.non_max_suppression(op, false),
            "NON_MAX_SUPPRESSION_V5" => self.non_max_suppression(op, true),
            "RFFT2D" => self.rfft(op),
            "REAL" => self.part_of_complex(op, 0),
            "IMAG" => self.part_of_complex(op, 1),
            "COMPLEX_ABS" => self.complex_abs(op),
            "BITCAST" => self.bitcast(op),
            "DILATE" => self.dilate(op),
            "REDUCE_WINDOW" => self.reduce_window(op),
            "DYNAMIC_UPDATE_SLICE" => self.dynamic_update_slice(op),
            name if name.starts_with("CUSTOM") => self.custom(op, name),
            _ => Err(Error::Unsupported("this operator is not in the built-in engine".to_owned())),
        }
    }

    /// Constant data that is stored sparse was made dense when it was read.
    fn densify(&mut self, op: &Operator<'_>) -> Result<()> {
        let x = self.operand(op, 0)?;
        self.moved(op, 0, x)
    }
}

/// Functions of one number without attributes.
fn unary(name: &str) -> Option<UnaryKind> {
    Some(match name {
        "ABS" => UnaryKind::Abs,
        "NEG" => UnaryKind::Neg,
        "EXP" => UnaryKind::Exp,
        "LOG" => UnaryKind::Log,
        "SQRT" => UnaryKind::Sqrt,
        "RSQRT" => UnaryKind::Rsqrt,
        "SQUARE" => UnaryKind::Square,
        "SIN" => UnaryKind::Sin,
        "COS" => UnaryKind::Cos,
        "TANH" => UnaryKind::Tanh,
        "LOGISTIC" => UnaryKind::Logistic,
        "HARD_SWISH" => UnaryKind::HardSwish,
        "ELU" => UnaryKind::Elu { alpha: 1.0 },
        "FLOOR" => UnaryKind::Floor,
        "CEIL" => UnaryKind::Ceil,
        "ROUND" => UnaryKind::Round,
        "SIGN" => UnaryKind::Sign,
        "LOGICAL_NOT" => UnaryKind::Not,
        _ => return None,
    })
}

/// Operators of the schema that are read.
#[cfg(test)]
pub(in super::super) fn operators() -> Vec<String> {
    let (all, missing) = tests::known();
    all.into_iter().filter(|name| !missing.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::graph::Graph;
    use crate::builtin::import::tflite::control::Control;
    use crate::builtin::import::tflite::flat::Table;
    use crate::builtin::import::tflite::opcodes::operator_name;
    use crate::builtin::import::tflite::schema::Model;

    /// Operators of the schema, and those of them that are not read: they answer that they are not.
    pub(super) fn known() -> (Vec<String>, Vec<String>) {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = std::fs::read(root.join("../suites/models/fashion_dscnn/model_fp32.tflite")).unwrap();
        let model = Model::read(&file).unwrap();
        let empty = Operator {
            opcode: 0,
            inputs: Vec::new(),
            outputs: Vec::new(),
            options_type: 0,
            options: Table::EMPTY,
            options_2_type: 0,
            options_2: Table::EMPTY,
            custom_options: &[],
            intermediates: Vec::new(),
        };
        // Placeholders of the schema itself.
        let no_operators = ["CUSTOM()", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES"];
        let names =
            (0..).map(|code| operator_name(code, None)).take_while(|name| !name.starts_with("OPERATOR_"));
        let all: Vec<String> = names.filter(|n| !no_operators.contains(&n.as_str())).collect();
        let missing = |name: &&String| {
            let mut importer = Importer::new(&model, &model.subgraphs[0], Graph::new(), Control::default());
            let error = importer.named(&empty, name).err().map(|e| e.to_string()).unwrap_or_default();
            error.contains("not in the built-in engine")
        };
        let missing = all.iter().filter(missing).cloned().collect();
        (all, missing)
    }

    #[test]
    fn the_operators_that_are_missing_are_named() {
        let (all, missing) = known();
        let (stablehlo, others): (Vec<&String>, _) = all.iter().partition(|n| n.starts_with("STABLEHLO_"));
        let missing: Vec<&str> = others.iter().filter(|n| missing.contains(n)).map(|n| n.as_str()).collect();
        let wrapped = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let line = format!(
            "{} of the {} operators of the schema are read, and none of its {} `STABLEHLO_` ones. Not read: {}.",
            others.len() - missing.len(),
            others.len(),
            stablehlo.len(),
            missing.join(", ")
        );
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let numerics = std::fs::read_to_string(root.join("NUMERICS.md")).unwrap();
        assert!(wrapped(&numerics).contains(&line), "runtimes/NUMERICS.md is to say: {line}");
    }
}
