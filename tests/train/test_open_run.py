"""A run that did not end goes on; what has ended, or is another run, is refused."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdtrain.errors import InputError, RunError
from hvdtrain.plan.method.dataset import DatasetInfo
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.runs.folder import RunFolder
from hvdtrain.runs.metrics import MetricsLine
from hvdtrain.runs.names import CHECKPOINTS_FOLDER, METRICS_FILE, PLAN_FILE, RECORD_FILE
from hvdtrain.train.checkpoint.archive import Checkpoint, write_checkpoint
from hvdtrain.train.open_run import _moved, open_run
from tests.samples import sample_checkpoint, sample_plan, sample_record


def cut_off(results: Path, *steps: int) -> RunFolder:
    folder = RunFolder.create(results, "run", sample_plan())
    for step in steps:
        write_checkpoint(folder.path / CHECKPOINTS_FOLDER, sample_checkpoint(step))
    return folder


def reopen(results: Path, plan: RunPlan | None = None, allow: bool = False) -> Checkpoint | None:
    opened = open_run(results, "run", plan or sample_plan(), allow)
    opened.lock.release()
    return opened.checkpoint


def test_a_new_run_starts_from_nothing(tmp_path: Path) -> None:
    assert reopen(tmp_path) is None
    assert (tmp_path / "run" / PLAN_FILE).exists()


def test_goes_on_from_the_newest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut_off(tmp_path, 4, 8)
    found = reopen(tmp_path)
    assert found is not None
    assert found.state.step == 8
    assert "run goes on from step 8" in capsys.readouterr().err


def test_a_damaged_one_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = cut_off(tmp_path, 4, 8)
    newest = folder.path / CHECKPOINTS_FOLDER / "checkpoint-0000000008.npz"
    newest.write_bytes(newest.read_bytes()[:1000])
    found = reopen(tmp_path)
    assert found is not None
    assert found.state.step == 4
    assert f"{newest} is damaged" in capsys.readouterr().err


def test_never_starts_over_by_itself_when_all_are_damaged(tmp_path: Path) -> None:
    folder = cut_off(tmp_path, 4)
    (folder.path / CHECKPOINTS_FOLDER / "checkpoint-0000000004.npz").write_bytes(b"")
    with pytest.raises(RunError, match="no checkpoint of the run run is whole"):
        reopen(tmp_path)


def test_a_folder_without_a_plan_is_a_run_that_never_began(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".plan.json.abc").write_text("{")
    assert reopen(tmp_path) is None
    assert (tmp_path / "run" / PLAN_FILE).exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="--run-id"):
        reopen(tmp_path)
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_another_plan_is_refused_field_by_field(tmp_path: Path) -> None:
    cut_off(tmp_path, 4)
    with pytest.raises(InputError, match=r"rank_batch: 4 -> 2(.|\n)*--allow-change"):
        reopen(tmp_path, sample_plan(rank_batch=2))
    assert json.loads((tmp_path / "run" / PLAN_FILE).read_text())["rank_batch"] == 4


def test_another_plan_goes_on_after_the_same_images_when_allowed(tmp_path: Path) -> None:
    cut_off(tmp_path, 14)  # an epoch of 10 steps and 32 images of the next
    plan = sample_plan(rank_batch=2, ranks_per_node=4, seed=1)
    found = reopen(tmp_path, plan, allow=True)
    assert found is not None
    assert found.state.step == 14
    assert json.loads((tmp_path / "run" / PLAN_FILE).read_text())["rank_batch"] == 2
    found = reopen(tmp_path, sample_plan(rank_batch=3), allow=True)
    assert found is not None
    # 80 images and 32 of the next epoch: 18 steps of 6, and one for the last 4.
    assert found.state.step == 19


def test_a_run_of_an_earlier_version_goes_on_with_its_own_epochs(tmp_path: Path) -> None:
    """That left out what did not fill an update, and evaluated after every epoch."""
    now = sample_plan(rank_batch=3, evaluate_epochs=4)
    assert (now.steps_per_epoch, now.total_steps) == (80 / 6, 1200)
    old = msgspec.structs.replace(now, steps_per_epoch=13.0, evaluate_epochs=None)
    assert (old.epoch_images, old.total_steps) == (78, 90 * 13)
    RunFolder.create(tmp_path, "run", old)
    opened = open_run(tmp_path, "run", now, allow_change=False)
    opened.lock.release()
    assert opened.plan == old
    assert json.loads((tmp_path / "run" / PLAN_FILE).read_text())["steps_per_epoch"] == 13


def test_a_run_may_go_on_with_rarer_evaluations(tmp_path: Path) -> None:
    cut_off(tmp_path, 4)
    opened = open_run(tmp_path, "run", sample_plan(evaluate_epochs=7), allow_change=False)
    opened.lock.release()
    assert opened.plan.evaluate_epochs == 7


@given(
    st.integers(1, 5), st.integers(1, 5), st.integers(1, 90), st.integers(10, 80), st.integers(0)
)
def test_a_moved_run_is_within_the_same_epoch(
    before: int, after: int, epochs: int, images: int, step: int
) -> None:
    dataset = DatasetInfo(train_images=images, validation_images=16, classes=10)
    old, new = (
        sample_plan(rank_batch=batch, dataset=dataset, epochs=epochs) for batch in (before, after)
    )
    step %= old.total_steps + 1
    state = msgspec.structs.replace(sample_checkpoint(0).state, plan=old, step=step)
    moved = _moved(Checkpoint(state, [], np.zeros((1, 3), np.float32)), new).state.step
    epoch = old.epochs_ended(step)
    assert new.epoch_end(epoch) <= moved <= new.epoch_end(epoch + 1)
    assert abs(moved * new.global_batch - step * old.global_batch) <= max(
        old.global_batch, new.global_batch
    )


def test_other_ranks_get_the_mean_of_the_statistics(tmp_path: Path) -> None:
    cut_off(tmp_path, 4)
    found = reopen(tmp_path, sample_plan(ranks_per_node=4), allow=True)
    assert found is not None
    assert np.array_equal(found.per_rank, [[2.5, 3.5, 4.5]])
    assert [rank.corrupt for rank in found.state.ranks] == [(0, 1)] * 4


@pytest.mark.parametrize(
    ("status", "allow"), [("completed", False), ("completed", True), ("diverged", False)]
)
def test_a_run_that_ended_stays_as_it_is(tmp_path: Path, status: str, allow: bool) -> None:
    folder = cut_off(tmp_path, 4)
    folder.close(sample_record(run_id="run", status=status))
    with pytest.raises(InputError, match=f"this one has {status}"):
        reopen(tmp_path, allow=allow)
    assert (folder.path / RECORD_FILE).exists()


def test_a_failed_run_goes_on_and_its_record_is_kept(tmp_path: Path) -> None:
    folder = cut_off(tmp_path, 4)
    for number in (1, 2):
        assert folder.close(sample_record(run_id="run", status="failed", failure=f"no. {number}"))
        assert reopen(tmp_path) is not None
        assert not (folder.path / RECORD_FILE).exists()
        kept = json.loads((folder.path / f"record-{number}.json").read_text())
        assert kept["failure"] == f"no. {number}"


def test_metrics_beyond_the_checkpoint_go(tmp_path: Path) -> None:
    folder = cut_off(tmp_path, 10)  # written before the evaluation of epoch 1
    for step in range(1, 11):
        folder.append(MetricsLine(step=step, epoch=1, seconds=1.0, learning_rate=0.1, loss=2.0))
    evaluated = MetricsLine(step=10, epoch=1, seconds=1.0, learning_rate=0.1, count=16)
    folder.append(evaluated)
    folder.append(MetricsLine(step=11, epoch=2, seconds=1.0, learning_rate=0.1, loss=2.0))
    metrics = folder.path / METRICS_FILE
    with metrics.open("ab") as file:
        file.write(b'{"step": 12, "epo')
    reopen(tmp_path)
    lines = [
        msgspec.json.decode(line, type=MetricsLine) for line in metrics.read_bytes().splitlines()
    ]
    assert [line.step for line in lines] == [*range(1, 11)]
    assert evaluated not in lines


def test_without_a_checkpoint_the_metrics_start_anew(tmp_path: Path) -> None:
    folder = cut_off(tmp_path)
    folder.append(MetricsLine(step=1, epoch=1, seconds=1.0, learning_rate=0.1, loss=2.0))
    assert reopen(tmp_path) is None
    assert (folder.path / METRICS_FILE).read_bytes() == b""
