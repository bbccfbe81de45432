"""What is kept reaches its place whole or not at all, and the disk before what comes after it."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hvdtrain.errors import InputError, RunError
from hvdtrain.files.atomic import (
    create_file,
    create_folder,
    remove_folder,
    remove_leftovers,
    rename,
    replace_file,
    replacing,
    run_errors,
    write_output,
)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def fail_with(number: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def refuse_folders(folder: Path, number: int) -> Callable[[int], None]:
    """An fsync that fails for one folder."""
    sync = os.fsync

    def refuse(descriptor: int) -> None:
        if os.path.samestat(os.fstat(descriptor), folder.stat()):
            fail_with(number)()
        sync(descriptor)

    return refuse


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The system calls that matter, in order, with what the file's content was then."""
    seen: list[str] = []
    sync, replace, link = os.fsync, os.replace, os.link

    def spied_sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            seen.append("sync folder")
        else:
            seen.append(f"sync {os.fstat(descriptor).st_size} bytes")
        sync(descriptor)

    def spied_replace(source: str, target: str) -> None:
        seen.append("rename")
        replace(source, target)

    def spied_link(source: str, target: str) -> None:
        seen.append("link")
        link(source, target)

    monkeypatch.setattr(os, "fsync", spied_sync)
    monkeypatch.setattr(os, "replace", spied_replace)
    monkeypatch.setattr(os, "link", spied_link)
    return seen


def test_a_file_is_on_the_disk_before_its_name_and_that_before_what_follows(
    tmp_path: Path, calls: list[str]
) -> None:
    replace_file(tmp_path / "a", b"12345")
    assert calls == ["sync 5 bytes", "rename", "sync folder"]
    calls.clear()
    assert create_file(tmp_path / "b", b"123")
    assert calls == ["sync 3 bytes", "link", "sync folder"]
    calls.clear()
    assert create_folder(tmp_path / "c", {"x": b"1", "y": b"22"})
    assert calls == ["sync 1 bytes", "sync 2 bytes", "sync folder", "sync folder"]


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    path.write_text("old")
    write_output(path, "new é\n")
    assert path.read_bytes() == "new é\n".encode()
    replace_file(path, b"newer")
    assert path.read_bytes() == b"newer"
    assert names(tmp_path) == ["table.md"]


def test_the_umask_says_who_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "a", b"")
        create_file(tmp_path / "b", b"")
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"] == [0o640] * 2


@pytest.mark.parametrize("write", [write_output, replace_file])
def test_a_link_keeps_pointing_where_it_did(
    tmp_path: Path, write: Callable[[Path, bytes], None]
) -> None:
    (tmp_path / "real.md").write_text("old")
    (tmp_path / "link.md").symlink_to("real.md")
    write(tmp_path / "link.md", b"new")
    assert (tmp_path / "link.md").is_symlink()
    assert (tmp_path / "real.md").read_text() == "new"


def test_an_open_folder_is_written_to_whatever_becomes_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    folder = os.open(tmp_path / "mine", os.O_RDONLY)
    (tmp_path / "mine").rename(tmp_path / "moved")
    replace_file(Path(f"/proc/self/fd/{folder}/journal"), b"1")
    os.close(folder)
    assert names(tmp_path) == ["moved"]
    assert names(tmp_path / "moved") == ["journal"]


def test_what_exists_is_never_created_anew(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "a").write_text("first")
    assert not create_file(tmp_path / "a", b"second")
    assert not create_file(tmp_path / "dangling", b"second")
    assert (tmp_path / "a").read_text() == "first"
    assert names(tmp_path) == ["a", "dangling"]


def test_of_many_that_create_a_file_one_does(tmp_path: Path) -> None:
    won: list[int] = []
    start = threading.Barrier(8)

    def create(number: int) -> None:
        start.wait()
        if create_file(tmp_path / "record", b"%d" % number):
            won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "record").read_bytes() == b"%d" % won[0]
    assert len(won) == 1
    assert names(tmp_path) == ["record"]


def test_a_folder_takes_the_place_of_an_empty_one_at_most(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert create_folder(tmp_path / "empty", {"a": b"1"})
    assert not create_folder(tmp_path / "empty", {"a": b"2"})
    (tmp_path / "file").write_text("")
    assert not create_folder(tmp_path / "file", {"a": b"1"})
    assert create_folder(tmp_path / "new" / "folder", {"a": b"1"})
    assert (tmp_path / "empty" / "a").read_bytes() == b"1"
    assert names(tmp_path) == ["empty", "file", "new"]
    with pytest.raises(RunError, match=r"the folder .*file/folder cannot be made: Not a directory"):
        create_folder(tmp_path / "file" / "folder", {"a": b"1"})


def test_a_folder_of_which_a_file_cannot_be_written_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(os, "fsync", fail_with(errno.EDQUOT))
    for name in ("run", "empty"):
        with pytest.raises(RunError, match=r"cannot be made: Disk quota exceeded\n.*your quota"):
            create_folder(tmp_path / name, {"a": b"1", "b": b"2"})
    assert names(tmp_path) == ["empty"]


def test_only_the_files_of_a_folder_are_removed_with_it(tmp_path: Path) -> None:
    create_folder(tmp_path / "run", {"a": b"1"})
    (tmp_path / "run" / "thesis.tex").write_text("")
    remove_folder(tmp_path / "run", ["a", "b"])
    assert names(tmp_path / "run") == ["thesis.tex"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.ENOSPC, "make room on that file system; then start again"),
        (errno.EDQUOT, "your quota there is used up: remove files, or ask for more; then start"),
        (errno.EROFS, "that file system takes no writes: name another folder"),
        (errno.EACCES, "make the folder writable, or name another one; then start again"),
        (errno.EIO, "fix: start again"),
    ],
)
def test_what_the_system_refuses_is_said_with_what_to_do_and_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, fix: str
) -> None:
    path = tmp_path / "record.json"
    path.write_text("old")
    monkeypatch.setattr(os, call, fail_with(number))
    with pytest.raises(RunError) as caught:
        replace_file(path, b"new", "start again")
    assert caught.value.message == f"{path} cannot be written: {os.strerror(number)}"
    assert fix in str(caught.value)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["record.json"]


def test_a_file_that_cannot_be_created_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", fail_with(errno.EROFS))
    with pytest.raises(RunError, match="record cannot be written: Read-only file system"):
        create_file(tmp_path / "record", b"new")
    assert names(tmp_path) == []


def test_a_new_file_has_one_name_when_its_folder_comes_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, seen = os.fsync, []

    def look(descriptor: int) -> None:
        seen.append(names(tmp_path))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    assert create_file(tmp_path / "a", b"1")
    assert seen[-1] == ["a"]


def test_an_error_in_between_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    def write_half() -> None:
        with replacing(tmp_path / "a") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_another_library_may_write_by_the_name(tmp_path: Path) -> None:
    with replacing(tmp_path / "shard") as file:
        Path(file.name).write_bytes(b"123")
        assert not (tmp_path / "shard").exists()
    assert (tmp_path / "shard").read_bytes() == b"123"


def test_a_folder_that_cannot_be_synced_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", refuse_folders(tmp_path, errno.EINVAL))
    replace_file(tmp_path / "a", b"1")
    assert names(tmp_path) == ["a"]


def test_a_name_that_does_not_come_to_the_disk_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", refuse_folders(tmp_path, errno.ENOSPC))
    with pytest.raises(RunError, match="a cannot be written: No space left on device"):
        create_file(tmp_path / "a", b"1")
    with pytest.raises(RunError, match="b cannot be made: No space left on device"):
        create_folder(tmp_path / "b", {"c": b"1"})
    assert names(tmp_path) == []


@pytest.mark.parametrize("taken", [True, False])
def test_a_file_that_another_removes_before_it_has_its_name_takes_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    usual = os.link

    def link(source: str, target: Path) -> None:
        os.unlink(source)
        if taken:
            target.write_text("another's")
        usual(source, target)

    monkeypatch.setattr(os, "link", link)
    if taken:
        assert not create_file(tmp_path / "a", b"1")
        assert (tmp_path / "a").read_text() == "another's"
    else:
        with pytest.raises(RunError, match="a cannot be written: No such file"):
            create_file(tmp_path / "a", b"1")
    assert names(tmp_path) == ["a"] * taken


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (
        ".plan.json.0a1b2c3d.partial",
        ".record.json.0a1b2c3d.partial",
        ".plan.json",
        "plan.json",
        "x.partial",
    ):
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path, "plan.json")
    assert names(tmp_path) == [
        ".plan.json",
        ".record.json.0a1b2c3d.partial",
        "plan.json",
        "x.partial",
    ]
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".plan.json", "plan.json", "x.partial"]
    remove_leftovers(tmp_path / "none")


def test_a_name_of_the_greatest_length_can_be_written(tmp_path: Path) -> None:
    name = "x" * 255
    write_output(tmp_path / name, "1")
    assert names(tmp_path) == [name]


def test_a_new_name(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("1")
    rename(tmp_path / "record.json", tmp_path / "record-1.json")
    assert names(tmp_path) == ["record-1.json"]
    with pytest.raises(RunError, match=r"record.json cannot be renamed to record-2.json: No such"):
        rename(tmp_path / "record.json", tmp_path / "record-2.json")


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ValueError, match="mine"), run_errors("it failed"):
        raise ValueError("mine")


def test_the_old_output_stays_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.md"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", fail_with(errno.ENOSPC))
    with pytest.raises(InputError, match="No space left") as caught:
        write_output(path, "new")
    assert caught.value.fix == "make room on that file system"
    assert path.read_text() == "old"
    assert names(tmp_path) == ["table.md"]


@pytest.mark.parametrize("name", ["missing/table.md", ".", "file/table.md", "x" * 256])
def test_a_place_where_no_file_can_be(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--output"):
        write_output(tmp_path / name, "new")


def test_a_device_is_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="--output"):
        write_output(pipe, "new")
    assert pipe.is_fifo()
