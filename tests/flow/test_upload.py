"""Uploads stream: bytes cross while the client is sending, and only the last ones wait for a last look."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from tests.flow.forms import CLOSING, CONTENT_TYPE, WAV, audio, field, file, form, usual
from tests.flow.scripts import READ_ALL, reply, send

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.flow.client import Connection, Headers
    from tests.flow.stage import Stage

MODEL = field("model", "whisper-1")
SOUND = audio(400_000, seed=3)
MIB = 1 << 20
DROPPED = 300  # bytes of fields before the file that a rewrite may drop

PROVIDER = ("x-portkey-provider",)
RENAMED = [("x-portkey-config", "renamed")]

# body, headers instead of or beside the usual ones, usual headers left out
FLOWS: dict[str, tuple[bytes, Headers, tuple[str, ...]]] = {
    "as it came": (usual(SOUND), [], ()),
    "file first": (form(file(SOUND), MODEL), [], ()),
    "rewritten, fields first": (form(MODEL, field("language", "de"), file(SOUND)), RENAMED, ()),
    "rewritten, file first": (form(file(SOUND), MODEL), RENAMED, ()),
    "azure, model first": (usual(SOUND), [("x-portkey-provider", "@azure")], ()),
    "virtual key in the model": (form(field("model", "@vk/m"), file(SOUND)), [], PROVIDER),
}


def give(connection: Connection, data: bytes, *, chunked: bool) -> None:
    (connection.chunk if chunked else connection.send)(data)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize(("body", "extra", "without"), FLOWS.values(), ids=FLOWS.keys())
def test_the_upstream_reads_while_the_client_is_still_sending(
    stage: Stage, body: bytes, extra: Headers, without: tuple[str, ...], chunked: bool
) -> None:
    """A client that pauses has all it sent upstream, but for a tail no longer than the closing delimiter."""
    with stage.connect() as connection:
        stage.begin(connection, None if chunked else len(body), extra, without=without)
        for part in range(1, 4):
            give(connection, body[(part - 1) * 100_000 : part * 100_000], chunked=chunked)
            stage.seen("length", part * 100_000 - len(CLOSING) - DROPPED)
        give(connection, body[300_000:], chunked=chunked)
        if chunked:
            connection.end_chunks()
        assert connection.read_reply().status == 200
    seen = stage.seen()
    assert [part.payload for part in seen.parts if part.name == "file"] == [SOUND]
    attempt = stage.record()["attempts"][0]
    assert (attempt["sent_bytes"], attempt["status"], attempt["failure"]) == (seen.length, 200, None)


def test_a_pause_just_before_the_end_leaves_only_the_closing_delimiter_behind(stage: Stage) -> None:
    body = usual(SOUND)
    for chunked in (False, True):
        with stage.connect() as connection:
            stage.begin(connection, None if chunked else len(body))
            give(connection, body[:-1], chunked=chunked)
            index = int(chunked)
            stage.upstream.wait(stage.token, "length", len(body) - len(CLOSING) - 1, index=index)
            stage.upstream.never(stage.token, "length", len(body), index=index)
            give(connection, body[-1:], chunked=chunked)
            if chunked:
                connection.end_chunks()
            assert connection.read_reply().status == 200
            assert stage.seen(index=index).body == body
    stage.records(2)


BAD_ENDS: dict[str, tuple[bytes, int, str]] = {
    "no model": (form(file(SOUND)), 400, "missing_model"),
    "no file": (form(MODEL, field("prompt", "x")), 400, "missing_file"),
    "an empty file": (form(MODEL, file(b"")), 400, "missing_file"),
    "an empty file first": (form(file(b""), MODEL), 400, "missing_file"),
    "a second model": (form(MODEL, file(SOUND), MODEL), 400, "duplicate_field"),
    "a second file": (form(MODEL, file(SOUND), file(WAV)), 400, "duplicate_field"),
    "a long field": (form(MODEL, file(SOUND), field("prompt", "x" * 20_000)), 400, "field_too_large"),
    "no closing delimiter": (usual(SOUND)[: -len(CLOSING)], 400, "truncated_upload"),
    "half a closing delimiter": (usual(SOUND)[:-10], 400, "truncated_upload"),
    "no delimiter at all": (b"just bytes" * 1000, 400, "invalid_multipart"),
    "a part without a name": (form(MODEL, b"X-A: b\r\n\r\nvalue", file(SOUND)), 400, "invalid_multipart"),
    "too many parts": (
        form(MODEL, *[field(f"f{n}", "") for n in range(30)], file()),
        400,
        "field_too_large",
    ),
}


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize(("body", "status", "code"), BAD_ENDS.values(), ids=BAD_ENDS.keys())
def test_the_last_bytes_wait_until_the_form_is_known_to_be_good(
    stage: Stage, body: bytes, status: int, code: str, chunked: bool
) -> None:
    answer = stage.post(body, chunked=chunked)
    assert (answer.status, answer.code) == (status, code)
    record = stage.record()
    assert (record["status"], record["error_code"], record["outcome"]) == (status, code, "client_error")
    stage.uncommitted()


@pytest.mark.parametrize("model", ["first", "last"])
def test_a_chunked_upload_that_grows_too_large_is_cut_off(stage: Stage, model: str) -> None:
    body = form(MODEL, file(SOUND)) if model == "first" else form(file(SOUND), MODEL)
    with stage.connect() as connection:
        stage.begin(connection, None, [("x-portkey-provider", "small")])
        connection.chunk(body[:90_000])
        stage.seen("length", 80_000)
        connection.chunk(body[90_000:180_000])
        answer = connection.read_reply()
        assert (answer.status, answer.code, answer.closes) == (413, "upload_too_large", True)
    stage.uncommitted()
    assert stage.record()["error_code"] == "upload_too_large"


def test_a_chunked_upload_of_exactly_the_limit_passes(stage: Stage) -> None:
    empty = len(usual(b""))
    for size, status in ((100_000, 200), (100_001, 413)):
        answer = stage.post(usual(audio(size - empty)), [("x-portkey-provider", "small")], chunked=True)
        assert answer.status == status
    stage.records(2)


def long_form(size: int) -> tuple[int, str, Iterator[bytes]]:
    """Return length, SHA-256 and pieces of a form whose file is ``size`` bytes, never all in memory."""
    start, _, end = form(MODEL, file(b"|")).partition(b"|")
    blocks = [WAV + bytes(MIB - len(WAV)), *[audio(MIB, seed=9)] * (size // MIB - 1)]
    digest = hashlib.sha256(start)
    for block in blocks:
        digest.update(block)
    digest.update(end)
    return len(start) + size + len(end), digest.hexdigest(), iter([start, *blocks, end])


@pytest.mark.parametrize(
    ("size", "chunked"),
    [
        pytest.param(128 * MIB, False, id="128 MB, length"),
        pytest.param(128 * MIB, True, id="128 MB, chunked"),
        pytest.param(2048 * MIB, False, id="2 GB, length", marks=pytest.mark.slow),
    ],
)
def test_memory_stays_where_it_is_however_long_the_file(stage: Stage, size: int, chunked: bool) -> None:
    stage.post()  # so that everything is loaded
    length, digest, pieces = long_form(size)
    stage.script(READ_ALL, send(reply()))
    stage.gateway.forget_peak()
    before = stage.gateway.rss()
    with stage.connect() as connection:
        connection.sock.settimeout(60)
        stage.begin(connection, None if chunked else length)
        for piece in pieces:
            give(connection, piece, chunked=chunked)
        if chunked:
            connection.end_chunks()
        assert connection.read_reply().status == 200
    seen = stage.seen(index=1)
    assert (seen.length, seen.sha256) == (length, digest)
    assert stage.gateway.peak_rss() - before < 16 * MIB
    record = stage.records(2)[1]
    assert (record["bytes_in"], record["audio"]["bytes"]) == (length, size)


@pytest.mark.parametrize("extra", [[], RENAMED], ids=["as it came", "rewritten"])
def test_many_uploads_at_once_do_not_mix(stage: Stage, extra: Headers) -> None:
    connections = [stage.connect() for _ in range(12)]
    bodies = [form(MODEL, file(audio(150_000, seed=n))) for n in range(12)]
    for connection, body in zip(connections, bodies, strict=True):
        stage.begin(connection, len(body), extra)
    for start in range(0, max(map(len, bodies)), 30_000):
        for connection, body in zip(connections, bodies, strict=True):
            connection.send(body[start : start + 30_000])
    for connection in connections:
        assert connection.read_reply().status == 200
        connection.close()
    seen = [stage.seen("done", index=index) for index in range(12)]
    sounds = {part.payload for each in seen for part in each.parts if part.name == "file"}
    assert sounds == {audio(150_000, seed=n) for n in range(12)}
    assert {each.header("content-type") for each in seen} == {CONTENT_TYPE}
    stage.records(12)
