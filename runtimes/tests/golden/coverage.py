#!/usr/bin/env python3
"""Writes the section "ONNX" of runtimes/COVERAGE.md, and leaves the others as they are.

    pip install -r requirements.txt
    cargo build --release -p runtimes --example coverage
    python models.py SET FOLDER...
    python coverage.py NODES SET     NODES: onnx/backend/test/data/node of the package onnx 1.17
"""
import datetime
import platform
import subprocess
import sys
from pathlib import Path

from families import ROOT

DRIVER = ROOT / "target" / "release" / "examples" / "coverage"
PAGE = ROOT / "runtimes" / "COVERAGE.md"
HEAD = "# What the built-in engine runs\n"
SECTION = """## ONNX

Made by `tests/golden/coverage.py` on {date} ({machine}) from the operator tests that come with the package `onnx` 1.17.0
and from models of other packages with what ONNX Runtime 1.32.0 answers on seeded inputs (`tests/golden/models.py`).

### Operator tests

{tests} folders of a model of one operator, its inputs and its outputs. Within rtol 1e-3 and atol 1e-7 for floats, as ONNX's
own runner wants it; integers and shapes must be equal. "Core" are those with inputs and outputs of f32, integers and
bool; left out are losses and training, `ImageDecoder`, `TfIdfVectorizer` and the domain `ai.onnx.ml`, and what has strings,
sequences, optionals, 8-bit floats or 4-bit integers. On the set of 765 that an earlier count took for the core, tract 0.23
passed 84 % and rten 0.27 64 %.

{nodes}
### What depends on the data

Operands that decide about shapes (of `Reshape`, `Slice`, `TopK`, ...), conditions of `If`, and the number of turns of a
`Loop` must be known when a graph is prepared. Where they depend on inputs, those inputs are constants of the graph, which is
prepared anew when they change. Loops and scans are unrolled, to 500 000 nodes at most. `NonMaxSuppression`, `NonZero` and
`Unique` are computed while the graph is prepared. The proof of a trial names the inputs.

### Models

Largest difference of an output relative to its largest element; "agrees" is at most 1e-4 of that, or 1e-6. Weights of
the `light` models are one number each, so that their outputs say that they run and little more.

{models}"""


def run(*words):
    return subprocess.run([DRIVER, *words], check=True, capture_output=True, text=True).stdout


def main(nodes, models):
    tests = sum(1 for path in Path(nodes).iterdir() if (path / "model.onnx").is_file())
    section = SECTION.format(date=datetime.date.today(), machine=platform.machine(), tests=tests, nodes=run("nodes", nodes),
                             models=run("models", models))
    page = PAGE.read_text() if PAGE.exists() else HEAD
    before, _, rest = page.partition("## ONNX\n")
    _, heading, after = rest.partition("\n## ")
    PAGE.write_text(before.rstrip() + "\n\n" + section.rstrip() + "\n" + heading + after)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
