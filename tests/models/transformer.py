"""BERT's encoder (Devlin et al. 2018) as an ONNX graph, the way PyTorch's exporter writes it.

The point is the form: shapes computed from Shape/Gather/Concat, GELU spelled with Erf, the mask
turned into a large negative number, LayerNorm in nine nodes below opset 17. What a server fuses and
folds on real files is what it meets here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from tests.models.graph_writer import GraphWriter

Tensors = Mapping[str, np.ndarray]

LAYER_NORM_OPSET = 17  # the first that has LayerNormalization
MASKED_SCORE = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Config:
    name: str
    layers: int
    hidden: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    layer_norm_epsilon: float
    opset: int
    pooler: bool

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads


class _Encoder(GraphWriter):
    def __init__(self, config: Config, tensors: Tensors) -> None:
        super().__init__(config.name, config.opset)
        self.config = config
        self.tensors = tensors

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def unsqueeze(self, x: str, axis: int) -> str:
        return self.node("Unsqueeze", [x, self.integers(axis)])

    def dimension(self, x: str, axis: int) -> str:
        """One element of the shape, as [1]: Shape, Gather, Unsqueeze."""
        index = self.constant(np.array(axis, np.int64))
        return self.unsqueeze(self.node("Gather", [self.node("Shape", [x]), index], axis=0), 0)

    def linear(self, x: str, name: str) -> str:
        weight = self.weight(f"{name}.weight", self.tensors[f"{name}.weight"].T)
        bias = self.weight(f"{name}.bias", self.tensors[f"{name}.bias"])
        return self.node("Add", [bias, self.node("MatMul", [x, weight])])

    def layer_norm(self, x: str, name: str) -> str:
        scale = self.weight(f"{name}.weight", self.tensors[f"{name}.weight"])
        shift = self.weight(f"{name}.bias", self.tensors[f"{name}.bias"])
        epsilon = self.config.layer_norm_epsilon
        if self.opset >= LAYER_NORM_OPSET:
            inputs = [x, scale, shift]
            return self.node("LayerNormalization", inputs, axis=-1, epsilon=epsilon)
        centred = self.node("Sub", [x, self.node("ReduceMean", [x], axes=[-1])])
        squared = self.node("Pow", [centred, self.scalar(2.0)])
        variance = self.node("ReduceMean", [squared], axes=[-1])
        safe = self.node("Add", [variance, self.scalar(epsilon)])
        normalized = self.node("Div", [centred, self.node("Sqrt", [safe])])
        return self.node("Add", [self.node("Mul", [normalized, scale]), shift])

    def gelu(self, x: str) -> str:
        erf = self.node("Erf", [self.node("Div", [x, self.scalar(2.0**0.5)])])
        gated = self.node("Mul", [x, self.node("Add", [erf, self.scalar(1.0)])])
        return self.node("Mul", [gated, self.scalar(0.5)])

    def embeddings(self, ids: str, token_types: str) -> str:
        def table(name: str) -> str:
            return self.weight(f"{name}.weight", self.tensors[f"embeddings.{name}.weight"])

        words = self.node("Gather", [table("word_embeddings"), ids])
        types = self.node("Gather", [table("token_type_embeddings"), token_types])
        positions = self.weight("position_ids", np.arange(self.config.positions)[None])
        used = [positions, self.integers(0), self.dimension(ids, 1), self.integers(1)]
        places = self.node("Gather", [table("position_embeddings"), self.node("Slice", used)])
        total = self.node("Add", [self.node("Add", [words, types]), places])
        return self.layer_norm(total, "embeddings.LayerNorm")

    def additive_mask(self, mask: str) -> str:
        """[batch, seq] of 0 and 1 -> [batch, 1, 1, seq] of MASKED_SCORE and 0."""
        wide = self.unsqueeze(self.unsqueeze(mask, 1), 2)
        kept = self.node("Cast", [wide], to=TensorProto.FLOAT)
        masked = self.node("Sub", [self.scalar(1.0), kept])
        return self.node("Mul", [masked, self.scalar(MASKED_SCORE)])

    def heads(self, x: str, permutation: list[int]) -> str:
        shape = [
            self.dimension(x, 0), self.dimension(x, 1),
            self.integers(self.config.heads), self.integers(self.config.head_size),
        ]  # fmt: skip
        split = self.node("Reshape", [x, self.node("Concat", shape, axis=0)])
        return self.node("Transpose", [split], perm=permutation)

    def attention(self, x: str, mask: str, layer: str) -> str:
        query = self.linear(x, f"{layer}.attention.self.query")
        key = self.heads(self.linear(x, f"{layer}.attention.self.key"), [0, 2, 3, 1])
        value = self.heads(self.linear(x, f"{layer}.attention.self.value"), [0, 2, 1, 3])
        query = self.heads(query, [0, 2, 1, 3])
        scores = self.node("MatMul", [query, key])
        scores = self.node("Div", [scores, self.scalar(self.config.head_size**0.5)])
        weights = self.node("Softmax", [self.node("Add", [scores, mask])], axis=-1)
        context = self.node("Transpose", [self.node("MatMul", [weights, value])], perm=[0, 2, 1, 3])
        shape = [
            self.dimension(context, 0), self.dimension(context, 1),
            self.integers(self.config.hidden),
        ]  # fmt: skip
        joined = self.node("Reshape", [context, self.node("Concat", shape, axis=0)])
        return self.linear(joined, f"{layer}.attention.output.dense")

    def layer(self, x: str, mask: str, index: int) -> str:
        layer = f"encoder.layer.{index}"
        attended = self.node("Add", [self.attention(x, mask, layer), x])
        x = self.layer_norm(attended, f"{layer}.attention.output.LayerNorm")
        hidden = self.gelu(self.linear(x, f"{layer}.intermediate.dense"))
        summed = self.node("Add", [self.linear(hidden, f"{layer}.output.dense"), x])
        return self.layer_norm(summed, f"{layer}.output.LayerNorm")

    def pooled(self, x: str) -> str:
        first = self.node("Gather", [x, self.constant(np.array(0, np.int64))], axis=1)
        weight = self.weight("pooler.dense.weight", self.tensors["pooler.dense.weight"])
        bias = self.weight("pooler.dense.bias", self.tensors["pooler.dense.bias"])
        dense = self.node("Gemm", [first, weight, bias], transB=1)
        return self.node("Tanh", [dense], "pooler_output")


def encoder(config: Config, tensors: Tensors) -> onnx.ModelProto:
    """input_ids, attention_mask, token_type_ids int64 [batch, sequence] -> last_hidden_state.

    With config.pooler also `pooler_output`. The tensors go by Hugging Face's names for BertModel.
    """
    g = _Encoder(config, tensors)
    ids, mask, token_types = (
        g.input(name, ["batch", "sequence"], TensorProto.INT64)
        for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    additive = g.additive_mask(mask)
    x = g.embeddings(ids, token_types)
    for index in range(config.layers):
        x = g.layer(x, additive, index)
    g.nodes[-1].output[0] = x = "last_hidden_state"
    g.output("last_hidden_state", ["batch", "sequence", config.hidden])
    if config.pooler:
        g.pooled(x)
        g.output("pooler_output", ["batch", config.hidden])
    return g.model(ir_version=7 if config.opset < LAYER_NORM_OPSET else 8)
