#!/usr/bin/env python3
"""Writes what the real runtimes answer, for the tests of the built-in engine.

    pip install -r requirements.txt
    python make.py            writes FAMILY/ (inputs and outputs of the shipped models), *ops.zip, *.json
    python make.py ops        only ops.zip, onnx_ops.zip and their .json

Layout: FAMILY/index.json names the stored examples (`inputs.bin`, with type, shape and the factor and
offset that make reals of them) and, for each model file, the raw little-endian outputs (`MODEL.bin`).
ops.json holds, for the models of one operator each in ops.zip (made by single_ops.py), the outputs of one
invoke on the input of `seeded`; onnx_ops the same for ONNX (onnx_ops.py, onnx_wide_ops.py); extra.json the same for models that tests read from ../shared/zoo/extra
when it is there.
"""
import hashlib
import json
import multiprocessing
import os
import sys

import numpy as np

import onnx_ops
import onnx_wide_ops  # noqa: F401  adds to the cases of onnx_ops
import single_ops
from families import GOLDEN, SHIPPED, ZOO, load
from reference import RUNTIMES, open_model, run

# Inputs are most of the size: a spoken digit takes 8 KB.
EXAMPLES = {"fashion_dscnn": 64, "fsdd_dscnn": 32}
# A runtime that has not run yet can be forked.
FORK = multiprocessing.get_context("fork")
# Longer outputs are kept by their digest and their beginning.
KEPT_BYTES = 128


def write_family(name):
    family, count = load(name), EXAMPLES[name]
    folder = GOLDEN / name
    folder.mkdir(exist_ok=True)
    # Examples are ordered by label in some families: take them from all over.
    every = slice(0, count * (len(family.y) // count), len(family.y) // count)
    stored = family.x[every]
    stored.tofile(folder / "inputs.bin")
    index = dict(
        inputs=dict(dtype=dtype(stored), shape=list(stored.shape), scale=family.scale, offset=family.offset),
        labels=family.y[every].tolist(),
        outputs=[],
    )
    for path in family.models():
        if path.suffix not in RUNTIMES:
            continue
        out = run(path, family.real(every))
        file = f"{path.name}.bin"
        out.tofile(folder / file)
        index["outputs"].append(dict(model=path.name, file=file, dtype=dtype(out), shape=list(out.shape)))
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n")


def seeded(shape, dtype, seed):
    """Input that tests make again: SplitMix64, one number per element, from its upper bits."""
    n = int(np.prod(shape, dtype=np.int64))
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    if np.dtype(dtype).kind == "f":
        # 24 bits, -1 to 1, exact in f32
        x = (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)
    elif np.dtype(dtype).kind == "b":
        x = z >> np.uint64(63)
    else:
        size = np.dtype(dtype).itemsize
        x = (z >> np.uint64(64 - 8 * size)).astype(f"u{size}").view(dtype)
    return x.astype(dtype).reshape(shape)


def outputs(path):
    """One invoke on the seeded input."""
    model = open_model(path)
    model.set([seeded(detail["shape"], detail["dtype"], i) for i, detail in enumerate(model.inputs)])
    model.invoke()
    answers = []
    for y in model.all():
        y = np.ascontiguousarray(y)
        answers.append(dict(
            dtype=dtype(y), shape=list(y.shape), sha256=hashlib.sha256(y.tobytes()).hexdigest(),
            begins=[v + 0 for v in y.reshape(-1)[: KEPT_BYTES // y.itemsize].tolist()],
        ))
    return answers


def answer(path):
    """The same in a process of its own, as some models end the runtime by a signal; None when it fails."""
    ours, theirs = FORK.Pipe(duplex=False)
    child = FORK.Process(target=lambda: theirs.send(outputs(path)))
    child.start()
    theirs.close()
    try:
        answers = ours.recv()
    except EOFError:
        answers = None
        child.join()
        print(f"{path.name}: the real runtime fails ({child.exitcode})", file=sys.stderr)
    child.join()
    return answers


def write_ops():
    for name, module in [("ops", single_ops), ("onnx_ops", onnx_ops)]:
        write_answers(f"{name}.json", module.write(GOLDEN / f"{name}.zip", answer))


def write_extra():
    models = []
    for path in sorted((ZOO / "extra").rglob("*.tflite")):
        if (answers := answer(path)) is not None:
            models.append(dict(model=str(path.relative_to(ZOO / "extra")), outputs=answers))
    write_answers("extra.json", models)


def write_answers(name, models):
    lines = ",\n".join(json.dumps(m) for m in models)
    (GOLDEN / name).write_text(f"[\n{lines}\n]\n")


def dtype(array):
    kind = array.dtype.kind
    return "bool" if kind == "b" else f"{kind}{8 * array.dtype.itemsize}"


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    match sys.argv[1:]:
        case []:
            write_ops()
            write_extra()
            for name in SHIPPED:
                write_family(name)
        case ["ops"]:
            write_ops()
        case _:
            sys.exit(__doc__)
