"""Writes helm/octet/README.md from the chart's values: scripts/chart_reference.py [--check]

A value is described by the comment `# -- TEXT` above it; the table holds each with its default.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "helm" / "octet"
README = CHART / "README.md"

INTRODUCTION = """# The chart `octet`

<!-- Written by scripts/chart_reference.py from values.yaml. Do not edit. -->

Serves ONNX models on Kubernetes, quantized when they are loaded. [docs/kubernetes.md](
../../docs/kubernetes.md) explains how to run it; the folder `examples` has values for the common
cases, each of which is checked.

```sh
helm install vision helm/octet --set image.repository=registry.example.org/octet
helm test vision
helm upgrade vision helm/octet --reuse-values --set quantization.mode=int4   # no pod restarts
```

The values `quantization`, `batching`, `execution`, `models`, `server` and `log` are sections of
Octet's own configuration and take its keys ([docs/configuration.md](../../docs/configuration.md)).
`values.schema.json` refuses all others.

Needs Kubernetes {version} or newer.

## Values

| value | default | meaning |
| --- | --- | --- |
"""


def rows(text: str):
    """(name, default, description) of each described value of a values file."""
    path: list[tuple[int, str]] = []  # indentation and name of the sections around
    description = ""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if match := re.match(r" *# -- (.*)", line):
            description = match[1]
            continue
        match = re.match(r"( *)([\w-]+):(?: (.*))?$", line)
        if not match:
            continue
        indent = len(match[1])
        path = [part for part in path if part[0] < indent] + [(indent, match[2])]
        if description:
            default = match[3] or nested(lines[i + 1:], indent)
            yield ".".join(name for _, name in path), default, description
        description = ""


def nested(lines: list[str], indent: int) -> str:
    """The value that follows a key, on one line."""
    parts = []
    for line in lines:
        if not line.strip() or len(line) - len(line.lstrip()) <= indent:
            break
        if not line.lstrip().startswith("#"):
            parts.append(line.strip())
    return "{" + ", ".join(parts) + "}"


def readme() -> str:
    version = re.search(r'kubeVersion: ">=([\d.]+)', (CHART / "Chart.yaml").read_text())[1]
    table = "".join(f"| `{name}` | `{default}` | {description} |\n" for name, default, description
                    in rows((CHART / "values.yaml").read_text()))
    return INTRODUCTION.replace("{version}", version.removesuffix(".0")) + table


def main() -> int:
    if sys.argv[1:] == ["--check"]:
        if README.read_text() == readme():
            return 0
        print(f"{README.relative_to(ROOT)} is not what scripts/chart_reference.py writes; run it")
        return 1
    README.write_text(readme())
    return 0


if __name__ == "__main__":
    sys.exit(main())
