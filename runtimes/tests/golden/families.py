"""Where the models and their labelled examples are, and how a stored example becomes a model's input."""
import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).resolve().parent
ROOT = GOLDEN.parents[2]
ZOO = ROOT.parent / "shared" / "zoo"
SHIPPED = ["fashion_dscnn", "fsdd_dscnn"]
# CIFAR examples are kept once.
EXAMPLES = {"cifar_mbnet": "tiny_ic_resnet8"}
FAMILIES = [*SHIPPED, "tiny_kws_dscnn", "tiny_ic_resnet8", "cifar_mbnet", "sst2_textcnn"]


@dataclass
class Family:
    name: str
    x: np.ndarray  # as stored: u8, i8, i32 or f32
    y: np.ndarray
    scale: float | None  # real = stored * scale + offset; None: stored is real
    offset: float

    def models(self):
        """All variants, TFLite first."""
        folder = ZOO / self.name
        return sorted(folder.glob("*.tflite")) + sorted(folder.glob("*.onnx"))

    def real(self, which=slice(None)):
        """Examples as the float (or integer) input of an unquantised model."""
        x = self.x[which]
        if self.scale is None:
            return x
        return x.astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)

    def results(self):
        """Rows of results.csv by file name."""
        with open(ZOO / self.name / "results.csv", newline="") as f:
            rows = list(csv.DictReader(f))
        def name(row):
            variant = row["variant"]
            return f"{variant if variant.startswith('official') else 'model_' + variant}.{row['format']}"
        return {name(row): row for row in rows}


def load(name):
    folder = ZOO / name
    meta = json.loads((folder / "meta.json").read_text())
    data = np.load(ZOO / EXAMPLES.get(name, name) / "eval.npz")
    return Family(name, data["x"], data["y"], meta.get("scale"), meta.get("offset") or 0.0)


def quantize(x, dtype, scale, zero_point):
    """Real numbers in a quantised model's input type: nearest, ties to even, saturating."""
    info = np.iinfo(dtype)
    return np.clip(np.round(x / np.float32(scale) + zero_point), info.min, info.max).astype(dtype)


def dequantize(y, scale, zero_point):
    return (y.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
