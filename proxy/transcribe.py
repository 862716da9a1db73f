"""The client behind ``audiogate transcribe``: files up, transcripts on stdout, failures on stderr.

A file is streamed from disk as it is sent, with its length known beforehand, so memory does not grow with it.
A server may answer before the upload is over (a wrong key, a file too large); the answer is then shown and
the rest is not sent. That is why the standard library's blocking client is used, in a thread: asyncio closes
a connection whose peer has reset it without reading what had arrived, and the answer would be lost.
"""

from __future__ import annotations

import asyncio
import http.client
import mimetypes
import secrets
import select
import socket
import ssl
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, TextIO

import orjson
from tqdm import tqdm
from yarl import URL

from proxy import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence

DEFAULT_URL: Final = "http://127.0.0.1:8787"
DEFAULT_MODEL: Final = "gpt-transcribe"  # OpenAI's other transcription models shut down on 2027-02-26
FORMATS: Final = ("json", "text", "verbose_json", "srt", "vtt")

_CHUNK_BYTES: Final = 65_536  # what one read and one write handle; a smaller one only makes more of them
_CONNECT_SECONDS: Final = 10.0  # a server that has not answered the handshake by then is not there
_UPLOAD_SECONDS: Final = 60.0  # without a byte taken; twice the gateway's 30, so that it speaks first
_REPLY_SECONDS: Final = 900.0  # without a byte received; the gateway gives its upstream 600
_MAX_REPLY_BYTES: Final = 64 * 1024 * 1024  # a day of speech with word times is about 20 MB
_MAX_LINE: Final = 1000  # an error message is one line for a person


class TranscriptionFailed(Exception):  # noqa: N818  an outcome, told in the words of whoever refused
    """One file could not be transcribed; the message is the line for stderr."""


@dataclass(frozen=True, slots=True)
class _Job:
    """What is the same for every file: the endpoint, the server's URL for messages, headers, form fields."""

    url: URL
    server: str
    headers: dict[str, str] = field(repr=False)
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Reply:
    """What the server answered: status line, Location (empty when there is none) and the whole body."""

    status: int
    reason: str
    location: str
    content: bytes


async def transcribe(
    files: Iterable[str | os.PathLike[str]],
    *,
    url: str = DEFAULT_URL,
    model: str | None = DEFAULT_MODEL,
    provider: str | None = None,
    fmt: str | None = None,
    translate: bool = False,
    api_key: str | None = None,
    stdout: TextIO,
    stderr: TextIO,
    progress: bool = True,
) -> int:
    """Transcribe each file in turn; return 0, or 1 if any failed.

    ``url`` may end in ``/v1`` or not. ``fmt`` is OpenAI's ``response_format``: for None and ``json`` only the
    text is printed, for the others the reply as it came. ``provider`` goes into ``x-portkey-provider``,
    ``api_key`` into ``Authorization``. The progress bar is drawn on ``stderr`` when ``progress`` is true and
    it is a terminal.
    """
    fields = tuple((name, value) for name, value in (("model", model), ("response_format", fmt)) if value)
    bar_on = stderr if progress and stderr.isatty() else None
    failures = 0
    for path in map(Path, files):
        try:
            endpoint, server = _endpoint(url, "translations" if translate else "transcriptions")
            job = _Job(endpoint, server, _headers(api_key, provider), fields)
            reply = await _transcribe_file(job, path, bar_on)
            stdout.write(_transcript(reply, path, fmt))
            stdout.flush()
        except TranscriptionFailed as error:
            failures += 1
            print(_one_line(str(error)), file=stderr)
    return 1 if failures else 0


async def _transcribe_file(job: _Job, path: Path, bar_on: TextIO | None) -> bytes:
    """Send one file; return the body of a good reply or raise :class:`TranscriptionFailed`."""
    connection = _connection(job.url)
    with _opened(path) as (file, size), _progress_bar(path, size, bar_on) as advance:
        upload = _Upload(job.fields, path, file, size, advance)
        try:
            await asyncio.to_thread(connection.connect)
            with _severed(connection.sock) as sock:
                reply = await asyncio.to_thread(_exchange, connection, sock, job, upload)
        except (OSError, http.client.HTTPException) as error:
            raise TranscriptionFailed(f"cannot reach {job.server}: {_reason(error)}") from error
        finally:
            connection.close()
    if not 200 <= reply.status < 300:
        raise TranscriptionFailed(f"{path.name}: {_refusal(reply)}")
    return reply.content


def _connection(url: URL) -> http.client.HTTPConnection:
    host, port = url.raw_host or "", url.port
    if url.scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=_CONNECT_SECONDS)
    return http.client.HTTPConnection(host, port, timeout=_CONNECT_SECONDS)


@contextmanager
def _severed(sock: socket.socket) -> Iterator[socket.socket]:
    """Cut the connection at the end, so that a thread still waiting on it wakes when the caller is interrupted."""
    try:
        yield sock
    finally:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _exchange(connection: http.client.HTTPConnection, sock: socket.socket, job: _Job, upload: _Upload) -> _Reply:
    """Send the form and read the reply, whenever it comes; runs in a thread."""
    sock.settimeout(_UPLOAD_SECONDS)
    connection.putrequest("POST", job.url.raw_path_qs)
    for name, value in (job.headers | upload.headers).items():
        connection.putheader(name, value)
    try:
        connection.endheaders()
        for chunk in upload.chunks():
            if _answered(sock):
                break
            connection.send(chunk)
    except TimeoutError:
        if not _answered(sock):
            raise
    except OSError:
        pass  # the server has closed; what it said before that can still be read
    sock.settimeout(_REPLY_SECONDS)
    with connection.getresponse() as response:
        content = response.read(_MAX_REPLY_BYTES + 1)
        if len(content) > _MAX_REPLY_BYTES:
            raise TranscriptionFailed(f"the reply is longer than {_MAX_REPLY_BYTES} bytes")
        if response.length:
            raise http.client.IncompleteRead(content, response.length)
        return _Reply(response.status, response.reason, response.headers.get("Location", ""), content)


def _answered(sock: socket.socket) -> bool:
    """Tell whether a reply has begun. Over TLS nobody can: a readable socket may hold only a session ticket."""
    return not isinstance(sock, ssl.SSLSocket) and bool(select.select([sock], [], [], 0)[0])


class _Upload:
    """One form on its way: the fields, then the file as it is read, then the closing delimiter (RFC 7578)."""

    def __init__(
        self,
        fields: Sequence[tuple[str, str]],
        path: Path,
        file: IO[bytes],
        size: int,
        advance: Callable[[int], object],
    ) -> None:
        boundary = f"audiogate-{secrets.token_hex(16)}"
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
            for field, value in fields
        ]
        media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{_quoted(path.name)}"\r\n'
            f"Content-Type: {media_type}\r\n\r\n"
        )
        self._head = "".join(parts).encode("utf-8", "replace")
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._path, self._file, self._size, self._advance = path, file, size, advance
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(self._head) + size + len(self._tail)),
        }

    def chunks(self) -> Iterator[bytes]:
        """Yield exactly Content-Length bytes; raise :class:`TranscriptionFailed` when the file cannot give them."""
        yield self._head
        left = self._size  # what the file gains while it is sent is not sent
        while left:
            try:
                chunk = self._file.read(min(_CHUNK_BYTES, left))
            except OSError as error:
                raise TranscriptionFailed(f"{self._path}: {error.strerror}") from error
            if not chunk:
                raise TranscriptionFailed(f"{self._path}: the file became shorter while it was sent")
            left -= len(chunk)
            yield chunk
            self._advance(len(chunk))
        yield self._tail


def _endpoint(url: str, task: str) -> tuple[URL, str]:
    """Return the URL to post to, and the server's for messages; neither holds a user name or password."""
    try:
        base = URL(url if "://" in url else f"http://{url}").with_user(None).with_query(None).with_fragment(None)
    except ValueError as error:
        raise TranscriptionFailed(f"cannot reach {url}: not a valid URL") from error
    if base.scheme not in {"http", "https"} or not base.host:
        raise TranscriptionFailed(f"cannot reach {url}: not a http:// or https:// URL")
    path = base.path.rstrip("/")
    root = base.with_path(path if path.endswith("/v1") else f"{path}/v1")
    return root / "audio" / task, str(base).rstrip("/")


def _headers(api_key: str | None, provider: str | None) -> dict[str, str]:
    headers = {"User-Agent": f"audiogate/{__version__}"}
    for name, prefix, value in (
        ("Authorization", "Bearer ", api_key),
        ("x-portkey-provider", "", provider),
    ):
        text = (value or "").strip()  # keys come from files, which end in a newline
        if not (text.isascii() and text.isprintable()):
            raise TranscriptionFailed(f"the value for {name} holds characters that no header may hold")
        if text:
            headers[name] = prefix + text
    return headers


def _quoted(name: str) -> str:
    """Escape a file name as browsers do (WHATWG HTML, multipart/form-data encoding)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """Open a regular file and give its size; a pipe or a folder has none, and a pipe would block."""
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):
            raise TranscriptionFailed(f"{path}: not a regular file")
        file = path.open("rb")
    except OSError as error:
        raise TranscriptionFailed(f"{path}: {error.strerror}") from error
    with file:
        yield file, info.st_size


@contextmanager
def _progress_bar(path: Path, size: int, bar_on: TextIO | None) -> Iterator[Callable[[int], object]]:
    with tqdm(
        total=size,
        desc=path.name,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        leave=False,
        file=bar_on,
        disable=bar_on is None,
    ) as bar:
        yield bar.update


def _transcript(reply: bytes, path: Path, fmt: str | None) -> str:
    """Return what goes to stdout, ending in a newline."""
    if fmt in {None, "json"}:
        text = _json_at(reply, "text")
        if text is None:
            raise TranscriptionFailed(f"{path.name}: the reply of the server holds no transcript")
    else:
        text = reply.decode("utf-8", "replace")
    return text if text.endswith("\n") else text + "\n"


def _refusal(reply: _Reply) -> str:
    """Return the server's own message: OpenAI's shape first, then the shapes of other speech servers."""
    if 300 <= reply.status < 400 and reply.location:
        return f"the server redirects to {reply.location}: use that URL"
    for keys in (("error", "message"), ("message",), ("error",), ("detail",), ("err_msg",)):
        message = _json_at(reply.content, *keys)
        if message:
            return message
    return f"HTTP {reply.status} {reply.reason}"


def _json_at(content: bytes, *keys: str) -> str | None:
    """Return the string at this path of a JSON document, or None."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None


def _reason(error: OSError | http.client.HTTPException) -> str:
    """Say in a few words why there was no reply."""
    match error:
        case TimeoutError():
            return "it did not answer in time"
        case http.client.RemoteDisconnected():
            return "it closed the connection without an answer"
        case http.client.IncompleteRead():
            return "its answer broke off"
        case http.client.HTTPException():
            return "it does not speak HTTP"
        case _:
            return error.strerror or str(error)


def _one_line(message: str) -> str:
    """Return the message as one line that a terminal can show: servers may send anything."""
    line = " ".join(message.split())
    return "".join(character if character.isprintable() else "?" for character in line)[:_MAX_LINE]
