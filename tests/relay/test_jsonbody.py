"""JSON bodies are parsed leniently or strictly, and changed only where a rule says so."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from aiohttp.test_utils import make_mocked_request

from proxy.errors import GatewayError
from proxy.relay.jsonbody import changed, is_json, parsed

WRONG = [b"", b"{", b"[]", b"null", b'"text"', b"1", b'{"a": 1}x', b"\xff", b'{"a": "\\ud800"}', b'{"a": NaN}']


@pytest.mark.parametrize("body", WRONG)
def test_what_is_no_object_is_refused_or_says_nothing(body: bytes) -> None:
    with pytest.raises(GatewayError) as refused:
        parsed(body)
    assert (refused.value.code, refused.value.status) == ("invalid_request", 400)
    assert parsed(body, lenient=True) == {}


def test_an_object_is_parsed() -> None:
    assert parsed(b' {"model": "m", "n": 1} ') == {"model": "m", "n": 1}


def test_a_body_without_changes_stays_as_it_came_whatever_it_is() -> None:
    for body in (*WRONG, b'{"b": 1,   "a": 2}'):
        assert changed(body, {}) is body


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"model": "n"}, {"model": "n", "input": "hi"}),
        ({"voice": "v"}, {"model": "m", "input": "hi", "voice": "v"}),
        ({"input": None, "absent": None}, {"model": "m"}),
        ({"deep": {"a": None}}, {"model": "m", "input": "hi", "deep": {"a": None}}),
    ],
)
def test_params_replace_add_and_remove(params: dict[str, Any], expected: dict[str, Any]) -> None:
    assert orjson.loads(changed(b'{"model": "m", "input": "hi"}', params)) == expected


def test_a_body_that_is_no_object_cannot_be_changed() -> None:
    with pytest.raises(GatewayError):
        changed(b"[]", {"model": "n"})


@pytest.mark.parametrize(
    ("content_type", "json"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("text/plain", False),
        ("application/jsonl", False),
        ("multipart/form-data; boundary=x", False),
        (None, False),
    ],
)
def test_a_body_is_json_when_it_says_so(content_type: str | None, json: bool) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert is_json(make_mocked_request("POST", "/v1/audio/speech", headers)) is json
