"""Scores the shipped models on the shipped examples with LiteRT and ONNX Runtime.

    python score_examples.py > ../models/expected.csv

Run it in this folder. Needs no TensorFlow.
"""

import csv
import io
import sys
import wave
import zipfile
from pathlib import Path

import numpy as np

from common import run
from convlib import ONNX_VARIANTS, TFLITE_VARIANTS
from families import clipped, features, mel_weights

HERE = Path(__file__).parent
DATA = HERE / "../../datasets/data"
MEAN, STD = -9.728204727172852, 5.134079456329346


def images() -> tuple[np.ndarray, np.ndarray]:
    data = np.load(DATA / "fashion_mnist_2000.npz")
    return data["x"].astype(np.float32) * np.float32(1 / 255.0), data["y"]


def recordings() -> tuple[np.ndarray, np.ndarray]:
    weights, x, y = mel_weights(), [], []
    with zipfile.ZipFile(DATA / "fsdd_540.zip") as archive:
        for name in archive.namelist():
            with wave.open(io.BytesIO(archive.read(name))) as wav:
                samples = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")
            x.append(features(clipped(samples), weights))
            y.append(int(name.split("/")[0]))
    return ((np.stack(x) - MEAN) / STD).astype(np.float32), np.array(y)


def main() -> None:
    writer = None
    for family, (x, y) in {"fashion_dscnn": images(), "fsdd_dscnn": recordings()}.items():
        reference = None
        variants = [("tflite", v) for v in TFLITE_VARIANTS] + [("onnx", v) for v in ONNX_VARIANTS]
        for file_format, variant in variants:
            outputs = run(HERE / f"../models/{family}/model_{variant}.{file_format}", x)
            reference = outputs if reference is None else reference
            row = dict(
                family=family,
                format=file_format,
                variant=variant,
                examples=len(y),
                correct=int((outputs.argmax(1) == y).sum()),
                agree_with_tflite_fp32=int((outputs.argmax(1) == reference.argmax(1)).sum()),
                max_abs_error=f"{np.abs(outputs - reference).max():.6g}",
            )
            if writer is None:
                writer = csv.DictWriter(sys.stdout, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)


if __name__ == "__main__":
    main()
