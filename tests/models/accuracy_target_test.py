"""What a network does when a higher accuracy than the default is asked for, whatever that costs."""

from __future__ import annotations

from tests.models.octet_accuracy_test import judged


def test_recognizer_reads_nearly_all_lines_alike() -> None:
    lines = judged("ppocr_recognizer", options=("--sqnr", "34"))
    assert lines.int8["samples"] == 100
    assert lines.result.output_sqnr_db >= 34
    assert lines.int8["lines_unchanged"] >= 95
    assert lines.result.int8_mac_share >= 0.2  # not float32 altogether
