"""The step time: compute, the ring, and what of it the backward pass hides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdtrain.plan.forecast.step_time import Ring, StepTime, ring_terms

RING = Ring(hop_seconds=1e-5, transfer_seconds=0.01, crowding_seconds=0.04, section_nodes=256)


def step_time(overlap: float = 0.0, ring: Ring = RING) -> StepTime:
    return StepTime(
        image_seconds=0.015,
        fixed_seconds=0.06,
        overlap=overlap,
        ring=ring,
        error=0.1,
        fitted_nodes=(1, 1000),
        fitted_batch=(8, 64),
        source="a test",
    )


def test_one_node_reduces_nothing() -> None:
    assert RING.seconds(1) == 0
    assert step_time().step_seconds(32, 1) == pytest.approx(0.06 + 32 * 0.015)


def test_a_ring_of_four_sends_six_quarters() -> None:
    # 3 messages to add up, 3 to hand round, each of a quarter.
    assert ring_terms(4, 8) == (6, 1.5, 0)


def test_beyond_a_section_links_are_shared() -> None:
    assert ring_terms(256, 256)[2] == 0
    assert ring_terms(512, 256)[2] == pytest.approx(2 * 511 / 512 * 0.5)
    assert RING.seconds(512) == pytest.approx(1022e-5 + 2 * 511 / 512 * (0.01 + 0.02))


def test_the_backward_pass_hides_its_share_and_no_more() -> None:
    compute = step_time().compute_seconds(8)
    hidden = 0.5 * 2 / 3 * compute
    exposed = RING.seconds(1000) - hidden
    assert exposed > 0
    assert step_time(overlap=0.5).step_seconds(8, 1000) == pytest.approx(compute + exposed)
    assert step_time(overlap=0.5).step_seconds(64, 256) == step_time().compute_seconds(64)


@given(st.integers(1, 512), st.integers(1, 5000), st.floats(0, 1), st.integers(1, 64))
def test_accumulation_computes_k_times_and_reduces_once(
    batch: int, nodes: int, overlap: float, accumulate: int
) -> None:
    model = step_time(overlap)
    once = model.step_seconds(batch, nodes)
    repeated = model.step_seconds(batch, nodes, accumulate)
    assert repeated - once == pytest.approx(
        (accumulate - 1) * model.compute_seconds(batch), rel=1e-9, abs=1e-9
    )


@given(st.integers(1, 512), st.integers(1, 5000), st.floats(0, 1))
def test_more_nodes_never_make_a_step_shorter(batch: int, nodes: int, overlap: float) -> None:
    model = step_time(overlap)
    compute = model.compute_seconds(batch)
    step = model.step_seconds(batch, nodes)
    assert compute <= step <= model.step_seconds(batch, nodes + 1) * (1 + 1e-12)
    assert step <= compute + RING.seconds(nodes) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("batch", "nodes", "inside"),
    [(8, 1, True), (64, 1000, True), (7, 10, False), (65, 10, False), (8, 1001, False)],
)
def test_what_was_fitted_is_known(batch: int, nodes: int, inside: bool) -> None:
    assert step_time().is_fitted(batch, nodes) is inside
