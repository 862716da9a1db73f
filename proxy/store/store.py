"""What a store is: one thread writes to it, any number of questions are asked of it.

Both kinds of store (SQLite for one machine, PostgreSQL for many) do the same, and pass the same tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from proxy.store.questions import Filters, StatsQuestion
    from proxy.store.rollup import Stats

Document = dict[str, Any]
"""A record as INTERFACE 6 shows it, its transcript included: what JSON holds."""


_EXPORTED: Final = 200  # records of a batch: a few hundred kilobytes


class StoreError(Exception):
    """A store cannot be reached, opened, read or written; the message is one line for the operator, without secrets."""


@dataclass(frozen=True, slots=True)
class Page:
    """Records, newest first. ``next`` is the cursor of the page behind it; None: this is the last."""

    items: Sequence[Document]
    next: str | None


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Records in the order in which they came in. ``last`` is what to ask for next time."""

    items: Sequence[Document]
    last: int


class StoreWriter(Protocol):
    """The writing side: for one thread, which may wait. Every method raises :class:`StoreError` only.

    After an error nothing of the call has been kept, and ``open`` may be tried again.
    """

    def open(self) -> None:
        """Open the store, make it if there is none, and bring it to the present form. Again: start over."""

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Keep ``records`` and add them to the roll-ups, all or none. One that is there already (by id) stays.

        Raises something else than :class:`StoreError` when one is no record: the others can be written without it.
        """

    def prune(self, before: float, limit: int) -> int:
        """Delete at most ``limit`` records that began before ``before`` (seconds since the epoch); return how many.

        Roll-ups go with the period they belong to.
        """

    def close(self) -> None:
        """Close the store; it is whole whenever this is not reached."""


class StoreReader(Protocol):
    """The asking side: for one event loop, which never waits on the store itself. Raises :class:`StoreError` only.

    No question changes anything, and each has a time limit.
    """

    async def open(self) -> None:
        """Connect. A reader that lost its connection connects again by itself when the next question comes."""

    async def page(self, filters: Filters, *, limit: int, before: str | None) -> Page:
        """Return up to ``limit`` records that ``filters`` pass, newest first, from the cursor ``before`` on."""

    async def get(self, record_id: str) -> Document | None:
        """Return one record, or None when there is none."""

    def export(self, filters: Filters) -> AsyncIterator[Sequence[Document]]:
        """Yield all records that ``filters`` pass, newest first, in batches, without holding them all."""

    async def stats(self, question: StatsQuestion) -> Stats:
        """Return what happened in a span, from the roll-ups alone."""

    async def arrivals(self, after: int | None, *, limit: int) -> Arrivals:
        """Return up to ``limit`` records that came in after ``after``, oldest first; None: only where "now" is.

        Answers within a millisecond or two when there is nothing new.
        """

    async def close(self) -> None:
        """Close every connection."""


async def exported(reader: StoreReader, filters: Filters) -> AsyncIterator[Sequence[Document]]:
    """Yield all records that ``filters`` pass, newest first, page by page; what comes meanwhile is not among them."""
    cursor: str | None = None
    while True:
        page = await reader.page(filters, limit=_EXPORTED, before=cursor)
        if page.items:
            yield page.items
        if page.next is None:
            return
        cursor = page.next
