"""Ways for an upstream to fail an upload, as data: what it does, when, and what a record calls that."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from tests.flow.scripts import (
    CLOSE,
    LINGER,
    READ_ALL,
    RESET,
    chunk,
    chunked_head,
    error,
    head,
    hold,
    read,
    send,
)

if TYPE_CHECKING:
    from tests.flow.scripts import Step

Point = Literal["byte 1", "50 %", "the last byte", "the end"]

SILENCE = 150  # milliseconds that a target has to answer which never does
JSON = ("Content-Type", "application/json")
NEVER = hold("never")
NONSENSE = send(b"HTTP/1.1 fine thanks\r\n\r\n{}")
HALF_REPLY = send(head(200, [JSON, ("Content-Length", "100")]) + b'{"text":"from')
HALF_CHUNKS = send(chunked_head(200, "application/json") + chunk(b'{"text":"from'))
# How an upstream goes on after an early refusal: some read on, some hang up, some reset the connection.
AFTERWARDS = {401: CLOSE, 413: LINGER, 429: RESET, 500: READ_ALL, 503: NEVER}


@dataclass(frozen=True)
class Fault:
    """One way to fail. At ``point`` of the body the upstream takes ``steps``.

    ``status`` is what it answered, ``failure`` the record's word; ``answer`` is the status and the code that the client
    gets when nobody else can be asked. ``target`` is the upstream's entry in the config. ``acted``: with the whole body
    it may have done what it was asked to do, and charged for it.
    """

    point: Point
    steps: tuple[Step, ...]
    status: int | None = None
    failure: str = "upstream_broke"
    answer: tuple[int, str] = (502, "upstream_broke")
    target: dict[str, Any] = field(default_factory=lambda: {"virtual_key": "key-a"})
    acted: bool = True

    def script(self, length: int) -> list[Step]:
        """Return what the upstream does with a body of ``length`` bytes."""
        counts = {"byte 1": 1, "50 %": length // 2, "the last byte": length - 1}
        return [read(counts[self.point]) if self.point in counts else READ_ALL, *self.steps]

    @property
    def connects(self) -> bool:
        """Whether the upstream can be reached at all."""
        return self.failure != "connect_failed"


def _refusals() -> dict[str, Fault]:
    points: tuple[Point, ...] = ("byte 1", "50 %", "the end")
    return {
        f"{status} at {point}": Fault(
            point,
            (send(error(status)), afterwards),
            status,
            "refused",
            (status, "upstream_says_no"),
            acted=status >= 500,
        )
        for status, afterwards in AFTERWARDS.items()
        for point in points
    }


_SILENT = Fault(
    "byte 1",
    (NEVER,),
    failure="upstream_timed_out",
    answer=(408, "request_timeout"),
    target={"virtual_key": "key-a", "request_timeout": SILENCE},
)

FAULTS: dict[str, Fault] = {
    "refuses the connection": Fault(
        "byte 1",
        (),
        failure="connect_failed",
        answer=(502, "upstream_unreachable"),
        target={"provider": "dead", "api_key": "sk-flow-dead"},
        acted=False,
    ),
    "resets at byte 1": Fault("byte 1", (RESET,)),
    "resets at 50 %": Fault("50 %", (RESET,)),
    "resets at the last byte": Fault("the last byte", (RESET,)),
    "closes at the end": Fault("the end", (CLOSE,)),
    **_refusals(),
    "reads little and never answers": _SILENT,
    "reads all and never answers": replace(_SILENT, point="the end"),
    "talks nonsense at 50 %": Fault("50 %", (NONSENSE, NEVER)),
    "talks nonsense at the end": Fault("the end", (NONSENSE, CLOSE)),
    "cuts its answer": Fault("the end", (HALF_REPLY, CLOSE), 200),
    "cuts its chunked answer": Fault("the end", (HALF_CHUNKS, CLOSE), 200),
    "cuts an early answer": Fault("50 %", (HALF_REPLY, RESET), 200),
}
