"""What crosses and what never does: hop-by-hop headers, credentials, the gateway's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.conftest import DESK_KEY, MOBILE_KEY, VIRTUAL_KEY
from tests.flow.forms import usual
from tests.flow.scripts import ECHO, READ_ALL
from tests.flow.stage import CALLER_KEY, TRANSCRIPTIONS

if TYPE_CHECKING:
    from tests.flow.client import Headers
    from tests.flow.driver import Seen
    from tests.flow.stage import Stage

KEPT: Headers = [
    ("User-Agent", "flow/1.0"),
    ("Accept", "application/json"),
    ("Accept-Language", "de, en;q=0.5"),
    ("Idempotency-Key", "once-1"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("X-Stainless-Lang", "python"),
    ("X-Empty", ""),
    ("X-Spaces", "a  b"),
]

DROPPED: Headers = [
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("Proxy-Authorization", "Basic sk-flow-proxy"),
    ("TE", "trailers"),
    ("Trailer", "X-Sum"),
    ("X-Private", "named by Connection"),
    ("Cookie", "session=sk-flow-cookie"),
    ("api-key", "sk-flow-a"),
    ("x-api-key", "sk-flow-b"),
    ("xi-api-key", "sk-flow-c"),
    ("X-Forwarded-For", "10.1.2.3"),
    ("X-Forwarded-Proto", "https"),
    ("Forwarded", "for=10.1.2.3"),
    ("X-Real-IP", "10.1.2.3"),
    ("x-portkey-metadata", '{"a":"b"}'),
    ("x-portkey-anything", "1"),
    ("X_Under_Score", "1"),
]

ROUTES = {
    "audio": ("POST", TRANSCRIPTIONS),
    "pass-through": ("POST", "/v1/things"),
    "files": ("PUT", "/v1/files/a"),
}


def cross(stage: Stage, method: str, target: str, extra: Headers, **options: Any) -> Seen:
    """Send a request with these headers; return what came out upstream."""
    body = usual()
    sized = [("Content-Type", "multipart/form-data; boundary=----flow7MA4YWxkTrZu0gW")]
    answer = stage.request(method, target, body, sized + extra, **options)
    assert answer.status == 200
    stage.record()
    return stage.seen()


@pytest.mark.parametrize(("method", "target"), ROUTES.values(), ids=ROUTES.keys())
def test_every_header_either_crosses_or_stays(stage: Stage, method: str, target: str) -> None:
    seen = cross(stage, method, target, [("Connection", "keep-alive, X-Private"), *KEPT, *DROPPED])
    for name, value in KEPT:
        assert seen.header_values(name) == [value]
    for name, _ in DROPPED:
        assert seen.header_values(name) == [], name
    assert seen.header("host") == f"127.0.0.1:{seen.port}"
    assert not [name for name, _ in seen.headers if name.startswith("x-portkey-") or "_" in name]


def test_repeated_headers_stay_apart_and_in_order(stage: Stage) -> None:
    seen = cross(stage, "POST", TRANSCRIPTIONS, [("X-Many", "a"), ("X-Other", "x"), ("X-Many", "b"), ("X-Many", "a")])
    assert seen.header_values("x-many") == ["a", "b", "a"]


@pytest.mark.parametrize("named", ["content-length", "Authorization", "Host, Content-Type", "x-portkey-trace-id"])
def test_connection_cannot_take_away_what_the_gateway_needs(stage: Stage, named: str) -> None:
    """``Connection`` names the client's headers, never the gateway's own (RFC 9110, section 7.6.1)."""
    seen = cross(stage, "POST", TRANSCRIPTIONS, [("Connection", named)])
    assert seen.header("authorization") == f"Bearer {CALLER_KEY}"
    assert seen.body == usual()


@pytest.mark.parametrize("encodings", [None, "gzip, br"])
def test_audio_routes_ask_for_replies_that_can_be_read(stage: Stage, encodings: str | None) -> None:
    seen = cross(stage, "POST", TRANSCRIPTIONS, [("Accept-Encoding", encodings)] if encodings else [])
    assert seen.header("accept-encoding") == "identity"


@pytest.mark.parametrize("encodings", [None, "gzip, br"])
def test_passing_through_asks_for_what_the_client_asks_for(stage: Stage, encodings: str | None) -> None:
    seen = cross(stage, "PUT", "/v1/things", [("Accept-Encoding", encodings)] if encodings else [])
    assert seen.header("accept-encoding") in ([encodings] if encodings else [None, "identity"])


def test_nothing_is_made_up(stage: Stage) -> None:
    """Headers that the client did not send are not invented by the HTTP library."""
    seen = cross(stage, "POST", "/v1/things", [])
    invented = {name for name, _ in seen.headers} - {
        "host",
        "content-type",
        "content-length",
        "authorization",
        "x-script",
        "accept-encoding",
        "traceparent",
    }
    assert invented == set()


CREDENTIALS: dict[str, tuple[Headers, str]] = {
    "a bearer": ([("Authorization", f"Bearer {CALLER_KEY}")], CALLER_KEY),
    "a bearer in lower case": ([("Authorization", f"bearer {CALLER_KEY}")], CALLER_KEY),
    "a virtual key": ([("x-portkey-provider", "@vk")], VIRTUAL_KEY),
    "a virtual key beside a bearer": ([("x-portkey-virtual-key", "vk")], VIRTUAL_KEY),
    "a placeholder beside a virtual key": (
        [("Authorization", "Bearer DUMMY-KEY"), ("x-portkey-virtual-key", "vk")],
        VIRTUAL_KEY,
    ),
    "Portkey's header": ([("Authorization", ""), ("x-portkey-api-key", CALLER_KEY)], CALLER_KEY),
    "Portkey's header beside a placeholder": (
        [("Authorization", "Bearer OPENAI_API_KEY"), ("x-portkey-api-key", CALLER_KEY)],
        CALLER_KEY,
    ),
    "a config's key": (
        [("x-portkey-config", '{"provider":"up","api_key":"sk-flow-config"}')],
        "sk-flow-config",
    ),
    "forwarded beside a virtual key": (
        [("x-portkey-provider", "@vk"), ("x-portkey-forward-headers", "Authorization")],
        VIRTUAL_KEY,
    ),
}


@pytest.mark.parametrize("target", [TRANSCRIPTIONS, "/v1/things"])
@pytest.mark.parametrize(("extra", "key"), CREDENTIALS.values(), ids=CREDENTIALS.keys())
def test_exactly_one_credential_reaches_the_upstream(stage: Stage, extra: Headers, key: str, target: str) -> None:
    seen = cross(stage, "POST", target, extra, without=("x-portkey-provider",) if "vk" in str(extra) else ())
    assert seen.header_values("authorization") == [f"Bearer {key}"]
    assert sum(value.count("sk-flow-") for _, value in seen.headers) == 1


def test_a_gateway_key_never_reaches_an_upstream(keyed: Stage) -> None:
    for extra in (
        [("x-portkey-provider", "free")],
        [("x-portkey-provider", "@vk")],
        [
            ("x-portkey-provider", "up"),
            ("x-portkey-api-key", MOBILE_KEY),
            ("Authorization", "Bearer sk-flow-own"),
        ],
        [("x-portkey-provider", "free"), ("x-portkey-forward-headers", "authorization, x-portkey-api-key")],
        [("x-portkey-provider", "free"), ("X-Copy", MOBILE_KEY), ("x-portkey-forward-headers", "x-copy")],
    ):
        keyed.script(READ_ALL, ECHO)
        answer = keyed.post(extra=extra)
        assert answer.status == 200
        assert MOBILE_KEY not in answer.body.decode()
    assert [keyed.seen(index=index).header("authorization") for index in range(5)] == [
        None,
        f"Bearer {VIRTUAL_KEY}",
        "Bearer sk-flow-own",
        None,
        None,
    ]
    assert {record["key_name"] for record in keyed.records(5)} == {"mobile"}


@pytest.mark.parametrize("extra", [[], [("x-portkey-config", '{"provider":"free"}')]], ids=["none", "another"])
def test_a_bound_key_always_uses_its_config(keyed: Stage, extra: Headers) -> None:
    keyed.provider, keyed.caller_key = None, DESK_KEY
    assert keyed.post(extra=extra).status == 200
    seen = keyed.seen()
    assert (seen.fields("model"), seen.header("authorization")) == (["big"], f"Bearer {VIRTUAL_KEY}")
    record = keyed.record()
    assert (record["key_name"], record["config"]) == ("desk", "renamed")


FORWARDED: dict[str, tuple[str, Headers]] = {
    "by name": ("X-Forwarded-For", [("X-Forwarded-For", "10.1.2.3")]),
    "in any case": ("x-forwarded-for", [("X-Forwarded-FOR", "10.1.2.3")]),
    "several": ("X-Real-IP, X_Under", [("X-Real-IP", "10.1.2.3"), ("X_Under", "1")]),
    "bracketed, as in Portkey's documentation": (
        "['X-Real-IP', 'Forwarded']",
        [("X-Real-IP", "1"), ("Forwarded", "2")],
    ),
}


@pytest.mark.parametrize(("named", "sent"), FORWARDED.values(), ids=FORWARDED.keys())
def test_forward_headers_adds_what_it_names(stage: Stage, named: str, sent: Headers) -> None:
    seen = cross(stage, "POST", TRANSCRIPTIONS, [("x-portkey-forward-headers", named), *sent])
    for name, value in sent:
        assert seen.header_values(name) == [value]


NEVER: Headers = [
    ("Connection", "keep-alive"),
    ("TE", "trailers"),
    ("Proxy-Authorization", "Basic sk-flow-proxy"),
    ("Cookie", "a=b"),
    ("Keep-Alive", "timeout=5"),
]


def test_forward_headers_cannot_name_what_never_crosses(stage: Stage) -> None:
    named = ", ".join([*[name for name, _ in NEVER], "Host", "Content-Length", "Content-Type", "Expect"])
    seen = cross(stage, "POST", TRANSCRIPTIONS, [("x-portkey-forward-headers", named), *NEVER])
    for name, _ in NEVER:
        assert seen.header(name) in {None, "keep-alive"}, name
    assert seen.header_values("host") == [f"127.0.0.1:{seen.port}"]
    assert seen.header_values("content-length") == [str(len(usual()))]


def test_a_custom_host_gets_the_callers_key_and_no_other(stage: Stage) -> None:
    port = stage.upstream.listen()
    host = ("x-portkey-custom-host", f"http://127.0.0.1:{port}/own/v9")
    assert stage.post(extra=[host]).status == 200
    seen = stage.seen()
    assert (seen.port, seen.target) == (port, "/own/v9/audio/transcriptions")
    assert seen.header("authorization") == f"Bearer {CALLER_KEY}"
    stage.record()


def test_a_virtual_keys_secret_does_not_follow_the_caller_to_another_host(stage: Stage) -> None:
    port = stage.upstream.listen()
    config = {"virtual_key": "vk", "custom_host": f"http://127.0.0.1:{port}/v1"}
    for extra in (
        [("x-portkey-provider", "@vk"), ("x-portkey-custom-host", f"http://127.0.0.1:{port}/v1")],
        [("x-portkey-config", json.dumps(config))],
    ):
        answer = stage.post(extra=extra)
        assert (answer.status, answer.code) == (403, "not_allowed")
    stage.unseen()
    stage.records(2)


@pytest.mark.parametrize(
    ("extra", "trace_id"),
    [
        ([("x-portkey-trace-id", "my trace/1"), ("traceparent", KEPT[4][1])], "my trace/1"),
        ([("traceparent", KEPT[4][1])], "0af7651916cd43dd8448eb211c80319c"),
        ([], None),
    ],
    ids=["the client's own", "of traceparent", "none"],
)
def test_a_trace_id_is_never_empty(stage: Stage, extra: Headers, trace_id: str | None) -> None:
    """Portkey's clients send the audio twice when a 5xx lacks it."""
    answer = stage.post(extra=extra, without=("x-portkey-trace-id",))
    got = answer.header("x-portkey-trace-id")
    assert got
    assert trace_id in {None, got}
    assert stage.gateway.wait_records(got)[0]["status"] == 200
