"""What went through can be looked at: by page, alone, live, as a file, added up; with one process or two workers."""

from __future__ import annotations

import csv
import io
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.conftest import AZURE_KEY, OPS_TOKEN, VIRTUAL_KEY
from tests.flow.desk import Desk, next_records
from tests.flow.forms import field, file, form, usual
from tests.flow.gateway import SECRET, Gateway
from tests.flow.scripts import READ_ALL, error, hold, reply, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.flow.stage import Stage

SAID = "go förward <img src=x onerror=alert(1)>"
BODY = json.dumps({"text": SAID}).encode()


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def kept(request: pytest.FixtureRequest, own_gateway: Callable[..., Stage], tmp_path: Path) -> Iterator[Stage]:
    """A gateway with a store of its own, to be stopped or reloaded."""
    records = {"store": f"sqlite:{tmp_path / 'kept.db'}"}
    stage = own_gateway(workers=request.param, records=records, ops={"token": OPS_TOKEN})
    yield stage
    stage.gateway.stop()


def desk_of(stage: Stage) -> Desk:
    return Desk(stage.gateway, ("Authorization", f"Bearer {OPS_TOKEN}"))


def test_a_request_shows_up_with_its_transcript_everywhere(watched: Stage) -> None:
    desk = desk_of(watched)
    with desk.listening() as tail:
        watched.script(READ_ALL, send(reply(body=BODY)))
        assert watched.post().status == 200
        (live,) = next_records(tail, 1)
    (item,) = desk.wait_items(f"trace={watched.token}", 1)
    on_stdout = watched.record()
    assert item == live == desk.get(f"/api/requests/{item['id']}")
    assert item["transcript"] == SAID
    assert on_stdout["transcript"] is None
    told = {"transcript", "segments", "transcript_cut"}
    assert {k: v for k, v in item.items() if k not in told} == {k: v for k, v in on_stdout.items() if k not in told}
    found = desk.get("/api/requests?q=forward%20onerror")["items"]
    assert [record["id"] for record in found] == [item["id"]]
    assert desk.get("/api/requests?q=backward")["items"] == []


def test_every_worker_keeps_its_records_and_the_tail_tells_of_all(watched: Stage) -> None:
    desk = desk_of(watched)
    with desk.listening() as tail:
        for _ in range(30):
            assert watched.post().status == 200  # each on a connection of its own: the kernel spreads them
        live = next_records(tail, 30)
    items = desk.wait_items(f"trace={watched.token}", 30)
    assert {record["id"] for record in live} == {record["id"] for record in items}
    assert [item["time"] for item in items] == sorted((item["time"] for item in items), reverse=True)
    watched.records(30)


def test_an_export_holds_what_the_filters_pass(watched: Stage) -> None:
    desk = desk_of(watched)
    watched.script(READ_ALL, send(reply(body=b'{"text":"=HYPERLINK(evil)"}')))
    assert watched.post().status == 200
    watched.script(READ_ALL, send(error(503)))
    assert watched.post().status == 503
    items = desk.wait_items(f"trace={watched.token}", 2)
    lines = desk.ask("GET", f"/api/requests/export?trace={watched.token}").body.splitlines()
    assert [json.loads(line) for line in lines] == items
    table = desk.ask("GET", f"/api/requests/export?format=csv&status=2xx&trace={watched.token}").body.decode()
    (row,) = csv.DictReader(io.StringIO(table, newline=""))
    assert (row["id"], row["transcript"]) == (items[1]["id"], "'=HYPERLINK(evil)")


def test_stats_and_upstreams_tell_what_went_on(kept: Stage) -> None:
    desk = desk_of(kept)
    for step in (send(reply()), send(error(500)), send(reply())):
        kept.script(READ_ALL, step)
        kept.post()
    desk.wait_items(f"trace={kept.token}", 3)
    total = desk.get("/api/stats?since=1h")["total"]
    assert (total["requests"], total["errors"]) == (3, 1)
    kept.script(READ_ALL, hold(), send(reply()))
    with kept.connect() as connection:
        kept.begin(connection, len(usual()))
        connection.send(usual())
        kept.seen(index=3)
        kept.gateway.wait_for(lambda: upstream(desk)["in_flight"] == 1, "the attempt to show")
        kept.release()
        assert connection.read_reply().status == 200
    shown = upstream(desk)
    assert (shown["kind"], shown["circuit"], shown["virtual_keys"]) == ("own", "closed", ["vk"])
    assert (shown["recent"]["errors"], shown["recent"]["window_seconds"]) == (1, 900)
    kept.gateway.wait_for(lambda: upstream(desk)["in_flight"] == 0, "the attempt to be over")


def upstream(desk: Desk) -> dict[str, Any]:
    items = desk.get("/api/upstreams")["items"]
    return next(item for item in items if item["provider"] == "up")


def test_the_settings_show_no_secret(watched: Stage) -> None:
    reply = desk_of(watched).ask("GET", "/api/config")
    shown = reply.json()
    assert shown["settings"]["virtual_keys"][0]["key"] == "***"
    assert shown["file"] == watched.gateway.path.name
    for secret in (VIRTUAL_KEY, AZURE_KEY, OPS_TOKEN, SECRET):
        assert secret.encode() not in reply.body, "a secret is shown"


def test_a_reload_reaches_what_ops_shows(kept: Stage) -> None:
    desk = desk_of(kept)
    before = desk.get("/api/config")["loaded_at"]
    settings = {**kept.gateway.settings, "default_config": "renamed"}
    settings["ops"] = {**settings["ops"], "token": f"{SECRET}other"}
    settings["records"] = {"store": "none", "retention_days": 7}
    kept.gateway.write_settings(settings)
    kept.gateway.signal(signal.SIGHUP)
    kept.gateway.wait_for(lambda: desk.ask("GET", "/api/config").status == 401, "the new token to count")
    desk = Desk(kept.gateway, ("x-portkey-api-key", f"{SECRET}other"))
    shown = desk.get("/api/config")
    assert (shown["settings"]["default_config"], shown["settings"]["records"]["retention_days"]) == ("renamed", 7)
    assert shown["loaded_at"] > before
    kept.gateway.wait_stderr("records.store has changed: a restart is needed for that")
    assert kept.post().status == 200
    desk.wait_items(f"trace={kept.token}", 1)


def test_what_was_served_last_is_kept_when_the_gateway_has_stopped(kept: Stage) -> None:
    for _ in range(5):
        assert kept.post().status == 200
    kept.gateway.stop()
    successor = Gateway(kept.gateway.path.parent, {**kept.gateway.settings, "workers": 1})
    try:
        assert len(Desk(successor, *desk_of(kept).headers).wait_items(f"trace={kept.token}", 5)) == 5
        successor.stop()
    finally:
        successor.kill()


def test_debug_false_keeps_the_record_and_not_what_was_said(watched: Stage) -> None:
    watched.script(READ_ALL, send(reply(body=BODY)))
    body = form(field("model", "m"), file())
    assert watched.post(body, [("x-portkey-debug", "false")]).status == 200
    (item,) = desk_of(watched).wait_items(f"trace={watched.token}", 1)
    assert (item["transcript"], item["segments"], item["status"]) == (None, None, 200)
