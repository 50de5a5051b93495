"""Builds small TFLite files: tensors and operators added one by one."""
import flatbuffers
from flatbuffers import flexbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

TYPES = dict(
    f32=schema.TensorType.FLOAT32, f16=schema.TensorType.FLOAT16, i8=schema.TensorType.INT8,
    u8=schema.TensorType.UINT8, i16=schema.TensorType.INT16, i32=schema.TensorType.INT32,
    i64=schema.TensorType.INT64, u16=schema.TensorType.UINT16, u32=schema.TensorType.UINT32, bool=schema.TensorType.BOOL, i4=schema.TensorType.INT4,
    resource=schema.TensorType.RESOURCE, c64=schema.TensorType.COMPLEX64,
)
NUMPY = dict(f32="f4", f16="f2", i8="i1", u8="u1", i16="i2", i32="i4", i64="i8", u16="u2", u32="u4", bool="?", i4="i1")
# Option tables that are not named after their operator.
OPTIONS = dict(
    CONV_2D="Conv2DOptions", DEPTHWISE_CONV_2D="DepthwiseConv2DOptions", AVERAGE_POOL_2D="Pool2DOptions",
    MAX_POOL_2D="Pool2DOptions", MEAN="ReducerOptions", SUM="ReducerOptions", REDUCE_MAX="ReducerOptions",
    REDUCE_MIN="ReducerOptions", REDUCE_PROD="ReducerOptions", REDUCE_ANY="ReducerOptions",
    REDUCE_ALL="ReducerOptions", MAXIMUM="MaximumMinimumOptions", MINIMUM="MaximumMinimumOptions",
    L2_NORMALIZATION="L2NormOptions", PADV2="PadV2Options", BATCH_MATMUL="BatchMatMulOptions",
    UNIDIRECTIONAL_SEQUENCE_LSTM="UnidirectionalSequenceLSTMOptions", SVDF="SVDFOptions",
    SPACE_TO_BATCH_ND="SpaceToBatchNDOptions", BATCH_TO_SPACE_ND="BatchToSpaceNDOptions",
    RESIZE_NEAREST_NEIGHBOR="ResizeNearestNeighborOptions", LSTM="LSTMOptions", RNN="RNNOptions",
    BIDIRECTIONAL_SEQUENCE_LSTM="BidirectionalSequenceLSTMOptions",
    RFFT2D="Rfft2dOptions", L2_POOL_2D="Pool2DOptions",
    NON_MAX_SUPPRESSION_V4="NonMaxSuppressionV4Options", NON_MAX_SUPPRESSION_V5="NonMaxSuppressionV5Options",
    TOPK_V2="TopKV2Options", CONV_3D="Conv3DOptions", ATAN2="ATan2Options", UNIDIRECTIONAL_SEQUENCE_RNN="SequenceRNNOptions", BIDIRECTIONAL_SEQUENCE_RNN="BidirectionalSequenceRNNOptions",
)
# Operators that did not exist in their first version.
VERSIONS = dict(BROADCAST_TO=2)


class Net:
    """One subgraph. Tensors are numbers; shapes are lists; `q` is (scale, zero point) or (scales, zeros, axis)."""

    def __init__(self):
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = "made by netbuilder.py"
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []
        self.model.subgraphs, self.model.operatorCodes, self.model.buffers = [self.graph], [], [schema.BufferT()]

    def tensor(self, shape, dtype, q=None, data=None):
        t = schema.TensorT()
        t.shape, t.type, t.buffer, t.hasRank = list(shape), TYPES[dtype], 0, True
        t.name = f"t{len(self.graph.tensors)}"
        if q:
            scale, zero, *axis = q
            t.quantization = schema.QuantizationParametersT()
            t.quantization.scale = np.atleast_1d(scale).astype("f4").tolist()
            t.quantization.zeroPoint = np.atleast_1d(zero).astype("i8").tolist()
            t.quantization.quantizedDimension = axis[0] if axis else 0
        if data is not None:
            data = np.ascontiguousarray(data, NUMPY[dtype]).tobytes()
            if dtype == "i4":
                nibbles = np.frombuffer(data, np.uint8) & 15
                nibbles = np.append(nibbles, np.zeros(len(nibbles) % 2, np.uint8))
                data = (nibbles[0::2] | nibbles[1::2] << 4).tobytes()
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data, np.uint8)
            self.model.buffers.append(buffer)
            t.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(t)
        return len(self.graph.tensors) - 1

    def input(self, shape, dtype, q=None):
        t = self.tensor(shape, dtype, q)
        self.graph.inputs.append(t)
        return t

    def state(self, shape, dtype, q=None):
        """A tensor that an operator keeps from invoke to invoke."""
        t = self.tensor(shape, dtype, q)
        self.graph.tensors[t].isVariable = True
        return t

    def const(self, data, dtype, q=None):
        data = np.asarray(data)
        return self.tensor(data.shape, dtype, q, data)

    def output(self, shape, dtype, q=None):
        t = self.tensor(shape, dtype, q)
        self.graph.outputs.append(t)
        return t

    def op(self, name, inputs, outputs, between=(), **options):
        """`between` are tensors that only say how the operator computes."""
        custom = name.startswith("CUSTOM:")
        code = schema.BuiltinOperator.CUSTOM if custom else getattr(schema.BuiltinOperator, name)
        opcode = schema.OperatorCodeT()
        opcode.customCode = name[len("CUSTOM:"):] if custom else None
        opcode.builtinCode, opcode.deprecatedBuiltinCode, opcode.version = code, min(code, 127), VERSIONS.get(name, 1)
        self.model.operatorCodes.append(opcode)
        op = schema.OperatorT()
        op.opcodeIndex = len(self.model.operatorCodes) - 1
        op.inputs, op.outputs, op.intermediates = list(inputs), list(outputs), list(between)
        if custom:
            # a map, or bytes in the operator's own format
            given = options.get("bytes") or flexbuffers.Dumps(options)
            op.customOptions = np.frombuffer(given, np.uint8)
            self.graph.operators.append(op)
            return
        table = OPTIONS.get(name) or "".join(w.capitalize() for w in name.split("_")) + "Options"
        if hasattr(schema.BuiltinOptions2, table):
            op.builtinOptions2Type = getattr(schema.BuiltinOptions2, table)
            op.builtinOptions2 = getattr(schema, table + "T")()
            vars(op.builtinOptions2).update(options)
        elif hasattr(schema, table + "T"):
            op.builtinOptionsType = getattr(schema.BuiltinOptions, table)
            op.builtinOptions = getattr(schema, table + "T")()
            for key, value in options.items():
                assert hasattr(op.builtinOptions, key), f"{table}.{key}"
                setattr(op.builtinOptions, key, value)
        else:
            assert not options, f"{name} has no options"
        self.graph.operators.append(op)

    def subgraph(self, other):
        """Adds the graph of another net, and returns its index."""
        for t in other.graph.tensors:
            t.buffer += len(self.model.buffers) - 1 if t.buffer else 0
        for op in other.graph.operators:
            op.opcodeIndex += len(self.model.operatorCodes)
        self.model.buffers += other.model.buffers[1:]
        self.model.operatorCodes += other.model.operatorCodes
        self.model.subgraphs.append(other.graph)
        return len(self.model.subgraphs) - 1

    def sparse(self, data, dtype, order, formats, block_map=(), block=()):
        """A constant whose zero parts are not stored. `order` of dimensions as traversed, block dimensions
        last; `formats` is dense or csr for each; `block` the sizes of the dimensions in `block_map`."""
        data = np.asarray(data)
        t = self.tensor(data.shape, dtype)
        # a view with the block dimensions split off, in the order of the traversal
        shape, inner = [], []
        for d, n in enumerate(data.shape):
            shape += [n // block[block_map.index(d)], block[block_map.index(d)]] if d in block_map else [n]
        at, places = 0, {}
        for d in range(data.ndim):
            places[d] = at
            if d in block_map:
                places[data.ndim + block_map.index(d)] = at + 1
            at += 2 if d in block_map else 1
        view = data.reshape(shape).transpose([places[d] for d in order])
        params = schema.SparsityParametersT()
        params.traversalOrder, params.blockMap, params.dimMetadata = list(order), list(block_map), []
        rows = [view]
        for size, form in zip(view.shape, formats):
            level = schema.DimensionMetadataT()
            if form == "dense":
                level.format, level.denseSize = schema.DimensionType.DENSE, size
                rows = [r[i] for r in rows for i in range(size)]
            else:
                level.format = schema.DimensionType.SPARSE_CSR
                kept = [[i for i in range(size) if np.any(r[i])] for r in rows]
                level.arraySegmentsType = level.arrayIndicesType = schema.SparseIndexVector.Int32Vector
                level.arraySegments, level.arrayIndices = schema.Int32VectorT(), schema.Int32VectorT()
                level.arraySegments.values = np.cumsum([0] + [len(k) for k in kept]).tolist()
                level.arrayIndices.values = [i for k in kept for i in k]
                rows = [r[i] for r, k in zip(rows, kept) for i in k]
            params.dimMetadata.append(level)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.array(rows, NUMPY[dtype]).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.graph.tensors[t].buffer, self.graph.tensors[t].sparsity = len(self.model.buffers) - 1, params
        return t

    def bytes(self):
        builder = flatbuffers.Builder(1 << 12)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def save(self, path, data_behind=False):
        """`data_behind` keeps constant data behind the structure, as files above 2 GB do."""
        if data_behind:
            behind = b""
            moved = [b for b in self.model.buffers if b.data is not None and len(b.data)]
            datas = [b.data.tobytes() for b in moved]
            for b, data in zip(moved, datas):
                b.data, b.offset, b.size = None, 2, len(data)
            start = -(-len(self.bytes()) // 64) * 64
            for b, data in zip(moved, datas):
                b.offset = start + len(behind)
                behind += data + bytes(-len(data) % 64)
            path.write_bytes(self.bytes().ljust(start, b"\0") + behind)
        else:
            path.write_bytes(self.bytes())
