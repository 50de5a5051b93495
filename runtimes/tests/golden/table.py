#!/usr/bin/env python3
"""Writes runtimes/ZOO.md: every variant of every family on the built-in engine and on the real runtime.

    pip install -r requirements.txt
    cargo build --release -p runtimes --example engine
    python table.py [FAMILY...]      all families; with names only these are measured and the rest is kept

Scores and differences are over the whole evaluation set. Latency is the shortest of bursts that the two take in
turns on one thread, so that a busy machine disturbs both alike; only the ratio means anything.
"""
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from families import FAMILIES, GOLDEN, ROOT, load
from reference import RUNTIMES, OnnxRuntime, open_model

ENGINE = ROOT / "target" / "release" / "examples" / "engine"
ROWS = GOLDEN / "zoo.json"
BURST_S = 0.02
BURSTS = 25
NAMES = {".tflite": "LiteRT", ".onnx": "ONNX Runtime"}

HEAD = """# Every variant of the zoo on the built-in engine and on the real runtime

Made by `tests/golden/table.py` in one run (x86-64, one thread). "Real" is LiteRT 2.3.0 with XNNPACK for .tflite and
ONNX Runtime 1.32.0 for .onnx. What ONNX Runtime answers is taken in its precise mode for 8-bit products
(`session.x64quantprecision`), without which it saturates sums on x86 without VNNI; its latency is that of its
usual mode.

- score: top-1 accuracy over the family's whole evaluation set
- same answer: share of examples on which both give the same one
- max difference: largest difference of any output element, dequantised (outputs are probabilities)
- bits: share of output elements that are equal to the last bit
- latency: the built-in engine's time over the real runtime's, each the shortest of bursts taken in turns on a
  shared machine. The real runtimes are called from Python: an invoke of the smallest possible model takes 0.9 us
  with LiteRT and 12 us with ONNX Runtime, which is in their numbers.

"""


def array_for(model, x):
    """What the model is fed for an example, in its own type."""
    model.feed(x[None])
    if hasattr(model, "fed"):
        return next(iter(model.fed.values()))
    return model.interpreter.get_tensor(model.inputs[0]["index"])


def outputs(path, family):
    """Stored outputs of both runtimes over the whole evaluation set."""
    model = open_model(path)
    real = family.real()
    fed, theirs = [], []
    for x in real:
        fed.append(np.array(array_for(model, x)))
        model.invoke()
        theirs.append(np.array(model.stored())[0])
    theirs = np.stack(theirs)
    with tempfile.TemporaryDirectory() as folder:
        inputs, results = Path(folder) / "in", Path(folder) / "out"
        np.concatenate(fed).tofile(inputs)
        subprocess.run([ENGINE, "run", path, results, inputs], check=True)
        ours = np.fromfile(results, theirs.dtype).reshape(theirs.shape)
    return model, ours, theirs


class Served:
    """The built-in engine in a process of its own, invoked so often as it is told."""

    def __init__(self, path, example):
        self.file = tempfile.NamedTemporaryFile()
        example.tofile(self.file.name)
        self.process = subprocess.Popen(
            [ENGINE, "serve", path, self.file.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def burst(self, n):
        self.process.stdin.write(f"{n}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline()) / n

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def latency_ratio(path, example):
    """Ours over theirs, theirs as it comes: without the precise mode of ONNX Runtime."""
    model = OnnxRuntime(path, precise=False) if path.suffix == ".onnx" else open_model(path)
    served = Served(path, array_for(model, example))

    def theirs(n):
        start = time.perf_counter_ns()
        for _ in range(n):
            model.invoke()
        return (time.perf_counter_ns() - start) / n

    sides = [served.burst, theirs]
    counts = [max(1, int(BURST_S * 1e9 / min(side(1) for _ in range(3)))) for side in sides]
    best = [float("inf")] * 2
    for k in range(BURSTS):
        for i in (0, 1) if k % 2 else (1, 0):
            best[i] = min(best[i], sides[i](counts[i]))
    served.close()
    return best[0] / best[1]


def measure(family, path):
    row = dict(family=family.name, model=path.name, real=NAMES[path.suffix])
    try:
        model, ours, theirs = outputs(path, family)
    except subprocess.CalledProcessError:
        return row | dict(failed=True)
    a, b = model.real(ours), model.real(theirs)
    top = lambda y: y.reshape(len(family.y), -1).argmax(1)
    return row | dict(
        score=float((top(a) == family.y).mean()),
        real_score=float((top(b) == family.y).mean()),
        same=float((top(a) == top(b)).mean()),
        max_difference=float(np.abs(a - b).max()),
        bits=float((ours == theirs).mean()),
        latency_ratio=latency_ratio(path, family.real(slice(0, 1))[0]),
    )


def render(rows):
    lines = [
        "| family | model | score | real score | same answer | max difference | bits | latency, ours / real |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        if r.get("failed"):
            lines.append(f"| {r['family']} | {r['model']} | does not run | | | | | |")
            continue
        lines.append(
            f"| {r['family']} | {r['model']} | {r['score']:.4f} | {r['real_score']:.4f} | {r['same']:.4f} "
            f"| {r['max_difference']:.1e} | {r['bits']:.4f} | {r['latency_ratio']:.2f} |"
        )
    return HEAD + "\n".join(lines) + "\n"


def main(names):
    rows = json.loads(ROWS.read_text()) if ROWS.exists() else []
    for name in names or FAMILIES:
        family = load(name)
        for path in family.models():
            if path.suffix in RUNTIMES:
                row = measure(family, path)
                print(row, flush=True)
                rows = [r for r in rows if (r["family"], r["model"]) != (name, path.name)] + [row]
    order = lambda r: (FAMILIES.index(r["family"]), not r["model"].endswith(".tflite"), r["model"])
    rows.sort(key=order)
    ROWS.write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")
    (ROOT / "runtimes" / "ZOO.md").write_text(render(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
