"""The gateway without metering, to see what metering costs: ``python -m benchmarks.unmetered serve -c FILE``.

No duration is measured, no usage read, no price looked up, and no metric tells of any; requests are counted as ever.
There is no such setting: what it would save is too little to be worth records that do not know what a request cost.
"""

from __future__ import annotations

import sys
from typing import Any

from proxy import cli
from proxy.audio import meter
from proxy.audio.duration import Unmeasured
from proxy.metering.observer import ReplyObserver
from proxy.records.consumption import ConsumptionMetrics
from proxy.relay import bill


def _nothing(*_arguments: Any, **_options: Any) -> None:
    return None


def _unobserved(*_headers: str | None) -> ReplyObserver:
    return ReplyObserver()


def _unmeasured(_container: object) -> Unmeasured:
    return Unmeasured()


WITHOUT = (
    (meter, "probe_for", _unmeasured),
    (bill, "usage_in", _nothing),
    (bill, "observer_for", _unobserved),
    (bill.Bill, "settle", _nothing),
    (ConsumptionMetrics, "observe", _nothing),
)

if __name__ == "__main__":
    for owner, name, nothing in WITHOUT:
        setattr(owner, name, nothing)
    sys.exit(cli.main())
