"""Command lines as the program reads them, without running anything."""

from __future__ import annotations

import click

from hvdtrain.cli.main import cli


def parse_call(words: list[str]) -> None:
    """Read the words after `hvdtrain` as the command does that they call.

    Raises:
        click.UsageError: It does not take them.
    """
    group: click.Command = cli
    name: str | None = None
    while isinstance(group, click.Group) and words and words[0] not in ("--help", "--version"):
        name, command, words = group.resolve_command(click.Context(group), words)
        assert command is not None
        group = command
    if words and words[-1] not in ("--help", "--version"):
        # As below `hvdtrain`: a command keeps the names of its help option from its first context.
        group.make_context(name, list(words), parent=click.Context(cli, **cli.context_settings))
