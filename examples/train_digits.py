"""Trains the digits example: a small CNN on the handwritten digits that scikit-learn ships.

    pip install numpy scikit-learn onnx
    python examples/train_digits.py

writes, below examples/models/digits:

    1/model.onnx                 `image` float32 [batch, 1, 8, 8] in 0..1 -> `logits` [batch, 10]
    1/calibration/images.npz     160 training images under the input's name, for quantization
    test.npz                     540 held-out images and labels, seen by neither of the above

The network is written out in numpy, so that the example needs no training framework and gives the
same weights everywhere up to the rounding of the BLAS. It takes about half a minute on one core.
It meets what a server has to fold, fuse and quantize: BatchNormalization behind every convolution,
a pooling, a depthwise and a pointwise convolution, a residual sum, a fully connected layer.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEED = 20
EPOCHS = 60
BATCH = 32
PEAK_LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-4
TEST_IMAGES = 540
CALIBRATION_IMAGES = 160
BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.1
FLAT_FEATURES = 32 * 4 * 4  # channels x height x width behind the pooling
OPSET = 17
IR_VERSION = 8


@dataclass
class Parameter:
    """A trained tensor with its gradient and the two moments of Adam."""

    value: np.ndarray
    gradient: np.ndarray = field(init=False)
    first_moment: np.ndarray = field(init=False)
    second_moment: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.value = self.value.astype(np.float32)
        self.gradient = np.zeros_like(self.value)
        self.first_moment = np.zeros_like(self.value)
        self.second_moment = np.zeros_like(self.value)


def he_normal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> Parameter:
    """He et al. 2015: keeps the variance of activations through layers followed by a ReLU."""
    return Parameter(rng.standard_normal(shape) * np.sqrt(2.0 / fan_in))


def windows(x: np.ndarray, kernel: int) -> np.ndarray:
    """Every kernel x kernel window of a same-padded NCHW tensor: [N, C, H, W, kernel, kernel]."""
    pad = kernel // 2
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    return np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))


class Conv:
    """A same-padded convolution without bias: the BatchNormalization behind it has one."""

    def __init__(self, rng: np.random.Generator, inputs: int, outputs: int, kernel: int) -> None:
        self.weight = he_normal(rng, (outputs, inputs, kernel, kernel), inputs * kernel * kernel)
        self.parameters = [self.weight]

    @staticmethod
    def apply(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        view = windows(x, weight.shape[-1])
        return np.tensordot(view, weight, axes=([1, 4, 5], [1, 2, 3])).transpose(0, 3, 1, 2)

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        self.input = x
        return self.apply(x, self.weight.value)

    def backward(self, gradient: np.ndarray) -> np.ndarray:
        view = windows(self.input, self.weight.value.shape[-1])
        self.weight.gradient[...] = np.tensordot(gradient, view, axes=([0, 2, 3], [0, 2, 3]))
        flipped = self.weight.value[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        return self.apply(gradient, flipped)


class DepthwiseConv:
    """A 3x3 convolution of each channel with a filter of its own."""

    def __init__(self, rng: np.random.Generator, channels: int) -> None:
        self.weight = he_normal(rng, (channels, 1, 3, 3), 9)
        self.parameters = [self.weight]

    @staticmethod
    def apply(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return np.einsum("nchwij,cij->nchw", windows(x, 3), weight[:, 0])

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        self.input = x
        return self.apply(x, self.weight.value)

    def backward(self, gradient: np.ndarray) -> np.ndarray:
        self.weight.gradient[:, 0] = np.einsum("nchwij,nchw->cij", windows(self.input, 3), gradient)
        return self.apply(gradient, self.weight.value[:, :, ::-1, ::-1])


class BatchNorm:
    """Ioffe and Szegedy 2015, with running statistics for inference."""

    def __init__(self, channels: int) -> None:
        self.scale = Parameter(np.ones(channels))
        self.shift = Parameter(np.zeros(channels))
        self.mean = np.zeros(channels, np.float32)
        self.variance = np.ones(channels, np.float32)
        self.parameters = [self.scale, self.shift]

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        mean, variance = self.mean, self.variance
        if training:
            mean, variance = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
            self.mean = self.mean + BATCH_NORM_MOMENTUM * (mean - self.mean)
            self.variance = self.variance + BATCH_NORM_MOMENTUM * (variance - self.variance)
        self.inverse = (1.0 / np.sqrt(variance + BATCH_NORM_EPSILON))[:, None, None]
        self.normalized = (x - mean[:, None, None]) * self.inverse
        return self.normalized * self.scale.value[:, None, None] + self.shift.value[:, None, None]

    def backward(self, gradient: np.ndarray) -> np.ndarray:
        over = (0, 2, 3)
        self.shift.gradient[...] = gradient.sum(axis=over)
        self.scale.gradient[...] = (gradient * self.normalized).sum(axis=over)
        inner = gradient * self.scale.value[:, None, None]
        mean = inner.mean(axis=over)[:, None, None]
        slope = (inner * self.normalized).mean(axis=over)[:, None, None]
        return self.inverse * (inner - mean - self.normalized * slope)


class Relu:
    parameters: list[Parameter] = []

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        self.positive = x > 0
        return x * self.positive

    def backward(self, gradient: np.ndarray) -> np.ndarray:
        return gradient * self.positive


class MaxPool2:
    """Halves height and width; a tie sends its gradient to each of the largest."""

    parameters: list[Parameter] = []

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        n, c, h, w = x.shape
        blocks = x.reshape(n, c, h // 2, 2, w // 2, 2)
        pooled = blocks.max(axis=(3, 5), keepdims=True)
        self.winners = blocks == pooled
        self.shape = x.shape
        return pooled[:, :, :, 0, :, 0]

    def backward(self, gradient: np.ndarray) -> np.ndarray:
        return (self.winners * gradient[:, :, :, None, :, None]).reshape(self.shape)


class Sequence:
    def __init__(self, *layers) -> None:
        self.layers = layers
        self.parameters = [p for layer in layers for p in layer.parameters]

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        for layer in self.layers:
            x = layer.forward(x, training)
        return x

    def backward(self, gradient: np.ndarray) -> np.ndarray:
        for layer in reversed(self.layers):
            gradient = layer.backward(gradient)
        return gradient


class Residual:
    """x + inner(x)."""

    def __init__(self, inner: Sequence) -> None:
        self.inner = inner
        self.parameters = inner.parameters

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        return x + self.inner.forward(x, training)

    def backward(self, gradient: np.ndarray) -> np.ndarray:
        return gradient + self.inner.backward(gradient)


class Gemm:
    """Flatten and a fully connected layer."""

    def __init__(self, rng: np.random.Generator, inputs: int, outputs: int) -> None:
        self.weight = he_normal(rng, (outputs, inputs), inputs)
        self.bias = Parameter(np.zeros(outputs))
        self.parameters = [self.weight, self.bias]

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        self.shape = x.shape
        self.input = x.reshape(len(x), -1)
        return self.input @ self.weight.value.T + self.bias.value

    def backward(self, gradient: np.ndarray) -> np.ndarray:
        self.weight.gradient[...] = gradient.T @ self.input
        self.bias.gradient[...] = gradient.sum(axis=0)
        return (gradient @ self.weight.value).reshape(self.shape)


def make_network(rng: np.random.Generator) -> Sequence:
    depthwise_separable = Sequence(
        DepthwiseConv(rng, 32), BatchNorm(32), Relu(), Conv(rng, 32, 32, 1), BatchNorm(32)
    )
    return Sequence(
        Conv(rng, 1, 16, 3), BatchNorm(16), Relu(),
        Conv(rng, 16, 32, 3), BatchNorm(32), Relu(),
        MaxPool2(),
        Residual(depthwise_separable), Relu(),
        Gemm(rng, FLAT_FEATURES, 10),
    )  # fmt: skip


def cross_entropy_gradient(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The gradient of the mean cross-entropy with respect to the logits."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    gradient = shifted / shifted.sum(axis=1, keepdims=True)
    gradient[np.arange(len(labels)), labels] -= 1.0
    return gradient / len(labels)


def adam_step(parameters: list[Parameter], step: int, learning_rate: float) -> None:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""
    for p in parameters:
        p.first_moment += 0.1 * (p.gradient - p.first_moment)
        p.second_moment += 0.001 * (p.gradient**2 - p.second_moment)
        mean = p.first_moment / (1 - 0.9**step)
        variance = p.second_moment / (1 - 0.999**step)
        p.value -= learning_rate * (mean / (np.sqrt(variance) + 1e-8) + WEIGHT_DECAY * p.value)


def shifted_by_a_pixel(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """Moves each image by at most one pixel: the only augmentation that suits 8x8 digits."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    moved = np.empty_like(images)
    offsets = rng.choice([0, 1, 1, 1, 2], size=(len(images), 2))
    for i, (dy, dx) in enumerate(offsets):
        moved[i] = padded[i, :, dy : dy + 8, dx : dx + 8]
    return moved


def train(network: Sequence, images: np.ndarray, labels: np.ndarray,
          rng: np.random.Generator) -> None:  # fmt: skip
    steps = EPOCHS * (len(images) // BATCH)
    step = 0
    for _ in range(EPOCHS):
        order = rng.permutation(len(images))
        for begin in range(0, len(images) - BATCH + 1, BATCH):
            chosen = order[begin : begin + BATCH]
            step += 1
            logits = network.forward(shifted_by_a_pixel(rng, images[chosen]), training=True)
            network.backward(cross_entropy_gradient(logits, labels[chosen]))
            adam_step(network.parameters, step, learning_rate_at(step, steps))


def learning_rate_at(step: int, steps: int) -> float:
    """One cosine from the peak to zero."""
    return PEAK_LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * step / steps))


class GraphWriter:
    """Collects nodes and initializers; each method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        value = np.ascontiguousarray(value, dtype=np.float32)
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def node(self, op_type: str, inputs: list[str], name: str, **attributes) -> str:
        self.nodes.append(helper.make_node(op_type, inputs, [name], name=name, **attributes))
        return name

    def conv(self, x: str, layer: Conv | DepthwiseConv, name: str) -> str:
        weight = layer.weight.value
        kernel = weight.shape[-1]
        group = weight.shape[0] if isinstance(layer, DepthwiseConv) else 1
        return self.node(
            "Conv", [x, self.constant(f"{name}.weight", weight)], name,
            kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4, group=group,
        )  # fmt: skip

    def batch_norm(self, x: str, layer: BatchNorm, name: str) -> str:
        inputs = [
            x,
            self.constant(f"{name}.scale", layer.scale.value),
            self.constant(f"{name}.shift", layer.shift.value),
            self.constant(f"{name}.mean", layer.mean),
            self.constant(f"{name}.variance", layer.variance),
        ]
        return self.node("BatchNormalization", inputs, name, epsilon=BATCH_NORM_EPSILON)


def to_onnx(network: Sequence) -> onnx.ModelProto:
    """The network in inference form, BatchNormalization left for the server to fold."""
    conv1, norm1, _, conv2, norm2, _, _, residual, _, gemm = network.layers
    depthwise, norm3, _, pointwise, norm4 = residual.inner.layers
    g = GraphWriter()
    x = g.node("Relu", [g.batch_norm(g.conv("image", conv1, "conv1"), norm1, "norm1")], "relu1")
    x = g.node("Relu", [g.batch_norm(g.conv(x, conv2, "conv2"), norm2, "norm2")], "relu2")
    skip = g.node("MaxPool", [x], "pool", kernel_shape=[2, 2], strides=[2, 2])
    x = g.batch_norm(g.conv(skip, depthwise, "depthwise"), norm3, "norm3")
    x = g.node("Relu", [x], "relu3")
    x = g.batch_norm(g.conv(x, pointwise, "pointwise"), norm4, "norm4")
    x = g.node("Relu", [g.node("Add", [x, skip], "residual")], "relu4")
    x = g.node("Flatten", [x], "flatten", axis=1)
    weights = [g.constant("fc.weight", gemm.weight.value), g.constant("fc.bias", gemm.bias.value)]
    g.node("Gemm", [x, *weights], "logits", transB=1)

    graph = helper.make_graph(
        g.nodes, "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        g.initializers,
    )  # fmt: skip
    model = helper.make_model(
        graph, producer_name="octet-train-digits",
        opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
    )  # fmt: skip
    onnx.checker.check_model(model, full_check=True)
    return model


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 digits as float32 [n, 1, 8, 8] in 0..1, and their labels."""
    from sklearn import datasets

    digits = datasets.load_digits()
    images = (digits.images / 16.0).astype(np.float32)[:, None]
    return images, digits.target.astype(np.int64)


def accuracy(network: Sequence, images: np.ndarray, labels: np.ndarray) -> float:
    return float((network.forward(images, training=False).argmax(axis=1) == labels).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parent / "models" / "digits"
    parser.add_argument("--output", type=Path, default=default, help="the model's folder")
    output: Path = parser.parse_args().output

    images, labels = load_digits()
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(images))
    test, training = order[:TEST_IMAGES], order[TEST_IMAGES:]
    network = make_network(rng)
    train(network, images[training], labels[training], rng)
    print(f"training accuracy {accuracy(network, images[training], labels[training]):.4f}")
    print(f"test accuracy     {accuracy(network, images[test], labels[test]):.4f}")

    (output / "1" / "calibration").mkdir(parents=True, exist_ok=True)
    onnx.save(to_onnx(network), output / "1" / "model.onnx")
    np.savez_compressed(output / "1" / "calibration" / "images.npz",
                        image=images[training[:CALIBRATION_IMAGES]])  # fmt: skip
    np.savez_compressed(output / "test.npz", image=images[test], label=labels[test])


if __name__ == "__main__":
    main()
