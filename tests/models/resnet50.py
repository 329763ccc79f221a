"""ResNet-50 (He et al. 2016, stride in the 3x3 convolution) with random weights."""

from __future__ import annotations

import numpy as np
import onnx

from tests.models import random_data
from tests.models.graph_writer import GraphWriter

VERSION = "1"
SEED = 50
STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # width, blocks, first stride
EXPANSION = 4
CLASSES = 1000
# The last BatchNormalization of a block is small in trained networks; at full scale the sum would
# grow with every block.
BRANCH_SCALE = 0.4


class _Writer(GraphWriter):
    def __init__(self) -> None:
        super().__init__("resnet50", opset=13)
        self.rng = np.random.default_rng(SEED)

    def conv_norm(self, x: str, inputs: int, outputs: int, kernel: int, stride: int = 1,
                  scale: float = 1.0) -> str:  # fmt: skip
        weight = random_data.he_normal(self.rng, (outputs, inputs, kernel, kernel))
        y = self.node(
            "Conv", [x, self.weight("conv.weight", weight)], "conv",
            kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4,
        )  # fmt: skip
        values = random_data.batch_norm_parameters(self.rng, outputs, scale)
        names = [self.weight(f"norm.{i}", value) for i, value in enumerate(values)]
        return self.node("BatchNormalization", [y, *names], "norm", epsilon=1e-5)

    def relu(self, x: str) -> str:
        return self.node("Relu", [x])

    def bottleneck(self, x: str, inputs: int, width: int, stride: int) -> str:
        y = self.relu(self.conv_norm(x, inputs, width, 1))
        y = self.relu(self.conv_norm(y, width, width, 3, stride))
        y = self.conv_norm(y, width, width * EXPANSION, 1, scale=BRANCH_SCALE)
        if inputs != width * EXPANSION:
            x = self.conv_norm(x, inputs, width * EXPANSION, 1, stride)
        return self.relu(self.node("Add", [y, x]))


def build() -> onnx.ModelProto:
    """`input` float32 [batch, 3, 224, 224] -> `logits` [batch, 1000]."""
    g = _Writer()
    x = g.input("input", ["batch", 3, 224, 224])
    x = g.relu(g.conv_norm(x, 3, 64, 7, 2))
    x = g.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for width, blocks, stride in STAGES:
        for block in range(blocks):
            x = g.bottleneck(x, channels, width, stride if block == 0 else 1)
            channels = width * EXPANSION
    x = g.node("Flatten", [g.node("GlobalAveragePool", [x])], axis=1)
    weight = g.rng.standard_normal((CLASSES, channels), np.float32) / np.float32(channels**0.5)
    bias = np.zeros(CLASSES, np.float32)
    g.node("Gemm", [x, g.weight("fc.weight", weight), g.weight("fc.bias", bias)], "logits",
           transB=1)  # fmt: skip
    g.output("logits", ["batch", CLASSES])
    model = g.model()
    random_data.measure_batch_norm(model, {"input": random_data.images(g.rng, 8)})
    return model
