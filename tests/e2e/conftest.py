"""A real server for each test module: the built binary, free ports, unmodified tritonclient."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import tritonclient.grpc as grpc

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120


@dataclass
class Server:
    process: subprocess.Popen
    grpc_address: str
    http_address: str

    def client(self) -> grpc.InferenceServerClient:
        return grpc.InferenceServerClient(self.grpc_address)

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.http_address + path, timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """Sum of the series of that name with those labels."""
        total, found = 0.0, False
        for line in self.get("/metrics")[1].splitlines():
            match = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? (\S+)", line)
            if not match or match[1] != name:
                continue
            if all(f'{key}="{value}"' in (match[2] or "") for key, value in labels.items()):
                total, found = total + float(match[3]), True
        assert found, f"no series {name} {labels}"
        return total

    def property(self, model: str, key: str) -> str:
        """One of the metadata's `properties`, "" if it is not there. Triton's client does not know
        the field, and keeps it: a map entry, key and value as length-delimited fields 1 and 2."""
        metadata = self.client().get_model_metadata(model).SerializeToString()
        before, found, after = metadata.partition(
            b"\x0a" + bytes([len(key)]) + key.encode() + b"\x12")
        if not found:
            return ""
        size, shift, used = 0, 0, 0
        for byte in after:
            size |= (byte & 127) << shift
            shift, used = shift + 7, used + 1
            if byte < 128:
                break
        return after[used:used + size].decode()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


class Clients:
    """Threads that run client_loop() until the block ends; one for each entry of `sent`."""

    stop: threading.Event
    sent: list[int]

    def client_loop(self, number: int) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.threads = [threading.Thread(target=self.client_loop, args=(number,))
                        for number in range(len(self.sent))]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


@contextmanager
def serve(folder: Path, yaml: str | None, ready: bool = True,
          file: Path | None = None) -> Iterator[Server]:
    """Serves what `yaml` says, without a section `server`, or the configuration in `file`."""
    config = file or folder / "octet.yaml"
    if yaml is not None:
        config.write_text(yaml + "\nserver: {address: 127.0.0.1, grpc_port: 0, http_port: 0}\n")
    log = (folder / "server.log").open("w")
    process = subprocess.Popen([os.environ["OCTET_BINARY"], "serve", "--config", str(config)],
                               stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT)
    try:
        grpc_address = process.stdout.readline().split()[1]
        http_address = process.stdout.readline().split()[1].removesuffix("/metrics")
        server = Server(process, grpc_address, http_address)
        deadline = time.monotonic() + START_SECONDS
        while ready and server.get("/healthz/ready")[0] != 200:
            assert process.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < deadline, server.get("/healthz/ready")
            time.sleep(0.05)
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)
        log.close()


def digits_input(images: np.ndarray) -> list[grpc.InferInput]:
    tensor = grpc.InferInput("image", list(images.shape), "FP32")
    tensor.set_data_from_numpy(np.ascontiguousarray(images))
    return [tensor]


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    data = np.load(ROOT / "examples" / "models" / "digits" / "test.npz")
    return data["image"], data["label"]


def server_of(quantization: str) -> Callable[[pytest.TempPathFactory], Iterator[Server]]:
    """A fixture: a server of the examples with these settings, one for each test module."""
    @pytest.fixture(scope="module")
    def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
        with serve(tmp_path_factory.mktemp("server"),
                   f"model_repository: {ROOT}/examples/models\n"
                   f"quantization: {quantization}") as running:
            yield running
    return server


float_server = server_of("{mode: fp32}")
bf16_server = server_of("{mode: bf16}")
int8_server = server_of("{mode: int8}")
dynamic_server = server_of("{mode: int8, calibration: {source: dynamic}}")
int4_server = server_of("{mode: int4}")
