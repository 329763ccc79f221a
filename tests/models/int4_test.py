"""Weights in 4 bits, on a real encoder: what each method costs, and what is kept in memory."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tests.models import build, fetch, inputs, octet, peers, zoo

pytestmark = pytest.mark.skipif(not octet.program().is_file(), reason="run_model is not built")

BATCH = 8
CALIBRATION, EVALUATION = 32, 32


@cache
def emails() -> tuple[inputs.Feeds, inputs.Feeds, np.ndarray]:
    """Calibration, evaluation, and what float32 makes of the latter."""
    try:
        dataset = inputs.dataset("minilm")
        file = build.path("minilm")
    except (fetch.FetchError, zoo.ZooMissing) as error:
        pytest.skip(f"minilm: {error}")
    calibration = inputs.rows(dataset.calibration, 0, CALIBRATION)
    evaluation = inputs.rows(dataset.evaluation, 0, EVALUATION)
    return calibration, evaluation, peers.run_onnxruntime(file, evaluation)


@cache
def run(*options: str) -> octet.Result:
    calibration, evaluation, _ = emails()
    return octet.run(build.path("minilm"), evaluation, "int4", calibration, (BATCH,), options)


def sqnr(result: octet.Result) -> float:
    exact = emails()[2].astype(np.float64)
    error = result.outputs[BATCH][0] - exact
    return float(10 * np.log10((exact**2).sum() / (error**2).sum()))


def test_error_feedback_beats_least_squares_beats_the_whole_range() -> None:
    gptq = sqnr(run())
    least_squares = sqnr(run("--no-gptq"))
    whole_range = sqnr(run("--no-gptq", "--weights", "min_max"))
    assert gptq >= least_squares + 1
    assert least_squares >= whole_range
    assert gptq >= 11


def test_a_table_per_row_beats_scales_per_row() -> None:
    scales = sqnr(run("--no-gptq", "--group", "0"))
    for algorithm in ("least_squares", "decision_tree"):
        assert sqnr(run("--group", "0", "--codebook", algorithm)) >= scales


def test_expanded_while_running_is_the_same_and_smaller() -> None:
    load, running = run(), run("--expand-run")
    np.testing.assert_array_equal(running.outputs[BATCH][0], load.outputs[BATCH][0])
    # All but the embeddings, which stay float32, is half of what it was.
    embeddings = 4 * 384 * (30522 + 512 + 2)
    assert running.served_weight_bytes - embeddings <= 0.6 * (
        load.served_weight_bytes - embeddings
    )
