"""Kubernetes manifests as the tests read them: documents, pods, quantities, and what must hold for all of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import yaml

from proxy.settings import Settings, load
from tests.rules.sources import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KUBERNETES = ROOT / "deploy" / "kubernetes"
OURS = frozenset({"ServiceMonitor", "PodMonitor", "PrometheusRule"})  # of the Prometheus operator: no schema is at hand
OLDEST, NEWEST = "1.30", kubernetes_validate.latest_version()  # preStop.sleep is on by default since 1.30
SECRETS = "/run/secrets/audiogate"
MIB = 1024**2
NONROOT = 65532

IDLE = 80 * MIB  # the budget of an idle process
UPLOAD = 1.25 * MIB  # one in flight: what the benchmarks see at most, and replay.memory
SPARE = 256 * MIB  # of files that wait for the next upload
CLOSING = 20  # seconds: for requests that are cut (5), clients that do not hang up (8), the last records (5)

_UNITS = {"": 1, "m": 0.001, "Ki": 1024, "Mi": MIB, "Gi": 1024**3}
_RESTRICTED_VOLUMES = {"configMap", "emptyDir", "secret", "projected", "persistentVolumeClaim", "downwardAPI", "csi"}

Document = dict[str, Any]


def documents(text: str) -> list[Document]:
    """Return the documents of a text, empty ones left out."""
    return [document for document in yaml.safe_load_all(text) if document]


def read(path: Path) -> list[Document]:
    """Return the documents of a file."""
    return documents(path.read_text(encoding="utf-8"))


def of_kind(found: list[Document], kind: str) -> list[Document]:
    """Return the documents of one kind."""
    return [document for document in found if document["kind"] == kind]


def one(found: list[Document], kind: str) -> Document:
    """Return the only document of a kind."""
    (document,) = of_kind(found, kind)
    return document


def check_schema(document: Document) -> None:
    """Check a document against Kubernetes' own schemas, unknown keys included."""
    if document["kind"] not in OURS:
        for version in (OLDEST, NEWEST):
            kubernetes_validate.validate(document, version, strict=True)


def pods(found: list[Document]) -> Iterator[Document]:
    """Yield the specification of every pod."""
    for document in found:
        if "template" in document.get("spec", {}):
            yield document["spec"]["template"]["spec"]


def containers(pod: Document) -> list[Document]:
    """Return all containers of a pod, those before the start and sidecars included."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def gateway(pod: Document) -> Document:
    """Return the gateway's container."""
    (found,) = [c for c in containers(pod) if re.match(r"([\w.:-]+/)*audiogate[:@]", c["image"])]
    return found


def check_restricted(pod: Document) -> None:
    """Check a pod against the restricted Pod Security Standard, and that it has no token of the cluster."""
    shared = pod.get("securityContext", {})
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    for volume in pod.get("volumes", []):
        assert volume.keys() - {"name"} <= _RESTRICTED_VOLUMES
    for container in containers(pod):
        own = container["securityContext"]
        context = {**shared, **own}
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in own
        assert all("hostPort" not in port for port in container.get("ports", []))


def check_gateway(pod: Document, settings: Settings) -> None:
    """Check that the gateway's container has what its settings need: time, memory, disk, probes."""
    container = gateway(pod)
    context = {**pod["securityContext"], **container["securityContext"]}
    assert (context["runAsUser"], context["runAsGroup"]) == (NONROOT, NONROOT)
    assert context["readOnlyRootFilesystem"] is True
    limits = container["resources"]["limits"]
    assert "cpu" not in limits, "a throttled event loop is late with every stream"
    assert quantity(limits["memory"]) >= IDLE + settings.limits.max_in_flight * UPLOAD
    assert pod["terminationGracePeriodSeconds"] >= grace(container, settings)
    (ops,) = [port for port in container["ports"] if port["containerPort"] == settings.ops.listen.port]
    assert not settings.ops.listen.is_loopback, "probes ask the pod's address"
    probes = {name: container[name]["httpGet"] for name in container if name.endswith("Probe")}
    assert all(probe["port"] == ops["name"] for probe in probes.values())
    assert probes["livenessProbe"]["path"] == "/livez", "a draining gateway is alive"
    assert probes["startupProbe"]["path"] == "/readyz"
    check_room(pod, container, settings)


def check_room(pod: Document, container: Document, settings: Settings) -> None:
    """Check that what is written to has a place, and that the spool's is large enough not to evict the pod."""
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    spool = mounts[str(settings.replay.directory)]["emptyDir"]
    assert quantity(spool["sizeLimit"]) >= settings.replay.total * settings.workers + SPARE * settings.workers
    assert "medium" not in spool, "memory would count against the container's limit"
    assert mounts["/tmp"]["emptyDir"]["medium"] == "Memory"
    store = str(settings.records.store)
    assert not store.startswith("sqlite:") or store.removeprefix("sqlite:").rpartition("/")[0] in mounts


def grace(container: Document, settings: Settings) -> float:
    """Return the seconds between the order to stop and the last record, at most."""
    before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    return float(before + settings.drain.delay + settings.drain.timeout + CLOSING)


def quantity(text: str | float) -> float:
    """Return a quantity of Kubernetes as a number."""
    found = re.fullmatch(r"([\d.]+)(m|Ki|Mi|Gi)?", str(text))
    assert found, text
    return float(found[1]) * _UNITS[found[2] or ""]


def settings_in(found: list[Document], folder: Path, **environ: str) -> Settings:
    """Return the settings of the manifests' ConfigMap, as ``audiogate check`` would read them in the pod."""
    (data,) = [m["data"] for m in of_kind(found, "ConfigMap") if "audiogate.yaml" in m["data"]]
    return settings_of(data["audiogate.yaml"], folder, **environ)


def settings_of(text: str, folder: Path, **environ: str) -> Settings:
    """Return the settings that a text says, with a file for each secret that it names."""
    secrets = folder / "secrets"
    secrets.mkdir(exist_ok=True)
    for name in re.findall(rf"{SECRETS}/([\w.-]+)", text):
        (secrets / name).write_text(f"a-secret-{name}")
    path = folder / "audiogate.yaml"
    path.write_text(text.replace(SECRETS, str(secrets)))
    return load(str(path), environ=environ, flags={}).settings
