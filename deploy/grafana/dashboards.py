"""Octet's Grafana dashboards, from the list of panels in panels.py.

  python3 deploy/grafana/dashboards.py           write dashboards/*.json, and the tables of
                                                 docs/dashboards.md, and copies of both
                                                 dashboards and rules into the Helm chart, which
                                                 reads nothing outside of its folder
  python3 deploy/grafana/dashboards.py --check   fail if what is there is not what would be written

Needs nothing but Python.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import panels
from panels import DASHBOARDS, PANELS, Dashboard, Panel

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DOCUMENT = ROOT / "docs" / "dashboards.md"
CHART = ROOT / "helm" / "octet"
COLUMNS = 24
SCHEMA_VERSION = 39  # Grafana 10 and 11; newer ones migrate it when they load it
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def targets(panel: Panel) -> list[dict[str, Any]]:
    made = []
    for number, query in enumerate(panel.queries):
        target: dict[str, Any] = {
            "refId": chr(ord("A") + number), "datasource": SOURCE, "expr": query.expr,
            "legendFormat": query.legend or "__auto", "editorMode": "code",
        }  # fmt: skip
        if panel.kind == "table":
            target |= {"instant": True, "range": False, "format": "table"}
        elif panel.kind == "heatmap":
            target |= {"range": True, "format": "heatmap"}
        elif panel.kind == "bargauge":
            target |= {"instant": True, "range": False}
            if query.buckets:
                target["format"] = "heatmap"
        else:
            target |= {"range": True}
        made.append(target)
    return made


def field_config(panel: Panel) -> dict[str, Any]:
    steps = [{"color": color, "value": value} for value, color in panel.thresholds]
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": steps or [{"color": "blue", "value": None}]},
    }
    if panel.decimals is not None:
        defaults["decimals"] = panel.decimals
    if panel.minimum is not None:
        defaults["min"] = panel.minimum
    if panel.maximum is not None:
        defaults["max"] = panel.maximum
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "drawStyle": "line", "lineWidth": 2, "fillOpacity": 30 if panel.stacked else 8,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if steps[1:] else "off"},
        }  # fmt: skip
        if panel.at_least_to is not None:
            defaults["custom"]["axisSoftMax"] = panel.at_least_to
    if panel.link_to:
        defaults["links"] = [{
            "title": "Show in the dashboard " + DASHBOARDS[panel.link_to].title,
            "url": f"/d/{DASHBOARDS[panel.link_to].uid}?${{__url_time_range}}"
                   "&var-datasource=${datasource}&${job:queryparam}"
                   "&var-model=${__field.labels.model}",
        }]  # fmt: skip
    return {"defaults": defaults, "overrides": overrides(panel)}


def overrides(panel: Panel) -> list[dict[str, Any]]:
    """Limits are dashed lines, not part of a stack."""
    return [{
        "matcher": {"id": "byName", "options": query.legend},
        "properties": [
            {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 6]}},
            {"id": "custom.fillOpacity", "value": 0},
            {"id": "custom.stacking", "value": {"mode": "none", "group": "B"}},
            {"id": "color", "value": {"mode": "fixed", "fixedColor": "orange"}},
        ],
    } for query in panel.queries if query.limit]  # fmt: skip


def options(panel: Panel) -> dict[str, Any]:
    reduce = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match panel.kind:
        case "stat":
            return {"reduceOptions": reduce, "colorMode": "value", "graphMode": "area",
                    "textMode": "auto", "justifyMode": "auto", "orientation": "auto"}  # fmt: skip
        case "bargauge":
            return {"reduceOptions": reduce, "displayMode": "gradient", "orientation": "horizontal",
                    "showUnfilled": True}  # fmt: skip
        case "heatmap":
            return {"calculate": False, "yAxis": {"unit": panel.unit, "axisPlacement": "left"},
                    "cellGap": 1, "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
                    "tooltip": {"mode": "single", "yHistogram": True}}  # fmt: skip
        case "table":
            return {"showHeader": True, "cellHeight": "sm"}
    return {"legend": {"showLegend": True, "displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"}}  # fmt: skip


def transformations(panel: Panel) -> list[dict[str, Any]]:
    if panel.kind != "table":
        return []
    hidden = {name: True for name in ("Time", "Value", "__name__", *panel.hidden)}
    return [{"id": "organize", "options": {"excludeByName": hidden}}]


def layout(dashboard: str) -> list[dict[str, Any]]:
    """Panels from left to right in rows, as the list has them; a section begins a new row."""
    made: list[dict[str, Any]] = []
    section, x, y, row_height = "", 0, 0, 0
    for panel in (panel for panel in PANELS if panel.dashboard == dashboard):
        if panel.section != section:
            y += row_height
            made.append({
                "id": len(made) + 1, "type": "row", "title": panel.section, "collapsed": False,
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}, "panels": [],
            })  # fmt: skip
            section, x, y, row_height = panel.section, 0, y + 1, 0
        if x + panel.width > COLUMNS:
            x, y, row_height = 0, y + row_height, 0
        made.append({
            "id": len(made) + 1, "type": panel.kind, "title": panel.title,
            "description": panel.description, "datasource": SOURCE,
            "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
            "fieldConfig": field_config(panel), "options": options(panel),
            "targets": targets(panel), "transformations": transformations(panel),
        })  # fmt: skip
        x, row_height = x + panel.width, max(row_height, panel.height)
    return made


def variables(dashboard: Dashboard) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [{
        "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus",
        "current": {}, "hide": 0,
    }]  # fmt: skip
    for name in dashboard.variables:
        label, query, several = panels.VARIABLES[name]
        made.append({
            "name": name, "label": label, "type": "query", "datasource": SOURCE,
            "query": {"query": query, "refId": name}, "definition": query, "refresh": 2, "sort": 1,
            "multi": several, "includeAll": several, "hide": 0,
            "current": {"text": "All", "value": "$__all"} if several else {},
        })  # fmt: skip
    return made


def annotations() -> list[dict[str, Any]]:
    return [{
        "name": annotation.name, "datasource": SOURCE, "enable": True, "hide": False,
        "iconColor": annotation.color, "expr": annotation.expr, "step": "15s",
        "titleFormat": annotation.title, "tagKeys": annotation.tags,
        "useValueForTime": annotation.value_is_time,
    } for annotation in panels.ANNOTATIONS]  # fmt: skip


def links(of: str) -> list[dict[str, Any]]:
    return [{
        "title": other.title, "type": "link", "url": f"/d/{other.uid}", "icon": "dashboard",
        "keepTime": True, "includeVars": True, "targetBlank": False, "tooltip": other.purpose,
        "tags": [], "asDropdown": False,
    } for name, other in DASHBOARDS.items() if name != of]  # fmt: skip


def dashboard_json(name: str) -> str:
    dashboard = DASHBOARDS[name]
    made = {
        "uid": dashboard.uid, "title": dashboard.title, "description": dashboard.purpose,
        "tags": ["octet"], "schemaVersion": SCHEMA_VERSION, "version": 1, "editable": True,
        "graphTooltip": 1, "timezone": "", "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "annotations": {"list": annotations()}, "links": links(name),
        "templating": {"list": variables(dashboard)}, "panels": layout(name),
    }  # fmt: skip
    return json.dumps(made, indent=2) + "\n"


def document_table(name: str) -> str:
    lines, section = [], ""
    for panel in (panel for panel in PANELS if panel.dashboard == name):
        if panel.section != section:
            section = panel.section
            lines += ["", f"**{section}**", "", "| panel | what it shows |", "| --- | --- |"]
        lines.append(f"| {panel.title} | {panel.description} |")
    return "\n".join(lines[1:])


def document() -> str:
    """docs/dashboards.md with the tables between its marks written anew."""
    text = DOCUMENT.read_text()
    for name in DASHBOARDS:
        begin, end = f"<!-- panels of {name} -->\n", f"\n<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = before + begin + "\n" + document_table(name) + "\n" + end + after
    return text


def files() -> dict[Path, str]:
    made = {HERE / "dashboards" / f"{name}.json": dashboard_json(name) for name in DASHBOARDS}
    if CHART.is_dir():
        made |= {CHART / "dashboards" / path.name: text for path, text in made.items()}
        for rules in sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml")):
            made[CHART / "rules" / rules.name] = rules.read_text()
    return made | {DOCUMENT: document()}


def main() -> int:
    if sys.argv[1:] == ["--check"]:
        stale = [path for path, text in files().items()
                 if not path.is_file() or path.read_text() != text]  # fmt: skip
        for path in stale:
            print(f"{path}: not what deploy/grafana/dashboards.py writes", file=sys.stderr)
        return bool(stale)
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
