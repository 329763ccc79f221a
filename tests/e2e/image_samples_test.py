"""Folders of images as calibration and validation data. The reference is Pillow with NumPy, which
models are trained with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import ROOT, serve
from onnx import helper, numpy_helper
from PIL import Image

MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]
SIDE = 32
COUNT = 48


def run(variable: str, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([os.environ[variable], *map(str, arguments)],
                          capture_output=True, text=True, cwd=ROOT)


def picture(random: np.random.Generator) -> Image.Image:
    """Smooth, with its own size, colours and contrast."""
    rows, columns = random.integers(3, 8, 2)
    height, width = random.integers(40, 140, 2)
    coarse = random.integers(0, 256, (rows, columns, 3)) * random.uniform(0.3, 1, 3)
    return Image.fromarray(coarse.astype(np.uint8)).resize((width, height), Image.BICUBIC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Of JPEG and PNG, in colour and in grey, in two folders."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(7)
    for i in range(COUNT):
        image = picture(random)
        if i % 12 == 5:
            image = image.convert("L")
        if i % 12 == 7:
            image = image.convert("P")
        if i % 12 == 10:
            image.putalpha(128)
        name = folder / "ab"[i % 2] / f"{i:02}.{'png' if i % 3 == 1 else 'JPG'}"
        name.parent.mkdir(exist_ok=True)
        if name.suffix == ".JPG":
            image.convert("L" if image.mode == "L" else "RGB").save(name, "JPEG", quality=90)
        else:
            image.save(name)
    return folder


def names(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in (".JPG", ".png"))


def shorter_side(image: Image.Image, side: int) -> Image.Image:
    width, height = image.size
    size = (side, side * height // width) if width < height else (side * width // height, side)
    return image.resize(size, Image.BILINEAR)


def center(image: Image.Image, height: int, width: int) -> Image.Image:
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def imagenet(path: Path) -> np.ndarray:
    """Resize, center crop, scale, normalize, as torchvision's classification models want it."""
    image = center(shorter_side(Image.open(path).convert("RGB"), 40), SIDE, SIDE)
    values = np.asarray(image, np.float32) / np.float32(255)
    return ((values - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)


IMAGENET = f"{{resize: 40, mean: {MEAN}, std: {STD}}}"  # cropped to what the model reads


def save(path: Path, nodes: list, weights: dict[str, np.ndarray], input_shape: list,
         output_shape: list) -> Path:
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Path:
    """Convolutions with random weights: what they say depends on colours and on where they are."""
    random = np.random.default_rng(3)
    weights = {
        "w1": random.normal(0, 0.3, (16, 3, 3, 3)).astype(np.float32),
        "w2": random.normal(0, 0.12, (32, 16, 3, 3)).astype(np.float32),
        "w3": random.normal(0, 0.05, (32 * 64, 10)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w1"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("MatMul", ["e", "w3"], ["y"]),
    ]
    return save(tmp_path_factory.mktemp("model") / "model.onnx", nodes, weights,
                ["n", 3, SIDE, SIDE], ["n", 10])


@pytest.fixture(scope="module")
def arrays(folder) -> np.ndarray:
    return np.stack([imagenet(path) for path in names(folder)])


@pytest.fixture(scope="module")
def labels(classifier, arrays) -> np.ndarray:
    """What ONNX Runtime says of what Pillow made."""
    return onnxruntime.InferenceSession(classifier).run(None, {"image": arrays})[0].argmax(1)


def quantized(folder: Path, model: Path, quantization: str) -> dict:
    """The report of `octet quantize` with these settings, as JSON."""
    folder.mkdir()
    config = folder / "quantize.yaml"
    config.write_text(f"quantization: {{mode: int8, cache: {{read: false, write: false}}, "
                      f"{quantization}}}\n")
    made = run("OCTET_BINARY", "quantize", model, "--config", config, "--report", folder)
    assert made.returncode == 0, made.stderr
    return json.loads(next(folder.rglob("report.json")).read_text())


def pixels(tmp_path: Path, samples: Path, channels: int, *arguments: object) -> np.ndarray:
    """What a model is given for each image, by a model that turns its sign."""
    model = save(tmp_path / "negative.onnx", [helper.make_node("Neg", ["image"], ["y"])], {},
                 ["n", channels, "h", "w"], ["n", channels, "h", "w"])
    made = run("OCTET_RUN_MODEL", model, samples, tmp_path, *arguments)
    assert made.returncode == 0, made.stderr
    return -np.fromfile(tmp_path / "1_0.bin", np.float32)


@pytest.mark.parametrize("size", [(24, 37), (SIDE, SIDE), (200, 90)], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "BGR", "L"])
def test_pixels_are_those_of_pillow(tmp_path, folder, size, mode):
    color = {"RGB": [], "BGR": ["--bgr"], "L": ["--gray"]}[mode]
    channels = 1 if mode == "L" else 3
    found = pixels(tmp_path, folder, channels, "--mean", 0, "--std", 1,
                   "--resize", f"{size[0]}x{size[1]}", *color)
    expected = []
    for path in names(folder):
        image = Image.open(path).convert("L" if mode == "L" else "RGB")
        image = np.asarray(image.resize(size[::-1], Image.BILINEAR)).reshape(*size, channels)
        expected.append((image[..., ::-1] if mode == "BGR" else image).transpose(2, 0, 1))
    expected = np.stack(expected) / np.float32(255)
    difference = np.abs(found.reshape(expected.shape) - expected) * 255
    # Pillow resizes columns first where that is faster, which rounds other values in between.
    assert difference.max() <= 1.001 and difference.mean() < 0.2


def test_the_usual_pipeline(tmp_path, folder, arrays):
    found = pixels(tmp_path, folder, 3, "--resize", 40, "--crop", f"{SIDE}x{SIDE}",
                   "--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD)))
    difference = np.abs(found.reshape(arrays.shape) - arrays)
    assert difference.max() <= 1.001 / 255 / min(STD)


def test_a_folder_calibrates_as_arrays_do(tmp_path, folder, classifier, arrays):
    np.savez(tmp_path / "samples.npz", image=arrays)
    images = quantized(tmp_path / "a", classifier, f"calibration: {{source: dataset, samples: "
                       f"{COUNT}, path: {folder}, preprocessing: {IMAGENET}}}")
    same = quantized(tmp_path / "b", classifier, f"calibration: {{source: dataset, samples: "
                     f"{COUNT}, path: {tmp_path}/samples.npz}}")
    assert images["calibration"]["samples"] == same["calibration"]["samples"] > 0
    assert images["calibration"]["source"] == str(folder)
    # Pixels may be one level apart, which other tests hold: at 40 dB that is the noise's own size.
    assert images["accuracy"]["sqnr"] == pytest.approx(same["accuracy"]["sqnr"], abs=2)


def test_labels(tmp_path, folder, classifier, labels):
    """The labels are the model's own decisions on what Pillow made of the images: float32 is right
    about all of them only if it is given the same pixels."""
    validation = tmp_path / "validation"
    shutil.copytree(folder / "b", validation / "b")  # others than those that calibrate
    lines = [f"{path.relative_to(folder)} {label}" for path, label in zip(names(folder), labels)]
    (validation / "labels.txt").write_text("\n".join(reversed(lines)) + "\n")
    accuracy = {}
    for color in ("rgb", "bgr"):
        accuracy[color] = quantized(
            tmp_path / color, classifier,
            f"accuracy: {{metric: top1, validation: {validation}, on_fail: warn}}, calibration: "
            f"{{source: dataset, path: {folder}/a, preprocessing: {IMAGENET[:-1]}, "
            f"color: {color}}}}}")["accuracy"]
    assert accuracy["rgb"]["samples"] == COUNT / 2
    assert accuracy["rgb"]["top1_float32"] == 1
    assert accuracy["rgb"]["top1"] >= 0.9
    assert accuracy["bgr"]["top1_float32"] < 0.9, "colours do not matter to this model"


def test_other_pixels_are_another_network(tmp_path, folder, classifier):
    """What was kept is taken over, until the preprocessing is another one."""
    repository = tmp_path / "models"
    (repository / "m" / "1").mkdir(parents=True)
    shutil.copy(classifier, repository / "m" / "1" / "model.onnx")

    def starts_warm(std: list[float]) -> bool:
        yaml = (f"model_repository: {repository}\nquantization: {{mode: int8, calibration: "
                f"{{source: dataset, path: {folder}, preprocessing: "
                f"{{resize: 40, mean: {MEAN}, std: {std}}}}}}}\n")
        with serve(tmp_path, yaml) as server:
            return server.metric("octet_model_warm_start", model="m") == 1

    assert not starts_warm(STD)
    assert starts_warm(STD)
    assert not starts_warm([0.229, 0.224, 0.226])


def test_what_is_missing_is_said(tmp_path, folder, classifier):
    config = tmp_path / "quantize.yaml"
    config.write_text("quantization: {mode: int8, cache: {read: false, write: false}}\n")
    made = run("OCTET_BINARY", "quantize", classifier, "--config", config,
               "--calibration", folder)
    assert made.returncode == 1
    assert "set quantization.calibration.preprocessing, with mean and std" in made.stderr
