"""Counts of one process, and the exposition that sums several (INTERFACE 5)."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.records.metrics import Counts, exposition
from proxy.records.record import Record

FACTS = {"draining": False, "version": "1.2.3", "python": "3.11.7"}


def finished(method: str = "POST", status: int = 200, route: str = "transcriptions") -> dict[str, Any]:
    return Record(route, method, 0.0, status=status).close(1.0)


def document(counts: Counts, **changes: Any) -> dict[str, Any]:
    given = {"in_flight": 0, "written": 0, "dropped": 0, "reloaded": True, "spooled": 0} | changes
    return counts.document(**given)


def of(name: str, *labels: str) -> frozenset[str]:
    return frozenset((name, *labels))


def samples(*documents: dict[str, Any], **facts: Any) -> dict[frozenset[str], float]:
    text = exposition(documents, FACTS | facts).decode()
    return {
        of(sample.name.removeprefix("audiogate_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_requests_are_counted_by_route_method_and_status() -> None:
    counts = Counts()
    for each in (finished(), finished(), finished(status=499), finished("GET", 404, "_unmatched")):
        counts.add(each)
    found = samples(document(counts))
    assert found[of("requests_total", "transcriptions", "POST", "200")] == 2
    assert found[of("requests_total", "transcriptions", "POST", "499")] == 1
    assert found[of("requests_total", "_unmatched", "GET", "404")] == 1


@pytest.mark.parametrize(("method", "label"), [("PUT", "PUT"), ("BREW", "_other"), ("post", "_other")])
def test_a_method_that_nobody_knows_makes_no_label(method: str, label: str) -> None:
    counts = Counts()
    counts.add(finished(method))
    assert of("requests_total", "transcriptions", label, "200") in samples(document(counts))


def test_several_processes_are_shown_as_their_sum() -> None:
    one, two = Counts(), Counts()
    one.add(finished())
    two.add(finished())
    two.add(finished(status=500))
    two.rejected["bad_request"] += 3
    found = samples(
        document(one, in_flight=1, written=5, dropped=1, spooled=100),
        document(two, in_flight=2, written=6, spooled=11),
        draining=True,
    )
    assert found[of("requests_total", "transcriptions", "POST", "200")] == 2
    assert found[of("requests_total", "transcriptions", "POST", "500")] == 1
    assert found[of("requests_rejected_total", "bad_request")] == 3
    assert found[of("log_records_total", "stdout", "written")] == 11
    assert found[of("log_records_total", "stdout", "dropped")] == 1
    assert found[of("requests_in_flight")] == 3
    assert found[of("replay_bytes")] == 111
    assert found[of("draining")] == 1
    assert found[of("build_info", "1.2.3", "3.11.7")] == 1


@pytest.mark.parametrize(("reloaded", "value"), [((True, True), 1), ((True, False), 0), ((False, False), 0)])
def test_one_process_with_refused_settings_is_enough_to_say_so(reloaded: tuple[bool, bool], value: int) -> None:
    found = samples(*(document(Counts(), reloaded=each) for each in reloaded))
    assert found[of("config_last_reload_successful")] == value


def test_before_any_process_reports_everything_is_there_and_zero() -> None:
    found = samples()
    assert found[of("requests_rejected_total", "bad_request")] == 0
    assert found[of("log_records_total", "stdout", "written")] == 0
    assert found[of("requests_in_flight")] == 0
