"""The files in deploy/prometheus: valid, tested, and each alert with a runbook."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml

from tests.observability import stack

TESTS = stack.DEPLOY / "prometheus" / "tests"
needs_promtool = pytest.mark.skipif(not stack.HAS_PROMTOOL, reason=f"no promtool: {stack.NEEDS}")


def promtool(*arguments: object) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_promtool
def test_promtool_accepts_the_configuration():
    assert "SUCCESS" in promtool("check", "config", stack.DEPLOY / "prometheus" / "prometheus.yml")


@needs_promtool
def test_promtool_accepts_the_rules():
    files = sorted(stack.RULES.glob("*.yml"))
    checked = promtool("check", "rules", *files)
    assert sum(map(int, re.findall(r"(\d+) rules found", checked))) == len(stack.rules()) > 20


@needs_promtool
def test_the_rules_do_what_their_tests_say():
    promtool("test", "rules", *sorted(TESTS.glob("*.yml")))


@needs_promtool
def test_a_wrong_threshold_would_be_noticed(tmp_path):
    for name, before, after in (("octet-alerts.yml", "> 0.02", "> 0.2"),
                                ("octet-alerts.yml", "drift:db > 6", "drift:db > 2"),
                                ("octet-recording.yml", "quantile(0.99", "quantile(0.5")):
        folder = tmp_path / name / str(abs(hash(after)))
        (folder / "rules").mkdir(parents=True)
        (folder / "tests").mkdir()
        for file in stack.RULES.glob("*.yml"):
            text = file.read_text()
            assert file.name != name or before in text
            (folder / "rules" / file.name).write_text(
                text.replace(before, after) if file.name == name else text)
        for file in TESTS.glob("*.yml"):
            (folder / "tests" / file.name).write_text(file.read_text())
        done = subprocess.run(["promtool", "test", "rules", *folder.glob("tests/*.yml")],
                              capture_output=True, text=True)
        assert done.returncode == 1 and "FAILED" in done.stdout + done.stderr, after


def test_each_alert_is_tested_firing_and_not_firing():
    fires, rests = set(), set()
    for file in TESTS.glob("*.yml"):
        for test in yaml.safe_load(file.read_text())["tests"]:
            for case in test.get("alert_rule_test", []):
                (fires if case["exp_alerts"] else rests).add(case["alertname"])
                # A series of the test that its alert does not name is one at which it rests.
                models = set(re.findall(r'(?:model|instance)="([^"]+)"', str(test["input_series"])))
                named = str(case["exp_alerts"])
                if case["exp_alerts"] and any(f"'{model}'" not in named for model in models):
                    rests.add(case["alertname"])
    names = {alert["alert"] for alert in stack.alerts()}
    assert fires == names
    assert rests == names


def anchors(markdown: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", markdown, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_each_alert_says_how_bad_it_is_and_what_to_do():
    for alert in stack.alerts():
        name = alert["alert"]
        assert re.fullmatch(r"Octet[A-Za-z]+", name)
        assert alert["labels"]["severity"] in ("critical", "warning", "info"), name
        assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}, name
        path, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert anchor == name.lower()
        assert anchor in anchors((stack.ROOT / path).read_text()), f"{path} has no section {name}"


def test_recording_rules_are_named_by_level_metric_and_operation():
    records = [rule["record"] for rule in stack.rules() if "record" in rule]
    assert len(records) == len(set(records))
    for record in records:
        assert re.fullmatch(r"(instance|model):octet_[a-z_]+:[a-z0-9_]+", record), record
