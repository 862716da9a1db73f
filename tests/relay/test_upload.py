"""The upload between its one source and its readers: what it keeps, counts, refuses and says of itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.web import RequestPayloadError

from proxy.errors import GatewayError
from tests.flow.forms import BOUNDARY, audio, file, form
from tests.relay.fed import MODEL, TAIL, Fed, drained, small_form, soon

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.relay.upload import Upload

BODY = small_form(audio(1000))
FIRST = 300  # bytes: past the head of the file part


def raises(code: str) -> Any:
    return pytest.raises(GatewayError, check=lambda error: error.code == code)


async def begun(**options: Any) -> Fed:
    """Return an upload whose first bytes have come, as the relay waits for them before it chooses a target."""
    fed = Fed(BODY, **options)
    fed.feed(FIRST)
    await fed.upload.until(lambda: fed.upload.received > 0)
    return fed


# A first look


async def test_a_first_look_keeps_nothing_and_loses_nothing() -> None:
    fed = await begun()
    assert (fed.budget.used, fed.upload.replay, fed.upload.replayable) == (0, "off", True)
    assert b"".join(fed.upload.kept()) == fed.upload.kept_head() == BODY[:FIRST]
    fed.feed()
    assert await drained(fed.upload.reader(keep=False)) == BODY
    assert fed.budget.used == 0


async def test_a_first_look_needs_no_room() -> None:
    fed = await begun(per_request=0, total=0)
    await fed.upload.until(lambda: True)
    assert not fed.upload.exhausted
    fed.feed()
    assert await drained(fed.upload.reader(keep=True)) == BODY
    assert fed.upload.exhausted


async def test_what_does_not_fit_is_refused_only_when_more_is_needed() -> None:
    fed = await begun(per_request=FIRST - 1)
    with raises("upload_too_large"):
        await fed.upload.until(lambda: False)
    with raises("upload_too_large"):
        await fed.upload.until(lambda: False)
    assert b"".join(fed.upload.kept()) == BODY[:FIRST]
    fed.feed()
    assert await drained(fed.upload.reader(keep=False)) == BODY


async def test_until_stops_as_soon_as_it_knows() -> None:
    fed = Fed(form(file(b"audio"), MODEL, file(b"more")), chunked=True)
    for _ in range(len(fed.body)):
        fed.feed(1)
        await soon_until(fed, lambda: observed(fed.upload, "model") is not None)
        if observed(fed.upload, "model") is not None:
            break
    delimited = fed.body.index(MODEL) + len(MODEL) + len(f"\r\n--{BOUNDARY}")
    assert delimited <= fed.upload.received <= delimited + len(b"\r\n")


def observed(upload: Upload, name: str) -> str | None:
    assert upload.form is not None
    return upload.form.first(name)


async def soon_until(fed: Fed, ready: Callable[[], bool]) -> None:
    task = asyncio.ensure_future(fed.upload.until(ready))
    for _ in range(4):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


# While nobody takes it


async def test_what_comes_between_attempts_is_kept_as_far_as_it_goes() -> None:
    fed = await begun(per_request=FIRST)
    fed.upload.reader(keep=True)
    fed.feed(100)
    await fed.upload.gather(0.0)
    fed.feed(100)
    await fed.upload.gather(0.01)
    assert fed.upload.received == FIRST + 100  # one more in hand: the next would have to wait for a reader
    fed.feed()
    assert await drained(fed.upload.reader(keep=False)) == BODY


async def test_no_targets_limits_hold_between_attempts() -> None:
    fed = await begun()
    fed.upload.limit = FIRST
    fed.feed()
    await fed.upload.gather(0.01)
    assert fed.upload.received == len(BODY)


# What it says of itself


@pytest.mark.parametrize(
    ("limits", "keep", "word"),
    [
        ({}, False, "off"),
        ({}, True, "memory"),
        ({"memory": 100}, True, "disk"),
        ({"memory": 100}, False, "off"),
        ({"per_request": 500}, True, "exhausted"),
        ({"per_request": 500}, False, "off"),
        ({"total": 500}, True, "exhausted"),
        ({"per_request": 0}, True, "off"),
    ],
)
async def test_the_word_for_what_was_kept(limits: dict[str, Any], keep: bool, word: str) -> None:
    fed = await begun(**limits)
    fed.feed()
    assert await drained(fed.upload.reader(keep=keep)) == BODY
    assert fed.upload.replay == word
    assert fed.upload.replayable == (word in ("memory", "disk"))
    assert fed.budget.used == (len(BODY) if fed.upload.replayable else 0)
    fed.upload.close()
    assert (fed.budget.used, fed.upload.replay) == (0, word)


async def test_the_last_reader_frees_what_was_kept_when_it_has_passed_it() -> None:
    fed = await begun()
    fed.feed(FIRST)
    await drained(fed.upload.reader(keep=True))
    assert fed.budget.used == 2 * FIRST
    last = fed.upload.reader(keep=False)
    assert await drained(last) == BODY[: 2 * FIRST]
    assert fed.budget.used == 0
    assert not fed.upload.replayable
    fed.feed()
    assert BODY.endswith(await drained(last))


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_the_end_is_known_with_the_last_byte(chunked: bool) -> None:
    fed = Fed(BODY, chunked=chunked)
    reader = fed.upload.reader(keep=False)
    fed.feed(len(BODY) - 1)
    out = await drained(reader)
    assert (fed.upload.ended, fed.upload.committed) == (False, False)
    fed.feed()
    out += await soon(reader) or b""
    assert (out, fed.upload.ended, fed.upload.committed) == (BODY, True, True)
    assert fed.record.bytes_in == len(BODY)
    assert fed.record.body_started is not None
    assert fed.record.body_done is not None


# What it refuses


async def test_a_body_over_the_limit_is_refused_and_what_came_is_still_there_for_a_larger_target() -> None:
    fed = Fed(BODY, chunked=True, limit=500)
    fed.feed()
    reader = fed.upload.reader(keep=True)
    with raises("upload_too_large"):
        await reader.read()
    fed.upload.narrow(limit=10_000, formats=None, model_required=True)
    assert await drained(fed.upload.reader(keep=True)) == BODY


async def test_a_format_that_is_not_taken_is_refused_and_what_came_is_still_there_for_another_target() -> None:
    fed = Fed(BODY)
    fed.upload.narrow(limit=10_000, formats=frozenset({"mp3"}), model_required=True)
    fed.feed()
    with raises("unsupported_format"):
        await fed.upload.reader(keep=True).read()
    with raises("unsupported_format"):
        fed.upload.narrow(limit=10_000, formats=frozenset({"flac"}), model_required=True)
    fed.upload.narrow(limit=10_000, formats=frozenset({"wav"}), model_required=True)
    assert await drained(fed.upload.reader(keep=True)) == BODY
    assert fed.record.container == "wav"


async def test_an_announced_length_over_the_limit_is_refused_before_a_byte_has_come() -> None:
    fed = Fed(BODY)
    with raises("upload_too_large"):
        fed.upload.narrow(limit=len(BODY) - 1, formats=None, model_required=True)
    assert fed.upload.refusal(len(BODY) - 1, None) is not None
    assert fed.upload.refusal(len(BODY), None) is None


@pytest.mark.parametrize("required", [True, False])
async def test_a_model_is_missed_only_by_targets_that_need_one(required: bool) -> None:
    fed = Fed(form(file(b"audio")))
    fed.feed()
    fed.upload.narrow(limit=10_000, formats=None, model_required=required)
    out = b""
    if required:
        reader = fed.upload.reader(keep=True)
        with raises("missing_model"):
            await reader.read()
        fed.upload.narrow(limit=10_000, formats=None, model_required=False)
    out = await drained(fed.upload.reader(keep=True))
    assert out == fed.body


async def test_json_is_read_whole_within_its_own_limit() -> None:
    fed = Fed(b'{"model": "tts-1"}', boundary=None, chunked=True)
    fed.feed()
    assert await fed.upload.whole(100) == fed.body
    large = Fed(b"x" * 101, boundary=None, chunked=True)
    large.feed()
    with raises("upload_too_large"):
        await large.upload.whole(100)


# Whose fault it is when it breaks


@pytest.mark.parametrize(
    ("error", "closing", "code"),
    [
        (ConnectionResetError(), True, "client_left"),
        (RequestPayloadError("cut"), True, "client_left"),
        (RequestPayloadError("broken chunk framing"), False, "truncated_upload"),
        (OSError("whatever"), False, "client_left"),
    ],
)
@pytest.mark.parametrize("keep", [True, False])
async def test_a_source_that_breaks_is_the_clients_fault_for_every_reader(
    error: Exception, closing: bool, code: str, keep: bool
) -> None:
    fed = Fed(BODY, chunked=True)
    fed.feed(FIRST)
    reader = fed.upload.reader(keep=keep)
    assert await drained(reader) == BODY[: FIRST - TAIL]
    fed.transport.closing = closing
    fed.break_off(error)
    with raises(code):
        await reader.read()
    if keep:
        second = fed.upload.reader(keep=False)
        assert await second.read() == BODY[: FIRST - TAIL]
        with raises(code):
            await second.read()
    assert not fed.upload.committed


async def test_a_body_shorter_than_announced_is_never_good() -> None:
    fed = Fed(BODY)
    fed.feed(len(BODY) - 1)
    fed.source.feed_eof()  # the parser would not: the last line of defence
    reader = fed.upload.reader(keep=True)
    await soon(reader)
    with raises("client_left"):
        await reader.read()
    assert not fed.upload.committed
