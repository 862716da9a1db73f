"""``Expect: 100-continue``: the gateway asks for a body only when it wants it (RFC 9110, section 10.1.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.flow.forms import CONTENT_TYPE, usual
from tests.flow.scripts import READ_ALL, hold, reply, send
from tests.flow.stage import TRANSCRIPTIONS

if TYPE_CHECKING:
    from tests.flow.client import Headers
    from tests.flow.stage import Stage

EXPECT = ("Expect", "100-continue")
BODY = usual()


def refusals() -> dict[str, tuple[str, str, Headers, tuple[int, str]]]:
    post = "POST"
    bad_key = [("Authorization", "Bearer sk-flow-nobody")]
    return {
        "bad key": (post, TRANSCRIPTIONS, bad_key, (401, "invalid_api_key")),
        "no key": (post, TRANSCRIPTIONS, [("Authorization", "")], (401, "missing_api_key")),
        "unknown path": (post, "/nowhere", [], (404, "unknown_route")),
        "unknown path, bad key": (post, "/nowhere", bad_key, (404, "unknown_route")),
        "wrong method": ("PUT", TRANSCRIPTIONS, [], (405, "method_not_allowed")),
        "unknown provider": (
            post,
            TRANSCRIPTIONS,
            [("x-portkey-provider", "nobody")],
            (400, "invalid_provider"),
        ),
        "bad config": (post, TRANSCRIPTIONS, [("x-portkey-config", "{")], (400, "invalid_config")),
        "no provider key": (
            post,
            TRANSCRIPTIONS,
            [("x-portkey-provider", "up")],
            (401, "missing_provider_key"),
        ),
        "not a form": (
            post,
            TRANSCRIPTIONS,
            [("Content-Type", "text/plain")],
            (415, "unsupported_media_type"),
        ),
        "no boundary": (
            post,
            TRANSCRIPTIONS,
            [("Content-Type", "multipart/form-data")],
            (400, "invalid_multipart"),
        ),
        "compressed": (post, TRANSCRIPTIONS, [("Content-Encoding", "gzip")], (415, "unsupported_encoding")),
        "too large": (post, TRANSCRIPTIONS, [("Content-Length", "9000000000")], (413, "upload_too_large")),
        "from a web page": (post, TRANSCRIPTIONS, [("Origin", "https://evil.example")], (403, "not_allowed")),
        "an unknown expectation": (post, TRANSCRIPTIONS, [("Expect", "200-ok")], (417, "expectation_failed")),
    }


REFUSALS = refusals()


@pytest.mark.parametrize(("method", "target", "extra", "expected"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_body_that_is_not_wanted_is_not_asked_for(
    keyed: Stage, method: str, target: str, extra: Headers, expected: tuple[int, str]
) -> None:
    given = {name for name, _ in extra}
    first = [("Content-Type", CONTENT_TYPE), ("Content-Length", str(len(BODY))), EXPECT]
    keyed.provider = "free"
    with keyed.connect() as connection:
        connection.head(method, target, [h for h in first if h[0] not in given] + keyed.headers(extra))
        answer = connection.read_reply()
        assert answer.interim == []
        assert (answer.status, answer.code) == expected
        assert answer.closes, "the client may send its body or not: the next request could not be told from it"
        connection.push(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.says_no_more()
    keyed.unseen()
    keyed.record()


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_wanted_body_is_asked_for_once(keyed: Stage, chunked: bool) -> None:
    keyed.provider = "free"
    with keyed.connect() as connection:
        keyed.begin(connection, None if chunked else len(BODY), [EXPECT])
        interim = connection.read_head()
        assert (interim.status, interim.headers) == (100, [])
        keyed.upstream.never(keyed.token, "length", 1)
        if chunked:
            connection.chunk(BODY)
            connection.end_chunks()
        else:
            connection.send(BODY)
        answer = connection.read_reply()
        assert (answer.status, answer.interim) == (200, [])
        keyed.begin(connection, len(BODY))
        connection.send(BODY)
        assert connection.read_reply().status == 200, "the connection serves on"
    seen = keyed.seen()
    assert (seen.header("expect"), seen.body) == (None, BODY)
    keyed.records(2)


def test_a_client_that_does_not_wait_is_served_all_the_same(keyed: Stage) -> None:
    keyed.provider = "free"
    answer = keyed.post(extra=[("Expect", "100-Continue")])
    assert (answer.status, answer.clean) == (200, True)
    assert answer.interim in ([], [100])
    assert keyed.seen().body == BODY


def test_an_expectation_of_http_1_0_is_ignored(keyed: Stage) -> None:
    with keyed.connect() as connection:
        headers = [EXPECT, ("Content-Type", CONTENT_TYPE), ("Content-Length", str(len(BODY)))]
        extra = keyed.headers([("x-portkey-provider", "free")])
        connection.head("POST", TRANSCRIPTIONS, headers + extra, version="1.0")
        connection.send(BODY)
        answer = connection.read_reply()
        assert (answer.status, answer.interim) == (200, [])
    keyed.record()


def test_a_body_that_passes_through_is_asked_for_as_well(keyed: Stage) -> None:
    with keyed.connect() as connection:
        extra = keyed.headers([("x-portkey-provider", "free")])
        connection.head("PUT", "/v1/files/1", [EXPECT, ("Content-Length", "5"), *extra])
        assert connection.read_head().status == 100
        connection.send(b"hello")
        assert connection.read_reply().status == 200
    assert keyed.seen().body == b"hello"


def test_an_upstreams_own_100_is_not_passed_on(keyed: Stage) -> None:
    keyed.script(send(b"HTTP/1.1 100 Continue\r\n\r\n"), READ_ALL, hold(), send(reply()))
    keyed.provider = "free"
    with keyed.connect() as connection:
        keyed.begin(connection, len(BODY))
        connection.send(BODY)
        keyed.seen()
        assert not connection.readable(0.1)
        keyed.release()
        assert connection.read_reply().interim == []
    keyed.record()
