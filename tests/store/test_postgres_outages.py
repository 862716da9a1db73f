"""A PostgreSQL that stops, stands still, refuses, or cuts connections: nothing is lost, and no password is told."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from proxy.store.postgres import PostgresReader, PostgresWriter
from proxy.store.questions import Filters
from proxy.store.recorder import Recorder
from proxy.store.store import StoreError
from tests.bootstrap import in_ci, missing
from tests.store.made import NOON, id_at, made
from tests.store.postgres import PASSWORD, Server, server
from tests.store.stores import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALL = Filters()
CUT_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'audiogate'"


@pytest.fixture(scope="module")
def servers() -> Iterator[Server]:
    """A server of these tests' own: they stop it."""
    reason = missing("initdb")
    if reason is not None and not in_ci():
        pytest.skip(reason)
    with server() as made_server:
        yield made_server


@pytest.fixture
def own(servers: Server) -> Iterator[Server]:
    yield servers
    if servers.running:
        servers.resume()
    else:
        servers.start()


@pytest.fixture
def name(own: Server) -> str:
    return own.database()


@pytest.fixture
def recorder(own: Server, name: str) -> Iterator[Recorder]:
    """A recorder that holds at most fifty records, writing."""
    writer = PostgresWriter(own.url(name))
    made_recorder = Recorder(writer, limit=50, retention=None, flushed=lambda _: None, tell=lambda record: record)
    made_recorder.start()
    yield made_recorder
    made_recorder.stop()


def until(condition: Callable[[], bool]) -> None:
    """Wait for ``condition()``, for a bounded time."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def kept(own: Server, name: str) -> list[Any]:
    """Return the ids of all records, the oldest first."""
    rows = own.ask(name, "SELECT id::text FROM audiogate.requests ORDER BY key, id")
    return [record_id for (record_id,) in rows]


def expected(numbers: range) -> list[str]:
    return [id_at(NOON + number, number) for number in numbers]


def put(recorder: Recorder, numbers: range) -> None:
    for number in numbers:
        recorder.put(made(number, at=NOON + number))


def test_what_waited_while_the_server_was_stopped_is_written_when_it_is_back(
    own: Server, name: str, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    put(recorder, range(10))
    until(lambda: recorder.sink.written == 10)
    own.stop()
    put(recorder, range(10, 30))
    until(lambda: "records wait in memory" in caplog.text)
    put(recorder, range(30, 50))
    own.start()
    until(lambda: recorder.sink.written == 50)
    assert recorder.sink.dropped == 0
    assert kept(own, name) == expected(range(50))
    assert own.ask(name, "SELECT sum(requests) FROM audiogate.rollups WHERE period = 60") == [(50,)]
    assert "the store takes records again; 0 were dropped" in caplog.text


def test_of_more_than_may_wait_the_oldest_are_dropped_and_counted(own: Server, name: str, recorder: Recorder) -> None:
    own.stop()
    put(recorder, range(70))
    until(lambda: recorder.sink.waiting == 50)
    own.start()
    until(lambda: recorder.sink.waiting == 0)
    sink = recorder.sink
    assert (sink.written, sink.dropped) == (50, 20)
    assert kept(own, name) == expected(range(20, 70))


def test_connections_that_were_cut_while_idle_are_made_again_and_nobody_notices(
    own: Server, name: str, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    put(recorder, range(1))
    until(lambda: recorder.sink.written == 1)
    assert own.ask(name, CUT_ALL) == [(True,)]
    put(recorder, range(1, 2))
    until(lambda: recorder.sink.written == 2)
    assert kept(own, name) == expected(range(2))
    assert not caplog.records


async def test_a_reader_whose_connections_were_cut_or_server_restarted_answers(own: Server, name: str) -> None:
    writer = PostgresWriter(own.url(name))
    with ThreadPoolExecutor(1) as thread:
        thread.submit(writer.open).result(PATIENCE)
        thread.submit(writer.write, [made(1)]).result(PATIENCE)
        thread.submit(writer.close).result(PATIENCE)
    reader = PostgresReader(own.url(name))
    await reader.open()
    own.ask(name, CUT_ALL)
    assert len((await reader.page(ALL, limit=5, before=None)).items) == 1
    own.stop()
    with pytest.raises(StoreError):
        await reader.page(ALL, limit=5, before=None)
    own.start()
    assert len((await reader.page(ALL, limit=5, before=None)).items) == 1
    await reader.close()


def test_a_server_that_stands_still_is_waited_for_no_longer_than_said(own: Server, name: str) -> None:
    url = own.url(name)
    writer = PostgresWriter(url, patience=0.5)
    writer.open()
    writer.write([made(0, at=NOON)])
    own.pause()
    began = time.monotonic()
    with pytest.raises(StoreError, match="no answer in time"):
        writer.write([made(1, at=NOON + 1)])
    with pytest.raises(StoreError, match="no answer in time"):
        writer.open()
    assert time.monotonic() - began < 5
    own.resume()
    writer.close()
    after = PostgresWriter(url)  # what the other began is undone, or done: it does no harm
    after.open()
    after.write([made(1, at=NOON + 1), made(2, at=NOON + 2)])
    after.close()
    assert kept(own, name) == expected(range(3))
    assert own.ask(name, "SELECT sum(requests) FROM audiogate.rollups WHERE period = 60") == [(3,)]


def addresses(own: Server) -> list[str]:
    """Return addresses with a password at which nobody answers as wished."""
    host = f"127.0.0.1:{own.port}"
    return [
        f"postgresql://stranger:wrong-secret@{host}/postgres",
        f"postgresql://postgres:wrong-secret@{host}/nowhere",
        f"postgresql://stranger:wrong-secret@{host}/postgres?sslmode=require",
        "postgresql://stranger:wrong-secret@127.0.0.1:1/postgres",
        f"postgresql://stranger:{PASSWORD.replace('a', 'secret')}@{host}/postgres",
        f"postgresql://stranger:wrong-secret:more@{host}:x/postgres",
        f"postgresql://{host}/postgres?user=stranger&password=wrong-secret",
        "postgresql://stranger:wrong-secret@[::1/postgres",
        "postgresql://stranger:wrong-secret@nowhere.invalid/postgres",
    ]


def test_what_is_said_of_a_database_that_cannot_be_reached_is_one_line_without_the_password(own: Server) -> None:
    for url in addresses(own):
        with pytest.raises(StoreError) as caught:
            PostgresWriter(url, patience=3).open()
        told = str(caught.value)
        assert "secret" not in told, told
        assert "\n" not in told
        assert told.startswith("store postgresql")
        assert caught.value.__cause__ is None


def test_the_right_password_is_let_in_however_odd_it_is(own: Server, name: str) -> None:
    own.ask(name, f"GRANT CREATE ON DATABASE {name} TO stranger")
    writer = PostgresWriter(own.url(name, user="stranger", password=quote(PASSWORD, safe="")))
    writer.open()
    writer.close()
