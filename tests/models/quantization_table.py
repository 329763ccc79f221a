"""The table of every way to quantize a model, measured on the server itself.

    python -m tests.models.quantization_table [--models digits minilm] [--write docs/quantization.md]
        [--rows "int8, every default"]

Each row is a configuration file: the server loads the model with it, the evaluation samples go
through it over the network, and their outputs are judged against float32 in ONNX Runtime and against
the labels. No layer moves to more precision in the rows that compare algorithms (on_fail: warn), so
that they compare nothing else. Rows that `octet config check` refuses are left out and named.
OCTET_BINARY names the program, else that of the dev preset is taken.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tritonclient.grpc as grpc

from tests.e2e import conftest
from tests.models import build, cache, inputs, peers, score, zoo

BINARY = "OCTET_BINARY"
MODELS = ("digits", "efficientnet_lite0", "ppocr_recognizer", "minilm")
ALGORITHMS = ("least_squares", "minmax", "percentile", "entropy", "decision_tree",
              "histogram_equalization")  # fmt: skip
CODEBOOKS = ("least_squares", "decision_tree", "histogram_equalization")
GRANULARITIES = ("per_channel", "per_tensor", "mixed")
CALIBRATION_SAMPLES = 64
EVALUATION_SAMPLES = 200
BATCH = 8
LOAD_SECONDS = 300
NO_MOVES = "accuracy: {on_fail: warn}"


@dataclass(frozen=True)
class Row:
    label: str
    settings: str  # what stands in quantization: {...}


@dataclass(frozen=True)
class Result:
    row: Row
    figures: dict[str, str]


def rows() -> Iterator[Row]:
    yield Row("fp32", "mode: fp32")
    yield Row("bf16", "mode: bf16")
    yield Row("int8, every default", "mode: int8")
    dynamic = "mode: int8, activations: {timing: dynamic%s}"
    yield Row("int8, dynamic, a range for each token or sample", dynamic % "")
    yield Row("int8, dynamic, a range for the tensor", dynamic % ", granularity: per_tensor")
    for algorithm in ALGORITHMS:
        for granularity in GRANULARITIES:
            for scheme in ("asymmetric", "symmetric"):
                # What is there by itself need not be known to be configured.
                schemed = "" if scheme == "asymmetric" else f", scheme: {scheme}"
                yield Row(f"int8, {algorithm}, {granularity}, {scheme}",
                          f"mode: int8, {NO_MOVES}, "
                          f"activations: {{timing: static, algorithm: {algorithm}, force: true{schemed}}}, "
                          f"weights: {{algorithm: {algorithm}, granularity: {granularity}}}")
    for label, weights in (
        ("group:128", "granularity: 'group:128', error_compensation: none"),
        ("per_channel", "granularity: per_channel, error_compensation: none"),
        *((f"codebook {name}", f"codebook: {name}") for name in CODEBOOKS),
        ("GPTQ", "granularity: 'group:128', error_compensation: gptq"),
    ):
        yield Row(f"int4, {label}", f"mode: int4, {NO_MOVES}, weights: {{{weights}}}")


def refused(row: Row, folder: Path) -> str:
    """What the program has against this configuration, or nothing."""
    config = folder / "check.yaml"
    config.write_text(f"quantization: {{{row.settings}}}\n")
    done = subprocess.run([os.environ[BINARY], "config", "check", str(config)],
                          capture_output=True, text=True)  # fmt: skip
    return "" if done.returncode == 0 else done.stderr.strip().split(": ", 1)[-1]


TASKS: dict[str, Callable[[score.Scores], dict[str, str]]] = {
    "digits": lambda s: {"labels right": f"{s['top1_correct']} of {s['samples']}"},
    "efficientnet_lite0": lambda s: {
        "labels right": f"{s['top1_correct']} of {s['samples']}",
        "same class as float32": f"{s['agreement']:.1%}",
    },
    "ppocr_recognizer": lambda s: {
        "lines right": f"{s['lines_right']} of {s['samples']}",
        "lines as in float32": f"{s['lines_unchanged']}",
    },
    "minilm": lambda s: {
        "probe right": f"{s['probe_accuracy']:.1%}",
        "mean cosine": f"{s['mean_cosine']:.4f}",
    },
}


def wait_until_ready(server: conftest.Server) -> None:
    deadline = time.monotonic() + LOAD_SECONDS
    while (status := server.get("/healthz/ready"))[0] != 200:
        if "failed" in status[1].lower() or time.monotonic() > deadline:
            raise RuntimeError(status[1].strip())
        time.sleep(0.02)


def infer(server: conftest.Server, samples: inputs.Feeds) -> np.ndarray:
    """The first output on all samples."""
    client = server.client()
    metadata = client.get_model_metadata("table")
    types = {tensor.name: tensor.datatype for tensor in metadata.inputs}
    outputs = []
    for part in peers.batches(samples, BATCH):
        tensors = []
        for name, array in part.items():
            tensor = grpc.InferInput(name, list(array.shape), types[name])
            tensor.set_data_from_numpy(np.ascontiguousarray(array))
            tensors.append(tensor)
        outputs.append(client.infer("table", tensors).as_numpy(metadata.outputs[0].name))
    return np.concatenate(outputs)


def measure(name: str, row: Row, folder: Path, dataset: inputs.Dataset,
            reference: np.ndarray) -> Result:  # fmt: skip
    yaml = (
        f"models: [{{name: table, path: '{build.path(name)}'}}]\n"
        f"batching: {{max_batch_size: {BATCH}}}\n"
        f"quantization: {{{row.settings}, calibration: {{path: '{folder / 'calibration.npz'}'}}}}\n"
    )
    with conftest.serve(folder, yaml, ready=False) as server:
        wait_until_ready(server)
        actual = infer(server, dataset.evaluation)
        served = server.metric("octet_model_weight_bytes", kind="served")
        seconds = server.metric("octet_model_quantization_seconds")
    scores = score.score(name, dataset, reference, actual)
    return Result(row, {
        **TASKS[name](scores),
        "output SQNR": f"{min(scores['sqnr_db'], 99):.1f} dB",
        "weight bytes": f"{int(served):,}",
        "seconds": f"{seconds:.2f}",
    })  # fmt: skip


def data_of(name: str) -> inputs.Dataset:
    full = inputs.dataset(name)
    # The probe is fitted to the first half: as many as there are.
    most = EVALUATION_SAMPLES if name == "minilm" else inputs.count(full.evaluation)
    return inputs.Dataset(inputs.rows(full.calibration, 0, CALIBRATION_SAMPLES),
                          inputs.rows(full.evaluation, 0, most), full.labels[:most])  # fmt: skip


def table(name: str, wanted: list[str]) -> str:
    """The table in Markdown; tells how far it is. `wanted`: labels of its only rows, or nothing."""
    dataset = data_of(name)
    reference = peers.run_onnxruntime(build.path(name), dataset.evaluation, BATCH)
    begin = time.monotonic()
    lines: list[str] = []
    left_out: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        np.savez(folder / "calibration.npz", **dataset.calibration)
        for row in rows():
            if wanted and row.label not in wanted:
                continue
            if why := refused(row, folder):
                left_out.append(f"{row.label}: {why}")
                continue
            try:
                figures = measure(name, row, folder, dataset, reference).figures
            except (RuntimeError, AssertionError) as error:
                left_out.append(f"{row.label}: {str(error).splitlines()[0][:200]}")
                continue
            if not lines:
                heading = ["settings", *figures]
                lines += [f"| {' | '.join(heading)} |", "|---" * len(heading) + "|"]
            lines.append(f"| {' | '.join([row.label, *figures.values()])} |")
            print(lines[-1], flush=True)
    lines.append("")
    lines.append(f"{inputs.count(dataset.calibration)} samples calibrate, "
                 f"{inputs.count(dataset.evaluation)} others are judged; the table took "
                 f"{time.monotonic() - begin:.0f} s.")  # fmt: skip
    for line in left_out:
        print(f"{name}: left out: {line}")
    if left_out:
        lines.append(f"{len(left_out)} rows are left out: this version does not have them.")
    return "\n".join(lines)


def write(file: Path, name: str, text: str) -> None:
    """Puts the table between its marks, <!-- table NAME --> and <!-- end -->."""
    document = file.read_text()
    begin, end = f"<!-- table {name} -->\n", "<!-- end -->"
    if begin not in document:
        raise ValueError(f"{file}: expected a line {begin.strip()!r}, found none")
    head, rest = document.split(begin, 1)
    file.write_text(head + begin + text + "\n" + end + rest.split(end, 1)[1])


def replace_rows(file: Path, name: str, text: str) -> None:
    """Puts the rows of `text` in place of those with the same labels in the table that is there."""
    begin, end = f"<!-- table {name} -->\n", "<!-- end -->"
    head, rest = file.read_text().split(begin, 1)
    old, tail = rest.split(end, 1)
    new = {line.split(" | ")[0]: line for line in text.splitlines() if line.startswith("| ")}
    lines = [new.get(line.split(" | ")[0], line) for line in old.splitlines()]
    file.write_text(head + begin + "\n".join(lines) + "\n" + end + tail)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS, metavar="NAME")
    parser.add_argument("--write", type=Path, metavar="FILE",
                        help="put the tables into this document, between their marks")  # fmt: skip
    parser.add_argument("--rows", nargs="+", default=[], metavar="LABEL",
                        help="only these; --write replaces them in the table")  # fmt: skip
    arguments = parser.parse_args()
    os.environ.setdefault(BINARY, str(cache.ROOT / "build/dev/server/octet"))
    for name in arguments.models:
        print(f"\n{name}")
        try:
            text = table(name, arguments.rows)
        except zoo.ZooMissing as error:
            print(f"{name}: skipped: {error}")
            continue
        if arguments.write:
            (replace_rows if arguments.rows else write)(arguments.write, name, text)


if __name__ == "__main__":
    main()
