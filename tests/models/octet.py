"""Octet itself, in process: loaded, quantized and batched as the server does it.

The program is tests/support/run_model.cc, built; OCTET_RUN_MODEL names it, else the one of the dev
preset is taken.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.models import cache
from tests.models.random_data import Feeds

VARIABLE = "OCTET_RUN_MODEL"
TYPES = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "INT32": np.int32}


def program() -> Path:
    return Path(os.environ.get(VARIABLE) or cache.ROOT / "build/dev/tests/support/run_model")


@dataclass(frozen=True)
class Result:
    """What a model did: outputs[batch][index] has the rows of all samples, in their order."""

    mode: str
    int8_mac_share: float
    output_sqnr_db: float
    float32_weight_bytes: int
    served_weight_bytes: int
    kernels: str
    outputs: dict[int, list[np.ndarray]] = field(default_factory=dict)

    @property
    def weight_ratio(self) -> float:
        return self.served_weight_bytes / self.float32_weight_bytes


def run(model: Path, samples: Feeds, mode: str = "fp32", calibration: Feeds | None = None,
        batches: Sequence[int] = (1, 8), options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None) -> Result:  # fmt: skip
    """mode is fp32, int8 or int4 (static; they need calibration) or dynamic.

    Raises RuntimeError with what the program says when it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        np.savez(scratch / "samples.npz", **samples)
        command = [str(program()), str(model), str(scratch / "samples.npz"), folder, *options]
        command += ["--batches", ",".join(map(str, batches))]
        if mode != "fp32":
            command.append(f"--{mode}")
        if calibration is not None:
            np.savez(scratch / "calibration.npz", **calibration)
            command += ["--calibration", str(scratch / "calibration.npz")]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **(environment or {})}
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return _parse(done.stdout, scratch)


def _parse(text: str, folder: Path) -> Result:
    values: dict[str, str] = {}
    outputs: dict[int, list[np.ndarray]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key != "output":
            values[key] = value
            continue
        batch, index, *_, kind, shape = value.split(" ")
        raw = np.fromfile(folder / f"{batch}_{index}.bin", TYPES[kind])
        dimensions = [int(dimension) for dimension in shape.strip("[]").split(",")]
        outputs.setdefault(int(batch), []).append(raw.reshape(dimensions))
    return Result(
        mode=values["mode"], int8_mac_share=float(values["int8_mac_share"]),
        output_sqnr_db=float(values["output_sqnr_db"]),
        float32_weight_bytes=int(values["float32_weight_bytes"]),
        served_weight_bytes=int(values["served_weight_bytes"]),
        kernels=values["kernels"], outputs=outputs,
    )  # fmt: skip
