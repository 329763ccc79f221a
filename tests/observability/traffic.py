"""A server that does everything dashboards show, and the load that makes it do so."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import tritonclient.grpc as grpc
from onnx import TensorProto, helper, numpy_helper

from tests.e2e.conftest import ROOT, Server, digits_input, serve

DIGITS = ROOT / "examples" / "models" / "digits"
MODES = {"digits": "int8", "digits_float": "fp32", "digits_narrow": "int4", "topics": "int8"}
# Besides, one that calibrates itself with what it is asked.
LEARNS = "topics_learned"
TOPICS_WIDTH = 128


def make_topics(folder: Path, calibrated: bool) -> None:
    """A model whose weights are most of it, unlike the digits'."""
    random = np.random.default_rng(7)
    widths = (TOPICS_WIDTH, 512, 512, 16)
    nodes, weights, last = [], [], "text"
    for layer, (rows, columns) in enumerate(zip(widths, widths[1:])):
        final = layer == len(widths) - 2
        weight = random.normal(size=(rows, columns)) / np.sqrt(rows / 2)
        weights.append(numpy_helper.from_array(weight.astype(np.float32), f"weight{layer}"))
        product = "topics" if final else f"product{layer}"
        nodes.append(helper.make_node("MatMul", [last, f"weight{layer}"], [product]))
        if not final:
            nodes.append(helper.make_node("Relu", [product], [f"hidden{layer}"]))
        last = f"hidden{layer}"
    graph = helper.make_graph(
        nodes, "topics",
        [helper.make_tensor_value_info("text", TensorProto.FLOAT, ["n", widths[0]])],
        [helper.make_tensor_value_info("topics", TensorProto.FLOAT, ["n", widths[-1]])], weights,
    )  # fmt: skip
    (folder / "1").mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, folder / "1" / "model.onnx")
    if not calibrated:
        return
    (folder / "calibration").mkdir()
    texts = random.normal(size=(128, TOPICS_WIDTH)).astype(np.float32)
    np.savez(folder / "calibration" / "texts.npz", text=texts)


def repository(folder: Path) -> Path:
    """Models of several modes, in a folder that may be written to."""
    models = folder / "models"
    for name in MODES:
        if name.startswith("digits"):
            shutil.copytree(DIGITS, models / name, ignore=shutil.ignore_patterns("*.qpack"))
    make_topics(models / "topics", calibrated=True)
    make_topics(models / LEARNS, calibrated=False)
    return models


def configuration(models: Path, sample_rate: float = 1, queue: int = 64, delay: int = 500) -> str:
    entries = ", ".join(f"{{name: {name}, quantization: {{mode: {mode}}}}}"
                        for name, mode in MODES.items())  # fmt: skip
    entries += f", {{name: {LEARNS}, quantization: {{mode: int8, calibration: {{source: traffic}}}}}}"
    return (f"model_repository: {models}\n"
            f"quantization: {{shadow: {{sample_rate: {sample_rate}}}}}\n"
            f"batching: {{max_batch_size: 8, max_queue_size: {queue}, "
            f"max_queue_delay_microseconds: {delay}}}\n"
            f"execution: {{streams: 1}}\n"
            f"models: [{entries}]\n"
            "server: {address: 127.0.0.1, grpc_port: 0, http_port: 0}\n")  # fmt: skip


@contextmanager
def served(folder: Path) -> Iterator[tuple[Server, Path]]:
    """The server, and the file of its configuration."""
    file = folder / "octet.yaml"
    file.write_text(configuration(repository(folder)))
    with serve(folder, None, file=file) as server:
        yield server, file


class Load:
    """Clients that ask, without a pause or with one. What they send is multiplied by `scale`: far
    beyond 1 it is unlike the calibration data."""

    def __init__(self, server: Server, clients: int = 3, rows: int = 2,
                 models: tuple[str, ...] = (*MODES, LEARNS), pause: float = 0) -> None:  # fmt: skip
        self.scale = 1.0
        self._images = np.load(DIGITS / "test.npz")["image"]
        self._texts = np.random.default_rng(8).normal(size=(256, TOPICS_WIDTH)).astype(np.float32)
        self._server, self._rows, self._models = server, rows, models
        self._pause = pause
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,))
                         for number in range(clients)]  # fmt: skip

    def _ask(self, number: int) -> None:
        client = self._server.client()
        turn = number
        while not self._stop.wait(self._pause):
            turn += 1
            model = self._models[turn % len(self._models)]
            # Every hundredth request is wrong, as some are in life.
            name = "no_such_model" if turn % 100 == 0 else model
            try:
                client.infer(name, self._inputs(model, turn))
            except grpc.InferenceServerException:
                continue  # counted by the server, which is what is looked at

    def _inputs(self, model: str, turn: int) -> list[grpc.InferInput]:
        if model.startswith("digits"):
            return digits_input(np.float32(self.scale) * self._images[turn % 200:][:self._rows])
        texts = np.ascontiguousarray(self.scale * self._texts[turn % 200:][:self._rows])
        tensor = grpc.InferInput("text", list(texts.shape), "FP32")
        tensor.set_data_from_numpy(texts.astype(np.float32))
        return [tensor]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
