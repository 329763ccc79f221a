"""The mode of a served model changes in the YAML of a running server: no request may notice."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpc
from conftest import ROOT, Clients, Server, digits_input, serve

CLIENTS = 8
SECONDS = 60  # the longest that a change may take, on a machine that has other things to do
# Float sums depend on the size of the batch; where they are rounded to bfloat16, it shows.
TOLERANCE = {"fp32": 1e-4, "int8": 1e-4, "int4": 1e-4, "bf16": 0.1}
RELOADS = "octet_config_reload_total"


def yaml_of(mode: str) -> str:
    return f"model_repository: {ROOT}/examples/models\nquantization: {{mode: {mode}}}\n"


ADDRESS = "server: {address: 127.0.0.1, grpc_port: 0, http_port: 0}\n"


def await_true(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not in {SECONDS} s: {what}"
        time.sleep(0.02)


def mode_of(server: Server) -> str:
    body = server.get("/metrics")[1]
    modes = [line.split('mode="')[1].split('"')[0] for line in body.splitlines()
             if line.startswith("octet_model_info{") and 'model="digits"' in line]
    assert len(modes) == 1, modes
    return modes[0]


def await_swaps(server: Server, count: int) -> None:
    await_true(lambda: server.metric("octet_model_swap_total", model="digits", result="ok") >= count,
               f"{count} changes")
    # The old model has gone, too: its memory is free and a next change starts from rest.
    await_true(lambda: server.client().get_model_repository_index().models[0].reason == "", "rest")


@dataclass
class Load(Clients):
    """CLIENTS clients that keep asking; every answer must be right for one of the modes."""

    server: Server
    images: np.ndarray
    answers: dict[str, np.ndarray]  # by mode
    stop: threading.Event = field(default_factory=threading.Event)
    # (end, latency) in seconds of every request that was answered.
    answered: list[tuple[float, float]] = field(default_factory=list)
    sent: list[int] = field(default_factory=lambda: [0] * CLIENTS)
    failures: list[str] = field(default_factory=list)

    def client_loop(self, number: int) -> None:
        client = self.server.client()
        at = number
        while not self.stop.is_set():
            at = (at + 7) % (len(self.images) - 2)
            start = time.monotonic()
            self.sent[number] += 1
            try:
                got = client.infer("digits", digits_input(self.images[at:at + 2])).as_numpy("logits")
            except grpc.InferenceServerException as error:
                self.failures.append(str(error))
                continue
            end = time.monotonic()
            self.answered.append((end, end - start))
            if not any(np.allclose(got, rows[at:at + 2], rtol=0, atol=TOLERANCE[mode])
                       for mode, rows in self.answers.items()):
                self.failures.append(f"rows {at}: not an answer of any mode")

    def p99(self, begin: float, end: float) -> float:
        """Milliseconds."""
        latencies = [latency for at, latency in self.answered if begin <= at < end]
        assert latencies
        return 1000 * float(np.percentile(latencies, 99))


def answers_of(server: Server, images: np.ndarray) -> np.ndarray:
    client = server.client()
    return np.concatenate([client.infer("digits", digits_input(image[None])).as_numpy("logits")
                           for image in images])


@pytest.fixture(scope="module")
def answers(int8_server, int4_server, bf16_server, float_server,
            digits) -> dict[str, np.ndarray]:
    servers = (float_server, int8_server, int4_server, bf16_server)
    found = {mode_of(server): answers_of(server, digits[0]) for server in servers}
    for one, other in (("int8", "fp32"), ("int4", "int8")):
        difference = np.abs(found[one] - found[other]).max()
        assert difference > 100 * TOLERANCE["fp32"], "the modes can be told apart"
    return found


class PlainFile:
    """The configuration, written in place."""

    def __init__(self, folder: Path):
        self.file = folder / "octet.yaml"

    def write(self, text: str) -> None:
        self.file.write_text(text)


class ConfigMap:
    """A ConfigMap volume as the kubelet updates it: a rename replaces the link ..data."""

    def __init__(self, folder: Path):
        self.folder, self.count = folder / "volume", 0
        self.folder.mkdir()
        self.file = self.folder / "octet.yaml"
        self.file.symlink_to("..data/octet.yaml")

    def write(self, text: str) -> None:
        self.count += 1
        version = self.folder / f"..2030_{self.count}"
        version.mkdir()
        (version / "octet.yaml").write_text(text)
        (self.folder / "..data_tmp").symlink_to(version.name)
        os.rename(self.folder / "..data_tmp", self.folder / "..data")


@pytest.mark.parametrize("volume", [PlainFile, ConfigMap])
def test_no_request_notices_a_change_of_mode(tmp_path, volume, answers, bf16_server, digits):
    changed = ("bf16", "fp32", "int4", "int8")
    config = volume(tmp_path)
    config.write(yaml_of("int8") + ADDRESS)
    with serve(tmp_path, None, file=config.file) as server:
        def counted(result: str) -> float:
            return server.metric(RELOADS, result=result)

        before_rows = 0.0
        with Load(server, digits[0], answers) as load:
            begin = time.monotonic()
            time.sleep(2)
            changes = [time.monotonic()]
            for asked in changed:
                # A CPU without bfloat16 serves float32 instead, here as there.
                mode = mode_of(bf16_server) if asked == "bf16" else asked
                config.write(yaml_of(asked) + ADDRESS)
                await_swaps(server, changed.index(asked) + 1)
                assert mode_of(server) == mode
                rows = server.metric("octet_inference_count_total", model="digits")
                assert rows > before_rows, "a counter never goes back"
                before_rows = rows
                rejected = counted("rejected")
                config.write("quantization: {mode: int7}\n")
                await_true(lambda: counted("rejected") > rejected, "the invalid file is refused")
                assert mode_of(server) == mode
                config.write(yaml_of(asked) + ADDRESS)
                await_true(lambda: server.get("/healthz/ready")[0] == 200, "ready")
            changes.append(time.monotonic())
            time.sleep(1)
        before, during = load.p99(begin, changes[0]), load.p99(*changes)
        print(f"\n{volume.__name__}: {sum(load.sent)} requests sent, {len(load.failures)} failed; "
              f"p99 before {before:.2f} ms, during changes {during:.2f} ms")
        assert load.failures == []
        assert len(load.answered) == sum(load.sent)
        statistics = server.client().get_inference_statistics("digits").model_stats[0]
        assert statistics.inference_stats.success.count == sum(load.sent)
        assert statistics.inference_stats.fail.count == 0
        assert server.metric("octet_model_swap_total", model="digits", result="ok") == len(changed)
        assert server.metric("octet_inference_requests_total", code="OK") == sum(load.sent)
        assert server.metric("octet_inference_requests_total", model="digits") == sum(load.sent)


def test_bfloat16_keeps_half_the_bytes_and_says_so(bf16_server, float_server):
    if mode_of(bf16_server) == "fp32":
        pytest.skip("this CPU does not multiply bfloat16")
    served = [server.metric("octet_model_weight_bytes", model="digits", kind="served")
              for server in (bf16_server, float_server)]
    assert served[0] < 0.55 * served[1], served
    assert bf16_server.property("digits", "mode") == "bf16"
    assert bf16_server.property("digits", "accuracy_verdict") == "met"


def test_auto_says_what_it_is_and_why(tmp_path):
    with serve(tmp_path, yaml_of("auto")) as server:
        assert mode_of(server) in ("int8", "bf16", "fp32")
        assert server.property("digits", "mode") == mode_of(server)
        assert server.property("digits", "mode_reason").startswith("auto: this CPU (")


@pytest.mark.parametrize(("isa", "asked", "mode", "code"), [
    ("AVX512_CORE_VNNI", "bf16", "fp32", "Q013"),
    ("AVX2", "int8", "int8", "Q014"),
    ("AVX2", "auto", "fp32", None),
])
def test_a_smaller_processor_is_told_of(tmp_path, monkeypatch, isa, asked, mode, code):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", isa)
    with serve(tmp_path, yaml_of(asked)) as server:
        assert mode_of(server) == mode
        reason = server.property("digits", "mode_reason")
        assert (reason != "") == (asked != mode)
    log = (tmp_path / "server.log").read_text()
    assert ("Q013" in log) == (code == "Q013")
    assert ("Q014" in log) == (code == "Q014")


def test_sighup_takes_up_the_file_at_once(tmp_path):
    with serve(tmp_path, yaml_of("fp32")) as server:
        before = server.metric(RELOADS, result="ok")
        server.process.send_signal(signal.SIGHUP)
        await_true(lambda: server.metric(RELOADS, result="ok") == before + 1, "reload")
        assert server.metric("octet_model_swap_total", model="digits") == 0, "nothing changed"
        assert server.stop() == 0


def test_a_model_that_fails_to_load_again_leaves_the_old_one(tmp_path, digits):
    with serve(tmp_path, yaml_of("fp32")) as server:
        client = server.client()
        old = client.infer("digits", digits_input(digits[0][:2])).as_numpy("logits")
        (tmp_path / "octet.yaml").write_text(
            f"model_repository: {ROOT}/examples/models\nquantization: {{mode: int8, "
            "activations: {timing: static}, calibration: {path: /nonexistent}}\n" + ADDRESS)
        await_true(lambda: server.metric("octet_model_swap_total", result="failed") == 1, "failure")
        model = client.get_model_repository_index().models[0]
        assert model.state == "READY" and "/nonexistent" in model.reason
        assert np.array_equal(
            client.infer("digits", digits_input(digits[0][:2])).as_numpy("logits"), old)
        assert server.get("/healthz/ready")[0] == 200


def test_a_client_has_a_model_loaded_again(tmp_path):
    with serve(tmp_path, yaml_of("fp32")) as server:
        client = server.client()
        client.load_model("digits", config='{"quantization": {"mode": "int8"}}')
        assert mode_of(server) == "int8"
        client.load_model("digits")
        assert mode_of(server) == "fp32", "as the file says"
        for model, config, status in (("digits", '{"quantization": {"mode": "int7"}}',
                                       "INVALID_ARGUMENT"), ("other", None, "NOT_FOUND")):
            with pytest.raises(grpc.InferenceServerException) as refused:
                client.load_model(model, config=config)
            assert status in str(refused.value.status())
        assert server.metric("octet_model_swap_total", model="digits", result="ok") == 2


def test_memory_of_replaced_models_is_released(tmp_path):
    with serve(tmp_path, yaml_of("fp32")) as server:
        client = server.client()
        resident = []
        for _ in range(20):
            client.load_model("digits")
            resident.append(server.metric("octet_process_resident_bytes"))
        assert max(resident[10:]) < 1.1 * max(resident[:5]), resident
