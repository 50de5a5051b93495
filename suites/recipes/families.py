"""The two shipped families: their data, their features, their network, their augmentation."""

import gzip
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Batches = Iterator[tuple[np.ndarray, np.ndarray]]
FASHION_CLASSES = [
    "t-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
]


@dataclass
class Family:
    """Everything train.py needs. `evaluation` is what eval.npz will hold."""

    model: object
    batches: object  # () -> Batches, one epoch
    steps: int
    epochs: int
    learning_rate: float
    test: tuple[np.ndarray, np.ndarray]
    calibration: object  # () -> inputs [300, ...] in float32
    evaluation: dict[str, np.ndarray]
    facts: dict


def bn_relu(x):
    from tf_keras import layers

    return layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(x))


def separable(x, channels: int, stride: int = 1):
    from tf_keras import layers

    x = bn_relu(layers.DepthwiseConv2D(3, stride, "same", use_bias=False)(x))
    return bn_relu(layers.Conv2D(channels, 1, use_bias=False)(x))


def fashion_dscnn(data: Path, rng: np.random.Generator) -> Family:
    """`data`: the folder with the four .gz files of Fashion-MNIST (Debian: dataset-fashion-mnist)."""

    def idx(name: str, header: int) -> np.ndarray:
        return np.frombuffer(gzip.open(data / name).read(), np.uint8, offset=header)

    train_x = idx("train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1)
    train_y = idx("train-labels-idx1-ubyte.gz", 8)
    test_x = idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28, 1)
    test_y = idx("t10k-labels-idx1-ubyte.gz", 8)
    scale = 1 / 255.0

    def batches() -> Batches:
        order = rng.permutation(len(train_x))
        for k in range(0, len(train_x) - 127, 128):
            batch = train_x[order[k : k + 128]].astype(np.float32) / 255.0
            mirrored = rng.random(128) < 0.5
            batch[mirrored] = batch[mirrored][:, :, ::-1]
            dx, dy = rng.integers(-2, 3, 2)
            yield np.roll(batch, (dx, dy), (1, 2)), train_y[order[k : k + 128]]

    return Family(
        model=fashion_network(),
        batches=batches,
        steps=len(train_x) // 128,
        epochs=12,
        learning_rate=3e-3,
        test=(test_x.astype(np.float32) / 255.0, test_y),
        calibration=lambda: train_x[:300].astype(np.float32) * np.float32(scale),
        evaluation=dict(x=test_x, y=test_y),
        facts=dict(labels=FASHION_CLASSES, scale=scale, offset=0.0),
    )


def fashion_network():
    from tf_keras import Model, layers

    source = x = layers.Input((28, 28, 1))
    x = bn_relu(layers.Conv2D(16, 3, 2, "same", use_bias=False)(x))
    for channels, stride in ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1)):
        x = separable(x, channels, stride)
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling2D()(x))
    return Model(source, layers.Dense(10, activation="softmax")(x))


CLIP_SAMPLES = 8000
WINDOW, HOP, BINS = 256, 128, 32


def mel_weights(low: float = 60, high: float = 3900, rate: int = 8000) -> np.ndarray:
    """Triangles on the HTK mel scale, [frequencies, bins]."""
    to_mel = lambda f: 2595 * np.log10(1 + f / 700)
    to_hz = lambda m: 700 * (10 ** (m / 2595) - 1)
    p = to_hz(np.linspace(to_mel(low), to_mel(high), BINS + 2))
    f = np.arange(WINDOW // 2 + 1) * rate / WINDOW
    rise = lambda k: np.minimum((f - p[k]) / (p[k + 1] - p[k]), (p[k + 2] - f) / (p[k + 2] - p[k + 1]))
    return np.stack([np.clip(rise(k), 0, None) for k in range(BINS)], 1)


def features(clip: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Log-mel features [61, 32, 1] of 8,000 int16 samples."""
    samples = clip.astype(np.float64) / 32768.0
    starts = range(0, CLIP_SAMPLES - WINDOW + 1, HOP)
    frames = np.stack([samples[k : k + WINDOW] for k in starts])
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), axis=1)) ** 2
    return np.log(power @ weights + 1e-6).astype(np.float32)[..., None]


def clipped(recording: np.ndarray, shift: int = 0) -> np.ndarray:
    """8,000 samples with the recording in the middle, or off it by `shift`."""
    recording = recording[:CLIP_SAMPLES]
    clip = np.zeros(CLIP_SAMPLES, np.int16)
    start = max(0, (CLIP_SAMPLES - len(recording)) // 2) + shift
    start = min(max(start, 0), CLIP_SAMPLES - len(recording))
    clip[start : start + len(recording)] = recording
    return clip


def read_wav(path: Path) -> np.ndarray:
    with wave.open(str(path)) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (1, 2, 8000), path
        return np.frombuffer(wav.readframes(wav.getnframes()), "<i2")


def fsdd_dscnn(data: Path, rng: np.random.Generator) -> Family:
    """`data`: the folder `recordings` of the Free Spoken Digit Dataset. Recordings 0 to 14 of each speaker
    and digit are for testing, the rest for training."""
    train, test = [], []
    for path in sorted(data.glob("*.wav")):
        digit, _speaker, index = path.stem.split("_")
        (test if int(index) < 15 else train).append((int(digit), path.stem, read_wav(path)))
    weights = mel_weights()

    def shifted() -> np.ndarray:
        return np.stack([features(clipped(r, int(rng.integers(-800, 801))), weights) for _, _, r in train])

    train_x = [shifted() for _ in range(6)]
    train_y = np.array([digit for digit, _, _ in train])
    test_x = np.stack([features(clipped(r), weights) for _, _, r in test])
    test_y = np.array([digit for digit, _, _ in test], np.uint8)
    mean, std = float(np.mean(train_x[0])), float(np.std(train_x[0]))
    normal = lambda a: ((a - mean) / std).astype(np.float32)

    def batches() -> Batches:
        x = train_x[rng.integers(len(train_x))]
        order = rng.permutation(len(x))
        for k in range(0, len(x) - 63, 64):
            batch = normal(x[order[k : k + 64]]).copy()
            batch += rng.normal(0, 0.15, batch.shape) + rng.normal(0, 0.3, (64, 1, 1, 1))
            for j in range(64):
                start = rng.integers(0, 30)
                batch[j, :, start : start + rng.integers(0, 4)] = 0
            yield batch.astype(np.float32), train_y[order[k : k + 64]]

    return Family(
        model=fsdd_network(),
        batches=batches,
        steps=len(train_y) // 64,
        epochs=40,
        learning_rate=2e-3,
        test=(normal(test_x), test_y),
        calibration=lambda: normal(train_x[0][rng.permutation(len(train_y))[:300]]),
        evaluation=dict(
            x=normal(test_x),
            y=test_y,
            wav=np.stack([clipped(r) for _, _, r in test]),
            name=np.array([name for _, name, _ in test]),
        ),
        facts=dict(labels=[str(k) for k in range(10)], mean=mean, std=std),
    )


def fsdd_network():
    from tf_keras import Model, layers

    source = x = layers.Input((61, BINS, 1))
    x = bn_relu(layers.Conv2D(64, (10, 4), 2, "same", use_bias=False)(x))
    x = layers.Dropout(0.2)(x)
    for _ in range(4):
        x = separable(x, 64)
    x = layers.GlobalAveragePooling2D()(layers.Dropout(0.3)(x))
    return Model(source, layers.Dense(10, activation="softmax")(x))


FAMILIES = {"fashion_dscnn": fashion_dscnn, "fsdd_dscnn": fsdd_dscnn}
