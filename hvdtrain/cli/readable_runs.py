"""The runs of a results folder for the commands that report: what cannot be read is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hvdtrain.cli.output import say
from hvdtrain.errors import RunError
from hvdtrain.runs.ensemble import Ensemble
from hvdtrain.runs.record import Record
from hvdtrain.runs.store import Incomplete, Malformed, read_ensembles, read_results


def readable_runs(results: Path, skipped: list[Malformed]) -> Iterator[Record | Incomplete]:
    """The runs that can be believed; the others are named and added to `skipped`."""
    for found in read_results(results):
        if isinstance(found, Malformed):
            _skip(found, skipped)
        else:
            yield found


def readable_ensembles(results: Path, skipped: list[Malformed]) -> Iterator[tuple[str, Ensemble]]:
    """The ensembles that can be believed; the others are named and added to `skipped`."""
    for found in read_ensembles(results):
        if isinstance(found, Malformed):
            _skip(found, skipped)
        else:
            yield found


def _skip(found: Malformed, skipped: list[Malformed]) -> None:
    skipped.append(found)
    say(f"skipped {found.path}: {found.reason}")


def refuse_skipped(skipped: list[Malformed], good: int) -> None:
    """End with exit code 1 when runs were skipped.

    Raises:
        RunError: Some were.
    """
    if skipped:
        raise RunError(
            f"{len(skipped)} of {len(skipped) + good} runs were skipped",
            "repair or remove the files named above",
        )
