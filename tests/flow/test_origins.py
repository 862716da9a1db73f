"""Web pages: refused unless their origin is listed, then answered by CORS (Fetch standard, section 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.flow.scripts import READ_ALL, reply, send
from tests.flow.stage import TRANSCRIPTIONS

if TYPE_CHECKING:
    from tests.flow.stage import Stage

LISTED = "https://app.example.com"
OTHERS = [
    "https://evil.example",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com.evil.example",
    "https://sub.app.example.com",
    "null",
    "",
]


@pytest.mark.parametrize("origin", [LISTED, "http://127.0.0.1", "null"])
def test_without_a_list_no_page_is_served(stage: Stage, origin: str) -> None:
    answer = stage.post(extra=[("Origin", origin)])
    assert (answer.status, answer.code) == (403, "not_allowed")
    assert not [name for name, _ in answer.headers if name.startswith("access-control-")]
    stage.unseen()
    assert stage.record()["error_code"] == "not_allowed"


@pytest.mark.parametrize("target", [TRANSCRIPTIONS, "/v1/models"])
@pytest.mark.parametrize("origin", OTHERS)
def test_with_a_list_no_other_page_is_served(keyed: Stage, origin: str, target: str) -> None:
    answer = keyed.post(extra=[("Origin", origin), ("x-portkey-provider", "free")], target=target)
    assert (answer.status, answer.code) == (403, "not_allowed")
    assert not [name for name, _ in answer.headers if name.startswith("access-control-")]
    keyed.unseen()
    keyed.record()


def test_a_listed_page_is_served_and_may_read_the_answer(keyed: Stage) -> None:
    keyed.script(READ_ALL, send(reply(headers=[("Access-Control-Allow-Origin", "*"), ("Vary", "Accept")])))
    answer = keyed.post(extra=[("Origin", LISTED), ("x-portkey-provider", "free")])
    assert answer.status == 200
    assert answer.header("access-control-allow-origin") == LISTED
    vary = ", ".join(value for name, value in answer.headers if name == "vary").lower()
    assert "origin" in vary
    assert "accept" in vary
    assert keyed.seen().header("origin") is None
    keyed.record()


def test_a_listed_page_may_read_a_refusal(keyed: Stage) -> None:
    answer = keyed.post(extra=[("Origin", LISTED), ("Authorization", "Bearer sk-flow-no")])
    assert (answer.status, answer.code) == (401, "invalid_api_key")
    assert answer.header("access-control-allow-origin") == LISTED
    keyed.record()


@pytest.mark.parametrize("target", [TRANSCRIPTIONS, "/v1/models"])
def test_a_preflight_of_a_listed_page_needs_no_key(keyed: Stage, target: str) -> None:
    """Browsers send no credentials with it, so it must not reach an upstream either."""
    asked = [
        ("Origin", LISTED),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization, content-type, x-portkey-provider"),
    ]
    answer = keyed.request("OPTIONS", target, None, asked, without=("Authorization", "x-portkey-provider"))
    assert answer.status in {200, 204}
    assert answer.header("access-control-allow-origin") == LISTED
    assert "POST" in (answer.header("access-control-allow-methods") or "")
    allowed = (answer.header("access-control-allow-headers") or "").lower()
    assert all(name in allowed for name in ("authorization", "content-type", "x-portkey-provider"))
    keyed.unseen()


@pytest.mark.parametrize("origin", OTHERS[:-1])
def test_a_preflight_of_another_page_learns_nothing(keyed: Stage, origin: str) -> None:
    asked = [("Origin", origin), ("Access-Control-Request-Method", "POST")]
    answer = keyed.request("OPTIONS", TRANSCRIPTIONS, None, asked, without=("Authorization",))
    assert answer.status == 403
    assert not [name for name, _ in answer.headers if name.startswith("access-control-")]
    keyed.unseen()


def test_a_request_without_an_origin_gets_no_cors_answer(keyed: Stage) -> None:
    answer = keyed.post(extra=[("x-portkey-provider", "free")])
    assert answer.status == 200
    assert not [name for name, _ in answer.headers if name.startswith("access-control-")]
    keyed.record()
