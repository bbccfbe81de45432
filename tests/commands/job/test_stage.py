"""What `hvdtrain stage` says, and which of several ranks of a node does the work."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from hvdtrain.commands.job.stage import Teller, command
from hvdtrain.errors import RunError


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "train-0").write_text("images")
    return [str(tmp_path / "source"), str(tmp_path / "staged")]


def run(*words: str, **environ: str) -> str:
    """What it says on stderr; stdout is empty."""
    result = CliRunner(env=environ).invoke(command, words, catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (0, "")
    return result.stderr


def test_copies_checks_and_removes(words: list[str]) -> None:
    said = run("copy", *words)
    assert f"hvdtrain: staging on {socket.gethostname()}: 1 files, 6 B, of them 0 files" in said
    assert "1 files, 6 B, are as they were copied" in run("verify", *words)
    assert run("remove", words[1]) == ""
    assert not Path(words[1]).exists()
    with pytest.raises(RunError, match=rf"^{socket.gethostname()}: there is no .*staged"):
        run("verify", *words)


def test_of_several_ranks_of_a_node_the_first_does_the_work(words: list[str]) -> None:
    rank = {"PMI_RANK": "5", "PMI_SIZE": "8"}
    run("copy", *words, MPI_LOCALRANKID="1", **rank)
    assert not Path(words[1]).exists()
    # Only the first node talks: the others would say the same.
    assert run("copy", *words, MPI_LOCALRANKID="0", **rank) == ""
    assert (Path(words[1]) / "data" / "train-0").read_text() == "images"
    run("remove", words[1], MPI_LOCALRANKID="1", **rank)
    assert Path(words[1]).exists()


def test_nodes_with_other_data_stop(words: list[str], tmp_path: Path) -> None:
    shared = str(tmp_path / "sum")
    run("copy", "--same-as", shared, *words)
    (tmp_path / "source" / "train-0").write_text("others")
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
