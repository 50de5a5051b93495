"""Models of one operator each, or of the few that belong together: what the built-in engine reads from ONNX
files, with what ONNX Runtime makes of a seeded input. `make.py` calls `write`."""
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
TYPES = {"f32": np.float32, "f16": np.float16, "i8": np.int8, "u8": np.uint8, "i32": np.int32, "i64": np.int64,
         "bool": np.bool_}
CASES = {}


class Net:
    """A graph under construction."""

    def __init__(self, opset=OPSET):
        self.opset, self.nodes, self.constants, self.inputs, self.outputs, self.count = opset, [], [], [], [], 0

    def name(self):
        self.count += 1
        return f"v{self.count}"

    def input(self, shape, dtype="f32"):
        name = f"x{len(self.inputs)}"
        self.inputs.append(helper.make_tensor_value_info(name, type_of(dtype), shape))
        return name

    def const(self, value, dtype="f32"):
        name = self.name()
        self.constants.append(numpy_helper.from_array(np.asarray(value, TYPES[dtype]), name))
        return name

    def op(self, kind, *operands, results=1, domain="", **attributes):
        names = [self.name() for _ in range(results)]
        self.nodes.append(helper.make_node(kind, list(operands), names, domain=domain, **attributes))
        return names[0] if results == 1 else names

    def output(self, name, dtype="f32"):
        self.outputs.append(helper.make_tensor_value_info(name, type_of(dtype), None))

    def bytes(self):
        graph = helper.make_graph(self.nodes, "g", self.inputs, self.outputs, self.constants)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def type_of(dtype):
    return helper.np_dtype_to_tensor_dtype(np.dtype(TYPES[dtype]))


def case(name):
    def add(build):
        assert name not in CASES, name
        CASES[name] = build
        return build

    return add


def rng(name):
    return np.random.default_rng(zlib.crc32(name.encode()))


def weights(name, *shape):
    return rng(name).uniform(-1, 1, shape).astype(np.float32)


# ---- floats ----
def simple(name, kind, shapes, consts=(), results=1, opset=OPSET, out="f32", **attributes):
    """`consts` follow the inputs: (value, type), or None for one left out."""

    def build():
        net = Net(opset)
        operands = [net.input(shape) for shape in shapes]
        operands += ["" if c is None else net.const(*c) for c in consts]
        names = net.op(kind, *operands, results=results, **attributes)
        for y in [names] if results == 1 else names:
            net.output(y, out)
        return net

    case(name)(build)


IMAGE = [1, 5, 7, 6]
for kind in ["Abs", "Neg", "Exp", "Erf", "Floor", "Ceil", "Round", "Sign", "Sin", "Cos", "Tanh", "Sigmoid", "Relu",
             "Softplus", "Softsign", "Reciprocal", "HardSigmoid", "HardSwish", "LeakyRelu", "Elu", "Selu", "Celu",
             "ThresholdedRelu", "Identity", "GlobalAveragePool", "GlobalMaxPool"]:
    simple(kind.lower(), kind, [IMAGE])
simple("leaky_relu_alpha", "LeakyRelu", [IMAGE], alpha=0.3)
simple("hard_sigmoid_alpha", "HardSigmoid", [IMAGE], alpha=0.4, beta=0.6)
simple("clip", "Clip", [IMAGE], [(-0.25, "f32"), (0.5, "f32")])
simple("clip_above", "Clip", [IMAGE], [None, (0.5, "f32")])
simple("clip_opset6", "Clip", [IMAGE], opset=7, min=-0.25, max=0.5)
simple("prelu", "PRelu", [IMAGE], [(weights("prelu", 5, 1, 1), "f32")])
simple("gelu", "Gelu", [IMAGE], opset=20)
simple("gelu_tanh", "Gelu", [IMAGE], opset=20, approximate="tanh")
for kind in ["Add", "Sub", "Mul", "Div", "Min", "Max", "PRelu"]:
    simple(f"{kind.lower()}_broadcast", kind, [[2, 3, 4], [3, 1]])
for kind in ["Add", "Mul"]:
    simple(f"{kind.lower()}_same", kind, [[2, 3, 4], [2, 3, 4]])
    simple(f"{kind.lower()}_channels", kind, [IMAGE], [(weights(kind, 5, 1, 1), "f32")])
simple("mod_float", "Mod", [[2, 3, 4], [3, 1]], fmod=1)
simple("pow_square", "Pow", [IMAGE], [(2, "f32")])
simple("pow_cube", "Pow", [IMAGE], [(3, "i64")])
simple("sum_three", "Sum", [[2, 3], [3], [2, 1]])
simple("mean_three", "Mean", [[2, 3], [3], [2, 1]])
for kind in ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"]:
    simple(kind.lower(), kind, [[2, 3, 4], [3, 1]], out="bool")

for kind in ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
             "ReduceSumSquare", "ReduceLogSumExp"]:
    by_operand = kind == "ReduceSum"
    axes = dict(consts=[([1, -1], "i64")]) if by_operand else dict(axes=[1, -1])
    simple(kind.lower(), kind, [[2, 3, 4, 5]], keepdims=0, **axes)
    simple(f"{kind.lower()}_all", kind, [[2, 3, 4, 5]], keepdims=1)
simple("reduce_mean_operand", "ReduceMean", [[2, 3, 4]], [([0, 2], "i64")], opset=18)
simple("argmax", "ArgMax", [[2, 7, 4]], out="i64", axis=1)
simple("argmin_flat", "ArgMin", [[2, 7, 4]], out="i64", axis=-1, keepdims=0)
for axis in [0, 1, -1]:
    simple(f"softmax_{axis}", "Softmax", [[3, 4, 5]], axis=axis)
    simple(f"logsoftmax_{axis}", "LogSoftmax", [[3, 4, 5]], axis=axis)
simple("softmax_opset11", "Softmax", [[3, 4, 5]], opset=11, axis=1)
simple("cumsum", "CumSum", [[2, 5, 3]], [(1, "i64")])
simple("cumsum_reverse", "CumSum", [[2, 5, 3]], [(1, "i64")], reverse=1)

simple("reshape", "Reshape", [[2, 3, 4]], [([0, -1], "i64")])
simple("flatten", "Flatten", [[2, 3, 4]], axis=2)
simple("flatten_negative", "Flatten", [[2, 3, 4]], axis=-1)
simple("squeeze", "Squeeze", [[2, 1, 4, 1]], [([1], "i64")])
simple("squeeze_all", "Squeeze", [[2, 1, 4, 1]])
simple("unsqueeze", "Unsqueeze", [[2, 4]], [([0, -1], "i64")])
simple("transpose", "Transpose", [[2, 3, 4]], perm=[1, 2, 0])
simple("transpose_reverse", "Transpose", [[2, 3, 4]])
simple("concat", "Concat", [[2, 3], [2, 1], [2, 4]], axis=-1)
simple("split_even", "Split", [[2, 6]], results=3, axis=1)
simple("split_given", "Split", [[2, 6]], [([1, 5], "i64")], results=2, axis=1)
simple("slice", "Slice", [[5, 6, 7]], [([1, -1], "i64"), ([4, -7], "i64"), ([0, 2], "i64"), ([1, -2], "i64")])
simple("slice_opset9", "Slice", [[5, 6]], opset=9, starts=[1, 0], ends=[-1, 99])
simple("gather", "Gather", [[5, 4]], [([[0, 4], [-1, 2]], "i64")])
simple("gather_axis", "Gather", [[5, 4]], [([3, 0], "i32")], axis=1)
simple("expand", "Expand", [[3, 1]], [([2, 1, 4], "i64")])
simple("tile", "Tile", [[2, 3]], [([2, 3], "i64")])
for mode in ["constant", "reflect", "edge"]:
    simple(f"pad_{mode}", "Pad", [[1, 2, 5, 4]], [([0, 0, 1, 2, 0, 0, 2, 1], "i64")], mode=mode)
simple("pad_value", "Pad", [[1, 2, 5, 4]], [([0, 1, 1, 2, 0, 0, 2, 1], "i64"), (0.5, "f32")])
simple("pad_crop", "Pad", [[5, 4]], [([1, -1, 0, 2], "i64")])
simple("depth_to_space", "DepthToSpace", [[1, 8, 2, 3]], blocksize=2)
simple("depth_to_space_crd", "DepthToSpace", [[1, 8, 2, 3]], blocksize=2, mode="CRD")
simple("space_to_depth", "SpaceToDepth", [[1, 2, 4, 6]], blocksize=2)


@case("where")
def build_where():
    net = Net()
    condition, a, b = net.input([3, 1], "bool"), net.input([3, 4]), net.input([4])
    net.output(net.op("Where", condition, a, b))
    return net


@case("logic")
def build_logic():
    net = Net()
    a, b = net.input([3, 4], "bool"), net.input([4], "bool")
    net.output(net.op("Xor", net.op("And", a, b), net.op("Or", net.op("Not", a), b)), "bool")
    return net


for to in ["i32", "i64", "u8", "bool", "f16"]:
    def build(to=to):
        net = Net()
        x = net.op("Mul", net.op("Abs", net.input([3, 5])), net.const(100))
        net.output(net.op("Cast", x, to=type_of(to)), to)
        return net

    case(f"cast_{to}")(build)


# ---- shapes that constants decide ----
@case("shape_arithmetic")
def build_shape_arithmetic():
    net = Net()
    x = net.input([2, 3, 4])
    shape = net.op("Shape", x)
    last = net.op("Gather", shape, net.const(2, "i64"))
    rest = net.op("Div", net.op("Size", x), last)
    wanted = [net.op("Unsqueeze", v, net.const([0], "i64")) for v in (last, rest)]
    net.output(net.op("Reshape", x, net.op("Concat", *wanted, axis=0)))
    return net


@case("constant_of_shape_range")
def build_constant_of_shape():
    net = Net()
    x = net.input([2, 3])
    ones = net.op("ConstantOfShape", net.op("Shape", x), value=numpy_helper.from_array(np.array([2], np.float32)))
    steps = net.op("Range", net.const(0, "i64"), net.const(3, "i64"), net.const(1, "i64"))
    net.output(net.op("Add", net.op("Mul", x, ones), net.op("Cast", steps, to=TensorProto.FLOAT)))
    return net


@case("if_constant")
def build_if():
    net = Net()
    x = net.input([2, 3])
    branches = {}
    for name, kind in [("then_branch", "Relu"), ("else_branch", "Neg")]:
        y = helper.make_tensor_value_info(f"{kind}_y", TensorProto.FLOAT, None)
        branches[name] = helper.make_graph([helper.make_node(kind, [x], [y.name])], kind, [], [y])
    net.output(net.op("If", net.op("Not", net.const(True, "bool")), **branches))
    return net


# ---- layers ----
def layer(name, kind, shape, filter_shape, bias=None, follow=(), **attributes):
    def build():
        net = Net()
        operands = [net.input(shape), net.const(weights(name, *filter_shape))]
        if bias:
            operands.append(net.const(weights(f"{name} bias", bias)))
        y = net.op(kind, *operands, **attributes)
        for step in follow:
            y = net.op(step[0], y, *(net.const(*c) for c in step[1:]))
        net.output(y)
        return net

    case(name)(build)


layer("conv", "Conv", [1, 3, 9, 8], [4, 3, 3, 2], 4, pads=[1, 0, 1, 1], strides=[2, 1])
layer("conv_batch", "Conv", [3, 2, 5, 5], [4, 2, 3, 3])
layer("conv_same_upper", "Conv", [1, 3, 8, 8], [4, 3, 3, 3], auto_pad="SAME_UPPER", strides=[2, 2])
layer("conv_same_lower", "Conv", [1, 3, 8, 8], [4, 3, 3, 3], auto_pad="SAME_LOWER", strides=[2, 2])
layer("conv_dilated", "Conv", [1, 3, 9, 9], [4, 3, 3, 3], dilations=[2, 2])
layer("conv_grouped", "Conv", [1, 6, 7, 7], [4, 3, 3, 3], 4, group=2)
layer("conv_depthwise", "Conv", [1, 6, 7, 7], [6, 1, 3, 3], 6, group=6, pads=[1, 1, 1, 1])
layer("conv_depthwise_times_two", "Conv", [1, 3, 7, 7], [6, 1, 3, 3], 6, group=3)
layer("conv_1d", "Conv", [2, 3, 12], [4, 3, 5], 4, pads=[2, 2], strides=[2])
layer("conv_clip", "Conv", [1, 3, 7, 7], [4, 3, 1, 1], 4, [("Clip", (0, "f32"), (0.5, "f32"))])
layer("conv_relu", "Conv", [1, 3, 7, 7], [4, 3, 3, 3], None, [("Relu",)])
NORM = [(weights(f"norm{i}", 4) + (1.5 if i == 3 else 0), "f32") for i in range(4)]
layer("conv_batch_norm_relu", "Conv", [1, 3, 7, 7], [4, 3, 3, 3], 4, [("BatchNormalization", *NORM), ("Relu",)])
layer("conv_scale_shift", "Conv", [1, 3, 7, 7], [4, 3, 3, 3], None,
      [("Mul", (weights("scale", 4, 1, 1), "f32")), ("Add", (weights("shift", 1, 4, 1, 1), "f32"))])
layer("conv_transpose", "ConvTranspose", [1, 3, 5, 4], [3, 4, 3, 3], 4, strides=[2, 2], pads=[1, 0, 0, 1])
layer("conv_transpose_output_padding", "ConvTranspose", [1, 3, 5, 4], [3, 4, 3, 3], strides=[2, 2],
      output_padding=[1, 1], pads=[1, 1, 1, 1])
layer("conv_transpose_grouped", "ConvTranspose", [1, 4, 5, 4], [4, 3, 2, 2], 6, group=2, strides=[2, 1])
layer("conv_transpose_1d", "ConvTranspose", [1, 3, 6], [3, 2, 4], strides=[2])
layer("gemm", "Gemm", [3, 8], [8, 5], 5)
layer("gemm_transposed", "Gemm", [8, 3], [5, 8], 5, transA=1, transB=1, alpha=0.5, beta=2.0)
layer("matmul_weights", "MatMul", [2, 3, 8], [8, 5], follow=[("Add", (weights("mm", 5), "f32"))])
simple("matmul_two", "MatMul", [[2, 3, 4], [2, 4, 5]])
simple("matmul_broadcast", "MatMul", [[2, 3, 4], [4, 5]])
simple("matmul_vector", "MatMul", [[2, 3, 4], [4]])
simple("matmul_row", "MatMul", [[4], [2, 4, 3]])
simple("batch_normalization", "BatchNormalization", [[2, 4, 3, 3]], NORM)
simple("instance_normalization", "InstanceNormalization", [[2, 4, 3, 3]], NORM[:2])
simple("layer_normalization", "LayerNormalization", [[2, 3, 4]], NORM[:2])
simple("layer_normalization_axis", "LayerNormalization", [[2, 3, 4]], [(weights("ln", 3, 4), "f32")], axis=1)
simple("lp_normalization", "LpNormalization", [[2, 3, 4]], axis=1)
for kind in ["MaxPool", "AveragePool"]:
    name = kind.lower()
    simple(name, kind, [IMAGE], kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])
    simple(f"{name}_ceil", kind, [IMAGE], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    simple(f"{name}_1d", kind, [[1, 3, 9]], kernel_shape=[3], strides=[2])
    simple(f"{name}_same", kind, [IMAGE], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
simple("averagepool_with_padding", "AveragePool", [IMAGE], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
for mode in ["nearest", "linear"]:
    for how in ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]:
        simple(f"resize_{mode}_{how}", "Resize", [[1, 2, 4, 5]], [None, None, ([1, 2, 9, 7], "i64")], mode=mode,
               coordinate_transformation_mode=how)
    simple(f"resize_{mode}_scales", "Resize", [[1, 2, 4, 5]], [None, ([1, 1, 0.6, 2.3], "f32")], mode=mode)
for rounding in ["floor", "ceil", "round_prefer_ceil"]:
    simple(f"resize_{rounding}", "Resize", [[1, 2, 2, 2]], [None, None, ([1, 2, 7, 8], "i64")], mode="nearest",
           nearest_mode=rounding)


@case("nchw_network")
def build_network():
    """Transposes, a residual sum and a concatenation between convolutions: all of it can be [n, h, w, c]."""
    net = Net()
    x = net.op("Transpose", net.input([1, 6, 6, 3]), perm=[0, 3, 1, 2])
    a = net.op("Relu", net.op("Conv", x, net.const(weights("n1", 4, 3, 3, 3)), pads=[1, 1, 1, 1]))
    b = net.op("Conv", a, net.const(weights("n2", 4, 4, 1, 1)))
    y = net.op("Concat", net.op("Add", a, b), net.op("Pad", b, net.const([0] * 8, "i64")), axis=1)
    y = net.op("ReduceMean", net.op("Sub", y, net.const(weights("n3", 1, 8, 1, 1))), axes=[2, 3], keepdims=0)
    net.output(net.op("MatMul", y, net.const(weights("n4", 8, 3))))
    return net


# ---- integers ----
def quantized(name, kind, shapes, out=(0.031, 5), scales=None, consts=(), weight=None, bias=False, **attributes):
    """The operator between dequantised inputs and a quantised result, for i8 and u8."""
    scales = scales or [(0.0173, -7), (0.0283, 6), (0.02, 11)]
    for dtype in ["i8", "u8"]:
        def build(dtype=dtype):
            net = Net()
            off = 128 if dtype == "u8" else 0
            pair = lambda scale, zero: (net.const(scale), net.const(zero + off, dtype))
            operands = []
            for shape, scale in zip(shapes, scales):
                operands.append(net.op("DequantizeLinear", net.input(shape, dtype), *pair(*scale)))
            if weight:
                channels = weight[0]
                w = rng(name).integers(-127, 128, weight)
                w_scales = rng(f"{name} scales").uniform(0.002, 0.01, channels).astype(np.float32)
                operands.append(net.op("DequantizeLinear", net.const(w, "i8"), net.const(w_scales),
                                       net.const(np.zeros(channels), "i8"), axis=0))
                if bias:
                    b = rng(f"{name} bias").integers(-3000, 3000, channels)
                    b_scales = np.float32(scales[0][0]) * w_scales
                    operands.append(net.op("DequantizeLinear", net.const(b, "i32"), net.const(b_scales),
                                           net.const(np.zeros(channels), "i32"), axis=0))
            operands += [net.const(*c) for c in consts]
            y = net.op(kind, *operands, **attributes)
            net.output(net.op("QuantizeLinear", y, *pair(*out)), dtype)
            return net

        case(f"qdq_{name}_{dtype}")(build)


SAME = dict(scales=[(0.02, 3)], out=(0.02, 3))
PROBABILITY = dict(out=(1 / 255, -128))
quantized("conv", "Conv", [[1, 3, 9, 8]], weight=[8, 3, 3, 3], bias=True, pads=[1, 1, 1, 1], strides=[2, 2])
quantized("conv_no_bias", "Conv", [[1, 5, 6, 6]], weight=[4, 5, 1, 1])
quantized("conv_depthwise", "Conv", [[1, 8, 7, 7]], weight=[8, 1, 3, 3], bias=True, group=8, pads=[1, 1, 1, 1])
quantized("gemm", "Gemm", [[3, 24]], out=(0.1, 4), weight=[7, 24], bias=True, transB=1)
quantized("add", "Add", [[1, 4, 6, 6]] * 2)
quantized("mul", "Mul", [[1, 4, 6, 6]] * 2)
quantized("sub", "Sub", [[1, 4, 6, 6]] * 2)
quantized("concat", "Concat", [[2, 5], [2, 3], [2, 4]], axis=1)
quantized("average_pool", "AveragePool", [[1, 4, 9, 9]], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
quantized("global_average_pool", "GlobalAveragePool", [[1, 8, 5, 5]], out=(0.004, -20))
quantized("max_pool", "MaxPool", [[1, 4, 9, 9]], kernel_shape=[3, 3], strides=[2, 2], **SAME)
quantized("global_max_pool", "GlobalMaxPool", [[1, 8, 5, 5]], **SAME)
quantized("softmax", "Softmax", [[9, 10]], axis=-1, **PROBABILITY)
quantized("sigmoid", "Sigmoid", [[5, 50]], **PROBABILITY)
quantized("tanh", "Tanh", [[5, 50]], out=(1 / 128, 0))
quantized("leaky_relu", "LeakyRelu", [[5, 50]], alpha=0.1)
quantized("relu", "Relu", [[5, 50]])
quantized("clip", "Clip", [[5, 50]], consts=[(-0.5, "f32"), (1, "f32")])
quantized("transpose", "Transpose", [[2, 3, 4]], perm=[2, 0, 1], **SAME)
quantized("reshape", "Reshape", [[2, 3, 4]], consts=[([6, 4], "i64")], **SAME)
quantized("pad", "Pad", [[1, 2, 3, 4]], consts=[([0, 0, 1, 1, 0, 0, 1, 1], "i64")], **SAME)
quantized("resize", "Resize", [[1, 2, 4, 4]], consts=[([], "f32"), ([1, 1, 2, 2], "f32")], mode="nearest", **SAME)
quantized("reduce_mean", "ReduceMean", [[1, 8, 5, 5]], out=(0.004, -20), axes=[2, 3])

TRIPLES = {"a": (0.0173, -7), "b": (0.0283, 6), "y": (0.031, 5)}
for kind, shapes in [("QLinearAdd", [[3, 40]] * 2), ("QLinearMul", [[3, 40]] * 2), ("QLinearSigmoid", [[3, 40]]),
                     ("QLinearLeakyRelu", [[3, 40]])]:
    def build(kind=kind, shapes=shapes):
        net = Net()
        pair = lambda which: (net.const(TRIPLES[which][0]), net.const(TRIPLES[which][1], "i8"))
        operands = []
        for which, shape in zip("ab", shapes):
            operands += [net.input(shape, "i8"), *pair(which)]
        net.output(net.op(kind, *operands, *pair("y"), domain="com.microsoft"), "i8")
        return net

    case(kind.lower())(build)


@case("qlinearconv")
def build_qlinearconv():
    net = Net()
    scale = rng("qlinearconv").uniform(0.002, 0.01, 6).astype(np.float32)
    w, b = rng("w").integers(-127, 128, [6, 4, 3, 3]), rng("b").integers(-2000, 2000, 6)
    y = net.op("QLinearConv", net.input([1, 4, 6, 6], "u8"), net.const(0.02), net.const(120, "u8"), net.const(w, "i8"),
               net.const(scale), net.const(np.zeros(6), "i8"), net.const(0.05), net.const(128, "u8"),
               net.const(b, "i32"), pads=[1, 1, 1, 1])
    net.output(y, "u8")
    return net


@case("qlinearmatmul")
def build_qlinearmatmul():
    net = Net()
    w = rng("qlinearmatmul").integers(-127, 128, [24, 5])
    y = net.op("QLinearMatMul", net.input([3, 24], "u8"), net.const(0.02), net.const(120, "u8"), net.const(w, "i8"),
               net.const(0.005), net.const(0, "i8"), net.const(0.05), net.const(128, "u8"))
    net.output(y, "u8")
    return net


@case("dynamic_quantize")
def build_dynamic_quantize():
    net = Net()
    y, scale, zero = net.op("DynamicQuantizeLinear", net.input([4, 9]), results=3)
    for name, dtype in [(y, "u8"), (scale, "f32"), (zero, "u8")]:
        net.output(name, dtype)
    return net


def dynamic(name, kind, shape, w, w_scale, w_zero, dtype="i8", bias=None, **attributes):
    """What a quantiser writes for a layer with weights in 8 bits and activations quantised at run time."""

    def build():
        net = Net()
        x, scale, zero = net.op("DynamicQuantizeLinear", net.input(shape), results=3)
        y = net.op(kind, x, net.const(w, dtype), zero, net.const(w_zero, dtype), **attributes)
        y = net.op("Cast", y, to=TensorProto.FLOAT)
        y = net.op("Mul", y, net.op("Mul", scale, net.const(w_scale)))
        net.output(net.op("Add", y, net.const(bias)) if bias is not None else y)
        return net

    case(f"dynamic_{name}")(build)


W = lambda name, *shape: rng(name).integers(-127, 128, shape)
dynamic("conv", "ConvInteger", [1, 3, 7, 7], W("dc", 5, 3, 3, 3), [0.01], 0, bias=weights("dcb", 1, 5, 1, 1),
        pads=[1, 1, 1, 1])
dynamic("conv_depthwise", "ConvInteger", [1, 6, 7, 7], W("dd", 6, 1, 3, 3), [0.01], 0, group=6)
dynamic("conv_u8", "ConvInteger", [1, 3, 7, 7], W("du", 5, 3, 3, 3) + 127, [0.01], 113, "u8", pads=[1, 1, 1, 1])
dynamic("matmul", "MatMulInteger", [3, 16], W("dm", 16, 5), [0.01], 0, bias=weights("dmb", 5))
dynamic("matmul_channels", "MatMulInteger", [2, 3, 16], W("dn", 16, 5), weights("dns", 5) + 1.5, np.zeros(5))


@case("integer_product")
def build_integer_product():
    """Without the operators around it that make a layer of it."""
    net = Net()
    w, zero = net.const(W("ip", 8, 3), "i8"), net.const(3, "u8")
    net.output(net.op("MatMulInteger", net.input([2, 8], "u8"), w, zero), "i32")
    return net


@case("half_precision")
def build_half():
    net = Net()
    x = net.op("Cast", net.input([2, 8]), to=TensorProto.FLOAT16)
    y = net.op("MatMul", x, net.const(weights("half", 8, 3), "f16"))
    net.output(net.op("Cast", y, to=TensorProto.FLOAT))
    return net


@case("half_precision_ends")
def build_half_ends():
    net = Net()
    net.output(net.op("Abs", net.input([2, 8], "f16")), "f16")
    return net


def write(archive, answer):
    """Packs MODEL.onnx for every case that ONNX Runtime takes; `answer` gives its outputs or None."""
    answers = []
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, build in CASES.items():
            path = Path(folder) / f"{name}.onnx"
            path.write_bytes(build().bytes())
            if (outputs := answer(path)) is not None:
                # The same bytes give the same archive.
                entry = zipfile.ZipInfo(path.name)
                packed.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
                answers.append(dict(model=path.name, outputs=outputs))
    return answers
