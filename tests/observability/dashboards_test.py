"""The dashboards in deploy/grafana: what the generator writes, and whole."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys

import pytest
import yaml

from tests.observability import stack

GRAFANA = stack.DEPLOY / "grafana"
GENERATOR = GRAFANA / "dashboards.py"
NAMES = ("fleet", "model", "capacity")
BUILT_IN = {"__rate_interval", "__range", "__interval", "__url_time_range", "__field"}


def dashboard(name: str) -> dict:
    return json.loads((GRAFANA / "dashboards" / f"{name}.json").read_text())


def panels(name: str) -> list[dict]:
    return [panel for panel in dashboard(name)["panels"] if panel["type"] != "row"]


def test_the_files_are_what_the_generator_writes():
    done = subprocess.run([sys.executable, GENERATOR, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {file.stem for file in (GRAFANA / "dashboards").glob("*.json")} == set(NAMES)


def test_a_stale_file_is_noticed(tmp_path):
    for folder in ("deploy/grafana/dashboards", "docs"):
        (tmp_path / folder).mkdir(parents=True)
    for file in (*GRAFANA.glob("*.py"), *GRAFANA.glob("dashboards/*"),
                 stack.ROOT / "docs/dashboards.md"):
        (tmp_path / file.relative_to(stack.ROOT)).write_text(file.read_text())
    copy = tmp_path / "deploy/grafana/dashboards/fleet.json"
    copy.write_text(copy.read_text().replace("Octet fleet", "Fleet"))
    done = subprocess.run([sys.executable, tmp_path / "deploy/grafana/dashboards.py", "--check"],
                          capture_output=True, text=True)
    assert done.returncode == 1 and "fleet.json" in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_panels_are_whole(name):
    ids = [panel["id"] for panel in dashboard(name)["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels(name):
        assert panel["title"] and panel["description"].endswith((".", "`.")), panel["title"]
        assert panel["targets"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["type"] in ("stat", "timeseries", "bargauge", "table", "heatmap")


@pytest.mark.parametrize("name", NAMES)
def test_panels_do_not_lie_on_each_other(name):
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard(name)["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"])
                     for y in range(at["y"], at["y"] + at["h"])):  # fmt: skip
            assert cell not in taken, f"{panel['title']} on {taken.get(cell)}"
            taken[cell] = panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_that_is_used_is_there(name):
    made = dashboard(name)
    there = {variable["name"] for variable in made["templating"]["list"]} | BUILT_IN
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(made)))
    # What a link hands on is the other dashboard's.
    assert used - there <= {"__all"}, used - there


def test_dashboards_link_to_each_other():
    uids = {name: dashboard(name)["uid"] for name in NAMES}
    for name in NAMES:
        linked = {link["url"].removeprefix("/d/") for link in dashboard(name)["links"]}
        assert linked == {uid for other, uid in uids.items() if other != name}
        for panel in panels(name):
            for link in panel["fieldConfig"]["defaults"].get("links", []):
                assert re.match(r"/d/([\w-]+)\?", link["url"])[1] == uids["model"]


def test_thresholds_are_those_of_the_alerts():
    """A line that a panel says is where an alert begins is where it begins."""
    exprs = {alert["alert"]: alert["expr"] for alert in stack.alerts()}
    seen = set()
    for panel in (panel for name in NAMES for panel in panels(name)):
        found = re.search(r"line is where (Octet\w+)", panel["description"])
        if not found:
            continue
        seen.add(found[1])
        begin = panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"]
        assert re.search(rf"> {re.escape(str(begin))}\b", exprs[found[1]]), panel["title"]
    assert len(seen) == 6


def test_provisioning_names_what_is_there():
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/octet.yml").read_text())
    assert sources["datasources"][0]["type"] == "prometheus"
    providers = yaml.safe_load((GRAFANA / "provisioning/dashboards/octet.yml").read_text())
    assert providers["providers"][0]["options"]["path"] == "/var/lib/grafana/dashboards"


def test_the_list_is_one():
    """Each panel is on one dashboard, and each dashboard's panels come from the list."""
    sys.path.insert(0, str(GRAFANA))
    try:
        spec = importlib.util.spec_from_file_location("panels", GRAFANA / "panels.py")
        made = importlib.util.module_from_spec(spec)
        sys.modules["panels"] = made
        spec.loader.exec_module(made)
    finally:
        sys.path.remove(str(GRAFANA))
    assert len(made.PANELS) == sum(len(panels(name)) for name in NAMES)
    keys = [(panel.dashboard, panel.section, panel.title) for panel in made.PANELS]
    assert len(keys) == len(set(keys))
