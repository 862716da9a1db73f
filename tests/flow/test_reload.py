"""A settings file that changes is taken over whole or refused whole; requests in flight keep the old one."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

from tests.flow.forms import audio, usual
from tests.flow.gateway import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.flow.stage import Stage


def settings_of(stage: Stage) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(stage.gateway.path.read_text())
    return copy


def virtual_key(stage: Stage, secret: str) -> dict[str, Any]:
    """Return the settings with another secret behind ``vk``."""
    settings = settings_of(stage)
    settings["virtual_keys"][0]["key"] = secret
    return settings


def uses(stage: Stage, secret: str) -> bool:
    """Ask once, and say whether the upstream was shown this secret."""
    index = stage.upstream.requests(stage.token)
    assert stage.post(extra=[("x-portkey-provider", "@vk")]).status == 200
    return stage.seen(index=index).header("authorization") == f"Bearer {secret}"


def test_a_changed_file_is_taken_over(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway()
    assert uses(stage, "sk-flow-virtual")
    stage.gateway.write_settings(virtual_key(stage, "sk-flow-second"))
    stage.gateway.wait_for(lambda: uses(stage, "sk-flow-second"), "the new file to be in force")
    stage.gateway.stop()


def test_a_hangup_loads_the_file_anew_without_dropping_a_request(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway()
    body = usual(audio(300_000))
    with stage.connect() as connection:
        stage.begin(connection, len(body), [("x-portkey-provider", "@vk")])
        connection.send(body[:200_000])
        stage.seen("length", 100_000)
        stage.gateway.write_settings(virtual_key(stage, "sk-flow-second"))
        stage.gateway.signal(signal.SIGHUP)
        stage.gateway.wait_for(lambda: uses(stage, "sk-flow-second"), "the new file to be in force")
        connection.send(body[200_000:])
        assert connection.read_reply().status == 200
        assert stage.seen().header("authorization") == "Bearer sk-flow-virtual"
        stage.begin(connection, len(body), [("x-portkey-provider", "@vk")])
        connection.send(body)
        assert connection.read_reply().status == 200, "the connection outlives the settings"
    stage.gateway.stop()


def test_a_bad_file_is_refused_and_the_old_settings_stay(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway()
    changed = virtual_key(stage, "sk-flow-second")
    for text, complaint in (
        (json.dumps({**changed, "timeouts": {"connct": 1}}), "timeouts.connct"),
        (
            json.dumps({**changed, "virtual_keys": [{"slug": "vk", "provider": "nobody", "key": "x"}]}),
            "nobody",
        ),
        ("listen: [", "YAML"),
    ):
        stage.gateway.write_settings(text)
        stage.gateway.signal(signal.SIGHUP)
        stage.gateway.wait_stderr(complaint)
        assert uses(stage, "sk-flow-virtual")
        assert stage.gateway.ready()
    stage.gateway.write_settings(changed)
    stage.gateway.wait_for(lambda: uses(stage, "sk-flow-second"), "a mended file to be in force")
    stage.gateway.stop()


def test_a_secret_in_a_file_of_its_own_is_read_again_when_it_changes(
    own_gateway: Callable[..., Stage], tmp_path: Path
) -> None:
    secret = tmp_path / "key"
    secret.write_text("sk-flow-first\n")
    stage = own_gateway(virtual_keys=[{"slug": "vk", "provider": "up", "key_file": str(secret)}])
    assert uses(stage, "sk-flow-first")
    fresh = tmp_path / "fresh"
    fresh.write_text("sk-flow-second\n")
    fresh.replace(secret)
    stage.gateway.wait_for(lambda: uses(stage, "sk-flow-second"), "the new secret to be in force")
    stage.gateway.stop()


def test_what_needs_a_restart_is_said_and_not_done(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway()
    settings = virtual_key(stage, "sk-flow-second")
    stage.gateway.write_settings({**settings, "listen": f"127.0.0.1:{free_port()}", "workers": 2})
    stage.gateway.signal(signal.SIGHUP)
    stage.gateway.wait_stderr("restart")
    stage.gateway.wait_for(lambda: uses(stage, "sk-flow-second"), "the rest of the file to be in force")
    assert "listen" in stage.gateway.stderr()
    assert "workers" in stage.gateway.stderr()
    stage.gateway.stop()


def test_many_reloads_leave_nothing_behind(own_gateway: Callable[..., Stage]) -> None:
    stage = own_gateway(timeouts={"upstream_keepalive": 0.2})
    assert uses(stage, "sk-flow-virtual")
    before = stage.gateway.fds()
    for number in range(15):
        secret = f"sk-flow-{number}"
        stage.gateway.write_settings(virtual_key(stage, secret))
        stage.gateway.signal(signal.SIGHUP)
        stage.gateway.wait_for(lambda secret=secret: uses(stage, secret), "a reload")
    stage.gateway.wait_for(lambda: stage.gateway.fds() <= before, "old connections to be closed")
    stage.gateway.stop()
