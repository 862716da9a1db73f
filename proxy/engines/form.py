"""A transcription request: the multipart form read within its limits, and OpenAI's fields made sense of.

The engine is an upstream, not the gateway: it needs the whole file before it can start, so it keeps it in
memory, bounded.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from proxy.engines.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

FORMATS: Final = ("json", "text", "srt", "verbose_json", "vtt")
GRANULARITIES: Final = ("word", "segment")

_MAX_PARTS: Final = 64  # OpenAI's largest form has about 20; more is not a form but an attack
_MAX_FIELD_BYTES: Final = 262_144  # what the gateway lets through; the engine itself needs a few bytes
_READ_SECONDS: Final = 30.0  # a client that sends nothing for this long has gone


@dataclass(frozen=True, slots=True)
class Upload:
    """A form as it came: the values of each text field, in order, and the bytes of ``file`` if any."""

    fields: Mapping[str, list[str]]
    audio: bytes | None


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller asked for. Every other field, ``model`` too, is accepted and changes nothing."""

    response_format: str
    granularities: tuple[str, ...]
    stream: bool


async def read_upload(request: web.Request, *, max_bytes: int) -> Upload:
    """Read the form.

    Raises :class:`EngineError`: 413 for a body above ``max_bytes``, before reading it when its length is
    known; 408 for a client that stalls; 400 for anything that is not a form.
    """
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes, request.content_length or 0)
    content_type, options = parse_options_header(request.headers.get("Content-Type", ""))
    if content_type != "multipart/form-data":
        raise EngineError("The body must be multipart/form-data with the audio in the part named file.")
    form = _Form()
    size = 0
    try:
        with PushMultipartParser(options.get("boundary", ""), max_segment_count=_MAX_PARTS) as parser:
            while not parser.closed:
                chunk = await _read_chunk(request)
                size += len(chunk)
                if size > max_bytes:
                    raise _too_large(max_bytes, size)
                for event in parser.parse(chunk):
                    form.take(event)
    except MultipartError as error:
        raise EngineError(f"The body could not be parsed as multipart/form-data: {error}.") from error
    return Upload(form.fields, form.audio)


class _Form:
    """Gathers the parser's events: a segment, its data in pieces, None at its end."""

    def __init__(self) -> None:
        self.fields: dict[str, list[str]] = {}
        self.audio: bytes | None = None
        self._name = ""
        self._data: list[bytes] = []  # at most the body, which is limited
        self._size = 0

    def take(self, event: MultipartSegment | bytes | None) -> None:
        if isinstance(event, MultipartSegment):
            self._name = event.name or ""
            self._data.clear()
            self._size = 0
        elif event is not None:
            self._data.append(event)
            self._size += len(event)
            if self._name != "file" and self._size > _MAX_FIELD_BYTES:
                raise EngineError(f"The field '{self._name[:64]}' is longer than {_MAX_FIELD_BYTES} bytes.")
        elif self._name == "file":
            self.audio = b"".join(self._data)
        else:
            self.fields.setdefault(self._name, []).append(b"".join(self._data).decode("utf-8", "replace"))


def parse_options(fields: Mapping[str, list[str]]) -> Options:
    """Check the fields that matter here; raise :class:`EngineError` (400) naming the field at fault."""
    language = _last(fields, "language")
    if language not in {"", "en"}:
        raise EngineError(
            f"The local engine knows English only: language must be 'en', not '{language[:32]}'.",
            param="language",
            code="invalid_value",
        )
    granularities = [
        *fields.get("timestamp_granularities[]", ()),
        *fields.get("timestamp_granularities", ()),
    ]
    for granularity in granularities:
        _one_of(granularity, GRANULARITIES, "timestamp_granularities[]")
    response_format = _last(fields, "response_format") or "json"
    _one_of(response_format, FORMATS, "response_format")
    stream = (_last(fields, "stream") or "false").lower()
    _one_of(stream, ("true", "false", "1", "0"), "stream")
    return Options(
        response_format=response_format,
        granularities=tuple(granularities) or ("segment",),
        stream=stream in {"true", "1"},
    )


async def _read_chunk(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(_READ_SECONDS):
            return await request.content.readany()
    except TimeoutError:
        raise EngineError(
            f"The upload stalled: no data for {_READ_SECONDS:g} seconds.", status=408, type="timeout_error"
        ) from None


def _too_large(limit: int, size: int) -> EngineError:
    return EngineError(
        f"Maximum content size limit ({limit}) exceeded ({size} bytes read)", status=413, type="server_error"
    )


def _last(fields: Mapping[str, list[str]], name: str) -> str:
    return fields.get(name, [""])[-1].strip()


def _one_of(value: str, allowed: tuple[str, ...], param: str) -> None:
    if value not in allowed:
        raise EngineError(
            f"Invalid value: '{value[:64]}'. Supported values are: {', '.join(map(repr, allowed))}.",
            param=param,
            code="invalid_value",
        )
