"""Calibration that is kept without its samples: .qcal files."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, digits_input, serve

DIGITS = ROOT / "examples" / "models" / "digits"
MODEL = DIGITS / "1" / "model.onnx"


def octet(*arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run([os.environ["OCTET_BINARY"], *map(str, arguments)],
                          capture_output=True, text=True, cwd=ROOT)


@pytest.fixture
def samples(tmp_path) -> list[Path]:
    """The calibration images of the example, in two halves."""
    image = np.load(next(DIGITS.rglob("calibration/*.npz")))["image"]
    halves = [tmp_path / "first.npz", tmp_path / "second.npz"]
    for half, rows in zip(halves, np.array_split(image, 2)):
        np.savez(half, image=rows)
    return halves


def quantize(folder: Path, model: Path, calibration: Path,
             *more: str | Path) -> subprocess.CompletedProcess:
    config = folder / "quantize.yaml"
    config.write_text("quantization: {mode: int8, cache: {read: false, write: false}}\n")
    return octet("quantize", model, "--config", config, "--calibration", calibration, *more)


def save(samples: Path, to: Path) -> None:
    made = quantize(to.parent, MODEL, samples, "--save-calibration", to)
    assert made.returncode == 0, made.stderr
    assert f"wrote {to}" in made.stderr


def test_a_server_without_samples_is_as_good(tmp_path, samples, digits):
    statistics = tmp_path / "statistics"
    statistics.mkdir()
    for number, half in enumerate(samples):
        save(half, statistics / f"{number}.qcal")
    repository = tmp_path / "models"
    (repository / "digits" / "1").mkdir(parents=True)
    shutil.copy(MODEL, repository / "digits" / "1")
    image, label = digits
    validation = tmp_path / "validation.npz"
    np.savez(validation, image=image[:64], labels=label[:64])
    yaml = (f"model_repository: {repository}\nquantization:\n  mode: int8\n"
            f"  accuracy: {{validation: {validation}}}\n"
            f"  calibration: {{source: file, path: {statistics}, save: {tmp_path}/all.qcal}}\n")
    with serve(tmp_path, yaml) as server:
        count = sum(len(np.load(half)["image"]) for half in samples)
        assert server.property("digits", "calibration") == f"static, {count} samples"
        assert server.property("digits", "accuracy_verdict") == "met"
        answers = server.client().infer("digits", digits_input(image[64:96])).as_numpy("logits")
        assert (answers.argmax(1) == label[64:96]).mean() >= 0.95
    # What was merged for the load was kept as one file, and is as good.
    made = quantize(tmp_path, MODEL, tmp_path / "all.qcal")
    assert made.returncode == 0, made.stderr
    assert f"{count} samples from {tmp_path}/all.qcal" in made.stdout
    assert "unverified" in made.stdout and "left out are" in made.stdout + made.stderr


def test_damaged_and_foreign_files_are_refused(tmp_path, samples):
    kept = tmp_path / "model.qcal"
    save(samples[0], kept)
    content = kept.read_bytes()
    kept.write_bytes(content[:-100])
    damaged = quantize(tmp_path, MODEL, kept)
    assert damaged.returncode == 1
    assert "Q009" in damaged.stderr and "it ends too early" in damaged.stderr
    kept.write_bytes(content)
    foreign = tmp_path / "foreign.onnx"
    weights = bytearray(MODEL.read_bytes())
    weights[len(weights) // 2] ^= 1
    foreign.write_bytes(weights)
    refused = quantize(tmp_path, foreign, kept)
    assert refused.returncode == 1
    assert "Q009" in refused.stderr and "statistics of another network" in refused.stderr
    config = tmp_path / "octet.yaml"
    config.write_text("quantization: {mode: int8, calibration: {source: file}}\n")
    checked = octet("config", "check", config)
    assert checked.returncode == 2 and "Q009" in checked.stdout + checked.stderr
