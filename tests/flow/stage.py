"""One test's place: its own token, which is its trace id, its script's name and its key in every log."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.flow.client import Connection, Headers, Reply
from tests.flow.forms import CLOSING, CONTENT_TYPE, usual

if TYPE_CHECKING:
    from tests.flow.driver import Seen, Upstream
    from tests.flow.gateway import Gateway
    from tests.flow.scripts import Step

TRANSCRIPTIONS = "/v1/audio/transcriptions"
TRANSLATIONS = "/v1/audio/translations"
CALLER_KEY = "sk-flow-caller"


@dataclass
class Stage:
    """A gateway, an upstream and a token that ties a test's requests to its scripts and records."""

    gateway: Gateway
    upstream: Upstream
    token: str = field(default_factory=lambda: f"t-{uuid.uuid4().hex}")
    provider: str | None = "up"
    caller_key: str = CALLER_KEY

    def script(self, *steps: Step) -> None:
        """Queue what the upstream does with the next request."""
        self.upstream.play(self.token, *steps)

    def release(self, gate: str = "gate") -> None:
        """Let the upstream go on."""
        self.upstream.release(self.token, gate)

    def seen(self, what: str = "complete", value: Any = None, *, index: int = 0) -> Seen:
        """Wait for what the upstream saw of a request."""
        return self.upstream.wait(self.token, what, value, index=index)

    def unseen(self) -> None:
        """Check that nothing of this test ever reached the upstream."""
        assert self.upstream.requests(self.token) == 0

    def uncommitted(self) -> None:
        """Check that the upstream never got a whole request: nothing could be billed."""
        for index in range(self.upstream.requests(self.token)):
            seen = self.seen("done", index=index)
            assert seen.cut, f"the upstream's request ended well: {seen.complete=}"
            assert not seen.complete
            assert not seen.tail.rstrip(b"\r\n").endswith(CLOSING.strip())

    def record(self) -> dict[str, Any]:
        """The record of this test's only request."""
        return self.records(1)[0]

    def records(self, count: int) -> list[dict[str, Any]]:
        """The records of all of this test's requests."""
        return self.gateway.wait_records(self.token, count)

    def connect(self, **options: Any) -> Connection:
        """Open a connection to the gateway."""
        return Connection(self.gateway.port, **options)

    def headers(self, extra: Headers | None = None, *, without: tuple[str, ...] = ()) -> Headers:
        """Headers of a usual request; ``extra`` replaces those of the same name."""
        usual_ones = [("x-portkey-trace-id", self.token), ("x-script", self.token)]
        usual_ones.append(("Authorization", f"Bearer {self.caller_key}"))
        if self.provider:
            usual_ones.append(("x-portkey-provider", self.provider))
        given = {name.lower() for name, _ in extra or []} | {name.lower() for name in without}
        return [(n, v) for n, v in usual_ones if n.lower() not in given] + (extra or [])

    def begin(
        self,
        connection: Connection,
        length: int | None,
        extra: Headers | None = None,
        *,
        target: str = TRANSCRIPTIONS,
        content_type: str = CONTENT_TYPE,
        without: tuple[str, ...] = (),
    ) -> None:
        """Send the head of an upload: with a Content-Length, or chunked when ``length`` is None."""
        framing = ("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))
        first = [("Content-Type", content_type), framing]
        given = {name.lower() for name, _ in extra or []}
        head = [(n, v) for n, v in first if n.lower() not in given]
        connection.head("POST", target, head + self.headers(extra, without=without))

    def post(
        self,
        body: bytes | None = None,
        extra: Headers | None = None,
        *,
        target: str = TRANSCRIPTIONS,
        content_type: str = CONTENT_TYPE,
        chunked: bool = False,
        without: tuple[str, ...] = (),
    ) -> Reply:
        """Upload a form on a connection of its own and read the reply."""
        body = usual() if body is None else body
        with self.connect() as connection:
            self.begin(
                connection,
                None if chunked else len(body),
                extra,
                target=target,
                content_type=content_type,
                without=without,
            )
            if chunked:
                connection.chunk(body)
                connection.end_chunks()
            else:
                connection.send(body)
            return connection.read_reply()

    def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        extra: Headers | None = None,
        **options: Any,
    ) -> Reply:
        """Send any request on a connection of its own and read the reply."""
        length = [] if body is None else [("Content-Length", str(len(body)))]
        with self.connect() as connection:
            connection.head(method, target, length + self.headers(extra, **options))
            connection.send(body or b"")
            return connection.read_reply(method=method)
