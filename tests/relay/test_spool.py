"""What a spool keeps, where, in which form, and what it gives back (reliability 3)."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.relay.spool import Budget, Spool, SpoolFullError
from proxy.settings import Replay

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = b"the patient's name is"


def limits(folder: Path, *, memory: int = 10, per_request: int = 1_000_000, encrypt: bool = True) -> Replay:
    return Replay(memory=memory, per_request=per_request, directory=folder, encrypt=encrypt)


def everything(spool: Spool) -> bytes:
    return b"".join(iter(spool.reader().read, b""))


def descriptors() -> set[str]:
    listed = list(Path("/proc/self/fd").iterdir())
    return {each.name for each in listed if each.is_symlink()}  # the listing's own is closed by now


@pytest.mark.parametrize("encrypt", [True, False])
def test_what_was_kept_is_read_back_any_number_of_times(tmp_path: Path, encrypt: bool) -> None:
    data = random.Random(1).randbytes(700_000)  # several reads of the file
    with closing(Spool(limits(tmp_path, memory=100_000, encrypt=encrypt), Budget(1 << 20))) as spool:
        for at in range(0, len(data), 30_000):
            spool.append(data[at : at + 30_000])
        assert spool.size == len(data)
        assert everything(spool) == data
        assert everything(spool) == data


@given(st.lists(st.binary(max_size=20), max_size=12), st.integers(0, 40), st.booleans())
def test_a_reader_follows_whatever_the_chunks_and_wherever_memory_ends(
    chunks: list[bytes], memory: int, encrypt: bool
) -> None:
    budget = Budget(1_000)
    with closing(Spool(limits(Path(tempfile.gettempdir()), memory=memory, encrypt=encrypt), budget)) as spool:
        following, seen = spool.reader(), b""
        for chunk in (each for each in chunks if each):
            spool.append(chunk)
            seen += following.read()
        seen += b"".join(iter(following.read, b""))
        assert seen == everything(spool) == b"".join(chunks)
        assert budget.used == spool.size
    assert budget.used == 0


def test_the_first_bytes_stay_in_memory_and_open_no_file(tmp_path: Path) -> None:
    before = descriptors()
    with closing(Spool(limits(tmp_path), Budget(100))) as spool:
        spool.append(b"12345")
        spool.append(b"67890")
        assert (spool.where, descriptors()) == ("memory", before)
        spool.append(b"1")
        assert spool.where == "disk"
        assert len(descriptors()) == len(before) + 1
    assert descriptors() == before


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[tuple[Spool, Path]]:
    before = descriptors()
    with closing(Spool(limits(tmp_path), Budget(1 << 20))) as spool:
        spool.append(b"x" * 10)
        for _ in range(50):
            spool.append(MARK * 100)
        (descriptor,) = descriptors() - before
        yield spool, Path("/proc/self/fd", descriptor)


def test_the_file_has_no_name_and_nobody_else_may_open_it(on_disk: tuple[Spool, Path], tmp_path: Path) -> None:
    _, file = on_disk
    assert list(tmp_path.iterdir()) == []
    assert str(file.readlink()).endswith("(deleted)")
    state = file.stat()
    assert (state.st_nlink, state.st_mode & 0o777) == (0, 0o600)
    assert not os.get_inheritable(int(file.name))


def test_the_file_holds_nothing_of_the_plaintext(on_disk: tuple[Spool, Path]) -> None:
    spool, file = on_disk
    kept = file.read_bytes()
    assert len(kept) == spool.size - 10
    assert not any(MARK[at : at + 4] in kept for at in range(len(MARK) - 3))
    assert MARK * 100 in everything(spool)


def test_every_spool_has_a_key_of_its_own(tmp_path: Path) -> None:
    kept = []
    for _ in range(2):
        before = descriptors()
        with closing(Spool(limits(tmp_path, memory=0), Budget(1_000))) as spool:
            spool.append(b"\0" * 500)
            (descriptor,) = descriptors() - before
            kept.append(Path("/proc/self/fd", descriptor).read_bytes())
    assert kept[0] != kept[1]


def test_encryption_can_be_turned_off(tmp_path: Path) -> None:
    before = descriptors()
    with closing(Spool(limits(tmp_path, memory=0, encrypt=False), Budget(1_000))) as spool:
        spool.append(MARK)
        (descriptor,) = descriptors() - before
        assert Path("/proc/self/fd", descriptor).read_bytes() == MARK


def test_a_file_that_could_be_read_goes_with_its_upload(tmp_path: Path) -> None:
    budget = Budget(1 << 20)
    with closing(Spool(limits(tmp_path), budget)) as other:
        other.append(b"somebody else is still here")
        before = descriptors()
        with closing(Spool(limits(tmp_path, encrypt=False), budget)) as spool:
            spool.append(MARK)
            assert descriptors() > before
        assert descriptors() == before


def test_a_chunk_beyond_the_uploads_limit_is_not_kept_and_the_rest_stays(tmp_path: Path) -> None:
    budget = Budget(1_000)
    with closing(Spool(limits(tmp_path, per_request=12), budget)) as spool:
        spool.append(b"123456789012")
        with pytest.raises(SpoolFullError):
            spool.append(b"3")
        assert (everything(spool), spool.size, budget.used) == (b"123456789012", 12, 12)


def test_all_spools_share_one_budget_and_give_it_back(tmp_path: Path) -> None:
    budget = Budget(20)
    one, two = Spool(limits(tmp_path), budget), Spool(limits(tmp_path), budget)
    one.append(b"x" * 15)
    with pytest.raises(SpoolFullError):
        two.append(b"y" * 6)
    two.append(b"y" * 5)
    assert budget.used == 20
    one.close()
    one.close()
    assert budget.used == 5
    two.append(b"y" * 15)
    two.close()
    assert budget.used == 0


def test_a_folder_that_has_gone_costs_the_replay_and_nothing_else(tmp_path: Path) -> None:
    budget = Budget(1_000)
    with closing(Spool(limits(tmp_path / "gone"), budget)) as spool:
        spool.append(b"in memory")
        with pytest.raises(SpoolFullError):
            spool.append(b"for the disk")
        assert (everything(spool), budget.used) == (b"in memory", 9)
    assert budget.used == 0


def test_a_file_system_without_unnamed_files_gets_one_that_loses_its_name_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY | os.O_WRONLY)  # refused by every file system
    before = descriptors()
    with closing(Spool(limits(tmp_path, memory=0), Budget(1_000))) as spool:
        spool.append(MARK)
        assert list(tmp_path.iterdir()) == []
        assert everything(spool) == MARK
    assert descriptors() == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True)
    if mount.returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("encrypt", [True, False])
def test_a_full_disk_costs_the_replay_and_nothing_else(small_disk: Path, encrypt: bool) -> None:
    budget, before = Budget(1 << 20), descriptors()
    with closing(Spool(limits(small_disk, memory=0, encrypt=encrypt), budget)) as spool:
        spool.append(b"a" * 40_000)
        with pytest.raises(SpoolFullError):
            spool.append(b"b" * 40_000)
        assert (everything(spool), budget.used) == (b"a" * 40_000, 40_000)
        with pytest.raises(SpoolFullError):  # its place in the cipher's stream is lost: nothing more goes to disk
            spool.append(b"c")
    assert (budget.used, descriptors()) == (0, before)


def test_a_thousand_uploads_leave_neither_descriptors_nor_bytes(tmp_path: Path) -> None:
    budget, before = Budget(1 << 20), descriptors()
    for _ in range(1_000):
        with closing(Spool(limits(tmp_path), budget)) as spool:
            spool.append(b"x" * 20)
            spool.reader().read()
    assert (budget.used, descriptors()) == (0, before)


def test_a_file_is_used_again_while_others_are_kept_and_the_last_one_out_closes_them_all(tmp_path: Path) -> None:
    before, budget = descriptors(), Budget(10_000_000)
    keeper = Spool(limits(tmp_path), budget)
    keeper.append(b"k" * 100)
    opened: set[str] = set()
    for number in range(20):
        spool = Spool(limits(tmp_path), budget)
        data = random.Random(number).randbytes(
            3_000 - 100 * number
        )  # shorter each time: the file has more than is ours
        spool.append(data)
        assert everything(spool) == data
        opened |= descriptors() - before
        spool.close()
    assert len(opened) == 2, "a file for the keeper and one for all the others"
    keeper.close()
    assert descriptors() == before


def test_a_file_of_another_folder_is_not_used(tmp_path: Path) -> None:
    before, budget = descriptors(), Budget(10_000_000)
    places = [tmp_path / "a", tmp_path / "b"]
    keeper = Spool(limits(tmp_path), budget)
    keeper.append(b"k" * 100)
    for place in places:
        place.mkdir()
        spool = Spool(limits(place), budget)
        spool.append(MARK * 100)
        (used,) = descriptors() - before - {str(keeper._file)}
        assert Path(f"/proc/self/fd/{used}").readlink().is_relative_to(place)
        spool.close()
    keeper.close()
    assert descriptors() == before


def test_many_files_are_not_all_kept_for_later(tmp_path: Path) -> None:
    before, budget = descriptors(), Budget(10_000_000)
    spools = [Spool(limits(tmp_path), budget) for _ in range(30)]
    for spool in spools:
        spool.append(MARK * 100)
    for spool in spools[1:]:
        spool.close()
    assert len(descriptors() - before) == 1 + 8
    spools[0].close()
    assert descriptors() == before
