"""The console's files: each path of a page is the page, assets come compressed and are asked for once."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from proxy.ops.answers import OpsError
from proxy.ops.pages import FOLDER, PAGES, Pages
from tests.ops.conftest import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.ops.conftest import Desktop

    Start = Callable[..., AbstractAsyncContextManager[Desktop]]

ASSETS = sorted(path.relative_to(FOLDER).as_posix() for path in (FOLDER / "assets").rglob("*") if path.is_file())


@pytest.mark.parametrize("path", [path.replace("{id}", "019a7f00-0000-7000-8000-000000000000") for path in PAGES])
async def test_every_page_is_the_console(desktop: Start, path: str) -> None:
    async with desktop() as ops:
        reply = await ops.get(f"{path}?status=5xx")
        assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert reply.body == (FOLDER / "index.html").read_bytes()


async def test_a_page_can_be_had_without_the_token_but_nothing_of_what_it_shows(desktop: Start) -> None:
    async with desktop(ops={"token": TOKEN}) as ops:
        assert (await ops.get("/")).status == 200
        assert (await ops.get(f"/{ASSETS[0]}")).status == 200
        assert (await ops.get("/api/requests")).status == 401


async def test_every_asset_is_there_under_its_kind(desktop: Start) -> None:
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".txt": "text/plain"}
    async with desktop() as ops:
        for name in ASSETS:
            reply = await ops.get(f"/{name}")
            assert reply.body == (FOLDER / name).read_bytes(), name
            suffix = re.search(r"\.\w+$", name)
            if suffix is not None and suffix[0] in kinds:
                assert reply.headers["Content-Type"].startswith(kinds[suffix[0]]), name


@pytest.mark.parametrize(
    "path",
    ["/assets/none.js", "/assets/", "/assets/../index.html", "/assets/%2e%2e/index.html", "/assets/..%2f..%2fcli.py"],
)
async def test_nothing_else_can_be_had(desktop: Start, path: str) -> None:
    async with desktop() as ops:
        assert (await ops.get(path)).refused == (404, "unknown_route")


async def test_a_file_that_has_not_changed_is_not_sent_again(desktop: Start) -> None:
    async with desktop() as ops:
        first = await ops.get("/")
        assert first.headers["Cache-Control"] == "no-cache"
        tag = first.headers["ETag"]
        for given in (tag, f"W/{tag}", f'"other", {tag}'):
            again = await ops.get("/", If_None_Match=given)
            assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
        assert (await ops.get("/", If_None_Match='"other"')).status == 200


async def test_files_come_compressed_for_whoever_takes_it(desktop: Start) -> None:
    async with (
        desktop() as ops,
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(ops.url, headers={"Accept-Encoding": "gzip"}) as packed,
        session.get(ops.url, headers={"Accept-Encoding": "gzip;q=0, identity"}) as plain,
    ):
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(await packed.read()) == await plain.read()
        assert "Content-Encoding" not in plain.headers


@pytest.mark.parametrize(("is_in", "shown"), [(True, b"console"), (False, b"log in")])
async def test_a_page_to_log_in_at_comes_first_where_there_is_one(tmp_path: Path, is_in: bool, shown: bytes) -> None:
    (tmp_path / "index.html").write_bytes(b"console")
    (tmp_path / "login.html").write_bytes(b"log in")
    reply = await Pages(lambda _request: is_in, tmp_path).page(_request())
    assert isinstance(reply, web.Response)
    assert reply.body == shown


async def test_a_package_without_its_console_says_so(tmp_path: Path) -> None:
    with pytest.raises(OpsError, match="There is no such file"):
        await Pages(lambda _request: True, tmp_path).page(_request())


def _request() -> web.Request:
    return make_mocked_request("GET", "/")
