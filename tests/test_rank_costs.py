"""The table of what grows with the ranks: what is calculated, and what is marked as such."""

from __future__ import annotations

import math

import pytest

from scripts.rank_costs import __main__ as script
from scripts.rank_costs import costs


def test_messages_take_latency_and_bandwidth() -> None:
    (statistics,) = [cost for cost in costs.COSTS if cost.row_bytes == 4 * costs.STATISTICS]
    # 1,535 messages of 1.5 microseconds, and 326 MB at 12.5 GB/s.
    assert statistics.message_seconds(1536) == pytest.approx(1535 * 1.5e-6 + 326.4e6 / 12.5e9, 1e-3)
    (vote,) = [cost for cost in costs.COSTS if cost.when == "step"]
    assert vote.message_seconds(1536) == pytest.approx(2 * 11 * 1.5e-6)


@pytest.mark.parametrize("cost", costs.COSTS, ids=lambda cost: cost.name)
def test_messages_grow_at_most_as_n_log_n(cost: costs.Cost) -> None:
    most = 1536 * math.log(1536) / (256 * math.log(256))
    assert cost.message_seconds(1536) <= most * cost.message_seconds(256)


def test_calculated_cells_are_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "TOGETHER", (2,))
    monkeypatch.setattr(script, "ALONE", (1536,))
    monkeypatch.setattr(script, "measure_together", lambda _: {"sent": 0.0123})
    monkeypatch.setattr(script, "measure_alone", lambda *_: 1.0)
    monkeypatch.setattr(
        script,
        "COSTS",
        (
            costs.Cost("sent", "epoch", abs, print, trees=2),
            costs.Cost("written", "end", abs),
        ),
    )
    assert list(script.table_lines()) == [
        "| ms | every | 2 | 1,536 |",
        "| --- | --- | --: | --: |",
        "| sent | epoch | 12 | *1,000* |",
        "| written | end | 1,000 | 1,000 |",
    ]


def test_everything_can_be_done_for_few_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "SHARDS", 2)
    assert all(script.measure_alone(cost, 3) >= 0 for cost in costs.COSTS)
