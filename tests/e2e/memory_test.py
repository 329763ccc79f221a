"""How much memory quantizing takes: weights stream through it, layer by layer. Measured on the
process, not by formula."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

WIDTH, LAYERS = 1024, 20
MEGABYTE = 1 << 20
FLOAT_BYTES = LAYERS * WIDTH * WIDTH * 4
LAYER_BYTES = WIDTH * WIDTH * 4
# Histograms of what layers read, 64 KiB each; activations; and what allocators keep.
SLACK_BYTES = 16 * MEGABYTE


def make_model(path: Path, width: int, layers: int) -> Path:
    """A chain of products; its weights are not products of codes and powers of two."""
    random = np.random.default_rng(1)
    weights = [(random.standard_normal((width, width)) / width**0.5).astype(np.float32)
               for _ in range(layers)]
    nodes, value = [], "x"
    for i in range(layers):
        nodes.append(helper.make_node("MatMul", [value, f"w{i}"], [f"p{i}"], name=f"product{i}"))
        nodes.append(helper.make_node("Tanh", [f"p{i}"], [f"t{i}"]))
        value = f"t{i}"
    nodes.append(helper.make_node("Identity", [value], ["y"]))
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "chain", [tensor("x", TensorProto.FLOAT, ["N", width])],
        [tensor("y", TensorProto.FLOAT, ["N", width])],
        [numpy_helper.from_array(weight, f"w{i}") for i, weight in enumerate(weights)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    np.savez(path.with_suffix(".npz"),
             x=random.standard_normal((32, width)).astype(np.float32))
    return path


def quantize(model: Path, *options: str, **environment: str) -> tuple[int, str]:
    """Peak resident bytes of the process, and what it printed."""
    process = subprocess.Popen(
        [os.environ["OCTET_BINARY"], "quantize", str(model), *options], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | environment)
    peak = 0
    while process.poll() is None:
        # It only grows: of the last moments too little is missed to matter.
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
        peak = int(found[1]) * 1024 if found else peak
        time.sleep(0.005)
    printed = process.stdout.read()
    assert process.returncode == 0, printed
    return peak, printed


def table(printed: str) -> list[str]:
    """The lines of the layers."""
    return [line for line in printed.splitlines() if line.startswith("product")]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("small") / "small.onnx", 32, LAYERS)


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("large") / "large.onnx", WIDTH, LAYERS)


def options_of(mode: str, calibrated: bool, model: Path, folder: Path) -> list[str]:
    configuration = folder / f"{model.stem}.yaml"
    # Both the same work: no search that one of them might need.
    configuration.write_text(f"quantization: {{mode: {mode}, accuracy: {{on_fail: warn}},"
                             " cache: {read: false, write: false}}\n")
    options = ["--config", str(configuration)]
    return options + (["--calibration", str(model.with_suffix(".npz"))] if calibrated else [])


@pytest.mark.parametrize(("mode", "calibrated", "packed_bytes"), [
    ("int8", True, FLOAT_BYTES // 4),
    ("int8", False, FLOAT_BYTES // 4),
    ("bf16", True, FLOAT_BYTES // 2),
])
def test_weights_stream_through_memory(small: Path, large: Path, tmp_path: Path, mode: str,
                                       calibrated: bool, packed_bytes: int) -> None:
    """At most the packed weights and one and a half of the largest layer, beyond what the process
    takes for a small model."""
    before, _ = quantize(small, *options_of(mode, calibrated, small, tmp_path))
    peak, printed = quantize(large, *options_of(mode, calibrated, large, tmp_path))
    bound = before + packed_bytes + LAYER_BYTES * 3 // 2 + SLACK_BYTES
    assert peak <= bound, (f"{peak / MEGABYTE:.0f} MiB, expected {bound / MEGABYTE:.0f};"
                           f" {before / MEGABYTE:.0f} for a small model")
    assert bound < before + FLOAT_BYTES  # else this would prove nothing
    assert "temporary file" not in printed


def test_without_a_place_for_files_weights_are_in_memory(large: Path, tmp_path: Path) -> None:
    """The same result, more memory, and a warning says why."""
    options = options_of("int8", True, large, tmp_path)
    streamed, expected = quantize(large, *options)
    peak, printed = quantize(large, *options, TMPDIR="/proc/self")
    assert peak > streamed + FLOAT_BYTES
    assert "/proc/self" in printed and "TMPDIR" in printed
    assert table(printed) == table(expected)
