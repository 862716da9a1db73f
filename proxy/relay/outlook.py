"""What one request's plan is told of the rest of the world: circuits, retry budgets, loads, and what a target takes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from proxy.errors import GatewayError
from proxy.routing.way import CALM, State

if TYPE_CHECKING:
    from proxy.relay.decision import Targets
    from proxy.relay.house import House
    from proxy.relay.shared import Shared
    from proxy.relay.upload import Upload
    from proxy.routing.breaker import Permit
    from proxy.routing.outcome import Outcome
    from proxy.routing.plan import Plan
    from proxy.routing.tree import Leaf


class Outlook:
    """The view from one request. ``config`` is the slug of the saved config that it uses, if any."""

    def __init__(self, shared: Shared, house: House, targets: Targets, upload: Upload, config: str | None) -> None:
        self._shared = shared
        self._house = house
        self._targets = targets
        self._upload = upload
        self._config = config or ""
        self._now = asyncio.get_running_loop().time

    def begin(self) -> State:
        """Take note of a request that begins with the first target; return what its plan needs to know."""
        first = next(iter(self._targets.prepared.values())).provider.slug
        self._shared.retry_budget(first).request(self._now())
        return self.state(None)

    def state(self, leaf: Leaf | None) -> State:
        """Return what the plan needs to know when ``leaf`` has been tried; nothing, where nothing is asked."""
        targets, shared, now = self._targets, self._shared, self._now()
        spent: tuple[str, ...] = ()
        if leaf is not None and leaf.retry.attempts and shared.retry_budget(self._provider(leaf)).is_spent(now):
            spent = (leaf.path,)
        if not targets.several:
            return State(spent=spent) if spent else CALM
        waits = {
            path: shared.breakers.wait((self._config, path), rules, now) for path, rules in targets.breakers.items()
        }
        loads = targets.prepared.items() if targets.weighs_load else ()
        return State(
            open={path: wait for path, wait in waits.items() if wait is not None},
            probed=frozenset(path for path in waits if shared.breakers.is_probed((self._config, path), now)),
            spent=spent,
            outstanding={path: shared.outstanding(each) for path, each in loads},
            unix=time.time(),
        )

    def take_retry(self, leaf: Leaf) -> None:
        """Take note that ``leaf`` will be tried again."""
        self._shared.retry_budget(self._provider(leaf)).try_take(self._now())

    def refusal(self, plan: Plan) -> GatewayError | None:
        """Return why the plan's target cannot be asked now, or None: its circuit, or what has come of the upload."""
        path = plan.leaf.path
        rules = self._targets.breakers.get(path)
        if rules is not None:
            key, now, breakers = (self._config, path), self._now(), self._shared.breakers
            circuit = breakers.circuit(key, rules, now)
            if circuit != "closed" and (breakers.is_probed(key, now) or (circuit == "open" and not plan.anyway)):
                return GatewayError("circuit_open", "Its circuit has just opened. Try again later.", retry_after=1)
        return self.unfit(plan.leaf) if self._targets.several else None

    def unfit(self, leaf: Leaf) -> GatewayError | None:
        """Return why a target cannot be sent this upload, as far as that can be told by now."""
        provider = self._targets.prepared[leaf.path].provider
        formats = provider.formats if self._upload.form is not None else None
        return self._upload.refusal(limit_of(provider.max_upload_bytes, self._house), formats)

    def permit(self, leaf: Leaf, *, anyway: bool) -> Permit | None:
        """Return leave to ask a target that has a circuit; give it back to :meth:`returned`, whatever the end."""
        rules = self._targets.breakers.get(leaf.path)
        if rules is None:
            return None
        return self._shared.breakers.allow((self._config, leaf.path), rules, self._now(), anyway=anyway)

    def returned(self, permit: Permit | None, outcome: Outcome | None) -> None:
        """Tell a target's circuit how the attempt ended; None: that says nothing of the target."""
        if permit is not None:
            self._shared.breakers.record(permit, outcome, self._now())

    def _provider(self, leaf: Leaf) -> str:
        return self._targets.prepared[leaf.path].provider.slug


def limit_of(own: int | None, house: House) -> int:
    """Return the largest upload that a provider takes; ``own`` is what its row says."""
    return house.settings.limits.max_upload_bytes if own is None else own
