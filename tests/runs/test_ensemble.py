"""Which models may be averaged, and the rows of Table XI."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hvdtrain.errors import InputError
from hvdtrain.plan.method.dataset import DatasetInfo, DataSource
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.plan.method.snapshot import EvaluationResult, SnapshotOrigin
from hvdtrain.runs.ensemble import Ensemble, EnsembleMember, check_members
from hvdtrain.runs.record import Record
from tests.samples import sample_ensemble, sample_plan, sample_record


def seen(loss: float) -> EvaluationResult:
    return EvaluationResult(count=100, top1=0.25, top5=0.5, loss=loss)


def completed(run_id: str, **changes: Any) -> Record:
    plan = sample_plan(**changes)
    return sample_record(run_id=run_id, plan=plan, weights_sha256=f"sha of {run_id}")


def member(run_id: str, loss: float, snapshot: int | None = None) -> EnsembleMember:
    origin = snapshot and SnapshotOrigin(
        run_id="run", snapshot=snapshot, step=45 * snapshot, evaluation=seen(loss + 1)
    )
    return EnsembleMember(
        run_id=run_id,
        weights_sha256=run_id,
        epochs=48,
        origin=origin or None,
        evaluation=seen(loss),
    )


def averaged(*members: EnsembleMember) -> Ensemble:
    return sample_ensemble(members, seen(0.1))


def test_the_rows_are_those_of_table_11() -> None:
    ensemble = averaged(
        member("run-collapse-1", 0.97, 1),
        member("run-collapse-6", 0.95, 6),
        member("run-longer", 0.94, 6),
        member("alone", 2.0),
    )
    assert [(row.number, row.run_id, row.evaluation.loss) for row in ensemble.rows] == [
        ("1", "run", 1.97),
        ("1c", "run-collapse-1", 0.97),
        ("6", "run", 1.95),
        ("6c", "run-collapse-6", 0.95),
        # Another collapse of the same snapshot, with what that run measured of it.
        ("6", "run", 1.94),
        ("6c", "run-longer", 0.94),
        ("-", "alone", 2.0),
        ("ensemble", "", 0.1),
    ]


def test_a_snapshot_with_two_models_is_one_row() -> None:
    first = member("run-collapse-6", 0.95, 6)
    second = msgspec.structs.replace(first, run_id="run-longer")
    rows = averaged(first, second).rows
    assert [row.number for row in rows] == ["6", "6c", "6c", "ensemble"]


def test_the_file_comes_back() -> None:
    ensemble = averaged(member("run-collapse-1", 0.97, 1), member("alone", 2.0))
    assert msgspec.json.decode(msgspec.json.encode(ensemble), type=Ensemble) == ensemble


def test_runs_of_other_recipes_seeds_and_batches_may_be_averaged() -> None:
    moved = DataSource(path="/elsewhere")
    check_members(
        [
            completed("first"),
            completed("second", seed=1, rank_batch=2, ranks_per_node=1),
            completed("third", epochs=3, source=moved),
        ]
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": ModelSpec(name="small", image_size=32, classes=11)}, "model.classes: 10 -> 11"),
        ({"model": ModelSpec(name="small", image_size=16, classes=10)}, "image_size: 32 -> 16"),
        (
            {"dataset": DatasetInfo(train_images=80, validation_images=17, classes=10)},
            "dataset.validation_images: 16 -> 17",
        ),
        (
            {
                "dataset": DatasetInfo(
                    train_images=80, validation_images=16, classes=10, fingerprint="other"
                )
            },
            "dataset.fingerprint",
        ),
        ({"source": DataSource(kind="folders", path="/data")}, "source.kind"),
    ],
)
def test_models_of_another_network_or_data_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        check_members([completed("first"), completed("second", **changes)])
    assert caught.value.value == "second"
    assert said in str(caught.value)


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_a_run_that_is_not_completed_is_refused(status: str) -> None:
    unfinished = msgspec.structs.replace(completed("second"), status=status)
    with pytest.raises(InputError, match=status):
        check_members([completed("first"), unfinished])


def test_a_model_that_would_count_twice_is_refused() -> None:
    with pytest.raises(InputError, match="each model once"):
        check_members([completed("first"), completed("second"), completed("first")])
