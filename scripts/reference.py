"""Writes docs/commands.md: the help of every command, as click prints it.

python -m scripts.reference
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from hvdtrain.cli.main import SECTIONS, cli
from hvdtrain.files.atomic import write_output

PAGE = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
WIDTH = 100
_HEAD = """# Commands

Made from the program by `make docs`: do not edit. An error names the field, the value, what is
allowed and what to do. Exit codes: 0 done, 1 it ran and failed, 2 wrong input, 130 ended by Ctrl-C;
85 for a training that was ended and can be continued.
"""


def make_page() -> str:
    """The whole page in Markdown, sections as in `hvdtrain --help`."""
    root = click.Context(cli, info_name="hvdtrain", terminal_width=WIDTH, **cli.context_settings)
    text = _HEAD
    for title, entries in SECTIONS.items():
        text += f"\n## {title}\n"
        for name in entries:
            text += "".join(_entry(ctx) for ctx in _contexts(root, name))
    return text


def _contexts(parent: click.Context, name: str) -> Iterator[click.Context]:
    """The command of a group, and those of its own if it is one."""
    assert isinstance(parent.command, click.Group)
    command = parent.command.get_command(parent, name)
    assert command is not None
    ctx = click.Context(command, parent=parent, info_name=name)
    yield ctx
    if isinstance(command, click.Group):
        for inner in command.list_commands(ctx):
            yield from _contexts(ctx, inner)


def _entry(ctx: click.Context) -> str:
    return f"\n### {ctx.command_path}\n\n```\n{ctx.get_help()}\n```\n"


if __name__ == "__main__":
    write_output(PAGE, make_page())
