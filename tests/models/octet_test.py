"""What Octet computes on whole models: ONNX Runtime is the judge of float32, float32 of int8."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.models import (
    accuracy,
    bert_base,
    build,
    fetch,
    inputs,
    light,
    octet,
    random_data,
    transformer,
    zoo,
)
from tests.models.cache import cached
from tests.models.random_data import Feeds

pytestmark = pytest.mark.skipif(not octet.program().is_file(), reason="run_model is not built")

ALONE, TOGETHER = 1, 8
ROWS = 10  # a full batch and one that is filled up
FLOAT_TOLERANCE = 1e-4  # of the largest output
BATCH_TOLERANCE = 1e-5

# BERT-base but for the number of layers and of what is looked up.
SHORT_BERT = transformer.Config(
    **{**vars(bert_base.CONFIG), "name": "short_bert", "layers": 2, "vocabulary": 2000,
       "positions": 64}
)  # fmt: skip

MODELS = ("digits", "resnet50", "mobilenet_v2", "efficientnet_lite0", "minilm", "short_bert",
          "ppocr_recognizer", "ppocr_detector", "ppocr_classifier", "pplcnet_orientation",
          "yolov8n")  # fmt: skip
BIT_IDENTICAL = ("digits", "resnet50", "efficientnet_lite0")
# On noise and random words the trained networks have outputs that int8 cannot come close to; so
# none of their layers goes back to float32.
TRAINED_FOR_OTHER_DATA = ("mobilenet_v2", "minilm", "ppocr_recognizer", "ppocr_detector",
                          "ppocr_classifier", "pplcnet_orientation", "yolov8n")  # fmt: skip


def _write_short_bert(path: Path) -> None:
    onnx.save(transformer.encoder(SHORT_BERT, bert_base.random_tensors(SHORT_BERT)), path)


def file_of(name: str) -> Path:
    try:
        if name == "short_bert":
            return cached(f"short_bert-{bert_base.VERSION}.onnx", _write_short_bert)
        return build.path(name)
    except (fetch.FetchError, zoo.ZooMissing) as error:
        pytest.skip(f"{name}: {error}")


@cache
def samples(name: str) -> Feeds:
    rng = np.random.default_rng(11)
    if name == "digits":
        return inputs.rows(inputs.dataset("digits").evaluation, 0, 3 * ROWS)
    if name in ("minilm", "short_bert"):
        return random_data.token_feeds(rng, ROWS, 48, vocabulary=2000)
    if name == "ppocr_detector":  # of anything but text it says zero everywhere
        return {"x": inputs.imagenet(random_data.pages(rng, 3, 320))}
    return inputs.shapes_only(name, ROWS)


@cache
def reference(name: str) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(file_of(name)).run(None, samples(name))


@cache
def run(name: str, mode: str) -> octet.Result:
    calibration = None
    if mode == "int8":
        calibration = inputs.rows(samples(name), 0, 4)
        if name == "digits":
            calibration = inputs.rows(inputs.dataset("digits").calibration, 0, 64)
    exempt = mode == "int8" and name in TRAINED_FOR_OTHER_DATA
    return octet.run(file_of(name), samples(name), mode, calibration, (ALONE, TOGETHER),
                     ["--all-int8"] if exempt else [])  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_float32_equals_onnxruntime(name: str) -> None:
    file_of(name)
    outputs = run(name, "fp32").outputs[TOGETHER]
    assert len(outputs) == len(reference(name))
    for expected, actual in zip(reference(name), outputs):
        assert expected.shape == actual.shape
        assert accuracy.relative_error(expected, actual) <= FLOAT_TOLERANCE


@pytest.mark.parametrize("name", ["light_squeezenet", "light_shufflenet"])
def test_float32_equals_the_output_that_onnx_expects(name: str) -> None:
    (output,) = octet.run(build.path(name), light.input_of(name), batches=(1,)).outputs[1]
    expected = light.expected_output(name)
    assert accuracy.relative_error(expected, output.reshape(expected.shape)) <= 1e-3


@pytest.mark.parametrize("name", MODELS)
def test_float32_is_the_same_batched_and_alone(name: str) -> None:
    file_of(name)
    outputs = run(name, "fp32").outputs
    for alone, together in zip(outputs[ALONE], outputs[TOGETHER]):
        assert accuracy.relative_error(alone, together) <= BATCH_TOLERANCE


@pytest.mark.parametrize("name", MODELS)
def test_int8_is_the_same_batched_and_alone(name: str) -> None:
    file_of(name)
    outputs = run(name, "int8").outputs
    for exact, alone, together in zip(reference(name), outputs[ALONE], outputs[TOGETHER]):
        if name in BIT_IDENTICAL:
            np.testing.assert_array_equal(alone, together)
        noise = accuracy.relative_error(exact, alone)
        assert accuracy.relative_error(alone, together) <= noise


def test_resnet50_is_int8_throughout_in_a_quarter_of_the_memory() -> None:
    served = run("resnet50", "int8")
    assert served.int8_mac_share >= 0.9
    assert served.weight_ratio <= 0.27
    assert accuracy.sqnr_db(reference("resnet50")[0], served.outputs[TOGETHER][0]) > 20


# Without calibration each row has ranges of its own.
@pytest.mark.parametrize("name", ["digits", "mobilenet_v2"])
def test_a_huge_row_changes_no_other_in_dynamic_mode(name: str) -> None:
    feeds = inputs.rows(samples(name), 0, TOGETHER)
    ((key, array),) = feeds.items()
    huge = array.copy()
    huge[3] *= 100
    quiet = octet.run(file_of(name), feeds, "dynamic")
    loud = octet.run(file_of(name), {key: huge}, "dynamic", batches=(TOGETHER,))
    others = [0, 1, 2, 4, 5, 6, 7]
    for alone, together in zip(quiet.outputs[ALONE], loud.outputs[TOGETHER]):
        np.testing.assert_array_equal(alone[others], together[others])
        assert not np.array_equal(alone[3], together[3])
    sqnr = accuracy.sqnr_db(
        onnxruntime.InferenceSession(file_of(name)).run(None, feeds)[0], quiet.outputs[ALONE][0]
    )
    assert sqnr > 10 and quiet.int8_mac_share >= 0.9


# A model whose shapes are new after its weights were packed and their originals let go.
def test_int8_serves_shapes_that_were_not_compiled_at_load() -> None:
    short = random_data.token_feeds(np.random.default_rng(5), 4, 20, vocabulary=2000)
    served = octet.run(file_of("short_bert"), short, "int8", samples("short_bert"), (3,))
    expected = onnxruntime.InferenceSession(file_of("short_bert")).run(None, short)
    for exact, actual in zip(expected, served.outputs[3]):
        assert accuracy.sqnr_db(exact, actual) > 15


# What ONEDNN_MAX_CPU_ISA caps; a processor that has less takes what it has.
INSTRUCTION_SETS = ("AVX2", "AVX512_CORE", "AVX512_CORE_VNNI", "ALL")


# Layers in int8 from the input to the output: nothing may differ where the codes are the same. With
# AVX2 they are not quite: calibration in float32 adds in another order.
INT8_THROUGHOUT = ("digits", "efficientnet_lite0")
SAME_FLOAT_KERNELS = ("AVX512_CORE", "AVX512_CORE_VNNI", "ALL")


@pytest.mark.parametrize("name", ["digits", "efficientnet_lite0", "ppocr_classifier"])
def test_every_instruction_set_computes_the_same_network(name: str) -> None:
    file_of(name)
    calibration = inputs.dataset(name).calibration if name == "digits" else samples(name)
    sqnr, outputs = [], {}
    for isa in INSTRUCTION_SETS:
        environment = {"ONEDNN_MAX_CPU_ISA": isa} if isa != "ALL" else {}
        floats = octet.run(file_of(name), samples(name), batches=(8,), environment=environment)
        assert accuracy.relative_error(reference(name)[0], floats.outputs[8][0]) <= FLOAT_TOLERANCE
        # The same codes everywhere, so that only the kernels differ.
        int8 = octet.run(file_of(name), samples(name), "int8", calibration, (8,),
                         ["--reduced-weights", "--all-int8"], environment)  # fmt: skip
        assert int8.int8_mac_share >= 0.9
        assert ("avx512" not in int8.kernels) or isa != "AVX2", int8.kernels
        outputs[isa] = int8.outputs[8][0]
        sqnr.append(accuracy.sqnr_db(reference(name)[0], outputs[isa]))
    if name in INT8_THROUGHOUT and "avx512" in int8.kernels:  # of "ALL", the last
        for isa in SAME_FLOAT_KERNELS:
            np.testing.assert_array_equal(outputs[isa], outputs["ALL"], err_msg=isa)
        assert accuracy.sqnr_db(outputs["ALL"], outputs["AVX2"]) >= 30
    assert min(sqnr) > 12, sqnr
    assert max(sqnr) - min(sqnr) <= 1, sqnr
