"""Answers that are compared with float32 while the server serves them."""

from __future__ import annotations

import time

import numpy as np
import pytest
from conftest import ROOT, Server, digits_input, serve

SECONDS = 60


def yaml_of(sample_rate: float) -> str:
    return (f"model_repository: {ROOT}/examples/models\n"
            f"quantization: {{mode: int8, shadow: {{sample_rate: {sample_rate}}}}}\n")


def compared(server: Server) -> float:
    return server.metric("octet_model_shadow_requests_total", result="compared")


def ask_until(server: Server, images: np.ndarray, wanted: float) -> None:
    client = server.client()
    deadline = time.monotonic() + SECONDS
    while compared(server) < wanted:
        assert time.monotonic() < deadline, compared(server)
        for image in images[:20]:
            client.infer("digits", digits_input(image[None]))


def test_requests_like_the_calibration_data_keep_the_accuracy(tmp_path, digits):
    with serve(tmp_path, yaml_of(1)) as server:
        at_load = server.metric("octet_model_output_sqnr_db", model="digits")
        ask_until(server, digits[0], 60)
        assert server.metric("octet_model_shadow_output_sqnr_db") == pytest.approx(at_load, abs=6)
        assert server.metric("octet_model_shadow_agreement") >= 0.95
        assert server.metric("octet_model_shadow_requests_total", result="failed") == 0
        float32 = server.metric("octet_model_weight_bytes", kind="float32")
        assert server.metric("octet_model_weight_bytes", kind="shadow") >= 0.9 * float32


def test_requests_unlike_it_are_noticed(tmp_path, digits):
    with serve(tmp_path, yaml_of(1)) as server:
        at_load = server.metric("octet_model_output_sqnr_db", model="digits")
        ask_until(server, 20 * digits[0] + 40, 60)  # far beyond the calibrated ranges
        assert server.metric("octet_model_shadow_output_sqnr_db") < at_load - 10


def clip_ratios(server: Server) -> dict[str, float]:
    """By layer."""
    return {line.split('layer="')[1].split('"')[0]: float(line.split()[-1])
            for line in server.get("/metrics")[1].splitlines()
            if line.startswith("octet_model_shadow_clip_ratio{") and 'model="digits"' in line}


def test_values_beyond_the_calibrated_ranges_are_noticed(tmp_path, digits):
    with serve(tmp_path, yaml_of(1)) as server:
        assert clip_ratios(server) == {}
        ask_until(server, digits[0], 60)
        usual = clip_ratios(server)
        assert 1 <= len(usual) <= 5
        assert max(usual.values()) < 0.05
        ask_until(server, 100 * digits[0], 400)  # none of the usual ones is left in the window
        unusual = clip_ratios(server)
        assert 1 <= len(unusual) <= 5
        assert max(unusual.values()) > 0.3


def test_without_sampling_nothing_is_kept(tmp_path, digits):
    with serve(tmp_path, yaml_of(0)) as server:
        server.client().infer("digits", digits_input(digits[0][:1]))
        metrics = server.get("/metrics")[1]
        assert "octet_model_shadow_requests_total{" not in metrics
        assert "octet_model_shadow_clip_ratio{" not in metrics
        assert 'octet_model_weight_bytes{kind="shadow"' not in metrics
