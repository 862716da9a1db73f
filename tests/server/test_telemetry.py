"""OpenTelemetry's variables: what each of them does, and that none of them can keep a gateway from serving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from proxy.records.trace import Sampler
from proxy.server.telemetry import Telemetry, telemetry_from

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "sk-otlp-secret"
HERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


def given(**variables: str) -> Telemetry:
    """Return what comes of variables beside an endpoint; the prefix of all of them is left out."""
    found = telemetry_from({**HERE, **{f"OTEL_{name}": value for name, value in variables.items()}})
    assert found is not None
    return found


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().partition(":")[0].removeprefix("OTEL_") for record in caplog.records]


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, None),
        ({"EXPORTER_OTLP_ENDPOINT": ""}, None),
        ({"EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"EXPORTER_OTLP_ENDPOINT": "https://c/otlp/"}, "https://c/otlp/v1/traces"),
        ({"EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/mine"}, "http://c:4318/mine"),
        ({"EXPORTER_OTLP_ENDPOINT": "http://a", "EXPORTER_OTLP_TRACES_ENDPOINT": "http://b/"}, "http://b/"),
        ({"EXPORTER_OTLP_ENDPOINT": "http://c", "SDK_DISABLED": "TRUE"}, None),
        ({"EXPORTER_OTLP_ENDPOINT": "http://c", "SDK_DISABLED": "false"}, "http://c/v1/traces"),
        ({"EXPORTER_OTLP_ENDPOINT": "http://c", "TRACES_EXPORTER": "none"}, None),
        ({"EXPORTER_OTLP_ENDPOINT": "http://c", "TRACES_EXPORTER": "otlp"}, "http://c/v1/traces"),
    ],
)
def test_spans_go_where_the_endpoint_is(
    variables: dict[str, str], url: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    found = telemetry_from({f"OTEL_{name}": value for name, value in variables.items()})
    assert (found.url if found is not None else None) == url
    assert complaints(caplog) == []


@pytest.mark.parametrize(
    "url", ["collector:4318", "grpc://c:4317", "http://", "http://c:99999", "http://[c", "http://c\0"]
)
def test_an_endpoint_that_is_none_is_told_of(url: str, caplog: pytest.LogCaptureFixture) -> None:
    assert telemetry_from({"OTEL_EXPORTER_OTLP_ENDPOINT": url}) is None
    assert complaints(caplog) == ["EXPORTER_OTLP_ENDPOINT"]


def test_space_around_a_value_is_no_part_of_it() -> None:
    assert given(EXPORTER_OTLP_TRACES_ENDPOINT=" http://c/in\n").url == "http://c/in"


@pytest.mark.parametrize(
    ("variables", "field", "value"),
    [
        ({"EXPORTER_OTLP_TIMEOUT": "2500"}, "timeout", 2.5),
        ({"EXPORTER_OTLP_TIMEOUT": "2500", "EXPORTER_OTLP_TRACES_TIMEOUT": "100"}, "timeout", 0.1),
        ({"EXPORTER_OTLP_TIMEOUT": "0"}, "timeout", 10.0),
        ({"BSP_SCHEDULE_DELAY": "5000"}, "every", 5.0),
        ({"EXPORTER_OTLP_COMPRESSION": "gzip"}, "gzip", True),
        ({"EXPORTER_OTLP_COMPRESSION": "none"}, "gzip", False),
        ({"EXPORTER_OTLP_HEADERS": "api-key=a%20b, x-b = c=d,"}, "headers", {"api-key": "a b", "x-b": "c=d"}),
        ({"EXPORTER_OTLP_HEADERS": "a=1", "EXPORTER_OTLP_TRACES_HEADERS": "b=2"}, "headers", {"b": "2"}),
        ({"TRACES_SAMPLER": "always_on"}, "sampler", Sampler(1.0, follow=False)),
        ({"TRACES_SAMPLER": "always_off"}, "sampler", Sampler(0.0, follow=False)),
        ({"TRACES_SAMPLER": "traceidratio", "TRACES_SAMPLER_ARG": "0.25"}, "sampler", Sampler(0.25, follow=False)),
        ({"TRACES_SAMPLER": "traceidratio"}, "sampler", Sampler(1.0, follow=False)),
        ({"TRACES_SAMPLER": "parentbased_always_on"}, "sampler", Sampler()),
        ({"TRACES_SAMPLER": "parentbased_always_off"}, "sampler", Sampler(0.0)),
        ({"TRACES_SAMPLER": "parentbased_traceidratio", "TRACES_SAMPLER_ARG": "0"}, "sampler", Sampler(0.0)),
    ],
)
def test_a_variable_does_what_the_specification_says(
    variables: dict[str, str], field: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert getattr(given(**variables), field) == value
    assert complaints(caplog) == []


@pytest.mark.parametrize(
    ("variables", "field", "value"),
    [
        ({"EXPORTER_OTLP_TIMEOUT": "soon"}, "timeout", 10.0),
        ({"EXPORTER_OTLP_TIMEOUT": "-1"}, "timeout", 10.0),
        ({"BSP_SCHEDULE_DELAY": "nan"}, "every", 1.0),
        ({"EXPORTER_OTLP_COMPRESSION": "zstd"}, "gzip", False),
        ({"EXPORTER_OTLP_HEADERS": SECRET}, "headers", {}),
        ({"EXPORTER_OTLP_HEADERS": f"a b={SECRET}"}, "headers", {}),
        ({"EXPORTER_OTLP_HEADERS": f"a={SECRET}%0d%0ab: c"}, "headers", {}),
        ({"TRACES_SAMPLER": "jaeger_remote"}, "sampler", Sampler()),
        ({"TRACES_SAMPLER_ARG": "2", "TRACES_SAMPLER": "traceidratio"}, "sampler", Sampler(1.0, follow=False)),
        ({"TRACES_SAMPLER_ARG": "half", "TRACES_SAMPLER": "traceidratio"}, "sampler", Sampler(1.0, follow=False)),
        ({"EXPORTER_OTLP_PROTOCOL": "grpc"}, "url", "http://collector:4318/v1/traces"),
    ],
)
def test_a_value_that_cannot_be_understood_is_told_of_and_taken_for_none(
    variables: dict[str, str], field: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert getattr(given(**variables), field) == value
    (name,) = complaints(caplog)
    assert name == next(iter(variables))
    assert SECRET not in caplog.text


def test_another_exporter_is_told_of_and_none_is_made(caplog: pytest.LogCaptureFixture) -> None:
    assert telemetry_from({**HERE, "OTEL_TRACES_EXPORTER": "zipkin"}) is None
    assert complaints(caplog) == ["TRACES_EXPORTER"]


def test_spans_say_who_they_are_from() -> None:
    usual = given().resource
    assert usual["service.name"] == "audiogate"
    assert usual["service.instance.id"] != given().resource["service.instance.id"], "two workers are two instances"
    named = given(RESOURCE_ATTRIBUTES="service.name=a,team=stt%20edge", SERVICE_NAME="b").resource
    assert (named["service.name"], named["team"]) == ("b", "stt edge")
    assert given(RESOURCE_ATTRIBUTES="service.name=a").resource["service.name"] == "a"


def test_a_broken_list_of_attributes_is_left_out_whole(caplog: pytest.LogCaptureFixture) -> None:
    found = given(RESOURCE_ATTRIBUTES="team=a,broken")
    assert "team" not in found.resource
    assert complaints(caplog) == ["RESOURCE_ATTRIBUTES"]


def test_nothing_that_is_shown_holds_a_credential() -> None:
    found = telemetry_from(
        {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"https://user:{SECRET}@c:4318/in?token={SECRET}",
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{SECRET}",
        }
    )
    assert found is not None
    assert SECRET not in repr(found)
    assert found.where == "https://c:4318/in"


def test_a_certificate_that_cannot_be_read_is_told_of_and_nothing_is_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without it the collector would be trusted for other reasons, or not know who we are."""
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    for path in (broken, tmp_path / "absent.pem"):
        assert telemetry_from({**HERE, "OTEL_EXPORTER_OTLP_CERTIFICATE": str(path)}) is None
    assert complaints(caplog) == ["EXPORTER_OTLP_CERTIFICATE"] * 2
