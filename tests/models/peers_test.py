"""The comparison itself: what is cached, and what happens when a peer fails. Needs no peer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.models import cache, inputs, peers
from tests.models.random_data import Feeds


def echo_logits(model: Path, feeds: Feeds) -> np.ndarray:
    return peers.run_onnxruntime(model, feeds)


def fake_peer(quantize) -> peers.Peer:
    return peers.Peer("fake", ("numpy",), quantize, echo_logits, ".onnx")


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OCTET_MODELS", str(tmp_path))


def test_a_peer_that_changes_nothing_agrees_in_full() -> None:
    def copy(name: str, model: Path, calibration: Feeds, out: Path) -> None:
        out.write_bytes(model.read_bytes())

    float32, fake = peers.compare("digits", (fake_peer(copy),))
    assert fake.scores == float32.scores
    assert fake.scores["agreement"] == 1 and fake.scores["top1_correct"] > 530


def test_a_peer_is_asked_once_for_one_model_and_its_data() -> None:
    calls = []

    def count(name: str, model: Path, calibration: Feeds, out: Path) -> None:
        calls.append(name)
        out.write_bytes(b"")

    peer = fake_peer(count)
    data = inputs.dataset("digits").calibration
    assert peers.quantized(peer, "digits", data) == peers.quantized(peer, "digits", data)
    peers.quantized(peer, "digits", inputs.rows(data, 0, 5))
    assert len(calls) == 2


def test_a_failing_peer_is_reported_and_leaves_nothing_behind() -> None:
    def fail(name: str, model: Path, calibration: Feeds, out: Path) -> None:
        out.write_bytes(b"half")
        raise RuntimeError("no such operator\nat line 1")

    _, failed = peers.compare("digits", (fake_peer(fail),))
    assert failed.error == "RuntimeError: no such operator"
    assert "no such operator" in peers.row(failed)
    assert not list(cache.folder().iterdir())
