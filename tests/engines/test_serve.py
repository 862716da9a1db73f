"""The engine starts on a free port, says where, prints nothing, and refuses to start in plain words."""

from __future__ import annotations

import sys
import wave
from typing import TYPE_CHECKING

import pytest
from aiohttp import FormData

from proxy.engines import SAMPLE_TEXT, MissingExtraError, sample_path, serve

if TYPE_CHECKING:
    from aiohttp import ClientSession


async def test_the_bundled_sample_comes_back_as_its_text_and_nothing_is_printed(
    session: ClientSession, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = await serve(port=0)
    form = FormData({"model": "any", "response_format": "text"})
    form.add_field("file", sample_path().read_bytes(), filename="sample.wav")
    async with session.post(f"{engine.url}/v1/audio/transcriptions", data=form) as reply:
        assert (await reply.text()).strip() == SAMPLE_TEXT
    await engine.close()
    assert capfd.readouterr() == ("", "")


def test_the_sample_is_three_seconds_of_16_khz_mono() -> None:
    with wave.open(str(sample_path())) as sample:
        assert (sample.getframerate(), sample.getnchannels()) == (16_000, 1)
        assert sample.getnframes() / sample.getframerate() == pytest.approx(3.035)


async def test_an_address_in_use_is_an_oserror_and_leaves_nothing_behind() -> None:
    engine = await serve(port=0)
    with pytest.raises(OSError, match="address already in use"):
        await serve(engine.host, engine.port)
    await engine.close()
    again = await serve(engine.host, engine.port)
    assert again.url == engine.url == f"http://127.0.0.1:{engine.port}"
    await again.close()


@pytest.mark.parametrize("package", ["pocketsphinx", "miniaudio"])
async def test_without_the_extra_it_says_what_to_install(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package}.*pip install 'audiogate\[local\]'"):
        await serve(port=0)
