"""What a run's folder tells while the run goes on, whatever state its files are in."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from hvdtrain.plan.method.recipe import stretch_recipe
from hvdtrain.runs.folder import RunFolder
from hvdtrain.runs.metrics import MetricsLine
from hvdtrain.runs.names import METRICS_FILE
from hvdtrain.runs.progress import TAIL_BYTES, read_progress, read_run, read_runs
from tests.samples import sample_plan, sample_record


def line(step: int, **changes: object) -> bytes:
    made = MetricsLine(
        step=step, epoch=1 + step // 10, seconds=step * 0.5, learning_rate=0.1, step_seconds=0.5
    )
    return msgspec.json.encode(msgspec.structs.replace(made, **changes)) + b"\n"


def test_the_last_line_counts(tmp_path: Path) -> None:
    path = tmp_path / METRICS_FILE
    path.write_bytes(b"".join(line(step) for step in range(1, 24)))
    progress = read_progress(path)
    assert progress is not None
    assert (progress.step, progress.epoch, progress.seconds) == (23, 3, 11.5)
    assert progress.step_seconds == 0.5
    assert progress.written == path.stat().st_mtime


def test_a_file_that_is_cut_anywhere_gives_its_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / METRICS_FILE
    whole = b"".join(line(step) for step in range(1, 3))
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        progress = read_progress(path)
        assert (progress.step if progress else 0) == whole[:cut].count(b"\n")


def test_only_the_end_of_a_huge_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / METRICS_FILE
    with path.open("wb") as file:
        file.truncate(10 * 2**30)  # a hole
        file.seek(0, 2)
        file.write(b"\n" + line(77))
    progress = read_progress(path)
    assert progress is not None
    assert progress.step == 77


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n\n",
        b"not json\n",
        b'{"step": "x"}\n',
        b"\xff\xfe\n",
        b"x" * (2 * TAIL_BYTES) + b"\n",
        b"[" * 20_000 + b"\n",
    ],
)
def test_what_is_no_line_is_passed_over(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / METRICS_FILE
    path.write_bytes(content)
    assert read_progress(path) is None
    path.write_bytes(line(5) + content + b"{\n")
    progress = read_progress(path)
    assert (progress is None) == (len(content) > TAIL_BYTES)


def test_stragglers_of_the_last_epoch_are_named(tmp_path: Path) -> None:
    slow = b'{"step":%d,"epoch":1,"seconds":1.0,"count":16,"stragglers":%s}\n'
    named = slow % (10, b'[{"rank":3,"host":"n17","seconds":0.5,"ratio":1.417}]')
    path = tmp_path / METRICS_FILE
    path.write_bytes(line(9) + named + line(11))
    progress = read_progress(path)
    assert progress is not None
    assert progress.stragglers == ("n17 (rank 3, x 1.42)",)
    path.write_bytes(named + slow % (20, b"[]"))
    progress = read_progress(path)
    assert progress is not None
    assert progress.stragglers == ()


def test_a_run_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run", sample_plan())
    facts = read_run(folder.path)
    assert facts is not None
    assert facts.planned is not None
    assert (facts.planned.total_steps, facts.planned.steps_per_epoch) == (900, 10)
    assert (facts.progress, facts.ended, facts.submission) == (None, None, None)
    folder.append(MetricsLine(step=1, epoch=1, seconds=1.0, learning_rate=0.1, step_seconds=1.0))
    folder.close(sample_record(run_id="run"))
    facts = read_run(folder.path)
    assert facts is not None
    assert facts.progress is not None and facts.progress.step == 1
    assert facts.ended is not None
    assert (facts.ended.status, facts.ended.step, facts.ended.images_per_second) == (
        "completed",
        900,
        80.0,
    )


def test_other_folders_and_hidden_ones_are_no_runs(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, "run", sample_plan())
    RunFolder.create(tmp_path, ".run.abc", sample_plan())
    (tmp_path / "notes").mkdir()
    (tmp_path / "file").write_text("")
    assert [facts.run_id for facts in read_runs(tmp_path)] == ["run"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run", sample_plan())
    (folder.path / "submission.json").write_text('{"run_id": 1}')
    facts = read_run(folder.path)
    assert facts is not None
    assert "submission.json: " in facts.fault
    assert facts.planned is not None


@pytest.mark.timeout(20)
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "run", sample_plan())
    for name in (METRICS_FILE, "submission.json"):
        os.mkfifo(folder.path / name)
    facts = read_run(folder.path)
    assert facts is not None
    assert (facts.progress, facts.submission) == (None, None)
    assert "submission.json: not a regular file" in facts.fault


def test_a_plan_that_was_never_made_is_named(tmp_path: Path) -> None:
    # Phases of less than a step.
    recipe = stretch_recipe(sample_plan().recipe, 0.001)
    plan = msgspec.structs.replace(sample_plan(), recipe=recipe)
    folder = RunFolder.create(tmp_path, "run", plan)
    facts = read_run(folder.path)
    assert facts is not None
    assert facts.planned is None
    assert facts.fault.startswith("plan.json: ")
