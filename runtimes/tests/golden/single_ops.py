"""Models of one operator each: every operator and type that the built-in engine reads from TFLite files, with
what LiteRT makes of a seeded input. `make.py` calls `write`."""
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from netbuilder import Net

RELU, RELU_N1, RELU6 = 1, 2, 3
SAME, VALID = 0, 1
CASES = {}


def case(name):
    def add(build):
        assert name not in CASES, name
        CASES[name] = build
        return build

    return add


def rng(name):
    """Weights depend on the model's name only."""
    return np.random.default_rng(zlib.crc32(name.encode()))


# ---- one input, one output ----
def unary(name, op, shape, dtype="f32", q=None, out=None, out_shape=None, out_dtype=None, consts=(), **options):
    def build():
        net = Net()
        x = net.input(shape, dtype, q)
        operands = [x] + [net.const(*c) for c in consts]
        y = net.output(out_shape or shape, out_dtype or dtype, q if out is None else out)
        net.op(op, operands, [y], **options)
        return net

    case(name)(build)


IMAGE = [1, 5, 7, 13]
Q = dict(i8=(0.05, -3), u8=(0.05, 120), i16=(0.0005, 0))
Q2 = dict(i8=(0.031, 7), u8=(0.031, 99), i16=(0.0004, 0))
PROBABILITY = dict(i8=(1 / 256, -128), u8=(1 / 256, 0), i16=(1 / 32768, 0))

for op in ["ABS", "NEG", "EXP", "SIN", "COS", "SQUARE", "TANH", "LOGISTIC", "HARD_SWISH", "ELU", "FLOOR", "CEIL",
           "ROUND", "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "SIGN", "LOG_SOFTMAX", "SOFTMAX",
           "L2_NORMALIZATION"]:
    unary(f"{op.lower()}_f32", op, IMAGE, **(dict(beta=1.0) if op == "SOFTMAX" else {}))
unary("leaky_relu_f32", "LEAKY_RELU", IMAGE, alpha=0.2)
unary("gelu_f32", "GELU", IMAGE, approximate=False)
unary("gelu_tanh_f32", "GELU", IMAGE, approximate=True)
unary("softmax_beta_f32", "SOFTMAX", [3, 17], beta=0.7)
unary("prelu_f32", "PRELU", IMAGE, consts=[(rng("prelu").uniform(-1, 1, [1, 1, 13]), "f32")])
for t in ["i8", "u8", "i16"]:
    if t != "i16":
        unary(f"relu_{t}", "RELU", IMAGE, t, Q[t], Q2[t])
        unary(f"relu6_{t}", "RELU6", IMAGE, t, Q[t], Q2[t])
        unary(f"hard_swish_{t}", "HARD_SWISH", IMAGE, t, Q[t], Q2[t])
    unary(f"leaky_relu_{t}", "LEAKY_RELU", IMAGE, t, Q[t], Q2[t], alpha=0.2)
    unary(f"logistic_{t}", "LOGISTIC", IMAGE, t, Q[t], PROBABILITY[t])
    unary(f"tanh_{t}", "TANH", IMAGE, t, Q[t], dict(i8=(1 / 128, 0), u8=(1 / 128, 128), i16=(1 / 32768, 0))[t])
    unary(f"softmax_{t}", "SOFTMAX", [3, 17], t, Q[t], PROBABILITY[t], beta=1.0)
unary("softmax_i8_i16", "SOFTMAX", [3, 17], "i8", Q["i8"], PROBABILITY["i16"], out_dtype="i16", beta=1.0)
unary("elu_i8", "ELU", IMAGE, "i8", Q["i8"], Q2["i8"])
unary("abs_i8", "ABS", IMAGE, "i8", Q["i8"], Q2["i8"])
unary("log_softmax_i8", "LOG_SOFTMAX", [3, 17], "i8", Q["i8"], (16 / 256, 127))
unary("prelu_i8", "PRELU", IMAGE, "i8", Q["i8"], Q2["i8"],
      consts=[(rng("prelu").integers(-128, 128, [1, 1, 13]), "i8", (0.01, 5))])
unary("square_i32", "SQUARE", [17], "f32")

# ---- type changes ----
for a, b in [("f32", "i8"), ("f32", "u8"), ("f32", "i16"), ("i8", "i8"), ("i8", "u8"), ("u8", "i8"), ("u8", "u8"),
             ("i16", "i16"), ("i16", "i8"), ("i8", "i16")]:
    unary(f"quantize_{a}_{b}", "QUANTIZE", IMAGE, a, Q.get(a), (0.0123, 0 if b == "i16" else 11), out_dtype=b)
for a in ["i8", "u8", "i16"]:
    unary(f"dequantize_{a}", "DEQUANTIZE", IMAGE, a, Q[a], (), out_dtype="f32")
for a, b in [("f32", "i32"), ("i32", "f32"), ("i8", "f32"), ("i32", "i64"), ("bool", "f32"), ("i16", "i32")]:
    unary(f"cast_{a}_{b}", "CAST", IMAGE, a, out_dtype=b)

# ---- reductions ----
for op in ["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"]:
    for t in ["f32", "i8", "u8", "i16"]:
        q, out = Q.get(t), Q.get(t)
        if op == "MEAN" and t in ("i8", "i16"):
            out = Q2[t]
        if op == "SUM" and t != "f32":
            if t == "u8":
                continue
            out = dict(i8=(1.3, 4), i16=(0.02, 0))[t]
        unary(f"{op.lower()}_hw_{t}", op, IMAGE, t, q, out, [1, 1, 1, 13], consts=[([1, 2], "i32")], keepDims=True)
        unary(f"{op.lower()}_c_{t}", op, IMAGE, t, q, out, [1, 5, 7], consts=[([-1], "i32")], keepDims=False)
unary("reduce_prod_f32", "REDUCE_PROD", [4, 6], out_shape=[4], consts=[([1], "i32")], keepDims=False)
unary("arg_max_f32", "ARG_MAX", [4, 19], out_shape=[4], out_dtype="i32", consts=[(1, "i32")], outputType=2)
unary("arg_min_i8", "ARG_MIN", [4, 19], "i8", Q["i8"], (), out_shape=[4], out_dtype="i64", consts=[(1, "i32")],
      outputType=4)

# ---- moves ----
for t in ["f32", "i8", "i16"]:
    q = Q.get(t)
    unary(f"reshape_{t}", "RESHAPE", IMAGE, t, q, out_shape=[7, 65], consts=[([7, -1], "i32")], newShape=[7, -1])
    unary(f"transpose_{t}", "TRANSPOSE", IMAGE, t, q, out_shape=[1, 13, 5, 7], consts=[([0, 3, 1, 2], "i32")])
    unary(f"pad_{t}", "PAD", IMAGE, t, q, out_shape=[1, 8, 8, 13], consts=[([[0, 0], [1, 2], [0, 1], [0, 0]], "i32")])
    unary(f"strided_slice_{t}", "STRIDED_SLICE", IMAGE, t, q, out_shape=[3, 7, 13],
          consts=[([0, 4, 0, 0], "i32"), ([1, -6, 0, 0], "i32"), ([1, -2, 1, 1], "i32")],
          beginMask=12, endMask=12, ellipsisMask=0, newAxisMask=0, shrinkAxisMask=1)
    unary(f"slice_{t}", "SLICE", IMAGE, t, q, out_shape=[1, 2, 7, 5],
          consts=[([0, 1, 0, 3], "i32"), ([1, 2, -1, 5], "i32")])
    unary(f"resize_nearest_{t}", "RESIZE_NEAREST_NEIGHBOR", IMAGE, t, q, out_shape=[1, 9, 4, 13],
          consts=[([9, 4], "i32")])
    unary(f"tile_{t}", "TILE", [2, 3], t, q, out_shape=[6, 6], consts=[([3, 2], "i32")]) if t != "i16" else None
unary("reshape_option_f32", "RESHAPE", IMAGE, out_shape=[455], newShape=[455])
unary("squeeze_f32", "SQUEEZE", [1, 5, 1, 3], out_shape=[5, 1, 3], squeezeDims=[0])
unary("expand_dims_f32", "EXPAND_DIMS", [5, 3], out_shape=[5, 1, 3], consts=[(1, "i32")])
unary("padv2_f32", "PADV2", [3, 4], out_shape=[4, 7], consts=[([[1, 0], [1, 2]], "i32"), (2.5, "f32")])
unary("mirror_pad_reflect_f32", "MIRROR_PAD", [3, 4], out_shape=[5, 7], consts=[([[1, 1], [1, 2]], "i32")], mode=0)
unary("mirror_pad_symmetric_f32", "MIRROR_PAD", [3, 4], out_shape=[5, 7], consts=[([[1, 1], [1, 2]], "i32")], mode=1)
unary("depth_to_space_f32", "DEPTH_TO_SPACE", [1, 2, 3, 12], out_shape=[1, 4, 6, 3], blockSize=2)
unary("space_to_depth_f32", "SPACE_TO_DEPTH", [1, 4, 6, 3], out_shape=[1, 2, 3, 12], blockSize=2)
unary("depth_to_space_i8", "DEPTH_TO_SPACE", [1, 2, 3, 12], "i8", Q["i8"], out_shape=[1, 4, 6, 3], blockSize=2)
unary("gather_f32", "GATHER", [7, 5], out_shape=[2, 2, 5], consts=[([[6, 0], [3, 3]], "i32")], axis=0)
unary("gather_axis_i8", "GATHER", [7, 5], "i8", Q["i8"], out_shape=[7, 3], consts=[([4, 0, 1], "i32")], axis=-1)
unary("broadcast_to_f32", "BROADCAST_TO", [1, 5], out_shape=[3, 5], consts=[([3, 5], "i32")])
unary("shape_f32", "SHAPE", IMAGE, out_shape=[4], out_dtype="i32", outType=2)
unary("space_to_batch_f32", "SPACE_TO_BATCH_ND", [1, 4, 5, 3], out_shape=[4, 3, 3, 3],
      consts=[([2, 2], "i32"), ([[1, 1], [0, 1]], "i32")])
unary("batch_to_space_f32", "BATCH_TO_SPACE_ND", [4, 3, 3, 3], out_shape=[1, 4, 5, 3],
      consts=[([2, 2], "i32"), ([[1, 1], [0, 1]], "i32")])
unary("reverse_f32", "REVERSE_V2", [3, 4], out_shape=[3, 4], consts=[([1], "i32")])
for t in ["f32", "i8", "u8"]:
    for name, options in [("", {}), ("_half", dict(halfPixelCenters=True)), ("_align", dict(alignCorners=True))]:
        unary(f"resize_bilinear{name}_{t}", "RESIZE_BILINEAR", IMAGE, t, Q.get(t), out_shape=[1, 9, 4, 13],
              consts=[([9, 4], "i32")], **options)
for name, options in [("half", dict(halfPixelCenters=True)), ("align", dict(alignCorners=True))]:
    unary(f"resize_nearest_{name}_f32", "RESIZE_NEAREST_NEIGHBOR", IMAGE, out_shape=[1, 9, 4, 13],
          consts=[([9, 4], "i32")], **options)

# ---- pools ----
for op in ["AVERAGE_POOL_2D", "MAX_POOL_2D"]:
    for t in ["f32", "i8", "u8", "i16"]:
        unary(f"{op.lower()}_same_{t}", op, IMAGE, t, Q.get(t), out_shape=[1, 3, 4, 13], padding=SAME, strideW=2,
              strideH=2, filterWidth=3, filterHeight=3, fusedActivationFunction=RELU)
        unary(f"{op.lower()}_valid_{t}", op, IMAGE, t, Q.get(t), out_shape=[1, 4, 5, 13], padding=VALID, strideW=1,
              strideH=1, filterWidth=3, filterHeight=2)


# ---- two inputs ----
def binary(name, op, dtype="f32", shapes=(IMAGE, IMAGE), q=(None, None, None), out=None, out_dtype=None, **options):
    def build():
        net = Net()
        a, b = net.input(shapes[0], dtype, q[0]), net.input(shapes[1], dtype, q[1])
        y = net.output(out or np.broadcast_shapes(*shapes), out_dtype or dtype, q[2])
        net.op(op, [a, b], [y], **options)
        return net

    case(name)(build)


BROADCASTS = [("same", (IMAGE, IMAGE)), ("scalar", (IMAGE, [1])), ("channel", (IMAGE, [13])),
              ("both", ([1, 5, 1, 13], [1, 1, 7, 1]))]
for op in ["ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE"]:
    for name, shapes in BROADCASTS:
        binary(f"{op.lower()}_{name}_f32", op, shapes=shapes)
binary("add_relu6_f32", "ADD", fusedActivationFunction=RELU6)
binary("mul_relu_n1_f32", "MUL", fusedActivationFunction=RELU_N1)
for op in ["ADD", "SUB", "MUL"]:
    for t in ["i8", "u8", "i16"]:
        q = (Q[t], Q2[t], dict(i8=(0.06, 2), u8=(0.06, 130), i16=(0.0006, 0))[t])
        for name, shapes in BROADCASTS:
            options = dict(potScaleInt16=False) if op != "MUL" else {}
            binary(f"{op.lower()}_{name}_{t}", op, t, shapes, q, **options)
        binary(f"{op.lower()}_relu_{t}", op, t, (IMAGE, IMAGE), q, fusedActivationFunction=RELU, **options)
for op in ["MAXIMUM", "MINIMUM"]:
    binary(f"{op.lower()}_i8", op, "i8", q=(Q["i8"],) * 3)
for name, shapes in BROADCASTS:
    binary(f"squared_difference_{name}_i8", "SQUARED_DIFFERENCE", "i8", shapes, (Q["i8"], Q2["i8"], (0.3, -120)))
for op in ["ADD", "SUB", "MUL", "FLOOR_DIV", "FLOOR_MOD"]:
    binary(f"{op.lower()}_i32", op, "i32", ([17], [17]))
for op in ["EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"]:
    binary(f"{op.lower()}_f32", op, out_dtype="bool", shapes=([23], [23]))
binary("less_i8", "LESS", "i8", ([99], [99]), (Q["i8"], Q2["i8"], None), out_dtype="bool")
for op in ["LOGICAL_AND", "LOGICAL_OR"]:
    binary(op.lower(), op, "bool", ([23], [23]))
binary("concatenation_f32", "CONCATENATION", shapes=([1, 3, 5], [1, 3, 2]), out=[1, 3, 7], axis=2)
binary("concatenation_i8", "CONCATENATION", "i8", ([1, 3, 5], [1, 3, 2]), (Q["i8"],) * 3, [1, 3, 7], axis=-1)
binary("concatenation_scales_u8", "CONCATENATION", "u8", ([1, 3, 5], [1, 3, 2]), (Q["u8"], Q2["u8"], Q["u8"]),
       [1, 3, 7], axis=-1)
binary("pack_f32", "PACK", shapes=([3, 5], [3, 5]), out=[3, 2, 5], axis=1, valuesCount=2)
binary("batch_matmul_f32", "BATCH_MATMUL", shapes=([2, 3, 5], [2, 5, 4]), out=[2, 3, 4])
binary("batch_matmul_adjoint_f32", "BATCH_MATMUL", shapes=([2, 5, 3], [1, 4, 5]), out=[2, 3, 4], adjX=True, adjY=True)
binary("batch_matmul_i8", "BATCH_MATMUL", "i8", ([2, 3, 5], [2, 5, 4]), (Q["i8"], Q2["i8"], (0.1, 3)), [2, 3, 4])


def several(name, op, dtype, shape, outs, before=(), after=(), q=None, **options):
    def build():
        net = Net()
        operands = [net.const(*c) for c in before] + [net.input(shape, dtype, q)] + [net.const(*c) for c in after]
        net.op(op, operands, [net.output(s, dtype, q) for s in outs], **options)
        return net

    case(name)(build)


several("split_f32", "SPLIT", "f32", [4, 6], [[4, 2]] * 3, before=[(1, "i32")], numSplits=3)
several("split_v_i8", "SPLIT_V", "i8", [4, 6], [[4, 1], [4, 3], [4, 2]], after=[([1, 3, -1], "i32"), (1, "i32")],
        q=Q["i8"], numSplits=3)
several("unpack_f32", "UNPACK", "f32", [4, 3], [[4]] * 3, num=3, axis=1)


@case("select_v2_f32")
def _():
    net = Net()
    operands = [net.input([3, 1], "bool"), net.input([3, 5], "f32"), net.input([1, 5], "f32")]
    net.op("SELECT_V2", operands, [net.output([3, 5], "f32")])
    return net


# ---- weights ----
def quantized(w, dtype, axis):
    """Symmetric int8 weights; one scale per channel along `axis`, or one in all."""
    top = np.abs(w).max(axis=tuple(i for i in range(w.ndim) if i != axis), keepdims=True) if axis is not None else np.abs(w).max()
    scale = (top / 127).astype("f4")
    scales = scale.reshape(-1) if axis is not None else scale
    q = (scales, np.zeros(np.size(scales)), axis or 0)
    return np.clip(np.round(w / scale), -127, 127).astype("i1"), q, np.atleast_1d(scales)


def weighted(name, op, x_shape, w_shape, y_shape, kind, axis, per_tensor=False, bias=True, **options):
    """kind: f32, i8, dyn (f32 with int8 weights), i16, u8."""
    def build():
        r, net = rng(name), Net()
        w = r.normal(0, 0.3, w_shape).astype("f4")
        channels = y_shape[-1]
        b = r.normal(0, 0.5, channels).astype("f4")
        act = dict(i8="i8", i16="i16", u8="u8").get(kind, "f32")
        x = net.input(x_shape, act, Q.get(act))
        if kind == "f32":
            operands = [x, net.const(w, "f32")] + ([net.const(b, "f32")] if bias else [])
        elif kind == "u8":
            scale = np.float32(np.abs(w).max() / 127)
            wq = np.clip(np.round(w / scale) + 128, 1, 255)
            bq = np.round(b / (scale * Q["u8"][0]))
            operands = [x, net.const(wq, "u8", (scale, 128))] + ([net.const(bq, "i32", (scale * Q["u8"][0], 0))] if bias else [])
        else:
            wq, q, scales = quantized(w, "i8", None if per_tensor else axis)
            operands = [x, net.const(wq, "i8", q)]
            if bias and kind == "dyn":
                operands.append(net.const(b, "f32"))
            elif bias:
                s = (scales * np.float32(Q[act][0])).astype("f4")
                operands.append(net.const(np.round(b / s), "i64" if kind == "i16" else "i32", (s, np.zeros(s.size), 0)))
        q = dict(i8=(0.043, 5), u8=(0.043, 128), i16=(0.0003, 0)).get(act)
        net.op(op, operands, [net.output(y_shape, act, q)], **options)
        return net

    case(f"{name}_{kind}")(build)


def conv(name, x, w, y, kinds=("f32", "i8", "dyn", "i16", "u8"), **options):
    geometry = dict(padding=SAME, strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1) | options
    for kind in kinds:
        weighted(name, "CONV_2D", x, w, y, kind, 0, **geometry)


conv("conv_3x3", [1, 6, 7, 5], [19, 3, 3, 5], [1, 6, 7, 19])
conv("conv_1x1", [1, 6, 7, 12], [21, 1, 1, 12], [1, 6, 7, 21], fusedActivationFunction=RELU)
conv("conv_1x1_stride", [1, 6, 7, 12], [21, 1, 1, 12], [1, 3, 4, 21], strideW=2, strideH=2)
conv("conv_stride", [2, 9, 10, 3], [8, 3, 5, 3], [2, 5, 4, 8], strideW=3, strideH=2, fusedActivationFunction=RELU6)
conv("conv_valid", [1, 9, 8, 4], [8, 4, 2, 4], [1, 6, 7, 8], padding=VALID)
conv("conv_dilated", [1, 9, 9, 4], [8, 3, 3, 4], [1, 9, 9, 8], dilationWFactor=2, dilationHFactor=3)
conv("conv_grouped", [1, 5, 5, 8], [12, 3, 3, 2], [1, 5, 5, 12], kinds=("f32", "i8"))
conv("conv_per_tensor", [1, 6, 7, 5], [19, 3, 3, 5], [1, 6, 7, 19], kinds=("i8", "dyn"), per_tensor=True)


def depthwise(name, x, w, y, kinds=("f32", "i8", "dyn", "i16", "u8"), **options):
    geometry = dict(padding=SAME, strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1,
                    depthMultiplier=w[3] // x[3]) | options
    for kind in kinds:
        weighted(name, "DEPTHWISE_CONV_2D", x, w, y, kind, 3, **geometry)


depthwise("depthwise_3x3", [1, 6, 7, 21], [1, 3, 3, 21], [1, 6, 7, 21], fusedActivationFunction=RELU6)
depthwise("depthwise_stride", [2, 9, 10, 8], [1, 5, 3, 8], [2, 5, 5, 8], strideW=2, strideH=2)
depthwise("depthwise_valid", [1, 9, 8, 16], [1, 2, 4, 16], [1, 8, 5, 16], padding=VALID)
depthwise("depthwise_dilated", [1, 9, 9, 9], [1, 3, 3, 9], [1, 9, 9, 9], dilationWFactor=2, dilationHFactor=2)
depthwise("depthwise_multiplier", [1, 6, 7, 5], [1, 3, 3, 15], [1, 6, 7, 15])
depthwise("depthwise_per_tensor", [1, 6, 7, 8], [1, 3, 3, 8], [1, 6, 7, 8], kinds=("i8",), per_tensor=True)

for kind in ["f32", "i8", "dyn", "i16", "u8"]:
    weighted("fully_connected", "FULLY_CONNECTED", [3, 37], [11, 37], [3, 11], kind, 0, per_tensor=True)
    weighted("fully_connected_relu", "FULLY_CONNECTED", [3, 37], [11, 37], [3, 11], kind, 0, per_tensor=True,
             bias=False, fusedActivationFunction=RELU)
for kind in ["f32", "i8", "dyn"]:
    weighted("fully_connected_keep", "FULLY_CONNECTED", [2, 3, 16], [9, 16], [2, 3, 9], kind, 0, keepNumDims=True)


def transpose_conv(name, x, w, y, kinds, **options):
    def variant(kind):
        def build():
            r, net = rng(name), Net()
            weights = r.normal(0, 0.3, w).astype("f4")
            act = kind
            b = r.normal(0, 0.5, y[3]).astype("f4")
            if kind != "f32":
                wq, q, scales = quantized(weights, "i8", 0)
                s = (scales * np.float32(Q[kind][0])).astype("f4")
                wide = "i64" if kind == "i16" else "i32"
                constants = net.const(wq, "i8", q), net.const(np.round(b / s), wide, (s, np.zeros(s.size), 0))
            else:
                constants = net.const(weights, "f32"), net.const(b, "f32")
            operands = [net.const(y, "i32"), constants[0], net.input(x, act, Q.get(act)), constants[1]]
            net.op("TRANSPOSE_CONV", operands, [net.output(y, act, dict(i8=(0.043, 5), i16=(0.0003, 0)).get(kind))], **options)
            return net

        case(f"{name}_{kind}")(build)

    for kind in kinds:
        variant(kind)


transpose_conv("transpose_conv_same", [1, 4, 5, 6], [7, 3, 3, 6], [1, 8, 10, 7], ["f32", "i8", "i16"], padding=SAME,
               strideW=2, strideH=2)
transpose_conv("transpose_conv_valid", [1, 4, 5, 6], [7, 3, 2, 6], [1, 9, 6, 7], ["f32", "i8", "i16"], padding=VALID,
               strideW=1, strideH=2)


# ---- how constants are stored ----
@case("data_behind_the_structure_f32")
def _():
    net = CASES["fully_connected_f32"]()
    net.data_behind = True
    return net


def densified(name, shape, order, formats, block_map=(), block=()):
    def build():
        r, net = rng(name), Net()
        w = r.normal(0, 1, shape).astype("f4") * (r.random(shape) < 0.3)
        sparse = net.sparse(w, "f32", order, formats, block_map, block)
        dense = net.tensor(shape, "f32")
        net.op("DENSIFY", [sparse], [dense])
        x = net.input([2, shape[1]], "f32")
        net.op("FULLY_CONNECTED", [x, dense, net.const(np.zeros(shape[0]), "f32")], [net.output([2, shape[0]], "f32")])
        return net

    case(name)(build)


densified("densify_rows_f32", [6, 8], [0, 1], ["dense", "csr"])
densified("densify_columns_f32", [6, 8], [1, 0], ["dense", "csr"])
densified("densify_both_f32", [6, 8], [0, 1], ["csr", "csr"])
densified("densify_blocks_f32", [6, 8], [0, 1, 2], ["dense", "csr", "dense"], (1,), (4,))
densified("densify_square_blocks_f32", [6, 8], [0, 1, 2, 3], ["dense", "csr", "dense", "dense"], (0, 1), (2, 4))


def four_bits(name, act):
    def build():
        r, net = rng(name), Net()
        w = r.integers(-7, 8, [11, 38])
        s = np.full(11, 0.05, "f4") if act == "f32" else np.float32(0.05)
        weights = net.const(w, "i4", (s, np.zeros(np.size(s)), 0))
        q = Q.get(act)
        bias = net.const(r.normal(0, 0.5, 11), "f32") if act == "f32" else net.const(
            r.integers(-99, 99, 11), "i32", (0.05 * q[0], 0))
        net.op("FULLY_CONNECTED", [net.input([3, 38], act, q), weights, bias],
               [net.output([3, 11], act, (0.043, 5) if q else None)])
        return net

    case(name)(build)


four_bits("fully_connected_int4_dyn", "f32")
four_bits("fully_connected_int4_i8", "i8")


# ---- networks with a state ----
TANH = 4


def matrix(net, r, shape, kind):
    """Weights: f32, or int8 with one scale."""
    w = r.normal(0, 0.4, shape).astype("f4")
    if kind == "f32":
        return net.const(w, "f32")
    scale = np.float32(np.abs(w).max() / 127)
    return net.const(np.round(w / scale), "i8", (scale, 0))


def lstm_operands(net, r, kind, features, units, batch=1, coupled=False, peephole=False, normalized=False,
                  outputs=None, x_q=None, y_q=None):
    """Operands 1 to 23 of an LSTM: -1 is left out."""
    o = outputs or units
    gates = [0] * coupled + [1] * (4 - coupled)
    many = lambda make: [make() if g else -1 for g in gates]
    ws = many(lambda: matrix(net, r, [units, features], kind))
    rs = many(lambda: matrix(net, r, [units, o], kind))
    peep = [net.const(r.normal(0, 0.3, units), "f32") if peephole and g else -1 for g in gates[:3]]

    def bias(w):
        if w < 0:
            return -1
        b = r.normal(0, 0.3, units)
        if kind != "i8":
            return net.const(b, "f32")
        s = np.float32(net.graph.tensors[w].quantization.scale[0]) * np.float32(x_q[0])
        return net.const(np.round(b / s), "i32", (s, 0))

    bs = [bias(w) for w in ws]
    projection = [-1, -1]
    if outputs:
        projection = [matrix(net, r, [o, units], kind), net.const(r.normal(0, 0.3, o), "f32") if kind != "i8" else -1]
    types = ("i8", y_q, "i16", (2.0**-11, 0)) if kind == "i8" else ("f32", None, "f32", None)
    states = [net.state([batch, o], *types[:2]), net.state([batch, units], *types[2:])]
    norm = [net.const(r.uniform(0.5, 1.5, units), "f32") if g else -1 for g in gates] if normalized else []
    return ws + rs + peep + bs + projection, states, norm


def lstm(name, kind, op="UNIDIRECTIONAL_SEQUENCE_LSTM", time_major=False, clip=0.0, asymmetric=False, **how):
    def build():
        r, net = rng(name), Net()
        batch, time, features, units = 2, 5, 7, 6
        x_q, y_q = ((0.03, 5), (0.008, -7)) if kind == "i8" else (None, None)
        shape = [batch, features] if op == "LSTM" else [time, batch, features] if time_major else [batch, time, features]
        act = "i8" if kind == "i8" else "f32"
        x = net.input(shape, act, x_q)
        operands, states, norm = lstm_operands(net, r, kind, features, units, batch, x_q=x_q, y_q=y_q, **how)
        y = net.output(shape[:-1] + [how.get("outputs") or units], act, y_q)
        between = [net.tensor([], "i16", (1 / 4096, 0)) for _ in range(4)] + [net.tensor([], "i8", y_q)] if kind == "i8" else []
        options = dict(fusedActivationFunction=TANH, cellClip=clip, projClip=0.0, asymmetricQuantizeInputs=asymmetric)
        if op != "LSTM":
            options["timeMajor"] = time_major
        net.op(op, [x] + operands + states + norm, [y], between, **options)
        return net

    case(name)(build)


for kind in ["f32", "dyn", "i8"]:
    lstm(f"lstm_{kind}", kind)
    lstm(f"lstm_time_major_{kind}", kind, time_major=True, clip=0.7)
    lstm(f"lstm_coupled_{kind}", kind, coupled=True)
    lstm(f"lstm_projection_{kind}", kind, outputs=4) if kind != "i8" else None
    lstm(f"lstm_step_{kind}", kind, op="LSTM") if kind != "i8" else None
lstm("lstm_asymmetric_dyn", "dyn", asymmetric=True)
lstm("lstm_peephole_f32", "f32", peephole=True)
lstm("lstm_normalized_f32", "f32", normalized=True)
lstm("lstm_normalized_coupled_peephole_f32", "f32", normalized=True, coupled=True, peephole=True, outputs=4)


def bidirectional_lstm(name, kind, merged, **how):
    def build():
        r, net = rng(name), Net()
        # the real runtime mixes up the batches of a merged result
        batch = 1 if merged else 2
        x = net.input([batch, 5, 7], "f32")
        sides = [lstm_operands(net, r, kind, 7, 6, batch, **how) for _ in range(2)]
        operands = [x] + sides[0][0] + sides[1][0] + sides[0][1] + sides[1][1] + [-1] * 9
        outs = [net.output([1, 5, 12], "f32")] if merged else [net.output([2, 5, 6], "f32") for _ in range(2)]
        net.op("BIDIRECTIONAL_SEQUENCE_LSTM", operands, outs, fusedActivationFunction=TANH, timeMajor=False,
               mergeOutputs=merged)
        return net

    case(name)(build)


bidirectional_lstm("lstm_both_ways_f32", "f32", False)
bidirectional_lstm("lstm_both_ways_merged_f32", "f32", True, peephole=True)
bidirectional_lstm("lstm_both_ways_dyn", "dyn", False)


def rnn(name, op, kind, activation, merged=False, asymmetric=False):
    def build():
        r, net = rng(name), Net()
        x = net.input([2, 7] if op == "RNN" else [2, 5, 7], "f32")
        operands = [x]
        ways = 2 if op.startswith("BI") else 1
        for _ in range(ways):
            operands += [matrix(net, r, [6, 7], kind), matrix(net, r, [6, 6], kind), net.const(r.normal(0, 0.3, 6), "f32"),
                         net.state([2, 6], "f32")]
        shape = [2, 6] if op == "RNN" else [2, 5, 6 * (1 + merged)]
        outs = [net.output(shape, "f32") for _ in range(1 if merged else ways)]
        options = dict(fusedActivationFunction=activation, asymmetricQuantizeInputs=asymmetric)
        options |= dict(mergeOutputs=merged) if ways == 2 else {}
        net.op(op, operands + [-1] * (3 if ways == 2 else 0), outs, **options)
        return net

    case(name)(build)


for kind in ["f32", "dyn"]:
    rnn(f"rnn_step_{kind}", "RNN", kind, TANH)
    rnn(f"rnn_{kind}", "UNIDIRECTIONAL_SEQUENCE_RNN", kind, RELU)
    rnn(f"rnn_both_ways_{kind}", "BIDIRECTIONAL_SEQUENCE_RNN", kind, TANH)
rnn("rnn_both_ways_merged_f32", "BIDIRECTIONAL_SEQUENCE_RNN", "f32", RELU6, merged=True)
rnn("rnn_asymmetric_dyn", "UNIDIRECTIONAL_SEQUENCE_RNN", "dyn", TANH, asymmetric=True)


def svdf(name, kind, rank=2):
    def build():
        r, net = rng(name), Net()
        act, q = ("i8", (0.04, 3)) if kind == "i8" else ("f32", None)
        x = net.input([2, 7], act, q)
        features = matrix(net, r, [10, 7], kind)
        t = r.normal(0, 0.4, [10, 4])
        if kind == "i8":
            time = net.const(np.round(t / 2.0**-14), "i16", (2.0**-14, 0))
            bias = net.const(r.integers(-9999, 9999, 10 // rank), "i32", (2.0**-25, 0))
            state = net.state([2, 40], "i16", (2.0**-11, 0))
        else:
            time = matrix(net, r, [10, 4], kind)
            bias, state = net.const(r.normal(0, 0.3, 10 // rank), "f32"), net.state([2, 40], "f32")
        y = net.output([2, 10 // rank], act, (0.02, -9) if q else None)
        net.op("SVDF", [x, features, time, bias, state], [y], rank=rank, fusedActivationFunction=RELU if kind == "i8" else 0)
        return net

    case(name)(build)


for kind in ["f32", "dyn", "i8"]:
    svdf(f"svdf_{kind}", kind)


# ---- int16 beside int8 ----
unary("gelu_i16", "GELU", IMAGE, "i16", Q["i16"], Q2["i16"], approximate=False)
unary("gelu_tanh_i16", "GELU", IMAGE, "i16", Q["i16"], Q2["i16"], approximate=True)
for name, options in [("", {}), ("_half", dict(halfPixelCenters=True)), ("_align", dict(alignCorners=True))]:
    unary(f"resize_bilinear{name}_i16", "RESIZE_BILINEAR", IMAGE, "i16", Q["i16"], out_shape=[1, 9, 4, 13],
          consts=[([9, 4], "i32")], **options)
weighted("conv_grouped", "CONV_2D", [1, 5, 5, 8], [12, 3, 3, 2], [1, 5, 5, 12], "i16", 0, padding=SAME, strideW=1,
         strideH=1, dilationWFactor=1, dilationHFactor=1)
for name, zero in [("", 7), ("_even", 0)]:
    binary(f"batch_matmul_large{name}_i8", "BATCH_MATMUL", "i8", ([2, 9, 30], [1, 30, 21]),
           (Q["i8"], (0.031, zero), (0.6, 3)), [2, 9, 21])
binary("batch_matmul_adjoint_i8", "BATCH_MATMUL", "i8", ([2, 15, 3], [2, 4, 15]), (Q["i8"], Q2["i8"], (0.4, 3)),
       [2, 3, 4], adjX=True, adjY=True)

# ---- picked, marked, put together ----
unary("one_hot_f32", "ONE_HOT", [7], "i32", out_shape=[7, 5], out_dtype="f32",
      consts=[(5, "i32"), (2.5, "f32"), (-1.0, "f32")], axis=-1)
unary("one_hot_axis_i8", "ONE_HOT", [2, 3], "i32", out_shape=[5, 2, 3], out_dtype="i8",
      consts=[(5, "i32"), (1, "i8"), (0, "i8")], axis=0)
unary("matrix_diag_f32", "MATRIX_DIAG", [2, 5], out_shape=[2, 5, 5])
unary("matrix_set_diag_f32", "MATRIX_SET_DIAG", [2, 3, 5], consts=[(np.arange(6).reshape(2, 3), "f32")])
unary("bucketize_f32", "BUCKETIZE", IMAGE, out_dtype="i32", boundaries=[-0.5, 0.0, 0.25])
unary("l2_pool_2d_f32", "L2_POOL_2D", IMAGE, out_shape=[1, 3, 4, 13], padding=SAME, strideW=2, strideH=2,
      filterWidth=3, filterHeight=3)
unary("average_pool_2d_large_f32", "AVERAGE_POOL_2D", [1, 40, 50, 3], out_shape=[1, 1, 1, 3], padding=VALID,
      strideW=1, strideH=1, filterWidth=50, filterHeight=40)


@case("top_k_f32")
def _():
    net = Net()
    outs = [net.output([4, 3], "f32"), net.output([4, 3], "i32")]
    net.op("TOPK_V2", [net.input([4, 9], "f32"), net.const(3, "i32")], outs)
    return net


unary("gather_nd_f32", "GATHER_ND", [4, 5, 3], out_shape=[3, 3], consts=[([[0, 1], [3, 4], [2, 0]], "i32")])
unary("gather_batch_f32", "GATHER", [2, 5, 3], out_shape=[2, 2, 3], consts=[([[4, 0], [1, 1]], "i32")], axis=1,
      batchDims=1)
unary("cumsum_f32", "CUMSUM", [4, 5], consts=[(1, "i32")], exclusive=False, reverse=False)
unary("cumsum_exclusive_reverse_f32", "CUMSUM", [4, 5], consts=[(0, "i32")], exclusive=True, reverse=True)
unary("local_response_f32", "LOCAL_RESPONSE_NORMALIZATION", IMAGE, radius=2, bias=1.0, alpha=0.5, beta=0.75)
unary("reverse_sequence_f32", "REVERSE_SEQUENCE", [3, 5, 2], consts=[([2, 5, 0], "i32")], seqDim=1, batchDim=0)
unary("segment_sum_f32", "SEGMENT_SUM", [4, 5], out_shape=[3, 5], consts=[([0, 0, 1, 2], "i32")])
for kind in ["SUM", "MAX", "MIN", "PROD"]:
    unary(f"unsorted_segment_{kind.lower()}_f32", f"UNSORTED_SEGMENT_{kind}", [4, 5], out_shape=[3, 5],
          consts=[([2, 0, 2, 1], "i32"), (3, "i32")])
unary("conv_3d_f32", "CONV_3D", [1, 5, 6, 4, 3], out_shape=[1, 3, 3, 4, 2],
      consts=[(rng("conv_3d").normal(0, 0.3, [3, 3, 2, 3, 2]), "f32"), ([0.5, -0.5], "f32")], padding=SAME, strideD=2,
      strideH=2, strideW=1, dilationDFactor=1, dilationHFactor=1, dilationWFactor=1)
binary("atan2_f32", "ATAN2")
binary("bitwise_xor_i32", "BITWISE_XOR", "i32", ([17], [17]))


@case("scatter_nd_f32")
def _():
    net = Net()
    operands = [net.const([[1], [3], [1]], "i32"), net.input([3, 4], "f32"), net.const([5, 4], "i32")]
    net.op("SCATTER_ND", operands, [net.output([5, 4], "f32")])
    return net


@case("sparse_to_dense_f32")
def _():
    net = Net()
    operands = [net.const([[0, 1], [2, 3]], "i32"), net.const([3, 4], "i32"), net.input([2], "f32"), net.const(0.5, "f32")]
    net.op("SPARSE_TO_DENSE", operands, [net.output([3, 4], "f32")])
    return net


@case("rfft_abs_f32")
def _():
    net = Net()
    x, c = net.input([3, 1, 12], "f32"), net.tensor([3, 1, 9], "c64")
    net.op("RFFT2D", [x, net.const([1, 16], "i32")], [c])
    net.op("COMPLEX_ABS", [c], [net.output([3, 1, 9], "f32")])
    return net


def boxes(net, n):
    """Boxes and scores of all sizes, of the first input."""
    x = net.input([n, 5], "f32")
    parts = [net.tensor([n, 4], "f32"), net.tensor([n, 1], "f32")]
    net.op("SPLIT_V", [x, net.const([4, 1], "i32"), net.const(1, "i32")], parts, numSplits=2)
    scores = net.tensor([n], "f32")
    net.op("RESHAPE", [parts[1], net.const([n], "i32")], [scores], newShape=[n])
    return parts[0], scores


def suppressed(name, op, extra):
    def build():
        net = Net()
        b, s = boxes(net, 40)
        operands = [b, s, net.const(12, "i32")] + [net.const(np.float32(v), "f32") for v in extra]
        outs = [net.output([12], "i32")] + ([net.output([12], "f32")] if op.endswith("5") else []) + [net.output([], "i32")]
        net.op(op, operands, outs)
        return net

    case(name)(build)


suppressed("non_max_suppression_v4", "NON_MAX_SUPPRESSION_V4", [0.4, -0.2])
suppressed("non_max_suppression_v5", "NON_MAX_SUPPRESSION_V5", [0.6, 0.1, 0.5])


def detector(name, regular):
    def build():
        r, net = rng("detector"), Net()
        e, s = net.input([1, 30, 4], "f32"), net.input([1, 30, 4], "f32")
        anchors = net.const(np.column_stack([r.uniform(0, 1, [30, 2]), r.uniform(0.1, 0.4, [30, 2])]), "f32")
        outs = [net.output(shape, "f32") for shape in ([1, 8, 4], [1, 8], [1, 8], [1])]
        net.op("CUSTOM:TFLite_Detection_PostProcess", [e, s, anchors], outs, max_detections=8,
               max_classes_per_detection=1, detections_per_class=5, use_regular_nms=regular, nms_score_threshold=0.1,
               nms_iou_threshold=0.3, num_classes=3, y_scale=10.0, x_scale=10.0, h_scale=5.0, w_scale=5.0)
        return net

    case(name)(build)


detector("detections_f32", False)
detector("detections_per_class_f32", True)


@case("transpose_conv_bias_f32")
def _():
    r, net = rng("transpose_conv_bias"), Net()
    w, b = net.const(r.normal(0, 0.4, [3, 2, 2, 5]), "f32"), net.const(r.normal(0, 0.4, 3), "f32")
    attributes = np.array([1, 2, 2], "i4").tobytes()
    net.op("CUSTOM:Convolution2DTransposeBias", [net.input([1, 4, 6, 5], "f32"), w, b],
           [net.output([1, 8, 12, 3], "f32")], bytes=attributes)
    return net


# ---- graphs in graphs ----
@case("dynamic_update_slice_f32")
def _():
    net = Net()
    operands = [net.input([5, 4], "f32"), net.input([2, 3], "f32"), net.input([2], "i32")]
    at = net.tensor([2], "i32")
    net.op("FLOOR_MOD", [operands[2], net.const([4, 2], "i32")], [at])
    net.op("DYNAMIC_UPDATE_SLICE", [operands[0], operands[1], at], [net.output([5, 4], "f32")])
    return net


@case("while_list_f32")
def _():
    """One entry after the other of a list is replaced, as converters write it."""
    net = Net()
    x = net.input([4, 3], "f32")

    def condition(net, i, a, x):
        net.op("LESS", [i, net.const(4, "i32")], [net.output([], "bool")])

    def body(net, i, a, x):
        next_, entry = net.output([], "i32"), net.tensor([3], "f32")
        net.op("ADD", [i, net.const(1, "i32")], [next_])
        net.op("GATHER", [x, i], [entry], axis=0)
        at, after, end = net.tensor([1], "i32"), net.tensor([1], "i32"), net.tensor([2], "i32")
        start, size = net.tensor([2], "i32"), net.const([1], "i32")
        net.op("RESHAPE", [i, size], [at], newShape=[1])
        net.op("RESHAPE", [next_, size], [after], newShape=[1])
        net.op("CONCATENATION", [at, net.const([-1], "i32")], [end], axis=0)
        net.op("CONCATENATION", [after, net.const([0], "i32")], [start], axis=0)
        front, back, row = net.tensor([1, 3], "f32"), net.tensor([1, 3], "f32"), net.tensor([1, 3], "f32")
        for t in (front, back):
            net.graph.tensors[t].shapeSignature = [-1, 3]
        net.op("SLICE", [a, net.const([0, 0], "i32"), end], [front])
        net.op("SLICE", [a, start, net.const([-1, -1], "i32")], [back])
        net.op("RESHAPE", [entry, net.const([1, 3], "i32")], [row], newShape=[1, 3])
        net.op("CONCATENATION", [front, row, back], [net.output([4, 3], "f32")], axis=0)
        net.graph.outputs.append(x)

    given = [([], "i32"), ([4, 3], "f32"), ([4, 3], "f32")]
    cond, inner = net.subgraph(part(given, condition)), net.subgraph(part(given, body))
    outs = [net.output([], "i32"), net.output([4, 3], "f32"), net.tensor([4, 3], "f32")]
    net.op("WHILE", [net.const(0, "i32"), net.const(np.zeros([4, 3]), "f32"), x], outs, condSubgraphIndex=cond,
           bodySubgraphIndex=inner)
    return net



def part(inputs, build):
    """A graph of f32 and other inputs: (shape, type)."""
    net = Net()
    build(net, *[net.input(*i) for i in inputs])
    return net


def step(op, shape=(2, 3)):
    """x, y -> op(x, y)"""
    return part([(shape, "f32"), (shape, "f32")], lambda net, x, y: net.op(op, [x, y], [net.output(shape, "f32")]))


@case("if_f32")
def _():
    net = Net()
    x, y = net.input([2, 3], "f32"), net.input([2, 3], "f32")
    c = net.tensor([2, 3], "bool")
    net.op("LESS", [x, y], [c])
    any_ = net.tensor([], "bool")
    net.op("REDUCE_ALL", [c, net.const([0, 1], "i32")], [any_], keepDims=False)
    then, otherwise = net.subgraph(step("ADD")), net.subgraph(step("MUL"))
    net.op("IF", [any_, x, y], [net.output([2, 3], "f32")], thenSubgraphIndex=then, elseSubgraphIndex=otherwise)
    return net


@case("while_f32")
def _():
    net = Net()
    x = net.input([2, 3], "f32")

    def condition(net, i, a, w):
        net.op("LESS", [i, net.const(5, "i32")], [net.output([], "bool")])

    def body(net, i, a, w):
        net.op("ADD", [i, net.const(1, "i32")], [net.output([], "i32")])
        t = net.tensor([2, 3], "f32")
        net.op("FULLY_CONNECTED", [a, w, net.const([0.1, 0.2, -0.3], "f32")], [t])
        net.op("TANH", [t], [net.output([2, 3], "f32")])
        net.graph.outputs.append(w)

    given = [([], "i32"), ([2, 3], "f32"), ([3, 3], "f32")]
    cond, inner = net.subgraph(part(given, condition)), net.subgraph(part(given, body))
    w = net.const(rng("while").normal(0, 0.7, [3, 3]), "f32")
    outs = [net.output([], "i32"), net.output([2, 3], "f32"), net.tensor([3, 3], "f32")]
    net.op("WHILE", [net.const(0, "i32"), x, w], outs, condSubgraphIndex=cond, bodySubgraphIndex=inner)
    return net


@case("variable_f32")
def _():
    net = Net()
    x = net.input([2, 3], "f32")
    first = Net()
    handle = first.tensor([], "resource")
    first.op("VAR_HANDLE", [], [handle], sharedName="v")
    first.op("ASSIGN_VARIABLE", [handle, first.const(np.full([2, 3], 0.5), "f32")], [])
    net.op("CALL_ONCE", [], [], initSubgraphIndex=net.subgraph(first))
    handle, old, new = net.tensor([], "resource"), net.tensor([2, 3], "f32"), net.output([2, 3], "f32")
    net.op("VAR_HANDLE", [], [handle], sharedName="v")
    net.op("READ_VARIABLE", [handle], [old])
    net.op("ADD", [old, x], [new])
    net.op("ASSIGN_VARIABLE", [handle, new], [])
    return net


# ---- what converters seldom write ----
unary("fake_quant_f32", "FAKE_QUANT", IMAGE, min=-0.7, max=0.9, numBits=8, narrowRange=False)
binary("right_shift_i32", "RIGHT_SHIFT", "i32", ([17], [17]))
binary("right_shift_i8", "RIGHT_SHIFT", "i8", ([3, 17], [3, 17]))
binary("right_shift_u16", "RIGHT_SHIFT", "u16", ([17], [17]))
unary("bitcast_f32", "BITCAST", [3, 5], out_dtype="i32")
unary("bitcast_smaller", "BITCAST", [3, 5], "i32", out_dtype="i16", out_shape=[3, 5, 2])
unary("bitcast_larger", "BITCAST", [3, 4], "u8", out_dtype="u32", out_shape=[3])
unary("dilate_f32", "DILATE", [3, 4, 2], out_shape=[7, 4, 4], consts=[([3, 1, 3], "i32"), (0.5, "f32")])
unary("dilate_i8", "DILATE", [3, 4], "i8", out_shape=[5, 7], consts=[([2, 2], "i32"), (-1, "i8")])
for function, first in [("ADD", 0.25), ("MUL", 1.5), ("MINIMUM", 9.0), ("MAXIMUM", -0.1)]:
    unary(f"reduce_window_{function.lower()}_f32", "REDUCE_WINDOW", [7, 9], out_shape=[3, 5],
          consts=[(first, "f32"), ([3, 3], "i64"), ([2, 1], "i64"), ([1, 2], "i64")],
          reduceFunction=getattr(schema.ReduceWindowFunction, function))


def write(archive, answer):
    """Packs MODEL.tflite for every case that LiteRT takes; `answer` gives its outputs or None."""
    answers = []
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, build in CASES.items():
            path = Path(folder) / f"{name}.tflite"
            net = build()
            net.save(path, data_behind=getattr(net, "data_behind", False))
            if (outputs := answer(path)) is not None:
                # The same bytes give the same archive.
                entry = zipfile.ZipInfo(path.name)
                packed.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
                answers.append(dict(model=path.name, outputs=outputs))
    return answers
