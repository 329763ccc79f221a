"""Models and labelled data that are neither in the repository nor in a package.

OCTET_ZOO names a folder that has them; who does not have one sees each test that wants it reported
as skipped by name.

    efficientnet_lite0.onnx         `input` float32 [batch, 3, 224, 224], ImageNet weights
    data/images_calibration.npz     x uint8 [n, 224, 224, 3]
    data/images_eval.npz            x, and y [n, 3]: the classes that count as right, -1 = none
    data/text_lines.npz             x uint8 RGB [200, 48, 320, 3], text
    data/pages.npz                  x uint8 [30, 480, 480, 3]
    data/emails_tokens.npz          ids, mask int64 [1256, 128], spam
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

MODELS = {"efficientnet_lite0": "efficientnet_lite0.onnx"}
VARIABLE = "OCTET_ZOO"


class ZooMissing(RuntimeError):
    """OCTET_ZOO is unset, or what it names lacks a file."""


def path(relative: str) -> Path:
    folder = os.environ.get(VARIABLE)
    if not folder:
        raise ZooMissing(f"{VARIABLE} is not set: {relative} is not available")
    file = Path(folder) / relative
    if not file.is_file():
        raise ZooMissing(f"{VARIABLE}={folder} has no {relative}")
    return file


def arrays(name: str) -> dict[str, np.ndarray]:
    with np.load(path(f"data/{name}.npz")) as archive:
        return dict(archive)
