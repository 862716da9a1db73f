"""HTTP that is odd, ambiguous or hostile: refused, and never turned into another request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.flow.client import BrokenReplyError
from tests.flow.forms import usual
from tests.flow.scripts import READ_ALL, reply, send
from tests.flow.stage import TRANSCRIPTIONS

if TYPE_CHECKING:
    from tests.flow.stage import Stage

BODY = usual()
LENGTH = f"Content-Length: {len(BODY)}\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
ONE_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


def raw(stage: Stage, first: str, headers: str = "", body: bytes = b"") -> tuple[int, bool]:
    """Send a head as it is written here; return the answer's status and whether the connection ended."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in stage.headers())
    with stage.connect() as connection:
        connection.push(f"{first}\r\n{headers}{lines}\r\n".encode("latin-1") + body)
        try:
            answer = connection.read_reply()
        except (BrokenReplyError, ConnectionResetError):
            return 0, True
        connection.push(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nx-portkey-provider: free\r\n\r\n")
        return answer.status, connection.says_no_more()


HOST = "Host: 127.0.0.1\r\n"
FORM = "Content-Type: multipart/form-data; boundary=----flow7MA4YWxkTrZu0gW\r\n"
POST = f"POST {TRANSCRIPTIONS} HTTP/1.1"

# What a parser must not guess about: every one of them has been a way to smuggle a request past a proxy.
SMUGGLED: dict[str, tuple[str, str, bytes]] = {
    "a length and chunks": (POST, HOST + FORM + LENGTH + CHUNKED, ONE_CHUNK),
    "chunks and a length": (POST, HOST + FORM + CHUNKED + LENGTH, ONE_CHUNK),
    "two lengths": (POST, HOST + FORM + LENGTH + "Content-Length: 3\r\n", BODY),
    "the same length twice": (POST, HOST + FORM + LENGTH + LENGTH, BODY),
    "two lengths in one": (POST, HOST + FORM + f"Content-Length: {len(BODY)}, {len(BODY)}\r\n", BODY),
    "a signed length": (POST, HOST + FORM + f"Content-Length: +{len(BODY)}\r\n", BODY),
    "a negative length": (POST, HOST + FORM + "Content-Length: -1\r\n", BODY),
    "chunked twice": (POST, HOST + FORM + "Transfer-Encoding: chunked, chunked\r\n", ONE_CHUNK),
    "gzip, then chunked": (POST, HOST + FORM + "Transfer-Encoding: gzip, chunked\r\n", ONE_CHUNK),
    "chunked, then identity": (POST, HOST + FORM + "Transfer-Encoding: chunked, identity\r\n", ONE_CHUNK),
    "an unknown coding": (POST, HOST + FORM + "Transfer-Encoding: xchunked\r\n", ONE_CHUNK),
    "a folded header": (POST, HOST + FORM + "X-Fold: a\r\n b\r\n" + LENGTH, BODY),
    "a space before the colon": (POST, HOST + FORM + f"Content-Length : {len(BODY)}\r\n", BODY),
    "a bare line feed": (POST, HOST + FORM + LENGTH.replace("\r", ""), BODY),
    "a bare carriage return": (POST, HOST + FORM + "X-A: b\rX-B: c\r\n" + LENGTH, BODY),
    "a NUL": (POST, HOST + FORM + "X-A: b\0c\r\n" + LENGTH, BODY),
    "no colon": (POST, HOST + FORM + "X-A\r\n" + LENGTH, BODY),
    "two hosts": (POST, HOST + "Host: evil.example\r\n" + FORM + LENGTH, BODY),
    "no host": (POST, FORM + LENGTH, BODY),
    "chunks in HTTP/1.0": (POST.replace("1.1", "1.0"), HOST + FORM + CHUNKED, ONE_CHUNK),
    "a chunk size in another spelling": (POST, HOST + FORM + CHUNKED, b"0x" + ONE_CHUNK),
    "a signed chunk size": (POST, HOST + FORM + CHUNKED, b"+" + ONE_CHUNK),
    "a huge chunk size": (POST, HOST + FORM + CHUNKED, b"f" * 20 + ONE_CHUNK),
    "HTTP/2.0": (POST.replace("1.1", "2.0"), HOST + FORM + LENGTH, BODY),
    "HTTP/0.9": (POST.replace("1.1", "0.9"), HOST + FORM + LENGTH, BODY),
    "no version": (f"POST {TRANSCRIPTIONS}", HOST + FORM + LENGTH, BODY),
    "a method in lower case": (POST.replace("POST", "post"), HOST + FORM + LENGTH, BODY),
    "a method nobody knows": (POST.replace("POST", "BREW"), HOST + FORM + LENGTH, BODY),
    "a space in the target": (POST.replace("transcriptions", "trans criptions"), HOST + FORM + LENGTH, BODY),
    "a head that is too long": (POST, HOST + f"X-Long: {'x' * 70_000}\r\n" + FORM + LENGTH, BODY),
    "too many headers": (POST, HOST + "X-Many: 1\r\n" * 5000 + FORM + LENGTH, BODY),
}


@pytest.mark.parametrize(("first", "headers", "body"), SMUGGLED.values(), ids=SMUGGLED.keys())
def test_an_ambiguous_request_is_refused_and_its_connection_ends(
    stage: Stage, first: str, headers: str, body: bytes
) -> None:
    status, ended = raw(stage, first, headers, body)
    assert status in {0, 400, 405, 413, 414, 415, 431, 501, 505}
    assert ended, "what follows could be read as another request"
    for index in range(stage.upstream.requests(stage.token)):
        assert not stage.seen("done", index=index).complete


BAD_CHUNKS = {
    "no size": b"zz\r\n",
    "a negative size": b"-5\r\nhello\r\n",
    "a size without end": b"f" * 20 + b"\r\n",
    "more than its size": b"5\r\nhello, hello\r\n0\r\n\r\n",
    "bare line feeds": b"5\nhello\n0\n\n",
    "a NUL in an extension": b"5;a=\0\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("data", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
def test_chunks_that_go_wrong_mid_upload_end_the_request_at_once(stage: Stage, data: bytes) -> None:
    with stage.connect() as connection:
        stage.begin(connection, None)
        connection.chunk(BODY[:-100])
        stage.seen("length", 1000)
        connection.push(data)
        connection.sock.settimeout(1)
        answer = connection.read_reply()
        assert answer.status == 400
        assert connection.says_no_more()
    record = stage.record()
    assert (record["status"], record["outcome"]) == (400, "client_error")
    stage.uncommitted()


def test_what_the_parser_refuses_is_counted_and_not_recorded(stage: Stage) -> None:
    def count() -> float:
        lines = stage.gateway.ops("/metrics")[1].splitlines()
        name = 'audiogate_requests_rejected_total{reason="bad_request"}'
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    before = count()
    assert raw(stage, "POST / HTTP/1.1 and more")[0] == 400
    assert count() == before + 1
    assert stage.gateway.records(stage.token) == []


TARGETS = {
    "absolute form": "http://evil.example/v1/models",
    "absolute form, own host": "http://127.0.0.1/v1/models",
    "another host": "//evil.example/v1/models",
    "a double slash": "/v1//models",
    "a fragment": "/v1/models#frag",
    "user info": "@evil.example/v1/models",
    "a dot segment": "/v1/../admin",
    "a dot segment within": "/v1/files/../models",
    "an encoded dot segment": "/v1/%2e%2e/admin",
    "an encoded slash": "/v1/..%2fadmin",
    "an encoded slash in a name": "/v1/files/a%2Fb",
    "a backslash": "/v1/files\\..\\admin",
    "an encoded backslash": "/v1/files/..%5cadmin",
    "an encoded NUL": "/v1/files/a%00b",
    "a prefix that is none": "/v1models",
    "no path": "*",
    "the console": "/",
    "health": "/healthz",
    "metrics": "/metrics",
    "ops, encoded": "/%6detrics",
}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_a_path_that_is_no_route_goes_nowhere(stage: Stage, target: str, method: str) -> None:
    status, _ = raw(stage, f"{method} {target} HTTP/1.1", HOST + "Content-Length: 0\r\n")
    expected = {0, 400, 404, 405}
    assert status in (expected | {200} if (target, method) == ("/", "GET") else expected)
    stage.unseen()


@pytest.mark.parametrize("first", ["TRACE /v1/models", "CONNECT evil.example:443", "CONNECT /v1/models", "OPTIONS *"])
def test_methods_that_are_for_proxies_of_another_kind(stage: Stage, first: str) -> None:
    status, _ = raw(stage, f"{first} HTTP/1.1", HOST)
    assert status in {0, 400, 403, 404, 405, 501}
    stage.unseen()


def test_the_root_greets_with_the_version(stage: Stage) -> None:
    answer = stage.request("GET", "/")
    assert answer.status == 200
    assert b"0." in answer.body
    assert answer.body.strip().count(b"\n") == 0


def test_an_upgrade_is_not_taken_up(stage: Stage) -> None:
    for protocol in ("websocket", "h2c"):
        answer = stage.post(extra=[("Connection", "Upgrade"), ("Upgrade", protocol), ("Sec-WebSocket-Version", "13")])
        assert answer.status == 200
    assert stage.seen().header("upgrade") is None
    assert stage.seen(index=1).body == BODY
    stage.records(2)


def test_pipelined_requests_are_answered_in_order(stage: Stage) -> None:
    for number in range(3):
        stage.script(READ_ALL, send(reply(200, str(number).encode())))
    with stage.connect() as connection:
        for _ in range(3):
            stage.begin(connection, len(BODY))
            connection.send(BODY)
        assert [connection.read_reply().body for _ in range(3)] == [b"0", b"1", b"2"]
    stage.records(3)


def test_chunk_extensions_and_trailers_are_dropped(stage: Stage) -> None:
    with stage.connect() as connection:
        stage.begin(connection, None)
        connection.send(b"%x;name=value\r\n%b\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(BODY), BODY))
        assert connection.read_reply().status == 200
    seen = stage.seen()
    assert (seen.body, seen.header("x-trailer")) == (BODY, None)
    stage.record()


def test_an_empty_line_before_a_request_is_forgiven(stage: Stage) -> None:
    with stage.connect() as connection:
        connection.send(b"\r\n")
        stage.begin(connection, len(BODY))
        connection.send(BODY)
        assert connection.read_reply().status == 200
    stage.record()


def test_a_head_that_comes_byte_by_byte_is_a_head(stage: Stage) -> None:
    with stage.connect() as connection:
        lines = [f"{name}: {value}" for name, value in stage.headers()]
        head = "\r\n".join([POST, HOST.strip(), FORM.strip(), LENGTH.strip(), *lines, "", ""])
        for byte in head.encode():
            connection.send(bytes([byte]))
        connection.send(BODY)
        assert connection.read_reply().status == 200
    assert stage.seen().body == BODY
    stage.record()


def test_http_1_0_is_served_and_its_connection_closed(stage: Stage) -> None:
    with stage.connect() as connection:
        sized = [("Content-Type", FORM.split(": ")[1].strip()), ("Content-Length", str(len(BODY)))]
        connection.head("POST", TRANSCRIPTIONS, sized + stage.headers(), version="1.0")
        connection.send(BODY)
        answer = connection.read_reply()
        assert (answer.status, answer.json()) == (200, {"text": "hello"})
        assert connection.at_end()
    stage.record()
