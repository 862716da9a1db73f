"""What the engine's tests share: the vectors, the sentence they say, one model, and one engine per module."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout

from proxy.engines import RunningEngine, serve
from proxy.engines.recogniser import Recogniser
from proxy.engines.sound import BYTES_PER_SECOND, decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

VECTORS = Path(__file__).parent.parent / "vectors"


@pytest.fixture(scope="session")
def recogniser() -> Recogniser:
    return Recogniser()


@pytest.fixture(scope="session")
def sentence_pcm() -> bytes:
    return decode((VECTORS / "speech.wav").read_bytes(), max_seconds=60)


@pytest.fixture(scope="session")
def phrase_pcm(sentence_pcm: bytes) -> bytes:
    """The first 0.9 s of the sentence, "go forward", for tests that need speech but not much of it."""
    return sentence_pcm[: int(0.9 * BYTES_PER_SECOND)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[RunningEngine]:
    running = await serve(port=0)
    yield running
    await running.close()


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession(timeout=ClientTimeout(total=60)) as client:
        yield client
