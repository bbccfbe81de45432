"""Large files are sent with their checksums, and each node checks what came."""

from __future__ import annotations

from pathlib import Path

import pytest

from hvdtrain.errors import RunError
from hvdtrain.staging import broadcast
from hvdtrain.staging.broadcast import broadcast_data
from hvdtrain.staging.copy import copy_data, open_data
from hvdtrain.staging.listing import look_through

NAMES = ("train-1", "train-2", "manifest.json")

# Slurm's own keeps the name for the last word, and --force is one word.
SBCAST = """#!/bin/bash
echo "${*:1:2}" >>"$SENT"
cp -- "$2" "$3"
"""


def silent(done: int, total: int) -> None:
    """Nobody listens."""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"train-{number}").write_bytes(bytes(100 + number))
    (folder / "manifest.json").write_text("{}")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "sbcast").write_text(SBCAST)
    (tmp_path / "tools" / "sbcast").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}:/usr/bin:/bin")
    monkeypatch.setenv("SENT", str(tmp_path / "sent"))
    monkeypatch.setattr(broadcast, "SMALLEST_BYTES", 100)
    return folder


def test_what_was_sent_is_checked_and_the_rest_is_read(source: Path, tmp_path: Path) -> None:
    staged = tmp_path / "staged"
    open_data(look_through(source, NAMES), staged)
    assert broadcast_data(look_through(source, NAMES), staged, silent) == 2
    sent = (tmp_path / "sent").read_text().splitlines()
    assert sent[:2] == [f"--force {source}/train-1", f"--force {source}/train-2"]
    assert len(sent) == 3
    (staged / "data" / "train-2").write_bytes(bytes(101) + b"!")
    done = copy_data(look_through(source, NAMES), staged, threads=1, first=0.0, tell=silent)
    assert (done.files, done.reused) == (3, 1)
    assert (staged / "data" / "train-2").read_bytes() == bytes(102)


def test_a_failure_of_sbcast_is_passed_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody has opened the folder that the file should go to.
    with pytest.raises(RunError, match=r"sbcast cannot send .*train-1': cp: "):
        broadcast_data(look_through(source, NAMES), tmp_path / "staged", silent)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RunError, match=r"sbcast cannot be started(.|\n)*parallel-read"):
        broadcast_data(look_through(source, NAMES), tmp_path / "staged", silent)
