"""Every reader of an upload gets the same bytes, however they come, and never the last of them before it is good."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import GatewayError
from tests.flow.forms import CLOSING
from tests.relay.fed import TAIL, Fed, drained, small_form, soon

if TYPE_CHECKING:
    from proxy.relay.reading import Reader

PIECES = st.lists(st.integers(1, 200), max_size=12)  # bytes that come at a time
ROOM = st.sampled_from([0, 1, 100, 250, 400, 10_000])
LIMITS = st.fixed_dictionaries({"memory": ROOM, "per_request": ROOM, "total": ROOM, "encrypt": st.booleans()})
BODIES = st.builds(small_form, st.binary(min_size=1, max_size=300), file_first=st.booleans())
STEPS = st.lists(st.sampled_from(["feed", "read", "fail", "gather", "until"]), max_size=30)


def expected(fed: Fed) -> bytes:
    """Return what may have gone out when every reader is at its end: all but the tail, and in the end that too."""
    if fed.upload.committed:
        return fed.body[: fed.fed]
    end = fed.fed - TAIL if fed.upload.length is None else min(fed.fed, len(fed.body) - TAIL)
    return fed.body[: max(end, 0)]


class Attempts:
    """Attempts one after the other, as the plan makes them: another one only while the upload is replayable."""

    def __init__(self, fed: Fed, *, keep: bool) -> None:
        self.fed = fed
        self.keep = keep
        self.out = b""
        self.reader: Reader | None = None

    async def read(self) -> None:
        if self.reader is None:
            self.reader = self.fed.upload.reader(keep=self.keep)
        self.out += await drained(self.reader)
        assert self.out == expected(self.fed)

    async def fail(self) -> None:
        if self.fed.upload.replayable:
            self.reader, self.out = None, b""

    async def gather(self) -> None:
        if self.reader is None:
            await self.fed.upload.gather(0.0)

    async def until(self) -> None:
        if self.reader is None and self.fed.upload.replayable and self.fed.fed > self.fed.upload.received:
            with suppress(GatewayError):  # no room, and still nothing is lost
                received = self.fed.upload.received
                await self.fed.upload.until(lambda: self.fed.upload.received > received)


@given(BODIES, PIECES, STEPS, LIMITS, st.booleans(), st.booleans())
def test_nothing_is_lost_and_nothing_comes_twice(
    body: bytes, pieces: list[int], steps: list[str], limits: dict[str, Any], chunked: bool, keep: bool
) -> None:
    async def play() -> None:
        fed = Fed(body, chunked=chunked, **limits)
        attempts, left = Attempts(fed, keep=keep), list(pieces)
        for step in steps:
            if step != "feed":
                await getattr(attempts, step)()
            elif left:
                fed.feed(left.pop(0))
        fed.feed()
        await attempts.read()
        assert attempts.out == body
        assert fed.upload.committed
        assert attempts.reader is not None
        assert await attempts.reader.read() == b""
        fed.upload.close()
        assert fed.budget.used == 0

    asyncio.run(play())


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_byte_that_is_not_among_the_last_is_never_delayed(chunked: bool) -> None:
    async def play() -> None:
        fed = Fed(small_form(), chunked=chunked)
        reader, out = fed.upload.reader(keep=False), b""
        for count in range(1, len(fed.body)):
            fed.feed(1)
            out += await drained(reader)
            held = min(count, TAIL) if chunked else max(count - (len(fed.body) - TAIL), 0)
            assert len(out) == count - held
        assert fed.body[len(out) :].endswith(CLOSING)
        fed.feed()
        assert out + await drained(reader) == fed.body

    asyncio.run(play())


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (small_form()[:-2], None),  # the last line break may be missing
        (small_form()[:-4], "truncated_upload"),
        (small_form()[:-30], "truncated_upload"),
        (small_form(b""), "missing_file"),
        (b"no form at all", "invalid_multipart"),
    ],
)
@pytest.mark.parametrize("attempts", [1, 3])
async def test_no_attempt_gets_the_last_bytes_of_what_is_not_good(
    body: bytes, code: str | None, chunked: bool, attempts: int
) -> None:
    fed = Fed(body, chunked=chunked)
    fed.feed()
    for _ in range(attempts):
        reader, out = fed.upload.reader(keep=True), b""
        if code is None:
            assert await drained(reader) == body
            continue
        with pytest.raises(GatewayError, check=lambda error: error.code == code):  # noqa: PT012  (whichever read)
            while chunk := await reader.read():
                out += chunk
        assert body[: len(body) - TAIL].startswith(out)
        assert not fed.upload.committed


async def test_a_body_that_is_no_form_has_no_closing_delimiter_to_hold_back() -> None:
    fed = Fed(b"0123456789", boundary=None)
    reader = fed.upload.reader(keep=False)
    fed.feed(4)
    assert await drained(reader) == b"0123"
    fed.feed()
    assert await drained(reader) == b"456789"


async def test_a_reader_that_another_has_followed_waits_for_ever_and_takes_nothing() -> None:
    fed = Fed(small_form())
    old = fed.upload.reader(keep=True)
    new = fed.upload.reader(keep=True)
    fed.feed()
    assert await soon(old) is None
    assert await drained(new) == fed.body


async def test_an_attempt_that_is_cancelled_while_it_waits_leaves_the_source_to_the_next() -> None:
    fed = Fed(small_form())
    assert await soon(fed.upload.reader(keep=True)) is None
    assert not fed.upload.reading
    fed.feed()
    assert await drained(fed.upload.reader(keep=True)) == fed.body


# Several at a time


@given(
    BODIES,
    st.lists(st.tuples(st.sampled_from(["feed", "read"]), st.integers(0, 2), st.integers(1, 200)), max_size=40),
    LIMITS,
    st.booleans(),
)
def test_followers_get_the_same_bytes_each_at_its_own_pace_or_are_told_that_they_cannot(
    body: bytes, steps: list[tuple[str, int, int]], limits: dict[str, Any], chunked: bool
) -> None:
    async def play() -> None:
        fed = Fed(body, chunked=chunked, **limits)
        fed.upload.share()
        readers = [fed.upload.reader(keep=True) for _ in range(3)]
        if not fed.upload.shared:  # not even the beginning can be kept: there is one reader, the last
            readers = readers[-1:]
        outs = [b""] * len(readers)
        lost: dict[int, str] = {}

        async def read(index: int) -> bool:
            if index >= len(readers) or index in lost:
                return False
            try:
                chunk = await soon(readers[index])
            except GatewayError as error:
                lost[index] = error.code
                return False
            outs[index] += chunk or b""
            assert body.startswith(outs[index])
            if not fed.upload.committed:
                assert len(outs[index]) <= len(body) - TAIL
            return bool(chunk)

        for what, index, count in steps:
            if what == "feed":
                fed.feed(count)
            else:
                await read(index)
        fed.feed()
        for index in range(len(readers)):
            while await read(index):
                pass
        whole = [index for index, out in enumerate(outs) if out == body]
        assert set(whole) | lost.keys() == set(range(len(readers)))
        assert set(lost.values()) <= {"upload_too_large"}
        assert len(whole) == 1 if fed.upload.exhausted else not lost
        fed.upload.close()
        assert fed.budget.used == 0

    asyncio.run(play())
