"""A plan and what comes of it, to test with."""

from __future__ import annotations

import mmap
import os
from typing import Any

import msgspec
import numpy as np

from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.method.dataset import DatasetInfo, DataSource
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.plan.method.recipe import load_recipe
from hvdtrain.plan.method.run_plan import RunPlan, make_plan
from hvdtrain.plan.method.snapshot import EvaluationResult
from hvdtrain.plan.method.train_spec import TrainSpec, model_fields
from hvdtrain.runs.ensemble import Ensemble, EnsembleMember
from hvdtrain.runs.preflight import AllreduceTime, NodeSpeed, Preflight
from hvdtrain.runs.record import RankPlacement, Record, Versions
from hvdtrain.runs.submission import Submission
from hvdtrain.train.checkpoint.archive import Checkpoint
from hvdtrain.train.health.guard import Duty
from hvdtrain.train.health.watchdog import Watchdog
from hvdtrain.train.state import RankState, StepTimes, TrainingState


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
    values |= changes
    spec = model_fields(values.pop("model")) | {"steps": values.pop("stop_after_steps", None)}
    spec |= {
        key: values.pop(key)
        for key in ("accumulate", "epochs", "seed", "evaluate_epochs")
        if key in values
    }
    return make_plan(TrainSpec(**spec), **values)


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


def sample_ensemble(members: tuple[EnsembleMember, ...], together: EvaluationResult) -> Ensemble:
    """The average of some models of `sample_plan`."""
    record = sample_record()
    return Ensemble(
        kind="synthetic",
        made=record.started,
        seconds=1.5,
        ranks=2,
        model=record.plan.model,
        dataset=record.plan.dataset,
        versions=record.versions,
        members=members,
        evaluation=together,
    )


def sample_submission(**changes: Any) -> Submission:
    """The submission of a chain of two jobs."""
    made = Submission(
        run_id="run",
        submitted="2026-03-14T15:09:26+00:00",
        command="c",
        system="s",
        job_name="name",
        request=JobRequest(),
        nodes=2,
        global_batch=64,
        total_steps=1000,
        walltime_min=60,
        forecast_minutes=30,
        jobs=("1", "2"),
        chain=2,
    )
    return msgspec.structs.replace(made, **changes)


def sample_preflight(**changes: Any) -> Preflight:
    """The report of two good ranks on two nodes."""
    placement = (
        RankPlacement(rank=0, host="n1", compute="0-63", communication="64", data="", horovod="64"),
        RankPlacement(rank=1, host="n2", compute="0-63", communication="64", data="", horovod="64"),
    )
    report = Preflight(
        started="2026-03-14T15:09:26+00:00",
        seconds=11.5,
        launcher="Slurm",
        ranks=2,
        hosts=("n1", "n2"),
        versions=sample_record().versions,
        plan_sha256="0" * 64,
        fingerprint="",
        reduction="CCL",
        algorithm="ring (CCL_ALLREDUCE=ring)",
        allreduce=(
            AllreduceTime(bytes=4096, seconds=1e-3),
            AllreduceTime(bytes=2**20, seconds=0.5),
        ),
        nodes=(
            NodeSpeed(host="n1", gflop_per_second=1000.0, triad_gb_per_second=80.0),
            NodeSpeed(host="n2", gflop_per_second=990.0, triad_gb_per_second=81.0),
        ),
        slow=(),
        placement=placement,
        attested=True,
        faults=(),
        exclude="",
    )
    return msgspec.structs.replace(report, **changes)


def sample_checkpoint(step: int = 7, **changes: Any) -> Checkpoint:
    """Two ranks of `sample_plan` after some steps."""
    values: dict[str, Any] = {
        "plan": sample_plan(),
        "step": step,
        "epochs": [],
        "losses": [0.1, 1 / 3],
        "epoch_seconds": 1.5,
        "training_seconds": 2.5,
        "run_seconds": 3.5,
        "started": "2026-03-14T15:09:26+00:00",
        "resumed_at": (3,),
        "names": ("kernel", "count"),
        "ranks": tuple(RankState(times=StepTimes(steps=7), corrupt=(rank,)) for rank in (0, 1)),
    }
    replicated = [np.array([[1.1, 2.2]], np.float32), np.array(5)]
    per_rank = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    return Checkpoint(TrainingState(**(values | changes)), replicated, per_rank)


def silent_watchdog() -> Watchdog:
    """One that nobody listens to."""
    duty = Duty(
        rank=0, ranks=1, host="n1", folder=None, seconds=60.0, tell=print, abort=lambda: None
    )
    return Watchdog(duty, os.open(os.devnull, os.O_WRONLY), mmap.mmap(-1, 64))
