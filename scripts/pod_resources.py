"""Prints the chart's value `resources` for a folder of models, from what `octet inspect` says of them:

    scripts/pod_resources.py --repository models [--config octet.yaml] [--cpus 4]

Memory is what the process takes without models, plus packed weights and the streams' memory of every
model, plus what loading the most demanding one takes on top: weights as they will be served, a large
layer in float32, samples on their way through the network, and statistics of it are in memory then,
also when a running server changes its mode. Float weights and samples are on the disk meanwhile, in
the temporary folder. NAME/VERSION/model.onnx, the highest version of
each; inputs with symbolic dimensions other than the batch count with their smallest shapes.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

PROCESS = 100 << 20   # code, libraries, compiled kernels, gRPC
MOST_THREADS = 4      # that quantize, unless quantization.budget.threads says otherwise
STEP = 64 << 20


def newest_models(repository: Path) -> list[Path]:
    models = []
    for folder in sorted(path for path in repository.iterdir() if path.is_dir()):
        versions = [path for path in folder.iterdir()
                    if path.name.isdigit() and (path / "model.onnx").exists()]
        if versions:
            models.append(max(versions, key=lambda path: int(path.name)) / "model.onnx")
    return models


def inspected(octet: str, model: Path, config: str | None) -> dict[str, int]:
    """Bytes of weights, arena and scratchpad, the latter two of one stream."""
    command = [octet, "inspect", str(model), *(["--config", config] if config else [])]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {name: int(re.search(rf"^{name} +(\d+) bytes", text, re.MULTILINE)[1])
            for name in ("weights", "arena", "scratchpad")}


def float_bytes(model: Path) -> int:
    """What the model's file and its external data hold."""
    return sum(path.stat().st_size for path in model.parent.glob("*")
               if path.is_file() and path.suffix not in (".qpack", ".npz", ".npy"))


def loading_bytes(octet: str, model: Path, threads: int) -> int:
    """Beside what stays: weights, float32 at worst, and a layer of half of them that is worked on;
    docs/configuration.md says of quantization.budget.memory_mb what statistics take."""
    floats = float_bytes(model)
    statistics = min(max(2 * floats, 64 << 20), 256 << 20, 40 * floats)
    sizes = inspected(octet, model, None)
    return 3 * floats // 2 + statistics + threads * (sizes["arena"] + sizes["scratchpad"])


def disk_bytes(model: Path) -> int:
    """Float weights as they are and packed, integers of them, and samples, of which a float32 takes
    four times an image's byte."""
    everything = sum(path.stat().st_size for path in model.parent.rglob("*") if path.is_file())
    floats = float_bytes(model)
    return 3 * floats + 4 * (everything - floats)


def memory(octet: str, models: list[Path], config: str | None, streams: int) -> int:
    threads = min(streams, MOST_THREADS)
    total = PROCESS + max(loading_bytes(octet, model, threads) for model in models)
    for model in models:
        sizes = inspected(octet, model, config)
        total += sizes["weights"] + streams * (sizes["arena"] + sizes["scratchpad"])
    return -(-total // STEP) * STEP


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--config")
    parser.add_argument("--cpus", type=int, default=2, help="streams that run (default 2)")
    parser.add_argument("--octet", default="octet", help="the binary")
    arguments = parser.parse_args()
    models = newest_models(arguments.repository)
    if not models:
        print(f"no NAME/VERSION/model.onnx in {arguments.repository}", file=sys.stderr)
        return 1
    size = memory(arguments.octet, models, arguments.config, arguments.cpus) >> 20
    disk = 1 + (max(disk_bytes(model) for model in models) >> 30)
    print(f"""resources:
  requests: {{cpu: "{arguments.cpus}", memory: {size}Mi, ephemeral-storage: 64Mi}}
  limits: {{cpu: "{arguments.cpus}", memory: {size}Mi, ephemeral-storage: {disk}Gi}}""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
