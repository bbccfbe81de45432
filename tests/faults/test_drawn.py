"""The same seed draws the same faults."""

from __future__ import annotations

from tests.faults.drawn import COMMANDS, draw_faults


def test_a_seed_draws_the_same_faults_and_soon_every_kind() -> None:
    faults = draw_faults(7, 100)
    assert draw_faults(7, 10) == faults[:10] != draw_faults(8, 10)
    assert {fault.kind for fault in faults[: len(COMMANDS)]} == set(COMMANDS)
    hit = {(fault.kind, fault.command) for fault in faults}
    assert {command for _, command in hit} == {"train", "collapse", "ensemble", "prepare-data"}
