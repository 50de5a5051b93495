#!/usr/bin/env python3
"""Makes a set for `examples/coverage.rs` of real ONNX models: each in a folder with seeded inputs and what ONNX Runtime
answers on them, laid out as the tests of ONNX's operators.

    pip install -r requirements.txt
    python models.py SET FOLDER...     every .onnx below the folders that is no operator's test

Models of wheels: basic-pitch 0.4.0, magika 1.0.3, nudenet 3.4.2, openwakeword 0.4.0, rapidocr-onnxruntime 1.4.4, silero-vad 6.2.3,
onnx 1.17.0 (onnx/backend/test/data/light, whose weights are made by nodes).
"""
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import numpy_helper

# Sizes of open dimensions and of whole inputs, by a part of the model's path and the input's name; None is any.
SHAPES = [
    ("basic_pitch", None, [1, 43844, 1]),
    ("magika", "bytes", [1, 2048]),
    ("PP-OCRv4_det", "x", [1, 3, 320, 320]),
    ("PP-OCRv4_rec", "x", [1, 3, 48, 320]),
    ("cls_infer", "x", [1, 3, 48, 192]),
    ("nudenet", "images", [1, 3, 320, 320]),
    ("melspectrogram", "input", [1, 16000]),
    ("embedding_model", None, [1, 76, 32, 1]),
    ("openwakeword/resources/models/silero_vad", "input", [1, 1536]),
    ("16k_sequence", "input", [1, 576]),
    ("silero_vad", "input", [1, 576]),
    ("silero_vad", "state", [2, 1, 128]),
    ("silero_vad", "h", [2, 1, 64]),
    ("silero_vad", "c", [2, 1, 64]),
]
# Values of inputs that are no data.
VALUES = {"sr": 16000}
# Integers are below this: bytes and tokens.
INTEGERS = 256
SETS = 2


def shape(path, info):
    for part, name, dims in SHAPES:
        if part in str(path) and name in (None, info.name):
            return dims
    return [d if isinstance(d, int) else 1 for d in info.shape]


def value(path, info, random):
    dims = shape(path, info)
    kind = info.type.removeprefix("tensor(").removesuffix(")")
    dtype = {"float": np.float32, "double": np.float64, "float16": np.float16}.get(kind, kind)
    if info.name in VALUES:
        return np.full(dims, VALUES[info.name], dtype)
    if np.dtype(dtype).kind == "f":
        return random.uniform(-1, 1, dims).astype(dtype)
    return random.integers(0, 2 if kind == "bool" else INTEGERS, dims).astype(dtype)


def write(folder, kind, arrays):
    folder.mkdir(parents=True, exist_ok=True)
    for index, array in enumerate(arrays):
        tensor = numpy_helper.from_array(np.asarray(array))
        (folder / f"{kind}_{index}.pb").write_bytes(tensor.SerializeToString())


def add(path, name, target):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # without it, 8-bit products saturate on processors without VNNI
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    folder = target / name
    for index in range(SETS):
        inputs = [value(path, info, random) for info in session.get_inputs()]
        fed = {info.name: x for info, x in zip(session.get_inputs(), inputs)}
        outputs = session.run(None, fed)
        write(folder / f"test_data_set_{index}", "input", inputs)
        write(folder / f"test_data_set_{index}", "output", outputs)
    shutil.copyfile(path, folder / "model.onnx")
    for beside in path.parent.glob("*.data"):
        shutil.copyfile(beside, folder / beside.name)


def main(target, folders):
    for folder in folders:
        for path in sorted(Path(folder).rglob("*.onnx")):
            if any(part.startswith("test_") for part in path.parts):
                continue
            name = f"{path.relative_to(folder).parts[0]}_{path.parent.name}_{path.stem}"
            try:
                add(path, name, Path(target))
            except Exception as error:  # what the runtime refuses is no oracle
                print(f"{path}: {str(error).splitlines()[0][:200]}", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
