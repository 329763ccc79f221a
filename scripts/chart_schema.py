"""Writes helm/octet/values.schema.json: scripts/chart_schema.py [--check]

Octet's own sections (quantization, batching, ...) are taken from docs/configuration.md, which the
binary writes, so that the chart accepts what the server accepts; the chart's other values are in
the table below.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "configuration.md"
SCHEMA = ROOT / "helm" / "octet" / "values.schema.json"

STRING = {"type": "string"}
BOOLEAN = {"type": "boolean"}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
COUNT = {"type": "integer", "minimum": 0}
POSITIVE = {"type": "integer", "minimum": 1}
QUANTITY = {"type": ["string", "number"], "pattern": r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"}
STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
OBJECT = {"type": "object"}  # Kubernetes' own; its server says what is wrong
OBJECTS = {"type": "array", "items": OBJECT}


def one_of(*values: str) -> dict:
    return {"type": "string", "enum": list(values)}


def section(required: tuple[str, ...] = (), /, **properties: dict) -> dict:
    schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return schema | ({"required": list(required)} if required else {})


PULL_POLICY = one_of("Always", "IfNotPresent", "Never")
RESOURCES = section(
    requests={"type": "object", "additionalProperties": QUANTITY},
    limits={"type": "object", "additionalProperties": QUANTITY},
    claims=OBJECTS)
PERCENT = {"type": "integer", "minimum": 0, "maximum": 1000}

# The chart's values beside Octet's sections.
CHART = {
    "modelSource": section(
        ("type",),
        type=one_of("example", "pvc", "image", "s3", "none"),
        path={"type": "string", "pattern": "^/"},
        sizeLimit=QUANTITY,
        pvc=section(claimName=STRING, subPath=STRING),
        image=section(reference=STRING, path={"type": "string", "pattern": "^/"},
                      pullPolicy=PULL_POLICY),
        s3=section(endpoint={"type": "string", "pattern": "^(https?://.+)?$"}, region=STRING,
                   bucket=STRING, prefix=STRING, credentialsSecret=STRING, image=STRING,
                   resources=RESOURCES)),
    "warmStart": section(
        enabled=BOOLEAN, existingClaim=STRING, size=QUANTITY, storageClass=STRING,
        accessModes={"type": "array", "minItems": 1,
                     "items": one_of("ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod")}),
    "replicaCount": COUNT,
    "image": section(
        ("repository",), repository={"type": "string", "minLength": 1}, tag=STRING,
        digest={"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"}, pullPolicy=PULL_POLICY,
        pullSecrets={"type": "array", "items": section(("name",), name=STRING)}),
    "resources": RESOURCES,
    "startup": section(seconds={"type": "integer", "minimum": 10}),
    "temporary": section(sizeLimit=QUANTITY),
    "preStopSeconds": COUNT,
    "strategy": OBJECT,
    "topologySpread": section(enabled=BOOLEAN),
    "affinity": OBJECT,
    "nodeSelector": STRINGS,
    "tolerations": OBJECTS,
    "priorityClassName": STRING,
    "runtimeClassName": STRING,
    "podLabels": STRINGS,
    "podAnnotations": STRINGS,
    "commonLabels": STRINGS,
    "extraEnv": OBJECTS,
    "extraVolumes": OBJECTS,
    "extraVolumeMounts": OBJECTS,
    "extraInitContainers": OBJECTS,
    "podSecurityContext": OBJECT,
    "securityContext": OBJECT,
    "service": section(type=one_of("ClusterIP", "NodePort", "LoadBalancer"), grpcPort=PORT,
                       httpPort=PORT, annotations=STRINGS),
    "tls": section(secretName=STRING, requireClientCertificate=BOOLEAN),
    "networkPolicy": section(enabled=BOOLEAN, clients=OBJECTS, monitoring=OBJECTS, egress=OBJECTS,
                             s3Ports={"type": "array", "items": PORT}),
    "serviceAccount": section(create=BOOLEAN, name=STRING, annotations=STRINGS),
    "autoscaling": section(enabled=BOOLEAN, minReplicas=POSITIVE, maxReplicas=POSITIVE,
                           cpuPercent=PERCENT, queueMilliseconds=COUNT, queueMetric=STRING,
                           scaleDownSeconds=COUNT),
    "keda": section(enabled=BOOLEAN, prometheusAddress=STRING, queueMilliseconds=POSITIVE,
                    cpuPercent=PERCENT, minReplicas=COUNT, maxReplicas=POSITIVE,
                    pollingInterval=POSITIVE),
    "podDisruptionBudget": section(
        enabled=BOOLEAN,
        maxUnavailable={"anyOf": [COUNT, {"type": "string", "pattern": "^[0-9]+%$"}]}),
    "serviceMonitor": section(enabled=BOOLEAN, labels=STRINGS, interval=STRING),
    "prometheusRule": section(enabled=BOOLEAN, labels=STRINGS),
    "dashboards": section(enabled=BOOLEAN, labels=STRINGS),
    "test": section(model=STRING, shapes={"type": "array", "items": STRING}),
    "fullnameOverride": STRING,
    "nameOverride": STRING,
    "extraObjects": OBJECTS,
    "global": OBJECT,
}

# Octet's sections that values carry, and what in them the chart sets itself.
SECTIONS = ("server", "batching", "execution", "quantization", "log", "models")
SET_BY_CHART = {"server": {"address", "tls"}}


def value_schema(form: str) -> dict:
    """The schema of a value that the reference describes as `form`."""
    alternatives = re.split(r",? or (?=\{)", form)
    if len(alternatives) > 1:
        plain = value_schema(alternatives[0])
        objects = [OBJECT for _ in alternatives[1:]]
        return {"anyOf": [plain, *objects]}
    if form == "true or false":
        return BOOLEAN
    if match := re.fullmatch(r"one of (.*)", form):
        return {"enum": [int(word) if word.isdigit() else word for word in match[1].split(", ")]}
    if match := re.fullmatch(r"(an integer|a number) from (\d+) to (\d+)(, or auto)?", form):
        number = {"type": "integer" if match[1] == "an integer" else "number",
                  "minimum": int(match[2]), "maximum": int(match[3])}
        return {"anyOf": [number, {"const": "auto"}]} if match[4] else number
    if match := re.fullmatch(r"a number above (\d+) up to (\d+)(, or auto)?", form):
        number = {"type": "number", "exclusiveMinimum": int(match[1]), "maximum": int(match[2])}
        return {"anyOf": [number, {"const": "auto"}]} if match[3] else number
    if match := re.fullmatch(r"a list of one or more of (.*)", form):
        return {"type": "array", "minItems": 1, "uniqueItems": True,
                "items": one_of(*match[1].split(", "))}  # fmt: skip
    if match := re.fullmatch(r"auto, (a number from .*)", form):
        return {"anyOf": [{"const": "auto"}, value_schema(match[1])]}
    if re.fullmatch(r"the path of .*|a name|an address or host name|a glob .*", form):
        return {"type": ["string", "null"]}
    return {"type": ["string", "number", "boolean", "object", "array"]}  # a form of its own


def octet_sections(reference: str) -> dict:
    """The sections of the configuration as schemas, by name."""
    top = section()
    for heading, body in re.findall(r"^## `([\w.\[\]]+)`\n(.*?)(?=^## |\Z)", reference,
                                    re.MULTILINE | re.DOTALL):
        place = top
        for word in heading.split("."):
            name = word.removesuffix("[]")
            if word.endswith("[]"):
                array = place["properties"].get(name)
                if not array or "items" not in array:
                    array = {"type": "array", "items": section()}
                place["properties"][name] = array
                place = array["items"]
            else:
                place = place["properties"].setdefault(name, section())
        for key, form, meaning in re.findall(r"^\| `(\w+)` \| (.*?) \| .*? \| (.*) \|$", body,
                                             re.MULTILINE):
            if form in ("a section", "a list of sections"):
                continue  # has a heading of its own, or is the top level's
            place["properties"][key] = value_schema(form) | {"description": meaning}
    models = top["properties"]["models"]["items"]
    for name in ("batching", "execution", "quantization"):
        models["properties"][name] = {"$ref": f"#/properties/{name}"}
    for name, keys in SET_BY_CHART.items():
        for key in keys:
            del top["properties"][name]["properties"][key]
    return {name: top["properties"][name] for name in SECTIONS}


def schema_text() -> str:
    properties = octet_sections(REFERENCE.read_text()) | CHART
    schema = {"$schema": "http://json-schema.org/draft-07/schema#",
              "title": "Values of the chart octet",
              **section(("quantization", "modelSource", "image", "resources"), **properties)}
    return json.dumps(schema, indent=1) + "\n"


def main() -> int:
    text = schema_text()
    if sys.argv[1:] == ["--check"]:
        if SCHEMA.read_text() == text:
            return 0
        print(f"{SCHEMA.relative_to(ROOT)} is not what scripts/chart_schema.py writes; run it")
        return 1
    SCHEMA.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
