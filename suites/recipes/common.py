"""Runs a model file over examples, one at a time, with LiteRT or ONNX Runtime."""

from pathlib import Path

import numpy as np

NUMPY_OF_ONNX = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def run(path: Path, examples: np.ndarray) -> np.ndarray:
    """Outputs as float32, [examples, ...]."""
    runner = run_tflite if path.suffix == ".tflite" else run_onnx
    return runner(path, examples).astype(np.float32)


def run_tflite(path: Path, examples: np.ndarray) -> np.ndarray:
    """LiteRT with its default CPU kernels, one thread. Integer inputs are quantised and integer outputs
    dequantised with the model's own scale and zero point."""
    interpreter = tflite_interpreter(path)
    source = interpreter.get_input_details()[0]
    sink = interpreter.get_output_details()[0]
    outputs = []
    for example in examples:
        value = quantized(example[None], source)
        interpreter.set_tensor(source["index"], value.reshape(source["shape"]))
        interpreter.invoke()
        outputs.append(dequantized(interpreter.get_tensor(sink["index"])[0], sink))
    return np.array(outputs)


def tflite_interpreter(path: Path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def quantized(value: np.ndarray, details: dict) -> np.ndarray:
    if details["dtype"] not in (np.int8, np.uint8):
        return value.astype(details["dtype"])
    scale, zero_point = details["quantization"]
    limits = np.iinfo(details["dtype"])
    return np.clip(np.round(value / scale + zero_point), limits.min, limits.max).astype(details["dtype"])


def dequantized(value: np.ndarray, details: dict) -> np.ndarray:
    if details["dtype"] not in (np.int8, np.uint8):
        return value.copy()
    scale, zero_point = details["quantization"]
    return (value.astype(np.float32) - zero_point) * scale


def run_onnx(path: Path, examples: np.ndarray) -> np.ndarray:
    """ONNX Runtime on the CPU, one thread."""
    session = onnx_session(path)
    source = session.get_inputs()[0]
    dtype = NUMPY_OF_ONNX[source.type]
    batches = (examples[k : k + 1].astype(dtype) for k in range(len(examples)))
    return np.concatenate([session.run(None, {source.name: batch})[0] for batch in batches])


def onnx_session(path: Path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # Without VNNI, x86 kernels for uint8 x int8 saturate their 16-bit sums and lose accuracy; this
    # setting takes the exact kernels, so that results do not depend on the machine.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
