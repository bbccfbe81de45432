"""Standard streams that are full, closed, or read by a program that has ended."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import hvdtrain.commands
from hvdtrain.cli import output
from hvdtrain.commands.submit import command as submit
from hvdtrain.errors import InputError, RunError
from hvdtrain.resources import resource_folder
from tests.collect.records import evaluated, make_record, write_record

COMMANDS = Path(hvdtrain.commands.__file__).parent
RENDER = "render-job --nodes 1536"
QUICK = (RENDER, "systems", "cores", "collect {results}", "--help")
# All others that print something; those that start ranks are below.
PRINTING = (
    "render-job --nodes 1536 --json",
    "submit --nodes 1536 --dry-run",
    "submit --nodes 1536 --dry-run --json",
    "sweep {jobs}/sweeps/table-05.toml --dry-run",
    "sweep {jobs}/sweeps/table-05.toml --dry-run --json",
    "status --results {results}",
    "status --results {results} --json",
    "systems stampede2-knl",
    "systems --json",
    "cores --format sh",
    "cores --json",
    "schedule collapse-90 --global-batch 4096",
    "schedule collapse-90 --global-batch 4096 --json",
    "predict --nodes 256",
    "predict --nodes 256 --json",
    "predict --validate",
    "collect {results} --table V --format json",
    "collect {results} --mllog run",
    "report {results} -o -",
    "--version",
    "collect --help",
)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_record(tmp_path / "results", evaluated(make_record("run"), 1, 0.5))
    return tmp_path / "results"


def run(
    words: str, results: Path, redirection: str = "", stdout: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    """Run a command under a shell that redirects its streams."""
    words = words.format(jobs=resource_folder("jobs"), results=results)
    shell = ["sh", "-c", f'exec "$@" {redirection}', "sh"]
    return subprocess.run(
        [*shell, sys.executable, "-m", "hvdtrain", *words.split()],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(words, marks=() if words in QUICK else pytest.mark.slow)
        for words in (*QUICK, *PRINTING)
    ],
)
def test_a_full_disk_is_one_line_and_exit_1(words: str, results: Path) -> None:
    done = run(words, results, "> /dev/full")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last == "hvdtrain: standard output cannot be written: No space left on device"


@pytest.mark.parametrize("words", [RENDER, "collect {results}", "cores"])
def test_a_closed_stdout_is_one_line_and_exit_1(words: str, results: Path) -> None:
    done = run(words, results, ">&-")
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said == "hvdtrain: standard output is closed: there is nowhere to print to"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [RENDER, "systems", "collect {results}", "--help"])
def test_a_reader_that_has_ended_is_no_error(words: str, results: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(words, results, stdout=writer)
    finally:
        os.close(writer)
    assert done.returncode == 1
    assert all(line.startswith("hvdtrain: note: ") for line in done.stderr.splitlines())


@pytest.mark.parametrize("redirection", ["2>&-", "2> /dev/full", "<&- 2>&-"])
def test_notes_never_reach_stdout(redirection: str, results: Path) -> None:
    done = run(f"{RENDER} --explain", results, redirection)
    assert done.returncode == 0
    assert done.stdout.startswith("#!/bin/bash")
    told = run(f"{RENDER} --explain", results)
    assert done.stdout == told.stdout
    assert "note: " in told.stderr


def test_wrong_input_without_stderr_is_still_exit_2(results: Path) -> None:
    for redirection in ("2>&-", "2> /dev/full"):
        done = run("render-job --nodes 1536 --system nowhere", results, redirection)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_a_closed_stdout_is_no_matter_to_what_prints_nothing(results: Path, tmp_path: Path) -> None:
    # The file must not become the new stdout, nor be mixed with it.
    page = tmp_path / "page.html"
    done = run(f"report {results} -o {page}", results, ">&-")
    assert done.returncode == 0, done.stderr
    assert page.read_text().endswith("</html>")


def test_a_working_folder_that_was_removed_is_wrong_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    words = ["--nodes", "2", "--dry-run", "--chain", "1"]
    with pytest.raises(InputError, match="working folder has been removed"):
        CliRunner().invoke(submit, words, catch_exceptions=False)
    whole = [*words, "--results", "/scratch/results"]
    assert "results=/scratch/results" in CliRunner().invoke(submit, whole).stdout


@pytest.mark.slow
@pytest.mark.tf
@pytest.mark.ranks
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "words",
    ["doctor", "dry-run --model small --ranks 1 --batch 4 --steps 2 --results {results}"],
)
def test_what_starts_ranks_ends_in_one_line_too(words: str, results: Path) -> None:
    done = run(words, results, "> /dev/full")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].endswith("cannot be written: No space left on device")


@pytest.mark.parametrize("module", sorted(path.name for path in COMMANDS.glob("*.py")))
def test_commands_print_in_one_way(module: str) -> None:
    """So that what is shown here of some commands holds for all."""
    tree = ast.parse((COMMANDS / module).read_text())
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not calls & {"print", "click.echo", "click.secho"}
    assert not names & {"sys.stdout", "sys.__stdout__"}


def test_json_is_indented_and_ends_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"a": [1, "ü"]})
    printed = capsys.readouterr().out
    assert printed == '{\n  "a": [\n    1,\n    "ü"\n  ]\n}\n'
    assert json.loads(printed) == {"a": [1, "ü"]}


def test_colours_stay_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_styled("\x1b[31mred\x1b[0m\n")
    assert capsys.readouterr().out == "red\n"


def test_names_that_are_not_utf_8_come_out_as_they_went_in(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    output.print_text(os.fsdecode(b"caf\xe9\n"))
    assert capfdbinary.readouterr().out == b"caf\xe9\n"


def test_nothing_that_is_said_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    output.say("a\x1b[2Jb\nhvdtrain: c")
    output.say_error(InputError("--x\x07", "y", "z", "w"))
    assert capsys.readouterr().err == (
        "hvdtrain: a\\x1b[2Jb\\nhvdtrain: c\nhvdtrain: --x\\x07: 'y' is not possible: z\n  fix: w\n"
    )


def test_work_goes_on_when_a_line_cannot_be_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[str] = []

    def full(text: str) -> None:
        printed.append(text)
        raise RunError("full")

    monkeypatch.setattr(output, "print_text", full)
    lines = output.LateErrors()
    lines.print_line("1")
    lines.print_line("2")
    assert printed == ["1\n"]
    with pytest.raises(RunError, match="full"):
        lines.finish()
