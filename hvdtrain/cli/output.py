"""What commands print: the product on stdout, lines for people on stderr.

Standard streams can be closed, full, or read by a program that has ended. Whatever is printed
through here then ends in one line on stderr and exit code 1, or quietly where nobody reads on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import IO

import click
import msgspec

from hvdtrain.errors import HvdtrainError, RunError
from hvdtrain.files.fields import printable


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Run a command on standard streams that may be closed or full.

    A stream that is closed is opened on /dev/null: else the next file that is opened takes its
    number, and `print` writes to stdout what was meant for a stderr that is not there. That
    stdout was closed is still known: `print_text` says so.

    Raises:
        RunError: Something that click or rich printed does not fit on stdout.
    """
    for number in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.fstat(number)
            continue
        # The lowest number that is free, so this one.
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for as long as the program runs
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - likewise
    try:
        yield
    except OSError:
        if sys.stdout is not None:
            print_text("")
        raise


def print_text(text: str) -> None:
    """The product, or a part of it, on stdout: as it is, in UTF-8 whatever the locale.

    Raises:
        RunError: Stdout is closed or full.
        SystemExit: Nobody reads it any more.
    """
    if sys.stdout is None:
        raise RunError("standard output is closed: there is nowhere to print to")
    try:
        sys.stdout.flush()
        # What is not UTF-8 in a name that the system gave goes back as it came.
        sys.stdout.buffer.write(text.encode(errors="surrogateescape"))
        sys.stdout.buffer.flush()
    except OSError as error:
        _drop(sys.stdout)
        if error.errno == errno.EPIPE:
            raise SystemExit(1) from None
        raise RunError(f"standard output cannot be written: {error.strerror}") from None


def print_styled(text: str) -> None:
    """Text with colours, which stay away from anything but a terminal."""
    print_text(text if sys.stdout is not None and sys.stdout.isatty() else click.unstyle(text))


def print_json(value: object) -> None:
    """A value as JSON on stdout, indented."""
    print_text(msgspec.json.format(msgspec.json.encode(value)).decode() + "\n")


class LateErrors:
    """Prints while work goes on that a failing stdout must not leave half done."""

    def __init__(self) -> None:
        self._error: RunError | SystemExit | None = None

    def print_line(self, text: str) -> None:
        """A line on stdout; nothing, after one that could not be printed."""
        if self._error is None:
            try:
                print_text(f"{text}\n")
            except (RunError, SystemExit) as error:
                self._error = error

    def finish(self) -> None:
        """Raise what printing would have raised."""
        if self._error is not None:
            raise self._error


def say(text: str) -> None:
    """A line for people, on stderr, without anything in it that a terminal would obey."""
    tell(f"hvdtrain: {printable(text)}\n")


def say_error(error: HvdtrainError) -> None:
    """An error for people, on stderr: what is wrong, and in a second line what to do."""
    lines = map(printable, str(error).split("\n"))
    tell("hvdtrain: " + "\n".join(lines) + "\n")


def tell(text: str) -> None:
    """Text for people, on stderr, as it is: whole lines, printable already."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        # A note that nobody can be given is no reason to withhold the product.
        _drop(sys.stderr)


def _drop(stream: IO[str]) -> None:
    """Let a stream's rest go nowhere: Python would try again at its end, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
