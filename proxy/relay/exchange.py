"""One exchange: a request from its head to its record, readable from top to bottom."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

import orjson
from aiohttp import HttpVersion11
from aiohttp.web import Response

from proxy import __version__
from proxy.errors import KINDS, GatewayError
from proxy.headers import parent_in
from proxy.providers.urls import with_parameter
from proxy.relay import door
from proxy.relay.attempts import Attempts, settled
from proxy.relay.bill import note_upload
from proxy.relay.decision import decide, targets_for
from proxy.relay.jsonbody import MAX_JSON, is_json, parsed
from proxy.relay.outlook import limit_of
from proxy.relay.patience import Patience, client_left
from proxy.relay.reply import Answer
from proxy.relay.upload import Upload
from proxy.routing.hints import metadata_of, trace_id
from proxy.routing.resolve import Choice, by_model

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest, StreamResponse

    from proxy.records.record import Record
    from proxy.relay.decision import Targets
    from proxy.relay.house import House
    from proxy.relay.shared import Shared

_log = logging.getLogger("audiogate")


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
                self._record.replay = self._upload.replay
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
        caller, hints, choice, targets = decide(request, visit, house)
        record.metadata = metadata_of(request.headers)
        if hints.keep_transcript:
            record.transcripts = house.settings.records.transcripts
        if caller.key is not None:
            record.key_name = caller.key.name
            record.metadata = {**caller.key.metadata, **record.metadata}
        record.config = choice.config
        boundary = door.boundary(request, visit.route)
        if targets is not None:
            self._check_length(targets, visit.length)
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
            if targets is None:
                choice, visit = await self._settle(choice, visit, upload)
                targets = targets_for(choice, hints, caller, visit, house)
            else:
                await upload.until(lambda: upload.received > 0)  # the first bytes may already show a wrong file
            attempts = Attempts(
                self._shared, house, self.patience, request, record, answer, caller, visit, upload, targets
            )
            return await attempts.run()
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
            if self._shared.sampler is not None:
                record.trace = self._shared.sampler.begin(parent_in(self._request.headers), record.trace_id)

    def _check_length(self, targets: Targets, length: int | None) -> None:
        """Refuse an upload whose announced length is more than any of its targets takes."""
        most = max(limit_of(each.provider.max_upload_bytes, self._house) for each in targets.prepared.values())
        if length is not None and length > most:
            raise GatewayError(
                "upload_too_large",
                f"Maximum content size limit ({most}) exceeded ({length} bytes announced). Compress or split it.",
            )

    def _continue(self) -> None:
        """Ask a client that waits for it to send the body; until here it was refused without having sent one."""
        request = self._request
        if "Expect" in request.headers and request.version >= HttpVersion11 and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _settle(self, choice: Choice, visit: door.Visit, upload: Upload) -> tuple[Choice, door.Visit]:
        """Complete a choice by ``@slug/model``: in the form, else in the query, else in a JSON body."""
        upload.note_keeping()
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

    # When it does not work out

    async def _fail(self, error: GatewayError) -> StreamResponse:
        """Answer with ``error`` while that can be done, else cut the connection."""
        self._note(error)
        answer, request = self._answer, self._request
        if self._upload is not None:
            await settled(self._upload)
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


def _query_model(query: str) -> str | None:
    return next((value for name, value in parse_qsl(query) if name == "model"), None)


def _with_model(query: str, model: str) -> str:
    return with_parameter(query, "model", quote(model, safe=""))


def _read(request: BaseRequest) -> bool:
    return request.content.is_eof()
