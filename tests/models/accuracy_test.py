"""The measures, on cases small enough to be worked out by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.models import accuracy, inputs, score, zoo


def test_top1_takes_any_of_several_labels_and_none_is_never_right() -> None:
    logits = np.eye(4, dtype=np.float32)
    assert accuracy.top1_correct(logits, np.array([0, 1, 2, 0])) == 3
    labels = np.array([[3, 0, -1], [-1, -1, -1], [2, -1, -1], [0, 1, 2]])
    assert accuracy.top1_correct(logits, labels) == 2
    assert accuracy.top1(logits, labels) == 0.5


def test_agreement_counts_equal_winners() -> None:
    reference = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert accuracy.agreement(reference, np.array([[0.0, 9.0], [0.0, 9.0]])) == 0.5


def test_sqnr_of_a_tenth_of_noise_is_twenty_decibels() -> None:
    reference = np.ones(100, np.float32)
    assert accuracy.sqnr_db(reference, reference * 1.1) == pytest.approx(20, abs=1e-4)
    assert accuracy.sqnr_db(reference, reference) == float("inf")
    assert accuracy.sqnr_db(0 * reference, reference) == float("-inf")


def test_relative_error_is_of_the_largest_value() -> None:
    assert accuracy.relative_error(np.array([-4.0, 1.0]), np.array([-4.0, 2.0])) == 0.25
    assert np.isnan(accuracy.relative_error(np.array([1.0]), np.array([np.nan])))


def test_masked_mean_leaves_padding_out() -> None:
    hidden = np.array([[[1.0, 2.0], [3.0, 4.0], [99.0, 99.0]]])
    assert accuracy.masked_mean(hidden, np.array([[1, 1, 0]])).tolist() == [[2.0, 3.0]]


def test_cosine_ignores_length() -> None:
    reference = np.array([[1.0, 0.0], [1.0, 0.0]])
    actual = np.array([[5.0, 0.0], [0.0, 3.0]])
    assert accuracy.cosines(reference, actual).tolist() == [1.0, 0.0]
    assert accuracy.mean_cosine(reference, actual) == 0.5


def test_greedy_ctc_collapses_runs_before_it_drops_blanks() -> None:
    best = np.array([[1, 1, 0, 1, 2, 2, 0], [0, 0, 0, 0, 0, 0, 3]])
    probabilities = np.eye(4)[best]
    assert accuracy.greedy_ctc(probabilities, ["", "a", "b", " "]) == ["aab", " "]


def test_ctc_characters_come_from_the_metadata(tmp_path) -> None:
    model = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="character"):
        accuracy.ctc_characters(tmp_path / "model.onnx")
    onnx.helper.set_model_props(model, {"character": "x\ny\n"})
    onnx.save(model, tmp_path / "model.onnx")
    assert accuracy.ctc_characters(tmp_path / "model.onnx") == ["", "x", "y", " "]


def test_linear_probe_separates_what_a_line_separates() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    embeddings = rng.standard_normal((200, 5)) + 4 * labels[:, None] + 10
    probe = accuracy.fit_linear_probe(embeddings[:100], labels[:100])
    assert probe.accuracy(embeddings[100:], labels[100:]) > 0.98
    assert probe.accuracy(embeddings[100:], 1 - labels[100:]) < 0.02


def test_score_refuses_outputs_of_another_shape() -> None:
    dataset = inputs.Dataset({}, {})
    with pytest.raises(ValueError, match="expected shape"):
        score.score("resnet50", dataset, np.ones((2, 3)), np.ones((2, 4)))


def test_resize_keeps_ramps() -> None:
    ramp = np.arange(0, 240, 10, dtype=np.uint8)[None, None, :, None]  # 24 wide
    half = inputs.resize(ramp, 1, 12)[0, 0, :, 0]
    assert half.tolist() == list(range(5, 240, 20))  # midway between its two pixels
    assert (inputs.resize(ramp, 5, 24) == ramp).all()


def test_symmetric_maps_bytes_to_minus_one_and_one() -> None:
    picture = np.array([[[[0, 255, 0]]]], np.uint8)
    assert inputs.symmetric(picture)[0, :, 0, 0].tolist() == [-1.0, 1.0, -1.0]


def test_without_the_zoo_its_data_is_missing_by_name(monkeypatch) -> None:
    monkeypatch.delenv(zoo.VARIABLE, raising=False)
    with pytest.raises(zoo.ZooMissing, match="OCTET_ZOO is not set: data/pages.npz"):
        inputs.dataset("ppocr_detector")
