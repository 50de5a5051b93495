"""Converts a trained family into all variants and scores each on the full evaluation set.

    python build_family.py FAMILY WORK_DIR OUT_DIR

reads what train.py wrote, and writes OUT_DIR/FAMILY/{model_*.tflite, model_*.onnx, results.csv}.
"""

import csv
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tf_keras

from common import run
from convlib import onnx_variants, tflite_variants


def inputs(evaluation, facts: dict) -> np.ndarray:
    """Inputs as the model takes them: features as they are, pixels scaled."""
    x = evaluation["x"]
    if "scale" not in facts:
        return x
    return x.astype(np.float32) * np.float32(facts["scale"]) + np.float32(facts["offset"])


def score(models: dict[tuple[str, str], Path], x: np.ndarray, y: np.ndarray) -> list[dict]:
    """Top-1 accuracy, agreement with the first model, largest difference from it."""
    rows, reference = [], None
    for (file_format, variant), path in models.items():
        outputs = run(path, x)
        reference = outputs if reference is None else reference
        agree = outputs.argmax(1) == reference.argmax(1)
        rows.append(
            dict(
                format=file_format,
                variant=variant,
                bytes=path.stat().st_size,
                examples=len(y),
                correct=int((outputs.argmax(1) == y).sum()),
                agree_with_tflite_fp32=int(agree.sum()),
                max_abs_error=f"{np.abs(outputs - reference).max():.6g}",
            )
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    name, work, out = sys.argv[1:]
    source, target = Path(work) / name, Path(out) / name
    target.mkdir(parents=True, exist_ok=True)
    model = tf_keras.models.load_model(source / "model.h5", compile=False)
    calibration = np.load(source / "calib.npy")
    models = {("tflite", v): p for v, p in tflite_variants(model, calibration, target).items()}
    models |= {("onnx", v): p for v, p in onnx_variants(model, calibration, target).items()}
    evaluation = np.load(source / "eval.npz")
    facts = json.loads((source / "meta.json").read_text())
    rows = score(models, inputs(evaluation, facts), evaluation["y"])
    with open(target / "results.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
