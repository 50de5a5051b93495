"""More models of one operator each, beside those of `onnx_ops`: indices, recurrent layers, control flow, images, signals,
and convolutions and pools of any dimensions."""
import numpy as np
from onnx import TensorProto, helper

from onnx_ops import IMAGE, Net, case, rng, simple, type_of, weights

# ---- bits and functions ----
for kind in ["Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Atanh"]:
    simple(kind.lower(), kind, [[3, 5]])
simple("shrink", "Shrink", [[3, 5]], lambd=0.3, bias=0.1)
simple("mish", "Mish", [[3, 5]], opset=18)
simple("is_nan", "IsNaN", [[3, 5]], out="bool")
simple("is_inf", "IsInf", [[3, 5]], out="bool")
simple("mean_variance", "MeanVarianceNormalization", [IMAGE])


def integers(name, kind, shapes, dtype, opset=18, **attributes):
    def build():
        net = Net(opset)
        net.output(net.op(kind, *[net.input(shape, dtype) for shape in shapes], **attributes), dtype)
        return net

    case(name)(build)


for kind in ["BitwiseAnd", "BitwiseOr", "BitwiseXor"]:
    integers(kind.lower(), kind, [[2, 3], [3]], "i32")
integers("bitwise_not", "BitwiseNot", [[2, 3]], "u8")
integers("bit_shift_left", "BitShift", [[2, 3], [3]], "u8", direction="LEFT")
integers("bit_shift_right", "BitShift", [[2, 3], [3]], "u8", direction="RIGHT")
integers("max_u8", "Max", [[2, 3], [3]], "u8")
integers("min_i8", "Min", [[2, 3], [3]], "i8")
integers("clip_relu_i8", "Clip", [[2, 3]], "i8", opset=12)

# ---- indices ----
simple("scatter_elements", "ScatterElements", [[3, 4]],
       [([[0, 2, -1, 1], [1, 0, 0, 2]], "i64"), (weights("se", 2, 4), "f32")], opset=18)
for reduction in ["add", "mul", "max", "min"]:
    simple(f"scatter_elements_{reduction}", "ScatterElements", [[3, 4]],
           [([[0, 2], [1, 1], [3, -1]], "i64"), (weights("sr", 3, 2), "f32")], axis=1, reduction=reduction, opset=18)
simple("scatter_nd", "ScatterND", [[4, 3]], [([[1], [-1]], "i64"), (weights("sn", 2, 3), "f32")])
simple("scatter_nd_add", "ScatterND", [[4, 3]], [([[1, 2], [1, 2]], "i64"), (weights("sa", 2), "f32")],
       reduction="add")
simple("gather_elements", "GatherElements", [[3, 4]], [([[0, 1, 2, 3], [3, -2, 1, 0]], "i64")], axis=1)
simple("gather_nd", "GatherND", [[3, 4, 2]], [([[0, 1], [2, -1]], "i64")])
simple("gather_nd_batch", "GatherND", [[2, 4, 2]], [([[0], [3]], "i64")], batch_dims=1)
simple("hardmax", "Hardmax", [[3, 4, 2]], axis=1)
simple("trilu", "Trilu", [[2, 4, 5]])
simple("trilu_lower", "Trilu", [[4, 5]], [(-1, "i64")], upper=0)
simple("compress", "Compress", [[3, 4]], [([1, 0, 1], "bool")], axis=0)
simple("reverse_sequence", "ReverseSequence", [[4, 3, 2]], [([2, 4, 1], "i64")])
simple("max_unpool", "MaxUnpool", [[1, 1, 2, 2]], [([[[[0, 3], [8, 10]]]], "i64")], kernel_shape=[2, 2],
       strides=[2, 2])
simple("argmax_last", "ArgMax", [[3, 4]], axis=1, select_last_index=1, out="i64")
simple("cumsum_exclusive", "CumSum", [[3, 4]], [(1, "i64")], exclusive=1)


@case("top_k")
def build_top_k():
    net = Net()
    values, indices = net.op("TopK", net.input([3, 7]), net.const([4], "i64"), results=2, axis=1)
    net.output(values)
    net.output(indices, "i64")
    return net


@case("one_hot")
def build_one_hot():
    net = Net()
    x = net.op("Cast", net.op("Mul", net.input([2, 3]), net.const(4)), to=TensorProto.INT64)
    net.output(net.op("OneHot", x, net.const(4, "i64"), net.const([0.25, 2]), axis=1))
    return net


# ---- recurrent layers ----
def recurrent(name, kind, gates, optional=(), directions=1, opset=17, **attributes):
    def build():
        net = Net(opset)
        features, units, batch, time = 3, 4, 2, 5
        shapes = dict(b=[directions, 2 * gates * units], h=[directions, batch, units], c=[directions, batch, units],
                      p=[directions, 3 * units])
        operands = [net.input([time, batch, features]), net.const(weights(f"{name}w", directions, gates * units, features)),
                    net.const(weights(f"{name}r", directions, gates * units, units))]
        for which in ["b", "l", "h", "c", "p"]:
            if which == "l":
                operands.append(net.const([5, 3], "i32") if "l" in optional else "")
            elif kind == "LSTM" or which in "bh":
                operands.append(net.const(weights(name + which, *shapes[which])) if which in optional else "")
        results = net.op(kind, *operands, results=3 if kind == "LSTM" else 2, hidden_size=units, **attributes)
        for result in results:
            net.output(result)
        return net

    case(name)(build)


recurrent("rnn", "RNN", 1, "b")
recurrent("rnn_bidirectional", "RNN", 1, "blh", directions=2, direction="bidirectional")
recurrent("gru", "GRU", 3, "bh")
recurrent("gru_reset_after", "GRU", 3, "b", linear_before_reset=1, direction="reverse")
recurrent("lstm", "LSTM", 4, "bhc")
recurrent("lstm_bidirectional", "LSTM", 4, "bl", directions=2, direction="bidirectional")
recurrent("lstm_peepholes", "LSTM", 4, "bp", clip=0.5)


# ---- control flow ----
def body(inputs, outputs, build):
    net = Net()
    net.count = 100  # names of its own
    results = build(net, [name for name, _, _ in inputs])
    info = helper.make_tensor_value_info
    return helper.make_graph(net.nodes, "body", [info(n, type_of(d), s) for n, s, d in inputs],
                             [info(n, type_of(d), s) for n, (s, d) in zip(results, outputs)], net.constants)


@case("loop")
def build_loop():
    """Doubles what it is given and keeps every value."""
    net = Net()

    def turn(inner, names):
        y = inner.op("Add", names[2], names[2])
        return [inner.op("Identity", names[1]), y, inner.op("Mul", y, inner.op("Cast", names[0], to=TensorProto.FLOAT))]

    graph = body([("i", [], "i64"), ("go", [], "bool"), ("v", [2], "f32")],
                 [([], "bool"), ([2], "f32"), ([2], "f32")], turn)
    last, all_values = net.op("Loop", net.const(3, "i64"), "", net.input([2]), results=2, body=graph)
    net.output(last)
    net.output(all_values)
    return net


@case("scan")
def build_scan():
    """Running sums, backwards."""
    net = Net()

    def turn(inner, names):
        y = inner.op("Add", names[0], names[1])
        return [y, inner.op("Identity", y)]

    graph = body([("sum", [3], "f32"), ("next", [3], "f32")], [([3], "f32"), ([3], "f32")], turn)
    total, sums = net.op("Scan", net.const(np.zeros(3)), net.input([3, 4]), results=2, body=graph, num_scan_inputs=1,
                         scan_input_axes=[1], scan_input_directions=[1], scan_output_axes=[1])
    net.output(total)
    net.output(sums)
    return net


# ---- any dimensions ----
simple("conv_3d", "Conv", [[1, 4, 4, 5, 3]], [(weights("c3", 6, 2, 2, 3, 2), "f32"), (weights("c3b", 6), "f32")],
       group=2, strides=[1, 2, 1], pads=[1, 0, 1, 0, 1, 0])
simple("conv_weights_as_input", "Conv", [[1, 2, 5, 5], [3, 2, 3, 3]], auto_pad="SAME_UPPER")
simple("conv_transpose_3d", "ConvTranspose", [[1, 2, 3, 2, 3]], [(weights("t3", 2, 3, 2, 2, 2), "f32")],
       strides=[2, 1, 2], pads=[1, 0, 0, 0, 0, 1])
simple("gemm_all_inputs", "Gemm", [[3, 4], [4, 5], [5]], alpha=0.5, beta=2.0)
simple("average_pool_3d", "AveragePool", [[1, 2, 4, 5, 4]], kernel_shape=[2, 3, 2], strides=[2, 1, 1],
       pads=[1, 1, 0, 0, 1, 1])
simple("average_pool_ceil_with_padding", "AveragePool", [[1, 2, 6, 5]], kernel_shape=[3, 2], strides=[2, 2],
       pads=[1, 0, 1, 1], ceil_mode=1, count_include_pad=1, opset=19)
simple("max_pool_3d", "MaxPool", [[1, 2, 4, 5, 4]], kernel_shape=[2, 3, 2], dilations=[2, 1, 1])
simple("lp_pool", "LpPool", [[1, 2, 5, 5]], kernel_shape=[2, 3], p=2, pads=[0, 1, 1, 1])
simple("lrn", "LRN", [IMAGE], size=3, alpha=0.5, beta=0.75, bias=1.5)


@case("max_pool_places")
def build_max_pool_places():
    net = Net()
    y, places = net.op("MaxPool", net.input([1, 2, 5, 5]), results=2, kernel_shape=[2, 3], strides=[2, 1])
    net.output(y)
    net.output(places, "i64")
    return net


# ---- images ----
for mode in ["linear", "cubic", "nearest"]:
    for outside in ["zeros", "border", "reflection"]:
        simple(f"grid_sample_{mode}_{outside}", "GridSample", [[1, 2, 4, 5], [1, 3, 2, 2]], opset=20, mode=mode,
               padding_mode=outside, align_corners=int(mode == "cubic"))
simple("grid_sample_3d", "GridSample", [[1, 2, 3, 4, 5], [1, 2, 3, 2, 3]], opset=20, mode="linear")
simple("affine_grid", "AffineGrid", [[2, 2, 3]], [([2, 1, 3, 4], "i64")], opset=20)
BOXES = [[0, 0, 5, 5], [1, 2, 4, 6], [-1, -1, 8, 3]]
for mode in ["avg", "max"]:
    simple(f"roi_align_{mode}", "RoiAlign", [IMAGE], [(BOXES, "f32"), ([0, 0, 0], "i64")], mode=mode, output_height=2,
           output_width=3, spatial_scale=0.75, opset=16)
simple("deform_conv", "DeformConv", [[1, 4, 5, 5]],
       [(weights("dw", 4, 2, 2, 2), "f32"), (weights("do", 1, 16, 4, 4), "f32"), (weights("dd", 4), "f32"),
        (weights("dm", 1, 8, 4, 4), "f32")], opset=19, group=2, offset_group=2)
simple("col2im", "Col2Im", [[1, 8, 12]], [([4, 5], "i64"), ([2, 2], "i64")], opset=18)
simple("det", "Det", [[3, 4, 4]])
simple("center_crop_pad", "CenterCropPad", [[4, 5]], [([6, 2], "i64")], opset=18)
simple("pad_wrap", "Pad", [[3, 4]], [([1, 0, 2, 3], "i64")], opset=19, mode="wrap")
for name, sizes in [("up", [1, 2, 7, 9]), ("down", [1, 2, 3, 4])]:
    for mode in ["cubic", "linear"]:
        simple(f"resize_{mode}_{name}", "Resize", [[1, 2, 5, 6]], [None, None, (sizes, "i64")], opset=18, mode=mode,
               antialias=int(name == "down"))
simple("resize_cubic_exclude_outside", "Resize", [[1, 2, 5, 6]], [None, ([1, 1, 1.7, 0.6], "f32")], opset=18,
       mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5)
simple("resize_crop", "Resize", [[1, 2, 5, 6]],
       [([0, 0, 0.2, -0.1, 1, 1, 0.9, 0.8], "f32"), None, ([1, 2, 4, 3], "i64")], opset=18, mode="linear",
       coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=7.0)
simple("resize_not_larger", "Resize", [[1, 2, 5, 6]], [None, None, ([9, 9], "i64")], opset=18, axes=[2, 3],
       keep_aspect_ratio_policy="not_larger")

# ---- signals ----
simple("dft", "DFT", [[1, 8, 1]], opset=17)
simple("dft_inverse", "DFT", [[1, 8, 2]], inverse=1, opset=17)
simple("dft_onesided", "DFT", [[1, 9, 1]], onesided=1, opset=17)
simple("stft", "STFT", [[1, 32, 1]], [(4, "i64"), (np.hanning(8), "f32")], opset=17)
for kind in ["HannWindow", "HammingWindow", "BlackmanWindow"]:

    def build_window(kind=kind):
        net = Net()
        net.output(net.op("Mul", net.input([10]), net.op(kind, net.const(10, "i64"))))
        return net

    case(kind.lower())(build_window)
for equation, shapes in [("bij,bjk->bik", [[2, 3, 4], [2, 4, 5]]), ("ij,kj->ik", [[3, 4], [5, 4]]), ("ii->i", [[3, 3]]),
                         ("...ij->...ji", [[2, 3, 4]]), ("i,j->ij", [[3], [4]]), ("bhid,bhjd->bhij", [[1, 2, 3, 4]] * 2),
                         ("ij->", [[3, 4]]), ("ik,kj", [[2, 3], [3, 2]]), ("abc,cd,ad->bd", [[2, 3, 4], [4, 5], [2, 5]])]:
    simple("einsum_" + "".join(c if c.isalnum() else "_" for c in equation), "Einsum", shapes, equation=equation)


# ---- shapes and branches that depend on the data ----
@case("non_zero")
def build_non_zero():
    net = Net()
    net.output(net.op("NonZero", net.op("Relu", net.input([3, 4]))), "i64")
    return net


@case("unique")
def build_unique():
    net = Net()
    results = net.op("Unique", net.op("Round", net.op("Mul", net.input([9]), net.const(2))), results=4)
    for result, dtype in zip(results, ["f32", "i64", "i64", "i64"]):
        net.output(result, dtype)
    return net


@case("unique_rows")
def build_unique_rows():
    net = Net()
    net.output(net.op("Unique", net.op("Round", net.input([8, 2])), axis=0, sorted=0))
    return net


@case("compress_by_data")
def build_compress():
    net = Net()
    x = net.input([3, 4])
    largest = net.op("ReduceMax", x, axes=[1], keepdims=0)
    net.output(net.op("Compress", x, net.op("Greater", largest, net.const(0.5)), axis=0))
    return net


@case("non_max_suppression")
def build_non_max_suppression():
    net = Net()
    x = net.input([1, 20, 4])
    scores = net.op("Abs", net.input([1, 2, 20]))
    net.output(net.op("NonMaxSuppression", x, scores, net.const([4], "i64"), net.const([0.3]), net.const([0.1])), "i64")
    return net


@case("if_by_data")
def build_if():
    """One of two branches of different shapes, beside what does not depend on it."""
    net = Net()
    x = net.input([2, 3])
    y = net.op("Mul", net.input([2, 3]), net.const(3))
    condition = net.op("Greater", net.op("ReduceSum", x, keepdims=0), net.const(0))
    branch = lambda kind, shape: body([], [(shape, "f32")], lambda inner, _: [inner.op(kind, y, **(
        dict(perm=[1, 0]) if kind == "Transpose" else {}))])
    net.output(net.op("If", condition, then_branch=branch("Transpose", [3, 2]), else_branch=branch("Neg", [2, 3])))
    return net


@case("loop_until")
def build_loop_until():
    """Doubles until the sum is large enough."""
    net = Net()

    def turn(inner, names):
        y = inner.op("Add", names[2], names[2])
        return [inner.op("Less", inner.op("ReduceSum", y, keepdims=0), inner.const(20)), y]

    graph = body([("i", [], "i64"), ("go", [], "bool"), ("v", [3], "f32")], [([], "bool"), ([3], "f32")], turn)
    net.output(net.op("Loop", "", net.const(True, "bool"), net.op("Exp", net.input([3])), body=graph))
    return net


@case("reshape_by_data")
def build_reshape():
    net = Net()
    shape = net.op("Cast", net.op("Add", net.op("Abs", net.op("Round", net.op("Mul", net.input([1]), net.const(0)))),
                                  net.const([4, 6])), to=TensorProto.INT64)
    net.output(net.op("Reshape", net.input([2, 3, 4]), shape))
    return net
