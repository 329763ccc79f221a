"""Start, readiness, models that cannot be loaded, and what the command line says."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

import grpc as raw_grpc
import pytest
import tritonclient.grpc as grpc
from conftest import ROOT, serve

DIGITS = ROOT / "examples" / "models" / "digits"


def octet(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([os.environ["OCTET_BINARY"], *arguments], capture_output=True,
                          text=True, cwd=ROOT, timeout=120)


@pytest.fixture
def broken_repository(tmp_path):
    repository = tmp_path / "models"
    shutil.copytree(DIGITS, repository / "good")
    (repository / "bad" / "1").mkdir(parents=True)
    whole = (DIGITS / "1" / "model.onnx").read_bytes()
    (repository / "bad" / "1" / "model.onnx").write_bytes(whole[: len(whole) // 2])
    return repository


def test_a_model_that_cannot_be_loaded_says_why(tmp_path, broken_repository):
    with serve(tmp_path, f"model_repository: {broken_repository}", ready=False) as server:
        client = server.client()
        while any(model.state == "LOADING"
                  for model in client.get_model_repository_index().models):
            pass
        states = {model.name: model for model in client.get_model_repository_index().models}
        assert states["good"].state == "READY"
        assert states["bad"].state == "UNAVAILABLE"
        assert "damaged" in states["bad"].reason
        status, body = server.get("/healthz/ready")
        assert status == 503 and "bad" in body and "damaged" in body
        assert client.is_server_live() and not client.is_server_ready()
        assert client.is_model_ready("good")


def test_connections_end_at_their_age_and_no_request_with_them(tmp_path):
    config = tmp_path / "octet.yaml"
    config.write_text(f"model_repository: {DIGITS.parent}\n"
                      "server: {address: 127.0.0.1, grpc_port: 0, http_port: 0, "
                      "max_connection_age_seconds: 1}\n")
    with serve(tmp_path, None, file=config) as server:
        channel = raw_grpc.insecure_channel(server.grpc_address)
        connected = []
        channel.subscribe(lambda state: connected.append(state)
                          if state == raw_grpc.ChannelConnectivity.READY else None)
        ask = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        answered, end = 0, time.monotonic() + 5
        while len(connected) < 4 and time.monotonic() < end:
            ask(b"", timeout=5)  # raises if it fails
            answered += 1
        assert len(connected) >= 3  # it was connected anew, twice
        assert answered > 100


def test_one_bad_model_may_be_tolerated(tmp_path, broken_repository):
    config = tmp_path / "octet.yaml"
    config.write_text(f"model_repository: {broken_repository}\n"
                      "server: {address: 127.0.0.1, grpc_port: 0, http_port: 0, "
                      "strict_readiness: false}\n")
    process = subprocess.Popen([os.environ["OCTET_BINARY"], "serve", "--config", str(config)],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        client = grpc.InferenceServerClient(process.stdout.readline().split()[1])
        for _ in range(1000):
            if client.is_server_ready():
                break
        assert client.is_server_ready()
    finally:
        process.terminate()
        assert process.wait(60) == 0


def test_quantize_writes_both_reports(tmp_path):
    done = octet("quantize", str(DIGITS / "1" / "model.onnx"), "--report", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "output SQNR" in done.stdout
    assert (tmp_path / "report.json").exists() and (tmp_path / "report.txt").exists()


def test_inspect_shows_kernels(tmp_path):
    done = octet("inspect", str(DIGITS / "1" / "model.onnx"))
    assert done.returncode == 0, done.stderr
    assert "Conv" in done.stdout and "arena" in done.stdout


@pytest.mark.parametrize("arguments", [
    ("serve",), ("serve", "--config", "/nonexistent.yaml"), ("quantize",), ("nonsense",)])
def test_wrong_arguments_exit_with_2(arguments):
    done = octet(*arguments)
    assert done.returncode == 2 and done.stderr


def test_the_example_client_works(int8_server):
    port = int8_server.grpc_address.rsplit(":", 1)[1]
    help_text = subprocess.run([os.sys.executable, str(ROOT / "examples" / "client.py"), "--help"],
                               capture_output=True, text=True).stdout
    assert "--" in help_text
    done = subprocess.run([os.sys.executable, str(ROOT / "examples" / "client.py"),
                           "--url", f"127.0.0.1:{port}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "digits correct" in done.stdout
