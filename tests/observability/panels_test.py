"""No panel without data: a real Prometheus answers every query of the dashboards."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator

import pytest

from tests.observability import stack
from tests.observability.dashboards_test import NAMES, dashboard, panels

pytestmark = pytest.mark.skipif(not stack.HAS_PROMETHEUS, reason=f"no prometheus: {stack.NEEDS}")

SECONDS = 90


@pytest.fixture(scope="module")
def watched(busy_server, tmp_path_factory) -> Iterator[stack.Prometheus]:
    target = busy_server.http_address.removeprefix("http://")
    with stack.prometheus(tmp_path_factory.mktemp("prometheus"), [target]) as prometheus:
        yield prometheus


def fill_in(expression: str, made: dict, prometheus: stack.Prometheus) -> str:
    """The variables as Grafana puts them in: all values where several may be chosen."""
    values = {"__rate_interval": "5s", "__range": "60s"}
    for variable in made["templating"]["list"]:
        if variable["type"] != "query":
            continue
        found = prometheus.label_values(substitute(variable["definition"], values))
        assert found, variable["definition"]
        # A regular expression within a string of PromQL.
        escaped = [re.escape(value).replace("\\", "\\\\") for value in found]
        values[variable["name"]] = f"({'|'.join(escaped)})" if variable["multi"] else found[0]
    return substitute(expression, values)


def substitute(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$(\w+)", lambda match: values[match[1]], text)


def without_data(name: str, prometheus: stack.Prometheus) -> list[str]:
    made, found = dashboard(name), []
    for panel in panels(name):
        for target in panel["targets"]:
            expression = fill_in(target["expr"], made, prometheus)
            values = [value for _, value in prometheus.series(expression)]
            if not any(math.isfinite(value) for value in values):
                found.append(f"{panel['title']}: {expression}: {values}")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_has_data(name, watched):
    stack.await_true(lambda: watched.label_values("label_values(octet_model_info, model)"),
                     lambda: watched.api("targets"), SECONDS)
    stack.await_true(lambda: not without_data(name, watched),
                     lambda: "\n".join(without_data(name, watched)), SECONDS)


def test_heat_maps_have_rows_and_columns(watched):
    for panel in (panel for name in NAMES for panel in panels(name) if panel["type"] == "heatmap"):
        expression = fill_in(panel["targets"][0]["expr"], dashboard("model"), watched)

        def columns(expression: str = expression) -> int:
            now = time.time()
            series = watched.api("query_range", query=expression, start=now - 20, end=now, step=1)
            buckets = {row["metric"]["le"] for row in series["result"]}
            assert not buckets or "+Inf" in buckets
            times = {at for row in series["result"] for at, value in row["values"]
                     if float(value) > 0}
            return len(times) if len(buckets) > 5 else 0

        stack.await_true(lambda: columns() > 5, columns, SECONDS)


def test_annotations_tell_of_reloads(watched):
    made = dashboard("fleet")
    for annotation in made["annotations"]["list"]:
        expression = fill_in(annotation["expr"], made, watched)
        if annotation["useValueForTime"]:
            series = stack.await_true(lambda: watched.series(expression), lambda: expression)
            assert abs(series[0][1] / 1000 - time.time()) < 3600  # milliseconds since 1970
        else:
            watched.series(expression)  # nothing to tell, and a valid question


def test_recording_rules_have_data(watched):
    records = [rule["record"] for rule in stack.rules() if "record" in rule]

    def missing() -> list[str]:
        return [record for record in records
                if not any(math.isfinite(value) for _, value in watched.series(record))]

    stack.await_true(lambda: not missing(), missing, SECONDS)


def test_a_panel_without_data_would_be_noticed(watched):
    assert watched.series("octet_no_such_metric") == []
