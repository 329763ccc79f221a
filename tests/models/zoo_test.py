"""What OCTET_ZOO holds is what the tests expect; unset, each is skipped by name."""

from __future__ import annotations

import onnxruntime
import pytest

from tests.models import accuracy, build, inputs, zoo


def dataset_or_skip(name: str) -> inputs.Dataset:
    try:
        return inputs.dataset(name)
    except zoo.ZooMissing as error:
        pytest.skip(f"{name}: {error}")


@pytest.mark.parametrize(
    "name",
    ["minilm", "efficientnet_lite0", "ppocr_recognizer", "ppocr_detector", "ppocr_classifier"],
)
def test_model_takes_its_inputs(name: str) -> None:
    dataset = dataset_or_skip(name)
    session = onnxruntime.InferenceSession(build.path(name))
    (output,) = session.run(None, inputs.rows(dataset.evaluation, 0, 2))
    assert len(output) == 2


def test_recognizer_reads_most_lines() -> None:
    dataset = dataset_or_skip("ppocr_recognizer")
    path = build.path("ppocr_recognizer")
    feeds = inputs.rows(dataset.evaluation, 0, 10)
    (probabilities,) = onnxruntime.InferenceSession(path).run(None, feeds)
    read = accuracy.greedy_ctc(probabilities, accuracy.ctc_characters(path))
    words = [line.strip() for line in read]  # margins are often read as spaces
    assert accuracy.equal_lines(list(dataset.labels[:10]), words) >= 7
