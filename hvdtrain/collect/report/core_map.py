"""The picture of a node's processors: which rank computes, communicates or loads data on each."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hvdtrain.errors import InputError
from hvdtrain.runs.record import RankPlacement
from hvdtrain.units import parse_cpu_list

PER_ROW = 16
_MOST_CPUS = 4096
# Every other processor of a node of a thousand; longer ones are not worth the time.
_LONGEST_LIST = 4096
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, kw_only=True)
class CoreCell:
    """A processor.

    Attributes:
        letter: Of the rank that computes there; `#` communication, `d` data, `.` nothing.
        look: Class of the style sheet.
        says: Its uses.
    """

    letter: str
    look: str
    says: str


@dataclass(frozen=True, kw_only=True)
class CoreGroup:
    """Processors side by side with the same uses: their cell, the first one's number, how many."""

    cell: CoreCell
    first: int
    count: int


@dataclass(frozen=True, kw_only=True)
class CoreMapView:
    """The processors of the first node in rows of `PER_ROW`, each of groups."""

    host: str
    ranks: int
    rows: tuple[tuple[CoreGroup, ...], ...]


_IDLE = CoreCell(letter=".", look="idle", says="no thread of a rank")


def make_core_map_view(placement: tuple[RankPlacement, ...]) -> CoreMapView | None:
    """The picture of the first node, as its ranks read it back; None: nothing to draw."""
    if not placement:
        return None
    host = placement[0].host
    ranks = [rank for rank in placement if rank.host == host]
    cells: dict[int, CoreCell] = {}
    try:
        for number, rank in enumerate(ranks):
            _fill(cells, number, rank)
    except InputError:
        return None
    if not cells:
        return None
    drawn = [cells.get(cpu, _IDLE) for cpu in range(max(cells) + 1)]
    rows = tuple(
        tuple(_groups(first, drawn[first : first + PER_ROW]))
        for first in range(0, len(drawn), PER_ROW)
    )
    return CoreMapView(host=host, ranks=len(ranks), rows=rows)


def _groups(first: int, cells: Sequence[CoreCell]) -> Iterator[CoreGroup]:
    for cell, same in itertools.groupby(cells):
        count = len(list(same))
        yield CoreGroup(cell=cell, first=first, count=count)
        first += count


def _fill(cells: dict[int, CoreCell], number: int, rank: RankPlacement) -> None:
    """What computes is drawn over what communicates, and that over what loads data."""
    uses = (
        (rank.data, "d", "data", "data loading"),
        (rank.communication, "#", "communication", "communication"),
        (rank.compute, _LETTERS[number % len(_LETTERS)], f"c{number % 8}", "compute"),
    )
    for cpus, letter, look, use in uses:
        for cpu in _parse(cpus):
            before = cells.get(cpu)
            says = f"{use} of rank {rank.rank}"
            if before is not None:
                says = f"{says}; {before.says}"
            cells[cpu] = CoreCell(letter=letter, look=look, says=says)


def _parse(cpus: str) -> tuple[int, ...]:
    """The processors of a list that a record has.

    Raises:
        InputError: It is no list, or not one of a node.
    """
    if len(cpus) > _LONGEST_LIST or re.search(r"\d{5}", cpus):
        raise InputError("placement", cpus[:80], "the processors of a node")
    ids = parse_cpu_list(cpus, "placement")
    if ids and ids[-1] >= _MOST_CPUS:
        raise InputError("placement", cpus[:80], f"processors below {_MOST_CPUS}")
    return ids
