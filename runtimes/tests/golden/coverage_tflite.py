#!/usr/bin/env python3
"""Writes the TFLite section of runtimes/COVERAGE.md: which models the built-in engine runs, and how far its outputs
are from LiteRT's.

    pip install -r requirements.txt
    cargo build --release -p runtimes --example engine
    python coverage_tflite.py FOLDER...     folders with .tflite files, beside the zoo's own
    python coverage_tflite.py --print ...   prints the section and leaves the file alone

Every model is invoked three times in one session on seeded random inputs, so that what a model keeps from invoke to
invoke is compared too; then once more with every tensor that an operator computes as an output. Each runtime has a
process of its own: some models end LiteRT by a signal.
"""
import datetime
import multiprocessing
import os
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from families import GOLDEN, ROOT, ZOO
from reference import LiteRt

ENGINE = ROOT / "target" / "release" / "examples" / "engine"
REPORT = ROOT / "runtimes" / "COVERAGE.md"
TITLE = "# What the built-in engine runs, beside the real runtimes\n"
HEADING = "## TFLite\n"
EXAMPLES = 3
SECONDS = 300
# A folder of more models than this has one line.
MANY = 40
# Beyond this a float output is another answer, not another order of additions.
TOLERANCE = 1e-5
# Models that differ, and why.
EXPLAINED = {
    "selfie_segmentation": "logits of up to 150 agree to 2e-6 of the largest one; the sigmoid at the end shows the rest",
    "v3_large_224_dyn": "the last bit of an activation can decide how it is quantised at run time, and that goes on",
    "floor_": "LiteRT refuses to divide by the zeros among random numbers",
}
FORK = multiprocessing.get_context("fork")


def examples(details, model):
    """Inputs of every invoke. Integers without scale are indices as often as not, and stay small."""
    rng = np.random.default_rng(7)

    def one(detail):
        shape, dtype = detail["shape"], np.dtype(detail["dtype"])
        if dtype.kind == "f":
            return rng.uniform(-1, 1, shape).astype(dtype)
        if dtype.kind == "b":
            return rng.integers(0, 2, shape).astype(dtype)
        low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max + 1) if detail["quantization"][0] else (0, 3)
        return rng.integers(low, high, shape).astype(dtype)

    return [[one(detail) for detail in details] for _ in range(EXAMPLES)]


def in_process(function, *arguments):
    """What a function returns in a process of its own, or the reason why it does not."""
    ours, theirs = FORK.Pipe(duplex=False)

    def work():
        # what the library prints is not the table's
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            theirs.send((function(*arguments), None))
        except Exception as e:
            theirs.send((None, " ".join(str(e).split())))

    child = FORK.Process(target=work)
    child.start()
    theirs.close()
    try:
        result = ours.recv() if ours.poll(SECONDS) else (None, f"no answer in {SECONDS} s")
    except EOFError:
        child.join()
        result = (None, f"ends with signal {-child.exitcode}")
    child.kill()
    child.join()
    return result


def litert(path):
    """Inputs of every invoke, and outputs."""
    model = LiteRt(path)
    inputs, outputs = examples(model.inputs, path), []
    for example in inputs:
        model.set(example)
        model.invoke()
        outputs.append([np.array(y) for y in model.all()])
    return inputs, outputs


def ours(path, inputs, like):
    """Outputs of the built-in engine, and how many nodes went through f32 of how many; or the reason."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for i, arrays in enumerate(zip(*inputs)):
            files.append(Path(folder) / f"in{i}")
            np.stack(arrays).tofile(files[-1])
        result = Path(folder) / "out"
        done = subprocess.run([ENGINE, "run", path, result, *files], capture_output=True, text=True, timeout=SECONDS)
        if done.returncode:
            return None, done.stderr.strip().splitlines()[-1].replace(f"{path}: ", "")
        data, outputs, at = result.read_bytes(), [], 0
        for arrays in like:
            outputs.append([])
            for y in arrays:
                outputs[-1].append(np.frombuffer(data, y.dtype, y.size, at).reshape(y.shape))
                at += y.nbytes
        if at != len(data):
            return None, f"outputs of {len(data)} bytes, {at} are expected"
        return outputs, None


@dataclass
class Difference:
    """Of all outputs of all invokes."""

    tensors: int = 0
    integers: int = 0
    differ: int = 0
    steps: int = 0
    relative: float = 0.0
    floats: int = 0

    def add(self, a, b):
        self.tensors += 1
        if b.dtype.kind == "f":
            self.floats += b.size
            a, b = a.astype(np.float64), b.astype(np.float64)
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            apart = np.where(same, 0, np.abs(a - b))
            finite = np.abs(b[np.isfinite(b)])
            largest = max(finite.max(initial=0), np.finfo(np.float32).tiny)
            worst = apart.max(initial=0) / largest
            self.relative = max(self.relative, np.inf if np.isnan(worst) else worst)
        else:
            self.integers += b.size
            apart = np.abs(a.astype(np.int64) - b.astype(np.int64))
            self.differ += int((apart > 0).sum())
            self.steps = max(self.steps, int(apart.max(initial=0)))

    def good(self):
        return self.differ == 0 and self.relative <= TOLERANCE

    def __str__(self):
        parts = []
        if self.integers:
            parts.append(f"{self.differ} of {self.integers} by {self.steps}" if self.differ else "equal")
        if self.floats:
            parts.append(f"{self.relative:.1e}" if self.relative else "same bits")
        return ", ".join(parts) or "no elements"


def cut(path, to):
    """Writes the model with every computed tensor as an output; False when it has no more than it had."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph, kinds = model.subgraphs[0], schema.TensorType
    plain = (kinds.FLOAT32, kinds.INT8, kinds.UINT8, kinds.INT16, kinds.INT32, kinds.INT64, kinds.BOOL)
    # What is made of constants alone is no result: LiteRT need not keep it.
    known = {i for i, t in enumerate(graph.tensors) if t.isVariable} | set(graph.inputs)
    outputs = list(graph.outputs)
    for op in graph.operators:
        if known.isdisjoint(op.inputs):
            continue
        known.update(op.outputs)
        outputs += [o for o in op.outputs if o not in outputs and graph.tensors[o].type in plain]
    if len(outputs) == len(graph.outputs):
        return False
    graph.outputs, model.signatureDefs = outputs, None
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    to.write_bytes(builder.Output())
    return True


@dataclass
class Row:
    name: str
    litert: str = "runs"
    engine: str = "runs"
    outputs: Difference | None = None
    inside: Difference | None = None
    ops: Counter = field(default_factory=Counter)

    def good(self):
        return self.outputs is not None and self.outputs.good()

    def line(self):
        inside = self.inside or "-"
        engine = self.engine if self.engine == "runs" else f"**{self.engine}**"
        outputs = self.outputs if self.outputs is None or self.outputs.good() else f"**{self.outputs}**"
        return f"| {self.name} | {self.litert} | {engine} | {outputs or '-'} | {inside} |"


def compared(path):
    """LiteRT's error, ours, and the difference when there is none."""
    answers, error = in_process(litert, path)
    if error:
        # nothing to compare with: at least it is known whether it runs
        done = subprocess.run([ENGINE, "time", path, "1"], capture_output=True, text=True, timeout=SECONDS)
        mine = "runs" if done.returncode == 0 else done.stderr.strip().splitlines()[-1].replace(f"{path}: ", "")
        return f"fails: {error[:90]}", mine, None
    inputs, theirs = answers
    outputs, error = ours(path, inputs, theirs)
    if error:
        return "runs", error, None
    difference = Difference()
    for mine, real in zip(outputs, theirs):
        for a, b in zip(mine, real):
            difference.add(a, b)
    return "runs", "runs", difference


def measure(name, path, inside):
    row = Row(name)
    row.litert, row.engine, row.outputs = compared(path)
    if inside and row.outputs:
        with tempfile.TemporaryDirectory() as folder:
            every = Path(folder) / "cut.tflite"
            if cut(path, every):
                row.inside = compared(every)[2]
    print(row.line(), file=sys.stderr, flush=True)
    return row


def section(groups):
    rows = [row for _, all_rows in groups for row in all_rows]
    oracle = [r for r in rows if r.litert == "runs"]
    versions = f"LiteRT {version()} with XNNPACK, one thread, x86-64"
    lines = [
        HEADING,
        f"Made by `tests/golden/coverage_tflite.py` on {datetime.date.today()}; {versions}. Three invokes per model on",
        "seeded random inputs. Integers: elements that differ of how many, and by how many steps; floats: largest",
        "difference relative to the largest number of the tensor. `inside`: the same for every tensor that an operator",
        f"computes, the model cut so that each is an output. Bold is what is wrong: floats beyond {TOLERANCE:.0e}, any integer.",
        "",
        f"{len(rows)} models: LiteRT runs {len(oracle)}, the engine {sum(r.engine == 'runs' for r in rows)}; of those that",
        f"LiteRT runs the engine runs {sum(r.engine == 'runs' for r in oracle)} and agrees on {sum(r.good() for r in oracle)}.",
        "",
        "| model | LiteRT | built-in engine | outputs | inside |",
        "|---|---|---|---|---|",
    ]
    for name, all_rows in groups:
        if len(all_rows) <= MANY:
            lines += [r.line() for r in all_rows]
            continue
        good = sum(r.good() for r in all_rows)
        lines.append(f"| {name}: {len(all_rows)} models of one operator each | {sum(r.litert == 'runs' for r in all_rows)} run "
                     f"| {sum(r.engine == 'runs' for r in all_rows)} run | {good} agree | |")
        lines += [r.line() for r in all_rows if not r.good()]
    known = [(name, why) for name, why in EXPLAINED.items() if any(name in r.name and not r.good() for r in rows)]
    lines += ["", "What differs, and why:", ""] + [f"- `{name}`: {why}" for name, why in known] if known else []
    return "\n".join(lines) + "\n"


def version():
    from importlib.metadata import version

    return version("ai-edge-litert")


def replaced(text, part):
    """The report with this section in place of the one it had."""
    before, found, after = text.partition(HEADING)
    rest = after.find("\n## ")
    return before + part + (after[rest:] if found and rest >= 0 else "")


def models(folders):
    """(folder's name, [(name, path)]): the zoo, the models of one operator each, and the folders given."""
    groups = []
    for folder in sorted(p for p in ZOO.rglob("*") if p.is_dir()):
        files = sorted(folder.glob("*.tflite"))
        groups.append((str(folder.relative_to(ZOO)), files))
    for folder in map(Path, folders):
        for inner in sorted(p for p in folder.iterdir() if p.is_dir()) or [folder]:
            groups.append((inner.name, sorted(inner.rglob("*.tflite"))))
    return [(name, [(f"{name}/{f.name}", f) for f in files]) for name, files in groups if files]


def main(arguments):
    with tempfile.TemporaryDirectory() as folder:
        operators = Path(folder) / "operators"
        with zipfile.ZipFile(GOLDEN / "ops.zip") as archive:
            archive.extractall(operators)
        groups = models([a for a in arguments if not a.startswith("--")])
        groups.append(("tests/golden/ops.zip", [(f"ops.zip/{f.name}", f) for f in sorted(operators.iterdir())]))
        rows = [(name, [measure(n, f, len(files) <= MANY) for n, f in files]) for name, files in groups]
    part = section(rows)
    if "--print" in arguments:
        print(part)
    else:
        text = REPORT.read_text() if REPORT.exists() else TITLE + "\n"
        REPORT.write_text(replaced(text, part))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main(sys.argv[1:])
