#!/usr/bin/env python3
"""Does every runtime answer what the others answer? Every model of a folder on every runtime and kernel set, by `bench`.

    python conformance.py --bench target/release/bench --cache CACHE FOLDER...    (libraries: bench runtimes fetch)

A FOLDER holds models and `eval.npz`, their labelled examples; where these are of u8 or i8, `meta.json` has the `scale` and
`offset` that make them real numbers. Printed per model and runtime, against the built-in engine
on the same file and the same examples: the score of both, the share of examples with the same answer, the largest
difference of any output element (outputs are dequantised), and nodes on the backend asked for. What fails is told in the
runtime's words.
"""
import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

RUNTIMES = {
    ".tflite": ["litert/xnnpack", "litert/builtin", "litert/reference", "tflite/xnnpack", "tflite/builtin"],
    ".onnx": ["onnxruntime/cpu"],
}


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def number(text, form):
    return format(float(text), form) if text else "–"


def measure(bench, cache, model, data, out):
    """One run of a file on all runtimes that open it: its cases, and its metrics by case and name."""
    command = [bench, "compare", model, "--data", data, "--cache", cache, "--out", out, "--units", "1", "--seed", "1"]
    command += ["--canaries", "false", "--quiet", "--time-budget", "5m", "--runtime", "builtin/cpu"]
    for runtime in RUNTIMES[model.suffix]:
        command += ["--runtime", runtime]
    done = subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    found = list(out.glob("*/cases.csv"))
    if not found:
        raise RuntimeError(f"{model}: {done.stderr.strip()}")
    metrics = {}
    for row in rows(found[0].with_name("results.csv")):
        metrics[row["candidate_case"], row["metric"]] = row
    return rows(found[0]), metrics


def data_of(folder, place):
    """The examples as the models want them."""
    arrays = dict(np.load(folder / "eval.npz"))
    meta = json.loads((folder / "meta.json").read_text())
    if arrays["x"].itemsize == 1:
        arrays["x"] = (arrays["x"] * meta["scale"] + meta["offset"]).astype(np.float32)
    np.savez(place, x=arrays["x"], y=arrays["y"])
    return place


def table(bench, cache, folder, data):
    for model in sorted(path for path in folder.iterdir() if path.suffix in RUNTIMES):
        with tempfile.TemporaryDirectory() as out:
            cases, metrics = measure(bench, cache, model, data, Path(out))
        ours = next(case["score"] for case in cases if case["runtime"].startswith("builtin"))
        for case in cases:
            if case["runtime"].startswith("builtin"):
                continue
            metric = lambda name: metrics.get((case["case"], name), {})
            name = f"{folder.name}/{model.name}"
            runtime = f"{case['runtime']} {case['runtime_version']}"
            if not case["score"]:
                why = metric("agreement_top1").get("reason") or metric("latency_ns").get("reason") or "failed"
                print(f"| {name} | {runtime} | {number(ours, '.4f')} | fails: {why[:160]} | | | |", flush=True)
                continue
            nodes = f"{case['nodes_on_backend']} of {case['nodes']}"
            print(
                f"| {name} | {runtime} | {number(ours, '.4f')} | {number(case['score'], '.4f')} "
                f"| {number(metric('agreement_top1').get('candidate_value'), '.4f')} "
                f"| {number(metric('max_abs_error').get('candidate_value'), '.1e')} | {nodes} |",
                flush=True,
            )


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folders", nargs="+", type=Path)
    arguments.add_argument("--bench", type=Path, required=True)
    arguments.add_argument("--cache", type=Path, required=True)
    given = arguments.parse_args()
    print("| model | runtime | built-in score | score | same answer | max difference | nodes on it |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for folder in given.folders:
        if (folder / "eval.npz").is_file():
            with tempfile.TemporaryDirectory() as place:
                table(given.bench, given.cache, folder, data_of(folder, Path(place) / "data.npz"))
        else:
            print(f"left out: {folder}: no eval.npz", file=sys.stderr)


if __name__ == "__main__":
    main()
