"""One exchange: a request from its head to its record, readable from top to bottom."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote

import orjson
from aiohttp import HttpVersion11
from aiohttp.web import Response

from proxy import __version__
from proxy.errors import KINDS, GatewayError
from proxy.metering.book import PriceBook
from proxy.providers.urls import with_parameter
from proxy.relay import door
from proxy.relay.bill import Bill, note_upload
from proxy.relay.decision import Plan, decide, plan_for
from proxy.relay.jsonbody import MAX_JSON, is_json, parsed
from proxy.relay.patience import Patience, client_left
from proxy.relay.reply import Answer
from proxy.relay.sender import Sender
from proxy.relay.upload import Upload
from proxy.routing.hints import metadata_of, trace_id
from proxy.routing.resolve import Choice, by_model, target_of

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientResponse
    from aiohttp.web import BaseRequest, StreamResponse

    from proxy.access.callers import Caller
    from proxy.providers.provider import Provider
    from proxy.records.record import Attempt, Record
    from proxy.relay.house import House
    from proxy.relay.outgoing import Outgoing
    from proxy.relay.shared import Shared

_log = logging.getLogger("audiogate")

_ROUNDS: Final = 16  # of the loop: cancelling takes two
_NO_PRICES: Final = PriceBook(table=())
_BACKOFF: Final = 0.25  # seconds before a second try to connect, doubled each time


class Exchange:
    """The life of one request. :meth:`run` answers it and closes its record, whatever happens."""

    def __init__(self, shared: Shared, house: House, request: BaseRequest, record: Record) -> None:
        self.patience = Patience(house.settings.timeouts, house.limits)
        self._shared = shared
        self._house = house
        self._upstreams = shared.upstreams
        self._request = request
        self._record = record
        self._answer = Answer(request, record, self.patience)
        self._upload: Upload | None = None

    async def run(self) -> StreamResponse:
        """Answer the request, or cut its connection; either way there is one record to close then."""
        try:
            with self.patience:
                return await self._serve()
        except GatewayError as error:
            return await self._fail(error)
        except asyncio.CancelledError:
            self._note(self.patience.reason or client_left())
            raise
        except Exception:  # noqa: BLE001  (logged; the client gets an answer and the record its outcome)
            _log.exception("a request failed in a way nobody thought of")
            return await self._fail(GatewayError("internal_error", "The gateway failed. Its log says why."))
        finally:
            if self._upload is not None:
                note_upload(self._record, self._upload)
                self._upload.close()

    # From the head to the target

    async def _serve(self) -> StreamResponse:
        request, record, house = self._request, self._record, self._house
        answer = self._answer
        self._name_trace()
        answer.extra |= door.check_origin(request, house.settings)
        if (allowed := door.preflight(request)) is not None and "Origin" in request.headers:
            return await answer.own(204, b"", allowed)
        if request.raw_path == "/" and request.method in {"GET", "HEAD"}:
            return await answer.own(200, f"Audiogate {__version__}\n".encode(), {"Content-Type": "text/plain"})
        visit = door.admit(request, house.settings)
        self._shared.check_capacity(house.settings)
        caller, hints, choice, plan = decide(request, visit, house)
        record.metadata = metadata_of(request.headers)
        if caller.key is not None:
            record.key_name = caller.key.name
            record.metadata = {**caller.key.metadata, **record.metadata}
        record.config = choice.config
        boundary = door.boundary(request, visit.route)
        if plan is not None:
            self._check_length(plan.provider, visit.length)
        self._continue()
        upload = self._upload = Upload(
            request,
            record,
            self.patience,
            boundary=boundary,
            length=visit.length,
            limit=door.largest(house.settings),
            fields=house.form_limits,
            replay=house.settings.replay,
            budget=self._shared.budget,
        )
        ticket = self._shared.departures.watch(request.transport) if request.transport and not _read(request) else None
        try:
            if plan is None:
                choice, visit = await self._settle(choice, visit, upload)
                record.replay = upload.kept_in
                plan = plan_for(target_of(choice, hints, caller, house.directory), visit, house)
            else:
                await upload.until(lambda: upload.received > 0)  # the first bytes may already show a wrong file
            return await self._attempts(plan, visit, upload, caller, choice.leaf.attempts)
        finally:
            self._shared.departures.forget(ticket)

    def _name_trace(self) -> None:
        """Give the request a trace id, its caller's own if that is one: every answer carries it."""
        record, extra = self._record, self._answer.extra
        try:
            record.trace_id = trace_id(self._request.headers) or os.urandom(16).hex()
        except GatewayError:
            record.trace_id = os.urandom(16).hex()
            raise
        finally:
            extra["x-portkey-trace-id"] = record.trace_id

    def _check_length(self, provider: Provider, length: int | None) -> None:
        """Refuse an upload whose announced length is more than its target takes."""
        most = self._limit(provider)
        if length is not None and length > most:
            raise GatewayError(
                "upload_too_large",
                f"Maximum content size limit ({most}) exceeded ({length} bytes announced). Compress or split it.",
            )

    def _limit(self, provider: Provider) -> int:
        own = provider.max_upload_bytes
        return self._house.settings.limits.max_upload_bytes if own is None else own

    def _continue(self) -> None:
        """Ask a client that waits for it to send the body; until here it was refused without having sent one."""
        request = self._request
        if "Expect" in request.headers and request.version >= HttpVersion11 and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _settle(self, choice: Choice, visit: door.Visit, upload: Upload) -> tuple[Choice, door.Visit]:
        """Complete a choice by ``@slug/model``: in the form, else in the query, else in a JSON body."""
        form = upload.form
        if form is not None:
            await upload.until(lambda: form.first("model") is not None)
            return by_model(choice, form.first("model"))[0], visit
        found = _query_model(visit.query)
        if found is not None:
            choice, name = by_model(choice, found)
            return choice, replace(visit, query=_with_model(visit.query, name))
        body = parsed(await upload.whole(MAX_JSON)) if is_json(self._request) else {}
        model = body.get("model")
        return by_model(choice, model if isinstance(model, str) else None)[0], visit

    # From the target to the reply

    async def _attempts(
        self, plan: Plan, visit: door.Visit, upload: Upload, caller: Caller, more: int
    ) -> StreamResponse:
        """Try the target; ``more`` times again while nothing at all could be sent."""
        target, provider = plan.target, plan.provider
        self._record.provider = self._answer.extra["x-portkey-provider"] = provider.slug
        upload.narrow(
            limit=self._limit(provider),
            formats=provider.formats if upload.form is not None else None,
            model_required=provider.model_required and "model" not in target.override_params,
        )
        if target.request_timeout is not None:
            self.patience.deadline(target.request_timeout)
        sender = Sender(
            self._shared.tokens, self._upstreams, self._house, self.patience, self._request, self._record, caller
        )
        outbound = await sender.prepare(plan, visit, upload)
        if upload.ended:
            upload.commit()  # all of it is here: what is wrong with it needs no upstream to be told
        extra = self._answer.extra
        extra["x-portkey-last-used-option-index"] = target.path
        extra["x-portkey-cache-status"] = "DISABLED"
        tries, busy = 0, self._shared.upstream_in_flight
        while True:
            extra["x-portkey-retry-attempt-count"] = str(tries)
            busy[provider.slug] += 1
            try:
                upstream, outgoing = await sender.send(outbound, provider, target, visit, upload)
                return await self._reply(upstream, outgoing, upload, sender.secrets, self._bill(plan, visit, upload))
            except GatewayError as error:
                if error.failure != "connect_failed" or not more:
                    raise
                self._end_attempt(error)
                extra["x-portkey-retry-attempt-count"] = "-1"
                if tries == more:
                    raise
            finally:
                busy[provider.slug] -= 1
            await asyncio.sleep(_BACKOFF * 2**tries)
            tries += 1

    def _bill(self, plan: Plan, visit: door.Visit, upload: Upload) -> Bill:
        return Bill(
            self._record,
            upload,
            visit.route,
            # Nobody knows what somebody else's host charges, whatever dialect it speaks.
            self._house.prices if plan.target.named_by == "settings" else _NO_PRICES,
            self._shared.warned,
            deployment=plan.target.azure.deployment_id,
            claimed=self._request.headers.get("x-portkey-audio-file-duration"),
        )

    async def _reply(
        self,
        upstream: ClientResponse,
        outgoing: Outgoing | None,
        upload: Upload,
        secrets: tuple[str, ...],
        bill: Bill,
    ) -> StreamResponse:
        attempt, answer = self._record.attempts[-1], self._answer
        self.patience.head_reached()
        if upstream.status >= 400:
            attempt.failure = "refused"
            if outgoing is not None and attempt.upload_done is None:
                outgoing.stop()  # nobody shall upload 25 MB to learn of a 401
        if outgoing is not None:
            outgoing.unwatch()
        answer.extra["server-timing"] = self._server_timing(attempt)
        answer.close_after = not upload.ended or self._shared.draining
        try:
            reply = await answer.relay(upstream, secrets, bill)
        finally:
            upstream.close()  # a reply read to its end has given its connection back already
            attempt.ended = asyncio.get_running_loop().time()
            await _settled(upload)
        return reply

    def _server_timing(self, attempt: Attempt) -> str:
        record, now = self._record, asyncio.get_running_loop().time()
        upstream = (attempt.head_at or now) - (attempt.upload_done or attempt.started)
        upload = (record.body_done or now) - (record.body_started or now)
        gateway = max(now - record.started - upload - upstream, 0.0)
        return (
            f"gateway;dur={gateway * 1000:.1f}, upload;dur={upload * 1000:.1f}, "
            f"upstream;dur={max(upstream, 0.0) * 1000:.1f}"
        )

    # When it does not work out

    async def _fail(self, error: GatewayError) -> StreamResponse:
        """Answer with ``error`` while that can be done, else cut the connection."""
        self._note(error)
        answer, request = self._answer, self._request
        if self._upload is not None:
            await _settled(self._upload)
        if answer.started or error.code == "client_left":
            answer.cut()
            return Response()
        kind = KINDS[error.code]
        headers = {"Content-Type": "application/json", "x-portkey-gateway-exception": "true"}
        if not kind.retryable:
            headers["x-should-retry"] = "false"
        if error.retry_after is not None:
            headers["Retry-After"] = str(error.retry_after)
        if error.code == "method_not_allowed":
            headers["Allow"] = "POST"
        answer.close_after = not request.content.is_eof() or self._shared.draining or door.is_ambiguous(request)
        try:
            return await answer.own(error.status, orjson.dumps(error.body()), headers)
        except GatewayError as left:
            self._note(left)
            answer.cut()
            return Response()

    def _note(self, error: GatewayError) -> None:
        """Write ``error`` into the record: the status stays what the client was told, unless it has left."""
        record, told = self._record, self._record.status
        record.failed(error)
        if self._answer.started and error.code != "client_left":
            record.status = told
        self._end_attempt(error)

    def _end_attempt(self, error: GatewayError) -> None:
        if self._record.attempts:
            attempt = self._record.attempts[-1]
            attempt.failure = attempt.failure or error.failure
            attempt.cause = attempt.cause or error.cause
            if error.failure == "connect_failed":
                attempt.unsent()
            attempt.ended = attempt.ended or asyncio.get_running_loop().time()


async def _settled(upload: Upload) -> None:
    """Let a cancelled body generator let go of the client's stream, which aiohttp wants to drain next."""
    for _ in range(_ROUNDS):
        if not upload.reading:
            return
        await asyncio.sleep(0)


def _query_model(query: str) -> str | None:
    return next((value for name, value in parse_qsl(query) if name == "model"), None)


def _with_model(query: str, model: str) -> str:
    return with_parameter(query, "model", quote(model, safe=""))


def _read(request: BaseRequest) -> bool:
    return request.content.is_eof()
