"""report.html in a real browser: what it shows is what report.json says.

OCTET_SCREENSHOTS names a folder in which the screenshots stay.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.e2e import browser

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "models" / "digits" / "1" / "model.onnx"
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\">\u2028<!--&amp;{{report}}"

pytestmark = pytest.mark.skipif(
    browser.program() is None, reason="no browser: `scripts/setup.sh --check` installs chromium"
)


def quantize(model: Path, folder: Path, yaml: str) -> dict:
    config = folder / "octet.yaml"
    config.write_text(yaml)
    done = subprocess.run(
        [os.environ["OCTET_BINARY"], "quantize", str(model), "--config", str(config),
         "--report", str(folder), "--compare-algorithms"], capture_output=True, text=True, cwd=ROOT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "report.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def report(folder) -> dict:
    # A target that some layers must move for.
    return quantize(DIGITS, folder, "quantization: {mode: int8, accuracy: {target: 45}, "
                                    "mixed_precision: {max_float_fraction: 1}}")


@pytest.fixture(scope="module")
def tab(folder, report):
    with browser.page(folder) as page:
        page.open(folder / "report.html")
        yield page


def cells(tab, column: int) -> list[str]:
    return tab.run("[...document.querySelectorAll('#table tbody tr')].map("
                   f"row => row.cells[{column}].textContent.trim())")


def column(tab, key: str) -> int:
    return tab.run("[...document.querySelectorAll('#table thead button')].findIndex("
                   f"button => button.dataset.sort === '{key}')")


def sort_by(tab, key: str) -> None:
    tab.run(f"document.querySelector('[data-sort={key}]').click()")


def test_the_json_is_whole(report):
    assert report["schema"] == "octet-quantization-report/2"
    assert len(report["model"]["sha256"]) == 64 and report["model"]["opset"] >= 7
    assert report["summary"]["peak_rss_bytes"] > 1 << 20
    assert report["memory"]["naive_bytes"] >= report["memory"]["arena_bytes"] > 0
    assert {"import", "calibrate"} <= {stage["stage"] for stage in report["summary"]["stages"]}
    assert "mode: int8" in report["configuration"]
    assert len(report["algorithms"]) == 7
    assert all("output_sqnr_db" in row for row in report["algorithms"])
    for layer in report["layers"]:
        assert len(layer["weights"]["algorithms"]) == 6
        assert len(layer["activations"]["algorithms"]) == 7  # and the mean over samples
        assert sum(layer["weights"]["histogram"]["counts"]) == np.prod(layer["weight_shape"])
        for part in ("weights", "activations"):
            assert 0 < len(layer[part]["histogram"]["counts"]) <= 128
        counted = layer["activations"]["histogram"]
        assert sum(counted["counts"]) + counted["zeros"] == layer["activations"]["values"]


def test_cards_and_charts(tab, report):
    cards = tab.run("document.getElementById('cards').textContent")
    assert f"{report['summary']['output_sqnr_db']:.1f} dB" in cards
    assert report["accuracy"]["verdict"] in cards
    assert f"{100 * report['summary']['mac_share_int8']:.1f} %" in cards
    measured = [layer for layer in report["layers"]
                if "network_sqnr_if_only_this_quantized_db" in layer]
    assert measured
    for chart, rows in (("sensitivity", min(14, len(measured))),
                        ("choices", len(report["calibration"]["attempts"])),
                        ("stages", len(report["summary"]["stages"]))):
        assert tab.run(f"document.querySelectorAll('#{chart} .row').length") == rows
    assert tab.run("document.querySelectorAll('#waterfall .row').length") >= 3
    assert tab.run("document.getElementById('yaml').textContent") == report["configuration"]
    assert tab.run("document.getElementById('warnings').hidden") == (not report["warnings"])


def test_a_row_for_each_layer(tab, report):
    names = [layer["name"] for layer in report["layers"]]
    assert tab.run("[...document.querySelectorAll('td.name button')].map(b => b.textContent)") \
        == names
    assert cells(tab, column(tab, "decision")) == [layer["decision"] for layer in report["layers"]]


def test_headings_sort(tab, report):
    expected = sorted(layer["weight_sqnr_db"] for layer in report["layers"])
    at = column(tab, "weight_sqnr_db")
    sort_by(tab, "weight_sqnr_db")
    assert cells(tab, at) == [f"{value:.1f} dB" for value in expected]
    sort_by(tab, "weight_sqnr_db")
    assert cells(tab, at) == [f"{value:.1f} dB" for value in reversed(expected)]
    assert tab.run("[...document.querySelectorAll('th[aria-sort=descending]')]"
                   ".map(th => th.textContent)") == ["Weights"]
    sort_by(tab, "index")
    assert cells(tab, 0) == [str(i + 1) for i in range(len(report["layers"]))]


def test_the_filter_leaves_what_matches(tab, report):
    name = report["layers"][-1]["name"]
    typed = "(text => { const box = document.getElementById('filter'); box.value = text;" \
            " box.dispatchEvent(new Event('input')); })"
    tab.run(f"{typed}({json.dumps(name)})")
    shown = sum(name in layer["name"] for layer in report["layers"])
    assert len(cells(tab, 0)) == shown < len(report["layers"])
    assert tab.run("document.getElementById('shown').textContent") \
        == f"{shown} of {len(report['layers'])}"
    tab.run(f"{typed}('')")
    assert len(cells(tab, 0)) == len(report["layers"])


def test_a_layer_shows_its_histograms(tab, report):
    for index, layer in enumerate(report["layers"]):
        tab.run(f"document.querySelector('tr[data-layer=\"{index}\"] button').click()")
        assert tab.run("document.querySelector('#layer h2').textContent") == layer["name"]
        for chart, part in (("activations", "activations"), ("weights", "weights")):
            svg = f"document.querySelector('#layer svg[aria-label=\"Histogram of {chart}\"]')"
            filled = sum(count > 0 for count in layer[part]["histogram"]["counts"])
            assert tab.run(f"{svg}.querySelectorAll('rect.bin, rect.outside').length") == filled
            static = part == "weights" or layer[part].get("timing") == "static"
            assert tab.run(f"{svg}.querySelectorAll('line.clip').length") == (2 if static else 0)
        text = tab.run("document.getElementById('layer').textContent")
        for algorithm in layer["weights"]["algorithms"]:
            assert f"{algorithm['per_channel_sqnr_db']:.1f} dB" in text


def test_it_was_looked_at(tab, folder):
    screenshots = Path(os.environ.get("OCTET_SCREENSHOTS", folder))
    screenshots.mkdir(parents=True, exist_ok=True)
    for name, width, dark in (("light", 1440, False), ("dark", 1440, True), ("phone", 420, False)):
        file = screenshots / f"report-{name}.png"
        tab.open(folder / "report.html", width=width, dark=dark)
        tab.screenshot(file)
        wide, high = struct.unpack(">II", file.read_bytes()[16:24])
        # Nothing sticks out at the side.
        assert wide == width and high > 1000, name
        background = tab.run("getComputedStyle(document.body).backgroundColor")
        brightness = sum(map(int, background.removeprefix("rgb(").removesuffix(")").split(",")))
        assert (brightness < 200) == dark
    assert tab.errors == []


def test_four_bits_are_no_float_and_have_no_one_grid(tmp_path):
    made = quantize(DIGITS, tmp_path, "quantization: {mode: int4, accuracy: {on_fail: warn}, "
                                      "layers: [{match: logits, mode: int4}]}")
    fours = [i for i, layer in enumerate(made["layers"]) if layer["weights"]["bits"] == 4]
    assert fours and len(fours) == made["summary"]["layers_int4"] < len(made["layers"])
    with browser.page(tmp_path) as tab:
        tab.open(tmp_path / "report.html")
        for index, layer in enumerate(made["layers"]):
            row = f"document.querySelector('tr[data-layer=\"{index}\"]')"
            assert tab.run(f"{row}.querySelector('.tag').className") == "tag int8"
            tab.run(f"{row}.querySelector('button').click()")
            svg = "document.querySelector('#layer svg[aria-label=\"Histogram of weights\"]')"
            lines = tab.run(f"{svg}.querySelectorAll('line.clip').length")
            assert lines == (0 if index in fours else 2)
            assert layer["weights"]["format"] in tab.run("document.getElementById('layer').innerText")
        assert tab.errors == []


def test_names_are_text_whatever_is_in_them(tmp_path):
    weights = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name=HOSTILE)], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64])],
        [numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    model = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), model)
    made = quantize(model, tmp_path, "quantization: {mode: int8}")
    assert [layer["name"] for layer in made["layers"]] == [HOSTILE]
    with browser.page(tmp_path) as tab:
        tab.open(tmp_path / "report.html")
        assert tab.run("document.querySelector('td.name button').textContent") == HOSTILE
        assert tab.run("document.querySelectorAll('img').length") == 0
        assert tab.run("document.title") == "Octet quantization report"
        assert tab.errors == []
