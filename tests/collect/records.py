"""Runs as they lie in a results folder, for the tests of the collector."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from hvdtrain.plan.method.dataset import IMAGENET_TRAIN_IMAGES, DataKind, DatasetInfo, DataSource
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.plan.method.recipe import load_recipe, stretch_recipe
from hvdtrain.plan.method.run_plan import RunPlan, make_plan
from hvdtrain.plan.method.snapshot import EvaluationResult, SnapshotOrigin
from hvdtrain.plan.method.train_spec import TrainSpec, model_fields
from hvdtrain.runs.metrics import MetricsLine
from hvdtrain.runs.names import METRICS_FILE, PLAN_FILE, RECORD_FILE
from hvdtrain.runs.record import EpochResult, Record, Versions


def make_test_plan(
    *,
    system: str = "stampede2-knl",
    nodes: int = 256,
    node_batch: int = 32,
    images: int = IMAGENET_TRAIN_IMAGES,
    source: DataKind = "tfrecords",
    **model: Any,
) -> RunPlan:
    """A plan of a job of the paper, one rank per node, unless the test says otherwise."""
    return make_plan(
        TrainSpec(**model_fields(ModelSpec(**model))),
        system=system,
        nodes=nodes,
        ranks_per_node=1,
        rank_batch=node_batch,
        recipe=load_recipe("linear-90"),
        source=DataSource(kind=source, path="" if source == "synthetic" else "/data/imagenet"),
        dataset=DatasetInfo(train_images=images, validation_images=50_000, classes=1000),
    )


def make_record(
    run_id: str = "run",
    *,
    plan: RunPlan | None = None,
    epoch_seconds: tuple[float, ...] = (120.0, 85.0, 85.0),
    **fields: Any,
) -> Record:
    """A completed, measured run with full epochs of these seconds."""
    plan = plan or make_test_plan()
    ends = [plan.epoch_end(number) for number in range(len(epoch_seconds) + 1)]
    steps = [end - begin for begin, end in itertools.pairwise(ends)]
    epochs = tuple(
        EpochResult(
            epoch=number,
            steps=made,
            seconds=seconds,
            training_loss=6.9,
            learning_rate=0.1,
        )
        for number, (made, seconds) in enumerate(zip(steps, epoch_seconds, strict=True), start=1)
    )
    values: dict[str, Any] = {
        "kind": "measured",
        "status": "completed",
        "started": "2026-01-31T12:00:00Z",
        "seconds": 300.0,
        "plan": plan,
        "versions": Versions(
            hvdtrain="0.1.0",
            python="3.11.2",
            tensorflow="2.15.1",
            keras="2.15.0",
            horovod="0.28.1",
            numpy="1.26.4",
            mpi="Intel MPI 2021.11",
        ),
        "hosts": tuple(f"c{node:04d}" for node in range(plan.nodes)),
        "reduction": "CCL",
        "steps": ends[-1],
        "images_per_second": 15_000.0,
        "seconds_per_step": plan.global_batch / 15_000.0,
        "epochs": epochs,
    }
    return Record(run_id=run_id, **(values | fields))


def write_record(results: Path, record: Record) -> Path:
    """Write the run's folder; returns the path of its record."""
    folder = write_plan(results, record.run_id, record.plan)
    path = folder / RECORD_FILE
    path.write_bytes(msgspec.json.encode(record))
    return path


def write_plan(results: Path, run_id: str, plan: RunPlan) -> Path:
    """Write a run's folder with a plan and no record; returns the folder."""
    folder = results / run_id
    folder.mkdir(parents=True)
    (folder / PLAN_FILE).write_bytes(msgspec.json.encode(plan))
    return folder


def write_metrics(folder: Path, lines: Iterable[MetricsLine]) -> None:
    """Add lines to the metrics of a run."""
    with (folder / METRICS_FILE).open("ab") as file:
        file.writelines(msgspec.json.encode(line) + b"\n" for line in lines)


def make_training(
    run_id: str,
    *,
    recipe: str = "linear-90",
    epochs: float | None = None,
    top1: float = 0.76,
    top5: float = 0.93,
    seconds: float = 85.0,
    origin: SnapshotOrigin | None = None,
    fields: dict[str, Any] | None = None,
    **plan: Any,
) -> Record:
    """A run over a whole recipe, all epochs of `seconds`, evaluated after the last."""
    loaded = load_recipe(recipe)
    whole = loaded if epochs is None else stretch_recipe(loaded, epochs)
    changed = msgspec.structs.replace(make_test_plan(**plan), recipe=whole, origin=origin)
    record = make_record(
        run_id,
        plan=changed,
        epoch_seconds=(seconds,) * round(whole.epochs or 0),
        images_per_second=IMAGENET_TRAIN_IMAGES / seconds,
        **({"seconds": seconds * (whole.epochs or 0)} | (fields or {})),
    )
    return evaluated(record, len(record.epochs), top1, top5)


def evaluated(record: Record, epoch: int, top1: float, top5: float = 0.93) -> Record:
    """The record with an evaluation after an epoch, counted from 1."""
    result = EvaluationResult(count=50_000, top1=top1, top5=top5, loss=1.0)
    epochs = list(record.epochs)
    epochs[epoch - 1] = msgspec.structs.replace(epochs[epoch - 1], evaluation=result)
    return msgspec.structs.replace(record, epochs=tuple(epochs))
