"""Where the lines of a run's metrics go: metrics.jsonl, and TensorBoard when it is wanted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import tensorflow as tf

from hvdtrain.runs.folder import RunFolder
from hvdtrain.runs.metrics import MetricsLine

Log = Callable[[MetricsLine], None]


@contextlib.contextmanager
def make_log(folder: RunFolder, is_first: bool, tensorboard: bool) -> Iterator[Log]:
    """The function that keeps a line. Only the first rank keeps any."""
    if not is_first:
        yield lambda _: None
    elif not tensorboard:
        yield folder.append
    else:
        writer = tf.summary.create_file_writer(str(folder.path / "tensorboard"))

        def append_both(line: MetricsLine) -> None:
            folder.append(line)
            _write_summaries(line)

        with writer.as_default():
            yield append_both
        writer.close()


def _write_summaries(line: MetricsLine) -> None:
    values = {
        "training/loss": line.loss,
        "training/learning_rate": line.learning_rate,
        "training/step_seconds": line.step_seconds,
        "training/allreduce_seconds": line.allreduce_seconds,
        "training/gradient_norm": line.gradient_norm,
        "evaluation/top1": line.top1,
        "evaluation/top5": line.top5,
        "evaluation/loss": line.evaluation_loss,
    }
    for name, value in values.items():
        if value is not None:
            tf.summary.scalar(name, value, step=line.step)
