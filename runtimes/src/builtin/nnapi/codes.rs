//! The numbers of Android's `NeuralNetworks.h`, for the consumer and for drivers.

/// `OperandCode`.
pub mod operand {
    #![expect(missing_docs, reason = "the names are the header's, where they are described")]

    pub const FLOAT32: i32 = 0;
    pub const INT32: i32 = 1;
    pub const UINT32: i32 = 2;
    pub const TENSOR_FLOAT32: i32 = 3;
    pub const TENSOR_INT32: i32 = 4;
    pub const TENSOR_QUANT8_ASYMM: i32 = 5;
    pub const BOOL: i32 = 6;
    pub const TENSOR_QUANT16_SYMM: i32 = 7;
    pub const TENSOR_FLOAT16: i32 = 8;
    pub const TENSOR_BOOL8: i32 = 9;
    pub const FLOAT16: i32 = 10;
    pub const TENSOR_QUANT8_SYMM_PER_CHANNEL: i32 = 11;
    pub const TENSOR_QUANT16_ASYMM: i32 = 12;
    pub const TENSOR_QUANT8_SYMM: i32 = 13;
    pub const TENSOR_QUANT8_ASYMM_SIGNED: i32 = 14;
}

/// `OperationCode`, those that somebody here knows.
pub mod operation {
    #![expect(missing_docs, reason = "the names are the header's, where they are described")]

    pub const ADD: i32 = 0;
    pub const AVERAGE_POOL_2D: i32 = 1;
    pub const CONCATENATION: i32 = 2;
    pub const CONV_2D: i32 = 3;
    pub const DEPTHWISE_CONV_2D: i32 = 4;
    pub const DEQUANTIZE: i32 = 6;
    pub const FLOOR: i32 = 8;
    pub const FULLY_CONNECTED: i32 = 9;
    pub const LOGISTIC: i32 = 14;
    pub const MAX_POOL_2D: i32 = 17;
    pub const MUL: i32 = 18;
    pub const RELU: i32 = 19;
    pub const RELU1: i32 = 20;
    pub const RELU6: i32 = 21;
    pub const RESHAPE: i32 = 22;
    pub const RESIZE_BILINEAR: i32 = 23;
    pub const SOFTMAX: i32 = 25;
    pub const TANH: i32 = 28;
    pub const DIV: i32 = 30;
    pub const MEAN: i32 = 31;
    pub const PAD: i32 = 32;
    pub const SQUEEZE: i32 = 34;
    pub const STRIDED_SLICE: i32 = 35;
    pub const SUB: i32 = 36;
    pub const TRANSPOSE: i32 = 37;
    pub const ABS: i32 = 38;
    pub const CAST: i32 = 45;
    pub const EXP: i32 = 49;
    pub const EXPAND_DIMS: i32 = 50;
    pub const GATHER: i32 = 51;
    pub const LOG: i32 = 60;
    pub const MAXIMUM: i32 = 65;
    pub const MINIMUM: i32 = 66;
    pub const NEG: i32 = 67;
    pub const PAD_V2: i32 = 69;
    pub const POW: i32 = 70;
    pub const PRELU: i32 = 71;
    pub const QUANTIZE: i32 = 72;
    pub const REDUCE_MAX: i32 = 77;
    pub const REDUCE_MIN: i32 = 78;
    pub const REDUCE_PROD: i32 = 79;
    pub const REDUCE_SUM: i32 = 80;
    pub const RSQRT: i32 = 83;
    pub const SIN: i32 = 85;
    pub const SLICE: i32 = 86;
    pub const SPLIT: i32 = 87;
    pub const SQRT: i32 = 88;
    pub const RESIZE_NEAREST_NEIGHBOR: i32 = 94;
    pub const ELU: i32 = 98;
    pub const HARD_SWISH: i32 = 99;
}

/// `ResultCode`.
pub mod result {
    #![expect(missing_docs, reason = "the names are the header's, where they are described")]

    pub const NO_ERROR: i32 = 0;
    pub const OUT_OF_MEMORY: i32 = 1;
    pub const INCOMPLETE: i32 = 2;
    pub const UNEXPECTED_NULL: i32 = 3;
    pub const BAD_DATA: i32 = 4;
    pub const OP_FAILED: i32 = 5;
    pub const BAD_STATE: i32 = 6;
    pub const UNMAPPABLE: i32 = 7;
    pub const OUTPUT_INSUFFICIENT_SIZE: i32 = 8;
    pub const UNAVAILABLE_DEVICE: i32 = 9;
    pub const MISSED_DEADLINE_TRANSIENT: i32 = 10;
    pub const MISSED_DEADLINE_PERSISTENT: i32 = 11;
    pub const RESOURCE_EXHAUSTED_TRANSIENT: i32 = 12;
    pub const RESOURCE_EXHAUSTED_PERSISTENT: i32 = 13;
    pub const DEAD_OBJECT: i32 = 14;

    /// The header's name of a result, for messages.
    pub fn name(code: i32) -> &'static str {
        const NAMES: [&str; 15] = [
            "NO_ERROR",
            "OUT_OF_MEMORY",
            "INCOMPLETE",
            "UNEXPECTED_NULL",
            "BAD_DATA",
            "OP_FAILED",
            "BAD_STATE",
            "UNMAPPABLE",
            "OUTPUT_INSUFFICIENT_SIZE",
            "UNAVAILABLE_DEVICE",
            "MISSED_DEADLINE_TRANSIENT",
            "MISSED_DEADLINE_PERSISTENT",
            "RESOURCE_EXHAUSTED_TRANSIENT",
            "RESOURCE_EXHAUSTED_PERSISTENT",
            "DEAD_OBJECT",
        ];
        usize::try_from(code).ok().and_then(|c| NAMES.get(c)).copied().unwrap_or("an unknown result")
    }
}

/// `FuseCode`.
pub mod fuse {
    #![expect(missing_docs, reason = "the names are the header's, where they are described")]

    pub const NONE: i32 = 0;
    pub const RELU: i32 = 1;
    pub const RELU1: i32 = 2;
    pub const RELU6: i32 = 3;
}

/// `PaddingCode`.
pub mod padding {
    #![expect(missing_docs, reason = "the names are the header's, where they are described")]

    pub const SAME: i32 = 1;
    pub const VALID: i32 = 2;
}

/// Feature levels: the API level of the Android version they came with.
pub mod level {
    #![expect(missing_docs, reason = "the names are the header's, where they are described")]

    pub const FEATURE_LEVEL_1: i64 = 27;
    pub const FEATURE_LEVEL_2: i64 = 28;
    pub const FEATURE_LEVEL_3: i64 = 29;
    pub const FEATURE_LEVEL_4: i64 = 30;
    pub const FEATURE_LEVEL_5: i64 = 31;
}
