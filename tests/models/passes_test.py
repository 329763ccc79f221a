"""What the float passes make of whole models: what is fused is counted, what is computed stays."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping

import pytest

from tests.models import build, fetch, zoo

REPORT = os.environ.get("OCTET_PASS_REPORT", "")
TOLERANCE = 1e-4  # of an output's largest value

# What is left of each model in a plan: operators with what is fused into them, the costly ones.
EXPECTED: Mapping[str, Mapping[str, int]] = {
    "digits": {"Conv+Relu": 3, "Conv+Add+Relu": 1, "Gemm": 1},
    "resnet50": {"Conv": 4, "Conv+Relu": 33, "Conv+Add+Relu": 16, "Gemm": 1},
    "mobilenet_v2": {"Conv": 7, "Conv+Clip": 35, "Conv+Add": 10, "Gemm": 1},
    "efficientnet_lite0": {"Conv": 7, "Conv+Clip": 33, "Conv+Add": 9, "Gemm": 1},
    "minilm": {
        "LayerNormalization": 13, "MatMul+Gelu": 6, "MatMul+Linear": 6, "MatMul+Add": 12,
        "MatMul": 24, "Softmax": 6,
    },
    "bert_base": {
        "LayerNormalization": 25, "MatMul+Gelu": 12, "MatMul+Linear": 12, "MatMul+Add": 24,
        "MatMul": 48, "Softmax": 12,
    },
    "ppocr_detector": {
        "Conv+HardSwish": 10, "Conv+HardSwish+Linear": 14, "Conv+HardSigmoid": 10,
        "ConvTranspose+Relu": 1, "ConvTranspose+Sigmoid": 1,
    },
    "ppocr_recognizer": {
        "Conv+HardSwish": 12, "Conv+HardSwish+Linear": 16, "Conv+Swish": 5, "MatMul+Swish": 2,
        "LayerNormalization": 5, "MatMul+Linear": 2,
    },
    "ppocr_classifier": {"Conv+HardSwish": 18, "Conv+HardSigmoid": 9, "Conv+Relu": 15},
}  # fmt: skip

# Nothing of what these were folded or fused from.
GONE = ("BatchNormalization", "Clip", "Erf", "Pow", "Sqrt", "ReduceMean", "Div", "Pad", "Shape")


@pytest.mark.skipif(not REPORT, reason="OCTET_PASS_REPORT names no program")
@pytest.mark.parametrize("name", EXPECTED)
def test_passes_leave_what_is_expected(name: str) -> None:
    try:
        file = build.path(name)
    except (fetch.FetchError, zoo.ZooMissing) as error:
        pytest.skip(str(error))
    run = subprocess.run([REPORT, str(file), "--compare"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    plan = report["plan"]
    assert {operator: plan.get(operator, 0) for operator in EXPECTED[name]} == EXPECTED[name]
    assert not [operator for operator in GONE if operator in plan]
    assert all(difference is not None for difference in report["differences"])
    assert max(report["differences"]) < TOLERANCE
