"""What a shell proposes for the names of systems, recipes and runs, and for job files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from hvdtrain.cli.config import default_results
from hvdtrain.cli.options import systems_folder
from hvdtrain.errors import InputError


def complete_system(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The systems that `hvdtrain systems` lists."""
    from hvdtrain.plan.machine.system import system_files

    try:
        folder = systems_folder(ctx.params.get("systems_dir"))
    except InputError:
        return []
    return _starting(incomplete, system_files(folder))


def complete_recipe(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The shipped recipes; where none of them fits, files."""
    from hvdtrain.plan.method.recipe import recipe_names

    return [_files(incomplete), *_starting(incomplete, recipe_names())]


def complete_run(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The runs in the results folder of the command line."""
    results = Path(ctx.params.get("results") or default_results())
    try:
        names = [entry.name for entry in results.iterdir() if entry.is_dir()]
    except OSError:
        return []
    return _starting(incomplete, (name for name in names if not name.startswith(".")))


def complete_job_file(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The TOML files of the folder that is being typed; where it has none, any file.

    Of nothing typed, those in `jobs`.
    """
    folder, slash, _ = (incomplete or "jobs/").rpartition("/")
    try:
        names = [path.name for path in Path(f"{folder}{slash}").glob("*.toml")]
    except OSError:
        names = []
    paths = (f"{folder}{slash}{name}" for name in names)
    return [_files(incomplete), *_starting(incomplete, paths)]


def _files(incomplete: str) -> CompletionItem:
    """Asks the shell to complete paths where nothing else fits."""
    return CompletionItem(incomplete, type="file")


def _starting(incomplete: str, names: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]
