"""Sends one attempt: asks the provider what to send, chooses the body plan, and waits for the reply's head."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from proxy.form.boundary import boundary_of
from proxy.form.rewriter import Rewriter, plan_length, rewritten_length
from proxy.headers import to_upstream
from proxy.providers.base import Asked, FieldNeeded, Route
from proxy.relay.jsonbody import MAX_JSON, changed, is_json, parsed
from proxy.relay.outgoing import Outgoing
from proxy.relay.patience import Phase

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientResponse
    from aiohttp.web import BaseRequest

    from proxy.access.callers import Caller
    from proxy.providers.base import Outbound
    from proxy.providers.provider import Provider
    from proxy.records.record import Attempt, Record
    from proxy.relay.decision import Prepared
    from proxy.relay.door import Visit
    from proxy.relay.house import House
    from proxy.relay.patience import Patience
    from proxy.relay.tokens import Tokens
    from proxy.relay.upload import Upload
    from proxy.relay.upstream import Upstreams
    from proxy.routing.target import Target

_IN_ONE_PIECE: Final = 131_072  # bytes: what is here whole by then goes out in one write, of known length


class Sender:
    """Makes attempts of one request, one after the other; ``attempt`` is the present one, once it has been sent.

    ``secrets`` are what no error body may show this caller.
    """

    def __init__(
        self,
        tokens: Tokens,
        upstreams: Upstreams,
        house: House,
        patience: Patience,
        request: BaseRequest,
        record: Record,
        caller: Caller,
    ) -> None:
        self.secrets = house.secrets
        self.attempt: Attempt | None = None
        self.copy = False
        self._tokens = tokens
        self._upstreams = upstreams
        self._house = house
        self._patience = patience
        self._request = request
        self._record = record
        self._caller = caller

    def sibling(self, patience: Patience, *, copy: bool) -> Sender:
        """Return another sender for the same request; ``copy``: what it sends, somebody else has been sent, too."""
        sender = Sender(self._tokens, self._upstreams, self._house, patience, self._request, self._record, self._caller)
        sender.copy = copy
        return sender

    async def prepare(self, prepared: Prepared, visit: Visit, upload: Upload) -> Outbound:
        """Return the provider's request; the upload is read on as long as a field is needed and may still come."""
        if visit.route is Route.SPEECH:
            await upload.whole(MAX_JSON)
        elif prepared.outbound is not None:
            return prepared.outbound
        while True:
            try:
                return prepared.provider.prepare(prepared.target, self._asked(visit, upload))
            except FieldNeeded as needed:
                upload.note_keeping()
                name, form = needed.name, upload.form
                if form is None:
                    await upload.whole(MAX_JSON)
                else:
                    await upload.until(lambda: form.first(name) is not None)  # noqa: B023  (awaited here)

    async def send(
        self, outbound: Outbound, provider: Provider, target: Target, visit: Visit, upload: Upload, *, keep: bool
    ) -> tuple[ClientResponse, Outgoing | None]:
        """Send one attempt; return the reply, its head read, and the upload that may still be going on.

        ``keep``: another attempt may need the upload again.
        """
        record, request = self._record, self._request
        override = target.override_params.get("model")
        record.model_used = override if isinstance(override, str) else None
        attempt = self.attempt = record.attempt(
            target.path, provider.slug, record.model_used, asyncio.get_running_loop().time()
        )
        attempt.hedged = self.copy
        own = dict(outbound.headers)
        if outbound.token is not None:
            token = await self._tokens.bearer(outbound.token, self._upstreams.session)
            own["Authorization"] = f"Bearer {token}"
            self.secrets = (token, *self._house.secrets)
        headers = to_upstream(
            request.headers,
            own,
            forward=target.forward_headers,
            own_credential=provider.has_credential(target),
            gateway_key=self._caller.secret,
            identity=visit.route is not Route.PASSTHROUGH,
        )
        if record.trace is not None and attempt.span_id is not None:
            record.trace.pass_on(headers, attempt.span_id)
        attempt.replayed = bool(self._record.attempts[:-1]) and upload.received > 0
        if keep and upload.received:
            upload.note_keeping()
        body = await self._body(outbound, provider, upload, attempt, keep=keep)
        length = len(body) if isinstance(body, bytes) else body.length if body is not None else None
        if length is not None:
            headers["Content-Length"] = str(length)
        if not isinstance(body, Outgoing):
            attempt.first_sent = attempt.upload_done = asyncio.get_running_loop().time()
            attempt.sent_bytes = length or 0
            self._patience.enter(Phase.FIRST_BYTE)
        upstream = await self._upstreams.send(
            request.method,
            outbound.url,
            headers,
            body.chunks() if isinstance(body, Outgoing) else body,
            connect=self._house.settings.timeouts.connect,
            named_by_request=target.named_by == "request",
            opened=attempt.opened,
            tls=self._house.tls.upstreams.get(provider.slug),
        )
        attempt.head_at = asyncio.get_running_loop().time()
        attempt.status = upstream.status
        return upstream, body if isinstance(body, Outgoing) else None

    def _asked(self, visit: Visit, upload: Upload) -> Asked:
        form = upload.form
        if form is not None:
            fields = {name: values[0] for name, values in form.fields.items()}
            return Asked(visit.route, visit.path, visit.query, fields, complete=upload.ended)
        if not is_json(self._request):
            return Asked(visit.route, visit.path, visit.query, complete=True)
        if not upload.ended:
            return Asked(visit.route, visit.path, visit.query)
        body = parsed(b"".join(upload.kept()), lenient=visit.route is Route.PASSTHROUGH)
        fields = {name: value for name, value in body.items() if isinstance(value, str)}
        self._record.model_requested = fields.get("model")
        if visit.route is Route.SPEECH:
            self._record.response_format = fields.get("response_format")
            self._record.stream = fields.get("stream_format") == "sse"
            self._record.characters = len(fields["input"]) if "input" in fields else None
        return Asked(visit.route, visit.path, visit.query, fields, complete=True)

    async def _body(
        self, outbound: Outbound, provider: Provider, upload: Upload, attempt: Attempt, *, keep: bool
    ) -> Outgoing | bytes | None:
        """Return the body plan: none, JSON in one piece, the client's bytes, or those rewritten."""
        form = upload.form
        if form is None and is_json(self._request) and (outbound.params or upload.ended):
            return changed(await upload.whole(MAX_JSON), outbound.params)
        if form is None and upload.ended and not upload.received:
            return None
        limits = self._house.form_limits
        boundary = upload.boundary
        if boundary is not None and upload.committed and upload.length is not None and upload.length <= _IN_ONE_PIECE:
            body = b"".join(upload.kept())
            return b"".join(Rewriter(boundary, outbound.edits, limits).feed(body)) if outbound.edits else body
        if form is None and outbound.edits and self._request.content_type == "multipart/form-data":
            boundary = boundary_of(self._request.headers.get("Content-Type"))
        if boundary is None or not outbound.edits:
            if upload.length is None and provider.needs_content_length:
                await self._read_to_end(upload)
            length = upload.received if upload.ended and provider.needs_content_length else upload.length
            return Outgoing(upload, attempt, self._patience, length=length, rewriter=None, keep=keep)
        length = None
        if form is not None and upload.length is not None:
            await upload.until(lambda: form.file_started)
            length = plan_length(upload.kept_head(), boundary, outbound.edits, upload.length, limits)
        promised = length is not None
        if length is None and provider.needs_content_length:
            await self._read_to_end(upload)
            length = rewritten_length(upload.kept(), boundary, outbound.edits, limits)
        rewriter = Rewriter(boundary, outbound.edits, limits, promised=promised)
        return Outgoing(upload, attempt, self._patience, length=length, rewriter=rewriter, keep=keep)

    async def _read_to_end(self, upload: Upload) -> None:
        """Keep the whole upload first, for an upstream that wants its length; it is checked before a byte goes out."""
        upload.note_keeping()
        await upload.until(lambda: False)
        upload.commit()
