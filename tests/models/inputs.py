"""What to feed each model: calibration samples, evaluation samples, labels.

Calibration and evaluation never share a sample. Random networks get seeded random data, the others
the pictures, lines and e-mails they are made for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.models import cache, light, random_data, zoo
from tests.models.random_data import Feeds

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32) * 255
IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32) * 255
CALIBRATION_LINES = 100
CALIBRATION_PAGES = 15
PICTURES = 24
LAYOUT_PAGES = 8
CALIBRATION_EMAILS = 256
EVALUATION_EMAILS = 600
CLASSIFIER_SIZE = (48, 192)


@dataclass(frozen=True)
class Dataset:
    """Inputs by name; the first dimension of each array counts samples."""

    calibration: Feeds
    evaluation: Feeds
    labels: np.ndarray | None = None  # of the evaluation samples
    calibration_labels: np.ndarray | None = None


def rows(feeds: Feeds, begin: int, end: int | None = None) -> Feeds:
    return {name: array[begin:end] for name, array in feeds.items()}


def count(feeds: Feeds) -> int:
    return len(next(iter(feeds.values())))


def imagenet(pictures: np.ndarray) -> np.ndarray:
    """uint8 NHWC -> normalized float32 NCHW."""
    scaled = (pictures.astype(np.float32) - IMAGENET_MEAN) / IMAGENET_DEVIATION
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def symmetric(pictures: np.ndarray) -> np.ndarray:
    """uint8 NHWC -> float32 NCHW in -1..1."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(np.float32) / 127.5 - 1


def resize(pictures: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with half-pixel centres, NHWC, rounded back to uint8."""
    for axis, size in ((1, height), (2, width)):
        old = pictures.shape[axis]
        place = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
        low = np.floor(place).astype(int)
        high = np.minimum(low + 1, old - 1)
        shape = [1] * pictures.ndim
        shape[axis] = size
        part = (place - low).reshape(shape).astype(np.float32)
        before, after = pictures.take(low, axis), pictures.take(high, axis)
        pictures = before * (1 - part) + after * part
    return np.rint(pictures).astype(np.uint8)


def _digits() -> Dataset:
    folder = cache.ROOT / "examples" / "models" / "digits"
    calibration = dict(np.load(folder / "1" / "calibration" / "images.npz"))
    test = np.load(folder / "test.npz")
    return Dataset(calibration, {"image": test["image"]}, test["label"])


def _random_images() -> Dataset:
    rng = np.random.default_rng(224)
    return Dataset(
        {"input": random_data.images(rng, 32)}, {"input": random_data.images(rng, 16)}
    )


def _random_tokens() -> Dataset:
    rng = np.random.default_rng(128)
    return Dataset(
        random_data.token_feeds(rng, 32, 128, vocabulary=30522),
        random_data.token_feeds(rng, 16, 128, vocabulary=30522),
    )


def _efficientnet_lite0() -> Dataset:
    calibration, evaluation = zoo.arrays("images_calibration"), zoo.arrays("images_eval")
    return Dataset(
        {"input": imagenet(calibration["x"])}, {"input": imagenet(evaluation["x"])},
        evaluation["y"],
    )  # fmt: skip


def _lines(prepare: Callable[[np.ndarray], np.ndarray]) -> Dataset:
    lines = zoo.arrays("text_lines")
    feeds = {"x": prepare(lines["x"])}
    return Dataset(
        rows(feeds, 0, CALIBRATION_LINES), rows(feeds, CALIBRATION_LINES),
        lines["text"][CALIBRATION_LINES:], lines["text"][:CALIBRATION_LINES],
    )  # fmt: skip


def _recognizer() -> Dataset:
    return _lines(lambda pictures: symmetric(pictures[..., ::-1]))  # PaddleOCR reads BGR


def _classifier() -> Dataset:
    return _lines(lambda pictures: symmetric(resize(pictures, *CLASSIFIER_SIZE)))


def _detector() -> Dataset:
    feeds = {"x": imagenet(zoo.arrays("pages")["x"])}
    return Dataset(rows(feeds, 0, CALIBRATION_PAGES), rows(feeds, CALIBRATION_PAGES))


def _pictures(name: str, prepare: Callable[[np.ndarray], np.ndarray]) -> Dataset:
    calibration, evaluation = zoo.arrays("images_calibration"), zoo.arrays("images_eval")
    return Dataset(
        {name: prepare(calibration["x"][:PICTURES])}, {name: prepare(evaluation["x"][:PICTURES])}
    )


def _yolo(pictures: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(resize(pictures, 320, 320).transpose(0, 3, 1, 2) / np.float32(255))


def _layout() -> Dataset:
    feeds = {"image": imagenet(resize(zoo.arrays("pages")["x"][: 2 * LAYOUT_PAGES], 800, 608))}
    return Dataset(rows(feeds, 0, LAYOUT_PAGES), rows(feeds, LAYOUT_PAGES))


def _emails() -> Dataset:
    emails = zoo.arrays("emails_tokens")
    feeds = {
        "input_ids": emails["ids"],
        "attention_mask": emails["mask"],
        "token_type_ids": np.zeros_like(emails["ids"]),
    }
    last = CALIBRATION_EMAILS + EVALUATION_EMAILS
    return Dataset(
        rows(feeds, 0, CALIBRATION_EMAILS), rows(feeds, CALIBRATION_EMAILS, last),
        emails["spam"][CALIBRATION_EMAILS:last], emails["spam"][:CALIBRATION_EMAILS],
    )  # fmt: skip


def _light(name: str) -> Dataset:
    feeds = light.input_of(name)
    return Dataset(feeds, feeds)


_DATASETS: dict[str, Callable[[], Dataset]] = {
    "digits": _digits,
    "resnet50": _random_images,
    "mobilenet_v2": _random_images,
    "bert_base": _random_tokens,
    "minilm": _emails,
    "efficientnet_lite0": _efficientnet_lite0,
    "ppocr_recognizer": _recognizer,
    "ppocr_detector": _detector,
    "ppocr_classifier": _classifier,
    "pplcnet_orientation": lambda: _pictures("x", imagenet),
    "picodet_layout": _layout,
    "yolov8n": lambda: _pictures("images", _yolo),
}


def dataset(name: str) -> Dataset:
    """Inputs of the model of that name.

    Raises zoo.ZooMissing when they are not in the repository and OCTET_ZOO is unset. A light
    topology has its one input in both places: it is there to be computed, not to be calibrated.
    """
    return _light(name) if name in light.NAMES else _DATASETS[name]()


def shapes_only(name: str, samples: int) -> Feeds:
    """Seeded random inputs of the model's real shapes, for timing where real data is not there."""
    if name in light.NAMES:
        return {key: np.repeat(array, samples, 0) for key, array in light.input_of(name).items()}
    rng = np.random.default_rng(7)
    if name in ("minilm", "bert_base"):
        return random_data.token_feeds(rng, samples, 128, vocabulary=30522)
    if name == "digits":
        return {"image": rng.random((samples, 1, 8, 8), np.float32)}
    pictures = random_data.images(rng, samples, 480 if name == "ppocr_detector" else 224)
    if name == "ppocr_recognizer":
        return {"x": np.clip(np.tile(pictures[:, :, :48], (1, 1, 1, 2))[..., :320], -1, 1)}
    if name == "ppocr_classifier":
        return {"x": np.clip(pictures[:, :, :48, :192], -1, 1)}
    if name == "yolov8n":
        return {"images": np.clip(pictures * 0.2 + 0.5, 0, 1)}
    return {"x" if name.startswith("pp") else "input": pictures}
