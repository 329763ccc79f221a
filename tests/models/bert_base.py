"""BERT-base with random weights: 12 layers, hidden 768, LayerNormalization as one operator."""

from __future__ import annotations

import numpy as np
import onnx

from tests.models import transformer

VERSION = "1"
SEED = 12
CONFIG = transformer.Config(
    name="bert_base", layers=12, hidden=768, heads=12, feed_forward=3072, vocabulary=30522,
    positions=512, layer_norm_epsilon=1e-12, opset=17, pooler=True,
)  # fmt: skip
EMBEDDING_SCALE = 0.05  # the standard deviation of trained BERT embeddings, about
# Attention that is sharp and branches that are small beside the residual, as after training;
# without both, the tokens of a sentence all become the same vector within a few layers.
ATTENTION_SCALE = 1.6
BRANCH_SCALE = 0.4


def random_tensors(config: transformer.Config, seed: int = SEED) -> dict[str, np.ndarray]:
    """Variance-preserving linear layers, LayerNorm scales about 1: what a trained BERT has.

    BERT's own initialization (0.02 everywhere) would make attention uniform.
    """
    rng = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}

    def normal(name: str, shape: tuple[int, ...], scale: float) -> None:
        tensors[name] = rng.standard_normal(shape, np.float32) * np.float32(scale)

    def linear(name: str, inputs: int, outputs: int, scale: float = 1.0) -> None:
        normal(f"{name}.weight", (outputs, inputs), scale * inputs**-0.5)
        normal(f"{name}.bias", (outputs,), 0.05)

    def layer_norm(name: str) -> None:
        tensors[f"{name}.weight"] = rng.uniform(0.6, 1.2, config.hidden).astype(np.float32)
        normal(f"{name}.bias", (config.hidden,), 0.1)

    for table, rows in (("word", config.vocabulary), ("position", config.positions),
                        ("token_type", 2)):  # fmt: skip
        normal(f"embeddings.{table}_embeddings.weight", (rows, config.hidden), EMBEDDING_SCALE)
    layer_norm("embeddings.LayerNorm")
    for index in range(config.layers):
        layer = f"encoder.layer.{index}"
        for name, scale in (("self.query", ATTENTION_SCALE), ("self.key", ATTENTION_SCALE),
                            ("self.value", 1.0), ("output.dense", BRANCH_SCALE)):  # fmt: skip
            linear(f"{layer}.attention.{name}", config.hidden, config.hidden, scale)
        layer_norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", config.hidden, config.feed_forward)
        linear(f"{layer}.output.dense", config.feed_forward, config.hidden, BRANCH_SCALE)
        layer_norm(f"{layer}.output.LayerNorm")
    linear("pooler.dense", config.hidden, config.hidden)
    return tensors


def build() -> onnx.ModelProto:
    return transformer.encoder(CONFIG, random_tensors(CONFIG))
