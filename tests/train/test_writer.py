"""One write at a time, in the background, and none of its failures is lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from hvdtrain.errors import RunError
from hvdtrain.train.writer import CheckpointWriter


def fail() -> None:
    raise RunError("the disk is full")


def test_goes_on_while_it_writes_and_writes_one_at_a_time() -> None:
    writer = CheckpointWriter()
    release = threading.Event()
    order: list[str] = []

    def first() -> None:
        release.wait(60)
        order.append("first")

    writer.start(first)
    writer.check()
    assert order == []
    threading.Timer(0.05, release.set).start()
    writer.start(lambda: order.append("second"))
    assert order[0] == "first"
    writer.finish()
    assert order == ["first", "second"]


@pytest.mark.parametrize("ask", [CheckpointWriter.finish, CheckpointWriter.check])
def test_a_failure_is_raised_once_by_whatever_comes_next(
    ask: Callable[[CheckpointWriter], None],
) -> None:
    writer = CheckpointWriter()
    writer.start(fail)
    writer.settle()
    with pytest.raises(RunError, match="the disk is full"):
        ask(writer)
    ask(writer)
    writer.start(fail)
    with pytest.raises(RunError, match="the disk is full"):
        writer.start(fail)


def test_runs_on_the_cores_it_is_given() -> None:
    cpu = max(os.sched_getaffinity(0))
    found: list[set[int]] = []
    writer = CheckpointWriter([cpu])
    before = os.sched_getaffinity(0)
    writer.start(lambda: found.append(os.sched_getaffinity(0)))
    writer.finish()
    assert (found, os.sched_getaffinity(0)) == ([{cpu}], before)
