"""How close a model's outputs are to those of its float32 form, and to the truth.

Plain functions over arrays, so that Octet and its peers are judged by the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

NO_LABEL = -1


def top1_correct(logits: np.ndarray, labels: np.ndarray) -> int:
    """Rows whose largest logit is right. Labels: [n], or [n, k] of which each counts, -1 = none."""
    if labels.ndim == 1:
        labels = labels[:, None]
    best = logits.argmax(axis=1)[:, None]
    return int(((best == labels) & (labels != NO_LABEL)).any(axis=1).sum())


def top1(logits: np.ndarray, labels: np.ndarray) -> float:
    return top1_correct(logits, labels) / len(logits)


def agreement(reference: np.ndarray, actual: np.ndarray) -> float:
    """Share of rows whose largest logit is the same."""
    return float((reference.argmax(axis=1) == actual.argmax(axis=1)).mean())


def sqnr_db(reference: np.ndarray, actual: np.ndarray) -> float:
    """Signal to quantization noise ratio: 10 log10(sum r^2 / sum (r - a)^2); inf when equal."""
    signal = np.square(reference, dtype=np.float64).sum()
    noise = np.square(reference.astype(np.float64) - actual).sum()
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal > 0 else float("-inf")


def relative_error(reference: np.ndarray, actual: np.ndarray) -> float:
    """The largest difference over the largest reference value; NaN where one of them has NaN."""
    largest = np.abs(reference).max()
    difference = np.abs(reference.astype(np.float64) - actual).max()
    return float(difference / largest) if largest != 0 else float(difference)


def masked_mean(hidden: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Sentence embedding: the mean over the tokens that are no padding. [n, s, h] -> [n, h]."""
    weight = mask[..., None].astype(hidden.dtype)
    return (hidden * weight).sum(axis=1) / weight.sum(axis=1)


def cosines(reference: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Row by row, of [n, h]."""
    product = (reference * actual).sum(axis=1)
    return product / (np.linalg.norm(reference, axis=1) * np.linalg.norm(actual, axis=1))


def mean_cosine(reference: np.ndarray, actual: np.ndarray) -> float:
    return float(cosines(reference, actual).mean())


def ctc_characters(model: Path) -> list[str]:
    """The classes of a PP-OCR recognizer: blank, the characters in its metadata, a space."""
    metadata = {entry.key: entry.value for entry in onnx.load(model).metadata_props}
    if "character" not in metadata:
        raise ValueError(f"{model}: expected `character` in the metadata, found {list(metadata)}")
    return ["", *metadata["character"].splitlines(), " "]


def greedy_ctc(probabilities: np.ndarray, characters: Sequence[str]) -> list[str]:
    """Best path decoding (Graves et al. 2006): runs collapse, then blanks (class 0) vanish."""
    texts = []
    for best in probabilities.argmax(axis=2):
        starts_run = np.concatenate(([True], best[1:] != best[:-1]))
        texts.append("".join(characters[c] for c in best[starts_run & (best != 0)]))
    return texts


def equal_lines(reference: Sequence[str], actual: Sequence[str]) -> int:
    return sum(r == a for r, a in zip(reference, actual, strict=True))


@dataclass(frozen=True)
class LinearProbe:
    """A two-class linear classifier on embeddings: turns them into a labelled accuracy."""

    weight: np.ndarray
    bias: float

    def accuracy(self, embeddings: np.ndarray, labels: np.ndarray) -> float:
        return float(((embeddings @ self.weight + self.bias > 0) == (labels > 0)).mean())


def fit_linear_probe(embeddings: np.ndarray, labels: np.ndarray,
                     ridge: float = 1.0) -> LinearProbe:  # fmt: skip
    """Ridge regression on labels of -1 and +1; labels are 0 and 1."""
    target = np.where(labels > 0, 1.0, -1.0)
    mean = embeddings.mean(axis=0)
    centred = embeddings - mean
    gram = centred.T @ centred + ridge * np.eye(centred.shape[1])
    weight = np.linalg.solve(gram, centred.T @ (target - target.mean()))
    return LinearProbe(weight, float(target.mean() - mean @ weight))
