"""octet bench --target: what it prints of a real server, and of one that is not there."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest


def bench(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([os.environ["OCTET_BINARY"], "bench", *arguments],
                          capture_output=True, text=True, timeout=120)


@pytest.fixture
def closed_port() -> int:
    """A port that nobody listens on: bound, and thereby kept, but not listened to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_measures_each_count_of_clients(int8_server):
    done = bench("--target", int8_server.grpc_address, "--model", "digits", "--rows", "2",
                 "--clients", "1,4", "--duration", "0.5")
    assert done.returncode == 0, done.stderr
    header, rows = done.stdout.splitlines()[1], done.stdout.splitlines()[2:]
    assert header.split() == ("clients req/s rows/s p50 ms p90 ms p99 ms mean batch "
                              "errors").split()
    assert [row.split()[0] for row in rows] == ["1", "4"]
    sent = 0.0
    for row in rows:
        requests, inputs, p50, p90, p99, batch, errors = (float(cell) for cell in row.split()[1:])
        assert inputs == pytest.approx(2 * requests, rel=1e-3)
        assert 0 < p50 <= p90 <= p99
        assert 2 <= batch <= 8
        assert errors == 0
        sent += requests * 0.5
    assert int8_server.metric("octet_inference_requests_total", model="digits",
                              code="OK") >= 0.9 * sent


def test_says_what_is_missing(int8_server, closed_port):
    unknown = bench("--target", int8_server.grpc_address, "--model", "absent")
    assert unknown.returncode == 1
    assert "absent" in unknown.stderr
    closed = bench("--target", f"127.0.0.1:{closed_port}", "--model", "digits")
    assert closed.returncode == 1
    assert f"octet: 127.0.0.1:{closed_port}: " in closed.stderr
