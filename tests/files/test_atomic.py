"""A table reaches its file whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hvdtrain.errors import InputError
from hvdtrain.files.atomic import write_output


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "table.md"
    path.write_text("old")
    write_output(path, "new é\n")
    assert path.read_bytes() == "new é\n".encode()
    assert os.listdir(tmp_path) == ["table.md"]


def test_a_link_keeps_pointing_where_it_did(tmp_path: Path) -> None:
    (tmp_path / "real.md").write_text("old")
    (tmp_path / "link.md").symlink_to("real.md")
    write_output(tmp_path / "link.md", "new")
    assert (tmp_path / "link.md").is_symlink()
    assert (tmp_path / "real.md").read_text() == "new"


def test_the_old_file_stays_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.md"
    path.write_text("old")

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InputError, match="No space left"):
        write_output(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.md"]


@pytest.mark.parametrize("name", ["missing/table.md", ".", "file/table.md"])
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
