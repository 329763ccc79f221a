"""The three networks of PP-OCRv4 as RapidOCR packages them."""

from __future__ import annotations

from pathlib import Path

from tests.models import fetch

FOLDER = "rapidocr_onnxruntime/models"
FILES = {
    "ppocr_recognizer": "ch_PP-OCRv4_rec_infer.onnx",
    "ppocr_detector": "ch_PP-OCRv4_det_infer.onnx",
    "ppocr_classifier": "ch_ppocr_mobile_v2.0_cls_infer.onnx",
}


def path(name: str) -> Path:
    return fetch.package_file(fetch.PP_OCR, f"{FOLDER}/{FILES[name]}")
