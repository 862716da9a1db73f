"""A refusal reaches openai-python's users as the exception they know, with words that help, and only once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import openai
import pytest
from openai import OpenAI

from tests.flow.scripts import READ_ALL, error, hold, send
from tests.flow.stage import CALLER_KEY
from tests.sdks.ways import GATEWAY_KEY, LOCKED_KEY, PLACEHOLDER, WAYS, Way, openai_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.flow.stage import Stage

pytestmark = pytest.mark.xdist_group("sdks")

Refusal = tuple[Way, type[openai.APIStatusError], str, str | None, str]

NAMED = {"x-portkey-provider": "up"}

REFUSALS: dict[str, Refusal] = {
    "no provider": (Way(), openai.BadRequestError, "missing_provider", None, "x-portkey-provider"),
    "no key": (Way(NAMED), openai.AuthenticationError, "missing_provider_key", None, "Authorization: Bearer"),
    "an unknown provider": (
        Way({"x-portkey-provider": "nobody"}, bearer=CALLER_KEY),
        openai.BadRequestError,
        "invalid_provider",
        "provider",
        "nobody",
    ),
    "a config that is no JSON": (
        Way({"x-portkey-config": "{"}),
        openai.BadRequestError,
        "invalid_config",
        "x-portkey-config",
        "JSON",
    ),
    "an unknown config": (
        Way({"x-portkey-config": "pc-lost"}),
        openai.BadRequestError,
        "unknown_config",
        "x-portkey-config",
        "pc-lost",
    ),
    "a host that nobody allowed": (
        Way(NAMED | {"x-portkey-custom-host": "https://stt.example.com/v1"}, bearer=CALLER_KEY),
        openai.PermissionDeniedError,
        "not_allowed",
        "x-portkey-custom-host",
        "custom_hosts.allow",
    ),
}


def transcribe(client: OpenAI, file: Any) -> Any:
    return client.audio.transcriptions.create(file=file, model="whisper-1")


@pytest.mark.parametrize(("way", "kind", "code", "param", "words"), REFUSALS.values(), ids=REFUSALS)
def test_what_the_gateway_refuses_is_the_exception_of_its_status(
    stage: Stage,
    connect: Callable[..., OpenAI],
    recording: Path,
    way: Way,
    kind: type[openai.APIStatusError],
    code: str,
    param: str | None,
    words: str,
) -> None:
    with pytest.raises(kind, match="(?s)" + words) as caught:
        transcribe(connect(way), recording)
    assert caught.value.code == code
    assert caught.value.param == param
    assert caught.value.response.headers["x-portkey-gateway-exception"] == "true"
    assert stage.record()["error_code"] == code  # one record: the SDK did not try again
    stage.unseen()


@pytest.mark.parametrize(
    ("way", "kind", "code"),
    [
        (Way(bearer="sk-flow-nobody"), openai.AuthenticationError, "invalid_api_key"),
        (Way(bearer=PLACEHOLDER), openai.AuthenticationError, "missing_api_key"),
        (Way(NAMED, bearer=GATEWAY_KEY), openai.AuthenticationError, "missing_provider_key"),
        (Way(NAMED, bearer=LOCKED_KEY), openai.PermissionDeniedError, "not_allowed"),
    ],
    ids=["unknown key", "no key", "a gateway key is no provider key", "a key that is held to its config"],
)
def test_a_gateway_that_asks_for_a_key_says_what_is_wrong_with_it(
    keyed: Stage, recording: Path, way: Way, kind: type[openai.APIStatusError], code: str
) -> None:
    with OpenAI(**openai_options(keyed, way)) as client, pytest.raises(kind) as caught:
        transcribe(client, recording)
    assert caught.value.code == code
    assert way.bearer not in str(caught.value)
    assert keyed.record()["error_code"] == code
    keyed.unseen()


def test_a_file_that_is_no_audio_is_refused_in_openais_words(stage: Stage, client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"Supported formats: .*'flac'") as caught:
        transcribe(client, ("notes.pdf", b"%PDF-1.7\n" + bytes(2000)))
    assert (caught.value.code, caught.value.param) == ("unsupported_format", "file")
    assert stage.record()["error_code"] == "unsupported_format"
    stage.uncommitted()


def test_an_empty_file_is_a_missing_one(stage: Stage, client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        transcribe(client, ("empty.wav", b""))
    assert (caught.value.code, caught.value.param) == ("missing_file", "file")
    stage.uncommitted()


def test_a_path_that_does_not_exist_is_not_found(stage: Stage) -> None:
    options = openai_options(stage, WAYS["virtual key"])
    options["base_url"] = options["base_url"].removesuffix("/v1") + "/v2"
    with OpenAI(**options) as client, pytest.raises(openai.NotFoundError) as caught:
        client.models.list()
    assert caught.value.code == "unknown_route"


def test_an_upload_that_is_too_large_is_refused_before_it_is_sent(stage: Stage, client: OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        transcribe(client, ("long.wav", bytes(27_000_000)))
    assert (caught.value.status_code, caught.value.code) == (413, "upload_too_large")
    stage.unseen()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_what_the_upstream_refuses_is_its_own_error(
    stage: Stage,
    connect: Callable[..., OpenAI],
    recording: Path,
    status: int,
    kind: type[openai.APIStatusError],
) -> None:
    stage.script(READ_ALL, send(error(status, "its_own_code")))
    with pytest.raises(kind, match="the upstream says no") as caught:
        transcribe(connect(max_retries=0), recording)
    assert caught.value.code == "its_own_code"
    assert stage.record()["outcome"] == "upstream_error"


def test_a_time_limit_of_the_callers_own_ends_the_request_once(
    stage: Stage, connect: Callable[..., OpenAI], recording: Path
) -> None:
    """A 408 makes the SDK send again, and pay again, unless it is told not to."""
    stage.script(READ_ALL, hold("never"))
    way = Way(NAMED | {"x-portkey-request-timeout": "200"}, bearer=CALLER_KEY)
    with pytest.raises(openai.APIStatusError, match=r"200 ?ms") as caught:
        transcribe(connect(way), recording)
    assert (caught.value.status_code, caught.value.code) == (408, "request_timeout")
    assert stage.upstream.requests(stage.token) <= 1  # none, when the machine was too busy to get there in time
    assert stage.record()["status"] == 408


def test_an_upstream_that_nobody_reaches_is_the_gateways_502(
    stage: Stage, connect: Callable[..., OpenAI], recording: Path
) -> None:
    way = Way({"x-portkey-provider": "dead"}, bearer=CALLER_KEY)
    with pytest.raises(openai.InternalServerError) as caught:
        transcribe(connect(way, max_retries=0), recording)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_unreachable")
    assert "127.0.0.1" not in json.dumps(caught.value.body)
    assert stage.record()["outcome"] == "upstream_error"
