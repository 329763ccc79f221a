"""How accurate Octet's int8 is, beside the defaults of ONNX Runtime and NNCF on the same data.

    python -m tests.models.compare_accuracy [--models digits minilm] [--json FILE]

Every form is calibrated on the calibration samples and judged on the evaluation samples, against
the float32 outputs of ONNX Runtime. Prints one row per model and form. The packages of
tests/requirements-bench.txt and the built run_model (tests/models/octet.py) are needed, and
OCTET_ZOO for all models but digits.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np

from tests.models import build, inputs, octet, peers, score, zoo

MODELS = ("digits", "efficientnet_lite0", "ppocr_recognizer", "ppocr_detector",
          "ppocr_classifier", "minilm")  # fmt: skip
BATCH = 8


def octet_form(name: str, mode: str, dataset: inputs.Dataset, reference: np.ndarray
               ) -> peers.Result:  # fmt: skip
    calibration = dataset.calibration if mode == "int8" else None
    try:
        done = octet.run(build.path(name), dataset.evaluation, mode, calibration, (BATCH,))
    except RuntimeError as error:
        return peers.Result(name, f"octet-{mode}", "", {}, str(error).splitlines()[-1])
    scores = score.score(name, dataset, reference, done.outputs[BATCH][0])
    own = {"int8_mac_share": done.int8_mac_share, "weight_ratio": done.weight_ratio}
    return peers.Result(name, f"octet-{mode}", "", scores | own)


def compare(name: str) -> Iterator[peers.Result]:
    dataset = inputs.dataset(name)
    reference = peers.run_onnxruntime(build.path(name), dataset.evaluation)
    version = f"onnxruntime {metadata.version('onnxruntime')}"
    figures = score.score(name, dataset, reference, reference)
    yield peers.Result(name, "float32", version, figures)
    for mode in ("int8", "dynamic"):
        yield octet_form(name, mode, dataset, reference)
    for peer in peers.PEERS:
        if peers.applies(peer, name):
            yield peers.evaluate(peer, name, dataset, reference)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS, metavar="NAME")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()

    results: list[peers.Result] = []
    print("| model | form | versions | figures |\n|---|---|---|---|")
    for name in arguments.models:
        begin = time.monotonic()
        try:
            for result in compare(name):
                results.append(result)
                print(peers.row(result), flush=True)
        except zoo.ZooMissing as error:
            print(f"| {name} | skipped | | {error} |", flush=True)
            continue
        print(f"| {name} | | | took {time.monotonic() - begin:.0f} s |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([vars(result) for result in results], indent=1))


if __name__ == "__main__":
    main()
