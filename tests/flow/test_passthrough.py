"""Every other path under ``/v1`` goes through as it is: any method, any body, either direction."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from tests.flow.conftest import AZURE_KEY, VIRTUAL_KEY
from tests.flow.scripts import CLOSE, READ_ALL, event, hold, read, reply, send, stepwise
from tests.flow.stage import CALLER_KEY

if TYPE_CHECKING:
    from tests.flow.stage import Stage

BINARY = bytes(range(256)) * 3000


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_every_method_crosses(stage: Stage, method: str) -> None:
    body = json.dumps({"model": "m", "input": "ü"}).encode() if method in {"POST", "PUT", "PATCH"} else None
    answered = b"" if method == "HEAD" else b'{"object":"thing"}'
    stage.script(READ_ALL, send(reply(201, answered, [("X-Thing", "1")])))
    extra = [("Content-Type", "application/json")] if body else []
    answer = stage.request(method, "/v1/things/7?limit=2", body, extra)
    assert (answer.status, answer.body, answer.header("x-thing")) == (201, answered, "1")
    seen = stage.seen()
    assert (seen.method, seen.target, seen.body) == (method, "/v1/things/7?limit=2", body or b"")
    assert seen.header("authorization") == f"Bearer {CALLER_KEY}"
    record = stage.record()
    assert (record["route"], record["method"], record["outcome"]) == ("passthrough", method, "ok")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models",
        "/v1/models/openai/whisper%2D1",
        "/v1/files/a%20b?purpose=a%2Fb&purpose=c",
        "/v1/x?",
        "/v1/x?a=%2F..%2F&b",
        "/v1/caf%C3%A9",
        "/v1/a:b@c;d,e",
        "/v1/trailing/",
    ],
)
def test_a_path_crosses_as_it_is_spelt(stage: Stage, path: str) -> None:
    assert stage.request("GET", path).status == 200
    assert stage.seen().target in {path, path.removesuffix("?")}
    stage.record()


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_binary_crosses_both_ways(stage: Stage, chunked: bool) -> None:
    back = bytes(reversed(BINARY))
    stage.script(READ_ALL, send(reply(200, back, content_type="application/octet-stream")))
    answer = stage.post(BINARY, target="/v1/uploads", content_type="application/octet-stream", chunked=chunked)
    assert (answer.body, answer.header("content-type")) == (back, "application/octet-stream")
    seen = stage.seen()
    assert seen.sha256 == hashlib.sha256(BINARY).hexdigest()
    assert seen.framing == ("chunked" if chunked else "length")
    record = stage.record()
    assert (record["bytes_in"], record["bytes_out"]) == (len(BINARY), len(back))


def test_a_form_to_another_path_is_not_looked_into(stage: Stage) -> None:
    body = b"--x\r\nthis is not really a form"
    answer = stage.post(body, target="/v1/files", content_type="multipart/form-data; boundary=x")
    assert answer.status == 200
    assert stage.seen().body == body
    stage.record()


def test_an_upload_that_passes_through_streams(stage: Stage) -> None:
    stage.script(read(len(BINARY)), send(reply()))
    with stage.connect() as connection:
        headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(BINARY)))]
        connection.head("PUT", "/v1/files/1", headers + stage.headers())
        connection.send(BINARY[:300_000])
        assert not stage.seen("length", 200_000).complete
        connection.send(BINARY[300_000:])
        assert connection.read_reply().status == 200
    stage.record()


def test_events_pass_through_one_by_one(stage: Stage) -> None:
    events = [event({"n": number}) for number in range(3)]
    stage.script(READ_ALL, *stepwise(events))
    asked = b'{"model":"m","stream":true}'
    with stage.connect() as connection:
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(asked)))]
        connection.head("POST", "/v1/chat/completions", headers + stage.headers())
        connection.send(asked)
        assert connection.read_head().header("content-type") == "text/event-stream"
        for index, data in enumerate(events):
            stage.release(f"event-{index}")
            assert connection.read_chunk() == data
        stage.release("end")
        assert connection.read_chunk() == b""
    assert stage.record()["outcome"] == "ok"


def test_a_compressed_reply_passes_through(stage: Stage) -> None:
    packed = gzip.compress(BINARY)
    stage.script(send(reply(200, packed, [("Content-Encoding", "gzip")])))
    answer = stage.request("GET", "/v1/models", extra=[("Accept-Encoding", "gzip")])
    assert (answer.body, answer.header("content-encoding")) == (packed, "gzip")
    assert stage.seen().header("accept-encoding") == "gzip"
    stage.record()


@pytest.mark.parametrize("status", [204, 302, 304, 404, 500])
def test_a_status_passes_through(stage: Stage, status: int) -> None:
    body = b"" if status in {204, 304} else b"body"
    stage.script(
        send(reply(status, body, content_type="text/plain") if body else f"HTTP/1.1 {status} X\r\n\r\n".encode())
    )
    answer = stage.request("GET", "/v1/things")
    assert (answer.status, answer.body) == (status, body)
    stage.record()


def test_a_virtual_keys_credential_replaces_the_callers(stage: Stage) -> None:
    assert stage.request("GET", "/v1/models", extra=[("x-portkey-provider", "@vk")]).status == 200
    assert stage.seen().header_values("authorization") == [f"Bearer {VIRTUAL_KEY}"]
    stage.record()


def test_a_model_in_json_may_name_its_virtual_key(stage: Stage) -> None:
    asked = b'{"input":[1,2],"model":"@vk/embed-3"}'
    answer = stage.post(
        asked, target="/v1/embeddings", content_type="application/json", without=("x-portkey-provider",)
    )
    assert answer.status == 200
    seen = stage.seen()
    assert json.loads(seen.body) == {"input": [1, 2], "model": "embed-3"}
    assert seen.header("authorization") == f"Bearer {VIRTUAL_KEY}"
    stage.record()


def test_a_model_in_the_query_may_name_its_virtual_key(stage: Stage) -> None:
    answer = stage.request("GET", "/v1/things?model=@vk/m-1&x=y", without=("x-portkey-provider",))
    assert answer.status == 200
    seen = stage.seen()
    path, _, query = seen.target.partition("?")
    assert (path, set(query.split("&"))) == ("/v1/things", {"model=m-1", "x=y"})
    assert seen.header("authorization") == f"Bearer {VIRTUAL_KEY}"
    stage.record()


def test_azure_gets_its_own_path_and_version(stage: Stage) -> None:
    answer = stage.request("GET", "/v1/models?a=b", extra=[("x-portkey-provider", "@azure")])
    assert answer.status == 200
    seen = stage.seen()
    path, _, query = seen.target.partition("?")
    assert path == "/openai/models"
    assert set(query.split("&")) == {"a=b", "api-version=2025-04-01-preview"}
    assert (seen.header("api-key"), seen.header("authorization")) == (AZURE_KEY, None)
    stage.record()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_a_reply_that_never_comes_is_not_asked_for_again(stage: Stage, method: str) -> None:
    stage.script(READ_ALL, CLOSE)
    answer = stage.request(method, "/v1/things", b"" if method != "GET" else None)
    assert (answer.status, answer.code) == (502, "upstream_broke")
    assert stage.upstream.requests(stage.token) == 1
    stage.record()


def test_a_client_that_leaves_takes_its_request_along(stage: Stage) -> None:
    stage.script(READ_ALL, hold("never"))
    connection = stage.connect()
    connection.head("GET", "/v1/models", stage.headers())
    stage.seen("head_at")
    connection.close()
    stage.seen("cut")
    assert stage.record()["outcome"] == "client_left"


def test_no_provider_is_a_400(stage: Stage) -> None:
    answer = stage.request("GET", "/v1/models", without=("x-portkey-provider",))
    assert (answer.status, answer.code) == (400, "missing_provider")
    stage.record()
