"""Every metric and label that a panel, a rule or an alert uses is in a live server's /metrics."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.observability import stack
from tests.observability.dashboards_test import NAMES, dashboard, panels
from tests.observability.promql import uses

# What Prometheus adds to every series, and the series it makes itself.
ADDED = {"job", "instance"}
OWN = {"up": set(), "ALERTS": {"alertname", "alertstate"}}
SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+")


@pytest.fixture(scope="module")
def live(busy_server) -> dict[str, set[str]]:
    """Labels of each metric, once requests have been compared with float32."""

    def read() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for line in busy_server.get("/metrics")[1].splitlines():
            if match := SAMPLE.fullmatch(line):
                labels = set(re.findall(r'(\w+)="', match[2] or ""))
                found.setdefault(match[1], set()).update(labels)
        return found

    stack.await_true(lambda: "octet_model_shadow_agreement" in read(), lambda: sorted(read()))
    return read()


def recorded() -> dict[str, str]:
    return {rule["record"]: rule["expr"] for rule in stack.rules() if "record" in rule}


def labels_of(metric: str, live: dict[str, set[str]]) -> set[str] | None:
    """The labels that the metric can have; None if there is no such metric."""
    if metric in OWN:
        return OWN[metric] | ADDED
    if metric in live:
        return live[metric] | ADDED
    if metric in recorded():
        found = [labels_of(of, live) for of, _ in uses(recorded()[metric]).selected]
        return None if None in found else set().union(*found)
    return None


def problems(expression: str, live: dict[str, set[str]]) -> list[str]:
    found, every = [], set()
    used = uses(expression.replace("$__rate_interval", "5s").replace("$__range", "1m"))
    for metric, labels in used.selected:
        there = labels_of(metric, live)
        if there is None:
            found.append(f"no metric {metric}")
            continue
        every |= there
        found += [f"{metric} has no label {label}" for label in labels - there]
    found += [f"no label {label} to group by" for label in used.grouped - every]
    return [f"{problem} in {expression}" for problem in found]


def test_rules(live):
    found = [problem for rule in stack.rules() for problem in problems(rule["expr"], live)]
    assert not found, "\n".join(found)


def test_alert_templates(live):
    for alert in stack.alerts():
        there = set().union(*(labels_of(metric, live)
                              for metric, _ in uses(alert["expr"]).selected))
        used = set(re.findall(r"\$labels\.(\w+)", str(alert["annotations"])))
        assert used <= there, alert["alert"]


@pytest.mark.parametrize("name", NAMES)
def test_panels(name, live):
    found = [problem for panel in panels(name) for target in panel["targets"]
             for problem in problems(target["expr"], live)]  # fmt: skip
    assert not found, "\n".join(found)
    for panel in panels(name):
        there = set().union(*(labels_of(metric, live) for target in panel["targets"]
                              for metric, _ in uses(target["expr"]).selected))
        legends = re.findall(r"\{\{(\w+)\}\}", str([t["legendFormat"] for t in panel["targets"]]))
        assert set(legends) <= there, panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_variables_and_annotations(name, live):
    made = dashboard(name)
    for variable in made["templating"]["list"]:
        if variable["type"] != "query":
            continue
        found = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["definition"])
        selector, label = found.groups()
        assert not problems(selector, live)
        assert label in labels_of(uses(selector).selected[0][0], live)
    for annotation in made["annotations"]["list"]:
        assert not problems(annotation["expr"], live)


def test_what_is_not_there_would_be_noticed(live):
    for wrong, what in (("octet_no_such_total", "no metric"),
                        ('sum(octet_ready{model="m"})', "octet_ready has no label model"),
                        ("sum by (pod) (octet_ready)", "no label pod"),
                        ("rate(octet_request_duration_seconds[5m])", "no metric")):
        assert any(what in problem for problem in problems(wrong, live)), wrong
    assert uses('sum by (a) (rate(x{b="{c}"}[5m])) / on (d) group_left (e) y offset 5m').selected \
        == [("x", {"b"}), ("y", set())]


def test_every_metric_of_the_document_is_served(live):
    document = (Path(stack.ROOT) / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(octet_\w+)` \| (\w+) \| (.*?) \|", document, re.MULTILINE)
    assert len(rows) > 30
    missing = []
    for metric, kind, labels in rows:
        if metric == "octet_model_calibration_requests":
            continue  # only of models that learn from requests: tests/e2e/traffic_test.py
        name = metric + "_bucket" if kind == "histogram" else metric
        expected = set(re.findall(r"`(\w+)`", labels))
        if name not in live or not expected <= live[name]:
            missing.append(metric)
    assert missing == []
