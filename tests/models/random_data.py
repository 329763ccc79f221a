"""Seeded random weights and inputs of realistic scale.

Int8 figures on a network whose activations explode or vanish mean nothing. Weights therefore keep
variance (He et al. 2015), and BatchNormalization gets the statistics it would have measured.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Feeds = dict[str, np.ndarray]

CLS_TOKEN = 101
SEP_TOKEN = 102
FIRST_WORD = 1000


def he_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Weights [outputs, inputs, ...] for a layer that a ReLU follows."""
    fan_in = int(np.prod(shape[1:]))
    return (rng.standard_normal(shape, np.float32) * np.sqrt(2.0 / fan_in)).astype(np.float32)


def images(rng: np.random.Generator, count: int, size: int = 224) -> np.ndarray:
    """Normalized images [count, 3, size, size]: noise whose power falls with frequency.

    Photographs have such spectra (about 1/f); white noise would leave pooled features constant.
    """
    result = np.zeros((count, 3, size, size), np.float32)
    cells, amplitude = 4, 1.0
    while cells <= size:
        coarse = rng.standard_normal((count, 3, cells, cells), np.float32)
        index = np.arange(size) * cells // size
        result += amplitude * coarse[:, :, index[:, None], index[None, :]]
        cells, amplitude = cells * 2, amplitude * 0.6
    offset = 0.7 * rng.standard_normal((count, 3, 1, 1), np.float32)
    return np.clip(result + offset, -2.2, 2.6)  # where 0 and 255 lie after ImageNet's normalization


def pages(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    """White pages uint8 [count, size, size, 3] with dark lines of strokes that look like words."""
    result = np.full((count, size, size, 3), 235, np.uint8)
    for page in result:
        for top in range(24, size - 40, 48):
            left = int(rng.integers(10, 60))
            while left < size - 60:
                width = int(rng.integers(6, 14))
                for bar in rng.integers(0, 14, 3):
                    page[top + bar : top + bar + 4, left : left + width] = 20
                page[top : top + 20, left : left + 3] = 20
                left += width + (16 if rng.random() < 0.2 else 4)
    return result


def token_feeds(rng: np.random.Generator, count: int, length: int, vocabulary: int) -> Feeds:
    """BERT's three inputs: sentences of random words and lengths, padded to one length."""
    ids = rng.integers(FIRST_WORD, vocabulary, (count, length))
    ids[:, 0] = CLS_TOKEN
    lengths = rng.integers(max(2, length // 4), length + 1, count)
    lengths[0] = length
    ids[np.arange(count), lengths - 1] = SEP_TOKEN
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    return {
        "input_ids": (ids * mask).astype(np.int64),
        "attention_mask": mask,
        "token_type_ids": np.zeros_like(mask),
    }


def batch_norm_parameters(rng: np.random.Generator, channels: int,
                          scale: float = 1.0) -> list[np.ndarray]:  # fmt: skip
    """Scale, shift, mean, variance; the last two wait for measure_batch_norm()."""
    return [
        (scale * rng.uniform(0.5, 1.5, channels)).astype(np.float32),
        (0.3 * rng.standard_normal(channels)).astype(np.float32),
        np.zeros(channels, np.float32),
        np.ones(channels, np.float32),
    ]


def measure_batch_norm(model: onnx.ModelProto, feeds: Feeds) -> None:
    """Sets the statistics of every BatchNormalization to those of its input on these feeds.

    Each is measured behind layers that are already normalized: a copy of the graph computes the
    statistics on the fly, as training does, and returns them as outputs. One forward pass gives
    what a pass per layer would give.
    """
    batch_norms = [n for n in model.graph.node if n.op_type == "BatchNormalization"]
    session = onnxruntime.InferenceSession(_measuring_copy(model).SerializeToString())
    statistics = session.run(None, feeds)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    for index, node in enumerate(batch_norms):
        for name, value in zip(node.input[3:5], statistics[2 * index : 2 * index + 2]):
            initializers[name].CopyFrom(numpy_helper.from_array(value.reshape(-1), name))


def _measuring_copy(model: onnx.ModelProto) -> onnx.ModelProto:
    nodes: list[onnx.NodeProto] = []
    outputs: list[str] = []
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            replacement, statistics = _measuring_nodes(node)
            nodes += replacement
            outputs += statistics
        else:
            nodes.append(node)
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    read = {name for node in nodes for name in node.input}
    initializers = [tensor for tensor in model.graph.initializer if tensor.name in read]
    graph = helper.make_graph(nodes, "measure", model.graph.input, infos, initializers)
    return helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version
    )


def _measuring_nodes(node: onnx.NodeProto) -> tuple[list[onnx.NodeProto], list[str]]:
    """A BatchNormalization in training form (opset 13 to 17), and the names of mean, variance."""
    x, scale, shift = node.input[:3]
    y = node.output[0]
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)

    def constant(name: str, value: np.ndarray) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))

    def make(op_type: str, inputs: list[str], output: str, **attributes: object):
        return helper.make_node(op_type, inputs, [output], **attributes)

    over = {"axes": [0, 2, 3], "keepdims": 1}
    return [
        make("ReduceMean", [x], f"{y}/mean", **over),
        make("Sub", [x, f"{y}/mean"], f"{y}/centred"),
        make("Mul", [f"{y}/centred", f"{y}/centred"], f"{y}/squared"),
        make("ReduceMean", [f"{y}/squared"], f"{y}/variance", **over),
        constant(f"{y}/epsilon", np.array(epsilon, np.float32)),
        constant(f"{y}/shape", np.array([1, -1, 1, 1], np.int64)),
        make("Add", [f"{y}/variance", f"{y}/epsilon"], f"{y}/safe"),
        make("Sqrt", [f"{y}/safe"], f"{y}/deviation"),
        make("Div", [f"{y}/centred", f"{y}/deviation"], f"{y}/normalized"),
        make("Reshape", [scale, f"{y}/shape"], f"{y}/scale"),
        make("Reshape", [shift, f"{y}/shape"], f"{y}/shift"),
        make("Mul", [f"{y}/normalized", f"{y}/scale"], f"{y}/scaled"),
        make("Add", [f"{y}/scaled", f"{y}/shift"], y),
    ], [f"{y}/mean", f"{y}/variance"]
