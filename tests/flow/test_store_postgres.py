"""Gateways that share a PostgreSQL: one table for all, and whatever becomes of the server, requests are served."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.bootstrap import in_ci, missing
from tests.flow.desk import Desk, next_records
from tests.flow.gateway import Gateway
from tests.flow.scripts import READ_ALL, reply, send
from tests.records.shown import parsed
from tests.store.postgres import Server, server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.flow.stage import Stage

LATER = 30.0  # seconds until a store that is back has all
QUICK = 2.0  # seconds that no request takes here, whatever the store does


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    reason = missing("initdb")
    if reason is not None and not in_ci():
        pytest.skip(reason)
    with server() as made:
        yield made


@pytest.fixture
def replicas(postgres: Server, own_gateway: Callable[..., Stage]) -> Iterator[list[Stage]]:
    """Two gateways, one with two workers, that start together on an empty database."""
    records = {"store": postgres.url(postgres.database())}
    stages = [own_gateway(workers=workers, records=records) for workers in (1, 2)]
    yield stages
    for stage in stages:
        stage.gateway.stop()
    if not postgres.running:
        postgres.start()


def post(stage: Stage, count: int) -> None:
    """Have so many requests served, each in no time to speak of."""
    for _ in range(count):
        began = time.monotonic()
        assert stage.post().status == 200
        assert time.monotonic() - began < QUICK


def wait_sink(stage: Stage, written: int) -> None:
    def there() -> bool:
        found = parsed(stage.gateway.ops("/metrics")[1])
        sink = [found[f'log_records_total{{result="{result}",sink="store"}}'] for result in ("written", "dropped")]
        return sink == [written, 0]

    stage.gateway.wait_for(there, f"{written} written, none dropped", LATER)


def test_every_replica_shows_what_went_through_any(replicas: list[Stage]) -> None:
    first, second = replicas
    desk = Desk(first.gateway)
    with desk.listening() as tail:
        second.script(READ_ALL, send(reply(body=json.dumps({"text": "Grüße aus Köln"}).encode())))
        post(second, 1)
        (live,) = next_records(tail, 1)
    assert live["transcript"] == "Grüße aus Köln"
    assert desk.get("/api/requests?q=GRUSSE%20koln")["items"] == [live]
    assert desk.get("/api/requests?q=koln%20bonn")["items"] == []
    assert Desk(second.gateway).get(f"/api/requests/{live['id']}") == live
    assert desk.get("/api/stats?since=1h")["total"]["requests"] == 1


def test_a_stopped_server_costs_no_request_and_no_record(replicas: list[Stage], postgres: Server) -> None:
    for stage in replicas:
        post(stage, 3)
        wait_sink(stage, 3)
    postgres.stop()
    for stage in replicas:
        post(stage, 10)
        stage.gateway.wait_stderr("records wait in memory")
    reply_without = Desk(replicas[0].gateway).ask("GET", "/api/requests")
    assert reply_without.status == 503
    assert b"127.0.0.1" not in reply_without.body
    postgres.start()
    for stage in replicas:
        wait_sink(stage, 13)
    for stage in replicas:
        desk = Desk(replicas[0].gateway)
        found = desk.wait_items(f"trace={stage.token}", 13)
        assert {item["id"] for item in found} == {record["id"] for record in stage.records(13)}
        stage.gateway.wait_stderr("the store takes records again")


def test_a_server_that_stands_still_costs_no_request(replicas: list[Stage], postgres: Server) -> None:
    first, _ = replicas
    post(first, 1)
    wait_sink(first, 1)
    postgres.pause()
    try:
        post(first, 20)
    finally:
        postgres.resume()
    wait_sink(first, 21)


def test_a_store_that_was_named_and_cannot_be_reached_ends_the_start_without_its_password(
    postgres: Server, folder: Path
) -> None:
    url = f"postgresql://stranger:wrong-secret@127.0.0.1:{postgres.port}/postgres"
    gateway = Gateway(folder, {"records": {"store": url}}, wait=False)
    try:
        assert gateway.wait_exit() == 3
    finally:
        gateway.kill()
    said = gateway.stderr()
    assert "password authentication failed" in said
    assert "secret" not in said
    assert "Traceback" not in said
