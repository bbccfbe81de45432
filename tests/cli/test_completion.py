"""What a shell proposes, asked the way that bash asks it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hvdtrain.plan.machine.system import system_files
from hvdtrain.plan.method.recipe import recipe_names

MAIN = "import sys\nfrom hvdtrain.cli.main import main\n"


def complete(line: str, folder: Path, program: str = MAIN + "main()") -> list[tuple[str, str]]:
    """Kind and value of what is proposed for the last word of a line.

    Args:
        line: Typed so far; nothing after its last space: a new word begins.
        folder: Where.
        program: What is run in place of `hvdtrain`.
    """
    words = line.split()
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={
            **os.environ,
            "_HVDTRAIN_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - (0 if line.endswith(" ") else 1)),
            "XDG_CONFIG_HOME": str(folder / "config"),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pairs = (answer.partition(",") for answer in done.stdout.splitlines())
    return [(kind, value) for kind, _, value in pairs]


def names(line: str, folder: Path) -> list[str]:
    return [value for kind, value in complete(line, folder) if kind == "plain"]


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
def test_every_known_system_is_proposed(line: str, tmp_path: Path) -> None:
    assert names(line, tmp_path) == sorted(system_files(None))


def test_a_system_of_ones_own_is_proposed_from_the_folder_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/stampede9.toml").touch()
    line = "hvdtrain submit --systems-dir mine --system stampede"
    assert "stampede9" in names(line, tmp_path)
    assert "stampede9" not in names("hvdtrain submit --system stampede", tmp_path)
    assert names("hvdtrain submit --systems-dir nowhere --system s", tmp_path) == []


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
def test_recipes_are_proposed_and_files_where_none_fits(line: str, tmp_path: Path) -> None:
    assert names(line, tmp_path) == recipe_names()
    assert complete(line + "./my", tmp_path) == [("file", "./my")]


@pytest.mark.parametrize(
    "line",
    [
        "hvdtrain status --results {results} tr",
        "hvdtrain cancel --results {results} tr",
        "hvdtrain submit --results {results} --after tr",
        "hvdtrain train --results {results} --run-id tr",
    ],
)
def test_runs_are_the_folders_of_the_results_that_are_named(line: str, tmp_path: Path) -> None:
    for name in ("trial-2", "trial-1", "other"):
        (tmp_path / "mine" / name).mkdir(parents=True)
    (tmp_path / "mine/trial.txt").touch()
    assert names(line.format(results="mine"), tmp_path) == ["trial-1", "trial-2"]
    assert names(line.format(results="nowhere"), tmp_path) == []


@pytest.mark.parametrize("line", ["hvdtrain status ", "hvdtrain collect --mllog "])
def test_runs_are_those_in_results_where_nothing_else_is_said(line: str, tmp_path: Path) -> None:
    (tmp_path / "results/one").mkdir(parents=True)
    assert names(line, tmp_path) == ["one"]


def test_job_files_are_those_in_jobs_or_in_the_folder_that_is_typed(tmp_path: Path) -> None:
    for path in ("jobs/table-05.toml", "jobs/notes.txt", "mine/a.toml", "mine/b.toml"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    assert names("hvdtrain render-job --job ", tmp_path) == ["jobs/table-05.toml"]
    assert names("hvdtrain render-job --job mine/b", tmp_path) == ["mine/b.toml"]
    assert complete("hvdtrain render-job --job nothing", tmp_path) == [("file", "nothing")]


def test_a_proposal_loads_neither_the_training_stack_nor_a_table(tmp_path: Path) -> None:
    program = MAIN + (
        "try:\n    main()\nfinally:\n"
        "    loaded = {module.partition('.')[0] for module in sys.modules}\n"
        "    print(*(f'loaded,{name}' for name in loaded), sep='\\n')"
    )
    answers = complete("hvdtrain train --recipe linear-9", tmp_path, program)
    assert ("plain", "linear-90") in answers
    loaded = {value for kind, value in answers if kind == "loaded"}
    assert "hvdtrain" in loaded
    assert not {"horovod", "matplotlib", "mpi4py", "numpy", "rich", "tensorflow"} & loaded
