"""What the headers of a request say of its routing, and which of them cannot be understood."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from proxy.errors import GatewayError
from proxy.routing.hints import Hints, hints_of, metadata_of, trace_id


def said(**headers: str) -> Hints:
    return hints_of(CIMultiDict({f"x-portkey-{name.replace('_', '-')}": value for name, value in headers.items()}))


TEXTS = (
    "provider", "virtual_key", "config", "custom_host", "azure_resource_name", "azure_deployment_id",
    "azure_api_version", "azure_ad_token", "openai_organization", "openai_project",
)  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_taken_without_the_space_around_it_and_counts_as_absent_when_empty(name: str) -> None:
    taken: dict[str, Any] = {name: "a value"}
    assert said(**{name: " a value "}) == Hints(**taken)
    assert said(**{name: "  "}) == Hints()


@pytest.mark.parametrize(
    ("name", "value", "hint", "expected"),
    [
        ("forward_headers", "X-A, x-b", "forward_headers", ("X-A", "x-b")),
        ("forward_headers", "['X-A', \"x-b\"]", "forward_headers", ("X-A", "x-b")),
        ("forward_headers", " x-a ,, ", "forward_headers", ("x-a",)),
        ("forward_headers", "", "forward_headers", ()),
        ("forward_headers", "[]", "forward_headers", ()),
        ("request_timeout", "1500", "request_timeout", 1500.0),
        ("request_timeout", " 0.5 ", "request_timeout", 0.5),
        ("request_timeout", "0", "request_timeout", 0.0),
        ("debug", "false", "keep_transcript", False),
        ("debug", " FALSE ", "keep_transcript", False),
        ("debug", "true", "keep_transcript", True),
        ("debug", "", "keep_transcript", True),
    ],
)
def test_other_values_are_read(name: str, value: str, hint: str, expected: Any) -> None:
    assert getattr(said(**{name: value}), hint) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("forward_headers", "x a"),
        ("forward_headers", "x-a: 1"),
        ("forward_headers", "x-é"),
        ("forward_headers", "x-a, X-Portkey-Forward-Headers"),
        ("request_timeout", ""),
        ("request_timeout", "soon"),
        ("request_timeout", "-1"),
        ("request_timeout", "nan"),
        ("request_timeout", "inf"),
        ("request_timeout", "1e999"),
    ],
)
def test_a_value_that_cannot_be_understood_is_an_invalid_header(name: str, value: str) -> None:
    with pytest.raises(GatewayError) as refused:
        said(**{name: value})
    header = f"x-portkey-{name.replace('_', '-')}"
    assert (refused.value.code, refused.value.status, refused.value.param) == ("invalid_header", 400, header)
    assert refused.value.message.startswith(f"{header} must ")


@pytest.mark.parametrize(
    ("value", "expected"), [('{"_user": "ada", "n": [1]}', {"_user": "ada", "n": [1]}), ("", {}), (" ", {})]
)
def test_metadata_is_a_json_object(value: str, expected: Any) -> None:
    assert metadata_of(CIMultiDict({"X-Portkey-Metadata": value})) == expected
    assert metadata_of(CIMultiDict()) == {}


@pytest.mark.parametrize(
    "value", ["ada", "[]", '"text"', "null", '{"a": 1', '{"a": ' * 20_000, '{"a": ' + "9" * 5_000 + "}"]
)
def test_metadata_that_is_none_is_an_invalid_header(value: str) -> None:
    with pytest.raises(GatewayError) as refused:
        metadata_of(CIMultiDict({"x-portkey-metadata": value}))
    assert (refused.value.code, refused.value.param) == ("invalid_header", "x-portkey-metadata")
    assert refused.value.message.startswith("x-portkey-metadata must ")


def test_names_count_in_any_case_and_other_headers_say_nothing() -> None:
    headers = CIMultiDict(
        {"X-PORTKEY-PROVIDER": "groq", "provider": "openai", "x-portkey-strict-open-ai-compliance": "false"}
    )
    assert hints_of(headers) == Hints(provider="groq")
    assert hints_of(CIMultiDict({"Content-Type": "a/b"})) == Hints()


def test_secrets_are_not_shown() -> None:
    assert "hidden" not in repr(said(azure_ad_token="hidden"))


PARENT = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"x-portkey-trace-id": "my trace, 1"}, "my trace, 1"),
        ({"X-Portkey-Trace-Id": "x" * 100}, "x" * 100),
        ({"traceparent": f"00-{PARENT}-b7ad6b7169203331-01"}, PARENT),
        ({"traceparent": f"cc-{PARENT}-b7ad6b7169203331-01-what-comes-later"}, PARENT),
        ({"x-portkey-trace-id": "mine", "traceparent": f"00-{PARENT}-b7ad6b7169203331-01"}, "mine"),
        # W3C Trace Context, 3.2.2: what is not valid is as good as absent
        ({"traceparent": f"ff-{PARENT}-b7ad6b7169203331-01"}, None),
        ({"traceparent": f"00-{'0' * 32}-b7ad6b7169203331-01"}, None),
        ({"traceparent": f"00-{PARENT}-{'0' * 16}-01"}, None),
        ({"traceparent": f"00-{PARENT.upper()}-b7ad6b7169203331-01"}, None),
        ({"traceparent": f"00-{PARENT}-b7ad6b7169203331"}, None),
        ({"traceparent": f"00-{PARENT}-b7ad6b7169203331-01extra"}, None),
        ({"traceparent": "garbage"}, None),
    ],
)
def test_the_trace_id_is_the_callers_else_that_of_traceparent(headers: dict[str, str], expected: str | None) -> None:
    assert trace_id(CIMultiDict(headers)) == expected


@pytest.mark.parametrize("given", ["", "x" * 101, "a\tb", "é", "a\x7f", "\udcff"])
def test_a_trace_id_that_no_header_should_carry_is_invalid(given: str) -> None:
    with pytest.raises(GatewayError) as refused:
        trace_id(CIMultiDict({"x-portkey-trace-id": given, "traceparent": f"00-{PARENT}-b7ad6b7169203331-01"}))
    assert (refused.value.code, refused.value.param) == ("invalid_header", "x-portkey-trace-id")


HEADERS = st.sampled_from(
    [*(name.replace("_", "-") for name in TEXTS), "metadata", "forward-headers", "request-timeout", "debug", "other"]
)


@given(st.lists(st.tuples(HEADERS, st.text(st.characters())), max_size=6))
def test_any_headers_are_hints_or_an_invalid_header(pairs: list[tuple[str, str]]) -> None:
    headers = CIMultiDict([(f"X-Portkey-{name}", value) for name, value in pairs])
    try:
        assert isinstance(hints_of(headers), Hints)
    except GatewayError as refused:
        assert refused.code == "invalid_header"  # noqa: PT017  (a refusal is one of two right ends)
