"""Circuit breakers: a target that keeps failing is left alone, and one request at a time finds out when it is well."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from proxy.relay.relay import Relay
from proxy.routing.breaker import circuits_in
from proxy.server.assemble import assemble
from proxy.server.gateway import Listener
from proxy.settings import Address, Settings
from tests.flow.client import Connection
from tests.flow.forms import audio, field, file, form, usual
from tests.flow.gateway import free_port
from tests.flow.scripts import READ_ALL, RESET, error, hold, reply, send
from tests.flow.test_metrics import samples, wait
from tests.flow.trio import Trio, targets, told, trio_settings, with_config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from tests.flow.client import Reply
    from tests.flow.driver import Upstream
    from tests.flow.scripts import Step

TWO = {"failure_threshold": 2}
COOLDOWN = 30  # seconds: the least there is
FAILURE = (READ_ALL, send(error(500)))
SERVED = (READ_ALL, send(reply()))


def saved(**configs: Any) -> dict[str, Any]:
    """Return settings with saved configs of two targets, ``a`` and ``b``, which fall back and have circuits."""
    usual_ones = {"guarded": targets("fallback", "a", "b", cb_config=TWO)} | configs
    named = [{"slug": slug, "config": keyed(config)} for slug, config in usual_ones.items()]
    return {"configs": named}


def keyed(config: Any) -> Any:
    """Give every provider of a config its virtual key: a caller's key never follows a config of the operator's."""
    if "targets" in config:
        return {**config, "targets": [keyed(target) for target in config["targets"]]}
    provider, rest = config["provider"], {key: value for key, value in config.items() if key != "provider"}
    return {"virtual_key": f"key-{provider}", **rest}


def place(answer: Reply) -> str | None:
    return answer.header("x-portkey-last-used-option-index")


def fail(trio: Trio, name: str, times: int) -> None:
    for _ in range(times):
        trio.all[name].script(*FAILURE)


FIRST, SECOND = "config.targets[0]", "config.targets[1]"


def test_a_target_that_keeps_failing_is_left_alone_and_the_metric_says_so(own_trio: Callable[..., Trio]) -> None:
    trio = own_trio(**saved())
    state = 'circuit_breaker_state{provider="a"}'
    assert samples(trio.a)[state] == 0
    fail(trio, "a", 2)
    assert [place(trio.post("guarded")) for _ in range(5)] == [SECOND] * 5
    assert trio.asked() == {"a": 2, "b": 5, "c": 0}
    wait(trio.a, state, 2)
    assert samples(trio.a)['circuit_breaker_state{provider="b"}'] == 0
    records = trio.a.records(5)
    assert [len(record["attempts"]) for record in records] == [2, 2, 1, 1, 1]
    assert told(records[-1], "status", "replayed") == [(SECOND, 200, False)]
    assert (records[-1]["config"], records[-1]["retry_count"]) == ("guarded", 0)
    trio.gateway.stop()


@pytest.mark.parametrize("steps", [FAILURE, (READ_ALL, RESET), (READ_ALL, hold("never"))], ids=["500", "reset", "late"])
def test_what_counts_as_a_failure(own_trio: Callable[..., Trio], steps: tuple[Step, ...]) -> None:
    config = targets("fallback", {"provider": "a", "request_timeout": 400}, "b", cb_config=TWO)
    trio = own_trio(**saved(guarded=config))
    for _ in range(2):
        trio.a.script(*steps)
    assert [trio.post("guarded").status for _ in range(3)] == [200] * 3
    assert trio.asked()["a"] == 2
    trio.gateway.stop()


def leave(trio: Trio) -> None:
    """Leave in the middle of an upload."""
    body = usual(audio(300_000))
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(body), with_config("guarded"))
        connection.send(body[:100_000])


def test_what_a_client_does_wrong_counts_for_nothing(own_trio: Callable[..., Trio]) -> None:
    config = targets("fallback", "a", "b", cb_config={"failure_threshold": 1}, on_status_codes=[500])
    trio = own_trio(**saved(guarded=config))
    for status in (400, 401, 413, 429):
        trio.a.script(READ_ALL, send(error(status)))
        assert trio.post("guarded").status == status
    faults = [usual()[:-8], form(file()), form(field("model", "m"), file(b"")), b"no form"]
    assert {trio.post("guarded", body).status for body in faults} == {400}
    leave(trio)
    trio.gateway.wait_for(lambda: len(trio.gateway.records(trio.a.token)) == 9, "the record of who left")
    assert place(trio.post("guarded")) == FIRST
    trio.gateway.stop()


def test_listed_statuses_take_the_place_of_500_and_above(own_trio: Callable[..., Trio]) -> None:
    rules = {"failure_threshold": 1, "failure_status_codes": [429]}
    trio = own_trio(**saved(guarded=targets("fallback", "a", "b", cb_config=rules)))
    for status, after in ((500, FIRST), (429, SECOND)):
        trio.a.script(READ_ALL, send(error(status)))
        trio.post("guarded")
        trio.a.script(*SERVED)
        assert place(trio.post("guarded")) == after
    trio.gateway.stop()


def test_a_share_of_failures_opens_too_once_there_are_enough_requests(own_trio: Callable[..., Trio]) -> None:
    rules = {"failure_threshold_percentage": 50, "minimum_requests": 4}
    trio = own_trio(**saved(guarded=targets("fallback", "a", "b", cb_config=rules)))
    for steps in (FAILURE, SERVED, FAILURE, SERVED):
        trio.a.script(*steps)
    assert [place(trio.post("guarded")) for _ in range(4)] == [SECOND, FIRST, SECOND, FIRST]
    fail(trio, "a", 1)
    assert [place(trio.post("guarded")) for _ in range(2)] == [SECOND] * 2
    assert trio.asked()["a"] == 5
    trio.gateway.stop()


def test_retries_end_when_the_circuit_opens(own_trio: Callable[..., Trio]) -> None:
    retry = {"retry": {"attempts": 5, "use_retry_after_header": True}}
    trio = own_trio(**saved(guarded=targets("fallback", "a", "b", cb_config=TWO) | retry))
    for _ in range(6):
        trio.a.script(READ_ALL, send(error(503, headers=[("retry-after-ms", "1")])))
    assert place(trio.post("guarded")) == SECOND
    assert trio.asked()["a"] == 2
    assert trio.record()["retry_count"] == 2
    trio.gateway.stop()


def test_configs_keep_their_own_circuits_and_inline_ones_have_none(own_trio: Callable[..., Trio]) -> None:
    config = targets("fallback", "a", "b", cb_config=TWO)
    trio = own_trio(**saved(other=config))
    fail(trio, "a", 2)
    assert [place(trio.post("guarded")) for _ in range(3)] == [SECOND] * 3
    assert place(trio.post("other")) == FIRST
    fail(trio, "a", 4)
    assert [place(trio.post(config)) for _ in range(5)] == [SECOND] * 4 + [FIRST]
    trio.gateway.stop()


def test_a_circuit_is_forgotten_with_the_config_it_belonged_to(own_trio: Callable[..., Trio]) -> None:
    trio = own_trio(**saved())
    fail(trio, "a", 2)
    assert [place(trio.post("guarded")) for _ in range(3)] == [SECOND] * 3

    def reload(**settings: Any) -> None:
        trio.gateway.write_settings(trio.gateway.settings | settings)
        trio.gateway.signal(signal.SIGHUP)
        trio.gateway.wait_stderr("settings loaded anew")

    changed = {"failure_threshold": 3}
    reload(**saved(guarded=targets("fallback", "a", "b", cb_config=changed)))
    assert place(trio.post("guarded")) == FIRST
    trio.gateway.stop()


def test_a_reload_that_leaves_a_config_as_it_is_leaves_its_circuits(own_trio: Callable[..., Trio]) -> None:
    trio = own_trio(**saved())
    fail(trio, "a", 2)
    assert [place(trio.post("guarded")) for _ in range(3)] == [SECOND] * 3
    trio.gateway.write_settings(trio.gateway.settings | {"metrics": {"models": 51}})
    trio.gateway.signal(signal.SIGHUP)
    trio.gateway.wait_stderr("settings loaded anew")
    assert place(trio.post("guarded")) == SECOND
    trio.gateway.stop()


def test_when_all_are_open_one_request_at_a_time_is_let_through(own_trio: Callable[..., Trio]) -> None:
    """Both circuits open; the next request asks all the same, and while it does, others are told to come again."""
    trio = own_trio(**saved())
    fail(trio, "a", 2)
    fail(trio, "b", 2)
    assert [trio.post("guarded").status for _ in range(2)] == [500, 500]
    for stage in (trio.a, trio.b):
        stage.script(READ_ALL, hold(), send(reply()))
    with trio.a.connect() as first, trio.a.connect() as second:
        for connection, stage in ((first, trio.a), (second, trio.b)):
            trio.a.begin(connection, len(usual()), with_config("guarded"))
            connection.send(usual())
            stage.seen(index=2)
        answer = trio.post("guarded")
        assert (answer.status, answer.code) == (503, "circuit_open")
        assert 0 < int(answer.header("retry-after") or 0) <= COOLDOWN
        assert answer.header("x-portkey-gateway-exception") == "true"
        for stage in (trio.a, trio.b):
            stage.release()
        assert [place(first.read_reply()), place(second.read_reply())] == [FIRST, SECOND]
    assert place(trio.post("guarded")) == FIRST, "the answer closed the circuit"
    records = trio.a.records(6)
    (refused,) = [record for record in records if record["error_code"] == "circuit_open"]
    assert (refused["attempts"], refused["outcome"]) == ([], "gateway_error")
    trio.gateway.stop()


def test_a_target_alone_is_never_wholly_cut_off(own_trio: Callable[..., Trio]) -> None:
    trio = own_trio(**saved(guarded=targets("single", "a", cb_config=TWO)))
    fail(trio, "a", 3)
    assert [trio.post("guarded").status for _ in range(4)] == [500, 500, 500, 200]
    trio.gateway.stop()


# After the cooldown. The clock is moved, so the gateway runs here, on sockets all the same.


class Moved:
    """A gateway in this process and the hand that moves its clock."""

    def __init__(
        self, relay: Relay, port: int, upstreams: Mapping[str, Upstream], records: list[dict[str, Any]]
    ) -> None:
        self._relay = relay
        self.records = records
        gateway: Any = SimpleNamespace(port=port)
        self.trio = Trio(gateway, upstreams)
        self._ahead = 0.0
        asyncio.get_running_loop().time = lambda: time.monotonic() + self._ahead  # type: ignore[method-assign]

    def pass_by(self, seconds: float) -> None:
        self._ahead += seconds

    async def places(self, count: int) -> list[str | None]:
        """Send requests, one after the other; return who answered."""
        return [place(await asyncio.to_thread(self.trio.post, "guarded")) for _ in range(count)]

    def circuit(self, name: str) -> str:
        """Return the state of a provider's only circuit."""
        ((key, rules),) = circuits_in(self._relay.house.directory.configs, {"key-a": "a", "key-b": "b"})[name]
        return self._relay.shared.breakers.circuit(key, rules, asyncio.get_running_loop().time())


@pytest.fixture
async def moved(three: Mapping[str, Upstream]) -> AsyncIterator[Moved]:
    settings = Settings.model_validate(trio_settings(three, free_port(), **saved()))
    house, mistakes = assemble(settings)
    assert not mistakes
    records: list[dict[str, Any]] = []
    relay = Relay(house, records.append)
    listener = Listener(relay, Counter())
    where = await listener.start(Address.parse("127.0.0.1:0"))
    yield Moved(relay, Address.parse(where).port, three, records)
    await listener.close()
    await relay.close()


async def test_it_stays_open_for_the_cooldown_and_one_good_answer_closes_it(moved: Moved) -> None:
    fail(moved.trio, "a", 2)
    assert await moved.places(3) == [SECOND] * 3
    assert moved.circuit("a") == "open"
    moved.pass_by(COOLDOWN - 5)
    assert await moved.places(1) == [SECOND]
    moved.pass_by(5)
    assert moved.circuit("a") == "half_open"
    assert await moved.places(2) == [FIRST] * 2
    assert moved.circuit("a") == "closed"


async def test_a_probe_that_fails_opens_it_for_another_cooldown(moved: Moved) -> None:
    fail(moved.trio, "a", 3)
    await moved.places(2)
    moved.pass_by(COOLDOWN)
    assert await moved.places(2) == [SECOND] * 2
    assert moved.trio.asked()["a"] == 3, "the probe alone"
    moved.pass_by(COOLDOWN - 5)
    assert moved.circuit("a") == "open"
    moved.pass_by(5)
    assert await moved.places(1) == [FIRST]


async def test_one_probe_at_a_time(moved: Moved) -> None:
    fail(moved.trio, "a", 2)
    await moved.places(2)
    moved.pass_by(COOLDOWN)
    moved.trio.a.script(READ_ALL, hold(), send(reply()))
    probe = asyncio.create_task(asyncio.to_thread(moved.trio.post, "guarded"))
    await asyncio.to_thread(moved.trio.a.seen, index=2)
    assert await moved.places(2) == [SECOND] * 2
    moved.trio.a.release()
    assert place(await probe) == FIRST
    assert await moved.places(1) == [FIRST]


async def test_a_probe_whose_client_leaves_says_nothing(moved: Moved) -> None:
    fail(moved.trio, "a", 2)
    await moved.places(2)
    moved.pass_by(COOLDOWN)
    body = usual()

    def leave_early() -> None:
        moved.trio.a.script(READ_ALL, hold("never"))
        with Connection(moved.trio.gateway.port) as connection:
            moved.trio.a.begin(connection, len(body), with_config("guarded"))
            connection.send(body)
            moved.trio.a.seen(index=2)

    await asyncio.to_thread(leave_early)
    async with asyncio.timeout(5):
        while len(moved.records) < 3:
            await asyncio.sleep(0.01)
    assert moved.records[-1]["outcome"] == "client_left"
    assert moved.circuit("a") == "half_open"
    assert await moved.places(1) == [FIRST], "the next one is the probe"
