"""``audiogate transcribe``: what it sends, what it prints where, and that a refusal is always shown."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import threading
import tracemalloc
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.engines import SAMPLE_TEXT, sample_path, serve
from proxy.transcribe import transcribe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass
class Run:
    """What one call of the client left behind."""

    code: int
    stdout: str
    stderr: str


async def run(*files: Path, stderr: io.StringIO | None = None, **options: Any) -> Run:
    out, err = io.StringIO(), stderr or io.StringIO()
    code = await transcribe(files, stdout=out, stderr=err, **options)
    return Run(code, out.getvalue(), err.getvalue())


@dataclass
class Seen:
    """What a server saw of one request."""

    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app) as running:
        yield str(running.make_url("/")).rstrip("/")


@asynccontextmanager
async def answering(status: int, body: bytes | str, **headers: str) -> AsyncIterator[tuple[str, Seen]]:
    """A server that reads each request whole and gives the same answer."""
    seen = Seen()

    async def answer(request: web.Request) -> web.Response:
        seen.path, seen.headers, seen.body = request.path, dict(request.headers), await request.read()
        return web.Response(status=status, body=body, headers=headers)

    async with server(answer) as url:
        yield url, seen


@contextmanager
def slamming(answer: bytes, *, after: bytes = b"") -> Iterator[str]:
    """A server that answers when it has seen ``after`` and closes; the kernel resets what is still coming."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def slam() -> None:
            connection, _ = listener.accept()
            with connection:
                seen = connection.recv(1000)
                while after not in seen:
                    seen += connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=slam)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(5)


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    path = tmp_path / "call.wav"
    path.write_bytes(b"RIFF0000WAVE and so on")
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """64 MB that take no room on the disk."""
    path = tmp_path / "large.wav"
    path.touch()
    os.truncate(path, 64_000_000)
    return path


async def test_the_bundled_sample_is_transcribed_by_the_local_engine() -> None:
    engine = await serve(port=0)
    assert await run(sample_path(), url=engine.url) == Run(0, SAMPLE_TEXT + "\n", "")
    await engine.close()


async def test_the_form_has_its_fields_before_the_file_and_an_exact_length(audio: Path) -> None:
    async with answering(200, '{"text":"hello"}') as (url, seen):
        await run(audio, url=url, model="m", fmt="json", provider="groq", api_key="sk-1\n")
    assert seen.path == "/v1/audio/transcriptions"
    assert seen.headers["Authorization"] == "Bearer sk-1"
    assert seen.headers["x-portkey-provider"] == "groq"
    assert "Transfer-Encoding" not in seen.headers
    assert int(seen.headers["Content-Length"]) == len(seen.body)
    boundary = seen.headers["Content-Type"].removeprefix("multipart/form-data; boundary=").encode()
    assert seen.body.split(b"--" + boundary) == [
        b"",
        b'\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n',
        b'\r\nContent-Disposition: form-data; name="response_format"\r\n\r\njson\r\n',
        (
            b'\r\nContent-Disposition: form-data; name="file"; filename="call.wav"\r\n'
            b"Content-Type: audio/x-wav\r\n\r\nRIFF0000WAVE and so on\r\n"
        ),
        b"--\r\n",
    ]


async def test_without_key_and_provider_no_such_header_is_sent(audio: Path) -> None:
    async with answering(200, '{"text":"hello"}') as (url, seen):
        await run(audio, url=url)
    assert not {"Authorization", "x-portkey-provider"} & seen.headers.keys()


async def test_a_file_name_cannot_break_out_of_its_header(tmp_path: Path) -> None:
    odd = tmp_path / 'a"b\r\né.mp3'
    odd.write_bytes(b"x")
    async with answering(200, '{"text":""}') as (url, seen):
        assert (await run(odd, url=url)).code == 0
    assert 'filename="a%22b%0D%0Aé.mp3"\r\n'.encode() in seen.body


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", "/v1?x=1"])
@pytest.mark.parametrize("translate", [False, True])
async def test_the_url_may_end_in_v1_or_not(audio: Path, suffix: str, translate: bool) -> None:
    async with answering(200, '{"text":"hello"}') as (url, seen):
        await run(audio, url=url.removeprefix("http://") + suffix, translate=translate)
    assert seen.path == f"/v1/audio/{'translations' if translate else 'transcriptions'}"


@pytest.mark.parametrize(
    ("fmt", "reply", "printed"),
    [
        (None, '{"text":"turn left","usage":{}}', "turn left\n"),
        ("json", '{"text":"tourne à gauche\\n"}', "tourne à gauche\n"),
        ("text", "turn left\n", "turn left\n"),
        ("srt", "1\n00:00:00,000 --> 00:00:01,000\nturn\n\n", "1\n00:00:00,000 --> 00:00:01,000\nturn\n\n"),
        ("verbose_json", '{"text":"turn left","words":[]}', '{"text":"turn left","words":[]}\n'),
    ],
)
async def test_the_transcript_alone_is_on_stdout(audio: Path, fmt: str | None, reply: str, printed: str) -> None:
    async with answering(200, reply) as (url, _):
        assert await run(audio, url=url, fmt=fmt) == Run(0, printed, "")


@pytest.mark.parametrize(
    ("status", "reply", "headers", "message"),
    [
        (401, '{"error":{"message":"Wrong key.","code":"x"}}', {}, "call.wav: Wrong key."),
        (500, '{"status":"failure","message":"Down."}', {}, "call.wav: Down."),
        (400, '{"error":"Bad model"}', {}, "call.wav: Bad model"),
        (422, '{"detail":"Field required"}', {}, "call.wav: Field required"),
        (400, '{"error":{"message":"two\\nlines \\u001b[2J"}}', {}, "call.wav: two lines ?[2J"),
        (502, "<html>oops</html>", {}, "call.wav: HTTP 502 Bad Gateway"),
        (
            308,
            "",
            {"Location": "https://new.example/v1"},
            "call.wav: the server redirects to https://new.example/v1: use that URL",
        ),
        (200, "turn left", {}, "call.wav: the reply of the server holds no transcript"),
        (200, '{"text":null}', {}, "call.wav: the reply of the server holds no transcript"),
    ],
)
async def test_a_refusal_is_one_line_on_stderr_in_the_servers_words(
    audio: Path, status: int, reply: str, headers: dict[str, str], message: str
) -> None:
    async with answering(status, reply, **headers) as (url, _):
        assert await run(audio, url=url) == Run(1, "", message + "\n")


async def test_other_files_go_on_after_one_that_failed(audio: Path, tmp_path: Path) -> None:
    async with answering(200, '{"text":"hello"}') as (url, _):
        result = await run(tmp_path / "gone.wav", audio, tmp_path, url=url)
    assert (result.code, result.stdout) == (1, "hello\n")
    assert result.stderr.splitlines() == [
        f"{tmp_path}/gone.wav: No such file or directory",
        f"{tmp_path}: not a regular file",
    ]


async def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in (await run(tmp_path / "pipe", url="http://127.0.0.1:1")).stderr


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("http://user:secret@127.0.0.1:1/v1", "cannot reach http://127.0.0.1:1/v1: Connection refused"),
        ("ftp://example.com", "cannot reach ftp://example.com: not a http:// or https:// URL"),
        ("http://[1", "cannot reach http://[1: not a valid URL"),
    ],
)
async def test_a_server_that_cannot_be_reached_is_named_with_the_reason(audio: Path, url: str, line: str) -> None:
    assert await run(audio, url=url) == Run(1, "", line + "\n")


async def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(audio: Path) -> None:
    result = await run(audio, url="http://127.0.0.1:1", api_key="sk-1\nX-Evil: 1")
    assert result == Run(1, "", "the value for Authorization holds characters that no header may hold\n")


REFUSED = (
    b'HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 32\r\n\r\n{"error":{"message":"Bad key."}}'
)


@pytest.mark.parametrize("attempt", range(5))
async def test_an_answer_in_mid_upload_is_shown_even_when_the_connection_is_reset(large: Path, attempt: int) -> None:
    with slamming(REFUSED) as url:
        assert await run(large, url=url) == Run(1, "", "large.wav: Bad key.\n")


async def test_after_an_early_answer_the_rest_is_not_sent(large: Path) -> None:
    received = 0

    async def refuse_then_read(request: web.Request) -> web.StreamResponse:
        nonlocal received
        response = web.StreamResponse(status=413)
        await response.prepare(request)
        await response.write(b'{"error":{"message":"Too large."}}')
        await response.write_eof()
        try:
            async for chunk in request.content.iter_any():
                received += len(chunk)
        except ConnectionError:
            pass
        return response

    async with server(refuse_then_read) as url:
        assert await run(large, url=url) == Run(1, "", "large.wav: Too large.\n")
    assert received < 32_000_000


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "it closed the connection without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "its answer broke off"),
        (b"not http at all\r\n\r\n", "it does not speak HTTP"),
    ],
)
async def test_a_connection_that_breaks_is_one_line_without_a_traceback(
    audio: Path, answer: bytes, reason: str
) -> None:
    with slamming(answer, after=b"--\r\n") as url:
        result = await run(audio, url=url)
    assert (result.code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"cannot reach {url}: {reason}")
    assert result.stderr.count("\n") == 1


async def test_a_file_that_shrinks_while_it_is_sent_is_not_the_servers_fault(large: Path) -> None:
    async def shrink(request: web.Request) -> web.Response:
        await request.content.readany()
        os.truncate(large, 0)
        await request.read()
        return web.Response()

    async with server(shrink) as url:
        result = await run(large, url=url)
    assert result == Run(1, "", f"{large}: the file became shorter while it was sent\n")


async def test_an_interrupted_upload_closes_its_connection(large: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uploading = asyncio.create_task(run(large, url=f"http://127.0.0.1:{listener.getsockname()[1]}"))
        connection, _ = await asyncio.to_thread(listener.accept)
        with connection:
            connection.settimeout(5)
            assert await asyncio.to_thread(connection.recv, 1000)
            uploading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await uploading
            while await asyncio.to_thread(connection.recv, 1_000_000):
                pass


async def test_memory_does_not_grow_with_the_file(large: Path) -> None:
    async def discard(request: web.Request) -> web.Response:
        size = 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
        return web.json_response({"text": str(size == request.content_length)})

    async with server(discard) as url:
        tracemalloc.start()
        try:
            assert (await run(large, url=url)).stdout == "True\n"
            assert tracemalloc.get_traced_memory()[1] < 4_000_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    ("stderr", "progress", "drawn"),
    [(Terminal(), True, True), (Terminal(), False, False), (io.StringIO(), True, False)],
)
async def test_the_progress_bar_is_drawn_only_on_a_terminal(
    audio: Path, stderr: io.StringIO, progress: bool, drawn: bool
) -> None:
    async with answering(200, '{"text":"hello"}') as (url, _):
        result = await run(audio, url=url, stderr=stderr, progress=progress)
    assert (result.code, result.stdout) == (0, "hello\n")
    assert ("call.wav" in result.stderr) is drawn
    assert bool(result.stderr) is drawn
