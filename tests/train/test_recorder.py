"""Whatever happens to a run, its folder tells it afterwards."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from hvdtrain.errors import RunError
from hvdtrain.files.decode import load_json
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.runs.names import CHECKPOINTS_FOLDER, OWNER_FILE, RECORD_FILE
from hvdtrain.runs.record import Record
from hvdtrain.train.checkpoint.archive import write_checkpoint
from hvdtrain.train.checkpoint.interrupt import Interrupted
from hvdtrain.train.health.divergence import DivergedError
from hvdtrain.train.open_run import open_run
from tests.samples import sample_checkpoint, sample_plan, sample_record, silent_watchdog

pytest.importorskip("horovod")
from hvdtrain.train import recorder as recorders
from hvdtrain.train.metrics import WRITE_SECONDS
from hvdtrain.train.process.context import RankContext
from hvdtrain.train.process.world import World

pytestmark = pytest.mark.tf


def begin(
    results: Path, monkeypatch: pytest.MonkeyPatch, rank: int = 0, plan: RunPlan | None = None
) -> recorders.RunRecorder:
    """One of two ranks, which hears of the run what rank 0 would send it."""
    monkeypatch.setattr(recorders, "bcast_from_root", lambda make, _: make())
    world = World(rank=rank, ranks=2, hosts=("n1", "n2"), reduction="MPI")
    versions = sample_record().versions
    context = RankContext(world, None, frozenset(), versions, None, silent_watchdog())
    return recorders.open_recorder(
        context, lambda: open_run(results, "run", plan or sample_plan(), allow_change=False)
    )


def read_record(results: Path) -> Record:
    return load_json(results / "run" / RECORD_FILE, Record)


def keep_checkpoint(results: Path) -> None:
    write_checkpoint(results / "run" / CHECKPOINTS_FOLDER, sample_checkpoint(7, run_seconds=100.0))


def test_a_completed_run_leaves_a_record_and_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = begin(tmp_path, monkeypatch)
    keep_checkpoint(tmp_path)
    with recorder.recording():
        for _ in range(4):
            recorder.times.add(0.5, 0.1, counts=True)
        recorder.weights_sha256 = "0" * 64
    record = read_record(tmp_path)
    assert (record.status, record.steps, record.seconds_per_step) == ("completed", 4, 0.5)
    assert (record.images_per_second, record.weights_sha256) == (16.0, "0" * 64)
    assert (record.resumed_at, record.failure) == ((), None)
    assert not {CHECKPOINTS_FOLDER, OWNER_FILE} & {
        path.name for path in recorder.folder.path.iterdir()
    }


@pytest.mark.parametrize(
    ("error", "status", "failure"),
    [
        (DivergedError("the loss at step 3 is nan"), "diverged", "the loss at step 3 is nan"),
        (RunError("no room", "make room"), "failed", "rank 0 on n1: no room\n  fix: make room"),
        (ValueError("what"), "failed", "rank 0 on n1: ValueError: what"),
    ],
)
def test_a_run_that_fails_says_so_and_can_go_on(
    error: Exception,
    status: str,
    failure: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = begin(tmp_path, monkeypatch)
    keep_checkpoint(tmp_path)
    with pytest.raises(type(error)), recorder.recording():
        raise error
    record = read_record(tmp_path)
    assert (record.status, record.failure) == (status, failure)
    assert (recorder.folder.path / CHECKPOINTS_FOLDER).exists()
    assert not (recorder.folder.path / OWNER_FILE).exists()


def test_an_interrupted_run_has_no_record_and_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = begin(tmp_path, monkeypatch)
    with pytest.raises(Interrupted), recorder.recording():
        raise Interrupted
    assert [path.name for path in recorder.folder.path.iterdir()] == ["plan.json"]


def test_another_rank_gives_the_first_one_time_to_write_its_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    recorder = begin(tmp_path, monkeypatch, rank=1)
    with pytest.raises(RunError), recorder.recording():
        raise RunError("a broken image")
    assert read_record(tmp_path).failure == "rank 1 on n2: a broken image"
    assert len(slept) == 1
    assert slept[0] > WRITE_SECONDS


def test_a_divergence_is_recorded_by_one_rank_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    recorder = begin(tmp_path, monkeypatch, rank=1)
    with pytest.raises(DivergedError), recorder.recording():
        raise DivergedError("the loss at step 3 is nan")
    assert [path.name for path in recorder.folder.path.iterdir()] == ["plan.json"]


def test_a_run_goes_on_where_its_data_are_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(tmp_path, monkeypatch).lock.release()  # type: ignore[union-attr]
    keep_checkpoint(tmp_path)
    plan = sample_plan()
    moved = msgspec.structs.replace(plan, source=msgspec.structs.replace(plan.source, path="/new"))
    recorder = begin(tmp_path, monkeypatch, plan=moved)
    assert recorder.state.plan == moved != plan
    assert (recorder.state.step, recorder.state.resumed_at) == (7, (3, 7))
    assert recorder.checkpoint is not None
    assert 100.0 <= recorder.seconds < 160.0
