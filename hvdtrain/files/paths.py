"""Paths as people write them."""

from __future__ import annotations

import os
import re

from hvdtrain.errors import InputError

_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)[^}]*\})", re.ASCII)


def expand_path(field: str, text: str) -> str:
    """A path with the home folder in place of a `~` at its beginning.

    A shell leaves `~` as it is in `--data=~/images`, and nothing replaces it in a file. A variable
    is refused: it may have another value where the path is used. A `$` in the name of something
    that is there is no variable.

    Args:
        field: What the path was given for.
        text: The path as the user wrote it.

    Raises:
        InputError: A variable such as `$SCRATCH` is left in it; the message says what it stands
            for here. Or it is not UTF-8.
    """
    require_utf8(field, text)
    found = _VARIABLE.search(text)
    if found is not None and not os.path.lexists(text):
        name = found[1] or found[2]
        value = os.environ.get(name)
        fix = f"{name} is not set here"
        if value is not None:
            fix = f"here it stands for {text.replace(found[0], value)}"
        raise InputError(field, text, f"a path without variables; nothing replaces {found[0]}", fix)
    return os.path.expanduser(text)


def absolute_path(field: str, path: str | os.PathLike[str]) -> str:
    """The path from the root on; nothing need be there.

    Raises:
        InputError: It is relative, and the working folder has been removed; or it is not UTF-8.
    """
    try:
        return require_utf8(field, os.path.abspath(path))
    except FileNotFoundError:
        raise InputError(
            field,
            str(path),
            "a whole path, as the working folder has been removed",
            "change to a folder that exists",
        ) from None


def require_utf8(field: str, text: str) -> str:
    """The text, when it is UTF-8: nothing else can stand in a script or a JSON file.

    Raises:
        InputError: It is not; the message has its bytes.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        name = os.fsencode(text)
        fix = "give a file with such a name another one, as convmv does"
        raise InputError(field, name, "text in UTF-8", fix) from None
    return text
