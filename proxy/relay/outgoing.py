"""The body of one attempt, as aiohttp's client pulls it: the upload's bytes as they are, or rewritten."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from proxy.errors import GatewayError
from proxy.relay.patience import Patience, Phase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.form.rewriter import Rewriter
    from proxy.records.record import Attempt
    from proxy.relay.upload import Upload

_log = logging.getLogger("audiogate")


class Outgoing:
    """Feeds one attempt from an upload. ``keep``: another attempt may need the upload again.

    An exception must never leave the generator: aiohttp would report it as the upstream's fault and, had the body
    ended instead, would call it complete. So a failure interrupts the task that waits for the reply, with the reason,
    and the generator waits to be cancelled with the connection. A body that stops short is thus never ended.
    """

    def __init__(
        self,
        upload: Upload,
        attempt: Attempt,
        patience: Patience,
        *,
        length: int | None,
        rewriter: Rewriter | None,
        keep: bool,
    ) -> None:
        self.length = length
        self._upload = upload
        self._attempt = attempt
        self._patience: Patience | None = patience
        self._interrupt = patience.interrupt
        self._rewriter = rewriter
        self._keep = keep
        self._stopped = False

    def stop(self) -> None:
        """Send no more: the upstream has given its final answer already."""
        self._stopped = True
        self._patience = None

    def hand_over(self, patience: Patience) -> None:
        """Tell another task of what goes wrong from now on: the one that waits for this attempt's reply."""
        self._patience = patience
        self._interrupt = patience.interrupt

    def unwatch(self) -> None:
        """Leave the phases to the reply, which has begun while the upload goes on."""
        self._patience = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body's bytes; never return before all of them were taken."""
        attempt, loop = self._attempt, asyncio.get_running_loop()
        try:
            reader = self._upload.reader(keep=self._keep)
            while chunk := await reader.read():
                if self._stopped:
                    await loop.create_future()
                for piece in (chunk,) if self._rewriter is None else self._rewriter.feed(chunk):
                    await _look_round()
                    if attempt.first_sent is None:
                        attempt.first_sent = loop.time()
                    if self._patience is not None:
                        self._patience.enter(Phase.ACCEPT)
                    yield piece
                    attempt.sent_bytes += len(piece)
            if self._rewriter is not None:
                self._rewriter.finish()
            if self.length is not None and attempt.sent_bytes != self.length:
                raise GatewayError("internal_error", "The upload came out with another length than announced.")
        except GatewayError as error:
            self._interrupt(error)
            await loop.create_future()
        except Exception:  # noqa: BLE001  (logged, and told apart from the upstream's faults)
            _log.exception("an upload failed in a way nobody thought of")
            self._interrupt(GatewayError("internal_error", "The gateway failed. Its log says why."))
            await loop.create_future()
        attempt.upload_done = loop.time()
        await _look_round()  # the end of a chunked body is a write, too
        if self._patience is not None:
            self._patience.enter(Phase.FIRST_BYTE)


async def _look_round() -> None:
    """Let the loop notice an early refusal before the next write.

    It has a reset behind it, and a write that meets the reset first loses the answer. So the loop gets two rounds: one
    to read, one to deliver what it read.
    """
    await asyncio.sleep(0)
    await asyncio.sleep(0)
