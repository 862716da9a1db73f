"""Start the engine on an address, and the one sample that ships with it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web
from yarl import URL

from proxy.engines.app import make_app

if TYPE_CHECKING:
    from proxy.engines.app import Limits

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8789
SAMPLE_TEXT: Final = "go forward ten meters and then turn left"

_SHUTDOWN_SECONDS: Final = 2.0  # requests under way when the engine stops; a trial engine owes them no more


@dataclass(frozen=True, slots=True)
class RunningEngine:
    """An engine that accepts requests: where it listens, and how to stop it."""

    host: str
    port: int
    _runner: web.AppRunner

    @property
    def url(self) -> str:
        """The base URL without ``/v1``, for example ``http://127.0.0.1:8789``."""
        return str(URL.build(scheme="http", host=self.host, port=self.port))

    async def close(self) -> None:
        """Stop listening, end the requests under way and free the model."""
        await self._runner.cleanup()


async def serve(host: str = DEFAULT_HOST, port: int = DEFAULT_PORT, *, limits: Limits | None = None) -> RunningEngine:
    """Load the model and listen; port 0 takes a free one. Nothing is printed.

    Raises :class:`proxy.engines.MissingExtraError` without the ``local`` extra, OSError when the address is
    in use.
    """
    runner = web.AppRunner(
        make_app(limits), access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_SECONDS
    )
    try:
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
    except BaseException:
        await runner.cleanup()
        raise
    bound_host, bound_port = runner.addresses[0][:2]
    return RunningEngine(bound_host, bound_port, runner)


def sample_path() -> Path:
    """Return the path of the bundled recording of :data:`SAMPLE_TEXT`: 3.035 s, 16 kHz mono wav."""
    return Path(str(files("proxy.engines").joinpath("sample.wav")))
