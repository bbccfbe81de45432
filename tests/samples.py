"""A plan and a record to test with."""

from __future__ import annotations

from typing import Any

import msgspec

from hvdtrain.plan.datasource import DatasetInfo, DataSource
from hvdtrain.plan.modelspec import ModelSpec
from hvdtrain.plan.recipe import load_recipe
from hvdtrain.plan.record import Record, Versions
from hvdtrain.plan.runplan import RunPlan, make_plan


def sample_plan(**changes: Any) -> RunPlan:
    """Two ranks of a small model on synthetic images, 10 steps of 8 images per epoch."""
    values: dict[str, Any] = {
        "system": "local",
        "nodes": 1,
        "ranks_per_node": 2,
        "rank_batch": 4,
        "recipe": load_recipe("linear-90"),
        "model": ModelSpec(name="small", image_size=32, classes=10),
        "source": DataSource(),
        "dataset": DatasetInfo(train_images=80, validation_images=16, classes=10),
    }
    return make_plan(**(values | changes))


def sample_record(**changes: Any) -> Record:
    """The record of a completed run of `sample_plan`."""
    record = Record(
        run_id="sample",
        kind="synthetic",
        status="completed",
        started="2026-03-14T15:09:26+00:00",
        seconds=12.5,
        plan=sample_plan(),
        versions=Versions(
            hvdtrain="0.1.0",
            python="3.11.7",
            tensorflow="2.15.1",
            keras="2.15.0",
            horovod="0.28.1",
            numpy="1.26.4",
            mpi="Intel(R) MPI Library 2021.11 for Linux* OS",
        ),
        hosts=("n1",),
        reduction="MPI",
        steps=900,
        images_per_second=80.0,
        seconds_per_step=0.1,
        allreduce_share=0.05,
    )
    return msgspec.structs.replace(record, **changes)
