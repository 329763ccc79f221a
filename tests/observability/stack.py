"""A real Prometheus that scrapes a real server every second, with deploy/prometheus' rules."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "rules"
HAS_PROMETHEUS = shutil.which("prometheus") is not None
HAS_PROMTOOL = shutil.which("promtool") is not None
NEEDS = "`scripts/setup.sh --check` installs it"
START_SECONDS = 60


def await_true(condition: Callable[[], Any], what: Callable[[], Any], seconds: float = 60) -> Any:
    """What `condition` returns, once that is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what()}"
        time.sleep(0.1)
    return value


def rules() -> list[dict[str, Any]]:
    """Every recording and alerting rule."""
    files = [yaml.safe_load(file.read_text()) for file in sorted(RULES.glob("*.yml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def in_seconds(text: str) -> str:
    """Rules whose windows and waits last seconds instead of minutes."""
    text = re.sub(r"\[(\d+)m\]", r"[\1s]", text)
    return re.sub(r"\bfor: (\d+)m\b", r"for: \1s", text)


class Prometheus:
    def __init__(self, address: str) -> None:
        self.address = address

    def api(self, path: str, **parameters: Any) -> Any:
        query = urllib.parse.urlencode(parameters, doseq=True)
        try:
            with urllib.request.urlopen(f"{self.address}/api/v1/{path}?{query}", timeout=10) as got:
                answer = json.load(got)
        except urllib.error.HTTPError as error:
            raise ValueError(f"{parameters}: {error.read().decode()}") from error
        return answer["data"]

    def series(self, expression: str) -> list[tuple[dict[str, str], float]]:
        result = self.api("query", query=expression)["result"]
        return [(series["metric"], float(series["value"][1])) for series in result]

    def firing(self) -> set[str]:
        return {alert["labels"]["alertname"] for alert in self.api("alerts")["alerts"]
                if alert["state"] == "firing"}  # fmt: skip

    def label_values(self, query: str) -> list[str]:
        """What Grafana's label_values(SELECTOR, LABEL) means."""
        selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", query).groups()
        return self.api(f"label/{label}/values", **{"match[]": selector})


def configuration(folder: Path, targets: list[str]) -> Path:
    """deploy/prometheus/prometheus.yml with these targets, and seconds for minutes."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"),
                                     "1s")
    config["rule_files"] = []
    config["scrape_configs"][0]["static_configs"] = [{"targets": targets}]
    for file in sorted(RULES.glob("*.yml")):
        copy = folder / file.name
        copy.write_text(in_seconds(file.read_text()))
        config["rule_files"].append(str(copy))
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


@contextmanager
def prometheus(folder: Path, targets: list[str]) -> Iterator[Prometheus]:
    """Scrapes `targets`, HOST:PORT each, until the context ends."""
    folder.mkdir(exist_ok=True)
    log = folder / "prometheus.log"
    process = subprocess.Popen(
        ["prometheus", f"--config.file={configuration(folder, targets)}",
         f"--storage.tsdb.path={folder}/data", "--web.listen-address=127.0.0.1:0"],
        stdout=subprocess.DEVNULL, stderr=log.open("w"),
    )  # fmt: skip

    def address() -> str | None:
        assert process.poll() is None, log.read_text()
        found = re.search(r'msg="Listening on" address=(\S+)', log.read_text())
        return found and f"http://{found[1]}"

    def ready(url: str) -> bool:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=5) as reply:
                return reply.status == 200
        except urllib.error.URLError:
            return False

    try:
        url = await_true(address, log.read_text, START_SECONDS)
        await_true(lambda: ready(url), log.read_text, START_SECONDS)
        yield Prometheus(url)
    finally:
        process.terminate()
        process.wait(30)
