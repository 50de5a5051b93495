"""Trains one family on the CPU and keeps the trained source, calibration inputs and evaluation set.

    python train.py FAMILY DATA_DIR WORK_DIR

writes WORK_DIR/FAMILY/{model.h5, calib.npy, eval.npz, meta.json}. DATA_DIR is explained in families.py.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from tf_keras import losses, optimizers

from families import FAMILIES, Family

SEED = 1


def fit(family: Family) -> None:
    schedule = optimizers.schedules.CosineDecay(family.learning_rate, family.steps * family.epochs)
    loss = losses.SparseCategoricalCrossentropy()
    family.model.compile(optimizers.Adam(schedule), loss, ["accuracy"])
    for epoch in range(family.epochs):
        accuracy = []
        for x, y in family.batches():
            step = family.model.train_on_batch(x, y, return_dict=True, reset_metrics=True)
            accuracy.append(step["accuracy"])
        if epoch % 2 == 1 or epoch == family.epochs - 1:
            _, tested = family.model.evaluate(*family.test, 256, verbose=0)
            print(f"epoch {epoch}: train {np.mean(accuracy):.4f}, test {tested:.4f}", flush=True)


def main() -> None:
    name, data, work = sys.argv[1:]
    tf.config.threading.set_intra_op_parallelism_threads(2)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    np.random.seed(SEED)
    tf.random.set_seed(SEED)
    family = FAMILIES[name](Path(data), np.random.default_rng(SEED))
    fit(family)
    out = Path(work) / name
    out.mkdir(parents=True, exist_ok=True)
    family.model.save(out / "model.h5")
    np.save(out / "calib.npy", family.calibration())
    np.savez_compressed(out / "eval.npz", **family.evaluation)
    facts = family.facts | dict(params=int(family.model.count_params()), n_eval=len(family.test[1]))
    (out / "meta.json").write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
