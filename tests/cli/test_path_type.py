"""Every path of every command is read in the same way."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from hvdtrain.cli.main import COMMANDS, cli
from hvdtrain.cli.path_type import PathType
from hvdtrain.errors import InputError


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


def test_no_command_reads_a_path_in_another_way() -> None:
    found = dict(commands(cli))
    assert len(found) > len(COMMANDS)
    paths = [
        (name, param)
        for name, command in found.items()
        for param in command.params
        if isinstance(param.type, click.Path)
    ]
    assert len(paths) > 30
    others = [f"{name} {param.name}" for name, param in paths if type(param.type) is not PathType]
    assert others == []


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["collect", "$SCRATCH/r"], "RESULTS"),
        (["status", "--results=$SCRATCH/r"], "--results"),
        (["report", "-o", "$SCRATCH/r"], "--output"),
        (["train", "--data=${SCRATCH}/r"], "--data"),
        (["train", "--recipe=$SCRATCH/r.toml"], "--recipe"),
        (["dry-run", "--data=$SCRATCH/r"], "--data"),
        (["stage", "copy", "a", "$SCRATCH/r"], "STAGED"),
        (["schedule", "$SCRATCH/r.toml", "--global-batch=256"], "RECIPE"),
        (["render-job", "--nodes=2", "--data=$SCRATCH/r"], "--data"),
        (["render-job", "--nodes=2", "--job=$SCRATCH/r"], "--job"),
        (["render-job", "--nodes=2", "--hvdtrain=$SCRATCH/r"], "--hvdtrain"),
        (["sweep", "$SCRATCH/s.toml"], "FILE"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_variable_is_refused(
    words: list[str], field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch/me")
    with pytest.raises(InputError) as caught:
        CliRunner().invoke(cli, words, catch_exceptions=False)
    assert caught.value.field == field
    assert "/scratch/me/" in caught.value.fix
