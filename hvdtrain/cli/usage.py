"""Click's own errors in the words of this program: field, value, what is allowed, what to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

import click

from hvdtrain.errors import InputError

# Click's messages quote a value as Python does; a number out of its range stands alone.
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_FIRST_WORD = re.compile(r"\S+")
_IN_BRACKETS = re.compile(r"\((.*)\)")


def explain_usage(error: click.UsageError) -> InputError:
    """The same error as an `InputError`, with the nearest name or value where there is one."""
    help_text = f"see {error.ctx.command_path if error.ctx else 'hvdtrain'} --help"
    match error:
        case click.NoSuchOption(option_name=name):
            return _unknown("option", name, _option_names(error.ctx), help_text)
        case click.NoSuchCommand(command_name=name):
            return _unknown("command", name, _command_names(error.ctx), help_text)
        case click.BadOptionUsage(option_name=name):
            return _bad_option(name, error.ctx, help_text)
        case click.MissingParameter(param=click.Parameter() as param):
            return InputError(_field(param), None, _allowed(param.type), help_text)
        case click.BadParameter(param=click.Parameter() as param):
            return _bad_value(param, error.message, help_text)
    return _other(error, help_text)


def _unknown(what: str, name: str, known: Sequence[str], help_text: str) -> InputError:
    import difflib  # only needed when something is wrong, and start-up time counts

    similar = difflib.get_close_matches(name, known, n=1)
    return InputError(
        what, name, f"one of {', '.join(known)}", similar[0] if similar else help_text
    )


def _bad_option(name: str, ctx: click.Context | None, help_text: str) -> InputError:
    """An option without its value, or a flag with one."""
    for param in ctx.command.params if ctx else ():
        if name in (*param.opts, *param.secondary_opts) and isinstance(param, click.Option):
            if param.is_flag:
                return InputError(name, "a value", "the option alone, without a value", name)
            return InputError(name, None, _allowed(param.type), help_text)
    return InputError(name, None, "a value", help_text)


def _bad_value(param: click.Parameter, message: str, help_text: str) -> InputError:
    field, kind = _field(param), param.type
    value = _value(message)
    if isinstance(kind, click.Choice):
        names = [str(choice) for choice in kind.choices]
        error = _unknown(field, str(value), names, help_text)
        fix = error.fix if error.fix == help_text else _spell(param, error.fix)
        return InputError(field, value, error.allowed, fix)
    if isinstance(kind, click.IntRange | click.FloatRange) and isinstance(value, int | float):
        return InputError(field, value, _allowed(kind), _nearest(param, kind, value) or help_text)
    return InputError(field, value, _allowed(kind) or message, help_text)


def _other(error: click.UsageError, help_text: str) -> InputError:
    found = _IN_BRACKETS.search(error.message)
    if error.ctx is None or found is None:
        return InputError("usage", error.message, "what --help shows", help_text)
    usage = " ".join(error.ctx.command.collect_usage_pieces(error.ctx))
    return InputError("argument", found[1], f"{error.ctx.command_path} {usage}", help_text)


def _field(param: click.Parameter) -> str:
    """An option by its long name, an argument by the word that its help shows."""
    return (
        max(param.opts, key=len) if isinstance(param, click.Option) else param.human_readable_name
    )


def _option_names(ctx: click.Context | None) -> list[str]:
    if ctx is None:
        return []
    params = [each for each in ctx.command.get_params(ctx) if isinstance(each, click.Option)]
    return sorted(name for each in params for name in (*each.opts, *each.secondary_opts))


def _command_names(ctx: click.Context | None) -> list[str]:
    group = ctx.command if ctx else None
    return group.list_commands(ctx) if ctx and isinstance(group, click.Group) else []


def _value(message: str) -> object:
    """The value that one of click's messages is about."""
    quoted = _QUOTED.search(message)
    if quoted:
        return ast.literal_eval(quoted[0])
    word = _FIRST_WORD.search(message)
    try:
        return ast.literal_eval(word[0]) if word else message
    except (ValueError, SyntaxError):
        return message


def _allowed(kind: click.ParamType[Any]) -> str:
    """What a type takes, in words."""
    match kind:
        case click.Choice():
            return f"one of {', '.join(map(str, kind.choices))}"
        case click.IntRange():
            return f"a whole number{_range(kind)}"
        case click.FloatRange():
            return f"a number{_range(kind)}"
        case click.Path(exists=True, file_okay=False):
            return "a folder that exists"
        case click.Path():
            return "a path" if kind.dir_okay else "the path of a file"
    return {"integer": "a whole number", "float": "a number", "boolean": "true or false"}.get(
        kind.name, "a value"
    )


def _range(kind: click.IntRange | click.FloatRange) -> str:
    if None not in (kind.min, kind.max) and not (kind.min_open or kind.max_open):
        return f" from {kind.min} to {kind.max}"
    least = "" if kind.min is None else f", {'above' if kind.min_open else 'at least'} {kind.min}"
    most = "" if kind.max is None else f", {'below' if kind.max_open else 'at most'} {kind.max}"
    return least + most


def _nearest(
    param: click.Parameter, kind: click.IntRange | click.FloatRange, value: float
) -> str | None:
    """The end of the range that is nearest, where it belongs to the range."""
    if kind.min is not None and value <= kind.min:
        return None if kind.min_open else _spell(param, kind.min)
    return None if kind.max is None or kind.max_open else _spell(param, kind.max)


def _spell(param: click.Parameter, value: object) -> str:
    """How the value is given."""
    return f"{_field(param)} {value}" if isinstance(param, click.Option) else str(value)
