"""Random images that cost nothing per step: one batch, made once, given again and again."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf

from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.train.data.corrupt import CorruptLog
from hvdtrain.train.data.sampler import Shard, validation_examples

Batch = tuple[tf.Tensor, tf.Tensor]


class SyntheticData:
    """One rank's synthetic images: normal noise with random labels, different on every rank.

    Args:
        plan: The run plan: batch, image size, classes, steps and seed.
        shard: This rank's part of every global batch.
    """

    def __init__(self, plan: RunPlan, shard: Shard) -> None:
        self._steps = plan.total_steps
        self._batches = shard.batches
        self.corrupt_training = CorruptLog("training", str, 0)
        self.corrupt_validation = CorruptLog("validation", str, 0)
        share = validation_examples(plan.dataset.validation_images, shard)
        self._validation_images = len(share)
        size, seed = plan.model.image_size, [plan.seed, shard.rank]
        self._images = tf.random.stateless_normal([shard.rank_batch, size, size, 3], seed)
        self._labels = tf.random.stateless_uniform(
            [shard.rank_batch], seed, 0, plan.dataset.classes, tf.int64
        )

    def training(self, first_step: int = 0) -> Iterator[Batch]:
        """The same batch again and again, from `first_step` to the end of the run."""
        for _ in range(first_step * self._batches, self._steps * self._batches):
            yield self._images, self._labels

    def validation(self) -> Iterator[Batch]:
        """This rank's share of the validation images, the last batch cut to fit."""
        left = self._validation_images
        while left > 0:
            yield self._images[:left], self._labels[:left]
            left -= len(self._labels)
