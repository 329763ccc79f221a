"""Breaks a running server in several ways, and sees the alerts fire and resolve.

  build/venv/bin/python -m tests.observability.drill

A real server, a real Prometheus with the rules of deploy/prometheus, in which minutes are seconds.
Prints how long each alert took; fails if one does not fire, does not resolve, or fires unasked.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.conftest import Server, serve
from tests.observability import stack, traffic

SECONDS = 120  # longest that an alert may take to fire or to resolve
QUEUE = 4


@dataclass
class Drill:
    """A server whose ports stay the same when it is started again."""

    folder: Path
    config: Path
    server: Server
    running: AbstractContextManager[Server]

    @staticmethod
    def begin(folder: Path) -> Drill:
        config = folder / "octet.yaml"
        config.write_text(traffic.configuration(traffic.repository(folder), queue=QUEUE))
        running = serve(folder, None, file=config)
        server = running.__enter__()
        addresses = (server.grpc_address, server.http_address)
        ports = [address.rpartition(":")[2] for address in addresses]
        config.write_text(config.read_text().replace("grpc_port: 0", f"grpc_port: {ports[0]}")
                          .replace("http_port: 0", f"http_port: {ports[1]}"))
        return Drill(folder, config, server, running)

    def start_again(self) -> None:
        self.end()
        self.running = serve(self.folder, None, file=self.config)
        self.server = self.running.__enter__()

    def end(self) -> None:
        self.running.__exit__(None, None, None)

    # --- What is broken, for as long as the context lasts ---

    @contextmanager
    def kill(self) -> Iterator[None]:
        self.server.process.kill()
        self.server.process.wait()
        yield
        self.start_again()

    @contextmanager
    def overload(self) -> Iterator[None]:
        command = [os.environ["OCTET_BINARY"], "bench", "--target", self.server.grpc_address,
                   "--model", "topics", "--clients", "64", "--duration",
                   str(2 * SECONDS)]  # fmt: skip
        bench = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        yield
        bench.terminate()
        bench.wait()

    @contextmanager
    def drift(self) -> Iterator[None]:
        # With pauses: comparing has the lowest priority.
        with traffic.Load(self.server, clients=2, models=("digits",), pause=0.02) as load:
            load.scale = 30.0
            yield
            load.scale = 1.0
            self.server.client().load_model("digits")  # forgets the requests compared before
            stack.await_true(lambda: self.drift_of("digits") < 6, lambda: self.drift_of("digits"))

    def drift_of(self, model: str) -> float:
        compared = f'octet_model_shadow_output_sqnr_db{{model="{model}"'
        if compared not in self.server.get("/metrics")[1]:
            return math.inf
        return (self.server.metric("octet_model_output_sqnr_db", model=model)
                - self.server.metric("octet_model_shadow_output_sqnr_db", model=model))

    @contextmanager
    def broken_file(self) -> Iterator[None]:
        with self.changed(r"models: \[", "models: [{nmae: digits}, "):
            yield

    @contextmanager
    def missed_target(self) -> Iterator[None]:
        with self.changed(r"name: digits, quantization: \{mode: int8",
                          "name: digits, quantization: {mode: int8, "
                          "accuracy: {target: 90, on_fail: warn}"):
            yield

    @contextmanager
    def changed(self, pattern: str, by: str) -> Iterator[None]:
        before = self.config.read_text()
        after = re.sub(pattern, by, before, count=1)
        assert after != before
        self.config.write_text(after)
        yield
        self.config.write_text(before)


@dataclass
class Part:
    name: str
    alerts: set[str]
    broken: Callable[[Drill], AbstractContextManager[None]]


PARTS = (
    Part("the process is killed", {"OctetDown", "OctetNoReadyServer"}, Drill.kill),
    Part("more requests than fit", {"OctetQueueSaturated", "OctetErrorRatioHigh"}, Drill.overload),
    Part("requests unlike the calibration data", {"OctetAccuracyDrift", "OctetClipDrift"},
         Drill.drift),
    Part("a configuration with a mistake", {"OctetReloadFailed"}, Drill.broken_file),
    Part("an accuracy target that is missed", {"OctetQuantizationFellBack"}, Drill.missed_target),
)


def wait_for(prometheus: stack.Prometheus, names: set[str], firing: bool,
             since: float) -> dict[str, float]:
    """Seconds since then until each of `names` fires, or no longer does."""
    took: dict[str, float] = {}

    def all_done() -> bool:
        now = prometheus.firing()
        for name in names - took.keys():
            if (name in now) == firing:
                took[name] = time.monotonic() - since
        return took.keys() == names

    stack.await_true(all_done, lambda: f"{names}, but {prometheus.firing()} fire", SECONDS)
    return took


def run(part: Part, drill: Drill, prometheus: stack.Prometheus, usual: set[str]) -> None:
    wait_for(prometheus, part.alerts, False, time.monotonic())
    with ExitStack() as broken:
        since = time.monotonic()
        broken.enter_context(part.broken(drill))
        fired = wait_for(prometheus, part.alerts, True, since)
        unasked = prometheus.firing() - part.alerts - usual
        since = time.monotonic()
    resolved = wait_for(prometheus, part.alerts, False, since)
    for name in sorted(part.alerts):
        print(f"{part.name:<38} {name:<26} fires after {fired[name]:5.1f} s, "
              f"resolves after {resolved[name]:5.1f} s", flush=True)
    assert not unasked, f"{part.name}: {unasked} fire, too"


def main() -> int:
    if not stack.HAS_PROMETHEUS:
        print(f"drill: no prometheus: {stack.NEEDS}", file=sys.stderr)
        return 1
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        drill = Drill.begin(Path(temporary))
        try:
            target = drill.server.http_address.removeprefix("http://")
            with stack.prometheus(Path(temporary) / "prometheus", [target]) as prometheus:
                stack.await_true(lambda: prometheus.series("octet_ready == 1"), prometheus.firing)
                for part in PARTS:
                    run(part, drill, prometheus, {"OctetAccuracyUnverified"})
        finally:
            drill.end()
    print(f"drill: {len(PARTS)} ways to break it, in {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
