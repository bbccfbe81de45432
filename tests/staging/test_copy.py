"""A copy is whole and private, or the node says why not."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdtrain.errors import RunError
from hvdtrain.staging import space
from hvdtrain.staging.copy import Staged, copy_data, open_data, remove_data, verify_data
from hvdtrain.staging.listing import Source, look_through

NAMES = ("train/a/1.jpg", "train/b/2.jpg", "val/a/3.jpg", "empty")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("" if name == "empty" else f"content of {name}")
    return folder


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    (tmp_path / "ram").mkdir()
    return tmp_path / "ram" / "hvdtrain-0-run"


def all_of(folder: Path) -> Source:
    """Everything below a folder."""
    return look_through(
        folder,
        [
            os.path.relpath(os.path.join(here, name), folder)
            for here, _, names in os.walk(folder, followlinks=True)
            for name in names
        ],
    )


def copy(source: Path, staged: Path, first: float = 0.0) -> Staged:
    return copy_data(all_of(source), staged, threads=2, first=first, tell=lambda *_: None)


def contents(folder: Path) -> dict[bytes, bytes]:
    """Name and content of all files below a folder."""
    root = os.fsencode(folder)
    return {
        os.path.relpath(os.path.join(here, name), root): open_bytes(os.path.join(here, name))
        for here, _, names in os.walk(root)
        for name in names
    }


def open_bytes(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def test_a_copy_is_the_same_and_private(source: Path, staged: Path) -> None:
    done = copy(source, staged)
    assert (done.files, done.reused) == (4, 0)
    assert contents(staged / "data") == contents(source)
    assert staged.stat().st_mode & 0o777 == 0o700
    assert verify_data(all_of(source), staged, threads=1).sha256 == done.sha256


def test_the_place_to_begin_changes_nothing(source: Path, tmp_path: Path) -> None:
    sums = {copy(source, tmp_path / f"{first}", first).sha256 for first in (0.0, 0.5, 0.99)}
    assert len(sums) == 1


def test_what_is_intact_is_kept(source: Path, staged: Path) -> None:
    copy(source, staged)
    before = (staged / "data" / NAMES[0]).stat().st_ino
    assert copy(source, staged).reused == 4
    assert (staged / "data" / NAMES[0]).stat().st_ino == before


def flip(path: Path) -> None:
    """Other bytes, the same size and time."""
    times = path.stat()
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def to_folder(path: Path) -> None:
    path.unlink()
    (path / "deep").mkdir(parents=True)


def to_link(path: Path) -> None:
    target = path.parents[5] / "elsewhere"
    target.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize(
    "damage",
    [
        flip,
        to_folder,
        to_link,
        lambda path: path.unlink(),
        lambda path: path.write_text("short"),
        lambda path: path.with_name("more").write_text("too much"),
        lambda path: path.with_name("deep").mkdir(),
        lambda path: (path.parents[3] / "staged.jsonl").write_text("{}\n"),
        lambda path: (path.parents[3] / "staged.jsonl").write_bytes(b'{"name":"tra'),
    ],
    ids=["flip", "folder", "link", "gone", "short", "more", "empty-folder", "journal", "cut"],
)
def test_an_altered_copy_is_repaired(damage: object, source: Path, staged: Path) -> None:
    copy(source, staged)
    assert callable(damage)
    damage(staged / "data" / "train" / "a" / "1.jpg")
    first = copy(source, staged)
    assert contents(staged / "data") == contents(source)
    assert not [path for path in staged.rglob("*") if path.is_symlink() or path.name == "deep"]
    assert first.sha256 == verify_data(all_of(source), staged, threads=1).sha256
    elsewhere = staged.parent.parent / "elsewhere"
    assert not elsewhere.exists() or elsewhere.read_text() == "content of train/a/1.jpg"


def test_a_source_that_was_changed_is_copied_anew(source: Path, staged: Path) -> None:
    first = copy(source, staged)
    (source / NAMES[1]).write_text("CONTENT of train/b/2.jpg")
    (source / NAMES[2]).unlink()
    with pytest.raises(RunError, match=r"'train/b/2.jpg', 'val/a/3.jpg'"):
        verify_data(all_of(source), staged, threads=1)
    second = copy(source, staged)
    assert (second.files, second.reused) == (3, 2)
    assert second.sha256 != first.sha256
    assert contents(staged / "data") == contents(source)


def test_a_copy_that_was_cut_off_goes_on(source: Path, staged: Path) -> None:
    class CutOffError(Exception):
        pass

    def tell(done: int, _: int) -> None:
        if done > 20:
            raise CutOffError

    with pytest.raises(CutOffError):
        copy_data(all_of(source), staged, threads=1, first=0.3, tell=tell)
    done = copy(source, staged)
    assert 0 < done.reused < 4
    assert contents(staged / "data") == contents(source)


name_bytes = st.binary(min_size=1, max_size=30).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)


@settings(max_examples=12, deadline=None)
@given(st.lists(name_bytes, min_size=1, max_size=4, unique=True))
def test_any_name_is_copied_and_found_again(names: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = os.fsencode(folder)
        for name in names:
            os.makedirs(os.path.join(root, b"source", name))
            with open(os.path.join(root, b"source", name, name), "wb") as file:
                file.write(name)
        source, staged = Path(folder, "source"), Path(folder, "staged")
        copy(source, staged)
        assert contents(staged / "data") == contents(source)
        assert copy(source, staged).reused == len(names)


def test_links_in_the_source_are_followed(source: Path, staged: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "9.jpg").write_text("far away")
    (source / "train" / "c").symlink_to(tmp_path / "far")
    (source / "val" / "b.jpg").symlink_to(tmp_path / "far" / "9.jpg")
    copy(source, staged)
    assert (staged / "data" / "train" / "c" / "9.jpg").read_text() == "far away"
    assert not [path for path in staged.rglob("*") if path.is_symlink()]


def test_a_source_that_cannot_be_copied_is_named(source: Path, staged: Path) -> None:
    gone = all_of(source)
    (source / "train" / "a" / "1.jpg").unlink()
    with pytest.raises(RunError, match=r"train/a/1.jpg' cannot be read: No such file"):
        look_through(source, [file.name for file in gone.files])
    # Between the list and the copy it can still go.
    with pytest.raises(RunError, match=r"train/a/1.jpg' is not there any more"):
        copy_data(gone, staged, threads=1, first=0.0, tell=lambda *_: None)
    assert not (staged / "data" / "train" / "a" / "1.jpg").exists()


@pytest.mark.parametrize("free", [1, 0, -1])
def test_shared_memory_keeps_room_for_mpi(
    source: Path, staged: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 48)
    monkeypatch.setattr(space, "_free_bytes", lambda _: 208_000_000 + 20_000 * free)
    # Where staged data do not lie in /dev/shm, MPI takes nothing of their room.
    copy(source, staged)
    remove_data(staged)
    monkeypatch.setattr(space, "SHARED_MEMORY", staged.parent)
    if free > 0:
        assert copy(source, staged).files == 4
        return
    with pytest.raises(RunError) as caught:
        copy(source, staged)
    assert caught.value.message == (
        f"{staged.parent} has 0 B free beside 208 MB that MPI needs, and the training data still "
        "needs 14.3 kB"
    )
    assert contents(staged) == {b"staged.jsonl": b""} or contents(staged) == {}


def test_no_room_is_said_and_what_is_there_needs_none(
    source: Path, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = staged.with_name("hvdtrain-0-killed")
    copy(source, left)
    copy(source, staged)
    monkeypatch.setattr(space, "_free_bytes", lambda _: 0)
    assert copy(source, staged).reused == 4
    (staged / "data" / NAMES[0]).unlink()
    flip(staged / "data" / NAMES[1])
    with pytest.raises(RunError) as caught:
        copy(source, staged)
    assert caught.value.message == (
        f"{staged.parent} has 0 B free, and the training data still needs 9.22 kB"
    )
    assert f"remove {left} unless a job of yours uses it" in caught.value.fix
    assert sorted(contents(staged / "data")) == [b"empty", b"val/a/3.jpg"]


def test_a_disk_that_fills_up_all_the_same_is_said(
    source: Path, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for place, said in (
        ("hvdtrain.staging.copy._write_all", r"cannot be copied: No space left"),
        ("os.fsync", r"cannot be used: No space left"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(place, full)
            with pytest.raises(RunError, match=said):
                copy(source, staged)
    assert copy(source, staged).files == 4


def plant_link(staged: Path) -> None:
    (staged.parent / "elsewhere").mkdir(mode=0o700)
    staged.symlink_to(staged.parent / "elsewhere")


def plant_file(staged: Path) -> None:
    staged.write_text("")


def plant_open_folder(staged: Path) -> None:
    staged.mkdir()
    staged.chmod(0o750)


def plant_other_content(staged: Path) -> None:
    staged.mkdir(mode=0o700)
    (staged / "thesis.tex").write_text("")


def plant_foreign_data(staged: Path) -> None:
    (staged / "data").mkdir(parents=True)
    staged.chmod(0o700)


def plant_inner_link(staged: Path) -> None:
    plant_link(staged)
    target = staged.resolve()
    staged.unlink()
    staged.mkdir(mode=0o700)
    (staged / "staged.jsonl").touch()
    (staged / "data").symlink_to(target)


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (plant_link, "it is a link"),
        (plant_file, "Not a directory"),
        (plant_open_folder, "is open to other users"),
        (plant_other_content, "it holds 'thesis.tex'"),
        (plant_foreign_data, "it holds 'data'"),
        (plant_inner_link, "it holds a link"),
    ],
)
def test_what_was_planted_is_refused_and_left_alone(
    plant: object, said: str, source: Path, staged: Path
) -> None:
    assert callable(plant)
    plant(staged)
    before = sorted(staged.parent.rglob("*"))
    for attempt in (
        lambda: copy(source, staged),
        lambda: open_data(all_of(source), staged),
        lambda: remove_data(staged),
    ):
        with pytest.raises(RunError, match=said):
            attempt()
    assert sorted(staged.parent.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(source: Path, staged: Path) -> None:
    staged.mkdir(mode=0o700)
    os.chown(staged, 12345, 12345)
    for attempt in (lambda: copy(source, staged), lambda: remove_data(staged)):
        with pytest.raises(RunError, match="belongs to another user"):
            attempt()
    assert list(staged.iterdir()) == []


def test_a_place_where_folders_can_be_swapped_is_refused(source: Path, staged: Path) -> None:
    staged.parent.chmod(0o777)
    with pytest.raises(RunError, match=r"everybody may rename(.|\n)*chmod \+t"):
        copy(source, staged)
    staged.parent.chmod(0o1777)
    assert copy(source, staged).files == 4


def test_a_place_that_is_not_there_is_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"there is no folder .*nowhere(.|\n)*node.staging"):
        copy(source, tmp_path / "nowhere" / "run")


def test_removes_all_and_nothing_twice(source: Path, staged: Path) -> None:
    copy(source, staged)
    assert remove_data(staged)
    assert list(staged.parent.iterdir()) == []
    assert not remove_data(staged)
