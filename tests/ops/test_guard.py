"""Who may see what: by token, by session, by the name they call us, and by the page that sent them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.ops.conftest import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.ops.conftest import Desktop

    Start = Callable[..., AbstractAsyncContextManager[Desktop]]

WITH_TOKEN = {"ops": {"token": TOKEN}}
FREE = ("/livez", "/healthz", "/metrics")
GUARDED = (
    "/api/requests",
    "/api/requests/0",
    "/api/requests/stream",
    "/api/requests/export",
    "/api/stats",
    "/api/config",
    "/api/upstreams",
    "/api/playground",
    "/api/nothing",
    "/v1/keys",
)
STRANGE_HOSTS = (
    "rebound.example.com",
    "rebound.example.com:8788",
    "localhost.example.com",
    "127.0.0.1.example.com",
    "",
)


async def test_a_token_is_asked_of_everybody_but_for_health_and_metrics(desktop: Start) -> None:
    async with desktop(**WITH_TOKEN) as ops:
        for path in FREE:
            assert (await ops.get(path)).status == 200
        for path in GUARDED:
            reply = await ops.get(path)
            assert reply.refused == (401, "missing_api_key"), path
            assert reply.headers["WWW-Authenticate"].startswith("Bearer")
            assert (await ops.get(path, Authorization="Bearer wrong")).status in {401, 429}, path


@pytest.mark.parametrize(
    "header",
    [{"Authorization": f"Bearer {TOKEN}"}, {"Authorization": f"bearer  {TOKEN} "}, {"x_portkey_api_key": TOKEN}],
)
async def test_a_token_travels_in_either_header(desktop: Start, header: dict[str, str]) -> None:
    async with desktop(**WITH_TOKEN) as ops:
        assert (await ops.get("/api/requests", **header)).status == 200
        assert (await ops.get("/api/nothing", **header)).refused == (404, "unknown_route")


@pytest.mark.parametrize("wrong", [f"Bearer {TOKEN}x", "Bearer ", f"Basic {TOKEN}", TOKEN, "Bearer"])
async def test_a_wrong_token_is_no_token(desktop: Start, wrong: str) -> None:
    async with desktop(**WITH_TOKEN) as ops:
        assert (await ops.get("/api/requests", Authorization=wrong)).status == 401


async def test_whoever_guesses_too_often_has_to_wait(desktop: Start) -> None:
    async with desktop(**WITH_TOKEN) as ops:
        cookie = await ops.log_in()
        for number in range(10):
            assert (await ops.get("/api/stats", Authorization=f"Bearer {number}")).refused == (401, "invalid_api_key")
        refused = await ops.get("/api/stats", Authorization="Bearer another")
        assert refused.refused == (429, "rate_limited")
        assert 1 <= int(refused.headers["Retry-After"]) <= 2
        login = await ops.ask("POST", "/api/session", body={"token": TOKEN})
        assert login.refused == (429, "rate_limited")
        assert (await ops.get("/api/stats", Cookie=cookie)).status == 200, "who is in stays in"


async def test_a_log_in_is_a_cookie_that_no_script_and_no_other_site_gets(desktop: Start) -> None:
    async with desktop(**WITH_TOKEN) as ops:
        reply = await ops.ask("POST", "/api/session", body={"token": TOKEN}, Origin=ops.url)
        cookie, *attributes = reply.headers["Set-Cookie"].split("; ")
        assert (reply.status, reply.body) == (204, b"")
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
        assert "Secure" not in attributes
        assert TOKEN not in cookie
        assert (await ops.get("/api/requests", Cookie=cookie)).status == 200
        assert (await ops.get("/api/requests", Cookie=cookie + "x")).status == 401


async def test_a_cookie_that_was_got_by_tls_travels_by_tls_only(desktop: Start) -> None:
    async with desktop(**WITH_TOKEN) as ops:
        reply = await ops.ask("POST", "/api/session", body={"token": TOKEN}, X_Forwarded_Proto="https")
        assert "Secure" in reply.headers["Set-Cookie"].split("; ")


@pytest.mark.parametrize("body", [{"token": "wrong"}, {"token": ""}])
async def test_a_wrong_token_opens_no_session(desktop: Start, body: dict[str, str]) -> None:
    async with desktop(**WITH_TOKEN) as ops:
        reply = await ops.ask("POST", "/api/session", body=body)
        assert reply.refused == (401, "invalid_api_key")
        assert "Set-Cookie" not in reply.headers


@pytest.mark.parametrize("body", [None, [], {}, {"token": 5}, {"token": None}, "token"])
async def test_a_log_in_without_a_token_is_told_what_to_send(desktop: Start, body: object) -> None:
    async with desktop(**WITH_TOKEN) as ops:
        assert (await ops.ask("POST", "/api/session", body=body)).refused == (400, "invalid_request")


async def test_a_log_in_has_no_room_for_more_than_a_token(desktop: Start) -> None:
    async with desktop(**WITH_TOKEN) as ops:
        reply = await ops.ask("POST", "/api/session", body={"token": "x" * 20_000})
        assert reply.refused == (413, "upload_too_large")


async def test_who_has_left_is_out_with_the_same_cookie(desktop: Start) -> None:
    async with desktop(**WITH_TOKEN) as ops:
        cookie = await ops.log_in()
        left = await ops.ask("DELETE", "/api/session", Cookie=cookie, Origin=ops.url)
        assert left.status == 204
        assert "Max-Age=0" in left.headers["Set-Cookie"]
        assert (await ops.get("/api/requests", Cookie=cookie)).status == 401


async def test_another_token_in_the_settings_ends_every_session(desktop: Start) -> None:
    async with desktop(**WITH_TOKEN) as ops:
        cookie = await ops.log_in()
        ops.change({"ops": {"token": "sk-ops-another"}})
        assert (await ops.get("/api/requests", Cookie=cookie)).status == 401
        assert (await ops.get("/api/requests", Authorization="Bearer sk-ops-another")).status == 200


async def test_a_page_learns_whether_it_has_to_log_in_and_no_more(desktop: Start) -> None:
    async with desktop(**WITH_TOKEN) as ops:
        stranger = (await ops.get("/api/session")).json()
        assert (stranger.pop("token_needed"), stranger.pop("logged_in")) == (True, False)
        assert set(stranger.values()) == {None}
        inside = (await ops.get("/api/session", Cookie=await ops.log_in())).json()
        assert (inside["token_needed"], inside["logged_in"], inside["store"]) == (True, True, "sqlite")
    async with desktop() as ops:
        open_to_all = (await ops.get("/api/session")).json()
        assert (open_to_all["token_needed"], open_to_all["logged_in"]) == (False, True)
        assert (await ops.ask("POST", "/api/session", body={"token": "any"})).status == 204


# Names and origins


@pytest.mark.parametrize("host", STRANGE_HOSTS)
async def test_without_a_token_no_strange_name_leads_in(desktop: Start, host: str) -> None:
    async with desktop(ops={"hosts": ["gateway.example.com"]}) as ops:
        for path in ("/", "/api/requests", "/assets/app.js", "/api/session"):
            assert (await ops.get(path, Host=host)).refused == (403, "not_allowed"), path
        for path in FREE:
            assert (await ops.get(path, Host=host)).status == 200


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:1", "[::1]:8788", "[::1]", "10.0.0.7:80", "localhost", "LocalHost:9", "localhost.",
     "gateway.example.com", "GATEWAY.example.com:443"],
)  # fmt: skip
async def test_addresses_localhost_and_listed_names_lead_in(desktop: Start, host: str) -> None:
    async with desktop(ops={"hosts": ["gateway.example.com"]}) as ops:
        assert (await ops.get("/api/requests", Host=host)).status == 200


async def test_with_a_token_any_name_leads_in(desktop: Start) -> None:
    async with desktop(**WITH_TOKEN) as ops:
        reply = await ops.get("/api/requests", Host="ops.example.com", Authorization=f"Bearer {TOKEN}")
        assert reply.status == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "origin", ["https://evil.example.com", "null", "http://127.0.0.1:1", "file://", "http://[", "http://localhost"]
)
async def test_pages_of_other_origins_get_nothing(desktop: Start, origin: str, method: str) -> None:
    async with desktop() as ops:
        reply = await ops.ask(method, "/api/session" if method == "POST" else "/api/requests", Origin=origin)
        assert reply.refused == (403, "not_allowed")
        assert not [name for name in reply.headers if name.lower().startswith("access-control-")]


async def test_our_own_pages_get_everything(desktop: Start) -> None:
    async with desktop() as ops:
        assert (await ops.get("/api/requests", Origin=ops.url)).status == 200
        host = ops.url.removeprefix("http://")
        assert (await ops.get("/api/requests", Origin=f"https://{host}")).status == 200, "a proxy may speak TLS for us"
        behind = {"Origin": "https://ops.example.com", "X_Forwarded_Host": "ops.example.com"}
        assert (await ops.get("/api/requests", **behind)).status == 200, "a proxy may ask us by our address"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_what_another_page_loads_without_saying_its_origin_is_refused(desktop: Start, site: str) -> None:
    async with desktop() as ops:
        loaded = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "no-cors"}
        assert (await ops.get("/api/requests/export", **loaded)).refused == (403, "not_allowed")
        followed = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "navigate"}
        assert (await ops.get("/api/requests", **followed)).status == 200, "a link may lead here"
        assert (await ops.ask("POST", "/api/session", **followed)).refused == (403, "not_allowed")


async def test_a_change_by_cookie_needs_the_own_origin(desktop: Start) -> None:
    async with desktop(**WITH_TOKEN) as ops:
        cookie = await ops.log_in()
        assert (await ops.ask("DELETE", "/api/session", Cookie=cookie)).refused == (403, "not_allowed")
        assert (await ops.get("/api/requests", Cookie=cookie)).status == 200
        assert (await ops.ask("DELETE", "/api/session", Cookie=cookie, Origin=ops.url)).status == 204


# Beyond loopback


async def test_beyond_loopback_and_without_a_token_there_is_health_and_nothing_else(desktop: Start) -> None:
    async with desktop(address="0.0.0.0") as ops:
        for path in FREE:
            assert (await ops.get(path)).status == 200
        for path in ("/", "/assets/app.js", "/api/session", *GUARDED):
            reply = await ops.get(path)
            assert reply.refused == (403, "not_allowed"), path
            assert "ops.token" in reply.json()["message"]
        assert (await ops.ask("POST", "/api/playground/transcriptions", body={})).refused == (403, "not_allowed")


async def test_beyond_loopback_a_token_opens_the_door(desktop: Start) -> None:
    async with desktop(address="0.0.0.0", **WITH_TOKEN) as ops:
        assert (await ops.get("/api/requests", Authorization=f"Bearer {TOKEN}")).status == 200
        assert (await ops.get("/api/requests")).status == 401
