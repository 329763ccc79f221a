"""Copies alert rules and dashboards into the chart, since helm packs only what is in its folder:
scripts/chart_copies.py [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "helm" / "octet"
COPIED = [(ROOT / "deploy" / "prometheus" / "rules", CHART / "rules"),
          (ROOT / "deploy" / "grafana" / "dashboards", CHART / "dashboards")]


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.glob("*"))
            if path.suffix in (".yml", ".yaml", ".json")}


def main() -> int:
    for source, target in COPIED:
        if files(source) == files(target):
            continue
        if sys.argv[1:] == ["--check"]:
            print(f"{target.relative_to(ROOT)} differs from {source.relative_to(ROOT)}; "
                  "run scripts/chart_copies.py")
            return 1
        target.mkdir(exist_ok=True)
        for name in files(target):
            (target / name).unlink()
        for name, text in files(source).items():
            (target / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
