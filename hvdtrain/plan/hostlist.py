"""Names of nodes in the short form that Slurm reads: `c401-[001-003,007],login1`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hvdtrain.units import format_cpu_list

_NUMBERED = re.compile(r"(.*?)([0-9]{1,9})", re.ASCII)
_NODE_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?", re.ASCII)


def format_hostlist(names: Iterable[str]) -> str:
    """The names, each once, sorted, with ranges of numbers of equal width folded.

    What cannot be the name of a node is left out: the names come from the nodes themselves, and
    the list goes onto a command line.
    """
    groups: dict[tuple[str, int], set[int]] = {}
    plain = set()
    for name in names:
        if not _NODE_NAME.fullmatch(name):
            continue
        match = _NUMBERED.fullmatch(name)
        if match is None:
            plain.add(name)
        else:
            groups.setdefault((match[1], len(match[2])), set()).add(int(match[2]))
    folded = [_fold(prefix, width, numbers) for (prefix, width), numbers in sorted(groups.items())]
    return ",".join([*folded, *sorted(plain)])


def node_name(host: str) -> str:
    """What Slurm calls a node, from its host name: without the domain."""
    return host.partition(".")[0]


def _fold(prefix: str, width: int, numbers: set[int]) -> str:
    if len(numbers) == 1:
        return f"{prefix}{min(numbers):0{width}d}"
    ranges = re.sub(r"[0-9]+", lambda found: found[0].zfill(width), format_cpu_list(numbers))
    return f"{prefix}[{ranges}]"
