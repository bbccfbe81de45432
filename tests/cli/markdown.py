"""The cells of a Markdown table that a command has printed."""

from __future__ import annotations

import re


def read_cells(text: str) -> list[list[str]]:
    """Headings, then rows: as they are printed, what is escaped still escaped."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    head, rule, *body = (
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines
    )
    assert len(rule) == len(head)
    assert all(re.fullmatch("-+:?", cell) for cell in rule)
    assert {len(cells) for cells in body} <= {len(head)}
    return [head, *body]
