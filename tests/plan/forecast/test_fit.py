"""The fit: it finds what made the data, forecasts rows that it has not seen, and its limits."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from hvdtrain.errors import InputError
from hvdtrain.plan.forecast.fit import (
    TABLE_V,
    Assumptions,
    Point,
    fit_step_time,
    leave_one_out,
    own_assumptions,
    relative_errors,
    same_fabric,
    with_error,
)
from hvdtrain.plan.forecast.step_time import Ring, StepTime
from hvdtrain.plan.machine.system import load_system

# Source: Tables V and VI: local batch, nodes, seconds per epoch of 1.28 million images.
ROWS_V = [
    *((16, 256, 102), (32, 256, 85), (16, 512, 60), (20, 512, 55), (24, 512, 51.3)),
    *((32, 512, 48.8), (16, 768, 38), (16, 1024, 31.5), (32, 1024, 24.5), (32, 1536, 16.8)),
]
ROWS_VI = [(32, 256, 84.3), (24, 400, 62.5), (16, 400, 67.2), (16, 512, 52.5)]


def points(rows: Sequence[tuple[int, int, float]]) -> list[Point]:
    return [Point(b, n, seconds * b * n / 1_280_000) for b, n, seconds in rows]


STEPS = {"V": points(ROWS_V), "VI": points(ROWS_VI)}
SYSTEMS = {"V": "stampede2-knl", "VI": "marenostrum4"}


def stored(table: str) -> StepTime:
    found = load_system(SYSTEMS[table]).step_time
    assert found is not None
    return found


def assumptions(table: str) -> Assumptions:
    return TABLE_V if table == "V" else same_fabric(stored("V").ring)


@pytest.mark.parametrize(("table", "worst"), [("V", 0.05), ("VI", 0.03)])
def test_the_system_files_hold_what_the_fit_gives(table: str, worst: float) -> None:
    fitted = fit_step_time(STEPS[table], assumptions(table), "again")
    assert max(map(abs, relative_errors(fitted, STEPS[table]))) < worst
    kept = stored(table)
    assert kept.image_seconds == pytest.approx(fitted.image_seconds, rel=1e-4)
    assert kept.fixed_seconds == pytest.approx(fitted.fixed_seconds, rel=1e-4)
    assert kept.ring.hop_seconds == pytest.approx(fitted.ring.hop_seconds, abs=1e-9)
    assert kept.ring.transfer_seconds == pytest.approx(fitted.ring.transfer_seconds, rel=1e-4)
    assert kept.ring.crowding_seconds == pytest.approx(fitted.ring.crowding_seconds, rel=1e-4)
    assert (kept.fitted_nodes, kept.fitted_batch) == (fitted.fitted_nodes, fitted.fitted_batch)


@pytest.mark.parametrize("table", ["V", "VI"])
def test_the_system_files_hold_the_leave_one_out_error(table: str) -> None:
    errors = leave_one_out(STEPS[table], assumptions(table))
    assert with_error(stored(table), errors).error == pytest.approx(stored(table).error, abs=5e-4)


def halves_error(table: str, rows: Sequence[int]) -> float:
    """The worst error of the rows that are not given, when fitted on those that are."""
    steps = STEPS[table]
    fitted = fit_step_time([steps[row - 1] for row in rows], assumptions(table), "half")
    others = [steps[number] for number in range(len(steps)) if number + 1 not in rows]
    return max(map(abs, relative_errors(fitted, others)))


@pytest.mark.parametrize(
    ("table", "rows", "worst"),
    [
        # The small runs, up to 768 nodes, forecast those of 1024 and 1536.
        ("V", (1, 2, 3, 6, 7), 0.0402),
        # The smallest and the largest batch of small runs, and the largest run, forecast the rest.
        ("V", (1, 2, 3, 7, 10), 0.0406),
        ("V", (1, 2, 4, 7, 9), 0.0532),
        ("V", (2, 3, 5, 7, 9), 0.0503),
        ("VI", (1, 3), 0.0371),
        ("VI", (1, 4), 0.0453),
        ("VI", (2, 3), 0.0559),
        # Every other row does not keep within 6 %: row 7 of Table V decides.
        ("V", (1, 3, 5, 7, 9), 0.0660),
        ("V", (2, 4, 6, 8, 10), 0.0870),
        ("VI", (2, 4), 0.0610),
    ],
)
def test_half_of_a_table_forecasts_the_other(
    table: str, rows: tuple[int, ...], worst: float
) -> None:
    assert halves_error(table, rows) == pytest.approx(worst, abs=0.0006)


def test_no_ring_that_is_hidden_by_compute_comes_closer_than_5_3_percent() -> None:
    # A ring's time is a straight line in the nodes, and what an overlap leaves of it bends upwards
    # only. Rows 1, 3 and 7 have one batch on 256, 512 and 768 nodes, so the middle may be at most
    # the mean of the others. This is the error that all three need for it: the reason for the
    # shared links of `Ring`, which bend downwards.
    first, middle, last = (STEPS["V"][row - 1].step_seconds for row in (1, 3, 7))
    mean = (first + last) / 2
    assert (middle - mean) / (middle + mean) == pytest.approx(0.0526, abs=0.0001)
    plain = Assumptions(ring=Ring(transfer_seconds=TABLE_V.ring.transfer_seconds))
    fitted = fit_step_time(STEPS["V"], plain, "a ring and nothing else")
    assert max(map(abs, relative_errors(fitted, STEPS["V"]))) > 0.0526


def test_row_7_contradicts_row_3() -> None:
    # The same batch on half as many nodes again, and a shorter step: no cost of nodes does that.
    assert STEPS["V"][6].step_seconds < 0.96 * STEPS["V"][2].step_seconds


@pytest.mark.parametrize("overlap", [0.0, 1.0])
def test_what_made_the_steps_is_found_again(overlap: float) -> None:
    truth = StepTime(
        image_seconds=0.01,
        fixed_seconds=0.05,
        overlap=overlap,
        ring=Ring(hop_seconds=1e-3, transfer_seconds=0.1),
        error=0,
        fitted_nodes=(1, 64),
        fitted_batch=(8, 64),
        source="made up",
    )
    shapes = itertools.product((8, 32), (1, 2, 8, 32, 64))
    steps = [Point(b, n, truth.step_seconds(b, n)) for b, n in shapes]
    fitted = fit_step_time(steps, own_assumptions(steps), "them")
    assert fitted.overlap == overlap
    assert max(map(abs, relative_errors(fitted, steps))) < 1e-6
    assert fitted.ring.hop_seconds == pytest.approx(1e-3, rel=1e-4)


def test_accumulated_batches_count_as_what_they_are() -> None:
    truth = stored("V")
    shapes = [(16, 256, 1), (32, 256, 4), (16, 512, 8), (32, 1024, 2), (16, 1536, 1)]
    steps = [Point(b, n, truth.step_seconds(b, n, k), k) for b, n, k in shapes]
    fitted = fit_step_time(steps, TABLE_V, "them")
    assert fitted.image_seconds == pytest.approx(truth.image_seconds, rel=1e-3)
    assert fitted.ring.crowding_seconds == pytest.approx(truth.ring.crowding_seconds, rel=1e-2)


@pytest.mark.parametrize(
    "shapes",
    [
        [],
        [(16, 1), (32, 1), (16, 2)],
        [(16, 1), (32, 1), (48, 1), (64, 1)],
        [(16, 1), (16, 2), (16, 3), (16, 4)],
        [(16, 1), (32, 2)] * 5,
    ],
)
def test_too_few_sizes_are_refused(shapes: list[tuple[int, int]]) -> None:
    with pytest.raises(InputError) as caught:
        own_assumptions([Point(b, n, 1.0) for b, n in shapes])
    assert "2 node batches and 2 numbers of nodes" in caught.value.allowed


def test_steps_that_do_not_grow_with_the_batch_are_refused() -> None:
    steps = [Point(b, n, 100 / b) for b in (8, 16, 32) for n in (1, 2)]
    with pytest.raises(InputError, match="longer with a larger node batch"):
        fit_step_time(steps, own_assumptions(steps), "them")
