"""Ways for a request to be refused, as data: what is sent, and what INTERFACE section 4 says comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.flow.forms import CONTENT_TYPE, WAV, field, file, form, usual
from tests.flow.stage import TRANSCRIPTIONS

if TYPE_CHECKING:
    from tests.flow.client import Headers, Reply
    from tests.flow.stage import Stage

MODEL = field("model", "whisper-1")
NO_PROVIDER = ("x-portkey-provider",)
NO_KEY = ("Authorization",)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
ADTS = b"\xff\xf1\x50\x80\x2e\x7f\xfc" + bytes(100)
STRICT = [("x-portkey-provider", "strict")]


@dataclass(frozen=True)
class Case:
    """One refusal. ``extra`` replaces or adds headers, ``without`` leaves usual ones out."""

    status: int
    code: str
    extra: Headers | None = None
    body: bytes = usual()
    without: tuple[str, ...] = ()
    method: str = "POST"
    target: str = TRANSCRIPTIONS
    content_type: str = CONTENT_TYPE
    param: str | None = None

    def send(self, stage: Stage) -> Reply:
        """Send the request, whole, on a connection of its own; return the answer."""
        if self.method == "POST":
            options = {"target": self.target, "content_type": self.content_type, "without": self.without}
            return stage.post(self.body, self.extra, **options)  # type: ignore[arg-type]
        return stage.request(self.method, self.target, self.body, self.extra, without=self.without)


def host(value: str) -> Headers:
    return [("x-portkey-custom-host", value)]


def config(text: str) -> Headers:
    return [("x-portkey-config", text)]


# What the headers decide: nothing of the body is read and nothing reaches an upstream.
BY_HEADERS: dict[str, Case] = {
    "config is not JSON": Case(400, "invalid_config", config('{"provider":')),
    "config is a list": Case(400, "invalid_config", config("[]")),
    "config with an unknown strategy": Case(
        400, "invalid_config", config('{"strategy":{"mode":"guess"},"targets":[{"provider":"up"}]}')
    ),
    "config slug unknown": Case(400, "unknown_config", config("nobody")),
    "provider unknown": Case(400, "invalid_provider", [("x-portkey-provider", "nobody")]),
    "provider unknown, in a config": Case(400, "invalid_provider", config('{"provider":"nobody"}')),
    "virtual key unknown": Case(400, "invalid_provider", [("x-portkey-virtual-key", "nobody")], without=NO_PROVIDER),
    "virtual key unknown, by provider": Case(400, "invalid_provider", [("x-portkey-provider", "@nobody")]),
    "custom host is not HTTP": Case(400, "invalid_custom_host", host("ftp://127.0.0.1/v1")),
    "custom host with a password": Case(400, "invalid_custom_host", host("http://u:p@127.0.0.1/v1")),
    "custom host is nonsense": Case(400, "invalid_custom_host", host("what?")),
    "custom host not allowed": Case(403, "not_allowed", host("http://169.254.169.254/v1")),
    "custom host not allowed, by name": Case(403, "not_allowed", host("https://evil.example/v1")),
    "custom host for a virtual key": Case(
        403, "not_allowed", [("x-portkey-provider", "@vk"), *host("http://127.0.0.1:9/v1")]
    ),
    "trace id empty": Case(400, "invalid_header", [("x-portkey-trace-id", "")]),
    "trace id too long": Case(400, "invalid_header", [("x-portkey-trace-id", "t" * 101)]),
    "trace id is not ASCII": Case(400, "invalid_header", [("x-portkey-trace-id", "t\u00e9")]),
    "no provider key": Case(401, "missing_provider_key", without=NO_KEY),
    "empty provider key": Case(401, "missing_provider_key", [("Authorization", "Bearer ")]),
    "placeholder of the Python client": Case(401, "missing_provider_key", [("Authorization", "Bearer OPENAI_API_KEY")]),
    "placeholder of the Node client": Case(401, "missing_provider_key", [("Authorization", "Bearer DUMMY-KEY")]),
    "from a web page": Case(403, "not_allowed", [("Origin", "https://evil.example")]),
    "unknown route": Case(404, "unknown_route", target="/v2/audio/transcriptions"),
    "unknown route, a prefix": Case(404, "unknown_route", target="/v1x"),
    "unknown route, ops": Case(404, "unknown_route", target="/metrics", method="GET"),
    "wrong method": Case(405, "method_not_allowed", method="PUT"),
    "wrong method, speech": Case(405, "method_not_allowed", method="PUT", target="/v1/audio/speech"),
    "too large": Case(413, "upload_too_large", [("x-portkey-provider", "small")], body=usual(WAV + bytes(100_000))),
    "not a form": Case(415, "unsupported_media_type", content_type="application/json", body=b"{}"),
    "a form of another kind": Case(415, "unsupported_media_type", content_type="application/x-www-form-urlencoded"),
    "compressed": Case(415, "unsupported_encoding", [("Content-Encoding", "gzip")]),
    "compressed twice": Case(415, "unsupported_encoding", [("Content-Encoding", "br, gzip")]),
    "no boundary": Case(400, "invalid_multipart", content_type="multipart/form-data"),
    "an empty boundary": Case(400, "invalid_multipart", content_type="multipart/form-data; boundary="),
    "a long boundary": Case(400, "invalid_multipart", content_type=f"multipart/form-data; boundary={'b' * 71}"),
    "unknown expectation": Case(417, "expectation_failed", [("Expect", "200-ok")]),
}

# What only the body shows: the upstream never gets the end of it.
BY_BODY: dict[str, Case] = {
    "no provider, model seen": Case(400, "missing_provider", without=NO_PROVIDER),
    "no provider, no model": Case(400, "missing_provider", without=NO_PROVIDER, body=form(file())),
    "virtual key of the model unknown": Case(
        400, "invalid_provider", body=usual(model="@nobody/whisper-1"), without=NO_PROVIDER
    ),
    "no model": Case(400, "missing_model", body=form(file()), param="model"),
    "no file": Case(400, "missing_file", body=form(MODEL), param="file"),
    "an empty file": Case(400, "missing_file", body=form(MODEL, file(b"")), param="file"),
    "an empty body": Case(400, "truncated_upload", body=b""),
    "model twice": Case(400, "duplicate_field", body=form(MODEL, MODEL, file()), param="model"),
    "file twice": Case(400, "duplicate_field", body=form(MODEL, file(), file()), param="file"),
    "a long field": Case(
        400, "field_too_large", body=form(MODEL, field("prompt", "x" * 11_000), file()), param="prompt"
    ),
    "no closing delimiter": Case(400, "truncated_upload", body=usual()[:-8]),
    "no form in it": Case(400, "invalid_multipart", body=b"x" * 5000),
    "a picture": Case(400, "unsupported_format", STRICT, form(MODEL, file(PNG)), param="file"),
    "an ADTS stream": Case(400, "unsupported_format", STRICT, form(file(ADTS), MODEL), param="file"),
    "a text": Case(400, "unsupported_format", STRICT, form(MODEL, file(b"This is a text, not a sound.")), param="file"),
    "an archive": Case(400, "unsupported_format", STRICT, form(MODEL, file(b"PK\x03\x04" + bytes(99))), param="file"),
    "another container": Case(400, "unsupported_format", STRICT, form(MODEL, file(b"OggS" + bytes(99))), param="file"),
}
