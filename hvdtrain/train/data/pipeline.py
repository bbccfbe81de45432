"""The batches of one rank."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Collection, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.train.data.augment import make_evaluation_image, make_training_image
from hvdtrain.train.data.corrupt import CorruptLog, default_max_corrupt, explain
from hvdtrain.train.data.dataset import find_planned
from hvdtrain.train.data.readers import Split, list_splits, open_split
from hvdtrain.train.data.sampler import (
    Examples,
    Shard,
    augmentation_keys,
    permute,
    step_examples,
    validation_batch,
    validation_examples,
)
from hvdtrain.train.data.synthetic import SyntheticData
from hvdtrain.train.process.world import bcast_on_node

Batch = tuple[tf.Tensor, tf.Tensor]
Prepare = Callable[..., Batch]

_PREFETCHED_BATCHES = 3


class Pipeline(Protocol):
    """What one rank trains and evaluates on.

    A batch is images, float32 [batch, image_size, image_size, 3], normalised, and labels, int64
    [batch], 0 to classes - 1.

    Attributes:
        corrupt_training: The corrupt training images that this rank has met.
        corrupt_validation: The same of the validation images.
    """

    corrupt_training: CorruptLog
    corrupt_validation: CorruptLog

    def training(self, first_step: int = 0) -> Iterator[Batch]:
        """The batches of each step from `first_step` to the end of the run.

        A step has `plan.accumulate` batches of rank_batch images.

        What a step gets does not depend on `first_step`; nothing is decoded for earlier steps.
        """

    def validation(self) -> Iterator[Batch]:
        """This rank's share of the validation images, once; the last batch may be smaller."""


def open_pipeline(plan: RunPlan, rank: int, threads: int, cpus: Collection[int] = ()) -> Pipeline:
    """The data of one rank. Collective, where several ranks run.

    Args:
        plan: The run plan: data source, batch, image size, schedule and seed.
        rank: 0 .. plan.ranks - 1.
        threads: Threads that decode images, at least 1.
        cpus: Processors that all threads of the pipeline run on; empty: those of the caller.

    Raises:
        InputError: The data cannot be used.
        RunError: The data are not those of the plan.
    """
    shard = Shard(rank, plan.ranks, plan.rank_batch, plan.accumulate)
    if plan.source.kind == "synthetic":
        return SyntheticData(plan, shard)
    # A node has its own copy of the data, and its ranks have the same.
    listed = bcast_on_node(lambda: list_splits(find_planned(plan.source, plan.dataset)))
    train, validation = (open_split(each, plan.dataset.classes) for each in listed)
    return ImagePipeline(plan, shard, train, validation, threads, cpus)


class ImagePipeline:
    """One rank's batches of real images.

    The fast path knows nothing of corrupt images: the first one ends its stream with an error. The
    batch in question is then made image by image, the corrupt ones are named, and a new stream
    goes on behind it. From then on the corrupt images are known and avoided.

    Args:
        plan: The run plan: data source, batch, image size, schedule and seed.
        shard: This rank's part of every global batch.
        train: Reads training images by their number.
        validation: Reads validation images by their number.
        threads: Threads that decode images, at least 1.
        cpus: Processors that they run on; empty: those of the caller.
    """

    def __init__(
        self,
        plan: RunPlan,
        shard: Shard,
        train: Split,
        validation: Split,
        threads: int,
        cpus: Collection[int] = (),
    ) -> None:
        self._plan = plan
        self._schedule = plan.schedule
        self._shard = shard
        self._threads = threads
        self._cpus = cpus
        self._validation_images = validation.images
        self._validation_batch = validation_batch(validation.images, shard)
        self._permutation = functools.lru_cache(maxsize=2)(
            lambda epoch: permute(train.images, plan.seed, epoch)
        )
        self.corrupt_training = CorruptLog(
            "training", train.name, default_max_corrupt(train.images)
        )
        self.corrupt_validation = CorruptLog(
            "validation", validation.name, default_max_corrupt(validation.images)
        )
        size = plan.model.image_size

        def training_example(example: tf.Tensor, keys: tf.Tensor, augment: tf.Tensor) -> Batch:
            encoded, label = train.read(example)
            return make_training_image(encoded, example, keys, augment, size), label

        def validation_example(example: tf.Tensor) -> Batch:
            encoded, label = validation.read(example)
            return make_evaluation_image(encoded, size), label

        number = tf.TensorSpec([], tf.int64)
        signature = [number, tf.TensorSpec([2], tf.int64), tf.TensorSpec([], tf.bool)]
        # One trace serves every stream.
        self._prepare_training = tf.function(training_example, signature, autograph=False)
        self._prepare_validation = tf.function(validation_example, [number], autograph=False)

    def training(self, first_step: int = 0) -> Iterator[Batch]:
        """See Pipeline. A corrupt image is replaced by another one: the batch stays full.

        Raises:
            RunError: More corrupt images than a run tolerates.
        """
        batches = self._shard.batches
        number = first_step * batches
        while number < self._plan.total_steps * batches:
            try:
                for batch in _start(self._stream_training(number), self._cpus):
                    yield batch
                    number += 1
            except tf.errors.OpError as error:
                yield self._repair_batch(number, error)
                number += 1

    def validation(self) -> Iterator[Batch]:
        """See Pipeline. A corrupt image is left out; `corrupt_validation` tells which.

        Raises:
            RunError: More corrupt images than a run tolerates.
        """
        examples = validation_examples(self._validation_images, self._shard)
        known = self.corrupt_validation.examples
        examples = examples[~np.isin(examples, list(known))]
        while len(examples):
            try:
                for batch in _start(self._stream_validation(examples), self._cpus):
                    yield batch
                    examples = examples[len(batch[1]) :]
            except tf.errors.OpError as error:
                batch = self._repair_validation(examples[: self._validation_batch], error)
                if len(batch[1]):
                    yield batch
                examples = examples[self._validation_batch :]

    def _order(self, number: int) -> tuple[Examples, Examples, bool]:
        """Examples of a batch of the run, keys of each, and whether scale and aspect vary."""
        step, batch = divmod(number, self._shard.batches)
        examples, epochs = step_examples(
            self._permutation,
            step,
            self._plan.epoch_images,
            self._shard,
            self.corrupt_training.examples,
        )
        first = batch * self._shard.rank_batch
        own = slice(first, first + self._shard.rank_batch)
        keys = [augmentation_keys(self._plan.seed, epoch) for epoch in epochs[own].tolist()]
        return examples[own], np.stack(keys), self._schedule.augment(step)

    def _stream_training(self, first_batch: int) -> tf.data.Dataset:
        batch = self._shard.rank_batch
        end = self._plan.total_steps * self._shard.batches

        def orders() -> Iterator[tuple[Examples, Examples, npt.NDArray[np.bool_]]]:
            for number in range(first_batch, end):
                examples, keys, augment = self._order(number)
                yield examples, keys, np.full(batch, augment)

        signature = (
            tf.TensorSpec([batch], tf.int64),
            tf.TensorSpec([batch, 2], tf.int64),
            tf.TensorSpec([batch], tf.bool),
        )
        orders_dataset = tf.data.Dataset.from_generator(orders, output_signature=signature)
        return self._stream(orders_dataset.unbatch(), self._prepare_training, batch)

    def _stream_validation(self, examples: Examples) -> tf.data.Dataset:
        dataset = tf.data.Dataset.from_tensor_slices(examples)
        return self._stream(dataset, self._prepare_validation, self._validation_batch)

    def _stream(self, dataset: tf.data.Dataset, prepare: Prepare, batch: int) -> tf.data.Dataset:
        options = tf.data.Options()
        options.deterministic = True
        options.autotune.enabled = False
        options.threading.private_threadpool_size = self._threads
        options.threading.max_intra_op_parallelism = 1
        return (
            dataset.map(prepare, num_parallel_calls=self._threads)
            .batch(batch)
            .prefetch(_PREFETCHED_BATCHES)
            .with_options(options)
        )

    def _repair_batch(self, number: int, error: Exception) -> Batch:
        """Make a batch image by image; a corrupt one gives way to its substitute."""
        log = self.corrupt_training
        before = log.examples
        made: list[Batch] = []
        while len(made) < self._shard.rank_batch:
            examples, keys, augment = self._order(number)
            example, own_keys = int(examples[len(made)]), keys[len(made)]
            try:
                made.append(self._prepare_training(example, own_keys, augment))
            except tf.errors.OpError as fault:
                log.add(example, explain(fault))
        _say_if_passing(before == log.examples, error)
        return _stack(made)

    def _repair_validation(self, examples: Examples, error: Exception) -> Batch:
        """Make a batch image by image without the corrupt ones."""
        log = self.corrupt_validation
        before = log.examples
        made: list[Batch] = []
        for example in examples.tolist():
            try:
                made.append(self._prepare_validation(example))
            except tf.errors.OpError as fault:
                log.add(example, explain(fault))
        _say_if_passing(before == log.examples, error)
        if made:
            return _stack(made)
        size = self._plan.model.image_size
        return tf.zeros([0, size, size, 3]), tf.zeros([0], tf.int64)


def _start(stream: tf.data.Dataset, cpus: Collection[int]) -> Iterator[Batch]:
    """The batches of a stream whose threads run on these processors.

    A thread inherits its processors from the one that starts it, and all of a stream's have been
    started when the first batch is there.
    """
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus or own)
    try:
        batches = iter(stream)
        first = next(batches, None)
    finally:
        os.sched_setaffinity(0, own)
    if first is not None:
        yield first
        yield from batches


def _stack(examples: list[Batch]) -> Batch:
    images, labels = zip(*examples, strict=True)
    return tf.stack(images), tf.stack(labels)


def _say_if_passing(passing: bool, error: Exception) -> None:
    """Reading failed, and did not when repeated: slow storage rather than a corrupt image."""
    if passing:
        text = f"hvdtrain: reading images failed once and then worked: {explain(error)}"
        print(text, file=sys.stderr, flush=True)
