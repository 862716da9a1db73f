"""The body of one attempt: it looks round before every write, and a body that stops short is never ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from proxy.form.edits import Edits
from proxy.form.rewriter import Rewriter
from proxy.relay.outgoing import Outgoing
from proxy.relay.patience import Patience
from proxy.settings import Timeouts
from tests.flow.forms import BOUNDARY
from tests.relay.fed import Fed, small_form

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.errors import GatewayError

ENOUGH = 2  # rounds of the loop: one to read an early answer, one to deliver it


class Told(Patience):
    """Takes note of what the waiting task would be interrupted with."""

    def interrupt(self, reason: GatewayError) -> None:
        self.reason = self.reason or reason


def outgoing(fed: Fed, **options: Any) -> tuple[Outgoing, Told]:
    told = Told(Timeouts())
    attempt = fed.record.attempt("config", "up", None, 0.0)
    options = {"length": fed.upload.length, "rewriter": None, "keep": False, **options}
    return Outgoing(fed.upload, attempt, told, **options), told


async def rounds_until(body: AsyncIterator[bytes]) -> tuple[bytes | None, int]:
    """Return the body's next piece, None at its end, and how many rounds the loop has made for it."""
    task = asyncio.ensure_future(anext(body, None))
    rounds = -1  # the first begins the task
    while not task.done():
        await asyncio.sleep(0)
        rounds += 1
    return task.result(), rounds


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_an_early_answer_is_looked_for_before_every_write_and_before_the_end(chunked: bool) -> None:
    fed = Fed(small_form(), chunked=chunked)
    body, _ = outgoing(fed)
    pieces, out = body.chunks(), b""
    while True:
        fed.feed(100)
        piece, rounds = await rounds_until(pieces)
        assert rounds >= ENOUGH
        if piece is None:
            break
        out += piece
    assert out == fed.body
    attempt = fed.record.attempts[0]
    assert (attempt.sent_bytes, attempt.upload_done is not None) == (len(out), True)


async def test_a_rewritten_body_is_written_piece_by_piece() -> None:
    fed = Fed(small_form(), chunked=True)
    fed.feed()
    edits = Edits(replace={"model": ("another",)})
    body, _ = outgoing(fed, rewriter=Rewriter(BOUNDARY.encode(), edits))
    out = [piece async for piece in body.chunks()]
    assert len(out) > 1
    assert b"another" in b"".join(out)
    assert b"whisper-1" not in b"".join(out)


async def begun_and_waiting(body: Outgoing) -> asyncio.Task[list[bytes]]:
    async def take() -> list[bytes]:
        return [piece async for piece in body.chunks()]

    task = asyncio.ensure_future(take())
    for _ in range(20):
        await asyncio.sleep(0)
    return task


async def dropped(task: asyncio.Task[list[bytes]]) -> None:
    assert not task.done(), "the body has ended, and so it looks whole"
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize(
    ("body", "length", "code"),
    [
        (small_form()[:-10], None, "truncated_upload"),
        (small_form(b""), None, "missing_file"),
        (small_form(), 10, "internal_error"),  # promised another length: a mistake of ours, and still no short body
    ],
)
async def test_what_goes_wrong_is_told_to_who_waits_and_never_ends_the_body(
    body: bytes, length: int | None, code: str
) -> None:
    fed = Fed(body, chunked=True)
    fed.feed()
    sent, told = outgoing(fed, length=length)
    task = await begun_and_waiting(sent)
    assert told.reason is not None
    assert told.reason.code == code
    assert fed.record.attempts[0].upload_done is None
    await dropped(task)


async def test_what_nobody_thought_of_is_logged_and_never_ends_the_body(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def feed(self, _chunk: bytes) -> list[bytes]:
            raise ZeroDivisionError

    fed = Fed(small_form())
    fed.feed()
    sent, told = outgoing(fed, rewriter=Broken())
    task = await begun_and_waiting(sent)
    assert told.reason is not None
    assert told.reason.code == "internal_error"
    assert "nobody thought of" in caplog.text
    await dropped(task)


async def test_after_a_final_answer_no_more_is_sent_and_the_body_does_not_end() -> None:
    fed = Fed(small_form())
    sent, told = outgoing(fed)
    fed.feed(50)
    task = await begun_and_waiting(sent)
    sent.stop()
    fed.feed()
    for _ in range(20):
        await asyncio.sleep(0)
    attempt = fed.record.attempts[0]
    assert (attempt.sent_bytes, attempt.upload_done, told.reason) == (50, None, None)
    await dropped(task)
