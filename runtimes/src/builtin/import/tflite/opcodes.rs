//! The numbers that a TFLite file gives to operators and element types, and their names.

use protocol::DType;

/// Names of the built-in operators, in the order of their codes (schema version 3).
const OPERATORS: &[&str] = &[
    "ADD",
    "AVERAGE_POOL_2D",
    "CONCATENATION",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "DEPTH_TO_SPACE",
    "DEQUANTIZE",
    "EMBEDDING_LOOKUP",
    "FLOOR",
    "FULLY_CONNECTED",
    "HASHTABLE_LOOKUP",
    "L2_NORMALIZATION",
    "L2_POOL_2D",
    "LOCAL_RESPONSE_NORMALIZATION",
    "LOGISTIC",
    "LSH_PROJECTION",
    "LSTM",
    "MAX_POOL_2D",
    "MUL",
    "RELU",
    "RELU_N1_TO_1",
    "RELU6",
    "RESHAPE",
    "RESIZE_BILINEAR",
    "RNN",
    "SOFTMAX",
    "SPACE_TO_DEPTH",
    "SVDF",
    "TANH",
    "CONCAT_EMBEDDINGS",
    "SKIP_GRAM",
    "CALL",
    "CUSTOM",
    "EMBEDDING_LOOKUP_SPARSE",
    "PAD",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
    "GATHER",
    "BATCH_TO_SPACE_ND",
    "SPACE_TO_BATCH_ND",
    "TRANSPOSE",
    "MEAN",
    "SUB",
    "DIV",
    "SQUEEZE",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "STRIDED_SLICE",
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "EXP",
    "TOPK_V2",
    "SPLIT",
    "LOG_SOFTMAX",
    "DELEGATE",
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "CAST",
    "PRELU",
    "MAXIMUM",
    "ARG_MAX",
    "MINIMUM",
    "LESS",
    "NEG",
    "PADV2",
    "GREATER",
    "GREATER_EQUAL",
    "LESS_EQUAL",
    "SELECT",
    "SLICE",
    "SIN",
    "TRANSPOSE_CONV",
    "SPARSE_TO_DENSE",
    "TILE",
    "EXPAND_DIMS",
    "EQUAL",
    "NOT_EQUAL",
    "LOG",
    "SUM",
    "SQRT",
    "RSQRT",
    "SHAPE",
    "POW",
    "ARG_MIN",
    "FAKE_QUANT",
    "REDUCE_PROD",
    "REDUCE_MAX",
    "PACK",
    "LOGICAL_OR",
    "ONE_HOT",
    "LOGICAL_AND",
    "LOGICAL_NOT",
    "UNPACK",
    "REDUCE_MIN",
    "FLOOR_DIV",
    "REDUCE_ANY",
    "SQUARE",
    "ZEROS_LIKE",
    "FILL",
    "FLOOR_MOD",
    "RANGE",
    "RESIZE_NEAREST_NEIGHBOR",
    "LEAKY_RELU",
    "SQUARED_DIFFERENCE",
    "MIRROR_PAD",
    "ABS",
    "SPLIT_V",
    "UNIQUE",
    "CEIL",
    "REVERSE_V2",
    "ADD_N",
    "GATHER_ND",
    "COS",
    "WHERE",
    "RANK",
    "ELU",
    "REVERSE_SEQUENCE",
    "MATRIX_DIAG",
    "QUANTIZE",
    "MATRIX_SET_DIAG",
    "ROUND",
    "HARD_SWISH",
    "IF",
    "WHILE",
    "NON_MAX_SUPPRESSION_V4",
    "NON_MAX_SUPPRESSION_V5",
    "SCATTER_ND",
    "SELECT_V2",
    "DENSIFY",
    "SEGMENT_SUM",
    "BATCH_MATMUL",
    "PLACEHOLDER_FOR_GREATER_OP_CODES",
    "CUMSUM",
    "CALL_ONCE",
    "BROADCAST_TO",
    "RFFT2D",
    "CONV_3D",
    "IMAG",
    "REAL",
    "COMPLEX_ABS",
    "HASHTABLE",
    "HASHTABLE_FIND",
    "HASHTABLE_IMPORT",
    "HASHTABLE_SIZE",
    "REDUCE_ALL",
    "CONV_3D_TRANSPOSE",
    "VAR_HANDLE",
    "READ_VARIABLE",
    "ASSIGN_VARIABLE",
    "BROADCAST_ARGS",
    "RANDOM_STANDARD_NORMAL",
    "BUCKETIZE",
    "RANDOM_UNIFORM",
    "MULTINOMIAL",
    "GELU",
    "DYNAMIC_UPDATE_SLICE",
    "RELU_0_TO_1",
    "UNSORTED_SEGMENT_PROD",
    "UNSORTED_SEGMENT_MAX",
    "UNSORTED_SEGMENT_SUM",
    "ATAN2",
    "UNSORTED_SEGMENT_MIN",
    "SIGN",
    "BITCAST",
    "BITWISE_XOR",
    "RIGHT_SHIFT",
    "STABLEHLO_LOGISTIC",
    "STABLEHLO_ADD",
    "STABLEHLO_DIVIDE",
    "STABLEHLO_MULTIPLY",
    "STABLEHLO_MAXIMUM",
    "STABLEHLO_RESHAPE",
    "STABLEHLO_CLAMP",
    "STABLEHLO_CONCATENATE",
    "STABLEHLO_BROADCAST_IN_DIM",
    "STABLEHLO_CONVOLUTION",
    "STABLEHLO_SLICE",
    "STABLEHLO_CUSTOM_CALL",
    "STABLEHLO_REDUCE",
    "STABLEHLO_ABS",
    "STABLEHLO_AND",
    "STABLEHLO_COSINE",
    "STABLEHLO_EXPONENTIAL",
    "STABLEHLO_FLOOR",
    "STABLEHLO_LOG",
    "STABLEHLO_MINIMUM",
    "STABLEHLO_NEGATE",
    "STABLEHLO_OR",
    "STABLEHLO_POWER",
    "STABLEHLO_REMAINDER",
    "STABLEHLO_RSQRT",
    "STABLEHLO_SELECT",
    "STABLEHLO_SUBTRACT",
    "STABLEHLO_TANH",
    "STABLEHLO_SCATTER",
    "STABLEHLO_COMPARE",
    "STABLEHLO_CONVERT",
    "STABLEHLO_DYNAMIC_SLICE",
    "STABLEHLO_DYNAMIC_UPDATE_SLICE",
    "STABLEHLO_PAD",
    "STABLEHLO_IOTA",
    "STABLEHLO_DOT_GENERAL",
    "STABLEHLO_REDUCE_WINDOW",
    "STABLEHLO_SORT",
    "STABLEHLO_WHILE",
    "STABLEHLO_GATHER",
    "STABLEHLO_TRANSPOSE",
    "DILATE",
    "STABLEHLO_RNG_BIT_GENERATOR",
    "REDUCE_WINDOW",
    "STABLEHLO_COMPOSITE",
    "STABLEHLO_SHIFT_LEFT",
    "STABLEHLO_CBRT",
    "STABLEHLO_CASE",
];

/// Code of the operator that is named by `custom_code` instead.
const CUSTOM: i32 = 32;

/// Name of operator `code`: the schema's own, or `CUSTOM(name)`, or `OPERATOR_n` when the file is newer
/// than this table.
pub(crate) fn operator_name(code: i32, custom: Option<&str>) -> String {
    let known = usize::try_from(code).ok().and_then(|c| OPERATORS.get(c));
    match known {
        Some(_) if code == CUSTOM => format!("CUSTOM({})", custom.unwrap_or("")),
        Some(name) => (*name).to_owned(),
        None => format!("OPERATOR_{code}"),
    }
}

/// Names and meanings of the element types, in the order of their codes; `None` is one that no
/// [`DType`] stands for.
const TYPES: &[(&str, Option<DType>)] = &[
    ("FLOAT32", Some(DType::F32)),
    ("FLOAT16", Some(DType::F16)),
    ("INT32", Some(DType::I32)),
    ("UINT8", Some(DType::U8)),
    ("INT64", Some(DType::I64)),
    ("STRING", None),
    ("BOOL", Some(DType::Bool)),
    ("INT16", Some(DType::I16)),
    ("COMPLEX64", None),
    ("INT8", Some(DType::I8)),
    ("FLOAT64", Some(DType::F64)),
    ("COMPLEX128", None),
    ("UINT64", Some(DType::U64)),
    ("RESOURCE", None),
    ("VARIANT", None),
    ("UINT32", Some(DType::U32)),
    ("UINT16", Some(DType::U16)),
    ("INT4", None),
    ("BFLOAT16", Some(DType::BF16)),
    ("INT2", None),
    ("UINT4", None),
    ("FLOAT8_E4M3FN", None),
    ("FLOAT8_E5M2", None),
];

/// An element type as the file states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TensorType(pub(crate) i8);

impl TensorType {
    /// Four bits, two per byte.
    pub(crate) const INT4: Self = Self(17);

    /// The [`DType`] that it is, if we have one.
    pub(crate) fn dtype(self) -> Option<DType> {
        self.entry().and_then(|e| e.1)
    }

    /// The type whose bytes hold it: what 4-bit numbers are packed into.
    pub(crate) fn storage(self) -> Option<DType> {
        match self.name().as_str() {
            "INT4" | "INT2" => Some(DType::I8),
            "UINT4" | "FLOAT8_E4M3FN" | "FLOAT8_E5M2" => Some(DType::U8),
            _ => None,
        }
    }

    /// Bits of one element, `None` for strings and handles.
    pub(crate) fn bits(self) -> Option<u64> {
        match self.name().as_str() {
            "INT2" => Some(2),
            "INT4" | "UINT4" => Some(4),
            "FLOAT8_E4M3FN" | "FLOAT8_E5M2" => Some(8),
            "COMPLEX64" => Some(64),
            "COMPLEX128" => Some(128),
            _ => self.dtype().map(|d| d.size() as u64 * 8),
        }
    }

    /// True for real numbers that are stored as such.
    pub(crate) fn is_float(self) -> bool {
        let float = [DType::F32, DType::F64, DType::F16, DType::BF16];
        self.dtype().is_some_and(|d| float.contains(&d)) || self.name().starts_with("FLOAT8")
    }

    /// The schema's name for it.
    pub(crate) fn name(self) -> String {
        self.entry().map_or_else(|| format!("TYPE_{}", self.0), |e| e.0.to_owned())
    }

    fn entry(self) -> Option<&'static (&'static str, Option<DType>)> {
        usize::try_from(self.0).ok().and_then(|c| TYPES.get(c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_schemas_names() {
        assert_eq!(OPERATORS.len(), 210);
        for (code, name) in [(3, "CONV_2D"), (114, "QUANTIZE"), (128, "CUMSUM"), (209, "STABLEHLO_CASE")] {
            assert_eq!(operator_name(code, None), name);
        }
        assert_eq!(operator_name(32, Some("Conv")), "CUSTOM(Conv)");
        assert_eq!(operator_name(-3, None), "OPERATOR_-3");
        assert_eq!(operator_name(4000, None), "OPERATOR_4000");
        assert_eq!((TensorType(9).dtype(), TensorType(17).dtype()), (Some(DType::I8), None));
        assert_eq!((TensorType(17).name(), TensorType(99).name()), ("INT4".into(), "TYPE_99".into()));
        assert_eq!(TensorType(-1).dtype(), None);
    }
}
