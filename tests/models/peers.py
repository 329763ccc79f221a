"""The int8 of ONNX Runtime and of NNCF with OpenVINO, on the models and data of these tests.

    python -m tests.models.peers [--models digits minilm] [--peers nncf]

prints a table of accuracies. Quantized models are cached by model, data and versions. The packages
beyond those of the other tests stand in tests/requirements-bench.txt and are imported where used.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
import onnxruntime

from tests.models import build, cache, fetch, inputs, score, zoo
from tests.models.random_data import Feeds

ACCURACY_MODELS = ("digits", "efficientnet_lite0", "ppocr_recognizer", "minilm")
TRANSFORMERS = ("minilm", "bert_base")
BATCH = 10
PER_CHANNEL_OPSET = 13


@dataclass(frozen=True)
class Peer:
    """A way to quantize a model and to run the result."""

    name: str
    packages: tuple[str, ...]
    quantize: Callable[[str, Path, Feeds, Path], None]  # model's name, its file, data, output
    run: Callable[[Path, Feeds], np.ndarray]
    suffix: str
    only_transformers: bool = False

    @property
    def versions(self) -> str:
        return ", ".join(f"{package} {metadata.version(package)}" for package in self.packages)


@dataclass(frozen=True)
class Result:
    model: str
    peer: str
    versions: str
    scores: score.Scores
    error: str = ""


def batches(feeds: Feeds, size: int) -> Iterator[Feeds]:
    for begin in range(0, inputs.count(feeds), size):
        yield inputs.rows(feeds, begin, begin + size)


def run_onnxruntime(model: Path, feeds: Feeds, batch: int = BATCH) -> np.ndarray:
    """The first output on all samples; one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, part)[0] for part in batches(feeds, batch)])


def run_openvino(folder: Path, feeds: Feeds, batch: int = BATCH) -> np.ndarray:
    """The first output on all samples; one thread, float32 where the model is not int8."""
    import openvino

    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(folder / "model.xml", "CPU", options)
    return np.concatenate([model(part)[0] for part in batches(feeds, batch)])


def _data_reader(calibration: Feeds):
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.samples = batches(calibration, 1)

        def get_next(self) -> Feeds | None:
            return next(self.samples, None)

    return Reader()


def _with_per_channel_opset(model: Path, scratch: Path) -> Path:
    """DequantizeLinear has an axis since opset 13; a QDQ file of an older one is invalid."""
    loaded = onnx.load(model)
    version = next(o.version for o in loaded.opset_import if o.domain in ("", "ai.onnx"))
    if version >= PER_CHANNEL_OPSET:
        return model
    upgraded = scratch / "upgraded.onnx"
    onnx.save(onnx.version_converter.convert_version(loaded, PER_CHANNEL_OPSET), upgraded)
    return upgraded


def _onnxruntime_static(model: Path, calibration: Feeds, out: Path, **options: object) -> None:
    from onnxruntime.quantization import quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        source = _with_per_channel_opset(model, Path(scratch))
        # Symbolic shape inference needs sympy and gives nothing to these models.
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(prepared, out, _data_reader(calibration), **options)


def onnxruntime_defaults(name: str, model: Path, calibration: Feeds, out: Path) -> None:
    """quantize_static as it is called without options: s8 activations, per-tensor weights."""
    _onnxruntime_static(model, calibration, out)


def onnxruntime_u8s8(name: str, model: Path, calibration: Feeds, out: Path) -> None:
    """What ONNX Runtime's documentation advises for x86: U8S8 QDQ, weights per channel."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType

    _onnxruntime_static(
        model, calibration, out, quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
    )  # fmt: skip


def onnxruntime_dynamic(name: str, model: Path, calibration: Feeds, out: Path) -> None:
    """What ONNX Runtime's documentation advises for transformers."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(model, out, per_channel=True, weight_type=QuantType.QInt8)


def nncf_defaults(name: str, model: Path, calibration: Feeds, out: Path) -> None:
    """nncf.quantize with its default preset, told what a transformer is; out is a folder."""
    import nncf
    import openvino

    dataset = nncf.Dataset(list(batches(calibration, 1)))
    kind = nncf.ModelType.TRANSFORMER if name in TRANSFORMERS else None
    quantized = nncf.quantize(
        openvino.convert_model(model), dataset, model_type=kind,
        subset_size=inputs.count(calibration),
    )  # fmt: skip
    out.mkdir()
    openvino.save_model(quantized, out / "model.xml", compress_to_fp16=False)


PEERS = (
    Peer("onnxruntime-defaults", ("onnxruntime",), onnxruntime_defaults, run_onnxruntime, ".onnx"),
    Peer("onnxruntime-u8s8", ("onnxruntime",), onnxruntime_u8s8, run_onnxruntime, ".onnx"),
    Peer("onnxruntime-dynamic", ("onnxruntime",), onnxruntime_dynamic, run_onnxruntime, ".onnx",
         only_transformers=True),
    Peer("nncf", ("nncf", "openvino"), nncf_defaults, run_openvino, ".openvino"),
)  # fmt: skip


def fingerprint(model: Path, calibration: Feeds) -> str:
    digest = hashlib.sha256(fetch.sha256_of(model).encode())
    for name in sorted(calibration):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(calibration[name]))
    return digest.hexdigest()[:12]


def quantized(peer: Peer, name: str, calibration: Feeds) -> Path:
    """The peer's int8 form of a model, from the cache when it is there."""
    model = build.path(name)
    versions = peer.versions.replace(", ", "-").replace(" ", "-")
    key = f"{name}-{peer.name}-{versions}-{fingerprint(model, calibration)}{peer.suffix}"
    return cache.cached(key, lambda out: peer.quantize(name, model, calibration, out))


def applies(peer: Peer, name: str) -> bool:
    return name in TRANSFORMERS or not peer.only_transformers


def evaluate(peer: Peer, name: str, dataset: inputs.Dataset, reference: np.ndarray) -> Result:
    """Quantizes, runs and scores; reference is float32's output on dataset.evaluation.

    What a peer cannot do is part of the comparison: it is told in the result, not raised.
    """
    try:
        actual = peer.run(quantized(peer, name, dataset.calibration), dataset.evaluation)
    except Exception as error:  # the peers document none of what they raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return Result(name, peer.name, peer.versions, {}, reason)
    return Result(
        name, peer.name, peer.versions, score.score(name, dataset, reference, actual)
    )


def compare(name: str, peers: tuple[Peer, ...]) -> Iterator[Result]:
    """Float32 first, then every peer that applies."""
    dataset = inputs.dataset(name)
    reference = run_onnxruntime(build.path(name), dataset.evaluation)
    version = f"onnxruntime {metadata.version('onnxruntime')}"
    yield Result(name, "float32", version, score.score(name, dataset, reference, reference))
    for peer in peers:
        if applies(peer, name):
            yield evaluate(peer, name, dataset, reference)


def row(result: Result) -> str:
    figures = ", ".join(
        f"{key} {value if isinstance(value, int) else f'{value:.4f}'}"
        for key, value in result.scores.items()
    )
    return f"| {result.model} | {result.peer} | {result.versions} | {figures or result.error} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=ACCURACY_MODELS, choices=build.NAMES,
                        metavar="NAME")  # fmt: skip
    names = [peer.name for peer in PEERS]
    parser.add_argument("--peers", nargs="+", default=names, choices=names)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    chosen = tuple(peer for peer in PEERS if peer.name in arguments.peers)

    results: list[Result] = []
    print("| model | form | versions | figures |\n|---|---|---|---|")
    for name in arguments.models:
        begin = time.monotonic()
        try:
            for result in compare(name, chosen):
                results.append(result)
                print(row(result), flush=True)
        except zoo.ZooMissing as error:
            print(f"| {name} | skipped | | {error} |")
            continue
        print(f"| {name} | | | took {time.monotonic() - begin:.0f} s |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([vars(result) for result in results], indent=1))


if __name__ == "__main__":
    main()
