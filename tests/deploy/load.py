"""Keeps asking the model `digits`, and says what became of it when SIGTERM ends it.

    load.py ADDRESS [--clients N] [--pause SECONDS] [--plain]

ADDRESS is gRPC's, `dns:///octet-headless:8001` for example. Prints `started` when every client has
had an answer, and in the end how many requests were answered, how many failed, and the longest time
that one took; exits with 1 if one failed. Clients balance and retry as docs/kubernetes.md tells them
to; those of --plain do neither.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time

import numpy as np
import tritonclient.grpc as triton

# What docs/kubernetes.md tells clients of the headless service.
SERVICE_CONFIG = """{
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [{
    "name": [{"service": "inference.GRPCInferenceService"}],
    "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.2s", "maxBackoff": "2s",
                    "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}"""

LONGEST = 30  # seconds; a request without an answer is a failed one


class Load:
    """Clients, each with a connection of its own and one request at a time."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.stop = threading.Event()
        self.times: list[float] = []
        self.failures: list[Exception] = []
        self.started = threading.Semaphore(0)

    def client(self) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        if not self.arguments.plain:
            options.append(("grpc.service_config", SERVICE_CONFIG))
        connection = triton.InferenceServerClient(self.arguments.address, channel_args=options)
        image = triton.InferInput("image", [1, 1, 8, 8], "FP32")
        image.set_data_from_numpy(np.zeros((1, 1, 8, 8), np.float32))
        first = True
        while not self.stop.is_set():
            begin = time.monotonic()
            try:
                connection.infer("digits", [image], client_timeout=LONGEST)
                self.times.append(time.monotonic() - begin)
                if first:
                    first = False
                    self.started.release()
            except Exception as error:  # any failure is what is looked for
                self.failures.append(error)
                self.stop.wait(0.05)
            self.stop.wait(self.arguments.pause)

    def run(self) -> int:
        signal.signal(signal.SIGTERM, lambda *_: self.stop.set())
        threads = [threading.Thread(target=self.client) for _ in range(self.arguments.clients)]
        for thread in threads:
            thread.start()
        waiting = len(threads)
        while not self.stop.is_set():  # in short waits: between them signals are handled
            if waiting and self.started.acquire(timeout=0.2):
                waiting -= 1
                if not waiting:
                    print("started", flush=True)
            elif not waiting:
                self.stop.wait(0.2)
        for thread in threads:
            thread.join()
        print(f"{len(self.times)} requests answered, {len(self.failures)} failed, "
              f"the longest took {max(self.times, default=0) * 1000:.0f} ms", flush=True)
        for failure in self.failures[:5]:
            print(failure, file=sys.stderr)
        return 1 if self.failures or not self.times else 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--pause", type=float, default=0.005)
    parser.add_argument("--plain", action="store_true")
    return Load(parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())
