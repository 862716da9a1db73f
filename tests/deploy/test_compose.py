"""The compose project: valid by the Compose specification, and every file, port and address in it is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from compose_viz.spec.compose_spec import ComposeSpecification
from pydantic import ValidationError

from proxy import __version__
from proxy.engines.serve import DEFAULT_PORT
from proxy.settings import Settings, load
from tests.bootstrap import in_ci, missing
from tests.deploy import manifests
from tests.rules.sources import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "deploy" / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]


@pytest.fixture
def settings() -> Settings:
    return load(str(FOLDER / "audiogate.yaml"), environ={"AUDIOGATE_OPS__TOKEN": "audiogate"}, flags={}).settings


def mounts(service: str) -> dict[str, str]:
    """Return where a service's volumes are mounted, by what is mounted."""
    return {given.split(":")[0]: given.split(":")[1] for given in SERVICES[service].get("volumes", []) if ":" in given}


def test_the_specification_knows_every_key() -> None:
    plain = {key: value for key, value in COMPOSE.items() if not key.startswith("x-")}  # the user's own, by the book
    ComposeSpecification.model_validate(plain)


def test_a_key_that_the_specification_does_not_know_would_be_seen() -> None:
    wrong = {**COMPOSE, "services": {"gateway": {"image": "audiogate", "port": ["1:1"]}}}
    with pytest.raises(ValidationError, match="port"):
        ComposeSpecification.model_validate(wrong)


def test_everything_that_is_mounted_or_built_is_there() -> None:
    for name, service in SERVICES.items():
        for source in mounts(name):
            assert (FOLDER / source).exists() if source[0] == "." else source in COMPOSE["volumes"], source
        if "build" in service:
            context = FOLDER / service["build"]["context"]
            recipe = (context / service["build"]["dockerfile"]).read_text()
            assert re.search(rf"^FROM \S+ AS {service['build']['target']}$", recipe, re.MULTILINE)
            assert service["image"].endswith(f":{__version__}")
        assert set(service.get("depends_on", {})) <= set(SERVICES)


def test_nothing_is_published_beyond_this_machine() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_no_service_may_more_than_it_must() -> None:
    for service in SERVICES.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_gateway_has_time_memory_and_a_store_for_its_settings(settings: Settings) -> None:
    service = SERVICES["gateway"]
    needed = settings.drain.delay + settings.drain.timeout + manifests.CLOSING
    assert int(service["stop_grace_period"].removesuffix("s")) >= needed
    memory = int(service["mem_limit"].removesuffix("m")) * manifests.MIB
    assert memory >= manifests.IDLE + settings.limits.max_in_flight * manifests.UPLOAD
    folder = str(settings.records.store).removeprefix("sqlite:").rpartition("/")[0]
    assert {folder, "/tmp"} <= set(mounts("gateway").values())
    assert set(service["environment"]) == {"AUDIOGATE_OPS__TOKEN"}


def test_the_services_find_each_other(settings: Settings) -> None:
    (provider,) = settings.providers
    assert provider.base_url == f"http://engine:{DEFAULT_PORT}/v1"
    prometheus = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in prometheus["scrape_configs"]}
    assert targets["audiogate"] == [f"gateway:{settings.ops.listen.port}"]
    (source,) = yaml.safe_load((FOLDER / "datasource.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"


@pytest.mark.parametrize(
    ("ours", "theirs", "apart"),
    [
        (FOLDER / "prometheus.yml", ROOT / "deploy/prometheus/prometheus.yml", {"alerting", "storage", "targets"}),
        (FOLDER / "datasource.yaml", ROOT / "grafana/provisioning/datasources/prometheus.yaml", {"url"}),
    ],
)
def test_what_is_copied_differs_only_in_addresses(ours: Path, theirs: Path, apart: set[str]) -> None:
    assert without(yaml.safe_load(ours.read_text()), apart) == without(yaml.safe_load(theirs.read_text()), apart)


def without(value: Any, keys: set[str]) -> Any:
    """Return a document without these keys, wherever they are."""
    if isinstance(value, dict):
        return {key: without(inner, keys) for key, inner in value.items() if key not in keys}
    return [without(inner, keys) for inner in value] if isinstance(value, list) else value


def test_grafana_gets_the_dashboards_where_its_provisioning_looks() -> None:
    (provider,) = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/audiogate.yaml").read_text())["providers"]
    assert mounts("grafana")["../../grafana/dashboards"] == provider["options"]["path"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (ROOT / "grafana/dashboards" / home.removeprefix(provider["options"]["path"] + "/")).exists()


def test_prometheus_accepts_its_configuration(tmp_path: Path) -> None:
    if (reason := missing("promtool")) is not None:
        if in_ci():
            pytest.fail(reason)
        pytest.skip(reason)
    shutil.copy(FOLDER / "prometheus.yml", tmp_path)
    shutil.copy(ROOT / "deploy" / "prometheus" / "rules.yml", tmp_path)
    done = subprocess.run(["promtool", "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_where_the_configuration_looks() -> None:
    (rules,) = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["rule_files"]
    assert mounts("prometheus")["../prometheus/rules.yml"] == f"/etc/prometheus/{rules}"
