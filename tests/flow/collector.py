"""A collector of spans on a real socket: it reads what OTLP/HTTP sends with OpenTelemetry's own messages."""

from __future__ import annotations

import gzip
import threading
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping

    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message

WAIT = 8.0  # seconds before a test gives up on a span


@dataclass(frozen=True)
class Span:
    """A span as it came: ids in hex, attributes as plain values, times in nanoseconds since the epoch."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start: int
    end: int
    flags: int
    state: str
    attributes: Mapping[str, Any]
    events: Mapping[str, int]
    failed: bool
    resource: Mapping[str, Any]


@dataclass(frozen=True)
class Export:
    """One request to the collector. ``headers`` have names in lower case."""

    path: str
    headers: Mapping[str, str]
    spans: tuple[Span, ...]


def read(body: bytes) -> tuple[Span, ...]:
    """Return the spans of an ExportTraceServiceRequest."""
    message = ExportTraceServiceRequest.FromString(body)
    return tuple(
        _span(span, plain(group.resource.attributes))
        for group in message.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    )


def plain(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    """Return attributes as plain values; each name comes once."""
    pairs = [(pair.key, getattr(pair.value, pair.value.WhichOneof("value") or "string_value")) for pair in attributes]
    assert len(dict(pairs)) == len(pairs), "an attribute came twice"
    return dict(pairs)


def _span(span: Message, resource: Mapping[str, Any]) -> Span:
    return Span(
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.name,
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.flags,
        span.trace_state,
        plain(span.attributes),
        {event.name: event.time_unix_nano for event in span.events},
        span.status.code == span.status.STATUS_CODE_ERROR,
        resource,
    )


class Collector:
    """A running collector. It answers 200 to all that :meth:`answer` has not said something else about.

    ``tls`` is what it shows and whom it trusts.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._exports: list[Export] = []
        self._bodies: list[bytes] = []
        self._answers: deque[tuple[int, dict[str, str], bytes]] = deque()
        self._changed = threading.Condition()
        self._may_answer = threading.Event()
        self._may_answer.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._scheme = "http" if tls is None else "https"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._may_answer.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """What ``OTEL_EXPORTER_OTLP_ENDPOINT`` names."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def answer(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        """Answer so, once, instead of 200."""
        self._answers.append((status, dict(headers or {}), body))

    def hang(self) -> None:
        """Answer nothing until the test has ended."""
        self._may_answer.clear()

    def exports(self) -> list[Export]:
        """Return every request so far, also those that were not answered well."""
        with self._changed:
            return list(self._exports)

    def wait_exports(self, count: int) -> list[Export]:
        """Wait for so many requests."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._exports) >= count, WAIT), f"only {len(self._exports)} came"
            return list(self._exports)

    def spans(self, trace_id: str | None = None) -> list[Span]:
        """Return every span so far, the request's of a trace first."""
        found = [span for export in self.exports() for span in export.spans if trace_id in {None, span.trace_id}]
        return sorted(found, key=lambda span: (span.start, span.kind))

    def wait_spans(self, count: int, trace_id: str | None = None) -> list[Span]:
        """Wait for so many spans, of one trace or of all."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.spans(trace_id)) >= count, WAIT), self.spans(trace_id)
        found = self.spans(trace_id)
        assert len(found) == count, found
        return found

    def raw(self) -> bytes:
        """Return all bytes that came, decompressed."""
        with self._changed:
            return b"".join(self._bodies)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers["Content-Encoding"] == "gzip":
                    body = gzip.decompress(body)
                collector._take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                collector._may_answer.wait()
                status, headers, answer = collector._answers.popleft() if collector._answers else (200, {}, b"")
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (http.server's name)
                pass

        return Handler

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        with self._changed:
            self._bodies.append(body)
            self._exports.append(Export(path, headers, read(body)))
            self._changed.notify_all()
