"""Many clients at once: batches form, everyone gets their own rows, and draining loses nothing."""

from __future__ import annotations

import random
import threading
import time

import numpy as np
import pytest
import tritonclient.grpc as grpc
from conftest import ROOT, digits_input, serve

EXPECTED_REFUSALS = {"StatusCode.DEADLINE_EXCEEDED", "StatusCode.CANCELLED"}


def run_clients(server, images, answers, clients: int, requests: int, work) -> list[str]:
    problems: list[str] = []

    def one(seed: int) -> None:
        choose, client = random.Random(seed), server.client()
        for _ in range(requests):
            try:
                problem = work(client, choose, images, answers)
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            if problem:
                problems.append(problem)

    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return problems


def own_rows(client, choose, images, answers, **options) -> str | None:
    start = choose.randrange(len(images) - 4)
    rows = slice(start, start + choose.randint(1, 4))
    got = client.infer("digits", digits_input(images[rows]), **options).as_numpy("logits")
    return None if np.array_equal(got, answers[rows]) else f"wrong rows for {rows}"


@pytest.fixture(scope="module")
def answers(int8_server, digits) -> np.ndarray:
    client = int8_server.client()
    return np.concatenate([client.infer("digits", digits_input(image[None])).as_numpy("logits")
                           for image in digits[0]])


def test_32_clients_share_batches(int8_server, digits, answers):
    names = ("octet_inference_count_total", "octet_inference_executions_total")
    before = [int8_server.metric(name, model="digits") for name in names]
    problems = run_clients(int8_server, digits[0], answers, 32, 40, own_rows)
    assert problems == []
    rows, runs = (int8_server.metric(name, model="digits") - old
                  for name, old in zip(names, before))
    # A request has 2.5 rows on average: more than that is company.
    assert rows / runs > 2.75


def test_cancels_deadlines_and_outliers_hurt_nobody_else(int8_server, digits, answers):
    def work(client, choose, images, expected):
        kind = choose.randrange(4)
        if kind == 0:
            client.infer("digits", digits_input(100 * images[:4]))
            return None
        if kind == 1:
            try:
                return own_rows(client, choose, images, expected, client_timeout=0.001)
            except grpc.InferenceServerException as error:
                return None if error.status() in EXPECTED_REFUSALS else str(error)
        if kind == 2:
            done = threading.Event()
            call = client.async_infer("digits", digits_input(images[:2]),
                                      lambda result, error: done.set())
            call.cancel()
            return None if done.wait(10) else "a cancelled call never ended"
        return own_rows(client, choose, images, expected)

    assert run_clients(int8_server, digits[0], answers, 16, 40, work) == []
    assert own_rows(int8_server.client(), random.Random(1), digits[0], answers) is None


def test_a_bad_request_never_touches_a_good_one(int8_server, digits, answers):
    def work(client, choose, images, expected):
        if choose.random() < 0.5:
            bad = grpc.InferInput("image", [1, 1, 8, 7], "FP32")
            bad.set_data_from_numpy(np.zeros((1, 1, 8, 7), np.float32))
            with pytest.raises(grpc.InferenceServerException) as refused:
                client.infer("digits", [bad])
            return None if "INVALID_ARGUMENT" in str(refused.value.status()) else str(refused.value)
        return own_rows(client, choose, images, expected)

    assert run_clients(int8_server, digits[0], answers, 8, 40, work) == []
    assert int8_server.metric("octet_inference_requests_total", model="digits",
                              code="INVALID_ARGUMENT") > 0


def test_draining_loses_no_accepted_request(tmp_path, digits):
    with serve(tmp_path, f"model_repository: {ROOT}/examples/models\n"
                         "quantization: {mode: int8}") as server:
        answered, refused, problems = [0], [0], []
        stop = threading.Event()

        def client_loop(seed: int) -> None:
            client = server.client()
            while not stop.is_set():
                try:
                    client.infer("digits", digits_input(digits[0][seed:seed + 2]))
                    answered[0] += 1
                except grpc.InferenceServerException as error:
                    if error.status() != "StatusCode.UNAVAILABLE":
                        problems.append(str(error))
                    refused[0] += 1
                    return

        threads = [threading.Thread(target=client_loop, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        assert server.stop() == 0
        stop.set()
        for thread in threads:
            thread.join()
        assert answered[0] > 0 and refused[0] > 0 and problems == []


def test_overload_is_refused_as_resource_exhausted(tmp_path, digits):
    with serve(tmp_path, f"model_repository: {ROOT}/examples/models\n"
                         "batching: {max_batch_size: 1, max_queue_size: 1}\n"
                         "execution: {streams: 1}") as server:
        codes: list[str] = []

        def flood(seed: int) -> None:
            client = server.client()
            for _ in range(50):
                try:
                    client.infer("digits", digits_input(digits[0][seed:seed + 1]))
                except grpc.InferenceServerException as error:
                    codes.append(error.status())

        threads = [threading.Thread(target=flood, args=(seed,)) for seed in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(codes) == {"StatusCode.RESOURCE_EXHAUSTED"}
        assert server.metric("octet_inference_requests_total", model="digits",
                             code="RESOURCE_EXHAUSTED") == len(codes)
