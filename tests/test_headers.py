"""What crosses the gateway and what never does, in both directions (INTERFACE 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from proxy.headers import CREDENTIALS, HOP_BY_HOP, TraceParent, is_token, parent_in, to_client, to_upstream

if TYPE_CHECKING:
    from collections.abc import Mapping


def sent(*client: tuple[str, str], provider: Mapping[str, str] | None = None, **options: Any) -> list[tuple[str, str]]:
    options.setdefault("own_credential", False)
    return list(to_upstream(CIMultiDict(client), provider or {}, **options).items())


@pytest.mark.parametrize(
    "name",
    [
        *sorted(HOP_BY_HOP),
        *sorted(CREDENTIALS),
        "Authorization",
        "Cookie",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Anything",
        "Forwarded",
        "X-Real-IP",
        "Origin",
        "Host",
        "Expect",
        "Content-Length",
        "x-portkey-api-key",
        "x-portkey-config",
        "X-Portkey-Anything",
        "X_Api_Key",
        "content_type",
    ],
)
def test_never_reaches_the_upstream(name: str) -> None:
    assert sent((name, "v"), ("X-Other", "o")) == [("X-Other", "o")]


@pytest.mark.parametrize(
    "name",
    ["User-Agent", "Accept", "Accept-Language", "Content-Type", "OpenAI-Organization", "OpenAI-Beta", "traceparent",
     "Idempotency-Key", "X-Custom", "Accept-Encoding", "Cookies", "X-Originated"],
)  # fmt: skip
def test_everything_else_reaches_it_as_it_came(name: str) -> None:
    assert sent((name, "v, w")) == [(name, "v, w")]


def test_repeated_headers_keep_their_order_and_number() -> None:
    client = [("X-A", "1"), ("X-B", "2"), ("x-a", "3"), ("X-A", "")]
    assert sent(*client) == client


@pytest.mark.parametrize("connection", ["x-hop, keep-alive", "X-HOP", " x-hop ,,", "close"])
def test_what_connection_names_is_hop_by_hop_too(connection: str) -> None:
    found = sent(("X-Hop", "1"), ("Connection", connection), ("X-Stays", "2"))
    expected = [("X-Stays", "2")] if "hop" in connection.lower() else [("X-Hop", "1"), ("X-Stays", "2")]
    assert found == expected


def test_connection_may_be_repeated_and_never_removes_what_the_provider_sets() -> None:
    client = [("Connection", "x-hop"), ("Connection", "authorization, content-type"), ("X-Hop", "1")]
    provider = {"Authorization": "Bearer own", "Content-Type": "audio/wav"}
    assert sent(*client, provider=provider) == [("Authorization", "Bearer own"), ("Content-Type", "audio/wav")]


def test_the_providers_headers_come_last_and_replace_the_clients() -> None:
    found = sent(("api-version", "old"), ("API-Version", "older"), ("X-A", "1"), provider={"Api-Version": "own"})
    assert sorted(found) == [("Api-Version", "own"), ("X-A", "1")]


@pytest.mark.parametrize(
    ("client", "identity", "expected"),
    [((), False, None), ((), True, "identity"), (("gzip", "br"), True, "identity"), (("gzip",), False, "gzip")],
)
def test_audio_routes_ask_for_an_uncompressed_reply(
    client: tuple[str, ...], identity: bool, expected: str | None
) -> None:
    pairs = [("Accept-Encoding", value) for value in client]
    found = [value for name, value in sent(*pairs, identity=identity) if name == "Accept-Encoding"]
    assert found == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("name", "crosses"),
    [
        ("Authorization", True),
        ("api-key", True),
        ("x-api-key", True),
        ("X_Odd", True),
        ("X-Forwarded-For", True),
        ("Origin", True),
        ("x-portkey-trace-id", True),
        ("x-portkey-api-key", True),
        ("Host", False),
        ("Expect", False),
        ("Cookie", False),
        ("Content-Length", False),
        ("Transfer-Encoding", False),
        ("Connection", False),
        ("Proxy-Authorization", False),
        ("Keep-Alive", False),
        ("Upgrade", False),
        ("TE", False),
    ],
)
def test_forward_headers_add_what_they_name_within_limits(name: str, crosses: bool) -> None:
    assert sent((name, "v"), forward=(name.upper(),)) == ([(name.lower(), "v")] if crosses else [])


def test_a_content_header_that_is_forwarded_by_name_is_neither_added_nor_lost() -> None:
    assert sent(("Content-Type", "a/b"), forward=("content-type",)) == [("Content-Type", "a/b")]


@pytest.mark.parametrize("name", [*sorted(CREDENTIALS), "x-portkey-api-key", "x-portkey-azure-ad-token"])
def test_no_credential_is_forwarded_to_a_target_that_has_its_own(name: str) -> None:
    assert sent((name, "the client's"), forward=(name,), own_credential=True) == []


def test_the_providers_credential_beats_a_forwarded_one() -> None:
    found = sent(("Authorization", "Bearer x"), provider={"Authorization": "Bearer own"}, forward=("authorization",))
    assert [value for _, value in found] == ["Bearer own"]


def test_a_forwarded_header_is_not_sent_twice_and_keeps_its_number() -> None:
    client = [("X-A", "1"), ("X-A", "2")]
    assert [value for _, value in sent(*client, forward=("x-a", "X-A", "absent"))] == ["1", "2"]


def test_what_connection_names_is_not_forwarded_either() -> None:
    assert sent(("Connection", "x-hop"), ("X-Hop", "1"), forward=("x-hop",)) == []


@pytest.mark.parametrize(
    "name", ["X-Custom", "User-Agent", "Accept", "Authorization", "x-api-key", "X-Portkey-Api-Key"]
)
@pytest.mark.parametrize("value", ["gw-1", "Bearer gw-1", "prefix gw-1 suffix"])
def test_the_gateway_key_crosses_in_no_header(name: str, value: str) -> None:
    assert sent((name, value), ("X-Other", "1"), forward=(name,), gateway_key="gw-1") == [("X-Other", "1")]


@pytest.mark.parametrize(
    "name",
    [*sorted(HOP_BY_HOP), "Content-Length", "Set-Cookie", "Set-Cookie2", "Strict-Transport-Security",
     "Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "x-portkey-trace-id", "X-Portkey-Provider"],
)  # fmt: skip
def test_never_comes_back(name: str) -> None:
    assert list(to_client(CIMultiDict([(name, "v"), ("X-Other", "o")])).items()) == [("X-Other", "o")]


def test_an_upstreams_other_headers_come_back_as_they_were() -> None:
    headers = [("Content-Type", "text/vtt"), ("x-request-id", "r"), ("Retry-After", "3"), ("Content-Encoding", "gzip"),
               ("x-ratelimit-remaining", "9"), ("Link", "a"), ("Link", "b")]  # fmt: skip
    assert list(to_client(CIMultiDictProxy(CIMultiDict(headers))).items()) == headers


def test_what_an_upstreams_connection_names_does_not_come_back() -> None:
    assert list(to_client(CIMultiDict([("Connection", "X-Hop"), ("x-hop", "1"), ("X-A", "2")])).items()) == [
        ("X-A", "2")
    ]


@pytest.mark.parametrize(
    ("text", "is_name"),
    [("x-a", True), ("X_1!", True), ("", False), ("a b", False), ("a:", False), ("é", False), ("a\n", False)],
)
def test_a_headers_name_is_a_token(text: str, is_name: bool) -> None:
    assert is_token(text) is is_name


TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("headers", "parent"),
    [
        ([("traceparent", GIVEN)], TraceParent(TRACE, SPAN, 1)),
        ([("Traceparent", GIVEN[:-2] + "fe")], TraceParent(TRACE, SPAN, 0xFE)),
        (
            [("traceparent", GIVEN), ("tracestate", "a=1"), ("tracestate", "b=2")],
            TraceParent(TRACE, SPAN, 1, "a=1,b=2"),
        ),
        ([("traceparent", GIVEN), ("tracestate", "a=" + "1" * 511)], TraceParent(TRACE, SPAN, 1)),
        ([("traceparent", "01" + GIVEN[2:] + "-more")], TraceParent(TRACE, SPAN, 1)),
        ([("traceparent", GIVEN + "-more")], None),
        ([("traceparent", GIVEN), ("traceparent", GIVEN)], None),
        ([("tracestate", "a=1")], None),
        ([], None),
    ],
)
def test_a_parent_is_read_as_w3c_trace_context_says(headers: list[tuple[str, str]], parent: TraceParent | None) -> None:
    assert parent_in(CIMultiDict(headers)) == parent


def test_a_parent_is_written_as_version_00() -> None:
    assert str(TraceParent(TRACE, SPAN, 1, "a=1")) == GIVEN
