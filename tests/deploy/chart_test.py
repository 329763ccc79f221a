"""The chart: what every example renders to, as helm, Kubernetes' schemas and Octet see it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CHART, ROOT, program

EXAMPLES = sorted(path.name for path in (CHART / "examples").glob("*.yaml"))
KUBERNETES = "1.36.0"
# Kinds of operators, whose schemas are not Kubernetes' own.
CUSTOM = {"ServiceMonitor", "PrometheusRule", "ScaledObject"}


def objects(helm, *arguments: str) -> list[dict]:
    import yaml
    text = helm("template", "octet", str(CHART), "--namespace", "models", *arguments).stdout
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(documents: list[dict], kind: str) -> dict:
    return next(document for document in documents if document["kind"] == kind)


@pytest.mark.parametrize("example", ["", *EXAMPLES])
def test_examples_are_what_kubernetes_expects(helm, packages, example):
    import kubernetes_validate
    documents = objects(helm, *(["-f", str(CHART / "examples" / example)] if example else []))
    assert {"Deployment", "Service", "ConfigMap"} <= {document["kind"] for document in documents}
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    assert len(names) == len(set(names))
    for document in documents:
        if document["kind"] not in CUSTOM:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)


@pytest.mark.parametrize("example", ["", *EXAMPLES])
def test_octet_accepts_the_configuration(helm, packages, tmp_path, example):
    documents = objects(helm, *(["-f", str(CHART / "examples" / example)] if example else []))
    file = tmp_path / "octet.yaml"
    file.write_text(of_kind(documents, "ConfigMap")["data"]["octet.yaml"])
    checked = subprocess.run([os.environ["OCTET_BINARY"], "config", "check", str(file)],
                             capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr


def test_lint_is_strict(helm):
    helm("lint", "--strict", str(CHART))


@pytest.mark.parametrize("values", [
    "quantization.mode=int9", "quantization.modus=int8", "quantization.budget.seconds=-1",
    "server.address=1.2.3.4", "models[0].quantization.mode=bf17", "execution.streams=many",
    "modelSource.type=nfs", "modelSource.type=s3", "modelSource.type=pvc", "replicas=3",
    "image.digest=latest", "resources.limits.memory=lots", "service.grpcPort=0",
    "tls.requireClientCertificate=true"])
def test_mistakes_in_values_are_refused(helm, values):
    refused = helm("template", "octet", str(CHART), "--set", values, check=False)
    assert refused.returncode != 0 and refused.stderr


def test_only_what_a_running_server_takes_up_leaves_pods_alone(helm, packages):
    def pods(*arguments: str) -> dict:
        return of_kind(objects(helm, *arguments), "Deployment")["spec"]["template"]
    start = pods()
    for live in ("quantization.mode=int4", "batching.max_batch_size=4", "execution.streams=1",
                 "models[0].name=digits", "commonLabels.team=vision"):
        assert pods("--set", live) == start, live
    for other in ("server.drain_seconds=60", "log.level=debug", "modelSource.type=none"):
        assert pods("--set", other) != start, other


def test_notes_tell_the_next_command(helm):
    notes = helm("install", "demo", str(CHART), "--dry-run=client", "--namespace", "models").stdout
    assert "helm -n models test demo" in notes
    assert "dns:///demo-octet-headless.models:8001" in notes


@pytest.mark.parametrize("script", ["chart_schema.py", "chart_reference.py"])
def test_generated_files_are_fresh(script):
    checked = subprocess.run([sys.executable, ROOT / "scripts" / script, "--check"],
                             capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout


def standalone_schema(folder: Path, name: str) -> str:
    """A schema of kubernetes-validate with the definitions it needs in it: kubeconform does not
    follow references to another file."""
    definitions = json.loads((folder / "_definitions.json").read_text())["$defs"]
    reference = re.compile(r'"(?:/api/_definitions\.json)?#/\$defs/([^"]+)"')
    needed, left = {}, [(folder / name).read_text()]
    while left:
        for word in set(reference.findall(left.pop())) - set(needed):
            needed[word] = definitions[word]
            left.append(json.dumps(definitions[word]))
    schema = json.loads((folder / name).read_text()) | {"$defs": needed}
    del schema["$schema"], schema["$id"]
    return reference.sub(r'"#/$defs/\1"', json.dumps(schema))


def test_kubeconform_agrees(helm, packages, tmp_path):
    kubeconform = program("kubeconform")
    import kubernetes_validate
    folder = (Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" /
              f"v{KUBERNETES}-local-strict")
    rendered = []
    for example in EXAMPLES:
        documents = objects(helm, "-f", str(CHART / "examples" / example))
        rendered.append(tmp_path / example)
        rendered[-1].write_text("\n---\n".join(json.dumps(document) for document in documents))
        for document in documents:
            group, _, version = document["apiVersion"].rpartition("/")
            group = group.split(".")[0]
            name = "-".join(filter(None, [document["kind"].lower(), group, version])) + ".json"
            if document["kind"] not in CUSTOM and not (tmp_path / "schemas" / name).exists():
                (tmp_path / "schemas").mkdir(exist_ok=True)
                (tmp_path / "schemas" / name).write_text(standalone_schema(folder, name))
    arguments = ["-strict", "-summary", "-skip", ",".join(CUSTOM), "-schema-location",
                 f"{tmp_path}/schemas/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"]
    checked = subprocess.run([kubeconform, *arguments, *map(str, rendered)],
                             capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    # It does find mistakes.
    rendered[0].write_text(rendered[0].read_text().replace("revisionHistoryLimit", "revisions"))
    assert subprocess.run([kubeconform, *arguments, str(rendered[0])],
                          capture_output=True, timeout=60).returncode != 0


def test_unit_tests_of_the_chart():
    tests = subprocess.run([program("helm-unittest"), "--strict", str(CHART)],
                           capture_output=True, text=True, timeout=120)
    assert tests.returncode == 0, tests.stdout


@pytest.mark.parametrize("example", EXAMPLES)
def test_kube_score_finds_nothing_critical(helm, tmp_path, example):
    score = program("kube-score")
    rendered = tmp_path / "objects.yaml"
    rendered.write_text(helm("template", "octet", str(CHART), "--namespace", "models", "-f",
                             str(CHART / "examples" / example)).stdout)
    # The pod of `helm test` ends by itself; tags other than `latest` may be pulled once.
    found = subprocess.run([score, "score", "--kubernetes-version", "v1.36", "-o", "ci",
                            "--ignore-test", "container-image-pull-policy", str(rendered)],
                           capture_output=True, text=True, timeout=60)
    critical = [line for line in found.stdout.splitlines() if line.startswith("[CRITICAL]")]
    assert not critical, "\n".join(critical)


def manifests() -> list[Path]:
    return sorted((ROOT / "deploy" / "kserve").glob("*.yaml"))


@pytest.mark.parametrize("path", manifests(), ids=lambda path: path.name)
def test_kserve_manifests_name_the_image_and_ports_of_the_chart(packages, path):
    import yaml
    for document in yaml.safe_load_all(path.read_text()):
        if document["kind"] != "ClusterServingRuntime":
            continue
        spec = document["spec"]
        assert spec["protocolVersions"] == ["grpc-v2"]
        container = spec["containers"][0]
        assert container["name"] == "kserve-container"
        assert {port["containerPort"] for port in container["ports"]} == {8001}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
