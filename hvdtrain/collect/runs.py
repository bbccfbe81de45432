"""What the tables need to know of a run, taken from its record once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from hvdtrain.plan.method.dataset import IMAGENET_TRAIN_IMAGES
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.plan.method.phase import Phase
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.plan.method.snapshot import SnapshotOrigin
from hvdtrain.runs.record import EvaluationResult, Kind, Record, Status
from hvdtrain.runs.store import Incomplete

Unfinished = Literal["incomplete"]
Clock = Literal["epochs", "throughput"]

# A few broken files are skipped, and some count 1.28 million.
_IMAGENET_TOLERANCE = 0.005


class WeightDecay(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of Table VIII that a recipe decides.

    Attributes:
        main: Coupled L2 factor lambda of the first phase.
        collapse: Of the last phase, where that is another one than `main`; else None.
        collapsed: Whether the last phase has no scale and aspect augmentation.
    """

    main: float
    collapse: float | None
    collapsed: bool


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run, in the terms of the paper's tables. None: the run does not tell.

    Attributes:
        run_id: The run's folder.
        kind: `measured`, `synthetic` or `forecast`; of an incomplete run what it would have been.
        status: How it ended; `incomplete`: it left no record.
        started: UTC, ISO 8601; empty for an incomplete run.
        system: Name of the system.
        model: What was trained.
        nodes: How many nodes it ran on.
        node_batch: Images of a node in one update: the paper's local batch.
        recipe: Its name.
        epochs: Length of the recipe.
        imagenet: Whether its training set has the size of ImageNet's.
        whole: Whether it was to run the whole recipe, from new weights.
        origin: The snapshot of another run that it began at; None: new weights.
        weight_decay: What the recipe says of it.
        steps: Updates made.
        seconds: Wall time of the whole run, evaluations and start-up included.
        epoch_seconds: Seconds per pass over the training images of ImageNet.
        epoch_seconds_from: `epochs`: the clock; `throughput`: 1,281,167 / images_per_second.
        images_per_second: Training throughput of all ranks together.
        final: The evaluation after the last epoch.
        snapshots: The evaluations after the phases that end with a snapshot, from number 1; None
            where there was none.
    """

    run_id: str
    kind: Kind
    status: Status | Unfinished
    started: str = ""
    system: str
    model: ModelSpec
    nodes: int
    node_batch: int
    recipe: str
    epochs: float | None
    imagenet: bool
    whole: bool
    origin: SnapshotOrigin | None
    weight_decay: WeightDecay
    steps: int = 0
    seconds: float = 0.0
    epoch_seconds: float | None = None
    epoch_seconds_from: Clock | None = None
    images_per_second: float | None = None
    final: EvaluationResult | None = None
    snapshots: tuple[EvaluationResult | None, ...] = ()

    @property
    def global_batch(self) -> int:
        """Images of all nodes in one update."""
        return self.node_batch * self.nodes

    @property
    def top1_percent(self) -> float | None:
        """Top-1 accuracy after the last epoch; None: not evaluated, or not on real images."""
        return 100 * self.final.top1 if self.final and self.kind == "measured" else None

    @property
    def top5_percent(self) -> float | None:
        """Top-5 accuracy after the last epoch; None: not evaluated, or not on real images."""
        return 100 * self.final.top5 if self.final and self.kind == "measured" else None

    @property
    def date(self) -> str:
        """The day on which it started, UTC; empty for an incomplete run."""
        return self.started[:10]

    @property
    def label(self) -> str:
        """`measured` only for a completed run on real images; otherwise what it is instead."""
        if self.status == "completed":
            return self.kind
        return self.status if self.kind == "measured" else f"{self.kind}, {self.status}"


def make_run(found: Record | Incomplete) -> Run:
    """The run in what was found in a results folder."""
    return _incomplete(found) if isinstance(found, Incomplete) else _finished(found)


def epoch_seconds(record: Record) -> tuple[float, Clock] | None:
    """Seconds per epoch of ImageNet and where they come from; None: nothing tells.

    On a training set of ImageNet's size it is the mean over the epochs that ran in full, as the
    paper averages "over a full training run" (Figure 1). The first epoch of a process also
    traces the graph, connects the ranks and reads cold files; over 90 epochs that vanishes, over
    three it does not, so the first is left out when another full one remains. A lone full epoch
    counts as it was: slower than it could be, never faster. Otherwise, for a truncated run or
    another data set, it is derived from the throughput, which leaves out the first two steps.
    """
    plan = record.plan
    if is_imagenet(plan):
        full = [epoch for epoch in record.epochs if epoch.steps == _steps_of(epoch.epoch, plan)]
        if len(full) > 1 and full[0] is record.epochs[0]:
            full = full[1:]
        mean = sum(epoch.seconds for epoch in full) / len(full) if full else 0.0
        if 0 < mean < math.inf:
            return mean, "epochs"
    if record.images_per_second:
        derived = IMAGENET_TRAIN_IMAGES / record.images_per_second
        if derived < math.inf:
            return derived, "throughput"
    return None


def _steps_of(epoch: int, plan: RunPlan) -> int:
    return plan.epoch_end(epoch) - plan.epoch_end(epoch - 1)


def is_imagenet(plan: RunPlan) -> bool:
    """Whether the training set has the size of ImageNet-1K, give or take a few broken files."""
    return abs(plan.dataset.train_images / IMAGENET_TRAIN_IMAGES - 1) <= _IMAGENET_TOLERANCE


def _incomplete(found: Incomplete) -> Run:
    kind: Kind = "synthetic" if found.plan.source.kind == "synthetic" else "measured"
    return _planned(found.run_id, kind, "incomplete", found.plan)


def _finished(record: Record) -> Run:
    run = _planned(record.run_id, record.kind, record.status, record.plan)
    seconds, origin = epoch_seconds(record) or (None, None)
    return msgspec.structs.replace(
        run,
        started=record.started,
        steps=record.steps,
        seconds=record.seconds,
        epoch_seconds=seconds,
        epoch_seconds_from=origin,
        images_per_second=record.images_per_second,
        final=record.epochs[-1].evaluation if record.epochs else None,
        snapshots=_snapshots(record),
    )


def _snapshots(record: Record) -> tuple[EvaluationResult | None, ...]:
    phases = record.plan.recipe.phase
    if not any(phase.snapshot for phase in phases):
        return ()
    after = {epoch.epoch: epoch.evaluation for epoch in record.epochs}
    ends = itertools.accumulate(phase.epochs or 0.0 for phase in phases)
    pairs = zip(phases, ends, strict=True)
    return tuple(after.get(round(end)) for phase, end in pairs if phase.snapshot)


def _planned(run_id: str, kind: Kind, status: Status | Unfinished, plan: RunPlan) -> Run:
    return Run(
        run_id=run_id,
        kind=kind,
        status=status,
        system=plan.system,
        model=plan.model,
        nodes=plan.nodes,
        node_batch=plan.node_batch,
        recipe=plan.recipe.name,
        epochs=plan.recipe.epochs,
        imagenet=is_imagenet(plan),
        whole=plan.stop_after_steps is None and plan.origin is None,
        origin=plan.origin,
        weight_decay=_weight_decay(plan.recipe.phase),
    )


def _weight_decay(phases: Sequence[Phase]) -> WeightDecay:
    main, last = phases[0].weight_decay, phases[-1]
    return WeightDecay(
        main=main,
        collapse=last.weight_decay if last.weight_decay != main else None,
        collapsed=not last.augment,
    )
