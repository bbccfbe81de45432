"""The kinds of text that files and options may hold: names, lines, paths.

What is legal here needs no thought later: no value can end a line of a script, and a name needs
no quoting at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from hvdtrain.errors import InputError
from hvdtrain.files.paths import require_utf8

_ONE_LINE = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*"
_WORD = r"[A-Za-z0-9][A-Za-z0-9._+@-]*"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_DIRECTIVE = r"[a-z][a-z0-9-]*"
_LONGEST_NAME = 64
LONGEST_JOB_NAME = 64
_LONGEST_LINE = 1000

Word = Annotated[str, Meta(pattern=rf"^{_WORD}\Z", max_length=_LONGEST_NAME)]
"""A name that needs no quoting in any shell."""

Name = Annotated[str, Meta(pattern=rf"^{_NAME}\Z", max_length=_LONGEST_NAME)]
"""A name for a file, a folder or a job."""

Line = Annotated[str, Meta(pattern=rf"^{_ONE_LINE}\Z", max_length=_LONGEST_LINE)]
"""One line of text."""

Folder = Annotated[str, Meta(pattern=rf"^/{_ONE_LINE}\Z", max_length=_LONGEST_LINE)]
"""An absolute path of one line."""

FilePath = Folder
"""The same, of a file."""

FolderOrVariable = Annotated[
    str,
    Meta(pattern=rf"^(/{_ONE_LINE}|\$[A-Za-z_][A-Za-z0-9_]*)\Z", max_length=_LONGEST_LINE),
]
"""An absolute path of one line, or an environment variable that holds one, such as `$TMPDIR`."""

Module = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+@/-]*\Z", max_length=100)]
"""An environment module, such as `impi/2017.4`."""

VariableName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z", max_length=100)]
"""The name of an environment variable."""

DirectiveName = Annotated[str, Meta(pattern=rf"^{_DIRECTIVE}\Z", max_length=_LONGEST_NAME)]
"""The long name of an #SBATCH directive, without the dashes."""


def require_word(field: str, text: str) -> str:
    """The text, when it is a `Word`.

    Raises:
        InputError: It is not.
    """
    return _require(field, text, _WORD, "letters, digits and . _ + @ -")


def require_name(field: str, text: str, longest: int = 120) -> str:
    """The text, when it can name a folder and is no longer than that.

    Raises:
        InputError: It cannot, or is.
    """
    return _require(field, text, _NAME, "letters, digits and . _ -", longest)


def require_directive_name(field: str, text: str) -> str:
    """The text, when it can be the long name of a directive.

    Raises:
        InputError: It cannot.
    """
    return _require(
        field, text, _DIRECTIVE, "small letters, digits and -, as sbatch's long options"
    )


def is_line(text: str) -> bool:
    """Whether the text has no line break and no other control character."""
    return re.fullmatch(_ONE_LINE, text) is not None


def require_line(field: str, text: str) -> str:
    """The text, when it is a `Line` and not empty.

    Raises:
        InputError: It is empty, too long, not UTF-8, or holds a line break or another control
            character.
    """
    require_utf8(field, text)
    if not 1 <= len(text) <= _LONGEST_LINE or not is_line(text):
        raise InputError(
            field,
            text,
            f"one line of 1 to {_LONGEST_LINE} characters, without control characters",
        )
    return text


def printable(text: str) -> str:
    """`text` with every character that a terminal would not print as itself written as `\\xNN`.

    Control characters, escape sequences and marks that turn the direction of writing stay
    visible and have no effect.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def unknown_name(option: str, name: str, known: Sequence[str], otherwise: str = "") -> InputError:
    """The error for a name that is none of the known ones; it proposes the most similar.

    Args:
        option: What takes the name.
        name: What was given.
        known: What would have been right.
        otherwise: What else would have been.
    """
    import difflib  # only needed when something is wrong, and start-up time counts

    allowed = (
        f"one of {', '.join(known)}{otherwise}" if known else f"no name: there is none{otherwise}"
    )
    similar = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return InputError(option, name, allowed, f"{option} {similar[0]}" if similar else "")


def _require(
    field: str, text: str, pattern: str, characters: str, longest: int = _LONGEST_NAME
) -> str:
    if len(text) > longest or not re.fullmatch(pattern, text):
        allowed = f"1 to {longest} {characters}, and a letter or digit first"
        nearest = re.sub(r"[^A-Za-z0-9]+", "-", text)[:longest].strip("-")
        raise InputError(field, text, allowed, f"use {nearest}" if nearest else "")
    return text
