"""The accuracy guard: a target in the YAML, and what a client, a scrape and a report see of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, digits_input, serve

DIGITS = ROOT / "examples" / "models" / "digits"


@pytest.fixture
def repository(tmp_path) -> Path:
    shutil.copytree(DIGITS, tmp_path / "models" / "digits")
    return tmp_path / "models"


@pytest.fixture
def validation(tmp_path, digits) -> Path:
    path = tmp_path / "labelled.npz"
    np.savez(path, image=digits[0], labels=digits[1])
    return path


def yaml_of(repository: Path, accuracy: str, more: str = "") -> str:
    return (f"model_repository: {repository}\n"
            f"quantization: {{mode: int8, accuracy: {{{accuracy}}}{more}}}\n")


def properties(server) -> bytes:
    """The metadata with `properties`, which Triton's client keeps without knowing the field."""
    return server.client().get_model_metadata("digits").SerializeToString()


def verdict(server, name: str) -> float:
    return server.metric("octet_model_accuracy_verdict", model="digits", verdict=name)


def test_the_default_target_is_met_on_held_out_samples(int8_server):
    assert verdict(int8_server, "met") == 1
    assert int8_server.metric("octet_model_accuracy", metric="sqnr") >= 20
    assert int8_server.metric("octet_model_accuracy_target", metric="sqnr") == 20
    assert int8_server.metric("octet_model_output_sqnr_db", model="digits") >= 20
    assert b"accuracy_verdict" in properties(int8_server) and b"met" in properties(int8_server)


def test_without_data_the_accuracy_is_unverified(dynamic_server):
    assert verdict(dynamic_server, "unverified") == 1
    assert "octet_model_output_sqnr_db{" not in dynamic_server.get("/metrics")[1]


def test_float32_has_no_verdict(float_server):
    assert "octet_model_accuracy_verdict{" not in float_server.get("/metrics")[1]


def test_labelled_accuracy_is_held(tmp_path, repository, validation):
    accuracy = f"metric: top1, target: {{max_drop: 0.005}}, validation: {validation}"
    with serve(tmp_path, yaml_of(repository, accuracy)) as server:
        assert verdict(server, "met") == 1
        assert server.metric("octet_model_accuracy", metric="top1_loss") <= 0.005
        assert server.metric("octet_model_accuracy_target", metric="top1_loss") == 0.005


def macro_f1(labels: np.ndarray, decisions: np.ndarray) -> float:
    counts = np.zeros((10, 10))
    np.add.at(counts, (labels, decisions), 1)
    right = np.diag(counts)
    precision, recall = right / counts.sum(axis=0), right / counts.sum(axis=1)
    return float(np.mean(2 * precision * recall / (precision + recall)))


def test_f1_is_what_the_served_answers_have(tmp_path, repository, digits, validation):
    accuracy = f"metric: f1, validation: {validation}"
    report = tmp_path / "reports"
    with serve(tmp_path, yaml_of(repository, accuracy, f", report: {{path: {report}}}")) as server:
        assert verdict(server, "met") == 1
        loss = server.metric("octet_model_accuracy", metric="f1_loss")
        assert server.metric("octet_model_accuracy_target", metric="f1_loss") == 0.01
        client = server.client()
        logits = np.concatenate([
            client.infer("digits", digits_input(part)).as_numpy("logits")
            for part in np.array_split(digits[0], len(digits[0]) // 30)])  # fmt: skip
    (found,) = report.rglob("report.json")
    measured = json.loads(found.read_text())["accuracy"]
    assert measured["f1"] == pytest.approx(macro_f1(digits[1], logits.argmax(axis=1)), abs=1e-9)
    assert loss == pytest.approx(1 - measured["f1"] / measured["f1_float32"], abs=1e-9)
    assert measured["f1"] != measured["top1"]


def test_an_impossible_target_refuses_the_model(tmp_path, repository):
    yaml = yaml_of(repository, "target: 90, on_fail: error")
    with serve(tmp_path, yaml, ready=False) as server:
        client = server.client()
        while any(m.state == "LOADING" for m in client.get_model_repository_index().models):
            pass
        (model,) = client.get_model_repository_index().models
        assert model.state == "UNAVAILABLE"
        assert "measured sqnr" in model.reason and "wanted sqnr at least 90.0 dB" in model.reason
        assert not client.is_model_ready("digits")
        status, body = server.get("/healthz/ready")
        assert status == 503 and "wanted sqnr" in body


def test_float_is_served_where_int8_misses(tmp_path, repository, digits, float_server):
    with serve(tmp_path, yaml_of(repository, "target: 90, on_fail: float")) as server:
        assert verdict(server, "best_effort") == 1
        assert server.metric("octet_model_info", model="digits", mode="fp32") == 1
        got, expected = (
            s.client().infer("digits", digits_input(digits[0][:32])).as_numpy("logits")
            for s in (server, float_server))
        assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()


def test_mixed_serves_the_best(tmp_path, repository):
    with serve(tmp_path, yaml_of(repository, "target: 90")) as server:
        assert verdict(server, "best_effort") == 1
        assert server.metric("octet_model_info", model="digits", mode="int8") == 1
        assert b"best_effort" in properties(server)


def above_int8(report: dict) -> list[dict]:
    """bf16 where the CPU has it, else float32."""
    return [layer for layer in report["layers"] if layer["decision"] in ("bf16", "fp32")]


def test_a_few_layers_move_for_a_higher_target(tmp_path):
    config = tmp_path / "octet.yaml"
    model = DIGITS / "1" / "model.onnx"
    reports = {}
    for target in (20, 45):
        config.write_text("quantization: {mode: int8, mixed_precision: {max_float_fraction: 1}, "
                          f"accuracy: {{target: {target}}}}}\n")
        done = subprocess.run(
            [os.environ["OCTET_BINARY"], "quantize", str(model), "--config", str(config),
             "--report", str(tmp_path)], capture_output=True, text=True, cwd=ROOT, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "accuracy             met: sqnr" in done.stdout
        reports[target] = json.loads((tmp_path / "report.json").read_text())
    assert reports[20]["accuracy"]["search"]["measurements"] == 0
    assert above_int8(reports[20]) == []
    high = reports[45]
    assert high["accuracy"]["verdict"] == "met" and high["accuracy"]["measured"] >= 45
    assert 0 < len(above_int8(high)) < len(high["layers"])
    assert all(layer["reason"] for layer in above_int8(high))
    summary = high["summary"]
    assert summary["layers_bf16"] + summary["layers_float32"] == len(above_int8(high))
