"""Lines of the metrics are written in the background, in order, and none is ever lost."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from hvdtrain.errors import RunError
from hvdtrain.runs.folder import RunFolder
from hvdtrain.runs.metrics import MetricsLine, read_metrics
from hvdtrain.train.metrics import MetricsLog, open_metrics
from tests.samples import sample_plan


def line(step: int) -> MetricsLine:
    return MetricsLine(step=step, epoch=1, seconds=step, learning_rate=0.1, loss=2.0)


class Slow:
    """Keeps what is written; a write takes a while."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.batches: list[list[int]] = []
        self._seconds = seconds

    def __call__(self, lines: Sequence[MetricsLine]) -> None:
        time.sleep(self._seconds)
        self.batches.append([each.step for each in lines])

    @property
    def steps(self) -> list[int]:
        return [step for batch in self.batches for step in batch]


def test_lines_are_written_in_batches_and_nobody_waits_for_them() -> None:
    written = Slow(0.05)
    log = MetricsLog(written, 0.05)
    begin = time.monotonic()
    for step in range(100):
        log.add(line(step))
        time.sleep(0.002)
    # A hundred writes take 5 s.
    assert time.monotonic() - begin < 2.0
    log.close()
    assert written.steps == list(range(100))
    assert 1 < len(written.batches) < 20


def test_a_flush_returns_when_all_is_written_and_keeps_the_order() -> None:
    written = Slow(0.01)
    log = MetricsLog(written, 0.001)
    for step in range(20):
        log.add(line(step))
        if step % 3 == 0:
            log.flush()
            assert written.steps == list(range(step + 1))
    log.close()
    assert written.steps == list(range(20))


def test_a_line_comes_to_the_file_by_itself() -> None:
    came = threading.Event()
    log = MetricsLog(lambda _: came.set(), 0.01)
    log.add(line(1))
    assert came.wait(60)
    log.close()


def test_a_failed_write_is_raised_by_what_comes_next_and_nothing_is_written_behind_it() -> None:
    calls = []

    def fail(lines: Sequence[MetricsLine]) -> None:
        calls.append(len(lines))
        raise RunError("the disk is full")

    log = MetricsLog(fail, 0.01)
    log.add(line(1))
    deadline = time.monotonic() + 60
    while not calls and time.monotonic() < deadline:
        time.sleep(0.01)
    for ask in (log.flush, functools.partial(log.add, line(2)), log.close):
        with pytest.raises(RunError, match="the disk is full"):
            ask()
    assert len(calls) == 1


@pytest.mark.tf
@pytest.mark.parametrize("end", [None, RunError("diverged"), KeyboardInterrupt()])
def test_all_lines_are_there_however_the_run_ends(
    end: BaseException | None, tmp_path: Path
) -> None:
    folder = RunFolder.create(tmp_path, "run", sample_plan())
    raised: BaseException | None = None
    try:
        with open_metrics(folder, tensorboard=True) as log:
            for step in range(1, 8):
                log.add(line(step))
            if end is not None:
                raise end
    except BaseException as error:
        raised = error
    assert raised is end
    assert [each.step for each in read_metrics(folder.path).steps] == list(range(1, 8))
    assert list((folder.path / "tensorboard").iterdir())


def test_what_failed_first_is_what_is_raised(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "gone")

    def keep(end: RunError | None) -> None:
        with open_metrics(folder, tensorboard=False) as log:
            log.add(line(1))
            if end is not None:
                raise end

    with pytest.raises(RunError, match="diverged"):
        keep(RunError("diverged"))
    with pytest.raises(RunError, match=r"metrics.jsonl cannot be written"):
        keep(None)
