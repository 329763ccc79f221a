"""Where built and fetched models are kept between runs.

A file's name holds the version of what made it, so that a changed builder never meets a stale
file, and a file appears under its name only when it is complete: several test processes may build
the same model at once.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def folder() -> Path:
    """$OCTET_MODELS, or build/models of the source tree."""
    chosen = Path(os.environ.get("OCTET_MODELS") or ROOT / "build" / "models")
    chosen.mkdir(parents=True, exist_ok=True)
    return chosen


def cached(file_name: str, make: Callable[[Path], None]) -> Path:
    """The cached file of that name; make(path) writes it when it is not there yet."""
    target = folder() / file_name
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=folder()) as scratch:
            partial = Path(scratch) / target.name
            make(partial)
            os.replace(partial, target)
    return target
