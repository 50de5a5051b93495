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

    def invoke(self):
        self.interpreter.invoke()

    def stored(self):
        """The first output as the model gives it."""
        return self.interpreter.get_tensor(self.outputs[0]["index"])

    def real(self, stored):
        detail = self.outputs[0]
        if detail["dtype"] in (np.int8, np.uint8):
            return dequantize(stored, *detail["quantization"])
        return stored.astype(np.float32)


RUNTIMES = {".tflite": LiteRt}


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
