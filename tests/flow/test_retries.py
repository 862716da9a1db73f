"""The same target again: after which ends, how soon, how often, and who may end it."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.forms import WAV, audio, usual
from tests.flow.scripts import CLOSE, READ_ALL, RESET, error, hold, send
from tests.flow.test_metrics import settled
from tests.flow.trio import got_audio, targets, told, with_config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.flow.client import Connection, Headers, Reply
    from tests.flow.trio import Trio

SOON: Headers = [("retry-after-ms", "1")]
LATER: Headers = [("retry-after", "20")]  # seconds: longer than any of these tests lasts
LONG = 5.0  # seconds: what takes no part of LATER ends well before


def again(provider: str, attempts: int = 1, **retry: Any) -> dict[str, Any]:
    """Return a config that tries one provider again, as soon as the upstream lets it."""
    return {"provider": provider, "retry": {"attempts": attempts, "use_retry_after_header": True, **retry}}


def counted(answer: Reply) -> tuple[int, str | None]:
    return answer.status, answer.header("x-portkey-retry-attempt-count")


# After what, and how often


@pytest.mark.parametrize("status", [429, 503])
def test_an_upstream_that_asks_for_a_moment_is_asked_again(trio: Trio, status: int) -> None:
    provider = trio.fresh()
    trio.a.script(READ_ALL, send(error(status, headers=SOON)))
    before = settled(trio.a)
    assert counted(trio.post(again(provider))) == (200, "1")
    for index in range(2):
        got_audio(trio.a.seen(index=index), WAV)
    record = trio.record()
    assert told(record, "status", "failure", "replayed") == [
        ("config", status, "refused", False),
        ("config", 200, None, True),
    ]
    assert (record["retry_count"], record["replay"], record["outcome"]) == (1, "memory", "ok")
    reason = "status_429" if status == 429 else "status_5xx"
    retries = f'retries_total{{provider="{provider}",reason="{reason}"}}'
    after = settled(trio.a)
    assert after[retries] - before.get(retries, 0) == 1
    assert not [name for name in after if name.startswith("fallbacks_total") and provider in name]


@pytest.mark.parametrize("attempts", [1, 3])
def test_what_is_tried_to_the_end_says_so(trio: Trio, attempts: int) -> None:
    provider = trio.fresh()
    for number in range(attempts + 1):
        trio.a.script(READ_ALL, send(error(429, f"number_{number}", headers=SOON)))
    answer = trio.post(again(provider, attempts))
    assert counted(answer) == (429, "-1")
    assert answer.code == f"number_{attempts}", "the last answer is the client's"
    record = trio.record()
    assert [attempt["status"] for attempt in record["attempts"]] == [429] * (attempts + 1)
    assert (record["retry_count"], record["outcome"]) == (attempts, "upstream_error")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 501])
def test_what_will_not_change_is_not_tried_again(trio: Trio, status: int) -> None:
    trio.a.script(READ_ALL, send(error(status, headers=SOON)))
    assert counted(trio.post(again(trio.fresh(), 5))) == (status, "0")
    assert trio.asked()["a"] == 1
    assert trio.record()["retry_count"] == 0


@pytest.mark.parametrize(("status", "tried"), [(418, True), (503, False)])
def test_listed_statuses_take_the_place_of_the_usual_ones(trio: Trio, status: int, tried: bool) -> None:
    trio.a.script(READ_ALL, send(error(status, headers=SOON)))
    answer = trio.post(again(trio.fresh(), on_status_codes=[418, 429]))
    assert counted(answer) == ((200, "1") if tried else (503, "0"))
    trio.record()


@pytest.mark.parametrize("step", [RESET, CLOSE], ids=["reset", "closed"])
def test_a_lost_connection_is_tried_again_whatever_is_listed(trio: Trio, step: list[Any]) -> None:
    trio.a.script(READ_ALL, step)
    assert counted(trio.post(again(trio.fresh(), on_status_codes=[429]))) == (200, "1")
    assert told(trio.record(), "failure", "possibly_billed") == [
        ("config", "upstream_broke", True),
        ("config", None, False),
    ]


def test_a_connection_that_cannot_be_opened_is_tried_again(trio: Trio) -> None:
    answer = trio.post({"provider": "dead", "retry": {"attempts": 1}})
    assert (*counted(answer), answer.code) == (502, "-1", "upstream_unreachable")
    assert told(trio.record(), "failure", "possibly_billed") == [("config", "connect_failed", False)] * 2


@pytest.mark.parametrize(("codes", "tried"), [([408], True), ([429], False)])
def test_a_timeout_is_tried_again_only_where_it_is_listed(trio: Trio, codes: list[int], tried: bool) -> None:
    """Each try has the target's whole time again."""
    trio.a.script(READ_ALL, hold("never"))
    config = again(trio.fresh(), on_status_codes=codes) | {"request_timeout": 800}
    assert counted(trio.post(config)) == ((200, "1") if tried else (408, "0"))
    assert trio.a.seen("cut").complete
    trio.record()


def test_retries_come_before_the_next_target_and_are_counted_for_each(trio: Trio) -> None:
    first, second = again(trio.fresh()), {**again("b"), "provider": "b"}
    for stage in (trio.a, trio.a, trio.b):
        stage.script(READ_ALL, send(error(429, headers=SOON)))
    answer = trio.post(targets("fallback", first, second))
    assert counted(answer) == (200, "1"), "the retries of the target that answered"
    record = trio.record()
    assert told(record, "status") == [
        ("config.targets[0]", 429),
        ("config.targets[0]", 429),
        ("config.targets[1]", 429),
        ("config.targets[1]", 200),
    ]
    assert record["retry_count"] == 3


def test_a_retry_beside_a_provider_header_is_a_config(trio: Trio) -> None:
    provider = trio.fresh()
    trio.a.script(READ_ALL, send(error(429, headers=SOON)))
    retry = {"retry": {"attempts": 1, "use_retry_after_headers": True}}
    assert counted(trio.post(retry, extra=[("x-portkey-provider", provider)])) == (200, "1")
    trio.record()


# How soon


def waited(trio: Trio) -> float:
    """Seconds between the end of the first attempt's upload and the second's request."""
    first, second = trio.a.seen(), trio.a.seen(index=1)
    assert first.last_body_at is not None
    return second.head_at - first.last_body_at


def in_two_seconds() -> str:
    return formatdate(time.time() + 2, usegmt=True)


@pytest.mark.parametrize(
    ("header", "value", "least", "most"),
    [
        ("retry-after-ms", lambda: "300", 0.3, 0.5),
        ("x-ms-retry-after-ms", lambda: "300", 0.3, 0.5),
        ("retry-after", lambda: "1", 1.0, 1.5),
        ("retry-after", in_two_seconds, 0.9, 2.5),
        ("x-other", lambda: "1", 0.5, 1.5),
    ],
    ids=["milliseconds", "Azure's milliseconds", "seconds", "a date", "not said"],
)
def test_the_wait_is_what_the_upstream_asks_for_else_half_to_all_of_a_second(
    trio: Trio, header: str, value: Callable[[], str], least: float, most: float
) -> None:
    trio.a.script(READ_ALL, send(error(429, headers=[(header, value())])))
    assert counted(trio.post(again(trio.fresh()))) == (200, "1")
    assert least <= waited(trio) < most + 1, "a busy machine is late, never early"
    trio.record()


@pytest.mark.parametrize("status", [429, 500])
def test_what_an_upstream_asks_for_counts_only_when_the_config_says_so_and_where_it_means_something(
    trio: Trio, status: int
) -> None:
    trio.a.script(READ_ALL, send(error(status, headers=LATER)))
    config = again(trio.fresh(), use_retry_after_header=status == 500)
    assert counted(trio.post(config)) == (200, "1")
    assert 0.5 <= waited(trio) < LONG
    trio.record()


def test_an_upstream_that_asks_for_too_long_is_not_waited_for(trio: Trio) -> None:
    trio.a.script(READ_ALL, send(error(429, headers=[("retry-after", "60")])))
    started = time.monotonic()
    assert counted(trio.post(again(trio.fresh(), 5))) == (429, "-1")
    assert time.monotonic() - started < LONG
    assert trio.asked()["a"] == 1
    trio.record()


def test_the_client_goes_on_uploading_during_the_wait(trio: Trio) -> None:
    data = audio(600_000)
    body = usual(data)
    trio.a.script(["read", 1000], send(error(503, headers=[("retry-after-ms", "1500")])), RESET)
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(body), with_config(again(trio.fresh())))
        connection.send(body[:200_000])
        trio.a.seen("done")
        connection.send(body[200_000:])
        assert trio.gateway.reads_all(connection.port, within=1.0), "read while nobody is there to take it"
        assert trio.asked()["a"] == 1
        assert connection.read_reply().status == 200
    got_audio(trio.a.seen(index=1), data)
    assert trio.record()["replay"] == "disk"


# What ends it


def failing(trio: Trio, stack: ExitStack, config: Mapping[str, Any]) -> Connection:
    """Send a request that waits for its retry when this returns."""
    trio.a.script(READ_ALL, send(error(503, headers=LATER)))
    connection = stack.enter_context(trio.a.connect())
    trio.a.begin(connection, len(usual()), with_config(config))
    connection.send(usual())
    trio.a.seen("done")
    return connection


def test_a_client_that_leaves_during_the_wait_ends_it_at_once(trio: Trio) -> None:
    with ExitStack() as stack:
        connection = failing(trio, stack, targets("fallback", again(trio.fresh()), "b"))
        connection.close()
        left = time.monotonic()
        record = trio.record()
        assert time.monotonic() - left < LONG
    assert (record["outcome"], record["status"], len(record["attempts"])) == ("client_left", 499, 1)
    assert record["attempts"][0]["failure"] == "refused", "what the upstream did stays its own"
    assert trio.asked() == {"a": 1, "b": 0, "c": 0}


def test_a_client_that_leaves_in_its_upload_during_the_wait_ends_it_at_once(trio: Trio) -> None:
    body = usual(audio(300_000))
    trio.a.script(["read", 1000], send(error(503, headers=LATER)), RESET)
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(body), with_config(again(trio.fresh())))
        connection.send(body[:100_000])
        trio.a.seen("done")
        connection.reset()
    record = trio.record()
    assert (record["outcome"], len(record["attempts"])) == ("client_left", 1)


def test_a_drain_waits_for_a_retry_that_comes_in_time(own_trio: Callable[..., Trio]) -> None:
    trio = own_trio(drain={"delay": 0, "timeout": 10})
    trio.a.script(READ_ALL, send(error(503, headers=[("retry-after-ms", "500")])))
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(usual()), with_config(again("a")))
        connection.send(usual())
        trio.a.seen("done")
        trio.gateway.signal(signal.SIGTERM)
        answer = connection.read_reply()
        assert (*counted(answer), answer.closes) == (200, "1", True)
    assert trio.gateway.wait_exit() == 0
    trio.gateway.check_remains()


def test_a_drain_does_not_wait_for_a_retry_that_comes_too_late(own_trio: Callable[..., Trio]) -> None:
    trio = own_trio(drain={"delay": 0, "timeout": 0.3})
    with ExitStack() as stack:
        connection = failing(trio, stack, targets("fallback", again("a"), "b"))
        trio.gateway.signal(signal.SIGTERM)
        answer = connection.read_reply()
    assert (answer.status, answer.code) == (503, "draining")
    assert trio.gateway.wait_exit() == 0
    trio.gateway.check_remains()
    (record,) = trio.gateway.records(trio.a.token)
    assert (record["outcome"], record["error_code"]) == ("gateway_error", "draining")
    assert told(record, "failure") == [("config.targets[0]", "refused")]
    assert trio.asked()["b"] == 0


def test_the_total_time_holds_over_all_attempts(own_trio: Callable[..., Trio]) -> None:
    trio = own_trio(timeouts={"total": 1.0})
    for stage in (trio.a, trio.b):
        stage.script(READ_ALL, hold("never"))
    started = time.monotonic()
    answer = trio.post(targets("fallback", {"provider": "a", "request_timeout": 400}, "b", "c"))
    assert (answer.status, answer.code) == (504, "upstream_timeout")
    assert 0.9 < time.monotonic() - started < LONG
    assert told(trio.record(), "failure") == [
        ("config.targets[0]", "upstream_timed_out"),
        ("config.targets[1]", "upstream_timed_out"),
    ]
    assert trio.asked() == {"a": 1, "b": 1, "c": 0}
    trio.gateway.stop()


def test_no_retry_is_waited_for_that_would_come_after_the_total_time(own_trio: Callable[..., Trio]) -> None:
    trio = own_trio(timeouts={"total": 10})
    trio.a.script(READ_ALL, send(error(429, headers=LATER)))
    started = time.monotonic()
    assert counted(trio.post(again("a"))) == (429, "-1")
    assert time.monotonic() - started < LONG
    trio.record()
    trio.gateway.stop()


def test_a_header_gives_every_target_the_same_time(trio: Trio) -> None:
    for stage in (trio.a, trio.b):
        stage.script(READ_ALL, hold("never"))
    config = targets("fallback", {"provider": "a", "request_timeout": 60_000}, "b", "c")
    answer = trio.post(config, extra=[("x-portkey-request-timeout", "800")])
    assert (answer.status, answer.header("x-portkey-provider")) == (200, "c")
    assert told(trio.record(), "failure") == [
        ("config.targets[0]", "upstream_timed_out"),
        ("config.targets[1]", "upstream_timed_out"),
        ("config.targets[2]", None),
    ]


# Nothing after the commit, where the config says so


@pytest.mark.parametrize(
    ("steps", "status", "billed"),
    [
        ([READ_ALL, send(error(500))], 500, True),
        ([READ_ALL, RESET], 502, True),
        ([READ_ALL, send(error(429))], 200, False),
        ([["read", 1000], send(error(500)), RESET], 200, False),
        ([["read", 1000], RESET], 200, False),
    ],
    ids=["500 at the end", "a reset at the end", "429 at the end", "500 on the way", "a reset on the way"],
)
def test_a_config_may_forbid_what_could_be_billed_twice(
    trio: Trio, steps: list[Any], status: int, billed: bool
) -> None:
    """What was refused was not done, and what has not had the last bytes could not be."""
    config = targets("fallback", trio.fresh(), "b") | {"retry": {"after_commit": False}}
    trio.a.script(*steps)
    body = usual(audio(600_000))
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(body), with_config(config))
        connection.send(body[:300_000])
        if steps[0] != READ_ALL:
            trio.b.seen("length", 200_000)
        connection.send(body[300_000:])
        answer = connection.read_reply()
    assert answer.status == status
    record = trio.record()
    assert record["attempts"][0]["possibly_billed"] is billed
    assert len(record["attempts"]) == (1 if billed else 2)
    assert trio.asked()["b"] == (0 if billed else 1)


def test_forbidding_what_could_be_billed_twice_forbids_retries_too(trio: Trio) -> None:
    trio.a.script(READ_ALL, send(error(503, headers=SOON)))
    answer = trio.post(again(trio.fresh(), 3, after_commit=False))
    assert counted(answer) == (503, "-1"), "more were wanted"
    assert trio.asked()["a"] == 1
    trio.record()


def test_what_a_client_that_left_may_have_to_pay_is_marked(trio: Trio) -> None:
    trio.a.script(READ_ALL, hold("never"))
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(usual()), with_config(targets("fallback", "a", "b")))
        connection.send(usual())
        trio.a.seen()
    assert told(trio.record(), "failure", "possibly_billed") == [("config.targets[0]", "client_left", True)]


# Not more than the upstream can bear


def test_a_sick_upstream_gets_no_storm_of_retries(trio: Trio) -> None:
    """Ten at once and three a second, beside one for every five requests: forty requests cannot have forty retries."""
    provider, requests = trio.fresh(), 40
    for _ in range(2 * requests):
        trio.a.script(READ_ALL, send(error(429, headers=SOON)))
    started = time.monotonic()
    answers = [trio.post(again(provider)) for _ in range(requests)]
    seconds = time.monotonic() - started
    assert {counted(answer) for answer in answers} == {(429, "-1")}
    retries = trio.asked()["a"] - requests
    assert 10 <= retries <= 10 + 3 * seconds + requests / 5 + 1
    counts = [len(record["attempts"]) for record in trio.a.records(requests)]
    assert (counts[0], counts.count(2)) == (2, retries)


def test_a_fallback_needs_no_budget(trio: Trio) -> None:
    config = targets("fallback", trio.fresh(), "b")
    for _ in range(15):
        trio.a.script(READ_ALL, send(error(503)))
    assert [trio.post(config).status for _ in range(15)] == [200] * 15
    trio.a.records(15)
