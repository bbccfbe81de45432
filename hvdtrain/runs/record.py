"""The record: what a run leaves behind. Written once by a run, read by everything that reports.

`plan.json` is written when a run starts, `metrics.jsonl` grows while it runs, `record.json` is
written when it ends. A folder with a plan and no record is a run that was cut off or interrupted,
and can be continued from its last checkpoint; so can one that failed. `submission.json` and
`job.sh` are there before all of these when the run was submitted to Slurm.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from hvdtrain.files.numbers import Count, Fraction, NonNegativeFloat, PositiveFloat, PositiveInt
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.plan.method.snapshot import EvaluationResult as EvaluationResult

SCHEMA_VERSION: Final = 1

Kind = Literal["measured", "synthetic", "forecast"]
Status = Literal["completed", "failed", "interrupted", "diverged"]
ReductionBackend = Literal["MPI", "CCL", "GLOO", "none"]


class Straggler(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rank for which the others waited: see `hvdtrain.train.health.outliers` for the rule.

    Attributes:
        rank: From 0.
        host: Name of its node.
        seconds: Of an update, from its start to the start of the next, without its wait for the
            reduction, mean over the epoch: waiting for data, computing, and all else it does.
        ratio: These seconds divided by the median of the other ranks'.
    """

    rank: Count
    host: str
    seconds: NonNegativeFloat
    ratio: PositiveFloat


class EpochResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One epoch, or the part of one that was run.

    Attributes:
        epoch: Counted from 1.
        steps: Updates made.
        seconds: Of its updates, each from its start to the start of the next: the wall time of
            training, without evaluations, snapshots, and what is saved after the last update.
        training_loss: Mean over the steps and the ranks, in nats.
        learning_rate: Rate of the last step.
        evaluation: None when none was made.
        evaluation_seconds: Wall time of the evaluation; 0 when none was made.
        stragglers: Ranks for which the others waited, slowest first.
    """

    epoch: PositiveInt
    steps: Count
    seconds: NonNegativeFloat
    training_loss: float
    learning_rate: float
    evaluation: EvaluationResult | None = None
    evaluation_seconds: NonNegativeFloat = 0.0
    stragglers: tuple[Straggler, ...] = ()


class RankPlacement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the threads of a rank were allowed to run, read back from the kernel.

    Attributes:
        rank: From 0.
        host: Name of its node.
        compute: Processor ids of the compute threads, as `0-63`.
        communication: Of Horovod's and oneCCL's threads.
        data: Of the data-loading threads.
        horovod: Of Horovod's own thread alone.
    """

    rank: Count
    host: str
    compute: str
    communication: str
    data: str
    horovod: str = ""


class Versions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What ran. `itex` is None when the extension was not loaded."""

    hvdtrain: str
    python: str
    tensorflow: str
    keras: str
    horovod: str
    numpy: str
    mpi: str
    itex: str | None = None


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A finished run.

    Attributes:
        run_id: The run's folder name, unique.
        kind: `measured` on real images, `synthetic` on made-up ones, `forecast` calculated.
        status: How it ended.
        started: UTC, ISO 8601.
        seconds: Wall time of the whole run.
        plan: What it set out to do.
        versions: What ran.
        git_commit: Of the source tree it ran from; None: not from a checkout.
        hosts: Node names, in order of rank, each once.
        slurm_job_id: None outside Slurm.
        reduction: Horovod's back end in force; `none` with one rank.
        placement: Where the threads of every rank were.
        steps: Updates made.
        images_per_second: Of all ranks together, over the steps after the first two of each start;
            None when there were none.
        seconds_per_step: Mean over the same steps, each from its start to the start of the next.
        allreduce_share: Share of a step between the last local gradient and the last reduced
            one, mean over the same steps and the ranks.
        epochs: Results of each epoch.
        rank_seconds: Seconds of an update of every rank without its wait for the reduction, in
            order of rank: mean of the means of the epochs since the run was last started. Empty
            when not timed, and of a run that is not completed.
        corrupt_images: Training images that could not be decoded; others took their places.
        resumed_at: Steps at which the run was continued from a checkpoint. `seconds` and all times
            leave out what was done after that checkpoint and had to be done again.
        weights_sha256: Of the final weights, the same on every rank; None when not completed.
        failure: What ended it; None when completed.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    run_id: Annotated[str, Meta(min_length=1, max_length=200)]
    kind: Kind
    status: Status
    started: str
    seconds: NonNegativeFloat
    plan: RunPlan
    versions: Versions
    git_commit: str | None = None
    hosts: tuple[str, ...]
    slurm_job_id: str | None = None
    reduction: ReductionBackend
    placement: tuple[RankPlacement, ...] = ()
    steps: Count
    images_per_second: NonNegativeFloat | None = None
    seconds_per_step: NonNegativeFloat | None = None
    allreduce_share: Fraction | None = None
    epochs: tuple[EpochResult, ...] = ()
    rank_seconds: tuple[NonNegativeFloat, ...] = ()
    corrupt_images: Count = 0
    resumed_at: tuple[Count, ...] = ()
    weights_sha256: str | None = None
    failure: str | None = None
