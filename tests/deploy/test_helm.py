"""The Helm chart: rendered and linted by Helm's own code in the ways it is used, then held to the same rules."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import helm_python
import pytest
import yaml

from proxy import __version__
from proxy.settings import Settings
from tests.deploy import manifests
from tests.deploy.manifests import Document, documents, of_kind, one
from tests.rules.sources import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CHART = ROOT / "deploy" / "helm" / "audiogate"

APP: dict[str, Any] = {
    "name": "app",
    "image": "app:1.0",
    "securityContext": {"runAsUser": 1000, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
}
WHISPER = {"slug": "whisper", "dialect": "openai", "base_url": "http://whisper:8000/v1", "auth": "none"}
KEYS = [{"name": "default", "key_file": "/run/secrets/audiogate/gateway-key"}]
OPERATOR = {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}}

VALUES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "edge": {
        "config": {
            "auth": {"mode": "keys", "keys": KEYS},
            "providers": [WHISPER],
            "configs": [{"slug": "stt", "config": {"provider": "whisper"}}],
            "default_config": "stt",
            "limits": {"max_upload_bytes": 104857600},
            "drain": {"timeout": 600},
        },
        "existingSecret": "audiogate",
        "opsToken": {"existingSecret": "audiogate-ops"},
        "ingress": {"enabled": True, "host": "stt.example.com", "tlsSecret": "stt-tls"},
        "networkPolicy": {"enabled": True},
        **OPERATOR,
    },
    "edge with much of its own": {
        "image": {"repository": "registry.example.com/audiogate", "digest": "sha256:" + "a" * 64},
        "imagePullSecrets": [{"name": "pull"}],
        "config": {"workers": 2, "replay": {"total": 268435456}, "listen": "0.0.0.0:9000", "ops": {"listen": ":9001"}},
        "extraArgs": ["--store", "none"],
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "extraEnvFrom": [{"secretRef": {"name": "more"}}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ssl/private-ca", "readOnly": True}],
        "autoscaling": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "replicas": 3,
        "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "2Gi"}},
        "podAnnotations": {"example.com/a": "b"},
        "podLabels": {"team": "speech"},
        "nodeSelector": {"pool": "edge"},
        "tolerations": [{"key": "edge", "operator": "Exists"}],
        "priorityClassName": "high",
        "store": {"existingSecret": "audiogate-store"},
        "service": {"type": "LoadBalancer", "port": 8080},
    },
    "sidecar": {"mode": "sidecar", "config": {"providers": [WHISPER]}, "sidecar": {"containers": [APP]}, **OPERATOR},
    "classic sidecar": {"mode": "sidecar", "sidecar": {"containers": [APP], "native": False}},
    "settings for sidecars elsewhere": {"mode": "sidecar", **OPERATOR},
}
WITH_PODS = [name for name in VALUES if name != "settings for sidecars elsewhere"]


def rendered(values: Mapping[str, Any]) -> list[Document]:
    """Return the chart's manifests for these values, without its notes."""
    texts = helm_python.Chart.load(CHART).render(dict(values), name="stt", namespace="speech")
    return [document for path, text in texts.items() if path.endswith(".yaml") for document in documents(text)]


def notes(values: Mapping[str, Any]) -> str:
    return helm_python.Chart.load(CHART).render(dict(values), name="stt", namespace="speech")[
        "audiogate/templates/NOTES.txt"
    ]


cases = pytest.mark.parametrize("case", VALUES)
pod_cases = pytest.mark.parametrize("case", WITH_PODS)


@cases
def test_helm_finds_no_fault_with_the_chart(case: str) -> None:
    report = helm_python.lint(CHART, VALUES[case], strict=True, kube_version=f"v{manifests.OLDEST}.0")
    assert not report["errors"]
    assert [m["error"] for m in report["messages"]] == ["icon is recommended"]


@cases
def test_every_manifest_has_only_keys_that_kubernetes_knows(case: str) -> None:
    found = rendered(VALUES[case])
    assert found
    for document in found:
        manifests.check_schema(document)


@pod_cases
def test_every_pod_is_restricted(case: str) -> None:
    (pod,) = manifests.pods(rendered(VALUES[case]))
    manifests.check_restricted(pod)


@pod_cases
def test_the_settings_pass_and_the_pod_has_time_memory_and_disk_for_them(case: str, tmp_path: Path) -> None:
    found = rendered(VALUES[case])
    settings = manifests.settings_in(found, tmp_path)
    (pod,) = manifests.pods(found)
    manifests.check_gateway(pod, settings)


def test_what_the_user_says_beats_what_the_mode_says(tmp_path: Path) -> None:
    settings = manifests.settings_in(rendered(VALUES["edge"]), tmp_path)
    assert (settings.drain.delay, settings.drain.timeout) == (5, 600)
    assert settings.limits.max_upload_bytes == 104857600
    (pod,) = manifests.pods(rendered(VALUES["edge"]))
    assert pod["terminationGracePeriodSeconds"] == 5 + 5 + 600 + manifests.CLOSING


def test_an_ops_listener_with_tls_is_asked_over_tls() -> None:
    tls = {"cert": "/etc/tls/tls.crt", "key": "/etc/tls/tls.key"}
    found = rendered({"config": {"ops": {"tls": tls}}, "serviceMonitor": {"enabled": True}})
    (pod,) = manifests.pods(found)
    container = manifests.gateway(pod)
    assert {container[name]["httpGet"]["scheme"] for name in container if name.endswith("Probe")} == {"HTTPS"}
    (endpoint,) = one(found, "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"


def test_changed_settings_roll_the_pods() -> None:
    def checksum(values: Mapping[str, Any]) -> str:
        template = one(rendered(values), "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/settings"])

    assert checksum({}) != checksum({"config": {"workers": 2}})


@pytest.mark.parametrize("mode", ["edge", "sidecar"])
def test_services_policies_and_monitors_mean_the_pods_and_their_ports(mode: str) -> None:
    found = rendered(VALUES[mode])
    template = one(found, "Deployment")["spec"]["template"]
    labels = template["metadata"]["labels"]
    ports = {port["name"] for port in manifests.gateway(template["spec"])["ports"]}
    services = of_kind(found, "Service")
    assert all(service["spec"]["selector"].items() <= labels.items() for service in services)
    if mode == "sidecar":
        assert not services
        monitor = one(found, "PodMonitor")["spec"]
        (endpoint,) = monitor["podMetricsEndpoints"]
        assert monitor["selector"]["matchLabels"].items() <= labels.items()
        assert endpoint["port"] in ports
    else:
        monitor = one(found, "ServiceMonitor")["spec"]
        wanted = monitor["selector"]["matchLabels"].items()
        (service,) = [service for service in services if wanted <= service["metadata"]["labels"].items()]
        (endpoint,) = monitor["endpoints"]
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
        for policy in of_kind(found, "NetworkPolicy"):
            assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
            assert {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]} == ports
    assert {"targetLabel": "job", "replacement": "audiogate"} in endpoint["relabelings"]


def test_rules_and_dashboards_are_those_of_the_project() -> None:
    found = rendered(VALUES["edge"])
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text())
    assert one(found, "PrometheusRule")["spec"] == rules
    shown = [m for m in of_kind(found, "ConfigMap") if "grafana_dashboard" in m["metadata"]["labels"]]
    files = {name: json.loads(text) for document in shown for name, text in document["data"].items()}
    folder = ROOT / "grafana" / "dashboards"
    assert files == {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}


def test_a_chart_of_your_own_can_put_the_sidecar_into_its_pod(tmp_path: Path) -> None:
    """The lines that the notes show, in a chart that has this one as a dependency."""
    shutil.copytree(CHART, tmp_path / "charts" / "audiogate")
    own = {"apiVersion": "v2", "name": "own", "version": "1.0.0"}
    dependency = {"name": "audiogate", "version": "0.1.0", "repository": "file://charts/audiogate"}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump({**own, "dependencies": [dependency]}))
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"audiogate": {"mode": "sidecar"}}))
    (tmp_path / "templates").mkdir()
    said = notes({"mode": "sidecar"})
    lines = said[said.index("  spec:") :].replace("\n  ", "\n")
    (tmp_path / "templates" / "pod.yaml").write_text(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: own}\n" + lines.strip(" ")
    )
    texts = helm_python.Chart.load(tmp_path).render({}, name="stt", namespace="speech")
    deployment = yaml.safe_load(texts["own/templates/pod.yaml"])
    pod = deployment["spec"]["template"]["spec"]
    (sidecar,) = pod["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    settings = yaml.safe_load(texts["own/charts/audiogate/templates/configmap.yaml"])
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["audiogate-settings"]["configMap"]["name"] == settings["metadata"]["name"]
    assert {mount["name"] for mount in sidecar["volumeMounts"]} == set(volumes)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"mode": "daemon"}, "mode"),
        ({"replicas": "three"}, "replicas"),
        ({"existingSecrets": "audiogate"}, "existingSecrets"),
        ({"config": {"lisen": ":1"}}, "lisen"),
        ({"config": {"ops": {"token": "in-a-config-map"}}}, "ops"),
        ({"config": {"drain": {"timeout": "5m"}}}, "timeout"),
        ({"image": {"digest": "sha256:short"}}, "digest"),
        ({"store": {"existingSecret": "Not A Name", "key": "url"}}, "existingSecret"),
        ({"serviceMonitor": {"enabled": "yes"}}, "enabled"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(values: dict[str, Any], named: str) -> None:
    chart = helm_python.Chart.load(CHART)
    with pytest.raises(helm_python.HelmError, match=named):
        chart.validate_schema(chart.merge_values(values))


def test_an_autoscaler_without_a_metric_is_refused() -> None:
    with pytest.raises(helm_python.HelmRenderError, match="autoscaling needs"):
        rendered({"autoscaling": {"inFlight": 0, "cpuUtilization": 0}})


def test_the_schema_knows_every_section_of_the_settings_and_every_value_of_the_chart() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    assert set(schema["config"]["properties"]) == set(Settings.model_fields)
    assert set(yaml.safe_load((CHART / "values.yaml").read_text())) == set(schema) - {"global"}


@cases
def test_the_notes_tell_the_next_command_for_objects_that_there_are(case: str) -> None:
    said = notes(VALUES[case])
    assert "kubectl -n speech " in said or "initContainers" in said
    found = rendered(VALUES[case])
    there = {f"{m['kind'].lower()}/{m['metadata']['name']}" for m in found}
    named = {word.rstrip(",") for word in said.split() if word.startswith(("deployment/", "service/"))}
    assert named <= there


def test_chart_and_package_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__
