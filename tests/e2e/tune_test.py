"""octet tune and octet quantize --compare-algorithms on the digits example."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "models" / "digits" / "1" / "model.onnx"
ALGORITHMS = ("decision_tree", "entropy", "histogram_equalization", "least_squares", "min_max",
              "percentile")  # fmt: skip
ROW = re.compile(r" *([\d.]+) +(\d+) +([\d.]+) dB  .*")


def octet(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([os.environ["OCTET_BINARY"], *map(str, arguments)], capture_output=True,
                          text=True, cwd=ROOT, timeout=300)  # fmt: skip


def points(text: str) -> list[tuple[float, int, float]]:
    return [(float(row[1]), int(row[2]), float(row[3])) for row in map(ROW.fullmatch,
            text.splitlines()) if row]  # fmt: skip


@pytest.fixture(scope="module")
def tuned(tmp_path_factory) -> tuple[str, Path]:
    file = tmp_path_factory.mktemp("tune") / "tuned.yaml"
    done = octet("tune", DIGITS, "--seconds", 20, "--objective", "bytes", "--output", file)
    assert done.returncode == 0, done.stderr
    return done.stdout, file


def test_the_front_has_no_point_that_another_beats(tuned):
    front = points(tuned[0].split("chosen:")[0])
    assert len(front) >= 2  # float32 is the most accurate, int8 smaller
    # Milliseconds are printed in few digits: where they look equal, either may be the faster.
    for a in front:
        for b in front:
            # Printed alike is not alike: 39.66 dB and 39.74 are both 39.7.
            assert not (a[0] < b[0] and a[1] <= b[1] and a[2] > b[2]), (a, b)
    assert int(tuned[0].split(" ", 1)[0]) > 10  # configurations


def test_the_smallest_that_holds_the_target_is_chosen(tuned):
    head, tail = tuned[0].split("chosen:")
    (chosen,) = points(tail)
    assert chosen[2] >= 20
    assert chosen[1] == min(size for _, size, sqnr in points(head) if sqnr >= 20)


def test_the_chosen_configuration_does_what_was_measured(tuned, tmp_path):
    _, file = tuned
    assert octet("config", "check", file).returncode == 0
    done = octet("quantize", DIGITS, "--config", file, "--report", tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    (chosen,) = points(tuned[0].split("chosen:")[1])
    assert report["memory"]["packed_weight_bytes"] == chosen[1]
    # What is written is what is read again.
    settings = report["configuration"].splitlines()
    assert settings == [line for line in file.read_text().splitlines() if line[0] != "#"]


def test_tuning_needs_samples(tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(DIGITS.read_bytes())
    done = octet("tune", model, "--seconds", 1)
    assert done.returncode == 1 and "there is no sample" in done.stderr
    assert octet("tune", model, "--objective", "beauty").returncode == 2


def test_every_algorithm_is_compared():
    done = octet("quantize", DIGITS, "--compare-algorithms")
    assert done.returncode == 0, done.stderr
    table = done.stdout[done.stdout.index("algorithm  "):]
    rows = {line.split()[0]: line for line in table.splitlines()[1:]}
    assert set(ALGORITHMS) <= set(rows)
    figures = {name: list(map(float, re.findall(r"-?\d+\.\d", rows[name]))) for name in ALGORITHMS}
    for name in ALGORITHMS:
        tensor, _, channel, _, activations, _, output = figures[name]
        assert tensor <= channel + 0.05
        # Least squares is no worse than any other, and the output was measured.
        for i in (0, 2, 4):
            assert figures[name][i] <= figures["least_squares"][i] + 0.05
        assert 10 < output < 60
    assert len([row for row in rows.values() if row.endswith("chosen")]) == 1
