"""Good settings are adopted, bad ones change nothing, and what needs a restart is said."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from proxy.server import reload as module
from proxy.server.reload import Reloader, Source
from proxy.settings import SettingsError, fingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.relay.house import House


class Bench:
    """A settings file, the reloader that watches it, and the houses it handed on."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.adopted: list[House] = []
        self.write()
        source = Source(str(file), {}, {})
        self.reloader = Reloader(source, source.load()[0], self.adopted.append)

    def write(self, **settings: Any) -> None:
        self.file.write_text(json.dumps({"workers": 1, **settings}))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "settings.json")


def test_good_settings_are_adopted(bench: Bench) -> None:
    bench.write(limits={"max_in_flight": 7})
    bench.reloader.reload()
    assert [house.settings.limits.max_in_flight for house in bench.adopted] == [7]
    assert bench.reloader.succeeded


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"workers": "many"}, "workers: must be"),
        ({"default_config": "lost"}, "default_config: there is no config 'lost'"),
    ],
)
def test_bad_settings_change_nothing_and_are_told_on_one_line(
    bench: Bench, caplog: pytest.LogCaptureFixture, settings: dict[str, Any], said: str
) -> None:
    bench.write(**settings)
    bench.reloader.reload()
    assert (bench.adopted, bench.reloader.succeeded) == ([], False)
    (line,) = caplog.messages
    assert line.startswith("settings refused, the old ones stay: ")
    assert said in line
    assert "\n" not in line
    bench.write()
    bench.reloader.reload()
    assert (len(bench.adopted), bench.reloader.succeeded) == (1, True)


def test_what_needs_a_restart_is_said_as_long_as_it_differs_from_what_runs(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    changed = {
        "listen": "127.0.0.1:1",
        "ops": {"listen": "127.0.0.1:2"},
        "workers": 2,
        "metrics": {"key_label": True, "models": 7},
    }
    for settings, warned in ((changed, 5), (changed, 5), ({}, 0)):
        caplog.clear()
        bench.write(**settings)
        bench.reloader.reload()
        assert len([line for line in caplog.messages if line.endswith("a restart is needed for that")]) == warned
    assert len(bench.adopted) == 3  # the rest of them counts all the same


async def test_a_change_of_the_file_is_noticed_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY", 0.005)
    looked = asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()

    def counted(files: tuple[Path, ...]) -> str:
        loop.call_soon_threadsafe(looked.release)
        return fingerprint(files)

    monkeypatch.setattr(module, "fingerprint", counted)
    watching = asyncio.create_task(bench.reloader.watch())

    async def look(times: int) -> None:
        for _ in range(times):
            await asyncio.wait_for(looked.acquire(), 5)

    await look(2)
    assert bench.adopted == []
    bench.write(default_config="lost")
    await look(4)
    assert (bench.adopted, bench.reloader.succeeded) == ([], False)
    bench.write(limits={"max_in_flight": 9})
    await look(4)
    assert [house.settings.limits.max_in_flight for house in bench.adopted] == [9]
    watching.cancel()


def test_a_source_tells_the_mistakes_of_the_names_with_the_files_it_read(bench: Bench) -> None:
    bench.write(default_config="lost", virtual_keys=[{"slug": "a", "provider": "lost"}])
    with pytest.raises(SettingsError) as refused:
        Source(str(bench.file), {}, {}).load()
    assert [mistake.path for mistake in refused.value.mistakes] == ["virtual_keys[0].provider", "default_config"]
    assert refused.value.files == (bench.file,)
    assert refused.value.fingerprint


def test_mistakes_of_shape_and_of_names_are_told_together(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    wrong = {
        "timeouts": {"connct": 3},
        "virtual_keys": [{"slug": "a", "provider": "opnai", "key": "x"}],
        "workers": "?",
    }
    file.write_text(json.dumps({**wrong, "default_config": "nope"}))
    with pytest.raises(SettingsError) as refused:
        Source(str(file), {}, {}).load()
    places = {mistake.path for mistake in refused.value.mistakes}
    assert places == {"timeouts.connct", "workers", "virtual_keys[0].provider", "default_config"}


def test_what_was_left_out_for_a_mistake_makes_no_second_one(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    wrong = {"configs": [{"slug": "c", "config": {"provider": "openai"}, "colour": 1}], "default_config": "c"}
    file.write_text(json.dumps(wrong))
    with pytest.raises(SettingsError) as refused:
        Source(str(file), {}, {}).load()
    assert [mistake.path for mistake in refused.value.mistakes] == ["configs[0].colour"]
