"""What `hvdtrain stage` says, and which of several ranks of a node does the work."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from hvdtrain.commands.job.stage import Teller, command
from hvdtrain.errors import InputError, RunError
from hvdtrain.train.data.dataset import discover
from tests.train.data.records import write_frames

TRAIN = "train-0-of-1"


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    (tmp_path / "source").mkdir()
    for name in (TRAIN, "validation-0-of-1"):
        write_frames(tmp_path / "source" / name, [b"images"])
    return [str(tmp_path / "source"), str(tmp_path / "staged")]


def run(*words: str, **environ: str) -> str:
    """What it says on stderr; stdout is empty."""
    result = CliRunner(env=environ).invoke(command, words, catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (0, "")
    return result.stderr


def test_copies_checks_and_removes(words: list[str]) -> None:
    said = run("copy", *words)
    assert f"hvdtrain: staging on {socket.gethostname()}: 2 files, 44 B, of them 0 files" in said
    assert "2 files, 44 B, are as they were copied" in run("verify", *words)
    assert run("remove", words[1]) == ""
    assert not Path(words[1]).exists()
    with pytest.raises(RunError, match=rf"^{socket.gethostname()}: there is no .*staged"):
        run("verify", *words)


def test_one_node_looks_through_the_data_for_all(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = str(tmp_path / "files.json")
    assert "2 files, 44 B, to copy; looked through in" in run("list", words[0], listed)

    def refuse(folder: Path) -> None:
        raise AssertionError(f"{folder} was looked through once more")

    monkeypatch.setattr("hvdtrain.train.data.dataset.find_data", refuse)
    assert "2 files, 44 B, of them 0 files" in run("copy", "--list", listed, *words)
    assert "2 files, 44 B, are as they were" in run("verify", "--list", listed, *words)
    run("remove", words[1])
    run("open", "--list", listed, *words)
    assert "0 files sent to every node" in run("broadcast", "--list", listed, *words)
    write_frames(Path(words[0]) / TRAIN, [b"other images"])
    with pytest.raises(RunError, match=rf"{TRAIN}' was changed while it was copied"):
        run("copy", "--list", listed, *words)
    Path(listed).write_text("{}")
    with pytest.raises(InputError, match=r"files\.json"):
        run("copy", "--list", listed, *words)


def test_what_no_training_reads_is_not_copied(tmp_path: Path) -> None:
    source, staged = tmp_path / "source", tmp_path / "staged"
    images = ["train/a/1.jpg", "train/b/2.JPEG", "val/a/3.png", "val/b/4.jfif"]
    for name in (*images, "test/5.jpg", "ILSVRC.tar", "devkit/readme.txt", "val/a/.hidden.jpg"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    (source / "train" / "a" / "6.webp").write_text("")
    (source / "train" / "a" / "7.jpg").symlink_to("nowhere")
    (source / "train" / "a" / "up").symlink_to(source)
    (source / "train" / "b" / "circle.jpg").symlink_to("circle.jpg")
    os.mkfifo(source / "val" / "a" / "8.jpg")
    said = run("copy", str(source), str(staged))
    data = staged / "data"
    copied = sorted(str(path.relative_to(data)) for path in data.rglob("*") if path.is_file())
    assert copied == images
    told = [line.partition(": left out of ")[2] for line in said.splitlines()]
    assert told[:-1] == [
        f"{source}: files ending in .webp: 1, such as '{source}/train/a/6.webp'",
        f"{source}: folders: 1, such as '{source}/train/a/up'",
        f"{source}: links to nothing: 2, such as '{source}/train/a/7.jpg'",
        f"{source}: pipes, sockets or devices: 1, such as '{source}/val/a/8.jpg'",
    ]
    # A training sees the same data in the copy.
    assert discover(data)[1] == discover(source)[1]
    assert "4 files" in run("verify", str(source), str(staged))


def test_a_source_that_no_training_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images.tar").write_text("")
    with pytest.raises(InputError, match=r"found images\.tar"):
        run("copy", str(tmp_path), str(tmp_path / "staged"))
    assert not (tmp_path / "staged").exists()


def test_of_several_ranks_of_a_node_the_first_does_the_work(words: list[str]) -> None:
    rank = {"PMI_RANK": "5", "PMI_SIZE": "8"}
    run("copy", *words, MPI_LOCALRANKID="1", **rank)
    assert not Path(words[1]).exists()
    # Only the first node talks: the others would say the same.
    assert run("copy", *words, MPI_LOCALRANKID="0", **rank) == ""
    assert b"images" in (Path(words[1]) / "data" / TRAIN).read_bytes()
    run("remove", words[1], MPI_LOCALRANKID="1", **rank)
    assert Path(words[1]).exists()


def test_nodes_with_other_data_stop(words: list[str], tmp_path: Path) -> None:
    shared = str(tmp_path / "sum")
    run("copy", "--same-as", shared, *words)
    write_frames(tmp_path / "source" / TRAIN, [b"others"])
    with pytest.raises(RunError, match=r"is not what .* has read"):
        run("copy", "--same-as", shared, words[0], str(tmp_path / "staged2"))


def test_a_log_gets_a_few_lines_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = iter(range(100_000))
    teller = Teller(speaks=True, clock=lambda: next(seconds))
    for done in range(10_001):
        teller.tell(done, 10_000)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 9
    assert lines[0].endswith("1 kB of 10 kB, 10%")
    hurried = Teller(speaks=True, clock=lambda: 0.0)
    hurried.tell(5, 10)
    Teller(speaks=False, clock=lambda: next(seconds)).tell(5, 10)
    assert capsys.readouterr().err == ""
