"""The console's files: read once at start, answered from memory, none of them from anywhere else."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web

from proxy.ops.answers import OpsError, takes_gzip

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER: Final = Path(__file__).parents[1] / "console"
PAGES: Final = ("/", "/requests", "/requests/{id}", "/upstreams", "/settings", "/playground", "/login")
"""Paths of the console's pages: all are the same document, which looks at the path."""

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
_PLAIN: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class _File:
    kind: str
    tag: str
    body: bytes
    compressed: bytes | None  # None: it does not get smaller


class Pages:
    """The handlers of the console's pages and their assets. ``is_in`` says whether a request may see the console."""

    def __init__(self, is_in: Callable[[web.BaseRequest], bool], folder: Path = FOLDER) -> None:
        self._is_in = is_in
        self._files = {
            path.relative_to(folder).as_posix(): _read(path) for path in sorted(folder.rglob("*")) if path.is_file()
        }

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Answer the console, or the page to log in at."""
        wanted = "index.html" if self._is_in(request) or "login.html" not in self._files else "login.html"
        return self._answer(request, wanted)

    async def asset(self, request: web.Request) -> web.StreamResponse:
        """Answer a file that a page needs. There is nothing in it that one may not see."""
        return self._answer(request, f"assets/{request.match_info['path']}")

    def _answer(self, request: web.Request, name: str) -> web.StreamResponse:
        file = self._files.get(name)
        if file is None:
            raise OpsError(404, "unknown_route", "There is no such file.")
        # Asked again each time, and answered with 304: a new version never runs with a file of the one before.
        headers = {"ETag": file.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding, Cookie"}
        if file.tag in [tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")]:
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = file.kind
        if file.compressed is not None and takes_gzip(request):
            return web.Response(body=file.compressed, headers={**headers, "Content-Encoding": "gzip"})
        return web.Response(body=file.body, headers=headers)


def _read(path: Path) -> _File:
    body = path.read_bytes()
    smaller = gzip.compress(body, mtime=0)
    return _File(
        _TYPES.get(path.suffix, _PLAIN),
        f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        body,
        smaller if len(smaller) < len(body) else None,
    )
