"""Models that learn from the requests they serve: no request may notice."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpc
from conftest import ROOT, Clients, Server, digits_input, serve

CLIENTS = 6
SECONDS = 60  # the longest that learning may take, on a machine that has other things to do


@pytest.fixture
def repository(tmp_path) -> Path:
    """The example without its calibration data."""
    (tmp_path / "models" / "digits" / "1").mkdir(parents=True)
    shutil.copy(ROOT / "examples" / "models" / "digits" / "1" / "model.onnx",
                tmp_path / "models" / "digits" / "1")
    return tmp_path / "models"


def yaml_of(repository: Path, calibration: str, more: str = "") -> str:
    return (f"model_repository: {repository}\n"
            f"quantization: {{mode: int8, calibration: {{{calibration}}}{more}}}\n")


def await_true(condition, what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not in {SECONDS} s: {what}"
        time.sleep(0.02)


class Load(Clients):
    """CLIENTS clients that keep asking for images of the test data, one or two at a time."""

    def __init__(self, server: Server, digits: tuple[np.ndarray, np.ndarray]):
        self.server, (self.images, self.labels) = server, digits
        self.stop = threading.Event()
        self.sent, self.right, self.rows = [0] * CLIENTS, [0] * CLIENTS, [0] * CLIENTS
        self.failures: list[str] = []

    def client_loop(self, number: int) -> None:
        client = self.server.client()
        at = 31 * number
        while not self.stop.is_set():
            at = (at + 7) % (len(self.images) - 2)
            rows = slice(at, at + 1 + number % 2)
            self.sent[number] += 1
            try:
                got = client.infer("digits", digits_input(self.images[rows])).as_numpy("logits")
            except grpc.InferenceServerException as error:
                self.failures.append(str(error))
                continue
            self.rows[number] += len(got)
            self.right[number] += int((got.argmax(1) == self.labels[rows]).sum())


def swaps(server: Server, result: str) -> float:
    return server.metric("octet_model_swap_total", model="digits", result=result)


def test_requests_make_it_static_and_none_fails(tmp_path, repository, digits):
    yaml = yaml_of(repository, "source: traffic, samples: 96, sample_every: 2")
    with serve(tmp_path, yaml) as server:
        assert server.property("digits", "calibration") == "dynamic"
        assert server.property("digits", "learning") == "observing requests: 0 of 96 samples"
        assert server.metric("octet_model_calibration_requests", model="digits") == 0
        with Load(server, digits) as load:
            await_true(lambda: swaps(server, "ok") == 1, "the model becomes static")
            await_true(lambda: server.property("digits", "calibration").startswith("static"),
                       "static")
            before = server.metric("octet_inference_count_total", model="digits")
            await_true(lambda: server.metric("octet_inference_count_total", model="digits")
                       > before + 200, "it goes on serving")
        assert load.failures == []
        assert sum(load.right) >= 0.97 * sum(load.rows)
        assert server.property("digits", "calibration") == "static, 72 samples"
        assert "calibrated with 96 samples of requests" in server.property("digits", "learning")
        assert server.property("digits", "accuracy_verdict") == "met"
        assert "24 samples of requests" in server.property("digits", "accuracy_description")
        assert server.metric("octet_model_output_sqnr_db", model="digits") >= 20
        assert server.metric("octet_model_calibration_requests", model="digits") == 96
        statistics = server.client().get_inference_statistics("digits").model_stats[0]
        assert statistics.inference_stats.success.count == sum(load.sent)
        assert statistics.inference_stats.fail.count == 0
        assert server.metric("octet_inference_requests_total", code="OK") == sum(load.sent)
        assert server.metric("octet_inference_count_total", model="digits") == sum(load.rows)
    assert "model replaced" in (tmp_path / "server.log").read_text()
    files = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert files <= {".onnx", ".qpack", ".yaml", ".log"}, "no request is written to disk"


def test_a_missed_target_leaves_what_serves(tmp_path, repository, digits):
    more = ", accuracy: {target: 90}, mixed_precision: {max_float_fraction: 0}"
    with serve(tmp_path, yaml_of(repository, "source: traffic, samples: 32", more)) as server:
        with Load(server, digits) as load:
            await_true(lambda: swaps(server, "failed") == 1, "the attempt")
        assert load.failures == []
        assert server.property("digits", "calibration") == "dynamic"
        assert "misses the accuracy target" in server.property("digits", "learning")
        index = server.client().get_model_repository_index().models[0]
        assert index.state == "READY" and "misses the accuracy target" in index.reason
        assert swaps(server, "ok") == 0
    assert "misses the accuracy target" in (tmp_path / "server.log").read_text()


def test_learning_by_the_way_is_measured_against_what_serves(tmp_path, repository, digits):
    yaml = yaml_of(repository, "learn_from_traffic: true, samples: 64")
    with serve(tmp_path, yaml) as server:
        with Load(server, digits) as load:
            await_true(lambda: swaps(server, "ok") + swaps(server, "failed") == 1, "the attempt")
        assert load.failures == []
        state = server.property("digits", "learning")
        if swaps(server, "ok"):
            assert server.property("digits", "calibration") == "static, 48 samples"
            assert "times as fast" in state
        else:
            assert server.property("digits", "calibration") == "dynamic"
            assert "neither faster" in state


def test_without_it_nothing_is_kept(dynamic_server, digits):
    dynamic_server.client().infer("digits", digits_input(digits[0][:1]))
    assert "octet_model_calibration_requests{" not in dynamic_server.get("/metrics")[1]
    assert dynamic_server.property("digits", "learning") == ""
