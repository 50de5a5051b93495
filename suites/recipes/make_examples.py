"""Cuts the labelled examples that are shipped in datasets/data out of the full evaluation sets.

    python make_examples.py FASHION_EVAL_NPZ FSDD_EVAL_NPZ OUT_DIR

FASHION_EVAL_NPZ and FSDD_EVAL_NPZ are the eval.npz files that train.py writes. The choice is fixed, and
balanced: for Fashion-MNIST the first 200 test images of each class, in the order of the test set; for
the spoken digits the recordings 0 to 8 of each of six speakers and ten digits. Same input, same bytes out.
"""

import io
import sys
import wave
import zipfile
from pathlib import Path

import numpy as np

IMAGES_PER_CLASS = 200
RECORDINGS_PER_SPEAKER_AND_DIGIT = 9
SAMPLE_RATE = 8000
CLIP_SAMPLES = 8000


def write_images(eval_npz: Path, out: Path) -> None:
    data = np.load(eval_npz)
    x, y = data["x"], data["y"]
    firsts = [np.flatnonzero(y == label)[:IMAGES_PER_CLASS] for label in range(10)]
    chosen = np.sort(np.concatenate(firsts))
    names = np.array([f"test-{index:05}" for index in chosen])
    np.savez_compressed(out, x=x[chosen], y=y[chosen], names=names)
    print(out, len(chosen), "images", out.stat().st_size, "bytes")


def without_padding(clip: np.ndarray) -> np.ndarray:
    """The shortest recording that becomes `clip` again when it is padded on both sides to the length
    of the clip, with the odd sample at the end."""
    sound = np.flatnonzero(clip)
    lead, trail = int(sound[0]), int(len(clip) - 1 - sound[-1])
    padding = min(2 * lead + 1, 2 * trail)
    return clip[padding // 2 : len(clip) - (padding - padding // 2)]


def padded(recording: np.ndarray) -> np.ndarray:
    before = (CLIP_SAMPLES - len(recording)) // 2
    return np.pad(recording, (before, CLIP_SAMPLES - len(recording) - before))


def wav_bytes(samples: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(SAMPLE_RATE)
        wav.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


def write_recordings(eval_npz: Path, out: Path) -> None:
    data = np.load(eval_npz)
    count = 0
    with zipfile.ZipFile(out, "w") as archive:
        for name, label, clip in sorted(zip(data["name"].tolist(), data["y"].tolist(), data["wav"])):
            digit, _speaker, index = name.split("_")
            assert int(digit) == label
            if int(index) >= RECORDINGS_PER_SPEAKER_AND_DIGIT:
                continue
            recording = without_padding(clip)
            assert (padded(recording) == clip).all()
            # a fixed date, so that the archive depends on nothing but its content
            entry = zipfile.ZipInfo(f"{digit}/{name}.wav", date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, wav_bytes(recording), zipfile.ZIP_DEFLATED, 9)
            count += 1
    print(out, count, "recordings", out.stat().st_size, "bytes")


def main() -> None:
    fashion, fsdd, out = (Path(argument) for argument in sys.argv[1:])
    write_images(fashion, out / "fashion_mnist_2000.npz")
    write_recordings(fsdd, out / "fsdd_540.zip")


if __name__ == "__main__":
    main()
