"""`hvdtrain config`: the user's own defaults."""

from __future__ import annotations

import os

import click
import msgspec

from hvdtrain.cli.config import FILE, Config, config_folder, load_config, save_config, with_value
from hvdtrain.cli.defaults import describe_source
from hvdtrain.cli.output import print_json, say
from hvdtrain.cli.table_output import print_table, wide_option
from hvdtrain.collect.tables.table import Column, Table

_KEYS = click.Choice(Config.__struct_fields__)


class Default(msgspec.Struct, frozen=True, kw_only=True):
    """One default: its key, its value, and where that comes from; None and empty: there is none."""

    key: str
    value: str | None
    source: str


_COLUMNS: tuple[Column[Default], ...] = (
    Column("key", lambda default: default.key, shown="narrow"),
    Column("value", lambda default: default.value or "-", shown="narrow"),
    Column("from", lambda default: default.source or "-", shown="narrow"),
)


@click.group(
    invoke_without_command=True, epilog="\b\nExample:\n  hvdtrain config set system stampede3-skx"
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@wide_option
@click.pass_context
def command(ctx: click.Context, as_json: bool, wide: bool) -> None:
    """Show your defaults, or change one: what holds where no option and no job file says anything.

    A variable that sbatch takes, such as SBATCH_ACCOUNT, comes before them; the system's own
    settings come after.
    """
    if ctx.invoked_subcommand is not None:
        return
    config, file = load_config(), config_folder() / FILE
    found = [_default(key, config, describe_source(key, config, os.environ, file))
             for key in Config.__struct_fields__]  # fmt: skip
    print_json(found) if as_json else print_table(Table(columns=_COLUMNS, rows=tuple(found)), wide)


@command.command("set", epilog="\b\nExample:\n  hvdtrain config set account my-project")
@click.argument("key", type=_KEYS)
@click.argument("value")
def set_(key: str, value: str) -> None:
    """Make VALUE the default of KEY."""
    path = save_config(with_value(load_config(), key, value))
    say(f"{key} is kept in {path}")


@command.command("unset", epilog="\b\nExample:\n  hvdtrain config unset partition")
@click.argument("key", type=_KEYS)
def unset(key: str) -> None:
    """Let KEY have no default."""
    path = save_config(with_value(load_config(), key, None))
    say(f"{key} is no longer in {path}")


def _default(key: str, config: Config, source: str) -> Default:
    value = os.environ.get(source) or getattr(config, key)
    return Default(key=key, value=value, source=source)
