"""Client-credentials grants against a real authority on a socket: fetched once, renewed in time, refused in words."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.errors import GatewayError
from proxy.providers.base import TokenRequest
from proxy.relay import tokens as module
from proxy.relay.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Authority:
    """Answers with ``status`` and ``body``, counts, and holds answers back while ``held`` is set."""

    def __init__(self) -> None:
        self.status = 200
        self.body: Any = None
        self.lifetime: Any = 3600
        self.asked: list[dict[str, str]] = []
        self.arrived = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        app = web.Application()
        app.router.add_post("/token", self._answer)
        self.server = TestServer(app)

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append({name: str(value) for name, value in (await request.post()).items()})
        self.arrived.set()
        await self.open.wait()
        body = self.body or {"access_token": f"t{len(self.asked)}", "expires_in": self.lifetime}
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=self.status, text=text, headers={"Location": "/elsewhere"})

    @property
    def grant(self) -> TokenRequest:
        return TokenRequest(str(self.server.make_url("/token")), "id", "s3cret", "scope/.default")


@pytest.fixture
async def authority() -> AsyncIterator[Authority]:
    made = Authority()
    async with made.server:
        yield made


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


async def test_a_token_is_asked_for_as_rfc_6749_says_and_kept(
    authority: Authority, session: aiohttp.ClientSession
) -> None:
    tokens = Tokens()
    assert [await tokens.bearer(authority.grant, session) for _ in range(3)] == ["t1", "t1", "t1"]
    assert authority.asked == [
        {"grant_type": "client_credentials", "client_id": "id", "client_secret": "s3cret", "scope": "scope/.default"}
    ]


async def test_another_grant_is_another_token(authority: Authority, session: aiohttp.ClientSession) -> None:
    tokens = Tokens()
    await tokens.bearer(authority.grant, session)
    for change in ({"client_id": "x"}, {"client_secret": "x"}, {"scope": "x"}):
        await tokens.bearer(replace(authority.grant, **change), session)
    assert len(authority.asked) == 4


async def test_requests_at_the_same_time_share_one_fetch(authority: Authority, session: aiohttp.ClientSession) -> None:
    tokens, grant = Tokens(), authority.grant
    assert await asyncio.gather(*(tokens.bearer(grant, session) for _ in range(20))) == ["t1"] * 20
    assert len(authority.asked) == 1


async def test_they_share_its_failure_too(authority: Authority, session: aiohttp.ClientSession) -> None:
    authority.status, authority.body = 401, {"error": "invalid_client"}
    tokens, grant = Tokens(), authority.grant
    answers = await asyncio.gather(*(tokens.bearer(grant, session) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(answer, GatewayError) for answer in answers)
    assert len(authority.asked) == 1
    authority.status, authority.body = 200, None
    assert await tokens.bearer(grant, session) == "t2"  # and the next one tries again


async def test_a_request_that_gives_up_ends_nobody_elses_wait(
    authority: Authority, session: aiohttp.ClientSession
) -> None:
    authority.open.clear()
    tokens, grant = Tokens(), authority.grant
    first, second = (asyncio.create_task(tokens.bearer(grant, session)) for _ in range(2))
    await authority.arrived.wait()
    first.cancel()
    authority.open.set()
    assert await second == "t1"
    assert first.cancelled()


@pytest.mark.parametrize(
    ("lifetime", "asked"),
    [(3600, 1), ("3600", 1), (60, 1), (0, 2), (-5, 2), (None, 2), ("soon", 2), ("inf", 2), ([], 2)],
)
async def test_a_lifetime_that_cannot_be_understood_keeps_no_token(
    authority: Authority, session: aiohttp.ClientSession, lifetime: Any, asked: int
) -> None:
    authority.lifetime = lifetime
    tokens = Tokens()
    for _ in range(2):
        assert (await tokens.bearer(authority.grant, session)).startswith("t")
    assert len(authority.asked) == asked


@pytest.mark.parametrize(("lifetime", "renewed_after"), [(3600, 3480), (240, 120), (60, 30)])
def test_a_token_is_renewed_a_while_before_its_end(lifetime: int, renewed_after: int) -> None:
    answer = json.dumps({"access_token": "t", "expires_in": lifetime}).encode()
    assert module._read(200, answer, 1_000.0) == ("t", 1_000.0 + renewed_after)


async def test_a_token_that_is_over_is_fetched_anew(authority: Authority, session: aiohttp.ClientSession) -> None:
    authority.lifetime = 0.02
    tokens = Tokens()
    assert await tokens.bearer(authority.grant, session) == "t1"
    await asyncio.sleep(0.03)
    assert await tokens.bearer(authority.grant, session) == "t2"


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        (400, {"error": "invalid_scope", "error_description": "s3cret"}, "missing_provider_key", r"\(invalid_scope\)"),
        (401, {"error": "invalid_client"}, "missing_provider_key", r"\(invalid_client\)"),
        (401, "<html>", "missing_provider_key", r"\(401\)"),
        (200, "garbage", "missing_provider_key", r"\(200\)"),
        (200, "[1]", "missing_provider_key", r"\(200\)"),
        (200, {"token_type": "Bearer"}, "missing_provider_key", r"\(200\)"),
        (200, {"access_token": ""}, "missing_provider_key", r"\(200\)"),
        (200, {"access_token": 7}, "missing_provider_key", r"\(200\)"),
        (200, {"access_token": "x" * 70_000}, "missing_provider_key", r"\(200\)"),
        (302, {"access_token": "t"}, "missing_provider_key", r"\(302\)"),  # never followed
        (400, {"error": "x" * 1_000}, "missing_provider_key", r"\(x{64}\)"),
        (500, "oops", "upstream_unreachable", "Try again"),
        (503, {"error": "temporarily_unavailable"}, "upstream_unreachable", "Try again"),
    ],
)
async def test_a_refusal_says_what_to_check_and_no_secret(
    authority: Authority, session: aiohttp.ClientSession, status: int, body: Any, code: str, words: str
) -> None:
    authority.status, authority.body = status, body
    with pytest.raises(GatewayError, match=words) as refused:
        await Tokens().bearer(authority.grant, session)
    assert refused.value.code == code
    assert "s3cret" not in refused.value.message
    assert len(refused.value.message) < 250


async def test_an_authority_that_is_not_there_is_unreachable(session: aiohttp.ClientSession) -> None:
    with pytest.raises(GatewayError) as refused:
        await Tokens().bearer(TokenRequest("http://127.0.0.1:1/token", "id", "s", "o"), session)
    assert (refused.value.code, refused.value.failure) == ("upstream_unreachable", "connect_failed")


async def test_neither_tokens_nor_fetches_pile_up(
    authority: Authority, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST", 3)
    tokens = Tokens()
    for number in range(10):
        await tokens.bearer(replace(authority.grant, client_id=str(number)), session)
    authority.status = 401
    for number in range(10, 20):
        with pytest.raises(GatewayError):
            await tokens.bearer(replace(authority.grant, client_id=str(number)), session)
    assert len(tokens._known) <= 3
    assert tokens._fetching == {}
