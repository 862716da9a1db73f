"""Audio made to measure with ffmpeg: a tone of a known length in any container, once per session and arguments."""

from __future__ import annotations

import subprocess
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.bootstrap import in_ci, missing

if TYPE_CHECKING:
    from pathlib import Path


def require_ffmpeg() -> None:
    """Skip the test that asks when there is no ffmpeg; in CI that is a failure."""
    reason = missing("ffmpeg")
    if reason is not None:
        if in_ci():
            pytest.fail(reason)
        pytest.skip(reason)


def made(folder: Path, name: str, *options: str, seconds: float = 3.0, rate: int = 16_000, channels: int = 1) -> bytes:
    """Return a file called ``name``: its suffix chooses the container, ``options`` go to ffmpeg before it.

    The source is a sweep of noise and tone, so that encoders with a variable bitrate do vary it.
    """
    require_ffmpeg()
    path = folder / name
    source = f"aevalsrc=0.3*sin(440*t*t)+0.3*random(0)*gt(mod(t\\,1)\\,0.5):s={rate}:d={seconds}"
    return _run(("-f", "lavfi", "-i", source, "-ac", str(channels), *options, str(path)), path)


def piped(kind: str, *options: str, seconds: float = 3.0, rate: int = 16_000, channels: int = 1) -> bytes:
    """Return what ffmpeg writes to a pipe as ``kind`` (its name of a container): it cannot go back to fix headers."""
    require_ffmpeg()
    source = f"aevalsrc=0.3*sin(440*t*t)+0.3*random(0)*gt(mod(t\\,1)\\,0.5):s={rate}:d={seconds}"
    return _run(("-f", "lavfi", "-i", source, "-ac", str(channels), *options, "-f", kind, "-"), None)


def filmed(folder: Path, name: str, *options: str, seconds: float = 1.0, film_seconds: float = 3.0) -> bytes:
    """Return a film called ``name``: a test picture for ``film_seconds``, with ``seconds`` of sound at its start."""
    require_ffmpeg()
    path = folder / name
    picture = f"testsrc=size=64x48:rate=5:duration={film_seconds}"
    sound = f"aevalsrc=0.3*sin(440*t*t):s=16000:d={seconds}"
    return _run(("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, *options, str(path)), path)


@cache
def _run(arguments: tuple[str, ...], path: Path | None) -> bytes:
    done = subprocess.run(
        ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *arguments], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout if path is None else path.read_bytes()
