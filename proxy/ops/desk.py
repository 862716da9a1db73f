"""What the ops room is told of the gateway that it shows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.ops.answers import OpsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.ops.state import State
    from proxy.records.exposition import Exposition
    from proxy.relay.house import House
    from proxy.settings import Settings
    from proxy.store.store import StoreReader


@dataclass(slots=True, kw_only=True)
class Desk:
    """The gateway as seen from the ops listener.

    ``house`` and ``loaded_at`` (seconds since the epoch) tell what is in force now, ``file`` the settings file's name.
    ``reader`` asks the store; None where there is none. ``gateway`` is the gateway's own URL, empty until it listens.
    """

    state: State
    exposition: Exposition
    house: Callable[[], House]
    loaded_at: Callable[[], float]
    file: str | None = None
    reader: StoreReader | None = None
    gateway: str = ""

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.house().settings

    @property
    def store(self) -> StoreReader:
        """The store, to be asked. Raises OpsError when there is none."""
        if self.reader is not None:
            return self.reader
        where = self.settings.records.store
        if where.kind == "none":
            message = "Records are not kept: records.store is none. Name a store there, like sqlite:audiogate.db."
        else:
            message = (
                "Records are not kept: the default store could not be opened when the gateway started. Name one in "
                "records.store whose folder it may write to."
            )
        raise OpsError(503, "store_off", message)

    @property
    def store_kind(self) -> str:
        """``sqlite``, ``postgresql`` or ``none``: where records are kept."""
        return "none" if self.reader is None else self.settings.records.store.kind

    @staticmethod
    def now() -> float:
        """Return the time in seconds since the epoch."""
        return time.time()
