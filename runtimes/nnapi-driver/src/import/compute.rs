//! Which operation is which operator, and those that compute element by element or along dimensions.

use super::{Importer, axis, unsupported};
use runtimes::Result;
use runtimes::builtin::nnapi::codes::{operand, operation as code};
use runtimes::builtin::nnapi::model::Operation;
use runtimes::builtin::ops::{
    Binary, BinaryKind, Cast, Clamp, Clip, PoolKind, Prelu, Reduce, ReduceKind, Requantize, Softmax, Unary,
    UnaryKind,
};

impl Importer<'_> {
    /// Adds the nodes of an operation.
    pub(super) fn operation(&mut self, operation: &Operation) -> Result<()> {
        match operation.code {
            code::CONV_2D => self.convolution(operation, false),
            code::DEPTHWISE_CONV_2D => self.convolution(operation, true),
            code::FULLY_CONNECTED => self.fully_connected(operation),
            code::AVERAGE_POOL_2D => self.pool(operation, PoolKind::Average),
            code::MAX_POOL_2D => self.pool(operation, PoolKind::Max),
            code::ADD => self.binary(operation, BinaryKind::Add),
            code::SUB => self.binary(operation, BinaryKind::Sub),
            code::MUL => self.binary(operation, BinaryKind::Mul),
            code::DIV => self.binary(operation, BinaryKind::Div),
            code::MAXIMUM => self.binary(operation, BinaryKind::Max),
            code::MINIMUM => self.binary(operation, BinaryKind::Min),
            code::POW => self.binary(operation, BinaryKind::Pow),
            code::RELU => self.clip(operation, Clamp::RELU),
            code::RELU1 => self.clip(operation, Clamp::RELU_N1_TO_1),
            code::RELU6 => self.clip(operation, Clamp::RELU6),
            code::SOFTMAX => self.softmax(operation),
            code::MEAN => self.reduce(operation, ReduceKind::Mean),
            code::REDUCE_MAX => self.reduce(operation, ReduceKind::Max),
            code::REDUCE_MIN => self.reduce(operation, ReduceKind::Min),
            code::REDUCE_SUM => self.reduce(operation, ReduceKind::Sum),
            code::REDUCE_PROD => self.reduce(operation, ReduceKind::Prod),
            code::QUANTIZE | code::DEQUANTIZE => {
                let x = self.tensor(operation, 0)?;
                self.compute(operation, Requantize, &[x])
            }
            code::PRELU => {
                let values = [self.tensor(operation, 0)?, self.tensor(operation, 1)?];
                self.compute(operation, Prelu, &values)
            }
            code::CAST => {
                let x = self.tensor(operation, 0)?;
                let to = super::kind(self.operand(self.output(operation, 0)?)?)?.dtype;
                self.compute(operation, Cast { to }, &[x])
            }
            code::ELU => {
                let alpha = self.real(operation, 1)?;
                self.unary(operation, UnaryKind::Elu { alpha })
            }
            other => match unary(other) {
                Some(kind) => self.unary(operation, kind),
                None => self.layout(operation),
            },
        }
    }

    fn unary(&mut self, operation: &Operation, kind: UnaryKind) -> Result<()> {
        let x = self.tensor(operation, 0)?;
        self.compute(operation, Unary { kind }, &[x])
    }

    fn clip(&mut self, operation: &Operation, clamp: Clamp) -> Result<()> {
        let x = self.tensor(operation, 0)?;
        self.compute(operation, Clip { clamp }, &[x])
    }

    fn binary(&mut self, operation: &Operation, kind: BinaryKind) -> Result<()> {
        let fused = matches!(kind, BinaryKind::Add | BinaryKind::Sub | BinaryKind::Mul | BinaryKind::Div);
        let clamp = if fused { self.clamp(operation, 2)? } else { Clamp::NONE };
        let values = [self.tensor(operation, 0)?, self.tensor(operation, 1)?];
        self.compute(operation, Binary { kind, clamp }, &values)
    }

    fn softmax(&mut self, operation: &Operation) -> Result<()> {
        let x = self.tensor(operation, 0)?;
        let rank = self.graph.shape(x).len();
        if operation.inputs.len() > 2 {
            let along = axis(i64::from(self.int(operation, 2)?), rank)?;
            if along + 1 != rank {
                return Err(unsupported(format!("a softmax along dimension {along} of {rank}")));
            }
        }
        let beta = self.real(operation, 1)?;
        self.compute(operation, Softmax { beta, log: false }, &[x])
    }

    /// MEAN has an INT32 for what the others have a BOOL for.
    fn reduce(&mut self, operation: &Operation, kind: ReduceKind) -> Result<()> {
        let x = self.tensor(operation, 0)?;
        let rank = self.graph.shape(x).len();
        let axes = self.ints(operation, 1)?;
        let mut axes = axes.into_iter().map(|a| axis(a, rank)).collect::<Result<Vec<_>>>()?;
        axes.sort_unstable();
        axes.dedup();
        let flag = self.operand(self.input(operation, 2)?)?.code;
        let keep_dims = match flag == operand::INT32 {
            true => self.int(operation, 2)? > 0,
            false => self.truth(operation, 2)?,
        };
        self.compute(operation, Reduce { kind, axes, keep_dims }, &[x])
    }
}

/// Functions of one number without attributes.
fn unary(of: i32) -> Option<UnaryKind> {
    Some(match of {
        code::ABS => UnaryKind::Abs,
        code::EXP => UnaryKind::Exp,
        code::FLOOR => UnaryKind::Floor,
        code::HARD_SWISH => UnaryKind::HardSwish,
        code::LOG => UnaryKind::Log,
        code::LOGISTIC => UnaryKind::Logistic,
        code::NEG => UnaryKind::Neg,
        code::RSQRT => UnaryKind::Rsqrt,
        code::SIN => UnaryKind::Sin,
        code::SQRT => UnaryKind::Sqrt,
        code::TANH => UnaryKind::Tanh,
        _ => return None,
    })
}
