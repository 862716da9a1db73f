"""Measures how late the event loop is: what every request waits for whenever something else holds the loop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_EVERY: Final = 0.25  # seconds between samples: a stall of a quarter of a second is never missed


async def watch_lag(observe: Callable[[float], None], beat: Callable[[], None] | None = None) -> None:
    """Give ``observe`` the seconds by which the loop came too late, again and again, for ever; call ``beat`` each time.

    The clock is not the loop's: that one stands still while something holds the loop, and counts milliseconds only.
    """
    while True:
        due = time.perf_counter() + _EVERY
        await asyncio.sleep(_EVERY)
        observe(max(time.perf_counter() - due, 0.0))
        if beat is not None:
            beat()
