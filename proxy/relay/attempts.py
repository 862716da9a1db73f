"""The loop of attempts: one target after the other by the plan, each with every byte of the upload, until one answers.

Whatever ends an attempt is told to the plan as an :class:`Outcome`; the plan says what is next. A reply that is not the
last word is never shown to the client; a reply that is, is.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from proxy.errors import GatewayError
from proxy.metering.book import PriceBook
from proxy.relay.bill import Bill
from proxy.relay.hedge import Leg, Race
from proxy.relay.jsonbody import MAX_JSON, is_json, parsed
from proxy.relay.outlook import Outlook, limit_of
from proxy.relay.patience import Patience, client_left
from proxy.relay.sender import Sender
from proxy.routing.backoff import retry_after
from proxy.routing.conditions import Facts
from proxy.routing.outcome import Outcome
from proxy.routing.plan import Again, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.client_reqrep import ClientResponse
    from aiohttp.web import BaseRequest, StreamResponse

    from proxy.access.callers import Caller
    from proxy.errors import Failure
    from proxy.records.record import Attempt, Record
    from proxy.relay.decision import Prepared, Targets
    from proxy.relay.door import Visit
    from proxy.relay.house import House
    from proxy.relay.outgoing import Outgoing
    from proxy.relay.reply import Answer
    from proxy.relay.shared import Shared
    from proxy.relay.upload import Upload
    from proxy.routing.plan import Stop

_chance: Final = random.Random().random  # noqa: S311  (which target, how long to wait: no secret)
_ROUNDS: Final = 16  # of the loop: cancelling takes two
_NO_PRICES: Final = PriceBook(table=())
_NOT_TAKEN: Final = frozenset({"upload_too_large", "unsupported_format"})  # what another target may take
_SKIPPED: Final = Outcome(503, skipped=True)


class Attempts:
    """Everything that is tried for one request."""

    def __init__(
        self,
        shared: Shared,
        house: House,
        patience: Patience,
        request: BaseRequest,
        record: Record,
        answer: Answer,
        caller: Caller,
        visit: Visit,
        upload: Upload,
        targets: Targets,
    ) -> None:
        self._shared = shared
        self._house = house
        self._patience = patience
        self._request = request
        self._record = record
        self._answer = answer
        self._visit = visit
        self._upload = upload
        self._targets = targets
        self._loop = asyncio.get_running_loop()
        self._outlook = Outlook(shared, house, targets, upload, record.config)
        self._sender = Sender(shared.tokens, shared.upstreams, house, patience, request, record, caller)

    async def run(self) -> StreamResponse:
        """Try what the targets' tree says; return the answer, or raise what the last attempt ended with."""
        plan = await self._begin()
        while True:
            refusal = self._outlook.refusal(plan)
            if refusal is not None:
                step = self._next(plan, _SKIPPED)
                if not isinstance(step, Again):
                    raise refusal
                plan = step.plan
            end = await self._once(plan)
            if not isinstance(end, Again):
                return end
            if end.wait:
                await self._upload.gather(end.wait)
            plan = end.plan

    async def _begin(self) -> Plan:
        """Return the plan for the first attempt, once every form field that the tree asks about is known."""
        targets, upload = self._targets, self._upload
        state = self._outlook.begin()
        if targets.plan is not None:
            ends = self._patience.ends
            return targets.plan if ends is None else replace(targets.plan, deadline=ends)
        if targets.fields:
            upload.note_keeping()
            form = upload.form
            if form is not None:
                await upload.until(lambda: targets.fields <= form.fields.keys())
            elif is_json(self._request):
                await upload.whole(MAX_JSON)
        facts = Facts(
            self._record.metadata,
            self._request.headers,
            self._request.raw_path.partition("?")[0],
            self._params(),
            complete=True,
        )
        ends = math.inf if self._patience.ends is None else self._patience.ends
        return Plan.begin(targets.node, facts, _chance(), deadline=ends, state=state)

    def _params(self) -> Mapping[str, Any]:
        """Return the fields that the client has sent: of a form, the first of each name; of a JSON body, all."""
        upload = self._upload
        if upload.form is not None:
            return {name: values[0] for name, values in upload.form.fields.items()}
        asked = self._targets.fields and is_json(self._request)
        return parsed(b"".join(upload.kept()), lenient=True) if asked else {}

    async def _once(self, plan: Plan) -> StreamResponse | Again:
        """Make the attempt that ``plan`` names: the client's answer, or what to try instead."""
        path = plan.leaf.path
        prepared, extra = self._targets.prepared[path], self._answer.extra
        self._take_note(prepared)
        extra["x-portkey-cache-status"] = "DISABLED"
        extra["x-portkey-retry-attempt-count"] = str(plan.retry_count)
        permit = None if plan.hedged else self._outlook.permit(plan.leaf, anyway=plan.anyway)
        outcome: Outcome | None = None
        self._sender.attempt = None
        self._patience.begin_attempt(prepared.target.request_timeout)
        flight = None if plan.hedged else self._shared.fly(prepared, self._upload)
        try:
            upstream, outgoing = await (self._race(plan) if plan.hedged else self._send(plan, prepared))
            outcome = self._judged(upstream)
            step = self._next(plan, outcome) if not outcome.succeeded else None
            if isinstance(step, Again):
                self._end_attempt("refused", outcome)
                upstream.close()
                return step
            if step is not None:
                extra["x-portkey-retry-attempt-count"] = str(step.retry_count)
                self._attempt.possibly_billed = outcome.billed
            return await self._reply(upstream, outgoing, hold=outcome.succeeded and plan.may_go_on)
        except asyncio.CancelledError:
            error = self._patience.taken()
            if error is None:
                self._failed(client_left())
                raise
            outcome = self._failed(error)
            return self._go_on(plan, outcome, error)
        except GatewayError as error:
            if self._patience.reason is not None:
                raise
            outcome = self._failed(error)
            return self._go_on(plan, outcome, error)
        finally:
            if flight is not None:
                self._shared.land(flight)
            self._outlook.returned(permit, outcome)
            await settled(self._upload)

    def _take_note(self, prepared: Prepared) -> None:
        """Say in record and answer who is asked."""
        extra = self._answer.extra
        self._record.provider = extra["x-portkey-provider"] = prepared.provider.slug
        extra["x-portkey-last-used-option-index"] = prepared.target.path

    # What is sent

    async def _send(self, plan: Plan, prepared: Prepared) -> tuple[ClientResponse, Outgoing | None]:
        upload, target, provider = self._upload, prepared.target, prepared.provider
        upload.narrow(
            limit=limit_of(provider.max_upload_bytes, self._house),
            formats=provider.formats if upload.form is not None else None,
            model_required=provider.model_required and "model" not in target.override_params,
        )
        outbound = await self._sender.prepare(prepared, self._visit, upload)
        if upload.ended:
            upload.commit()  # all of it is here: what is wrong with it needs no upstream to be told
        return await self._sender.send(outbound, provider, target, self._visit, upload, keep=plan.may_go_on)

    async def _race(self, plan: Plan) -> tuple[ClientResponse, Outgoing | None]:
        """Send the legs of a hedge; return the reply that counts. It is of the winner, or of the last to fail."""
        upload, settings = self._upload, self._house.settings
        provided = [self._targets.prepared[leaf.path] for leaf in plan.legs]
        limits = [limit_of(each.provider.max_upload_bytes, self._house) for each in provided]
        required = any(each.provider.model_required and "model" not in each.target.override_params for each in provided)
        upload.narrow(limit=max(limits), formats=None, model_required=required)
        legs: list[Leg] = []
        for leaf, prepared in zip(plan.legs, provided, strict=True):
            if self._outlook.unfit(leaf) is None:
                patience = Patience(settings.timeouts, self._house.limits)
                sender = self._sender.sibling(patience, copy=bool(legs))
                outbound = await sender.prepare(prepared, self._visit, upload)
                send = partial(
                    sender.send, outbound, prepared.provider, prepared.target, self._visit, upload, keep=True
                )
                legs.append(Leg(leaf, prepared, sender, patience, send))
        if upload.ended:
            upload.commit()
        upload.share()
        won = await Race(legs, plan.delay, partial(self._begun, plan), self._lost).run()
        self._landed(won)
        self._sender = won.sender
        self._take_note(won.prepared)
        self._record.model_used = self._attempt.model
        if won.upstream is None:
            self._outlook.returned(won.permit, None)
            raise won.error or client_left()
        self._outlook.returned(won.permit, Outcome(won.upstream.status))
        if won.outgoing is not None:
            won.outgoing.hand_over(self._patience)
        return won.upstream, won.outgoing

    def _begun(self, plan: Plan, leg: Leg) -> None:
        leg.permit = self._outlook.permit(leg.leaf, anyway=plan.anyway)
        leg.flight = self._shared.fly(leg.prepared, self._upload)

    def _landed(self, leg: Leg) -> None:
        if leg.flight is not None:
            self._shared.land(leg.flight)

    def _lost(self, leg: Leg) -> None:
        """Take note of a leg of a hedge that is not the one that counts."""
        self._landed(leg)
        attempt, status, outcome = leg.sender.attempt, 0, None
        if attempt is not None and attempt.ended is None:
            error = leg.error
            failure: Failure = "refused" if leg.upstream is not None else "gateway_refused"
            if error is not None:
                failure, status, attempt.cause = error.failure, error.status, error.cause
            elif leg.upstream is not None:
                status = leg.upstream.status
            attempt.failure = None if leg.good else failure
            attempt.ended = self._loop.time()
            outcome = Outcome(status, attempt.failure)
            # Whoever had all of it may charge for it, also when nobody waited for the answer.
            done = self._upload.committed and attempt.upload_done is not None
            attempt.possibly_billed = done and (failure != "refused" or status >= 500)
            if failure == "connect_failed":
                attempt.unsent()
        self._outlook.returned(leg.permit, outcome)

    # What comes of it

    def _judged(self, upstream: ClientResponse) -> Outcome:
        """Return what a reply's head says of the attempt."""
        self._patience.head_reached()
        status = upstream.status
        if 200 <= status < 300:
            return Outcome(status, replayable=self._upload.replayable)
        return self._outcome(status, "refused", retry_after(upstream.headers, time.time()))

    def _failed(self, error: GatewayError) -> Outcome:
        """Return what an error says of the attempt that it ended, and note it there."""
        several = self._targets.several
        if several and error.code in _NOT_TAKEN and not self._answer.started:
            self._end_attempt(error.failure, _SKIPPED)
            return Outcome(error.status, skipped=True, replayable=self._upload.replayable)
        outcome = self._outcome(error.status, error.failure)
        self._end_attempt(error.failure, outcome, error.cause)
        return outcome

    def _outcome(self, status: int, failure: Failure, wait: float | None = None) -> Outcome:
        upload, attempt = self._upload, self._sender.attempt
        whole = upload.committed and attempt is not None and attempt.upload_done is not None
        return Outcome(
            status,
            failure,
            wait,
            body_sent=attempt is not None and attempt.first_sent is not None,
            replayable=upload.replayable,
            # What was refused was not done. A server's own error may have come after the work.
            billed=whole and (status >= 500 or failure != "refused") and failure != "connect_failed",
        )

    def _go_on(self, plan: Plan, outcome: Outcome, error: GatewayError) -> Again:
        """Return what to try after a failure, or raise it."""
        if self._answer.started:
            raise error
        step = self._next(plan, outcome)
        if isinstance(step, Again):
            return step
        if not self._answer.started:
            self._answer.extra["x-portkey-retry-attempt-count"] = str(step.retry_count)
        raise error

    def _next(self, plan: Plan, outcome: Outcome) -> Again | Stop:
        """Return what follows ``outcome``, passing over targets that do not take this upload."""
        step = plan.after(outcome, self._loop.time(), _chance(), self._outlook.state(plan.leaf))
        while isinstance(step, Again) and not step.same_target and self._outlook.refusal(step.plan) is not None:
            skipped = Outcome(503, skipped=True, replayable=self._upload.replayable)
            step = step.plan.after(skipped, self._loop.time(), _chance(), self._outlook.state(step.plan.leaf))
        if isinstance(step, Again) and step.same_target:
            self._outlook.take_retry(plan.leaf)
        return step

    def _end_attempt(self, failure: Failure, outcome: Outcome, cause: Literal["tls"] | None = None) -> None:
        attempt = self._sender.attempt
        if attempt is not None and attempt.ended is None:
            attempt.failure = attempt.failure or failure
            attempt.cause = cause
            attempt.possibly_billed = outcome.billed
            if failure == "connect_failed":
                attempt.unsent()
            attempt.ended = self._loop.time()

    async def _reply(self, upstream: ClientResponse, outgoing: Outgoing | None, *, hold: bool) -> StreamResponse:
        """Give the client the upstream's reply. ``hold``: as much of it as can be, before a byte of it goes out."""
        attempt, answer, upload = self._attempt, self._answer, self._upload
        if upstream.status >= 400:
            attempt.failure = "refused"
            if outgoing is not None and attempt.upload_done is None:
                outgoing.stop()  # nobody shall upload 25 MB to learn of a 401
        if outgoing is not None:
            outgoing.unwatch()
        answer.extra["server-timing"] = self._server_timing(attempt)
        answer.close_after = not upload.ended or self._shared.draining
        try:
            return await answer.relay(upstream, self._sender.secrets, self._bill(), hold=hold)
        finally:
            upstream.close()  # a reply read to its end has given its connection back already
            if attempt.ended is None and (answer.started or upstream.status >= 400):
                attempt.ended = self._loop.time()

    @property
    def _attempt(self) -> Attempt:
        """The present attempt, which has been sent."""
        attempt = self._sender.attempt
        assert attempt is not None, "whoever asks has a reply in hand"
        return attempt

    def _bill(self) -> Bill:
        target = self._targets.prepared[self._attempt.target].target
        return Bill(
            self._record,
            self._upload,
            self._visit.route,
            # Nobody knows what somebody else's host charges, whatever dialect it speaks.
            self._house.prices if target.named_by == "settings" else _NO_PRICES,
            self._shared.warned,
            deployment=target.azure.deployment_id,
            claimed=self._request.headers.get("x-portkey-audio-file-duration"),
        )

    def _server_timing(self, attempt: Attempt) -> str:
        record, now = self._record, self._loop.time()
        upstream = (attempt.head_at or now) - (attempt.upload_done or attempt.started)
        upload = (record.body_done or now) - (record.body_started or now)
        gateway = max(now - record.started - upload - upstream, 0.0)
        return (
            f"gateway;dur={gateway * 1000:.1f}, upload;dur={upload * 1000:.1f}, "
            f"upstream;dur={max(upstream, 0.0) * 1000:.1f}"
        )


async def settled(upload: Upload) -> None:
    """Let a cancelled body generator let go of the client's stream, which the next reader wants."""
    for _ in range(_ROUNDS):
        if not upload.reading:
            return
        await asyncio.sleep(0)
