"""The groups of the Makefile: every test is in exactly one, and CI runs them all."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from tests.conftest import HEAVY

ROOT = Path(__file__).resolve().parent.parent
GROUPS = dict(
    re.findall(r"^(test-[a-z]+): MARKS = (.*?)  ## ", (ROOT / "Makefile").read_text(), re.M)
)


@pytest.mark.parametrize(
    "marks",
    [marks for count in range(len(HEAVY) + 1) for marks in itertools.combinations(HEAVY, count)],
    ids=" ".join,
)
def test_whatever_its_marks_are_a_test_runs_once(marks: tuple[str, ...]) -> None:
    # pytest reads an expression of marks as Python reads one of names.
    known = {mark: mark in marks for mark in HEAVY}
    groups = [name for name, expression in GROUPS.items() if eval(expression, {}, known)]
    quick = ["check"] if not marks else []
    assert len(groups + quick) == 1


def test_all_groups_are_named_where_they_are_used() -> None:
    assert list(GROUPS) == [f"test-{mark}" for mark in HEAVY]
    assert f"\nGROUPS := {' '.join(GROUPS)}\n" in (ROOT / "Makefile").read_text()
    assert f"|| set -- check {' '.join(GROUPS)}\n" in (ROOT / ".ci" / "run").read_text()
