"""A request's form is read within its limits, however it is cut, and its fields are checked by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.engines.errors import EngineError
from proxy.engines.form import Options, parse_options, read_upload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import ClientSession

BODY = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n\x00\r\n--y\xff\r\n'
    b'--x\r\nContent-Disposition: form-data; name="include[]"\r\n\r\nlogprobs\r\n'
    b'--x\r\nContent-Disposition: form-data; name="include[]"\r\n\r\n\xc3\xa9\r\n--x--\r\n'
)
FORM = "multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({}, Options("json", ("segment",), stream=False)),
        (
            {"model": ["anything"], "prompt": ["x"], "seed": ["x"]},
            Options("json", ("segment",), stream=False),
        ),
        ({"response_format": ["vtt"], "language": ["en"]}, Options("vtt", ("segment",), stream=False)),
        ({"language": [""], "stream": ["True"]}, Options("json", ("segment",), stream=True)),
        (
            {"timestamp_granularities[]": ["word", "segment"]},
            Options("json", ("word", "segment"), stream=False),
        ),
        ({"timestamp_granularities": ["word"]}, Options("json", ("word",), stream=False)),
    ],
)
def test_options_are_read_from_openais_fields(fields: dict[str, list[str]], options: Options) -> None:
    assert parse_options(fields) == options


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"language": ["de"]}, "language", "must be 'en', not 'de'"),
        ({"response_format": ["diarized_json"]}, "response_format", "Supported values are: 'json', 'text'"),
        ({"timestamp_granularities[]": ["phone"]}, "timestamp_granularities[]", "Invalid value: 'phone'"),
        ({"stream": ["maybe"]}, "stream", "Invalid value: 'maybe'"),
    ],
)
def test_a_field_with_a_wrong_value_is_named(fields: dict[str, list[str]], param: str, message: str) -> None:
    with pytest.raises(EngineError, match=message) as caught:
        parse_options(fields)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, "invalid_value")


@pytest.fixture
async def post(session: ClientSession) -> Callable[..., Awaitable[str]]:
    """Post a body to a server that reads a form of at most 1000 bytes and says what it read."""

    async def read(request: web.Request) -> web.Response:
        try:
            upload = await read_upload(request, max_bytes=1000)
        except EngineError as error:
            return web.Response(text=f"{error.status} {error.message}")
        return web.Response(text=f"{dict(upload.fields)} {upload.audio!r}")

    async def send(body: object, content_type: str = FORM) -> str:
        app = web.Application()
        app.router.add_post("/", read)
        async with (
            TestServer(app) as server,
            session.post(server.make_url("/"), data=body, headers={"Content-Type": content_type}) as reply,
        ):
            return await reply.text()

    return send


async def test_a_form_may_arrive_cut_anywhere(post: Callable[..., Awaitable[str]]) -> None:
    async def one_byte_at_a_time() -> object:
        for position in range(len(BODY)):
            yield BODY[position : position + 1]

    expected = "{'include[]': ['logprobs', 'é']} b'\\x00\\r\\n--y\\xff'"
    assert await post(BODY) == expected
    assert await post(one_byte_at_a_time()) == expected


@pytest.mark.parametrize(
    ("body", "content_type", "answer"),
    [
        (b"{}", "application/json", "400 The body must be multipart/form-data"),
        (BODY, "multipart/form-data", "400 The body could not be parsed"),
        (BODY[:-10], FORM, "400 The body could not be parsed"),
        (b"", FORM, "400 The body could not be parsed"),
        (b"--x\r\nnot a header\r\n\r\n", FORM, "400 The body could not be parsed"),
        (BODY, "multipart/mixed; boundary=x", "400 The body must be multipart/form-data"),
        (b"--x\r\nA: b\r\n\r\n\r\n--x--\r\n", FORM, "400 The body could not be parsed"),
        (BODY[:-7] + BODY[-7:-6] * 2000, FORM, "413 Maximum content size limit (1000) exceeded"),
    ],
)
async def test_a_body_that_is_not_a_small_form_is_refused(
    post: Callable[..., Awaitable[str]], body: bytes, content_type: str, answer: str
) -> None:
    assert (await post(body, content_type)).startswith(answer)


async def test_a_form_has_a_limit_of_parts_and_of_bytes_per_field(
    post: Callable[..., Awaitable[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.engines.form._MAX_FIELD_BYTES", 8)
    assert (await post(BODY)).startswith("{'include[]': ['logprobs', 'é']}")
    monkeypatch.setattr("proxy.engines.form._MAX_PARTS", 2)
    assert (await post(BODY)).startswith("400 The body could not be parsed")
    monkeypatch.setattr("proxy.engines.form._MAX_FIELD_BYTES", 7)
    assert await post(BODY) == "400 The field 'include[]' is longer than 7 bytes."


async def test_a_body_of_unknown_length_is_refused_when_it_passes_the_limit(
    post: Callable[..., Awaitable[str]],
) -> None:
    async def endless_file() -> object:
        yield BODY[:80]
        for _ in range(50):
            yield bytes(100)

    assert (await post(endless_file())).startswith("413 Maximum content size limit (1000) exceeded")
