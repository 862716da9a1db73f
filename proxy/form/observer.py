"""Watches a form as it passes: its fields, and what its file says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from proxy.audio.meter import Meter
from proxy.errors import GatewayError
from proxy.form.part import PartHead, decoded
from proxy.form.scanner import FormEnded, FormLimits, PartEnded, PartStarted, Payload, Scanner

FILE_FIELD: Final = "file"
_ONCE: Final = (FILE_FIELD, "model")  # a second one, and the upstream may act on another than we did


@dataclass(slots=True)
class FilePart:
    """The audio: what its bytes show so far, and which part of the form it is (the first is 0)."""

    filename: str | None
    content_type: str | None
    index: int
    audio: Meter = field(default_factory=Meter)
    complete: bool = False


class FormObserver:
    """Push parser: ``feed`` it the body, ``finish`` it at the body's end, read what is known at any time.

    ``fields`` holds the text fields that are complete, in the form's order, each with all its values. The
    part named ``file`` is the audio, with or without a file name (some providers take an address there);
    other parts with a file name are counted in ``extra_files`` and not kept. ``ended`` says that the closing
    delimiter was seen.

    After :class:`GatewayError` (``invalid_multipart``, ``duplicate_field``, ``field_too_large``,
    ``truncated_upload``) the observer keeps what it knew and must not be fed again.
    """

    def __init__(self, boundary: bytes, limits: FormLimits | None = None) -> None:
        self.fields: dict[str, list[str]] = {}
        self.file: FilePart | None = None
        self.extra_files = 0
        self.ended = False
        self._limits = limits or FormLimits()
        self._scanner = Scanner(boundary, self._limits)
        self._names: list[str] = []
        self._file: FilePart | None = None  # the file, while its part is open
        self._value: bytearray | None = None  # the value so far, while a text field's part is open
        self._fields_bytes = 0
        self._failed = False

    def __repr__(self) -> str:
        return f"<FormObserver fields={list(self.fields)} file={self.file is not None} ended={self.ended}>"

    @property
    def file_started(self) -> bool:
        """Whether the headers of the file part have been seen."""
        return self.file is not None

    def first(self, name: str) -> str | None:
        """Return the first value of a text field, or None when none is complete yet."""
        values = self.fields.get(name)
        return values[0] if values else None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body, cut anywhere."""
        if self._failed:
            raise RuntimeError("the form has failed already")
        try:
            for event in self._scanner.feed(chunk):
                if isinstance(event, Payload):
                    self._take(event.raw)
                elif isinstance(event, PartStarted):
                    self._start(event.head)
                elif isinstance(event, PartEnded):
                    self._end()
                elif isinstance(event, FormEnded):
                    self.ended = True
        except GatewayError:
            self._failed = True
            raise

    def finish(self) -> None:
        """Take note that the body has ended; raises ``truncated_upload`` when the form has not."""
        self._scanner.finish()

    def _start(self, head: PartHead) -> None:
        if head.name in _ONCE and head.name in self._names:
            raise GatewayError(
                "duplicate_field",
                f"The form has '{head.name}' more than once. Send it once.",
                param=head.name,
            )
        self._names.append(head.name)
        if head.name == FILE_FIELD:
            self._file = self.file = FilePart(head.filename, head.content_type, len(self._names) - 1)
        elif head.filename is not None:
            self.extra_files += 1
        else:
            self._value = bytearray()

    def _take(self, payload: bytes) -> None:
        if self._file is not None:
            self._file.audio.feed(payload)
        elif self._value is not None:
            self._value += payload
            self._fields_bytes += len(payload)
            name = self._names[-1]
            if len(self._value) > self._limits.max_field_bytes:
                raise _too_large(name, f"is larger than {self._limits.max_field_bytes} bytes")
            if self._fields_bytes > self._limits.max_fields_bytes:
                raise _too_large(name, f"brings the fields to more than {self._limits.max_fields_bytes} bytes")

    def _end(self) -> None:
        if self._file is not None:
            self._file.audio.end()
            self._file.complete = True
        elif self._value is not None:
            self.fields.setdefault(self._names[-1], []).append(decoded(bytes(self._value)))
        self._file = self._value = None


def check_complete(form: FormObserver, *, model_required: bool) -> None:
    """Refuse a form that has ended without what every transcription needs.

    Raises :class:`GatewayError` ``missing_file`` (none, or an empty one) or ``missing_model``.
    """
    if form.file is None:
        raise GatewayError("missing_file", "The form has no 'file'. Send the audio as the field 'file'.", param="file")
    if form.file.audio.size == 0:
        raise GatewayError("missing_file", "The 'file' is empty. Check that the recording was saved.", param="file")
    if model_required and not form.first("model"):
        raise GatewayError(
            "missing_model",
            "The form has no 'model'. Name one in the field 'model', such as whisper-1.",
            param="model",
        )


def _too_large(name: str, what: str) -> GatewayError:
    return GatewayError(
        "field_too_large",
        f"The field '{name[:64]}' {what}. Shorten it, or send audio as 'file'.",
        param=name[:64],
    )
