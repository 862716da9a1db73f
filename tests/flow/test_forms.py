"""A form reaches the upstream as the client wrote it, byte for byte, in the client's own framing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.flow.forms import BOUNDARY, CONTENT_TYPE, WAV, field, file, form, usual
from tests.flow.scripts import READ_ALL, reply, send
from tests.flow.stage import TRANSCRIPTIONS, TRANSLATIONS

if TYPE_CHECKING:
    from tests.flow.stage import Stage

MODEL = field("model", "whisper-1")
EXTRA = b'Content-Disposition: form-data; name="logo"; filename="l.png"\r\nContent-Type: image/png\r\n\r\nPNG\0'

FORMS = {
    "fields first, as OpenAI's Python client": form(MODEL, field("language", "en"), file()),
    "file first, as curl in Portkey's examples": form(file(), MODEL, field("language", "en")),
    "file in the middle": form(field("language", "en"), file(), MODEL),
    "repeated fields": form(
        MODEL,
        field("timestamp_granularities[]", "word"),
        field("timestamp_granularities[]", "segment"),
        file(),
    ),
    "unknown fields": form(MODEL, field("x-vendor", "1"), file(), field("zzz", "last")),
    "an extra file": form(MODEL, EXTRA, file()),
    "an empty field": form(MODEL, field("prompt", ""), file()),
    "values that look like delimiters": form(MODEL, field("prompt", f"--{BOUNDARY[:-1]}\r\n\r\n--"), file()),
    "a part header of the client's own": form(b"X-Own: 1\r\n" + MODEL, file()),
    "lower-case part headers": form(MODEL.replace(b"Content-Disposition", b"content-disposition"), file()),
    "an epilogue": usual() + b"\r\nthis is the epilogue\r\n",
    "a preamble": b"this is the preamble\r\n" + usual(),
}

FILENAMES = {
    "plain": "speech.wav",
    "spaces": "my speech (final).wav",
    "UTF-8": "Vortrag-über-Ähnliches-語.wav",
    "escaped as browsers do": "a%22b.wav",
    "escaped as RFC 822 does": 'a\\"b.wav',
    "a path": "../../etc/passwd.wav",
    "no extension": "speech",
    "semicolons": "a;b=c.wav",
    "extended notation": "x.wav\"; filename*=\"UTF-8''%e2%82%ac.wav",
}

PART_TYPES = [None, "audio/wav", "application/octet-stream", "audio/x-wav; rate=16000", "nonsense"]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS.keys())
def test_a_form_crosses_untouched(stage: Stage, body: bytes, chunked: bool) -> None:
    answer = stage.post(body, chunked=chunked)
    assert (answer.status, answer.json()) == (200, {"text": "hello"})
    seen = stage.seen()
    assert seen.body == body
    assert seen.header("content-type") == CONTENT_TYPE
    assert seen.framing == ("chunked" if chunked else "length")
    assert seen.header("content-length") == (None if chunked else str(len(body)))
    record = stage.record()
    assert (record["outcome"], record["audio"]["filename"], record["bytes_in"]) == (
        "ok",
        "speech.wav",
        len(body),
    )


@pytest.mark.parametrize("filename", FILENAMES.values(), ids=FILENAMES.keys())
def test_a_file_name_crosses_byte_for_byte(stage: Stage, filename: str) -> None:
    body = form(MODEL, file(filename=filename))
    assert stage.post(body).status == 200
    assert stage.seen().body == body
    assert stage.record()["audio"]["bytes"] == len(WAV)


@pytest.mark.parametrize("content_type", PART_TYPES)
def test_a_part_type_crosses_byte_for_byte(stage: Stage, content_type: str | None) -> None:
    body = form(MODEL, file(content_type=content_type))
    assert stage.post(body).status == 200
    assert stage.seen().body == body


@pytest.mark.parametrize(
    ("boundary", "written"),
    [
        ("x", "x"),
        ("a" * 70, "a" * 70),
        ("quoted boundary (1)", '"quoted boundary (1)"'),
        ("simple", '"simple"'),
        ("'()+_,-./:=?", '"\'()+_,-./:=?"'),
    ],
)
def test_any_boundary_of_rfc_2046_is_kept(stage: Stage, boundary: str, written: str) -> None:
    body = form(MODEL, file(), boundary=boundary)
    content_type = f"multipart/form-data; boundary={written}"
    assert stage.post(body, content_type=content_type).status == 200
    seen = stage.seen()
    assert (seen.body, seen.header("content-type")) == (body, content_type)


@pytest.mark.parametrize("size", [1, 2, 7, 100, 1000])
def test_pieces_of_any_size_make_the_same_form(stage: Stage, size: int) -> None:
    body = form(file(WAV[:700]), MODEL)
    with stage.connect() as connection:
        stage.begin(connection, None)
        for start in range(0, len(body), size):
            connection.chunk(body[start : start + size])
        connection.end_chunks()
        assert connection.read_reply().status == 200
    assert stage.seen().body == body


@pytest.mark.parametrize("target", [TRANSCRIPTIONS, TRANSLATIONS])
def test_a_route_keeps_its_path_and_query(stage: Stage, target: str) -> None:
    assert stage.post(target=f"{target}?a=b&c=%2F").status == 200
    seen = stage.seen()
    assert (seen.method, seen.target) == ("POST", f"{target}?a=b&c=%2F")
    assert stage.record()["route"] == target.rsplit("/", 1)[1]


def test_the_reply_crosses_with_the_gateways_own_headers(stage: Stage) -> None:
    stage.script(
        READ_ALL,
        send(reply(200, b'{"text":"yes"}', [("X-Request-Id", "req-1"), ("X-Many", "a"), ("X-Many", "b")])),
    )
    answer = stage.post()
    assert (answer.status, answer.body, answer.header("content-type")) == (
        200,
        b'{"text":"yes"}',
        "application/json",
    )
    assert answer.header("x-request-id") == "req-1"
    assert [value for name, value in answer.headers if name == "x-many"] == ["a", "b"]
    assert answer.header("x-portkey-trace-id") == stage.token
    assert answer.header("x-portkey-provider") == "up"
    assert answer.header("x-portkey-last-used-option-index") == "config"
    assert answer.header("x-portkey-retry-attempt-count") == "0"
    assert answer.header("x-portkey-cache-status") == "DISABLED"
    assert answer.header("x-portkey-gateway-exception") is None
    timing = answer.header("server-timing") or ""
    assert all(f"{name};dur=" in timing for name in ("gateway", "upload", "upstream"))
