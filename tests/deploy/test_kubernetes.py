"""The manifests: valid, restricted, consistent with the settings they carry, and as kustomize renders them."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import kubernetes_validate
import pytest
import yaml

from proxy.records.catalogue import CATALOGUE
from tests.deploy import manifests
from tests.deploy.manifests import KUBERNETES, Document, documents, one, read
from tests.rules.pages import blocks, page
from tests.rules.sources import ROOT

if TYPE_CHECKING:
    from pathlib import Path

OVERLAYS = ("edge", "sidecar", "sidecar-classic")
SIDECARS = ("sidecar", "sidecar-classic")
COMPONENTS = KUBERNETES / "components"
JOB = "audiogate"  # rules.yml and the dashboards ask for it
kustomize = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed, and no Debian has it")


def rendered(overlay: str) -> list[Document]:
    return read(KUBERNETES / "rendered" / f"{overlay}.yaml")


def built(folder: Path) -> list[Document]:
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "a warning"
    return documents(done.stdout)


def with_components(folder: Path, overlay: str, *names: str) -> list[Document]:
    """Return what an overlay renders to with components added: as a user's own kustomization does it."""

    def relative(path: Path) -> str:
        return os.path.relpath(path.resolve(), folder.resolve())

    own = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [relative(KUBERNETES / "overlays" / overlay)],
        "components": [relative(COMPONENTS / name) for name in names],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(own))
    return built(folder)


# What is committed


@kustomize
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_rendered_manifests_are_what_kustomize_makes_of_the_overlays(overlay: str) -> None:
    assert rendered(overlay) == built(KUBERNETES / "overlays" / overlay), "run python deploy/kubernetes/make.py"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_manifest_has_only_keys_that_kubernetes_knows(overlay: str) -> None:
    for document in rendered(overlay):
        manifests.check_schema(document)


def test_a_key_that_kubernetes_does_not_know_would_be_seen() -> None:
    document = one(rendered("edge"), "Deployment")
    document["spec"]["template"]["spec"]["containers"][0]["lifecyle"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        manifests.check_schema(document)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_restricted(overlay: str) -> None:
    found = list(manifests.pods(rendered(overlay)))
    assert found
    for pod in found:
        manifests.check_restricted(pod)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_settings_pass_and_the_pod_has_time_memory_and_disk_for_them(overlay: str, tmp_path: Path) -> None:
    found = rendered(overlay)
    settings = manifests.settings_in(found, tmp_path)
    (pod,) = manifests.pods(found)
    manifests.check_gateway(pod, settings)


# The edge


def test_the_edge_needs_a_key_of_its_callers(tmp_path: Path) -> None:
    settings = manifests.settings_in(rendered("edge"), tmp_path)
    assert settings.auth.mode == "keys"
    assert not settings.listen.is_loopback


def test_the_edge_is_out_of_the_balancer_before_it_refuses() -> None:
    (pod,) = manifests.pods(rendered("edge"))
    container = manifests.gateway(pod)
    readiness = container["readinessProbe"]
    assert readiness["httpGet"]["path"] == "/readyz"
    assert readiness["failureThreshold"] == 1
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] >= readiness["periodSeconds"]


def test_a_rollout_of_the_edge_never_takes_a_pod_before_the_next_is_ready() -> None:
    deployment = one(rendered("edge"), "Deployment")
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert "replicas" not in deployment["spec"], "the autoscaler's business"


def test_services_policies_and_the_autoscaler_all_mean_the_same_pods() -> None:
    found = rendered("edge")
    deployment = one(found, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        one(found, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one(found, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        *(service["spec"]["selector"] for service in manifests.of_kind(found, "Service")),
    ]
    for pod in manifests.pods(found):
        selectors += [c["labelSelector"]["matchLabels"] for c in pod["topologySpreadConstraints"]]
    assert all(selector.items() <= labels.items() for selector in selectors)
    target = one(found, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])


def test_services_and_policies_name_ports_that_the_pod_has() -> None:
    found = rendered("edge")
    (pod,) = manifests.pods(found)
    ports = {port["name"] for port in manifests.gateway(pod)["ports"]}
    named = {port["targetPort"] for s in manifests.of_kind(found, "Service") for port in s["spec"]["ports"]}
    policy = one(found, "NetworkPolicy")["spec"]
    assert named == ports == {port["port"] for rule in policy["ingress"] for port in rule["ports"]}


def test_the_autoscaler_goes_by_a_metric_that_there_is_and_the_adapter_knows() -> None:
    metrics = one(rendered("edge"), "HorizontalPodAutoscaler")["spec"]["metrics"]
    (name,) = [metric["pods"]["metric"]["name"] for metric in metrics if metric["type"] == "Pods"]
    assert name in {spec.name for spec in CATALOGUE if spec.type == "gauge"}
    (rule,) = yaml.safe_load((COMPONENTS / "autoscaling" / "adapter.yaml").read_text())["rules"]["custom"]
    assert rule["name"]["as"] == name
    assert rule["seriesQuery"].startswith(f"{name}{{")


def test_a_pod_that_may_be_drained_for_minutes_is_not_scaled_away_by_a_moment() -> None:
    found = rendered("edge")
    down = one(found, "HorizontalPodAutoscaler")["spec"]["behavior"]["scaleDown"]
    (pod,) = manifests.pods(found)
    assert down["stabilizationWindowSeconds"] > pod["terminationGracePeriodSeconds"]


# The sidecar


@pytest.mark.parametrize("overlay", SIDECARS)
def test_a_sidecar_serves_its_pod_and_nobody_else(overlay: str, tmp_path: Path) -> None:
    found = rendered(overlay)
    settings = manifests.settings_in(found, tmp_path)
    (pod,) = manifests.pods(found)
    assert settings.listen.is_loopback
    assert settings.ops.token is None, "health and metrics only, unless the Secret has a token"
    assert [port["containerPort"] for port in manifests.gateway(pod)["ports"]] == [settings.ops.listen.port]
    (app,) = [c for c in pod["containers"] if c["name"] == "app"]
    environment = {variable["name"]: variable["value"] for variable in app["env"]}
    assert environment["OPENAI_BASE_URL"] == f"http://{settings.listen}/v1"
    (whisper,) = [c for c in pod["containers"] if c["name"] == "whisper"]
    said = {variable["name"]: variable["value"] for variable in whisper["env"]}
    (provider,) = settings.providers
    assert provider.base_url == f"http://{said['UVICORN_HOST']}:{said['UVICORN_PORT']}/v1"


def test_a_native_sidecar_starts_before_the_app_and_ends_after_it() -> None:
    (pod,) = manifests.pods(rendered("sidecar"))
    (sidecar,) = pod["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert "startupProbe" in sidecar
    assert "lifecycle" not in sidecar, "it is told to stop when the others have ended"


def test_a_classic_sidecar_waits_for_the_others_before_it_stops() -> None:
    (pod,) = manifests.pods(rendered("sidecar-classic"))
    assert "initContainers" not in pod
    assert manifests.gateway(pod)["lifecycle"]["preStop"]["sleep"]["seconds"] > 0


# Components


@kustomize
def test_the_edge_with_every_component_is_valid_too(tmp_path: Path) -> None:
    found = with_components(tmp_path, "edge", "monitoring", "rules", "dashboards", "postgres")
    kinds = {document["kind"] for document in found}
    assert {"ServiceMonitor", "PrometheusRule"} <= kinds
    for document in found:
        manifests.check_schema(document)
    store = tmp_path / "url"
    store.write_text("postgresql://audiogate:secret@postgres/audiogate")
    (pod,) = manifests.pods(found)
    container = manifests.gateway(pod)
    (variable,) = [v for v in container["env"] if v["name"] == "AUDIOGATE_RECORDS__STORE_FILE"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes[mounts[variable["value"].rpartition("/")[0]]]["secret"]["secretName"] == "audiogate-store"
    settings = manifests.settings_in(found, tmp_path, **{variable["name"]: str(store)})
    assert str(settings.records.store).startswith("postgresql://")
    manifests.check_gateway(pod, settings)
    manifests.check_restricted(pod)


@kustomize
def test_the_kustomization_on_the_page_renders_with_the_image_that_it_names(tmp_path: Path) -> None:
    (block,) = [text for text in blocks(page("docs/deployment.md"), "yaml") if "kind: Kustomization" in text]
    beside = os.path.relpath(ROOT.resolve(), tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(block.replace("deploy/kubernetes/", f"{beside}/deploy/kubernetes/"))
    (pod,) = manifests.pods(built(tmp_path))
    assert manifests.gateway(pod)["image"] == "registry.example.com/audiogate:0.1.0"


@kustomize
@pytest.mark.parametrize("overlay", SIDECARS)
def test_sidecars_can_be_scraped_by_their_pod(overlay: str, tmp_path: Path) -> None:
    found = with_components(tmp_path, overlay, "pod-monitoring")
    monitor = one(found, "PodMonitor")["spec"]
    template = one(found, "Deployment")["spec"]["template"]
    assert monitor["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in manifests.gateway(template["spec"])["ports"]}
    assert {"targetLabel": "job", "replacement": JOB} in endpoint["relabelings"]


def test_the_service_monitor_finds_the_ops_service_and_names_the_job() -> None:
    (monitor,) = read(COMPONENTS / "monitoring" / "servicemonitor.yaml")
    spec = monitor["spec"]
    services = manifests.of_kind(rendered("edge"), "Service")
    (service,) = [s for s in services if spec["selector"]["matchLabels"].items() <= s["metadata"]["labels"].items()]
    (endpoint,) = spec["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert service["metadata"]["labels"][spec["jobLabel"]] == JOB
    assert service["spec"]["publishNotReadyAddresses"] is True, "a draining gateway is still scraped"


def test_the_rules_of_the_operator_are_those_of_the_file() -> None:
    (made,) = read(COMPONENTS / "rules" / "prometheusrule.yaml")
    assert made["spec"] == yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text())


@kustomize
def test_the_dashboards_are_config_maps_that_grafana_looks_for() -> None:
    folder = ROOT / "grafana" / "dashboards"
    found = built(folder)
    files = {name: text for document in found for name, text in document["data"].items()}
    assert files == {path.name: path.read_text() for path in folder.glob("*.json")}
    assert all(document["metadata"]["labels"] == {"grafana_dashboard": "1"} for document in found)
    largest = max(len(text.encode()) for text in files.values())
    assert largest < 262_144, "kubectl apply keeps the whole object in an annotation of at most 256 KiB"
