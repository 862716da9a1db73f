"""Re-emits a form with a few fields changed, everything else byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multipart import content_disposition_quote

from proxy.errors import GatewayError
from proxy.form.observer import FILE_FIELD
from proxy.form.scanner import FormEnded, FormLimits, PartEnded, PartStarted, Scanner

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.form.edits import Edits


class Rewriter:
    """Applies ``edits`` to one body, for one attempt: the client's chunks in, buffers to write out.

    The new fields stand before all of the client's parts; the client's own copies are left out wherever they
    are; order, repeats, part headers and payloads of all others stay as they came. Payload crosses without a
    copy, but for a chunk whose end could have been a delimiter.

    ``promised`` says that :func:`plan_length` has given a length, which ties the form after the file to what
    it is: an edited field that comes there all the same ends the attempt with ``duplicate_field``.
    """

    def __init__(
        self, boundary: bytes, edits: Edits, limits: FormLimits | None = None, *, promised: bool = False
    ) -> None:
        if FILE_FIELD in edits.names:
            raise ValueError("the file part cannot be edited")
        self._scanner = Scanner(boundary, limits or FormLimits())
        self._names = edits.names
        self._promised = promised
        self._added = _added(boundary, edits)
        self._file_seen = False
        self._dropping = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return what ``chunk`` lets go out; empty while nothing does. Raises as :class:`Scanner` does."""
        out: list[bytes] = []
        for event in self._scanner.feed(chunk):
            match event:
                case PartStarted(_, head):
                    self._start(head.name)
                    self._add(out)
                case FormEnded():
                    self._add(out)
            if not self._dropping:
                out.append(event.raw)
            if isinstance(event, PartEnded):
                self._dropping = False
        return out

    def finish(self) -> list[bytes]:
        """Return what is left when the body has ended: nothing, by then. Raises ``truncated_upload``."""
        self._scanner.finish()
        return []

    def _start(self, name: str) -> None:
        self._dropping = name in self._names
        if self._dropping and self._file_seen and self._promised:
            raise GatewayError(
                "duplicate_field",
                f"The form has '{name[:64]}' before and after the file, and this route sets it itself. "
                "Send it once, before the file.",
                param=name[:64],
            )
        self._file_seen = self._file_seen or name == FILE_FIELD

    def _add(self, out: list[bytes]) -> None:
        if self._added:
            out.append(self._added)
            self._added = b""


def plan_length(
    prelude: bytes,
    boundary: bytes,
    edits: Edits,
    content_length: int | None,
    limits: FormLimits | None = None,
) -> int | None:
    """Return the rewritten body's Content-Length when it can be promised before the file has passed.

    ``prelude`` is the client's body from its first byte, past the file part's headers; ``content_length`` the
    client's own. A promise needs every edited name to have been seen before the file (``name`` or
    ``name[]``): fields that come once are then not expected after it. With a promise, make the
    :class:`Rewriter` ``promised``; with None, send the body chunked.
    """
    if content_length is None:
        return None
    length = content_length + len(_added(boundary, edits))
    seen: set[str] = set()
    dropping = False
    for event in Scanner(boundary, limits or FormLimits()).feed(prelude):
        if isinstance(event, PartStarted):
            name = event.head.name
            if name == FILE_FIELD:
                return length if {edited.removesuffix("[]") for edited in edits.names} <= seen else None
            seen.add(name.removesuffix("[]"))
            dropping = name in edits.names
        if dropping:
            length -= len(event.raw)
    return None


def rewritten_length(chunks: Iterable[bytes], boundary: bytes, edits: Edits, limits: FormLimits | None = None) -> int:
    """Return the exact length of the rewritten body, given all of the client's; raises as ``feed`` does."""
    rewriter = Rewriter(boundary, edits, limits)
    total = sum(len(buffer) for chunk in chunks for buffer in rewriter.feed(chunk))
    return total + sum(map(len, rewriter.finish()))


def _added(boundary: bytes, edits: Edits) -> bytes:
    """Return the parts that ``edits`` add, ready to stand before the first delimiter."""
    return b"".join(_field(boundary, name, value) for name, values in edits.replace.items() for value in values)


def _field(boundary: bytes, name: str, value: str) -> bytes:
    """Return one text part, its name quoted as browsers do (WHATWG HTML, "Multipart form data")."""
    payload = value.encode("utf-8")
    if b"\r\n--" + boundary in b"\r\n" + payload:
        raise GatewayError(
            "invalid_request",
            f"The value that this route sets for '{name[:64]}' contains the form's boundary. Choose another.",
            param=name[:64],
        )
    header = f"Content-Disposition: form-data; name={content_disposition_quote(name)}\r\n\r\n"
    return b"".join((b"--", boundary, b"\r\n", header.encode("utf-8"), payload, b"\r\n"))
