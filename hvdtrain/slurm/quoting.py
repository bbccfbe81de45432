"""How values get into a script: quoted, or not at all.

A template never quotes. Whatever it prints passes `finalize`: text becomes one quoted word of the
shell, unless a filter has already made it safe for the place where it stands. A template that
forgets the filter therefore prints a quoted word, never a command.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from hvdtrain.errors import InputError
from hvdtrain.files.fields import is_line

# What decides whether a value of a template stands inside quotes.
_JINJA_STATEMENT = re.compile(r"\{#.*?#\}|\{%.*?%\}", re.DOTALL)
_QUOTES = ("'", '"', "`")
_TOKEN = re.compile(r"\\.|(?<!\S)#[^\n]*|\{\{.*?\}\}|(?<!<)<<-?\s*[\"'\\A-Za-z_]|['\"`]", re.DOTALL)


class Shell(str):
    """Text that is safe where it stands in a script, and is printed as it is."""

    __slots__ = ()


def finalize(value: object) -> Shell:
    """What a template prints for a value: numbers as they are, text as one quoted word.

    Raises:
        InputError: The text holds a control character.
        TypeError: Neither text nor a number.
    """
    if isinstance(value, Shell):
        return value
    if isinstance(value, str):
        return Shell(shlex.quote(_one_line(str(value))))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Shell(value)
    # An undefined name says so itself when it is turned into text.
    raise TypeError(f"a template cannot print a {type(value).__name__}: {value}")


def join_rendered(parts: Iterable[str]) -> Shell:
    """Parts of a template, each already printed by `finalize`, as one."""
    return Shell("".join(parts))


def quote_words(words: Iterable[object], separator: str = " ") -> Shell:
    """Several words of the shell, each quoted."""
    return Shell(separator.join(finalize(word) for word in words))


def comment(text: object) -> Shell:
    """Text for the rest of a comment line.

    Raises:
        InputError: It holds a control character.
    """
    return Shell(_one_line(str(text)))


def directive(name: str, value: str) -> Shell:
    """A line that Slurm reads: `#SBATCH --comment="two words"`; an empty value is a bare flag.

    Slurm splits at spaces and takes # for a comment unless quoted, and a backslash for an escape.
    The working folder is spelled -D: its long name was another one in older versions.

    Raises:
        InputError: The value holds a control character.
    """
    if not value:
        return Shell(f"#SBATCH --{name}")
    option = "-D " if name == "chdir" else f"--{name}="
    text = _one_line(value)
    if not re.fullmatch(r"[A-Za-z0-9._+@%:,=/\[\]-]+", text):
        text = '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
    return Shell(f"#SBATCH {option}{text}")


def refuse_quoted_values(source: str) -> None:
    """Refuse a template that prints a value inside quotes, backquotes or a here-document.

    Raises:
        ValueError: It does; the message gives the line.
    """
    text = _JINJA_STATEMENT.sub(lambda found: "\n" * found[0].count("\n"), source)
    opened, position = "", 0
    while token := _TOKEN.search(text, position):
        found, position = token[0], token.end()
        line = text.count("\n", 0, token.start()) + 1
        if found.startswith("{{") and opened:
            raise ValueError(f"line {line} prints a value inside {opened}: values quote themselves")
        if found.startswith("<<") and not opened:
            raise ValueError(f"line {line} begins a here-document: use printf")
        if found.startswith("#") and opened:
            position = token.start() + 1
        elif found == "\\'" and opened == "'":
            opened = ""
        elif found in _QUOTES:
            opened = "" if found == opened else opened or found


def _one_line(text: str) -> str:
    if not is_line(text):
        raise InputError("a value of the script", text, "text without control characters")
    return text
