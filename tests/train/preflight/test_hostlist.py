"""A wrong list of nodes excludes the wrong ones, or is refused by Slurm."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdtrain.train.preflight.verdict import format_hostlist, node_name


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ""),
        (["login"], "login"),
        (["n7"], "n7"),
        (["n2", "n1", "n2"], "n[1-2]"),
        (["c401-003", "c401-001", "c401-002", "c402-007"], "c401-[001-003],c402-007"),
        # Slurm takes the width of the first number for all of them.
        (["n9", "n10", "n11"], "n9,n[10-11]"),
        (["n009", "n010"], "n[009-010]"),
        (["r1i0n0-ib", "r1i0n1-ib"], "r1i0n0-ib,r1i0n1-ib"),
    ],
)
def test_ranges_are_folded(names: list[str], expected: str) -> None:
    assert format_hostlist(names) == expected


@pytest.mark.parametrize("name", ["a b", "n1,n2", "n[1-2]", "$(touch x)", "-n1", "n1;", "", "é1"])
def test_what_is_no_name_is_left_out(name: str) -> None:
    assert format_hostlist([name, "n5"]) == "n5"


def test_slurm_knows_a_node_without_its_domain() -> None:
    assert node_name("c401-001.stampede2.tacc.utexas.edu") == "c401-001"


def expand(hostlist: str) -> set[str]:
    """As `scontrol show hostnames` does."""
    names: set[str] = set()
    for prefix, ranges, plain in re.findall(r"([\w.-]+)\[([0-9,-]+)\]|([\w.-]+)", hostlist):
        for part in ranges.split(",") if ranges else ():
            first, _, last = part.partition("-")
            numbers = range(int(first), int(last or first) + 1)
            names.update(f"{prefix}{number:0{len(first)}d}" for number in numbers)
        names.update([plain] if plain else ())
    return names


NAMES = st.builds(
    "{}{:0{}d}".format,
    st.sampled_from(["n", "c401-", "c4"]),
    st.integers(0, 120),
    st.integers(1, 4),
)


@settings(max_examples=50)
@given(st.sets(NAMES, max_size=12))
def test_slurm_reads_the_same_names(names: set[str]) -> None:
    assert expand(format_hostlist(names)) == names
