"""The two ways a command ends badly: wrong input (exit 2) and a run that failed (exit 1)."""

from __future__ import annotations


class HvdtrainError(Exception):
    """An error whose text is meant for the person at the terminal."""

    exit_code = 1


class InputError(HvdtrainError):
    """Something the user gave is wrong. Exit code 2.

    Args:
        field: The name the user knows it by: an option, or the path into a file.
        value: What was given; None: nothing, though it is needed.
        allowed: What would have been accepted, limits included.
        fix: What to do now, the nearest legal value included where there is one.
    """

    exit_code = 2

    def __init__(self, field: str, value: object, allowed: str, fix: str = "") -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        self.fix = fix
        super().__init__(field, value, allowed, fix)

    def __str__(self) -> str:
        given = "missing" if self.value is None else f"{self.value!r} is not possible"
        text = f"{self.field}: {given}: {self.allowed}"
        return f"{text}\n  fix: {self.fix}" if self.fix else text


class RunError(HvdtrainError):
    """The input was right and the work failed. Exit code 1.

    Args:
        message: What failed.
        fix: What to do now.
    """

    exit_code = 1

    def __init__(self, message: str, fix: str = "") -> None:
        self.message = message
        self.fix = fix
        super().__init__(message, fix)

    def __str__(self) -> str:
        return f"{self.message}\n  fix: {self.fix}" if self.fix else self.message
