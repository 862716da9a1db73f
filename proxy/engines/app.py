"""The engine's HTTP face: OpenAI's audio endpoints in front of the recogniser, as an aiohttp application.

    POST /v1/audio/transcriptions    multipart/form-data in; json, text, verbose_json, srt, vtt or events out
    POST /v1/audio/translations      the same: the engine knows English only, so there is nothing to translate
    GET  /v1/models, /health

It is an upstream for trying things out, for demos and for tests; its English is that of a 2016 acoustic
model.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import web

from proxy.engines.agreement import Agreement
from proxy.engines.bench import Bench
from proxy.engines.errors import EngineError
from proxy.engines.form import Options, parse_options, read_upload
from proxy.engines.recogniser import SLICE_SECONDS, load_pocketsphinx
from proxy.engines.sound import BYTES_PER_SECOND, decode, load_miniaudio
from proxy.engines.transcript import Transcript, Word, join, usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp.typedefs import Handler

    from proxy.engines.recogniser import Hypothesis, Recogniser

MODEL: Final = "pocketsphinx-en-us"

_STARTED: Final = int(time.time())  # the model carries no date of its own
_AGREEMENT_SLICES: Final = round(
    0.5 / SLICE_SECONDS
)  # half a second without a change: fewer revisions than one word in 100
_WRITE_SECONDS: Final = 30.0  # a client that takes no event for this long has gone, and holds a recogniser
_CLIENT_BYTES: Final = 65_536  # aiohttp's own limit for bodies it reads whole, which the engine never asks for


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may bring and how many may come: the engine's memory is about their product."""

    max_body_bytes: int = 26_214_400  # OpenAI's 25 MiB
    max_seconds: float = 900.0  # a quarter of an hour: 29 MB of samples, about two minutes of work
    recognisers: int = 2  # pocketsphinx holds the interpreter lock: a second one only keeps short files from waiting
    waiting: int = 8  # their samples wait in memory: 8 x 29 MB


_LIMITS: Final = web.AppKey("limits", Limits)
_BENCH: Final = web.AppKey("bench", Bench)


def make_app(limits: Limits | None = None) -> web.Application:
    """Return the engine as an aiohttp application.

    Run it with ``handler_cancellation=True``, as :func:`proxy.engines.serve` does: without that a client that
    leaves is noticed only when its transcript is written. Raises :class:`MissingExtraError` without the
    ``local`` extra.
    """
    load_pocketsphinx()
    load_miniaudio()
    app = web.Application(middlewares=[_openai_errors], client_max_size=_CLIENT_BYTES)
    app[_LIMITS] = limits or Limits()
    app.cleanup_ctx.append(_bench)
    app.router.add_post("/v1/audio/transcriptions", _transcriptions)
    app.router.add_post("/v1/audio/translations", _translations)
    app.router.add_get("/v1/models", _models)
    app.router.add_get("/health", _health)
    return app


async def _bench(app: web.Application) -> AsyncIterator[None]:
    app[_BENCH] = bench = Bench(recognisers=app[_LIMITS].recognisers, waiting=app[_LIMITS].waiting)
    await bench.warm()
    yield
    await bench.close()


async def _transcriptions(request: web.Request) -> web.StreamResponse:
    return await _answer(request, task="transcribe")


async def _translations(request: web.Request) -> web.StreamResponse:
    return await _answer(request, task="translate")


async def _answer(request: web.Request, *, task: str) -> web.StreamResponse:
    bench = request.app[_BENCH]
    with bench.place():
        options, pcm = await _receive(request)
        async with bench.recogniser() as recogniser:
            if options.stream:
                return await _stream(request, recogniser, pcm)
            words = [
                word
                async for hypothesis in _listen(bench, recogniser, pcm)
                if hypothesis.final
                for word in hypothesis.words
            ]
    return _written(Transcript(tuple(words), len(pcm) / BYTES_PER_SECOND), options, task)


async def _receive(request: web.Request) -> tuple[Options, bytes]:
    """Return what was asked for and the samples; the upload itself is no longer held after this."""
    limits = request.app[_LIMITS]
    upload = await read_upload(request, max_bytes=limits.max_body_bytes)
    options = parse_options(upload.fields)
    if upload.audio is None:
        raise EngineError("Missing required parameter: 'file'.", param="file", code="missing_required_parameter")
    return options, await request.app[_BENCH].run(decode, upload.audio, max_seconds=limits.max_seconds)


async def _listen(bench: Bench, recogniser: Recogniser, pcm: bytes) -> AsyncIterator[Hypothesis]:
    hypotheses = recogniser.listen(pcm)
    while (hypothesis := await bench.run(next, hypotheses, None)) is not None:
        yield hypothesis


def _written(transcript: Transcript, options: Options, task: str) -> web.Response:
    match options.response_format:
        case "json":
            return _json(transcript.json())
        case "verbose_json":
            return _json(transcript.verbose_json(task=task, granularities=options.granularities))
        case "srt":
            text = transcript.srt()
        case "vtt":
            text = transcript.vtt()
        case _:
            text = transcript.text + "\n"
    return web.Response(text=text, content_type="text/plain")  # OpenAI's type for all three, subtitles too


async def _stream(request: web.Request, recogniser: Recogniser, pcm: bytes) -> web.StreamResponse:
    """Send words while the recogniser listens (OpenAI API reference, "Transcript text delta event")."""
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
    )
    await response.prepare(request)
    said: list[Word] = []
    agreement = Agreement(_AGREEMENT_SLICES)
    async for hypothesis in _listen(request.app[_BENCH], recogniser, pcm):
        new = agreement.close(hypothesis.words) if hypothesis.final else agreement.feed(hypothesis.words)
        if new:
            delta = (" " if said else "") + join(new)
            await _send(request, response, {"type": "transcript.text.delta", "delta": delta})
            said += new
        if hypothesis.final:
            agreement = Agreement(_AGREEMENT_SLICES)
    done = {
        "type": "transcript.text.done",
        "text": join(said),
        "usage": usage(len(pcm) / BYTES_PER_SECOND),
    }
    await _send(request, response, done)
    await _send(request, response, None)
    await response.write_eof()
    return response


async def _send(request: web.Request, response: web.StreamResponse, event: dict[str, Any] | None) -> None:
    """Write one event, or OpenAI's end mark for None."""
    data = b"[DONE]" if event is None else orjson.dumps(event)
    try:
        async with asyncio.timeout(_WRITE_SECONDS):
            await response.write(b"data: " + data + b"\n\n")
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()  # a clean close would wait for the same client
        raise ConnectionResetError("the client stopped reading") from None


async def _models(request: web.Request) -> web.Response:
    model = {"id": MODEL, "object": "model", "created": _STARTED, "owned_by": "cmusphinx"}
    return _json({"object": "list", "data": [model]})


async def _health(request: web.Request) -> web.Response:
    note = "A local engine for trying things out: English only, and far below a modern model."
    return _json({"status": "ok", "model": MODEL, "requests": request.app[_BENCH].taken, "note": note})


@web.middleware
async def _openai_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every refusal in OpenAI's shape."""
    try:
        return await handler(request)
    except EngineError as error:
        return _refusal(error)
    except web.HTTPException as error:
        message = f"Invalid URL ({request.method} {request.path})" if error.status == 404 else error.reason
        return _refusal(EngineError(message, status=error.status), allow=error.headers.get("Allow"))


def _refusal(error: EngineError, *, allow: str | None = None) -> web.Response:
    response = _json(error.body(), status=error.status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if allow is not None:
        response.headers["Allow"] = allow
    return response


def _json(body: dict[str, Any], *, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
