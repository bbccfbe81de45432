"""The communication term against a simulation of every message of the ring on a fat tree.

`tests/plan/forecast/reference/make_simgrid.py` made the data.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from hvdtrain.plan.forecast.fit import GRADIENT_BYTES, OMNI_PATH_BYTES_PER_SECOND
from hvdtrain.plan.forecast.step_time import Ring
from hvdtrain.plan.machine.system import load_system

DATA: dict[str, Any] = json.loads(
    (Path(__file__).parent / "reference" / "simgrid.json").read_text(encoding="utf-8")
)
RINGS = {ring["nodes"]: ring for ring in DATA["rings"]}
# From one leaf switch to the next: up, up, down, down.
LINKS = 4


def test_the_simulation_is_of_what_the_fit_assumes() -> None:
    assert list(RINGS) == [256, 512, 1024, 1536]
    assert DATA["gradient_bytes"] == GRADIENT_BYTES
    assert DATA["link_bytes_per_second"] == OMNI_PATH_BYTES_PER_SECOND


@pytest.mark.parametrize("nodes", RINGS)
def test_a_ring_in_order_takes_what_the_two_terms_say(nodes: int) -> None:
    ring = Ring(
        hop_seconds=LINKS * DATA["link_seconds"],
        transfer_seconds=DATA["gradient_bytes"] / DATA["link_bytes_per_second"],
    )
    # The slowest message of each round crosses the leaf switches; no link is shared.
    assert RINGS[nodes]["in_order_seconds"] == pytest.approx(ring.seconds(nodes), rel=1e-4)


@pytest.mark.parametrize(
    ("nodes", "order", "ratio"),
    [
        (256, "in_order_seconds", 0.94),
        (512, "shuffled_seconds", 0.90),
        (1024, "shuffled_seconds", 1.14),
        (1536, "shuffled_seconds", 1.36),
    ],
)
def test_the_fitted_ring_is_that_of_one_in_order_and_beyond_256_of_a_shuffled_one(
    nodes: int, order: str, ratio: float
) -> None:
    # Nothing of the simulation went into the fit. That is how far they agree.
    step_time = load_system("stampede2-knl").step_time
    assert step_time is not None
    found = RINGS[nodes][order]
    simulated = found if isinstance(found, float) else mean(found)
    assert step_time.ring.seconds(nodes) / simulated == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize("nodes", RINGS)
def test_a_shuffled_ring_shares_links(nodes: int) -> None:
    ring = RINGS[nodes]
    assert all(seconds > 2.5 * ring["in_order_seconds"] for seconds in ring["shuffled_seconds"])
