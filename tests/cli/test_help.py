"""`--help` of the program and of every command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hvdtrain.cli.main import COMMANDS, SECTIONS, cli
from tests.cli.calls import parse_call


def all_commands(group: click.Group, words: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    """Every command of the program with the words that call it, groups too."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        yield " ".join((*words, name)), command
        if isinstance(command, click.Group):
            yield from all_commands(command, (*words, name))


ALL = dict(all_commands(cli, ()))
# What a program would read: each prints JSON when it is asked to.
READ_BY_PROGRAMS = (
    "render-job",
    "predict",
    "cores",
    "schedule",
    "systems",
    "submit",
    "sweep",
    "status",
    "cancel",
    "dry-run",
    "ensemble",
    "prepare-data",
    "doctor",
    "collect",
    "preflight",
)


def help_of(name: str) -> str:
    done = CliRunner().invoke(cli, [*name.split(), "--help"], prog_name="hvdtrain")
    assert done.exit_code == 0
    return done.stdout


def examples(name: str) -> list[str]:
    """The lines of the help's example that call hvdtrain."""
    _, _, text = help_of(name).partition("Example:\n")
    lines = text.partition("\n\n")[0].splitlines()
    return [line.strip() for line in lines if "hvdtrain" in line]


def test_the_help_has_its_sections_in_the_order_of_a_run_and_every_command_once() -> None:
    text = help_of("")
    places = [text.index(f"\n{title}:\n") for title in SECTIONS]
    assert list(SECTIONS) == ["Plan", "Submit and watch", "Train", "Results", "Inside a job"]
    assert places == sorted(places)
    for name, entry in COMMANDS.items():
        assert text.count(f"  {name} ") == 1
        assert entry.summary in text


@pytest.mark.parametrize("name", ALL)
def test_every_command_shows_an_example_that_it_takes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "results/run").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    lines = examples(name)
    assert lines
    assert any(f"hvdtrain {name}" in line for line in lines)
    for line in lines:
        words = shlex.split(line.partition(" | ")[0])
        words = words[words.index("hvdtrain") :]
        words = ["results/run" if "[" in word else word for word in words]
        parse_call(words[1:])


@pytest.mark.parametrize("name", READ_BY_PROGRAMS)
def test_what_a_program_would_read_comes_as_json(name: str) -> None:
    assert "--json" in help_of(name)
