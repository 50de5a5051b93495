#!/usr/bin/env python3
"""Makes the two models that a gate must not let through, from shipped ones.

    pip install numpy==2.4.6 onnx==1.23.2
    python make.py

slower.onnx: fashion_dscnn in fp32 with one more convolution, 1x1 with an identity matrix: the same answers, some
per cent later. broken.onnx: the same network in int8, in which the scale of one activation is an eighth of what it was
found to be, so that most values saturate.
"""
import pathlib

import numpy as np
import onnx
from onnx import helper, numpy_helper

HERE = pathlib.Path(__file__).parent
MODELS = HERE / "../../../suites/models/fashion_dscnn"


def slower():
    model = onnx.load(MODELS / "model_fp32.onnx")
    nodes = model.graph.node
    at, clip = next((at, n) for at, n in enumerate(nodes) if n.name == "model/re_lu_1/Relu6")
    before, after = "identity_in", clip.output[0]
    channels = 16
    weights = np.eye(channels, dtype=np.float32).reshape(channels, channels, 1, 1)
    model.graph.initializer.append(numpy_helper.from_array(weights, "identity_weights"))
    clip.output[0] = before
    conv = helper.make_node("Conv", [before, "identity_weights"], [after], name="identity", kernel_shape=[1, 1])
    nodes.insert(at + 1, conv)
    onnx.checker.check_model(model)
    onnx.save(model, HERE / "slower.onnx")


def broken():
    model = onnx.load(MODELS / "model_int8.onnx")
    by_name = {tensor.name: tensor for tensor in model.graph.initializer}
    quantizers = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    scale = by_name[quantizers[len(quantizers) // 2].input[1]]
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) / np.float32(8), scale.name))
    onnx.checker.check_model(model)
    onnx.save(model, HERE / "broken.onnx")


slower()
broken()
