"""Which target a config chooses, and what a request has to say for it: single, loadbalance, conditional, nested."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.flow.forms import WAV, audio, field, file, form, usual
from tests.flow.scripts import READ_ALL, error, hold, reply, send
from tests.flow.stage import TRANSLATIONS
from tests.flow.trio import got_audio, key_of, targets, told, with_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.flow.client import Connection, Reply
    from tests.flow.trio import Trio

DAY = 86_400  # seconds: a sticky window that ends in the middle of a test is one in thousands of years
NOBODY = {"a": 0, "b": 0, "c": 0}


def index_of(answer: Reply) -> str:
    """Return the place in the config that answered, less what all places begin with."""
    return (answer.header("x-portkey-last-used-option-index") or "").removeprefix("config.")


# Single, and no strategy at all


@pytest.mark.parametrize("status", [200, 500])
def test_single_is_the_first_target_whatever_it_answers(trio: Trio, status: int) -> None:
    trio.a.script(READ_ALL, send(reply() if status == 200 else error(status)))
    answer = trio.post(targets("single", "a", "b"))
    assert (answer.status, index_of(answer)) == (status, "targets[0]")
    assert trio.asked() == {"a": 1, "b": 0, "c": 0}
    record = trio.record()
    assert (record["replay"], record["retry_count"]) == ("off", 0), "nothing can be tried again: nothing is kept"


def test_a_config_without_a_strategy_is_its_own_target(trio: Trio) -> None:
    answer = trio.post({"virtual_key": "key-c", "override_params": {"model": "m2"}})
    assert (answer.status, answer.header("x-portkey-last-used-option-index")) == (200, "config")
    seen = trio.c.seen()
    assert (seen.fields("model"), seen.header("authorization")) == (["m2"], f"Bearer {key_of('c')}")
    assert told(trio.record(), "provider", "model") == [("config", "c", "m2")]


def test_targets_inherit_what_they_do_not_say(trio: Trio) -> None:
    config = {
        **targets("fallback", {"virtual_key": "key-a"}, {"virtual_key": "key-b", "override_params": {"model": "own"}}),
        "override_params": {"model": "common", "language": "fr"},
        "forward_headers": ["x-mine"],
    }
    trio.a.script(READ_ALL, send(error(500)))
    assert trio.post(config, extra=[("x-mine", "kept")]).status == 200
    first, second = trio.a.seen(), trio.b.seen()
    assert [seen.fields("model") for seen in (first, second)] == [["common"], ["own"]]
    assert [seen.fields("language") for seen in (first, second)] == [["fr"], ["fr"]]
    assert [seen.header("x-mine") for seen in (first, second)] == ["kept", "kept"]
    trio.record()


def test_camel_case_is_understood(trio: Trio) -> None:
    config = {
        "strategy": {"mode": "fallback", "onStatusCodes": [429]},
        "targets": [{"virtualKey": "key-a"}, {"virtualKey": "key-b", "overrideParams": {"model": "own"}}],
    }
    trio.a.script(READ_ALL, send(error(429)))
    assert trio.post(config).status == 200
    assert trio.b.seen().fields("model") == ["own"]
    trio.record()


# Loadbalance


def test_a_weight_of_nothing_is_never_chosen(trio: Trio) -> None:
    config = targets("loadbalance", {"provider": "a", "weight": 0}, {"provider": "b", "weight": 0.1})
    assert {index_of(trio.post(config)) for _ in range(8)} == {"targets[1]"}
    assert trio.asked() == {"a": 0, "b": 8, "c": 0}
    assert {record["replay"] for record in trio.a.records(8)} == {"off"}


def test_every_weight_has_its_share(trio: Trio) -> None:
    """Of 64 requests all go to one of two like targets once in 2**63 times."""
    chosen = [index_of(trio.post(targets("loadbalance", "a", "b"))) for _ in range(64)]
    assert set(chosen) == {"targets[0]", "targets[1]"}
    assert trio.asked() == {"a": chosen.count("targets[0]"), "b": chosen.count("targets[1]"), "c": 0}
    trio.a.records(64)


def test_a_loadbalance_asks_no_other_target(trio: Trio) -> None:
    config = targets("loadbalance", {"provider": "a", "weight": 1}, {"provider": "b", "weight": 0})
    trio.a.script(READ_ALL, send(error(503)))
    answer = trio.post(config)
    assert (answer.status, index_of(answer)) == (503, "targets[0]")
    assert trio.asked()["b"] == 0
    trio.record()


def canary() -> dict[str, Any]:
    """Return a config whose new model is chosen always, so that the test can see it fail."""
    old = {"virtual_key": "key-a", "override_params": {"model": "old"}}
    new = {"virtual_key": "key-b", "override_params": {"model": "new"}}
    return targets("fallback", targets("loadbalance", {**old, "weight": 0}, {**new, "weight": 1}), old)


def test_a_canary_that_fails_falls_back_to_the_old_model(trio: Trio) -> None:
    trio.b.script(READ_ALL, send(error(500)))
    answer = trio.post(canary())
    assert (answer.status, index_of(answer)) == (200, "targets[1]")
    got_audio(trio.a.seen(), WAV)
    assert told(trio.record(), "model", "status", "replayed") == [
        ("config.targets[0].targets[1]", "new", 500, False),
        ("config.targets[1]", "old", 200, True),
    ]


def test_branches_nest_and_each_judges_what_those_within_leave(trio: Trio) -> None:
    """The inner fallback goes on after 429 alone, the outer one after anything."""
    config = targets("fallback", targets("fallback", "a", "b", on_status_codes=[429]), "c")
    trio.a.script(READ_ALL, send(error(429)))
    trio.b.script(READ_ALL, send(error(500)))
    answer = trio.post(config)
    assert (answer.status, index_of(answer)) == (200, "targets[1]")
    trio.a.script(READ_ALL, send(error(500)))
    answer = trio.post(config)
    assert (answer.status, index_of(answer)) == (200, "targets[1]")
    assert [told(record, "status") for record in trio.a.records(2)] == [
        [("config.targets[0].targets[0]", 429), ("config.targets[0].targets[1]", 500), ("config.targets[1]", 200)],
        [("config.targets[0].targets[0]", 500), ("config.targets[1]", 200)],
    ]


def test_sticky_keeps_a_user_at_a_target_and_spreads_users(trio: Trio) -> None:
    sticky = {"enabled": True, "hash_fields": ["metadata._user"], "ttl": DAY}
    config = targets("loadbalance", "a", "b", sticky=sticky)
    chosen = {}
    for user in range(32):
        metadata = [("x-portkey-metadata", json.dumps({"_user": f"user {user}"}))]
        chosen[user] = {index_of(trio.post(config, extra=metadata)) for _ in range(2)}
    assert {len(places) for places in chosen.values()} == {1}
    assert set().union(*chosen.values()) == {"targets[0]", "targets[1]"}
    trio.a.records(64)


def test_sticky_reads_a_form_field_that_comes_after_the_file(trio: Trio) -> None:
    sticky = {"enabled": True, "hash_fields": ["params.user"], "ttl": DAY}
    config = targets("loadbalance", "a", "b", sticky=sticky)
    chosen = {}
    for user in range(32):
        bodies = [form(field("user", f"{user}"), field("model", "m"), file())]
        bodies.append(form(file(), field("model", "m"), field("user", f"{user}")))
        chosen[user] = {index_of(trio.post(config, body)) for body in bodies}
    assert {len(places) for places in chosen.values()} == {1}
    assert set().union(*chosen.values()) == {"targets[0]", "targets[1]"}
    trio.a.records(64)


def begin(trio: Trio, stack: ExitStack, config: Mapping[str, Any], body: bytes, count: int) -> Connection:
    """Begin an upload and send ``count`` bytes of it."""
    connection = stack.enter_context(trio.a.connect())
    trio.a.begin(connection, len(body), with_config(config))
    connection.send(body[:count])
    return connection


def test_least_outstanding_weighs_the_audio_under_way(trio: Trio) -> None:
    """Ten seconds of audio wait at ``a``, two at ``b``: so the third goes to ``b``, and after them ``a`` is idle."""
    config = targets("loadbalance", "a", "b", policy="least_outstanding")
    long, short = usual(audio(400_000)), usual(audio(80_000))
    with ExitStack() as stack:
        first = begin(trio, stack, config, long, 320_000)
        trio.a.seen("length", 300_000)
        second = begin(trio, stack, config, short, 64_000)
        trio.b.seen("length", 60_000)
        third = begin(trio, stack, config, short, 64_000)
        trio.b.seen("length", 60_000, index=1)
        for connection, body, sent, index in (
            (first, long, 320_000, "targets[0]"),
            (second, short, 64_000, "targets[1]"),
            (third, short, 64_000, "targets[1]"),
        ):
            connection.send(body[sent:])
            answer = connection.read_reply()
            assert (answer.status, index_of(answer)) == (200, index)
    assert index_of(trio.post(config)) == "targets[0]"
    trio.a.records(4)


def test_least_outstanding_counts_what_waits_for_its_answer(trio: Trio) -> None:
    config = targets("loadbalance", "a", "b", policy="least_outstanding")
    trio.a.script(READ_ALL, hold(), send(reply()))
    with ExitStack() as stack:
        busy = begin(trio, stack, config, usual(), len(usual()))
        trio.a.seen()
        for done in range(1, 4):
            assert index_of(trio.post(config)) == "targets[1]"
            trio.a.records(done)  # whoever has its answer is not yet counted out
        trio.a.release()
        assert index_of(busy.read_reply()) == "targets[0]"
    trio.a.records(4)


# Conditional


def chosen_by(*conditions: tuple[Mapping[str, Any], str], default: str | None = "a") -> dict[str, Any]:
    """Return a conditional among the three, which are named as their providers are."""
    rows = [{"query": query, "then": name} for query, name in conditions]
    strategy = {"conditions": rows} | ({} if default is None else {"default": default})
    return targets("conditional", *({"name": name, "provider": name} for name in "abc"), **strategy)


BY_MODEL = chosen_by(({"params.model": {"$regex": "^gpt-"}}, "b"), ({"params.model": "whisper-1"}, "c"))


@pytest.mark.parametrize("order", ["file last", "file first"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize(("model", "chosen"), [("gpt-transcribe", "b"), ("whisper-1", "c"), ("other", "a")])
def test_the_model_chooses_wherever_it_stands_in_the_form(
    trio: Trio, order: str, chunked: bool, model: str, chosen: str
) -> None:
    data = audio(1_000_000)  # more than is kept in memory, whatever the pieces it comes in
    parts = [field("model", model), file(data)]
    answer = trio.post(BY_MODEL, form(*(parts if order == "file last" else reversed(parts))), chunked=chunked)
    assert (answer.status, answer.header("x-portkey-provider")) == (200, chosen)
    got_audio(trio.all[chosen].seen(), data)
    assert trio.asked() == NOBODY | {chosen: 1}
    record = trio.record()
    assert told(record, "provider") == [(f"config.targets[{'abc'.index(chosen)}]", chosen)]
    if order == "file first":
        assert record["replay"] == "disk"


def test_a_field_before_the_file_chooses_before_the_file_has_come(trio: Trio) -> None:
    body = usual(audio(300_000))
    with trio.a.connect() as connection:
        trio.a.begin(connection, len(body), with_config(BY_MODEL))
        connection.send(body[:150_000])
        trio.c.seen("length", 140_000)
        connection.send(body[150_000:])
        assert connection.read_reply().status == 200
    trio.record()


COOL = form(file(), field("model", "m"), field("temperature", "0.20"))
PAID = [("x-portkey-metadata", '{"plan":"paid"}')]
CHOICES: dict[str, tuple[Mapping[str, Any], dict[str, Any], str]] = {
    "metadata": ({"metadata.plan": "paid"}, {"extra": PAID}, "b"),
    "metadata missing": ({"metadata.plan": "paid"}, {}, "a"),
    "metadata other than": ({"metadata.plan": {"$ne": "free"}}, {"extra": PAID}, "b"),
    "a header": ({"headers.x-region": {"$in": ["eu", "uk"]}}, {"extra": [("X-Region", "eu")]}, "b"),
    "a header that is another": ({"headers.x-region": {"$nin": ["eu"]}}, {"extra": [("X-Region", "eu")]}, "a"),
    "the path": ({"url.pathname": TRANSLATIONS}, {"target": TRANSLATIONS}, "b"),
    "a number in the form": ({"params.temperature": {"$lt": 0.5}}, {"body": COOL}, "b"),
    "a field that never comes": ({"params.language": "de"}, {}, "a"),
    "both": ({"$and": [{"metadata.plan": "paid"}, {"params.model": "whisper-1"}]}, {"extra": PAID}, "b"),
    "either": ({"$or": [{"metadata.plan": "free"}, {"params.model": "whisper-1"}]}, {"extra": PAID}, "b"),
    "neither": ({"$or": [{"metadata.plan": "free"}, {"params.model": "m"}]}, {"extra": PAID}, "a"),
}  # fmt: skip


@pytest.mark.parametrize(("query", "sent", "chosen"), CHOICES.values(), ids=CHOICES.keys())
def test_what_a_request_says_chooses(trio: Trio, query: Mapping[str, Any], sent: dict[str, Any], chosen: str) -> None:
    answer = trio.post(chosen_by((query, "b")), **sent)
    assert (answer.status, answer.header("x-portkey-provider")) == (200, chosen)
    trio.record()


def test_a_gateway_keys_metadata_chooses_too(own_trio: Any) -> None:
    key = {"name": "mobile", "key": "sk-flow-mobile", "metadata": {"team": "mobile"}}
    trio = own_trio(auth={"mode": "keys", "keys": [key]})
    trio.a.caller_key = "sk-flow-mobile"
    rows = [{"query": {"metadata.team": "mobile"}, "then": "b"}]
    named = [{"name": name, "virtual_key": f"key-{name}"} for name in "ab"]
    answer = trio.post(targets("conditional", *named, conditions=rows, default="a"))
    assert (answer.status, answer.header("x-portkey-provider")) == (200, "b")
    trio.gateway.stop()


def test_a_choice_that_leads_nowhere_says_so(trio: Trio) -> None:
    answer = trio.post(chosen_by(({"params.model": "m"}, "b"), default=None))
    assert (answer.status, answer.code) == (400, "invalid_config")
    assert "no condition holds" in answer.json()["error"]["message"]
    assert trio.asked() == NOBODY
    record = trio.record()
    assert (record["outcome"], record["attempts"]) == ("client_error", [])


def test_a_condition_leads_to_a_fallback(trio: Trio) -> None:
    inner = {"name": "safe", **targets("fallback", "b", "c")}
    rows = [{"query": {"params.model": "whisper-1"}, "then": "safe"}]
    config = targets("conditional", {"name": "plain", "provider": "a"}, inner, conditions=rows, default="plain")
    trio.b.script(READ_ALL, send(error(503)))
    answer = trio.post(config, form(file(), field("model", "whisper-1")))
    assert (answer.status, index_of(answer)) == (200, "targets[1].targets[1]")
    got_audio(trio.c.seen(), WAV)
    trio.record()


def test_json_fields_choose_too(trio: Trio) -> None:
    config = chosen_by(({"params.voice": "alloy"}, "c"))
    document = b'{"model":"tts-1","input":"hello","voice":"alloy"}'
    extra = [*with_config(config), ("Content-Type", "application/json")]
    answer = trio.a.request("POST", "/v1/audio/speech", document, extra)
    assert (answer.status, answer.header("x-portkey-provider")) == (200, "c")
    assert trio.c.seen().body == document
    trio.record()


# What a config cannot say


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"strategy": {"mode": "fallback"}, "targets": []}, "targets: "),
        (targets("loadbalance", {"provider": "a", "weight": 0}), "targets"),
        ({**targets("fallback", "a", "b"), "on_status_codes": [429]}, "on_status_codes: has no effect"),
        (chosen_by(({"params.model": "m"}, "nobody")), "no target is named nobody"),
        (targets("fallback", {"provider": "a", "override_param": {}}), "did you mean 'override_params'?"),
    ],
)
def test_what_portkey_leaves_unanswered_is_refused_with_the_reason(
    trio: Trio, config: dict[str, Any], said: str
) -> None:
    answer = trio.post(config)
    assert (answer.status, answer.code) == (400, "invalid_config")
    assert said in answer.json()["error"]["message"]
    assert trio.asked() == NOBODY
    trio.record()


def test_a_target_that_would_be_refused_is_no_fallback(trio: Trio) -> None:
    answer = trio.post(targets("fallback", "a", {"virtual_key": "nobody"}))
    assert (answer.status, answer.code) == (400, "invalid_provider")
    assert "config.targets[1]" in answer.json()["error"]["message"]
    assert trio.asked() == NOBODY
    trio.record()
