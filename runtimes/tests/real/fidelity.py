#!/usr/bin/env python3
"""Does a runtime take as long in our worker as when Python drives the same library, and does it answer the same?

    pip install ai-edge-litert onnxruntime numpy      (the versions whose libraries are given)
    cargo build --release -p runtimes --example library
    python fidelity.py --litert libLiteRt.so --onnxruntime libonnxruntime.so MODEL...

For every model two processes, ours and Python's, take turns in bursts of invokes, on one thread and, in every round,
on one and the same core. Printed per model: the median over the rounds of (our median of a burst / Python's median of
it) with its 95 % bootstrap interval, the ratio of the smallest medians, and whether all outputs are equal byte by
byte. A call from Python costs about a microsecond with LiteRT and some more with ONNX Runtime, which is in the ratio.
"""
import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

OURS = Path(__file__).resolve().parents[3] / "target" / "release" / "examples" / "library"
BURST_S = 0.01
# what open dimensions are but for the first: an image of some size
OPEN = 320
RESAMPLES = 2000
SEED = 1


def numbers(dtype, shape, seed):
    """The same for both: real numbers from 0 to 1, whole ones from 0 to 99."""
    drawn = np.random.default_rng(seed).random(shape)
    return drawn.astype(dtype) if np.issubdtype(dtype, np.floating) else (drawn * 100).astype(dtype)


class LiteRt:
    """The peer for .tflite."""

    name, package = "litert/xnnpack", "ai-edge-litert"

    def __init__(self, path):
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(str(path), num_threads=1)
        self.interpreter.allocate_tensors()
        self.details = self.interpreter.get_input_details()
        self.invoke = self.interpreter.invoke

    def inputs(self):
        return [(d["dtype"], tuple(d["shape"])) for d in self.details]

    def feed(self, arrays):
        for detail, array in zip(self.details, arrays):
            self.interpreter.set_tensor(detail["index"], array)

    def outputs(self):
        return [self.interpreter.get_tensor(d["index"]) for d in self.interpreter.get_output_details()]


class OnnxRuntime:
    """The peer for .onnx: open dimensions are 1 (the first) and OPEN, and inputs and outputs are bound once."""

    name, package = "onnxruntime/cpu", "onnxruntime"
    TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32,
             "tensor(int8)": np.int8, "tensor(uint8)": np.uint8, "tensor(float16)": np.float16}

    def __init__(self, path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.binding = self.session.io_binding()

    def inputs(self):
        size = lambda at, dim: dim if isinstance(dim, int) and dim > 0 else OPEN if at else 1
        return [
            (self.TYPES[i.type], tuple(size(at, dim) for at, dim in enumerate(i.shape)))
            for i in self.session.get_inputs()
        ]

    def feed(self, arrays):
        for detail, array in zip(self.session.get_inputs(), arrays):
            self.binding.bind_cpu_input(detail.name, array)
        for detail in self.session.get_outputs():
            self.binding.bind_output(detail.name)

    def invoke(self):
        self.session.run_with_iobinding(self.binding)

    def outputs(self):
        return self.binding.copy_outputs_to_cpu()


PEERS = {".tflite": LiteRt, ".onnx": OnnxRuntime}


def serve(path, folder):
    """This script as the peer: the protocol of the example `library`."""
    peer = PEERS[Path(path).suffix](path)
    arrays = [numbers(dtype, shape, i) for i, (dtype, shape) in enumerate(peer.inputs())]
    for i, array in enumerate(arrays):
        array.tofile(Path(folder) / f"input{i}")
    (Path(folder) / "shapes").write_text("\n".join(",".join(map(str, a.shape)) for a in arrays))
    peer.feed(arrays)
    print("ready", flush=True)
    for line in sys.stdin:
        if line.startswith("output "):
            with open(line[7:].strip(), "wb") as file:
                for array in peer.outputs():
                    file.write(np.ascontiguousarray(array).tobytes())
            print("written", flush=True)
            continue
        times = []
        for _ in range(int(line)):
            begin = time.perf_counter_ns()
            peer.invoke()
            times.append(time.perf_counter_ns() - begin)
        print(*times, flush=True)


class Process:
    """One of the two."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        while (line := self.process.stdout.readline()) != "ready\n":
            if not line:
                raise RuntimeError(f"{command[0]} ended with {self.process.wait()}")

    def ask(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def burst(self, count, core):
        os.sched_setaffinity(self.process.pid, {core})
        return statistics.median(map(int, self.ask(count).split()))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def interval(ratios):
    draw = random.Random(SEED)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    return medians[RESAMPLES // 40], medians[-RESAMPLES // 40 - 1]


def compare(path, library, rounds):
    """A row of the table."""
    peer = PEERS[path.suffix]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        python = Process([sys.executable, __file__, "--serve", str(path), "--folder", str(folder)])
        shapes = (folder / "shapes").read_text().splitlines()
        inputs = [f"input={folder}/input{i}" for i in range(len(shapes))] + [f"shape={s}" for s in shapes]
        ours = Process([str(OURS), peer.name, str(library), str(path), "threads=1", *inputs])
        both = {"ours": ours, "python": python}
        for name, process in both.items():
            process.ask(3)
            process.ask(f"output {folder}/{name}")
        identical = (folder / "ours").read_bytes() == (folder / "python").read_bytes()
        cores = sorted(os.sched_getaffinity(0))
        count = max(1, int(BURST_S * 1e9 / python.burst(5, cores[0])))
        order, medians = random.Random(SEED), {"ours": [], "python": []}
        for number in range(rounds):
            names = list(both)
            order.shuffle(names)
            for name in names:
                medians[name].append(both[name].burst(count, cores[number % len(cores)]))
        for process in both.values():
            process.close()
    ratios = [a / b for a, b in zip(medians["ours"], medians["python"])]
    low, high = interval(ratios)
    smallest = min(medians["ours"]) / min(medians["python"])
    return (
        f"| {path.parent.name}/{path.name} | {peer.name} {version(peer.package)} | {min(medians['ours']) / 1000:.0f} us "
        f"| {statistics.median(ratios):.3f} [{low:.3f}, {high:.3f}] | {smallest:.3f} | {'yes' if identical else 'no'} |"
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("models", nargs="*", type=Path)
    arguments.add_argument("--litert", type=Path)
    arguments.add_argument("--onnxruntime", type=Path)
    arguments.add_argument("--rounds", type=int, default=200)
    arguments.add_argument("--serve")
    arguments.add_argument("--folder")
    given = arguments.parse_args()
    if given.serve:
        return serve(given.serve, given.folder)
    print("| model | library | ours, smallest median | ratio of medians [95 %] | of the smallest | same outputs |")
    print("|---|---|---|---|---|---|", flush=True)
    for path in given.models:
        library = given.litert if path.suffix == ".tflite" else given.onnxruntime
        if library is None:
            print(f"left out: {path}: no library for it", file=sys.stderr)
            continue
        print(compare(path.resolve(), library, given.rounds), flush=True)


if __name__ == "__main__":
    main()
