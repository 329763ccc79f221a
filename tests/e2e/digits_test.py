"""The example model over gRPC, float32 and int8, beside ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from conftest import ROOT, digits_input

MODEL = ROOT / "examples" / "models" / "digits" / "1" / "model.onnx"


@pytest.fixture(scope="module")
def expected(digits) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
    return session.run(None, {"image": digits[0]})[0]


def infer(server, images: np.ndarray, batch: int) -> np.ndarray:
    client = server.client()
    return np.concatenate([
        client.infer("digits", digits_input(images[i:i + batch])).as_numpy("logits")
        for i in range(0, len(images), batch)])


def test_float32_equals_onnxruntime(float_server, digits, expected):
    got = infer(float_server, digits[0], 20)
    assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()


def test_float32_is_the_same_batched_and_alone(float_server, digits):
    alone, batched = infer(float_server, digits[0][:64], 1), infer(float_server, digits[0][:64], 32)
    assert np.abs(alone - batched).max() <= 1e-5 * np.abs(alone).max()


def test_int8_keeps_the_accuracy(int8_server, digits, expected):
    images, labels = digits
    got = infer(int8_server, images, 20)
    in_float = (expected.argmax(1) == labels).mean()
    in_int8 = (got.argmax(1) == labels).mean()
    assert len(labels) >= 500
    assert in_int8 >= in_float - 0.002
    # It is int8, and not the float network.
    noise = np.abs(got - expected).max() / np.abs(expected).max()
    assert 1e-4 < noise < 0.1


def test_int8_is_bit_identical_batched_and_alone(int8_server, digits):
    images = digits[0][:64]
    np.testing.assert_array_equal(infer(int8_server, images, 1), infer(int8_server, images, 32))


@pytest.mark.parametrize("name", ["int8_server", "dynamic_server"])
def test_a_huge_neighbour_changes_nothing(name, digits, request):
    server = request.getfixturevalue(name)
    images = digits[0][:8].copy()
    alone = infer(server, images, 1)
    images[3] *= 100
    together = infer(server, images, 8)
    others = [0, 1, 2, 4, 5, 6, 7]
    np.testing.assert_array_equal(alone[others], together[others])


def test_metadata_names_the_model(int8_server):
    metadata = int8_server.client().get_model_metadata("digits")
    assert [(i.name, i.datatype, list(i.shape)) for i in metadata.inputs] == [
        ("image", "FP32", [-1, 1, 8, 8])]
    assert [(o.name, list(o.shape)) for o in metadata.outputs] == [("logits", [-1, 10])]


def test_memory_and_mode_are_in_the_metrics(int8_server):
    assert int8_server.metric("octet_model_info", model="digits", mode="int8") == 1
    saved = int8_server.metric("octet_model_memory_saved_bytes", model="digits")
    before = int8_server.metric("octet_model_weight_bytes", model="digits", kind="float32")
    served = int8_server.metric("octet_model_weight_bytes", model="digits", kind="served")
    assert saved == before - served > 0
    assert int8_server.metric("octet_model_quantization_seconds", model="digits") > 0
    assert int8_server.metric("octet_process_resident_bytes") > 1e6
