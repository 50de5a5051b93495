"""The real runtimes, one thread, as they come from their packages: LiteRT with XNNPACK, ONNX Runtime on the CPU."""
import numpy as np

from families import dequantize, quantize


class LiteRt:
    def __init__(self, path):
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(model_path=str(path), num_threads=1)
        self.interpreter.allocate_tensors()
        self.inputs = self.interpreter.get_input_details()
        self.outputs = self.interpreter.get_output_details()

    def feed(self, real):
        """Sets the first input from one real-valued example."""
        detail = self.inputs[0]
        if detail["dtype"] in (np.int8, np.uint8) and real.dtype.kind == "f":
            real = quantize(real, detail["dtype"], *detail["quantization"])
        self.interpreter.set_tensor(detail["index"], real.astype(detail["dtype"]).reshape(detail["shape"]))

    def set(self, inputs):
        """Sets all inputs, as the model takes them."""
        for detail, x in zip(self.inputs, inputs):
            self.interpreter.set_tensor(detail["index"], x)

    def invoke(self):
        self.interpreter.invoke()

    def all(self):
        """All outputs as the model gives them."""
        return [self.interpreter.get_tensor(detail["index"]) for detail in self.outputs]

    def stored(self):
        """The first output as the model gives it."""
        return self.interpreter.get_tensor(self.outputs[0]["index"])

    def real(self, stored):
        detail = self.outputs[0]
        if detail["dtype"] in (np.int8, np.uint8):
            return dequantize(stored, *detail["quantization"])
        return stored.astype(np.float32)


class OnnxRuntime:
    """ONNX Runtime multiplies u8 by s8 with saturating 16-bit sums on x86 without VNNI, which costs accuracy (a
    keyword spotter fell from .92 to .08): where that is no help for speed, its precise mode is asked for."""

    def __init__(self, path, precise=True):
        import onnxruntime

        def session(precise, level):
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            options.log_severity_level = 4
            options.graph_optimization_level = level
            if precise:
                options.add_session_config_entry("session.x64quantprecision", "1")
            return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        levels = onnxruntime.GraphOptimizationLevel
        try:
            self.session = session(precise, levels.ORT_ENABLE_ALL)
        except Exception:
            # its precise mode fails on some models; without fusions it computes them with floats
            self.session = session(False, levels.ORT_ENABLE_BASIC)
        self.input = self.session.get_inputs()[0]
        types = {"float": "float32", "float16": "float16", "double": "float64"}
        dtype = lambda x: np.dtype(types.get(name := x.type[len("tensor("):-1], name))
        self.inputs = [dict(shape=x.shape, dtype=dtype(x)) for x in self.session.get_inputs()]
        self.quantization = {}
        if self.input.type == "tensor(int8)":
            self.quantization = input_and_output_quantization(path)

    def feed(self, real):
        if self.input.type == "tensor(int8)":
            real = quantize(real, np.int8, *self.quantization["input"])
        self.fed = {self.input.name: real}

    def set(self, inputs):
        self.fed = {x.name: value for x, value in zip(self.session.get_inputs(), inputs)}

    def invoke(self):
        self.outputs = self.session.run(None, self.fed)

    def all(self):
        return self.outputs

    def stored(self):
        return self.outputs[0]

    def real(self, stored):
        if self.quantization:
            return dequantize(stored, *self.quantization["output"])
        return stored.astype(np.float32)


def input_and_output_quantization(path):
    """Scale and zero point at both ends of a model with int8 inputs and outputs."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    constants = {c.name: numpy_helper.to_array(c).item() for c in graph.initializer if not c.dims}
    ends, value = {}, graph.input[0].name
    for node in graph.node:
        pair = [constants.get(name) for name in node.input[1:3]]
        if node.input[0] == value and node.op_type in ("Reshape", "Transpose"):
            value = node.output[0]
        if node.input[0] == value and node.op_type == "DequantizeLinear":
            ends["input"] = pair
        if node.output[0] == graph.output[0].name and node.op_type == "QuantizeLinear":
            ends["output"] = pair
    return ends


RUNTIMES = {".onnx": OnnxRuntime, ".tflite": LiteRt}


def open_model(path):
    return RUNTIMES[path.suffix](path)


def run(path, examples):
    """Outputs of one-example invokes, as stored, stacked."""
    model = open_model(path)
    out = []
    for x in examples:
        model.feed(x[None])
        model.invoke()
        out.append(np.array(model.stored())[0])
    return np.stack(out)
