"""The `light` topologies in PyPI's onnx: well-known networks whose weights the graph computes.

Each takes one input and comes with the output that ONNX expects for light.input_of().
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

PREFIX = "light_"
NAMES = tuple(
    PREFIX + topology
    for topology in (
        "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet",
        "squeezenet", "vgg19", "zfnet512",
    )  # fmt: skip
)  # fmt: skip


def folder() -> Path:
    return Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def path(name: str) -> Path:
    return folder() / f"{name}.onnx"


def input_of(name: str) -> dict[str, np.ndarray]:
    """The one input: 0/n, 1/n, 2/n ..., as ONNX's own test runner feeds it."""
    graph = onnx.load(path(name)).graph
    initializers = {tensor.name for tensor in graph.initializer}
    (info,) = [value for value in graph.input if value.name not in initializers]
    shape = [dimension.dim_value for dimension in info.type.tensor_type.shape.dim]
    count = int(np.prod(shape))
    return {info.name: (np.arange(count).reshape(shape) / count).astype(np.float32)}


def expected_output(name: str) -> np.ndarray:
    tensor = onnx.TensorProto()
    tensor.ParseFromString((folder() / f"{name}_output_0.pb").read_bytes())
    return numpy_helper.to_array(tensor)
