"""The rules for Prometheus: correct, tested by promtool, in the catalogue's words, and each with its page."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.bootstrap import in_ci, missing
from tests.grafana.expressions import check, series
from tests.rules.pages import anchors
from tests.rules.sources import ROOT

FOLDER = ROOT / "deploy" / "prometheus"
TESTS = ("rules_test.yml", "rules_slow_test.yml")
WORDS = {"severity": {"page", "ticket"}}


def loaded(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


RULES: list[dict[str, Any]] = [rule for group in loaded("rules.yml")["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = [rule for rule in RULES if "record" in rule]
CASES: list[dict[str, Any]] = [case for name in TESTS for case in loaded(name)["tests"]]


@pytest.fixture
def promtool() -> str:
    reason = missing("promtool")
    if reason is not None:
        if in_ci():
            pytest.fail(reason)
        pytest.skip(reason)
    return "promtool"


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


# promtool and amtool


def test_promtool_accepts_the_configuration(promtool: str) -> None:
    run(promtool, "check", "config", "prometheus.yml")


def test_promtool_finds_no_fault_with_the_rules(promtool: str) -> None:
    run(promtool, "check", "rules", "--lint=all", "rules.yml")


@pytest.mark.parametrize("name", TESTS)
def test_promtool_sees_every_alert_fire_and_be_silent(promtool: str, name: str) -> None:
    run(promtool, "test", "rules", name)


def test_amtool_accepts_the_sample_of_alertmanager() -> None:
    if shutil.which("amtool") is None:
        pytest.skip("amtool is not installed; Debian's prometheus-alertmanager brings it")
    run("amtool", "check-config", "alertmanager.yml")


# What promtool does not know


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("record") or rule["alert"])
def test_every_expression_asks_for_what_the_catalogue_has(rule: dict[str, Any]) -> None:
    check(rule["expr"])


@pytest.mark.parametrize("rule", RECORDED, ids=lambda rule: rule["record"])
def test_a_recording_rule_has_the_labels_that_its_name_says(rule: dict[str, Any]) -> None:
    assert check(rule["expr"]) == series(rule["record"]).labels


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"] + rule["labels"].get("window", ""))
def test_an_alert_says_what_is_wrong_in_labels_that_it_has(rule: dict[str, Any]) -> None:
    annotations = rule["annotations"]
    assert rule["labels"]["severity"] in WORDS["severity"]
    assert set(annotations) == {"summary", "description", "runbook_url"}
    named = set(re.findall(r"\$labels\.(\w+)", " ".join(annotations.values())))
    absent = {"job"} if "absent" in rule["expr"] else set()  # its labels are those of the selector
    assert named <= check(rule["expr"]) | absent


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    page = ROOT / "docs" / "monitoring.md"
    links = {rule["annotations"]["runbook_url"] for rule in ALERTS}
    assert links == {f"docs/monitoring.md#{rule['alert'].lower()}" for rule in ALERTS}
    runbooks = {anchor for anchor in anchors(page) if anchor.startswith("audiogate") and anchor != "audiogate"}
    assert {link.partition("#")[2] for link in links} == runbooks


def windows(rule: dict[str, Any]) -> tuple[str, str | None]:
    return rule["alert"], rule["labels"].get("window")


def test_every_alert_is_seen_to_fire() -> None:
    fired = {
        (check["alertname"], alert["exp_labels"].get("window"))
        for case in CASES
        for check in case.get("alert_rule_test", [])
        for alert in check["exp_alerts"]
    }
    assert fired == {windows(rule) for rule in ALERTS}


def test_every_alert_is_seen_to_be_silent() -> None:
    silent = {
        check["alertname"] for case in CASES for check in case.get("alert_rule_test", []) if not check["exp_alerts"]
    }
    assert silent == {rule["alert"] for rule in ALERTS}


def test_every_recording_rule_is_seen_to_record() -> None:
    text = " ".join(check["expr"] for case in CASES for check in case.get("promql_expr_test", []))
    assert {rule["record"] for rule in RECORDED if rule["record"] not in text} == set()


# The scrape


def test_the_ops_listener_is_scraped_under_the_job_that_the_rules_name() -> None:
    (job,) = [job for job in loaded("prometheus.yml")["scrape_configs"] if job["job_name"] == "audiogate"]
    assert job["static_configs"][0]["targets"] == ["127.0.0.1:8788"]
    named = {job for rule in RULES for job in re.findall(r'job="(\w+)"', rule["expr"])}
    assert named == {job["job_name"]}


def test_pages_wake_and_tickets_wait() -> None:
    sample = loaded("alertmanager.yml")
    receivers = {receiver["name"] for receiver in sample["receivers"]}
    routed = {sample["route"]["receiver"], *(route["receiver"] for route in sample["route"]["routes"])}
    assert routed == receivers
    matchers = {matcher for route in sample["route"]["routes"] for matcher in route["matchers"]}
    assert matchers == {'severity="page"'}
