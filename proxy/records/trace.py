"""The place of a request in a trace of OpenTelemetry's: which trace, which span, and whether anybody records it.

See W3C Trace Context (https://www.w3.org/TR/trace-context/) and the samplers of
https://opentelemetry.io/docs/specs/otel/trace/sdk/#sampling.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from proxy.headers import TraceParent

if TYPE_CHECKING:
    from multidict import CIMultiDict

_SAMPLED: Final = 1  # the flag of W3C Trace Context, 3.2.2.5.1
_RANDOM: Final = 2  # that of its level 2: the trace id's last bytes are random
_TRACE_ID: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")
_LOW: Final = 1 << 64  # samplers look at the last eight bytes of a trace id, everywhere


def new_span_id() -> str:
    """Return the id of a new span: eight random bytes in hex."""
    return os.urandom(8).hex()


@dataclass(slots=True)
class Trace:
    """Where a request belongs. ``flags`` are those that go on to upstreams."""

    trace_id: str
    flags: int
    parent: TraceParent | None = None
    span_id: str = field(default_factory=new_span_id)

    @property
    def sampled(self) -> bool:
        """Whether spans are to be made of this request."""
        return bool(self.flags & _SAMPLED)

    def pass_on(self, headers: CIMultiDict[str], span_id: str) -> None:
        """Name the span ``span_id`` as the parent of whatever comes of a request with these headers."""
        headers["traceparent"] = str(TraceParent(self.trace_id, span_id, self.flags))
        if self.parent is None:
            headers.popall("tracestate", None)  # it is about another trace, or about none


@dataclass(frozen=True, slots=True)
class Sampler:
    """Decides which requests are recorded: ``ratio`` of all traces, by their ids, so that everybody decides alike.

    With ``follow`` that goes for traces that begin here; in all others the caller has decided.
    """

    ratio: float = 1.0
    follow: bool = True

    def begin(self, parent: TraceParent | None, asked: str) -> Trace:
        """Return the place of a request in its caller's trace.

        Without one it is in a trace of its own, whose id is ``asked``, the request's trace id, if that can be one.
        """
        if parent is None:
            plain = asked.replace("-", "").lower()  # a UUID is one, too
            trace_id = plain if _TRACE_ID.fullmatch(plain) else os.urandom(16).hex()
            return Trace(trace_id, _SAMPLED if self._takes(trace_id) else 0)
        sampled = bool(parent.flags & _SAMPLED) if self.follow else self._takes(parent.trace_id)
        return Trace(parent.trace_id, parent.flags & _RANDOM | sampled, parent)

    def _takes(self, trace_id: str) -> bool:
        return int(trace_id[16:], 16) < round(self.ratio * _LOW)
