"""The code keeps to the map in ``proxy/__init__.py``: its rooms, its arrows, and what pure rooms know nothing of."""

from __future__ import annotations

import re
from functools import cache
from graphlib import CycleError, TopologicalSorter

import pytest

import proxy
from tests.rules.sources import ROOT, Import, imports, module, python_files, tracked

MAP = proxy.__doc__ or ""
ROOMS = re.findall(r"^    (\w+) {2,}\S", MAP, re.MULTILINE)
PURE = set(re.findall(r"``(\w+)``", MAP.partition("Arrows run down only")[2].partition("know nothing of")[0]))
IMPURE_MODULES = {"aiohttp", "asyncio", "time", "os", "random", "secrets", "socket", "threading", "datetime"}

BESIDE = {("providers", "form"), ("form", "audio"), ("records", "metering")}
"""Neighbours on one floor of which the first may use the second."""

APART = {
    "cli": {"server", "settings", "engines", "transcribe"},
    "server": {"engines"},  # the demo plays the engine's sample
    "transcribe": set[str](),
    "engines": set[str](),
}
"""What rooms beside the stairs may import; for ``server`` on top of all that lies below it."""


def floors() -> list[set[str]]:
    """Return the rooms of each floor, the highest first, as the map's arrows say."""
    found = re.search(r"Arrows run down only:\s+``(.*?)``", MAP, re.DOTALL)
    assert found is not None
    arrows = found[1]
    return [set(re.findall(r"\w+", floor)) for floor in arrows.split("→")]


FLOOR = {room: number for number, floor in enumerate(floors()) for room in floor}


def room_of(name: str) -> str:
    """Return the room that a module is in; the map itself is in none."""
    return name.removeprefix("proxy").lstrip(".").partition(".")[0]


@cache
def inner_imports() -> tuple[Import, ...]:
    """Every import between modules of the project."""
    return tuple(
        found
        for path in python_files("proxy")
        for found in imports(path)
        if found.imported.partition(".")[0] == "proxy" and found.imported != "proxy"
    )


def allowed(importer: str, imported: str, *, typing: bool) -> bool:
    """Whether code of the room ``importer`` may import from the room ``imported``."""
    if importer == imported or imported in APART.get(importer, ()):
        return True
    if importer not in FLOOR or imported not in FLOOR:
        return importer == "__main__" and imported == "cli"
    down = FLOOR[imported] - FLOOR[importer]
    return down > 0 or (down == 0 and ((importer, imported) in BESIDE or typing))


def test_the_map_shows_every_room_and_no_other() -> None:
    there = {room_of(module(path)) for path in python_files("proxy")}
    assert set(ROOMS) == there - {"", "__main__"}
    assert len(ROOMS) == len(set(ROOMS))


def test_every_room_is_on_a_floor_or_apart() -> None:
    assert set(ROOMS) == set(FLOOR) | set(APART)
    assert set(FLOOR) >= PURE
    assert PURE


def test_rooms_import_only_what_lies_below_them() -> None:
    wrong = [
        str(found)
        for found in inner_imports()
        if not allowed(room_of(found.importer), room_of(found.imported), typing=found.typing)
    ]
    assert not wrong, "\n".join(wrong)


def test_nobody_imports_the_server_but_the_commands_and_nobody_the_relay_but_the_server() -> None:
    importers = {
        room: {room_of(i.importer) for i in inner_imports() if room_of(i.imported) == room and not i.typing}
        for room in ROOMS
    }
    assert importers["server"] <= {"server", "cli"}
    assert importers["relay"] <= {"relay", "server"}
    assert importers["ops"] <= {"ops", "server"}


def test_only_those_who_keep_records_and_show_them_know_of_the_store() -> None:
    importers = {room_of(i.importer) for i in inner_imports() if room_of(i.imported) == "store"}
    assert importers == {"store", "ops", "server"}


def test_the_console_is_a_folder_of_files_and_no_room() -> None:
    console = [path for path in tracked() if path.relative_to(ROOT).parts[:2] == ("proxy", "console")]
    assert "index.html" in {path.name for path in console}
    assert not [path for path in console if path.suffix == ".py"]


def test_a_command_loads_only_what_it_needs() -> None:
    early = [str(i) for i in inner_imports() if room_of(i.importer) == "cli" and not (i.lazy or i.typing)]
    assert not early, "\n".join(early)


@pytest.mark.parametrize("room", sorted(PURE))
def test_a_pure_room_knows_nothing_of_the_outside(room: str) -> None:
    wrong = [
        str(found)
        for path in python_files("proxy")
        if room_of(module(path)) == room
        for found in imports(path)
        if found.imported.partition(".")[0] in IMPURE_MODULES
    ]
    assert not wrong, "\n".join(wrong)


def test_modules_import_each_other_in_no_circle() -> None:
    modules = {module(path) for path in python_files("proxy")}
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for found in inner_imports():
        if not found.typing:
            inner = {f"{found.imported}.{name}" for name in found.names} & modules
            graph[found.importer] |= inner or {found.imported}
    for name in modules:  # a package's own __init__ may gather its modules
        graph[name].discard(name)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" → ".join(circle.args[1]))


def test_nobody_imports_what_another_module_keeps_to_itself() -> None:
    wrong = [
        f"{found.importer} imports {name} of {found.imported}"
        for found in inner_imports()
        for name in found.names
        if name.startswith("_") and not name.endswith("__")
    ]
    assert not wrong, "\n".join(wrong)
