"""One write at a time, in the background, and none of its failures is lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from hvdtrain.errors import RunError
from hvdtrain.train.checkpoint.writer import CheckpointWriter


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


@pytest.mark.tf
def test_what_is_copied_does_not_change_with_the_variable() -> None:
    """What the training does to the weights meanwhile must not reach the file."""
    import tensorflow as tf

    variable = tf.Variable(tf.random.normal([512, 512]))
    copied = variable.numpy()
    before = copied.tobytes()
    for change in (variable.assign_add, variable.assign):
        change(tf.ones([512, 512]))
        assert copied.tobytes() == before != variable.numpy().tobytes()
