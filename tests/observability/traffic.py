"""A server that does everything dashboards show, and the load that makes it do so."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tritonclient.grpc as grpc

from tests.e2e.conftest import ROOT, Server, digits_input, serve

DIGITS = ROOT / "examples" / "models" / "digits"
MODES = {"digits": "int8", "digits_float": "fp32", "digits_narrow": "int4"}


def repository(folder: Path) -> Path:
    """The same digits as models of several modes, in a folder that may be written to."""
    models = folder / "models"
    for name in MODES:
        shutil.copytree(DIGITS, models / name, ignore=shutil.ignore_patterns("*.qpack"))
    return models


def configuration(models: Path, sample_rate: float = 1, queue: int = 64, delay: int = 500) -> str:
    entries = ", ".join(f"{{name: {name}, quantization: {{mode: {mode}}}}}"
                        for name, mode in MODES.items())  # fmt: skip
    return (f"model_repository: {models}\n"
            f"quantization: {{shadow: {{sample_rate: {sample_rate}}}}}\n"
            f"batching: {{max_batch_size: 8, max_queue_size: {queue}, "
            f"max_queue_delay_microseconds: {delay}}}\n"
            f"execution: {{streams: 1}}\n"
            f"models: [{entries}]\n"
            "server: {address: 127.0.0.1, grpc_port: 0, http_port: 0}\n")  # fmt: skip


def images() -> np.ndarray:
    return np.load(DIGITS / "test.npz")["image"]


@contextmanager
def served(folder: Path) -> Iterator[tuple[Server, Path]]:
    """The server, and the file of its configuration."""
    file = folder / "octet.yaml"
    file.write_text(configuration(repository(folder)))
    with serve(folder, None, file=file) as server:
        yield server, file


class Load:
    """Clients that ask without a pause. `images` may be exchanged while they do."""

    def __init__(self, server: Server, clients: int = 3, rows: int = 2,
                 models: tuple[str, ...] = tuple(MODES)) -> None:  # fmt: skip
        self.images = images()
        self._server, self._rows, self._models = server, rows, models
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,))
                         for number in range(clients)]  # fmt: skip

    def _ask(self, number: int) -> None:
        client = self._server.client()
        turn = number
        while not self._stop.is_set():
            turn += 1
            model = self._models[turn % len(self._models)]
            # Every hundredth request is wrong, as some are in life.
            name = "no_such_model" if turn % 100 == 0 else model
            rows = self.images[turn % 200:][:self._rows]
            try:
                client.infer(name, digits_input(rows))
            except grpc.InferenceServerException:
                continue  # counted by the server, which is what is looked at

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
