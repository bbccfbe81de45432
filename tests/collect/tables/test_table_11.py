"""Table XI: snapshots, collapses and the ensemble of the paper's schedule."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hvdtrain.collect.runs import make_run
from hvdtrain.collect.tables.formats import format_tables
from hvdtrain.collect.tables.table_11 import make_snapshot_table
from hvdtrain.plan.method.snapshot import EvaluationResult, SnapshotOrigin
from hvdtrain.runs.ensemble import Ensemble, EnsembleMember
from hvdtrain.runs.record import Record
from tests.collect.records import evaluated, make_training

CYCLES: dict[str, Any] = {"recipe": "collapsed-ensemble-120", "node_batch": 16}


def evaluation(top1: float) -> EvaluationResult:
    return EvaluationResult(count=50_000, top1=top1, top5=0.9, loss=1.1)


def collapse(run_id: str, snapshot: int, before: float, after: float, **plan: Any) -> Record:
    origin = SnapshotOrigin(
        run_id="cycles", snapshot=snapshot, step=9, evaluation=evaluation(before)
    )
    return make_training(run_id, top1=after, origin=origin, **(CYCLES | plan))


def ensemble(top1: float, **changes: Any) -> Ensemble:
    record = make_training("run", **CYCLES)
    values: dict[str, Any] = {
        "kind": "measured",
        "made": "2026-02-01T10:00:00+00:00",
        "seconds": 9.0,
        "ranks": 2,
        "model": record.plan.model,
        "dataset": record.plan.dataset,
        "versions": record.versions,
        "members": (
            EnsembleMember(run_id="a", weights_sha256="0", epochs=48, evaluation=evaluation(0.7)),
        ),
        "evaluation": evaluation(top1),
    }
    return Ensemble(**(values | changes))


def lines(*records: Record, ensembles: tuple[Ensemble, ...] = ()) -> dict[str, dict[str, Any]]:
    """The lines that something stands in, by the number on the figure."""
    named = [(f"ensemble-{i}", each) for i, each in enumerate(ensembles)]
    table = make_snapshot_table(map(make_run, records), named)
    rows = json.loads(format_tables([table], "json"))["XI"]["rows"]
    return {row["snapshot"]: row for row in rows if row["runs"]}


def test_a_collapse_tells_of_its_snapshot_and_of_itself() -> None:
    found = lines(collapse("c3", 3, before=0.73, after=0.765))
    assert set(found) == {"3", "3c"}
    assert (found["3"]["top1_percent"], found["3"]["run_ids"]) == (73.0, "cycles")
    assert (found["3c"]["top1_percent"], found["3c"]["run_ids"]) == (76.5, "c3")
    assert found["3c"]["top1_percent_difference_percent"] == 0.0
    assert found["3"]["loss_paper"] == 1.082


def test_the_run_itself_tells_of_the_snapshots_it_evaluated() -> None:
    run = make_training("cycles", top1=0.7449, **CYCLES)
    found = lines(evaluated(evaluated(run, 45, 0.6833), 60, 0.7154))
    assert {name: row["top1_percent"] for name, row in found.items()} == {
        "1": pytest.approx(68.33),
        "2": pytest.approx(71.54),
        "6": pytest.approx(74.49),
    }


def test_a_snapshot_that_several_tell_of_is_there_once() -> None:
    run = evaluated(make_training("cycles", **CYCLES), 45, 0.68)
    found = lines(run, collapse("a", 1, 0.68, 0.75), collapse("b", 1, 0.68, 0.76))
    assert found["1"]["runs"] == 1
    assert (found["1c"]["runs"], found["1c"]["top1_percent"]) == (2, 75.5)
    assert found["1c"]["top1_percent_spread_percent"] == pytest.approx(100 / 75.5)


def test_what_the_papers_table_does_not_have_comes_last() -> None:
    found = lines(collapse("c2", 2, 0.71, 0.76), ensembles=(ensemble(0.775),))
    assert found["2c"]["top1_percent_paper"] is None
    assert found["ensemble"]["top1_percent_paper"] == 77.5
    assert found["ensemble"]["top1_percent_difference_percent"] == 0.0
    assert (found["ensemble"]["run_ids"], found["ensemble"]["date"]) == ("ensemble-0", "2026-02-01")
    assert (found["2c"]["row"], found["ensemble"]["row"]) == (13, 14)


@pytest.mark.parametrize(
    "record",
    [
        collapse("run", 1, 0.6, 0.7, node_batch=32),
        collapse("run", 1, 0.6, 0.7, precision="bf16"),
        collapse("run", 1, 0.6, 0.7, recipe="linear-90"),
        collapse("run", 1, 0.6, 0.7, images=100_000),
        collapse("run", 1, 0.6, 0.7, fields={"status": "failed"}),
        collapse("run", 1, 0.6, 0.7, source="synthetic", fields={"kind": "synthetic"}),
    ],
)
def test_only_the_papers_schedule_and_batch_count(record: Record) -> None:
    assert lines(record) == {}


def test_a_synthetic_ensemble_is_none() -> None:
    assert lines(ensembles=(ensemble(0.775, kind="synthetic"),)) == {}


def test_a_collapse_is_no_training_of_its_own() -> None:
    assert not make_run(collapse("run", 1, 0.6, 0.7)).whole
