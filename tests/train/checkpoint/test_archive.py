"""A checkpoint is whole or it is not used, whatever happened to its file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdtrain.errors import RunError
from hvdtrain.train.checkpoint.archive import (
    DamagedError,
    find_snapshots,
    read_checkpoint,
    read_newest,
    remove_checkpoints,
    write_checkpoint,
    write_snapshot,
)
from tests.samples import sample_checkpoint, sample_plan


def test_comes_back_bit_for_bit(tmp_path: Path) -> None:
    written = sample_checkpoint()
    path = write_checkpoint(tmp_path / "checkpoints", written)
    read = read_checkpoint(path)
    assert read.state == written.state
    for before, after in zip(written.replicated, read.replicated, strict=True):
        assert (before.dtype, before.shape) == (after.dtype, after.shape)
        assert before.tobytes() == after.tobytes()
    assert np.array_equal(read.per_rank, written.per_rank)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_keeps_the_newest_two(tmp_path: Path) -> None:
    for step in (1, 20, 300):
        write_checkpoint(tmp_path, sample_checkpoint(step))
    assert sorted(int(file.stem[-10:]) for file in tmp_path.iterdir()) == [20, 300]
    newest, damaged = read_newest(tmp_path)
    assert newest is not None
    assert (newest.state.step, damaged) == (300, [])


def test_half_a_file_of_a_killed_process_is_cleaned_away(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-0000000003.npz.partial").write_bytes(b"half")
    write_checkpoint(tmp_path, sample_checkpoint(4))
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint-0000000004.npz"]


def test_a_folder_without_checkpoints_has_none(tmp_path: Path) -> None:
    assert read_newest(tmp_path / "none") == (None, [])
    (tmp_path / "checkpoint-0000000009.npz.partial").write_bytes(b"half")
    assert read_newest(tmp_path) == (None, [])


def test_a_damaged_one_is_named_and_the_one_before_is_used(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, sample_checkpoint(5))
    newest = write_checkpoint(tmp_path, sample_checkpoint(9))
    newest.write_bytes(newest.read_bytes()[:-100])
    found, damaged = read_newest(tmp_path)
    assert found is not None
    assert found.state.step == 5
    assert len(damaged) == 1
    assert str(newest) in damaged[0]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_checkpoint(tmp_path_factory.mktemp("whole"), sample_checkpoint()).read_bytes()


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_damage_changes_what_is_read(
    data: st.DataObject, whole: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    content = bytearray(whole)
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(whole) - 1)) :]
    else:
        for at in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
            content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        read = read_checkpoint(path)
    except DamagedError:
        return
    # What is left are bytes that mean nothing, such as the time of a member.
    assert read.state == sample_checkpoint().state
    assert read.per_rank.tobytes() == sample_checkpoint().per_rank.tobytes()


def test_an_archive_that_lies_is_seen(tmp_path: Path) -> None:
    """All checksums of the archive itself are right, and one number is not."""
    path = write_checkpoint(tmp_path, sample_checkpoint())
    with np.load(path) as archive:
        members = {name: archive[name] for name in archive.files}
    members["own"] = members["own"] + 1
    np.savez(path, **members)
    with pytest.raises(DamagedError, match="checksum"):
        read_checkpoint(path)
    del members["own"]
    np.savez(path, **members)
    with pytest.raises(DamagedError, match="it has no own"):
        read_checkpoint(path)


def test_a_full_disk_is_said_and_older_checkpoints_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path, sample_checkpoint(5))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"checkpoint-0000000009.npz cannot be written: No space"):
        write_checkpoint(tmp_path, sample_checkpoint(9))
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint-0000000005.npz"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(RunError, match=r"checkpoints/checkpoint-0000000007.npz cannot be written"):
        write_checkpoint(tmp_path / "checkpoints", sample_checkpoint())


def test_removes_all_of_them_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    write_checkpoint(folder, sample_checkpoint())
    (folder / "checkpoint-0000000009.npz.partial").write_bytes(b"half")
    remove_checkpoints(folder)
    assert not folder.exists()
    write_checkpoint(folder, sample_checkpoint())
    (folder / "notes").write_text("mine")
    remove_checkpoints(folder)
    assert [file.name for file in folder.iterdir()] == ["notes"]


def test_the_state_says_what_it_is(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, sample_checkpoint())
    with np.load(path, allow_pickle=False) as archive:
        assert msgspec.json.decode(archive["state"].tobytes())["version"] == 1


def test_snapshots_are_numbered_and_never_pruned(tmp_path: Path) -> None:
    assert find_snapshots(tmp_path / "none") == {}
    for number in range(1, 12):
        path = write_snapshot(tmp_path, number, sample_checkpoint(number * 100))
        (tmp_path / f"snapshot-{number + 1}.npz.partial").write_bytes(b"half")
    write_checkpoint(tmp_path, sample_checkpoint(3))
    (tmp_path / "snapshot-0.npz").write_bytes(b"no number")
    found = find_snapshots(tmp_path)
    assert list(found) == list(range(1, 12))
    assert found[11] == path
    assert [read_checkpoint(path).state.step for path in found.values()] == [
        number * 100 for number in found
    ]


def test_a_snapshot_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    path = write_snapshot(tmp_path, 1, sample_checkpoint(5, started="at first"))
    before = path.stat()
    assert write_snapshot(tmp_path, 1, sample_checkpoint(5, started="continued")) == path
    assert path.stat() == before


@pytest.mark.parametrize("why", ["damaged", "another plan"])
def test_a_snapshot_that_is_of_no_use_is_replaced(why: str, tmp_path: Path) -> None:
    path = write_snapshot(tmp_path, 1, sample_checkpoint(5, started="at first"))
    changes = {"started": "continued"}
    if why == "damaged":
        path.write_bytes(path.read_bytes()[:-100])
        write_snapshot(tmp_path, 1, sample_checkpoint(5, **changes))
    else:
        write_snapshot(tmp_path, 1, sample_checkpoint(5, plan=sample_plan(seed=3), **changes))
    assert read_checkpoint(path).state.started == "continued"


def test_a_snapshot_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"the snapshot .*snapshot-2.npz cannot be written: No"):
        write_snapshot(tmp_path, 2, sample_checkpoint(9))
    assert list(tmp_path.iterdir()) == []
