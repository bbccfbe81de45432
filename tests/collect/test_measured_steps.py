"""Steps to fit to: which runs count, and what of the paper."""

from __future__ import annotations

from typing import Any

import pytest

from hvdtrain.collect.measured_steps import own_steps, paper_assumptions, paper_points
from hvdtrain.errors import InputError
from hvdtrain.plan.machine.system import load_system
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.runs.record import Record
from tests.collect.records import make_record, make_test_plan

SYSTEM = "stampede2-knl"


def run(seconds: float | None = 1.0, plan: RunPlan | None = None, **fields: Any) -> Record:
    return make_record(plan=plan or make_test_plan(), seconds_per_step=seconds, **fields)


def test_a_step_of_the_paper_follows_from_its_epoch() -> None:
    # Source: Table V, row 2: 85 s for 1.28 million images, 156.25 steps of 8192.
    point = paper_points("stampede2-knl")[1]
    assert (point.micro_batch, point.nodes, point.name) == (32, 256, "Table V, row 2")
    assert point.step_seconds == pytest.approx(0.544)
    # Source: Table VI, row 4: 1024 sockets are 512 nodes.
    assert paper_points("marenostrum4")[3].nodes == 512


def test_both_systems_of_the_paper_have_the_same_ring() -> None:
    stored = load_system("marenostrum4").step_time
    assert stored is not None
    ring = paper_assumptions("marenostrum4").ring
    assert ring.crowding_seconds == pytest.approx(stored.ring.crowding_seconds, rel=1e-4)
    assert paper_assumptions("marenostrum4").fitted == ()


def test_a_system_that_the_paper_has_not_is_refused() -> None:
    with pytest.raises(InputError, match="marenostrum4"):
        paper_points("lumi-c")


def test_runs_of_one_size_are_one_point_their_median() -> None:
    small = make_test_plan(nodes=2)
    found = own_steps([run(1.0), run(9.0), run(2.0, kind="synthetic"), run(5.0, small)], SYSTEM)
    assert [(point.nodes, point.step_seconds) for point in found.points] == [(2, 5.0), (256, 2.0)]
    assert (found.runs, found.synthetic, found.other_models) == (4, 1, 0)


def test_what_is_no_step_of_the_system_is_left_out() -> None:
    others = [
        run(3.0, status="failed"),
        run(3.0, kind="forecast"),
        run(None),
        run(0.0),
        run(3.0, make_test_plan(system="lumi-c")),
    ]
    assert own_steps([run(), *others], SYSTEM).runs == 1
    with pytest.raises(InputError, match="completed runs"):
        own_steps(others, SYSTEM)


def test_the_model_of_most_runs_counts() -> None:
    bf16 = make_test_plan(precision="bf16")
    found = own_steps([run(1.0, bf16), run(1.0, bf16), run(9.0)], SYSTEM)
    assert (found.model.precision, found.runs, found.other_models) == ("bf16", 2, 1)
    assert found.points[0].step_seconds == 1.0
