"""Readiness in a word, and the gateway's own words on stderr."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING

import pytest

from proxy.ops.state import State
from proxy.server.logs import log, set_up

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.server.logs import LogFormat


@pytest.mark.parametrize(
    ("loaded", "draining", "ready", "word"),
    [
        (False, False, False, "starting"),
        (True, False, True, "ready"),
        (True, True, False, "draining"),
        (False, True, False, "draining"),
    ],
)
def test_a_gateway_is_ready_from_its_start_to_its_drain(loaded: bool, draining: bool, ready: bool, word: str) -> None:
    state = State()
    state.loaded, state.draining = loaded, draining
    assert (state.ready, state.readiness) == (ready, word)


@pytest.fixture
def loggers() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, log.level
    yield
    root.handlers[:], level, own = before
    root.setLevel(level)
    log.setLevel(own)


@pytest.mark.usefixtures("loggers")
@pytest.mark.parametrize("form", ["text", "json"])
def test_the_log_goes_to_stderr_in_the_form_that_was_asked_for(
    form: LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up(form)
    log.info("settings %s", "loaded\nanew")
    try:
        raise KeyError("gone")
    except KeyError:
        log.exception("failed")
    logging.getLogger("aiohttp").info("libraries stay quiet")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "quiet" not in shown.err
    if form == "text":
        assert shown.err.startswith("audiogate: settings loaded")
        assert "KeyError: 'gone'" in shown.err
    else:
        first, second = (json.loads(line) for line in shown.err.splitlines())
        assert (first["level"], first["message"]) == ("info", "settings loaded\nanew")
        assert first["time"].endswith("Z")
        assert (second["level"], second["message"]) == ("error", "failed")
        assert "KeyError: 'gone'" in second["exception"]
    assert logging.getLogger().handlers[0].stream is sys.stderr  # type: ignore[attr-defined]
