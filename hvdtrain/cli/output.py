"""What commands print: lines for people, and tables in plain text."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence


def say(text: str) -> None:
    """A line for people, on stderr."""
    print(f"hvdtrain: {text}", file=sys.stderr, flush=True)


def align(lines: Sequence[Sequence[str]], right: Collection[str]) -> str:
    """Cells in columns, two spaces between them.

    Args:
        lines: The headings, then the rows.
        right: Headings of the columns that are set to the right.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ""
    for line in lines:
        cells = (
            cell.rjust(width) if heading in right else cell.ljust(width)
            for cell, width, heading in zip(line, widths, lines[0], strict=True)
        )
        text += "  ".join(cells).rstrip() + "\n"
    return text
