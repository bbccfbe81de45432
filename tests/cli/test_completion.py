"""What a shell proposes, asked the way that bash asks it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hvdtrain.cli.main import main
from hvdtrain.plan.machine.system import system_files
from hvdtrain.plan.method.recipe import recipe_names

PROGRAM = """
import sys
from hvdtrain.cli.main import main
try:
    main()
finally:
    loaded = {module.partition(".")[0] for module in sys.modules}
    print(*(f"loaded,{name}" for name in loaded), sep="\\n")
"""


def shell_variables(line: str) -> dict[str, str]:
    """What bash sets when it asks; nothing after the last space of a line: a new word begins."""
    number = len(line.split()) - (0 if line.endswith(" ") else 1)
    return {
        "_HVDTRAIN_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(number),
        "XDG_CONFIG_HOME": "/nowhere",
    }


def read_answers(text: str) -> list[tuple[str, str]]:
    """Kind and value of what is proposed."""
    pairs = (answer.partition(",") for answer in text.splitlines())
    return [(kind, value) for kind, _, value in pairs]


class Shell:
    """A folder in which a line is typed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def complete(self, line: str) -> list[tuple[str, str]]:
        """What is proposed for the last word."""
        for name, value in shell_variables(line).items():
            self._monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as exited:
            main()
        assert not exited.value.code
        return read_answers(self._capsys.readouterr().out)

    def names(self, line: str) -> list[str]:
        """Those of them that are no request to look for files."""
        return [value for kind, value in self.complete(line) if kind == "plain"]


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(monkeypatch, capsys)


@pytest.mark.parametrize(
    "line",
    [
        "hvdtrain render-job --system ",
        "hvdtrain predict --system ",
        "hvdtrain train --system ",
        "hvdtrain cores --system ",
        "hvdtrain systems ",
    ],
)
def test_every_known_system_is_proposed(line: str, shell: Shell) -> None:
    assert shell.names(line) == sorted(system_files(None))


def test_a_system_of_ones_own_is_proposed_from_the_folder_that_is_named(
    tmp_path: Path, shell: Shell
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/stampede9.toml").touch()
    line = "hvdtrain submit --systems-dir mine --system stampede"
    assert "stampede9" in shell.names(line)
    assert "stampede9" not in shell.names("hvdtrain submit --system stampede")
    assert shell.names("hvdtrain submit --systems-dir nowhere --system s") == []


@pytest.mark.parametrize(
    "line",
    [
        "hvdtrain submit --recipe ",
        "hvdtrain train --recipe ",
        "hvdtrain dry-run --recipe ",
        "hvdtrain schedule ",
        "hvdtrain plot schedule ",
    ],
)
def test_recipes_are_proposed_and_files_where_none_fits(line: str, shell: Shell) -> None:
    assert shell.names(line) == recipe_names()
    assert shell.complete(line + "./my") == [("file", "./my")]


@pytest.mark.parametrize(
    "line",
    [
        "hvdtrain status --results {results} tr",
        "hvdtrain cancel --results {results} tr",
        "hvdtrain submit --results {results} --after tr",
        "hvdtrain train --results {results} --run-id tr",
    ],
)
def test_runs_are_the_folders_of_the_results_that_are_named(
    line: str, tmp_path: Path, shell: Shell
) -> None:
    for name in ("trial-2", "trial-1", "other"):
        (tmp_path / "mine" / name).mkdir(parents=True)
    (tmp_path / "mine/trial.txt").touch()
    assert shell.names(line.format(results="mine")) == ["trial-1", "trial-2"]
    assert shell.names(line.format(results="nowhere")) == []


@pytest.mark.parametrize("line", ["hvdtrain status ", "hvdtrain collect --mllog "])
def test_runs_are_those_in_results_where_nothing_else_is_said(
    line: str, tmp_path: Path, shell: Shell
) -> None:
    (tmp_path / "results/one").mkdir(parents=True)
    assert shell.names(line) == ["one"]


def test_job_files_are_those_in_jobs_or_in_the_folder_that_is_typed(
    tmp_path: Path, shell: Shell
) -> None:
    for path in ("jobs/table-05.toml", "jobs/notes.txt", "mine/a.toml", "mine/b.toml"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    assert shell.names("hvdtrain render-job --job ") == ["jobs/table-05.toml"]
    assert shell.names("hvdtrain render-job --job mine/b") == ["mine/b.toml"]
    assert shell.complete("hvdtrain render-job --job nothing") == [("file", "nothing")]


def test_a_proposal_loads_neither_the_training_stack_nor_a_table() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **shell_variables("hvdtrain train --recipe linear-9")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answers = read_answers(done.stdout)
    assert ("plain", "linear-90") in answers
    loaded = {value for kind, value in answers if kind == "loaded"}
    assert "hvdtrain" in loaded
    assert not {"horovod", "matplotlib", "mpi4py", "numpy", "rich", "tensorflow"} & loaded
