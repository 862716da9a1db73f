"""A hedge: the next target gets a copy after a while, the first good answer wins, and both are recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.client import pieces
from tests.flow.forms import audio, field, file, form, usual
from tests.flow.scripts import CLOSE, READ_ALL, error, head, hold, reply, send
from tests.flow.test_metrics import settled
from tests.flow.trio import got_audio, targets, told, with_config

if TYPE_CHECKING:
    from tests.flow.trio import Trio

SAID = b'{"text":"said"}'
AT_ONCE, LATER, NEVER = 0, 150, 60_000  # milliseconds


def hedge(*given: Any, delay: int = AT_ONCE) -> dict[str, Any]:
    return targets("hedge", *given, delay=delay)


def copies(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the attempts of a record by their provider."""
    found = {attempt["provider"]: attempt for attempt in record["attempts"]}
    assert len(found) == len(record["attempts"])
    return found


@pytest.mark.parametrize("size", [4_000, 1_500_000], ids=["in one piece", "on disk"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_the_first_good_answer_wins_and_the_other_is_ended(trio: Trio, size: int, chunked: bool) -> None:
    data = audio(size)
    body = usual(data)
    trio.a.script(READ_ALL, hold("never"))
    trio.b.script(READ_ALL, hold("both have it"), send(reply(200, SAID)))
    with trio.a.connect() as connection:
        trio.a.begin(connection, None if chunked else len(body), with_config(hedge("a", "b")))
        connection.upload(pieces(body, 65_536), chunked=chunked)
        if chunked:
            connection.end_chunks()
        got_audio(trio.a.seen(), data)
        got_audio(trio.b.seen(), data)
        trio.b.release("both have it")
        answer = connection.read_reply()
    assert (answer.status, answer.body) == (200, SAID)
    assert answer.header("x-portkey-provider") == "b"
    assert answer.header("x-portkey-last-used-option-index") == "config.targets[1]"
    assert trio.a.seen("done").cut, "the loser's connection was not ended"
    record = trio.record()
    loser, winner = copies(record)["a"], copies(record)["b"]
    assert (loser["status"], loser["failure"], loser["hedged"], loser["possibly_billed"]) == (
        None,
        "gateway_refused",
        False,
        True,
    )
    assert (winner["status"], winner["failure"], winner["hedged"]) == (200, None, True)
    assert (record["provider"], record["outcome"], record["status"]) == ("b", "ok", 200)
    assert float(record["cost_usd"]) == pytest.approx(record["audio"]["seconds"] * 0.002, abs=1e-6)


def test_a_target_that_answers_in_time_gets_no_rival(trio: Trio) -> None:
    trio.a.script(READ_ALL, send(reply(200, SAID)))
    answer = trio.post(hedge("a", "b", delay=NEVER))
    assert (answer.status, answer.header("x-portkey-provider")) == (200, "a")
    assert trio.asked() == {"a": 1, "b": 0, "c": 0}
    assert told(trio.record(), "hedged") == [("config.targets[0]", False)]
    assert settled(trio.a)['upstream_in_flight{provider="b"}'] == 0


def test_a_slow_target_gets_a_rival_after_the_delay_and_may_still_win(trio: Trio) -> None:
    trio.a.script(READ_ALL, hold("late"), send(reply(200, SAID)))
    trio.b.script(READ_ALL, hold("never"))
    body = usual()
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(body), with_config(hedge("a", "b", delay=LATER)))
        connection.send(body)
        trio.b.seen()
        trio.a.release("late")
        answer = connection.read_reply()
    assert (answer.status, answer.header("x-portkey-provider")) == (200, "a")
    assert trio.b.seen("done").cut
    assert [attempt["hedged"] for attempt in trio.record()["attempts"]] == [False, True]


@pytest.mark.parametrize("status", [401, 429, 500])
def test_a_failure_calls_the_rival_at_once(trio: Trio, status: int) -> None:
    trio.a.script(READ_ALL, send(error(status)))
    trio.b.script(READ_ALL, send(reply(200, SAID)))
    answer = trio.post(hedge("a", "b", delay=NEVER))
    assert (answer.status, answer.body) == (200, SAID)
    assert told(trio.record(), "status", "failure") == [
        ("config.targets[0]", status, "refused"),
        ("config.targets[1]", 200, None),
    ]


def test_when_nobody_answers_well_the_last_word_is_passed_on(trio: Trio) -> None:
    trio.a.script(READ_ALL, CLOSE)
    trio.b.script(READ_ALL, send(error(503)))
    answer = trio.post(hedge("a", "b", delay=NEVER))
    assert (answer.status, answer.code) == (503, "upstream_says_no")
    assert told(trio.record(), "failure") == [
        ("config.targets[0]", "upstream_broke"),
        ("config.targets[1]", "refused"),
    ]


def test_a_hedge_that_fails_falls_back(trio: Trio) -> None:
    config = targets("fallback", hedge("a", "b", delay=NEVER), "c")
    trio.a.script(READ_ALL, send(error(500)))
    trio.b.script(READ_ALL, send(error(500)))
    trio.c.script(READ_ALL, send(reply(200, SAID)))
    data = audio(600_000)
    answer = trio.post(config, usual(data))
    assert (answer.status, answer.header("x-portkey-last-used-option-index")) == (200, "config.targets[1]")
    got_audio(trio.c.seen(), data)
    assert [attempt["provider"] for attempt in trio.record()["attempts"]] == ["a", "b", "c"]


def test_copies_are_rewritten_each_in_its_own_way(trio: Trio) -> None:
    config = hedge(
        {"provider": "a", "override_params": {"model": "at-a"}},
        {"provider": "b", "override_params": {"model": "at-b", "language": "de"}},
        {"provider": "c"},
    )
    data = audio(600_000)
    trio.a.script(READ_ALL, hold("never"))
    trio.b.script(READ_ALL, hold("never"))
    trio.c.script(READ_ALL, hold("win"), send(reply(200, SAID)))
    body = form(file(data), field("model", "whisper-1"))
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(body), with_config(config))
        connection.send(body)
        seen = {name: stage.seen() for name, stage in trio.all.items()}
        trio.c.release("win")
        assert connection.read_reply().status == 200
    for each in seen.values():
        got_audio(each, data)
    assert {name: each.fields("model") for name, each in seen.items()} == {
        "a": ["at-a"], "b": ["at-b"], "c": ["whisper-1"],
    }  # fmt: skip
    record = trio.record()
    assert {name: attempt["model"] for name, attempt in copies(record).items()} == {
        "a": "at-a", "b": "at-b", "c": "whisper-1",
    }  # fmt: skip
    assert record["model_used"] == "whisper-1"


def test_a_copy_follows_a_client_that_is_still_sending(trio: Trio) -> None:
    data = audio(800_000)
    body = usual(data)
    trio.a.script(READ_ALL, hold("never"))
    trio.b.script(READ_ALL, send(reply(200, SAID)))
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(body), with_config(hedge("a", "b")))
        connection.send(body[:400_000])
        assert trio.a.seen("length", 300_000).length < len(body)
        assert trio.b.seen("length", 300_000).length < len(body)
        connection.send(body[400_000:])
        answer = connection.read_reply()
    assert (answer.status, answer.header("x-portkey-provider")) == (200, "b")
    got_audio(trio.b.seen(), data)


def test_a_client_that_leaves_ends_every_copy(trio: Trio) -> None:
    trio.a.script(READ_ALL, hold("never"))
    trio.b.script(READ_ALL, hold("never"))
    body = usual()
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(body), with_config(hedge("a", "b")))
        connection.send(body)
        trio.a.seen()
        trio.b.seen()
    assert trio.a.seen("done").cut
    assert trio.b.seen("done").cut
    record = trio.record()
    assert (record["outcome"], record["status"]) == ("client_left", 499)
    assert {attempt["possibly_billed"] for attempt in record["attempts"]} == {True}


def test_a_stream_of_the_winner_is_passed_on_to_its_end(trio: Trio) -> None:
    trio.a.script(READ_ALL, hold("never"))
    whole = head(200, [("Content-Type", "text/plain"), ("Content-Length", "300000")])
    trio.b.script(READ_ALL, send(whole), ["fill", 300_000])
    answer = trio.post(hedge("a", "b"))
    assert (answer.status, len(answer.body), answer.clean) == (200, 300_000, True)


def test_copies_count_as_hedges_and_not_as_fallbacks(trio: Trio) -> None:
    trio.a.script(READ_ALL, hold("never"))
    trio.b.script(READ_ALL, send(reply(200, SAID)))
    before = settled(trio.a)
    trio.post(hedge("a", "b"))
    trio.record()
    after, won = settled(trio.a), 'hedges_total{provider="b",result="won"}'
    assert after[won] - before.get(won, 0) == 1
    moves = [{name: n for name, n in page.items() if name.startswith("fallbacks_total")} for page in (before, after)]
    assert moves[0] == moves[1]
