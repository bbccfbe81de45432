"""The metrics of a run as TensorBoard's event files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from hvdtrain.runs.metrics import MetricsLine


class EventFiles:
    """Event files in a folder; open until they are closed."""

    def __init__(self, folder: Path) -> None:
        self._writer = tf.summary.create_file_writer(str(folder))

    def write(self, lines: Sequence[MetricsLine]) -> None:
        """Add the numbers of some lines."""
        with self._writer.as_default():
            for line in lines:
                _write_summaries(line)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


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
