"""Runs put together, and two sets of runs side by side."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdtrain.collect.runs import make_run
from hvdtrain.collect.tables.compare_table import Change, make_changes, make_compare_table
from hvdtrain.collect.tables.formats import format_tables
from hvdtrain.collect.tables.groups_table import JOB, Field, make_groups, make_groups_table
from hvdtrain.collect.tables.rounding import (
    difference_percent,
    format_signed,
    format_spread,
    median,
    spread_percent,
)
from hvdtrain.runs.record import Record
from tests.collect.records import make_training


def group(fields: tuple[Field, ...], *records: Record) -> list[dict[str, Any]]:
    table = make_groups_table(map(make_run, records), fields)
    found: list[dict[str, Any]] = json.loads(format_tables([table], "json"))
    return found


def changes(first: list[Record], second: list[Record], quantity: str) -> list[Change]:
    found = make_changes(map(make_run, first), map(make_run, second))
    return [change for change in found if change.quantity == quantity]


def runs(*seconds: float, **plan: Any) -> list[Record]:
    return [make_training(f"run-{s:g}", seconds=s, **plan) for s in seconds]


def test_a_group_has_the_median_and_the_spread_of_its_runs() -> None:
    (found,) = group(("nodes",), *runs(84.0, 85.0, 89.0))
    assert (found["nodes"], found["runs"], found["epoch_seconds"]) == (256, 3, 85.0)
    assert found["epoch_seconds_spread_percent"] == pytest.approx(100 * 5 / 85)
    assert found["top1_percent"] == 76.0


def test_a_lone_run_has_no_spread() -> None:
    (found,) = group(("system",), *runs(84.0))
    assert (found["epoch_seconds"], found["epoch_seconds_spread_percent"]) == (84.0, None)


def test_kinds_are_kept_apart_and_groups_are_in_order() -> None:
    records = [
        *runs(50.0, nodes=512),
        *runs(85.0),
        make_training("dry", source="synthetic", fields={"kind": "synthetic"}),
        make_training("failed", fields={"status": "failed"}),
    ]
    found = group(("nodes",), *records)
    assert [(row["nodes"], row["kind"], row["runs"]) for row in found] == [
        (256, "measured", 1),
        (256, "synthetic", 1),
        (512, "measured", 1),
    ]


def test_a_duplicate_is_the_same_job_in_every_respect() -> None:
    records = [
        *runs(85.0, 86.0),
        make_training("other", recipe="linear-50"),
        make_training("long", epochs=100),
        make_training("bf16", precision="bf16"),
    ]
    assert [len(found.run_ids) for found in make_groups(map(make_run, records), JOB)].count(2) == 1


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ((84.0, 86.0), (95.0, 96.0), "higher"),
        ((95.0, 96.0), (84.0, 86.0), "lower"),
        ((84.0, 86.0), (85.0, 87.0), "not distinguishable"),
        ((84.0, 86.0), (95.0,), "noise unknown"),
        ((84.0, 86.0), (), "only one set"),
    ],
)
def test_a_change_is_believed_only_beyond_the_noise(
    first: tuple[float, ...], second: tuple[float, ...], verdict: str
) -> None:
    (change,) = changes(runs(*first), runs(*second), "epoch_seconds")
    assert change.verdict == verdict
    assert (change.first.runs, change.second.runs) == (len(first), len(second))


def test_the_change_and_its_noise_are_of_the_medians() -> None:
    (change,) = changes(runs(99.0, 101.0), runs(108.0, 112.0), "epoch_seconds")
    assert change.change_percent == pytest.approx(10.0)
    assert change.noise_percent == pytest.approx((2.0**2 + (400 / 110) ** 2) ** 0.5)


def test_only_the_same_job_is_compared() -> None:
    found = changes(runs(85.0, nodes=256), runs(48.0, nodes=512), "epoch_seconds")
    assert [change.verdict for change in found] == ["only one set", "only one set"]


def test_the_table_of_changes_has_a_row_for_each_quantity() -> None:
    table = make_compare_table(map(make_run, runs(85.0)), map(make_run, runs(80.0)))
    rows = json.loads(format_tables([table], "json"))
    assert [row["quantity"] for row in rows] == ["epoch_seconds", "top1_percent"]
    assert rows[0]["change_percent"] == pytest.approx(-100 * 5 / 85)
    lines = format_tables([table], "md").splitlines()
    assert len(lines) == 4
    assert "| noise unknown |" in lines[2]


@given(st.lists(st.floats(min_value=0.001, max_value=1e6), min_size=2))
def test_the_median_lies_between_the_values_and_the_spread_is_not_negative(
    values: list[float],
) -> None:
    middle, spread = median(values), spread_percent(values)
    assert middle is not None and min(values) <= middle <= max(values)
    assert spread is not None and spread >= 0
    assert (spread == 0) == (min(values) == max(values))


def test_numbers_that_are_missing_or_zero_give_nothing() -> None:
    assert median([None, None]) is None
    assert median([1e308, 1.7e308]) is None or median([1e308, 1.7e308]) == 1.35e308
    assert spread_percent([1.0, None]) is None
    assert spread_percent([0.0, 0.0]) is None
    assert difference_percent(1.0, 0.0) is None
    assert difference_percent(None, 1.0) is None
    assert difference_percent(1e308, 1e-308) is None


def test_a_difference_has_a_sign_and_never_a_negative_zero() -> None:
    assert [format_signed(value) for value in (-0.02, 2.0, -3.14, None)] == [
        "+0.0",
        "+2.0",
        "-3.1",
        "",
    ]
    assert format_spread(0.0) == "0.0"
