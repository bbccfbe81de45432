"""`hvdtrain ensemble` on one rank: the mean of the softmax outputs of several models."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import tensorflow as tf

from hvdtrain.files.decode import load_json
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.runs.ensemble import Ensemble, EnsembleMember, check_members
from hvdtrain.runs.names import RECORD_FILE
from hvdtrain.runs.record import EvaluationResult, Record
from hvdtrain.runs.store import write_ensemble
from hvdtrain.train.checkpoint.weights import load_weights
from hvdtrain.train.data.corrupt import count_corrupt
from hvdtrain.train.data.dataset import discover
from hvdtrain.train.data.pipeline import open_pipeline
from hvdtrain.train.evaluate import count_hits, make_result
from hvdtrain.train.health.watchdog import FIRST_FACTOR
from hvdtrain.train.models.network import make_model
from hvdtrain.train.options import EnsembleOptions
from hvdtrain.train.process.context import RankContext
from hvdtrain.train.process.world import World, bcast_from_root
from hvdtrain.train.reduction.mean import allreduce_sum, broadcast_state


def run_ensemble(options: EnsembleOptions, context: RankContext) -> tuple[Path, Ensemble] | None:
    """Evaluate the models of some runs and their average, and write the result. Collective.

    Returns:
        The file and what it holds, on rank 0; None on the others.

    Raises:
        InputError: The runs cannot be averaged, or the data are not to be found.
        RunError: The data or the weights are not those of the runs, or the result cannot be
            written.
    """
    begin = time.monotonic()
    world = context.world

    def look() -> tuple[list[Record], RunPlan]:
        records = _read_records(options.runs)
        return records, _evaluation_plan(records[0].plan, world, options.data)

    records, plan = bcast_from_root(look, world)
    models = _load_models(records, options.runs, world)
    pipeline = open_pipeline(plan, world.rank, context.loader_threads, context.data_cpus)
    batches = context.watchdog.over(pipeline.validation(), "the evaluation", FIRST_FACTOR)
    evaluations = EnsembleEvaluator(models, world.ranks).evaluate(batches)
    corrupt = count_corrupt(pipeline.corrupt_validation)
    if not world.is_first:
        return None
    *alone, together = (msgspec.structs.replace(each, corrupt=corrupt) for each in evaluations)
    now = datetime.datetime.now(datetime.UTC)
    ensemble = Ensemble(
        kind=records[0].kind,
        made=now.isoformat(timespec="seconds"),
        seconds=time.monotonic() - begin,
        ranks=world.ranks,
        model=plan.model,
        dataset=plan.dataset,
        versions=context.versions,
        git_commit=context.git_commit,
        members=tuple(map(_make_member, records, alone)),
        evaluation=together,
    )
    results = options.runs[0].resolve().parent
    return write_ensemble(results, f"ensemble-{now:%Y%m%d-%H%M%S-%f}", ensemble), ensemble


class EnsembleEvaluator:
    """Counts hits of several models and of their average, batch by batch, and divides once.

    Args:
        models: From images to logits, all of the same image size and classes.
        ranks: How many ranks there are.
    """

    def __init__(self, models: Sequence[tf.keras.Model], ranks: int) -> None:
        self._models = list(models)
        self._ranks = ranks
        signature = [
            tf.TensorSpec([None, *self._models[0].input_shape[1:]], tf.float32),
            tf.TensorSpec([None], tf.int64),
        ]
        self._count = tf.function(self._count_batch, input_signature=signature)

    def evaluate(self, batches: Iterable[tuple[tf.Tensor, tf.Tensor]]) -> list[EvaluationResult]:
        """Evaluate this rank's examples and all others'. Collective, once, at the end.

        Args:
            batches: As `Evaluator.evaluate` takes them. One at a time is held in memory.

        Returns:
            One for each model, and that of the average; the same on every rank.

        Raises:
            RunError: No rank has an example.
        """
        totals = np.zeros((len(self._models) + 1, 4), np.float64)
        for images, labels in batches:
            totals += self._count(images, labels).numpy()
        return [make_result(row) for row in allreduce_sum(totals, self._ranks)]

    def _count_batch(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        logits = [model(images, training=False) for model in self._models]
        return tf.stack([count_hits(each, labels) for each in [*logits, average_softmax(logits)]])


def average_softmax(logits: Sequence[tf.Tensor]) -> tf.Tensor:
    """The logarithm of the mean of the softmax outputs of several models.

    Of the logarithm, because no probability is too small for it. In float64, so that what one
    model tells apart its average tells apart too.

    Args:
        logits: One tensor for each model, float32 [batch, classes].

    Returns:
        float64 [batch, classes].
    """
    logarithms = [tf.nn.log_softmax(tf.cast(each, tf.float64)) for each in logits]
    total = tf.reduce_logsumexp(tf.stack(logarithms), axis=0)
    return total - np.log(len(logits))


def _read_records(runs: Sequence[Path]) -> list[Record]:
    records = [load_json(run / RECORD_FILE, Record) for run in runs]
    check_members(records)
    return records


def _evaluation_plan(plan: RunPlan, world: World, data: Path | None) -> RunPlan:
    """The plan of a run that only evaluates, on the ranks that are there."""
    source = plan.source if data is None else discover(data, plan.dataset.classes)[0]
    return msgspec.structs.replace(plan, nodes=1, ranks_per_node=world.ranks, source=source)


def _load_models(
    records: Sequence[Record], runs: Sequence[Path], world: World
) -> list[tf.keras.Model]:
    """The models with their final weights, which rank 0 reads and gives to the others."""
    models = [make_model(record.plan.model) for record in records]
    for model, record, run in zip(models, records, runs, strict=True):
        if world.is_first:
            load_weights(model, run, record.weights_sha256)
        broadcast_state(model.variables, world.ranks)
    return models


def _make_member(record: Record, evaluation: EvaluationResult) -> EnsembleMember:
    assert record.weights_sha256 is not None, "a completed run has weights"
    return EnsembleMember(
        run_id=record.run_id,
        weights_sha256=record.weights_sha256,
        epochs=record.plan.total_steps / record.plan.steps_per_epoch,
        origin=record.plan.origin,
        evaluation=evaluation,
    )
