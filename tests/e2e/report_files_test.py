"""quantization.report: a server writes what quantization has done, whenever it quantizes."""

from __future__ import annotations

import json

from conftest import ROOT, serve


def yaml_of(report: str, cache: str = "{read: false, write: false}") -> str:
    return (f"model_repository: {ROOT}/examples/models\n"
            f"quantization: {{mode: int8, report: {report}, cache: {cache}}}\n")


def test_the_report_lies_where_the_configuration_says(tmp_path):
    with serve(tmp_path, yaml_of(f"{{path: {tmp_path}/reports, histograms: true}}")) as server:
        served = server.property("digits", "output_sqnr_db")
    folder = tmp_path / "reports" / "digits" / "1"
    report = json.loads((folder / "report.json").read_text())
    layers = report["layers"]
    assert len(layers) > 2 and all(layer["kernel"] for layer in layers)
    assert all(layer["activations"]["observed_max"] > 0 for layer in layers), "histograms"
    assert report["model"]["path"].endswith("digits/1/model.onnx")
    assert "quantize weights" in [stage["stage"] for stage in report["summary"]["stages"]]
    assert layers[0]["name"] in (folder / "report.txt").read_text()
    assert "<html" in (folder / "report.html").read_text()
    if served:
        assert abs(float(served) - report["summary"]["output_sqnr_db"]) < 0.1


def test_a_report_that_cannot_be_written_is_no_reason_not_to_serve(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with serve(tmp_path, yaml_of(f"{{path: {tmp_path}/file}}")) as server:
        assert server.get("/healthz/ready")[0] == 200
    assert "quantization.report: the report cannot be written" in (
        tmp_path / "server.log").read_text()


def test_a_start_from_a_pack_has_a_report_too(tmp_path):
    cache = f"{{dir: {tmp_path}/packs}}"
    for start in ("cold", "warm"):
        (tmp_path / start).mkdir()
        with serve(tmp_path / start, yaml_of(f"{{path: {tmp_path}/{start}}}", cache)):
            pass
    cold, warm = (json.loads((tmp_path / start / "digits" / "1" / "report.json").read_text())
                  for start in ("cold", "warm"))
    assert [layer["decision"] for layer in cold["layers"]] == [
        layer["decision"] for layer in warm["layers"]]
    assert "histogram" not in warm["layers"][0].get("activations", {})
