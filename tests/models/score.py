"""Which figures say that an int8 form of a model is good enough, model by model."""

from __future__ import annotations

from functools import cache

import numpy as np

from tests.models import accuracy, build
from tests.models.inputs import Dataset

Scores = dict[str, float]
TEXT_PROBABILITY = 0.3  # PP-OCR's threshold for a pixel that belongs to text


@cache
def _characters() -> list[str]:
    return accuracy.ctc_characters(build.path("ppocr_recognizer"))


def _classifier_scores(dataset: Dataset, reference: np.ndarray, actual: np.ndarray) -> Scores:
    return {
        "top1_correct": accuracy.top1_correct(actual, dataset.labels),
        "samples": len(actual),
        "agreement": accuracy.agreement(reference, actual),
    }


def _orientation_scores(dataset: Dataset, reference: np.ndarray, actual: np.ndarray) -> Scores:
    return {"agreement": accuracy.agreement(reference, actual), "samples": len(actual)}


def _detector_scores(dataset: Dataset, reference: np.ndarray, actual: np.ndarray) -> Scores:
    text = [probabilities > TEXT_PROBABILITY for probabilities in (reference, actual)]
    union = int((text[0] | text[1]).sum())
    common = int((text[0] & text[1]).sum())
    return {"text_iou": common / union if union else 1.0, "samples": len(actual)}


def _recognizer_scores(dataset: Dataset, reference: np.ndarray, actual: np.ndarray) -> Scores:
    expected, read = (accuracy.greedy_ctc(p, _characters()) for p in (reference, actual))
    # The margins of a line are often read as spaces: part of the output, but not of the text.
    trimmed = [line.strip() for line in read]
    return {
        "lines_unchanged": accuracy.equal_lines(expected, read),
        "trimmed_unchanged": accuracy.equal_lines([line.strip() for line in expected], trimmed),
        "lines_right": accuracy.equal_lines(list(dataset.labels), trimmed),
        "samples": len(actual),
    }


def _sentence_scores(dataset: Dataset, reference: np.ndarray, actual: np.ndarray) -> Scores:
    mask = dataset.evaluation["attention_mask"]
    embeddings = [accuracy.masked_mean(hidden, mask) for hidden in (reference, actual)]
    cosines = accuracy.cosines(*embeddings)
    # A classifier fitted to float32's embeddings has to go on working with int8's.
    half = len(actual) // 2
    probe = accuracy.fit_linear_probe(embeddings[0][:half], dataset.labels[:half])
    return {
        "probe_accuracy": probe.accuracy(embeddings[1][half:], dataset.labels[half:]),
        "mean_cosine": float(cosines.mean()),
        "least_cosine": float(cosines.min()),
        "samples": len(actual),
    }


_SCORES = {
    "digits": _classifier_scores,
    "efficientnet_lite0": _classifier_scores,
    "ppocr_recognizer": _recognizer_scores,
    "ppocr_detector": _detector_scores,
    "ppocr_classifier": _orientation_scores,
    "minilm": _sentence_scores,
}


def score(name: str, dataset: Dataset, reference: np.ndarray, actual: np.ndarray) -> Scores:
    """Figures for a model's first output on dataset.evaluation; reference is float32's."""
    if reference.shape != actual.shape:
        raise ValueError(f"{name}: expected shape {reference.shape}, found {actual.shape}")
    specific = _SCORES.get(name)
    scores = specific(dataset, reference, actual) if specific else {"samples": len(actual)}
    return scores | {"sqnr_db": accuracy.sqnr_db(reference, actual)}
