"""The second start of a model: decided by the first, bit for bit the same, and shorter."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, digits_input, serve

DIGITS = ROOT / "examples" / "models" / "digits"


@pytest.fixture
def repository(tmp_path) -> Path:
    shutil.copytree(DIGITS, tmp_path / "models" / "digits",
                    ignore=shutil.ignore_patterns("*.qpack"))
    return tmp_path / "models"


def yaml_of(repository: Path, more: str = "") -> str:
    return f"model_repository: {repository}\nquantization: {{mode: int8{more}}}\n"


def packs(repository: Path) -> list[Path]:
    return sorted(repository.rglob("*.qpack"))


class Start:
    """What one start of a server did, and what it answers."""

    def __init__(self, folder: Path, yaml: str, images: np.ndarray):
        with serve(folder, yaml) as server:
            self.answers = server.client().infer("digits", digits_input(images)).as_numpy("logits")
            self.seconds = server.metric("octet_model_quantization_seconds", model="digits")
            metrics = server.get("/metrics")[1]
            self.warm = None
            if "octet_model_warm_start{" in metrics:
                self.warm = server.metric("octet_model_warm_start", model="digits") == 1
            self.metadata = server.client().get_model_metadata("digits").SerializeToString()
        self.log = (folder / "server.log").read_text()


@pytest.fixture
def images(digits) -> np.ndarray:
    return digits[0][:32]


def test_the_second_start_is_warm_and_answers_the_same(tmp_path, repository, images):
    cold = Start(tmp_path, yaml_of(repository), images)
    assert cold.warm is False and "cold: " in cold.log
    (pack,) = packs(repository)
    warm = Start(tmp_path, yaml_of(repository), images)
    assert warm.warm is True
    assert f"warm: {pack}" in warm.log and b"warm: " in warm.metadata
    assert np.array_equal(warm.answers, cold.answers)
    assert warm.seconds < cold.seconds / 2  # a tenth, on a machine that has nothing else to do
    for stage in ("calibrate", "choose ranges", "search precisions", "quantize weights"):
        assert f"loading: {stage}" not in warm.log


def test_what_is_different_is_told(tmp_path, repository, images):
    Start(tmp_path, yaml_of(repository), images)
    other = Start(tmp_path, yaml_of(repository, ", weights: {granularity: per_tensor}"), images)
    assert other.warm is False and "the configuration is another" in other.log
    samples = next((repository / "digits").rglob("calibration/*"))
    arrays = dict(np.load(samples))
    arrays["image"] = arrays["image"][::-1]
    np.savez(samples, **arrays)
    data = Start(tmp_path, yaml_of(repository, ", weights: {granularity: per_tensor}"), images)
    assert data.warm is False and "the calibration data is another" in data.log


def test_another_instruction_set_starts_cold(tmp_path, repository, images, monkeypatch):
    Start(tmp_path, yaml_of(repository), images)
    (pack,) = packs(repository)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    small = Start(tmp_path, yaml_of(repository), images)
    if len(packs(repository)) == 1:
        pytest.skip("the processor has no more than AVX2")
    assert small.warm is False
    # Nor from the other processor's file, under the name that this one looks for.
    (own,) = set(packs(repository)) - {pack}
    shutil.copy(pack, own)
    foreign = Start(tmp_path, yaml_of(repository), images)
    assert foreign.warm is False and "the processor is avx2" in foreign.log
    assert np.array_equal(foreign.answers, small.answers)


@pytest.mark.parametrize("damage", ["cut", "garbled", "text"])
def test_a_damaged_file_is_told_and_ignored(tmp_path, repository, images, damage):
    cold = Start(tmp_path, yaml_of(repository), images)
    (pack,) = packs(repository)
    content = bytearray(pack.read_bytes())
    if damage == "cut":
        del content[len(content) // 2:]
    elif damage == "garbled":
        content[len(content) // 2] ^= 0x10
    else:
        content = bytearray(b"quantized: yes\n")
    pack.write_bytes(content)
    again = Start(tmp_path, yaml_of(repository), images)
    assert again.warm is False
    assert "quantization.cache: " in again.log and "quantized anew" in again.log
    assert np.array_equal(again.answers, cold.answers)
    assert Start(tmp_path, yaml_of(repository), images).warm is True


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to_is_no_error(tmp_path, repository, images):
    folder = repository / "digits" / "1"
    folder.chmod(0o555)
    try:
        start = Start(tmp_path, yaml_of(repository), images)
        assert start.warm is False and "not kept: " in start.log
        assert packs(repository) == []
    finally:
        folder.chmod(0o755)


def test_one_folder_for_all_models(tmp_path, repository, images):
    shutil.copytree(repository / "digits", repository / "figures")
    cache = tmp_path / "cache"
    yaml = yaml_of(repository, f", cache: {{dir: {cache}}}")
    Start(tmp_path, yaml, images)
    assert packs(repository) == [] and len(packs(cache)) == 2
    assert Start(tmp_path, yaml, images).warm is True


def test_switched_off_nothing_is_kept(tmp_path, repository, images):
    start = Start(tmp_path, yaml_of(repository, ", cache: {read: false, write: false}"), images)
    assert start.warm is None and packs(repository) == []


def test_the_command_prepares_a_servers_start(tmp_path, repository, images):
    model = repository / "digits" / "1" / "model.onnx"
    config = tmp_path / "octet.yaml"
    config.write_text(yaml_of(repository))
    subprocess.run([os.environ["OCTET_BINARY"], "quantize", str(model), "--config", str(config)],
                   check=True, capture_output=True)
    assert len(packs(repository)) == 1
    assert Start(tmp_path, yaml_of(repository), images).warm is True
    out = tmp_path / "prepared.qpack"
    subprocess.run([os.environ["OCTET_BINARY"], "quantize", str(model), "--config", str(config),
                    "--output", str(out)], check=True, capture_output=True)
    assert out.stat().st_size == packs(repository)[0].stat().st_size
