"""MobileNetV2 (Sandler et al. 2018) with random weights; ReLU6 as Clip, as exporters write it."""

from __future__ import annotations

import numpy as np
import onnx

from tests.models import random_data
from tests.models.graph_writer import GraphWriter

VERSION = "1"
SEED = 2
# expansion, output channels, blocks, first stride: table 2 of the paper
STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
    (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
LAST_CHANNELS = 1280
CLASSES = 1000


class _Writer(GraphWriter):
    def __init__(self) -> None:
        super().__init__("mobilenet_v2", opset=13)
        self.rng = np.random.default_rng(SEED)

    def conv_norm(self, x: str, inputs: int, outputs: int, kernel: int, stride: int = 1,
                  group: int = 1) -> str:  # fmt: skip
        weight = random_data.he_normal(self.rng, (outputs, inputs // group, kernel, kernel))
        y = self.node(
            "Conv", [x, self.weight("conv.weight", weight)], "conv", group=group,
            kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4,
        )  # fmt: skip
        values = random_data.batch_norm_parameters(self.rng, outputs)
        names = [self.weight(f"norm.{i}", value) for i, value in enumerate(values)]
        return self.node("BatchNormalization", [y, *names], "norm", epsilon=1e-5)

    def relu6(self, x: str) -> str:
        return self.node("Clip", [x, self.scalar(0.0), self.scalar(6.0)])

    def inverted_residual(self, x: str, inputs: int, outputs: int, stride: int,
                          expansion: int) -> str:  # fmt: skip
        hidden = inputs * expansion
        y = x
        if expansion != 1:
            y = self.relu6(self.conv_norm(y, inputs, hidden, 1))
        y = self.relu6(self.conv_norm(y, hidden, hidden, 3, stride, group=hidden))
        y = self.conv_norm(y, hidden, outputs, 1)
        return self.node("Add", [x, y]) if stride == 1 and inputs == outputs else y


def build() -> onnx.ModelProto:
    """`input` float32 [batch, 3, 224, 224] -> `logits` [batch, 1000]."""
    g = _Writer()
    x = g.input("input", ["batch", 3, 224, 224])
    x = g.relu6(g.conv_norm(x, 3, 32, 3, 2))
    channels = 32
    for expansion, outputs, blocks, stride in STAGES:
        for block in range(blocks):
            x = g.inverted_residual(x, channels, outputs, stride if block == 0 else 1, expansion)
            channels = outputs
    x = g.relu6(g.conv_norm(x, channels, LAST_CHANNELS, 1))
    x = g.node("Flatten", [g.node("GlobalAveragePool", [x])], axis=1)
    weight = g.rng.standard_normal((CLASSES, LAST_CHANNELS), np.float32)
    weight /= np.float32(LAST_CHANNELS**0.5)
    bias = np.zeros(CLASSES, np.float32)
    g.node("Gemm", [x, g.weight("fc.weight", weight), g.weight("fc.bias", bias)], "logits",
           transB=1)  # fmt: skip
    g.output("logits", ["batch", CLASSES])
    model = g.model()
    random_data.measure_batch_norm(model, {"input": random_data.images(g.rng, 8)})
    return model
