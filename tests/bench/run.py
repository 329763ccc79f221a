"""Speed in process, one thread: Octet beside ONNX Runtime and OpenVINO, float32 and int8.

    python tests/bench/run.py [--quick] [--models resnet50 ...] [--batches 1 8] [--json FILE]

All engines of a row are measured in turns (A B C A B C ...), so that what else the machine does
hits all of them; the figures are medians over the rounds, in items per second. Peers' int8 is each
one's own (tests/models/peers.py). A peer that fails or is not installed leaves its column empty.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from tests.models import build, inputs, zoo  # noqa: E402

MODELS = ("resnet50", "mobilenet_v2", "efficientnet_lite0", "minilm")
RANDOM_WEIGHTS = ("resnet50", "mobilenet_v2")
Measure = Callable[[float], float]  # seconds to measure for -> median seconds of a run


def find_program() -> Path:
    for preset in ("release", "dev", "core"):
        path = ROOT / "build" / preset / "tests" / "bench" / "measured_model"
        if path.exists():
            return path
    raise SystemExit("build measured_model first: cmake --build build/dev --target measured_model")


class Octet:
    def __init__(self, model: Path, samples: Path, mode: str, batch: int) -> None:
        self.process = subprocess.Popen(
            [find_program(), model, samples, mode, str(batch)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"Octet cannot run {model} in {mode}")

    def __call__(self, seconds: float) -> float:
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def median_of(run: Callable[[], object]) -> Measure:
    def measure(seconds: float) -> float:
        runs, start = [], time.perf_counter()
        begin = start
        while len(runs) < 3 or begin - start < seconds:
            run()
            end = time.perf_counter()
            runs.append(end - begin)
            begin = end
        return statistics.median(runs)
    return measure


def onnxruntime_engine(model: Path, feeds: dict[str, np.ndarray]) -> Measure:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, ["CPUExecutionProvider"])
    return median_of(lambda: session.run(None, feeds))


def openvino_engine(model: Path, feeds: dict[str, np.ndarray]) -> Measure:
    import openvino
    core = openvino.Core()
    file = model if model.is_file() else next(model.glob("*.xml"))
    network = core.read_model(file)
    network.reshape({name: array.shape for name, array in feeds.items()})
    compiled = core.compile_model(network, "CPU", {
        "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False})
    request = compiled.create_infer_request()
    return median_of(lambda: request.infer(feeds))


def batch_of(feeds: dict[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(np.resize(array, (size, *array.shape[1:])))
            for name, array in feeds.items()}


def engines(name: str, batch: int, samples: Path, dataset: inputs.Dataset,
            with_peers_int8: bool) -> dict[str, Callable[[], Measure]]:
    model = build.path(name)
    feeds = batch_of(dataset.calibration, batch)
    int8 = "int8-all" if name in RANDOM_WEIGHTS else "int8"
    made: dict[str, Callable[[], Measure]] = {
        "Octet fp32": lambda: Octet(model, samples, "fp32", batch),
        "Octet int8": lambda: Octet(model, samples, int8, batch),
        "ORT fp32": lambda: onnxruntime_engine(model, feeds),
        "OV fp32": lambda: openvino_engine(model, feeds),
    }
    if name == "minilm":
        made["Octet int8 dynamic"] = lambda: Octet(model, samples, "dynamic", batch)
    if not with_peers_int8:
        return made
    from tests.models import peers
    for peer in peers.PEERS:
        if not peers.applies(peer, name):
            continue
        engine = openvino_engine if "nncf" in peer.name.lower() else onnxruntime_engine
        made[peer.name] = lambda peer=peer, engine=engine: engine(
            peers.quantized(peer, name, dataset.calibration), feeds)
    return made


def measure_row(name: str, batch: int, rounds: int, seconds: float,
                with_peers_int8: bool) -> dict[str, float]:
    dataset = inputs.dataset(name)
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "samples.npz"
        np.savez(samples, **inputs.rows(dataset.calibration, 0, 64))
        running: dict[str, Measure] = {}
        for label, make in engines(name, batch, samples, dataset, with_peers_int8).items():
            try:
                running[label] = make()
            except Exception as error:  # a peer's failure is a finding, not ours
                print(f"  {label}: {type(error).__name__}: {error}", file=sys.stderr)
        times: dict[str, list[float]] = {label: [] for label in running}
        for turn in range(rounds + 1):  # the first warms up
            for label, measure in running.items():
                median = measure(seconds)
                if turn > 0:
                    times[label].append(median)
        for measure in running.values():
            if isinstance(measure, Octet):
                measure.close()
    return {label: batch / statistics.median(values) for label, values in times.items()}


def show(name: str, batch: int, row: dict[str, float]) -> None:
    print(f"{name}, batch {batch}, one thread, items/s")
    floats = [v for k, v in row.items() if k in ("ORT fp32", "OV fp32")]
    int8s = [v for k, v in row.items()
             if not k.startswith("Octet") and k not in ("ORT fp32", "OV fp32")]
    for label, rate in row.items():
        note = ""
        if label == "Octet fp32" and floats:
            note = f"{rate / max(floats):6.2f} x the better peer's float32"
        elif label.startswith("Octet int8"):
            note = f"{rate / row['Octet fp32']:6.2f} x our float32"
            if int8s:
                note += f", {rate / max(int8s):.2f} x the best peer's int8"
        print(f"  {label:<28} {rate:10.1f}  {note}")
    print(flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two short rounds, no peers' int8")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="per engine and round")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rounds, seconds = (2, 0.3) if options.quick else (options.rounds, options.seconds)
    results = {}
    for name in options.models:
        for batch in options.batches:
            try:
                row = measure_row(name, batch, rounds, seconds, not options.quick)
            except zoo.ZooMissing as missing:
                print(f"{name}: skipped: {missing}\n")
                break
            show(name, batch, row)
            results[f"{name}/{batch}"] = row
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
