#!/usr/bin/env python3
"""Writes vectors.json: what scikit-learn, pycocotools, jiwer and SciPy answer for answers and truths drawn here.
Run again only to add cases: the file is checked in, and the tests need no Python.

    pip install numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 pycocotools==2.0.11 jiwer==4.0.0
    python make.py

Each case has the answers, the truths, the score of all examples, and the score of a drawn list of examples (`at`,
with repetitions), which is what a bootstrap asks for.
"""
import contextlib
import io
import json
import pathlib
import random

import jiwer
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy import stats
from sklearn import metrics

draws = np.random.default_rng(20260110)


def some(n):
    return [int(i) for i in draws.integers(0, n, n)]


def top_k():
    out = []
    for n, classes, k in [(50, 10, 1), (50, 10, 5), (200, 3, 2), (7, 100, 5)]:
        values = draws.normal(size=(n, classes)).astype(np.float32)
        labels = draws.integers(0, classes, n)
        values[np.arange(n), labels] += np.float32(0.8)
        score = lambda at: metrics.top_k_accuracy_score(labels[at], values[at], k=k, labels=np.arange(classes))
        at = some(n)
        out.append({"outputs": [float(v) for v in values.ravel()], "classes": classes, "labels": labels, "k": k,
                    "score": score(np.arange(n)), "at": at, "score_at": score(np.array(at))})
    return out


def f1():
    out = []
    for n, classes, right in [(60, 2, 0.8), (300, 5, 0.6), (40, 20, 0.3), (10, 3, 1.0)]:
        truth = draws.integers(0, classes, n)
        predicted = np.where(draws.uniform(size=n) < right, truth, draws.integers(0, classes, n))
        at = some(n)
        score = lambda at, how: metrics.f1_score(
            truth[at], predicted[at], average=how, zero_division=0, **({"labels": [1]} if how is None else {}))
        both = lambda how: [np.ravel(score(np.arange(n), how))[0], np.ravel(score(np.array(at), how))[0]]
        out.append({"predicted": predicted, "truth": truth, "at": at,
                    "binary": both(None), "macro": both("macro"), "micro": both("micro")})
    return out


def iou():
    out = []
    for images, pixels, classes, right in [(6, 200, 4, 0.7), (3, 50, 21, 0.4), (1, 9, 2, 1.0)]:
        truth = draws.integers(0, classes, (images, pixels))
        predicted = np.where(draws.uniform(size=truth.shape) < right, truth, draws.integers(0, classes, truth.shape))
        truth[draws.uniform(size=truth.shape) < 0.1] = 255
        at = some(images)

        def score(at):
            t, p = truth[at].ravel(), predicted[at].ravel()
            return metrics.jaccard_score(t[t != 255], p[t != 255], average="macro")

        out.append({"predicted": predicted, "truth": truth, "classes": classes, "ignored": 255,
                    "score": score(np.arange(images)), "at": at, "score_at": score(np.array(at))})
    return out


def coco(images, at):
    """COCOeval over copies of the images: an image that is named twice is two images."""
    truths, found = [], []
    for number, index in enumerate(at):
        for truth in images[index]["truths"]:
            truths.append({"id": len(truths) + 1, "image_id": number, "category_id": truth["class"], "iscrowd": truth["crowd"],
                           "bbox": truth["bounds"], "area": truth["bounds"][2] * truth["bounds"][3]})
        for box in images[index]["detections"]:
            found.append({"image_id": number, "category_id": box["class"], "bbox": box["bounds"], "score": box["score"]})
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        classes = sorted({t["category_id"] for t in truths} | {d["category_id"] for d in found})
        reference.dataset = {"info": {}, "images": [{"id": i} for i in range(len(at))], "annotations": truths,
                             "categories": [{"id": c} for c in classes]}
        reference.createIndex()
        run = COCOeval(reference, reference.loadRes(found), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [run.stats[0], run.stats[1]]


def detection():
    out = []
    for count, classes, boxes, shift, grid in [(8, 3, 6, 4.0, None), (20, 2, 12, 8.0, 0.1), (4, 1, 150, 12.0, None), (1, 1, 1, 0.0, None)]:
        images = []
        for _ in range(count):
            truths, detections = [], []
            for _ in range(int(draws.integers(0, boxes + 1)) if count > 1 else 1):
                bounds = [*draws.uniform(0, 400, 2), *draws.uniform(20, 120, 2)]
                kind = int(draws.integers(0, classes))
                truths.append({"class": kind, "bounds": bounds, "crowd": int(draws.uniform() < 0.1) if count > 1 else 0})
                for _ in range(int(draws.integers(0, 3)) if count > 1 else 1):
                    moved = [float(v + draws.normal() * shift) for v in bounds]
                    moved[2:] = [max(v, 1.0) for v in moved[2:]]
                    score = float(draws.uniform())
                    if grid:  # many equal scores
                        score = round(score / grid) * grid
                    if draws.uniform() < 0.1:
                        kind = int(draws.integers(0, classes))
                    detections.append({"class": kind, "score": score, "bounds": moved})
            images.append({"truths": truths, "detections": detections})
        # equal scores of copies of one image stand side by side here, and apart in the reference
        at = sorted(some(count)) if not grid else list(range(count))
        out.append({"images": images, "score": coco(images, range(count)), "at": at, "score_at": coco(images, at)})
    return out


def auc():
    out = []
    for n, step in [(40, None), (300, 0.5), (2, None)]:
        positive = draws.uniform(size=n) < 0.4
        positive[:2] = [True, False]
        scores = draws.normal(size=n) + positive
        if step:
            scores = np.round(scores / step) * step
        at = [0, 1, *some(n)]
        score = lambda at: metrics.roc_auc_score(positive[at], scores[at])
        out.append({"scores": scores, "positive": [bool(p) for p in positive], "score": score(np.arange(n)), "at": at,
                    "score_at": score(np.array(at))})
    return out


def edits():
    words = "the a cat sat on mat bench runs Größe naïve 模型 cafe\u0301 fast slow ok".split()
    pick = random.Random(7)
    truths, answers = [], []
    for _ in range(40):
        truth = [pick.choice(words) for _ in range(pick.randint(1, 12))]
        answer = [w for w in truth if pick.random() > 0.1]
        answer = [pick.choice(words) if pick.random() < 0.15 else w for w in answer]
        answer += [pick.choice(words) for _ in range(pick.randint(0, 2))]
        truths.append(" ".join(truth))
        answers.append("  ".join(answer))
    at = some(40)
    score = lambda f, at: f([truths[i] for i in at], [answers[i] for i in at])
    return {"answers": answers, "truths": truths, "at": at,
            "words": [score(jiwer.wer, range(40)), score(jiwer.wer, at)],
            "characters": [score(jiwer.cer, range(40)), score(jiwer.cer, at)]}


def spearman():
    out = []
    for n, step in [(30, None), (200, 1.0), (3, None)]:
        truth = draws.normal(size=n) * 2
        predicted = truth + draws.normal(size=n)
        if step:
            truth, predicted = np.round(truth / step) * step, np.round(predicted / step) * step
        at = [0, 1, *some(n)]
        score = lambda at: stats.spearmanr(predicted[at], truth[at]).statistic
        out.append({"predicted": predicted, "truth": truth, "score": score(np.arange(n)), "at": at,
                    "score_at": score(np.array(at))})
    return out


def psnr():
    """10 log10(peak² / mean squared error), the mean over the images."""
    out = []
    for peak in (1.0, 255.0):
        truth = (draws.uniform(size=(5, 48)) * peak).astype(np.float32)
        answers = (truth + draws.normal(size=truth.shape) * 0.05 * peak).astype(np.float32)
        each = [10 * np.log10(peak**2 / metrics.mean_squared_error(t.astype(float), a.astype(float)))
                for t, a in zip(truth, answers)]
        at = some(5)
        out.append({"peak": peak, "answers": [[float(v) for v in a] for a in answers],
                    "truths": [[float(v) for v in t] for t in truth], "each": each, "score": np.mean(each), "at": at,
                    "score_at": np.mean([each[i] for i in at])})
    return out


def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


if __name__ == "__main__":
    everything = {"top_k": top_k(), "f1": f1(), "iou": iou(), "detection": detection(), "auc": auc(), "edits": edits(),
                  "spearman": spearman(), "psnr": psnr()}
    target = pathlib.Path(__file__).with_name("vectors.json")
    target.write_text(json.dumps(plain(everything), separators=(",", ":"), ensure_ascii=False) + "\n")
    print(target, target.stat().st_size, "bytes")
