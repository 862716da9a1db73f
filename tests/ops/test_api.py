"""The records' API: pages, one record, what is wrong with a question, stats, and exports that fit into any memory."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.ops.conftest import LAST_CHUNK, to_the_end
from tests.ops.records import record

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.ops.conftest import Desktop

    Start = Callable[..., AbstractAsyncContextManager[Desktop]]


def names(page: dict[str, Any]) -> list[str]:
    return [item["trace_id"] for item in page["items"]]


async def test_pages_follow_each_other_from_the_newest_to_the_oldest(desktop: Start) -> None:
    async with desktop() as ops:
        ops.keep(*(record(str(number), minutes=number) for number in range(1, 7)))
        first = (await ops.get("/api/requests?limit=3")).json()
        second = (await ops.get(f"/api/requests?limit=3&before={first['next']}")).json()
        third = (await ops.get(f"/api/requests?limit=3&before={second['next']}")).json()
        assert [names(page) for page in (first, second, third)] == [["6", "5", "4"], ["3", "2", "1"], ["0"]]
        assert third["next"] is None
        assert names((await ops.get("/api/requests")).json()) == list("6543210")


async def test_a_record_comes_as_it_was_kept_in_a_page_and_alone(desktop: Start) -> None:
    async with desktop() as ops:
        kept = record("a", said="<img src=x onerror=alert(1)> \u2028 ü", minutes=1, metadata={"team": 2**70})
        ops.keep(kept)
        assert (await ops.get("/api/requests?limit=1")).json()["items"] == [kept]
        assert (await ops.get(f"/api/requests/{kept['id']}")).json() == kept


async def test_filters_say_which_records(desktop: Start) -> None:
    async with desktop() as ops:
        ops.keep(
            record("ok", said="go forward ten meters", minutes=1),
            record("late", minutes=2, status=503, outcome="upstream_error", provider="other"),
            record("wrong", minutes=3, status=400, outcome="client_error", model_used=None, model_requested="big"),
        )
        for query, found in {
            "status=5xx": ["late"],
            "status=503&status=4xx": ["wrong", "late"],
            "outcome=upstream_error,client_error": ["wrong", "late"],
            "provider=other": ["late"],
            "model=big": ["wrong"],
            "trace=ok": ["ok"],
            "q=forward%20meters": ["ok"],
            "since=2026-11-21T12:02:00Z": ["wrong", "late"],
            "until=2026-11-21T12:01:30%2B00:00&since=2026-11-21T12:00:30Z": ["ok"],
            "status=": ["wrong", "late", "ok", "0"],
        }.items():
            assert names((await ops.get(f"/api/requests?{query}")).json()) == found, query


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/api/requests?limit=0", "limit"),
        ("/api/requests?limit=501", "limit"),
        ("/api/requests?limit=ten", "limit"),
        ("/api/requests?limit=-1", "limit"),
        ("/api/requests?limit=%D9%A3", "limit"),
        ("/api/requests?limit=99999999999999999999999999", "limit"),
        ("/api/requests?before=not-a-cursor", "before"),
        ("/api/requests?status=7000", "status"),
        ("/api/requests?outcome=bad", "outcome"),
        ("/api/requests?since=yesterday", "since"),
        ("/api/requests?provder=up", "provder"),
        ("/api/requests/0?limit=5", "limit"),
        ("/api/requests/export?format=xlsx", "format"),
        ("/api/requests/export?limit=5", "limit"),
        ("/api/stats?group_by=colour", "group_by"),
        ("/api/stats?bucket=7s", "bucket"),
        ("/api/stats?q=hello", "q"),
        ("/api/stats?limit=5", "limit"),
        ("/api/config?show=secrets", "show"),
    ],
)
async def test_a_question_that_cannot_be_read_is_refused_by_its_part(desktop: Start, path: str, param: str) -> None:
    async with desktop() as ops:
        reply = await ops.get(path)
        assert reply.refused == (400, "invalid_request")
        assert reply.json()["error"]["param"] == param


async def test_a_slip_in_a_parameters_name_is_named(desktop: Start) -> None:
    async with desktop() as ops:
        assert "did you mean 'provider'?" in (await ops.get("/api/requests?provder=up")).json()["message"]


async def test_there_is_no_record_with_an_id_that_is_none(desktop: Start) -> None:
    async with desktop() as ops:
        for record_id in ("0", "019a7f00-0000-7000-8000-000000000000", "%00", "a%2Fb", "x" * 500):
            assert (await ops.get(f"/api/requests/{record_id}")).refused[0] == 404, record_id


async def test_stats_add_up_what_was_kept(desktop: Start) -> None:
    async with desktop() as ops:
        ops.keep(record("a", minutes=1), record("b", minutes=1, provider="other", outcome="upstream_error"))
        query = "since=2026-11-21T11:00:00Z&until=2026-11-21T13:00:00Z&group_by=provider"
        stats = (await ops.get(f"/api/stats?{query}")).json()
        assert (stats["total"]["requests"], stats["total"]["errors"]) == (3, 1)
        assert stats["total"]["cost_usd"] == "0.003"
        assert {group["group"]: group["requests"] for group in stats["groups"]} == {"up": 2, "other": 1}
        assert sum(point["requests"] for point in stats["series"]) == 3


@pytest.mark.parametrize("path", ["/api/requests", "/api/requests/0", "/api/requests/stream", "/api/stats"])
async def test_without_a_store_the_answer_says_which_setting_to_change(desktop: Start, path: str) -> None:
    async with desktop(store=False, records={"store": "none"}) as ops:
        reply = await ops.get(path)
        assert reply.refused == (503, "store_off")
        assert "records.store" in reply.json()["message"]
        assert (await ops.get("/api/session")).json()["store"] == "none"
    async with desktop(store=False) as ops:
        assert "could not be opened" in (await ops.get(path)).json()["message"]


async def test_a_store_that_does_not_answer_is_503_and_answers_again_when_it_is_back(desktop: Start) -> None:
    async with desktop() as ops:
        path = Path(ops.address.removeprefix("sqlite:"))
        away = path.rename(path.with_suffix(".away"))
        path.mkdir()
        assert (await ops.get("/api/requests")).refused == (503, "store_unavailable")
        path.rmdir()
        away.rename(path)
        assert (await ops.get("/api/requests")).status == 200


# What is there for which method


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/requests", "GET, HEAD"),
        ("DELETE", "/api/requests/0", "GET, HEAD"),
        ("PUT", "/api/session", "DELETE, GET, HEAD, POST"),
        ("GET", "/api/playground/transcriptions", "POST"),
        ("POST", "/", "GET, HEAD"),
        ("POST", "/livez", "GET, HEAD"),
        ("OPTIONS", "/api/requests", "GET, HEAD"),
    ],
)
async def test_another_method_is_told_which_there_are(desktop: Start, method: str, path: str, allowed: str) -> None:
    async with desktop() as ops:
        reply = await ops.ask(method, path)
        assert reply.refused == (405, "method_not_allowed")
        assert reply.headers["Allow"] == allowed


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/nothing", "/requests/a/b", "/v1/keys", "/../etc/passwd", "//"])
async def test_what_is_not_there_is_404(desktop: Start, path: str) -> None:
    async with desktop() as ops:
        assert (await ops.get(path)).refused == (404, "unknown_route")


@pytest.mark.parametrize(
    "path",
    [
        "/livez",
        "/metrics",
        "/api/requests",
        "/api/requests/stream",
        "/api/requests/export",
        "/api/stats",
        "/api/config",
    ],
)
async def test_head_is_get_without_a_body(desktop: Start, path: str) -> None:
    async with desktop() as ops:
        reply = await ops.ask("HEAD", path)
        assert (reply.status, reply.body) == (200, b"")


async def test_every_answer_is_safe_to_look_at(desktop: Start) -> None:
    async with desktop() as ops:
        for path in ("/", "/livez", "/metrics", "/api/requests", "/api/requests/export", "/api/nothing"):
            headers = (await ops.get(path)).headers
            assert headers["X-Content-Type-Options"] == "nosniff", path
            assert headers["Referrer-Policy"] == "no-referrer", path
            policy = headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'"), path
            assert "unsafe" not in policy, path
            assert headers["Cache-Control"] in {"no-store", "no-cache"}, path


async def test_long_answers_are_compressed_for_whoever_takes_it(desktop: Start) -> None:
    async with desktop() as ops:
        ops.keep(*(record(str(number), minutes=number) for number in range(1, 5)))
        plain = await ops.get("/api/requests", Accept_Encoding="identity")
        assert "Content-Encoding" not in plain.headers
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.get(f"{ops.url}/api/requests", headers={"Accept-Encoding": "br, gzip;q=0.5"}) as reply,
        ):
            assert reply.headers["Content-Encoding"] == "gzip"
            assert json.loads(gzip.decompress(await reply.read())) == plain.json()


# Exports


async def test_an_export_is_a_file_of_all_that_the_filters_pass(desktop: Start) -> None:
    async with desktop() as ops:
        kept = [record(str(number), minutes=number, said=f'"{number}"\n=cmd()') for number in range(1, 4)]
        ops.keep(*kept)
        reply = await ops.get("/api/requests/export?q=cmd")
        assert reply.headers["Content-Type"] == "application/x-ndjson"
        assert reply.headers["Content-Disposition"].startswith('attachment; filename="audiogate-requests-')
        assert reply.headers["Content-Disposition"].endswith('.jsonl"')
        assert [json.loads(line) for line in reply.body.splitlines()] == kept[::-1]
        table = await ops.get("/api/requests/export?format=csv&trace=2")
        assert table.headers["Content-Type"] == "text/csv; charset=utf-8"
        header, *rows = table.body.decode().split("\r\n" if b"\r\n" in table.body else "\n")
        assert "transcript" in header
        assert kept[1]["id"] in rows[0]


async def test_an_export_of_nothing_is_an_empty_file_or_a_header(desktop: Start) -> None:
    async with desktop() as ops:
        assert (await ops.get("/api/requests/export?trace=none")).body == b""
        assert (await ops.get("/api/requests/export?format=csv&trace=none")).body.count(b"\n") == 1


async def test_an_export_goes_no_faster_than_it_is_read(desktop: Start) -> None:
    said = "word " * 20_000
    async with desktop() as ops:
        ops.keep(*(record(str(number), minutes=number / 60, said=said) for number in range(400)))
        async with ops.slowly("/api/requests/export") as reader:
            assert (await ops.get("/api/requests?limit=1")).status == 200, "others are answered meanwhile"
            got = b""
            while not got.endswith(LAST_CHUNK):
                got += await reader.read(1 << 20)
            assert got.count(b'"trace_id"') == 401


async def test_an_export_whose_store_breaks_never_looks_whole(desktop: Start) -> None:
    said = "word " * 20_000
    async with desktop() as ops:
        ops.keep(*(record(str(number), minutes=number / 60, said=said) for number in range(600)))
        async with ops.slowly("/api/requests/export") as reader:
            with sqlite3.connect(ops.address.removeprefix("sqlite:")) as other:
                other.execute("DROP TABLE requests")
            other.close()
            assert not (await to_the_end(reader)).endswith(LAST_CHUNK)
