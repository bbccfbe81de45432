"""What `hvdtrain collapse` finds in the folder of a run, and what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hvdtrain.errors import InputError, RunError
from hvdtrain.plan.method.recipe import load_recipe
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.plan.method.snapshot import EvaluationResult
from hvdtrain.runs.folder import RunFolder
from hvdtrain.runs.names import CHECKPOINTS_FOLDER, SNAPSHOTS_FOLDER
from hvdtrain.train.checkpoint.archive import Checkpoint, write_checkpoint, write_snapshot
from hvdtrain.train.options import CollapseOptions
from tests.samples import sample_checkpoint, sample_plan, sample_record

pytest.importorskip("horovod")
from hvdtrain.train.ensemble.collapse import begin_collapse, find_numbers
from hvdtrain.train.process.world import World

pytestmark = pytest.mark.tf

WORLD = World(rank=0, ranks=2, hosts=("n1", "n1"), reduction="MPI")
PLAN = sample_plan(recipe=load_recipe("collapsed-ensemble-120"))


def snapshot(number: int) -> Checkpoint:
    return sample_checkpoint(
        PLAN.schedule.snapshots[number - 1],
        plan=PLAN,
        evaluation=EvaluationResult(count=16, top1=0.5, top5=1.0, loss=1.0),
    )


@pytest.fixture
def options(tmp_path: Path) -> CollapseOptions:
    """A run with the snapshots 1, 2 and 4."""
    folder = RunFolder.create(tmp_path, "run", PLAN)
    for number in (1, 2, 4):
        write_snapshot(folder.path / SNAPSHOTS_FOLDER, number, snapshot(number))
    return CollapseOptions(run=folder.path)


def test_all_snapshots_are_collapsed_but_those_that_have_been(
    options: CollapseOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find_numbers(options) == [1, 2, 4]
    done = RunFolder.create(tmp_path, "run-collapse-2", PLAN)
    done.close(sample_record(run_id="run-collapse-2"))
    failed = RunFolder.create(tmp_path, "run-collapse-4", PLAN)
    failed.close(sample_record(run_id="run-collapse-4", status="failed"))
    assert find_numbers(options) == [1, 4]
    assert "snapshot 2 has been collapsed" in capsys.readouterr().err


def begin(options: CollapseOptions) -> tuple[RunPlan, RunFolder, Checkpoint | None]:
    """A collapse that ends at once."""
    plan, folder, checkpoint, lock = begin_collapse(options, WORLD)
    lock.release()
    return plan, folder, checkpoint


def test_a_collapse_begins_with_the_snapshot_and_nothing_of_its_times(
    options: CollapseOptions,
) -> None:
    plan, folder, checkpoint = begin(msgspec.structs.replace(options, snapshot=2))
    assert folder.path.name == "run-collapse-2"
    assert folder.read_plan() == plan
    assert checkpoint is not None
    state, kept = checkpoint.state, snapshot(2)
    assert state.step == plan.first_step == kept.state.step
    assert (state.epochs, state.losses, state.run_seconds, state.resumed_at) == ([], [], 0.0, ())
    assert [rank.times.steps for rank in state.ranks] == [0, 0]
    assert [rank.corrupt for rank in state.ranks] == [(0,), (1,)]
    for one, other in zip(checkpoint.replicated, kept.replicated, strict=True):
        assert np.array_equal(one, other)
    assert np.array_equal(checkpoint.per_rank, kept.per_rank)


def test_a_collapse_goes_on_from_its_own_checkpoint(options: CollapseOptions) -> None:
    two = msgspec.structs.replace(options, snapshot=2)
    plan, folder, first = begin(two)
    assert first is not None
    further = msgspec.structs.replace(first.state, step=plan.first_step + 3, losses=[1.0] * 3)
    saved = Checkpoint(further, first.replicated, first.per_rank)
    write_checkpoint(folder.path / CHECKPOINTS_FOLDER, saved)
    again, _, checkpoint = begin(two)
    assert again == plan
    assert checkpoint is not None
    assert checkpoint.state == further
    with pytest.raises(InputError, match="phase") as caught:
        begin_collapse(msgspec.structs.replace(two, epochs=9.0), WORLD)
    assert "--allow-change" not in str(caught.value)


def test_a_collapse_that_diverged_or_is_completed_stays(options: CollapseOptions) -> None:
    two = msgspec.structs.replace(options, snapshot=2)
    for status in ("diverged", "completed"):
        named = msgspec.structs.replace(two, run_id=status)
        _, folder, _ = begin(named)
        folder.close(sample_record(run_id=status, status=status))
        with pytest.raises(InputError, match=f"this one has {status}") as caught:
            begin_collapse(named, WORLD)
        assert "--allow-change" not in str(caught.value)


def test_other_ranks_than_the_runs_are_refused(options: CollapseOptions) -> None:
    with pytest.raises(RunError, match="ran on 2 ranks, and 3 were started"):
        begin_collapse(
            msgspec.structs.replace(options, snapshot=1), dataclasses.replace(WORLD, ranks=3)
        )
    assert not options.run.with_name("run-collapse-1").exists()


def test_a_damaged_snapshot_is_named(options: CollapseOptions) -> None:
    path = options.run / SNAPSHOTS_FOLDER / "snapshot-1.npz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match=r"snapshot-1.npz is damaged"):
        begin_collapse(msgspec.structs.replace(options, snapshot=1), WORLD)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"snapshot": 3}, "--snapshot: 3 .*: 1, 2, 4"),
        ({"run_id": "mine"}, "--run-id: 'mine' .*only with --snapshot"),
    ],
)
def test_what_cannot_be_collapsed_is_refused(
    changes: dict[str, object], said: str, options: CollapseOptions
) -> None:
    with pytest.raises(InputError, match=said):
        find_numbers(msgspec.structs.replace(options, **changes))


def test_a_run_without_snapshots_is_refused(options: CollapseOptions, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has kept snapshots"):
        find_numbers(msgspec.structs.replace(options, run=tmp_path))


def test_the_run_may_be_the_present_folder(
    options: CollapseOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(options.run)
    here = msgspec.structs.replace(options, run=Path(), snapshot=4)
    plan, folder, _ = begin(here)
    assert plan.origin is not None
    assert (plan.origin.run_id, folder.path.name) == ("run", "run-collapse-4")
