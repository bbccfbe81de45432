"""The run plan: everything a training run will do, decided before it starts."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
from msgspec import Meta

from hvdtrain.errors import InputError
from hvdtrain.files.numbers import PositiveInt, Seed
from hvdtrain.plan.method.dataset import DatasetInfo, DataSource
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.plan.method.recipe import Recipe, make_schedule, stretch_recipe
from hvdtrain.plan.method.schedule import Schedule
from hvdtrain.plan.method.snapshot import SnapshotOrigin
from hvdtrain.plan.method.train_spec import TrainSpec

EVALUATION_COST = 1 / 3
"""Of an image, in those of training on it: a forward pass is a third of forward and backward."""

MOST_EVALUATION_SHARE = 0.05
"""Of the time of training, in evaluations, where nothing else is asked for."""


class RunPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a run will do. Made once, kept with the run, equal on every rank.

    Attributes:
        system: Name of the system it runs on.
        nodes: Nodes.
        ranks_per_node: MPI ranks on each node.
        rank_batch: Images that a rank computes at once.
        accumulate: How many such batches a rank adds up for one update.
        recipe: How to train.
        model: What is trained.
        source: Where the images come from.
        dataset: What is there.
        steps_per_epoch: Images of an epoch, divided by those of an update: not a whole number,
            for the rest of an epoch shares an update with the beginning of the next. In plans
            of earlier versions it is one: the rest was left out of the epoch.
        stop_after_steps: Updates after which the run ends early; None: the whole recipe.
        evaluate_epochs: Epochs from one evaluation to the next; there is one at each snapshot and
            at the end, too. None, in plans of earlier versions: 1.
        seed: Of weights, data order and augmentation.
        origin: The snapshot that the run begins at: steps and epochs are counted on from there.
            None: it begins with new weights.
    """

    system: str
    nodes: PositiveInt
    ranks_per_node: PositiveInt
    rank_batch: PositiveInt
    accumulate: PositiveInt = 1
    recipe: Recipe
    model: ModelSpec
    source: DataSource
    dataset: DatasetInfo
    steps_per_epoch: Annotated[float, Meta(ge=1, le=2**53)]
    stop_after_steps: PositiveInt | None = None
    evaluate_epochs: PositiveInt | None = None
    seed: Seed = 0
    origin: SnapshotOrigin | None = None

    @property
    def ranks(self) -> int:
        """Ranks of the whole run."""
        return self.nodes * self.ranks_per_node

    @property
    def node_batch(self) -> int:
        """Images of a node in one update: the paper's local batch."""
        return self.rank_batch * self.accumulate * self.ranks_per_node

    @property
    def global_batch(self) -> int:
        """Images of one update."""
        return self.node_batch * self.nodes

    @property
    def epoch_images(self) -> int:
        """Images that an epoch is trained on: all, but in old plans."""
        return round(self.steps_per_epoch * self.global_batch)

    @property
    def schedule(self) -> Schedule:
        """Learning rate, weight decay and augmentation of every step."""
        return make_schedule(self.recipe, self.global_batch, self.steps_per_epoch)

    @property
    def first_step(self) -> int:
        """Updates that had been made when the run began."""
        return self.origin.step if self.origin else 0

    @property
    def first_epoch(self) -> int:
        """Whole epochs that had been made when the run began."""
        return self.epochs_ended(self.first_step)

    @property
    def total_steps(self) -> int:
        """Updates of the run, those before it began included."""
        steps = self.schedule.steps
        return steps if self.stop_after_steps is None else min(steps, self.stop_after_steps)

    def epoch_end(self, epoch: int) -> int:
        """Updates after which so many epochs have ended: the nearest whole number, halves up."""
        return (2 * epoch * self.epoch_images + self.global_batch) // (2 * self.global_batch)

    def is_evaluated(self, epoch: int) -> bool:
        """Whether the network is evaluated when so many epochs have ended, or the run has."""
        end = self.epoch_end(epoch)
        return (
            epoch % (self.evaluate_epochs or 1) == 0
            or end >= self.total_steps
            or end in self.schedule.snapshots
        )

    @property
    def evaluations(self) -> int:
        """Evaluations of the run: after epochs, and at snapshots within one."""
        epochs = range(self.first_epoch + 1, self.epochs_ended(self.total_steps) + 1)
        ends = {self.epoch_end(epoch) for epoch in epochs if self.is_evaluated(epoch)}
        begin, end = self.first_step, self.total_steps
        return len(ends.union(step for step in self.schedule.snapshots if begin < step <= end))

    def epochs_ended(self, step: int) -> int:
        """Epochs that have ended after so many updates: the most whose `epoch_end` is reached."""
        return ((2 * step + 1) * self.global_batch - 1) // (2 * self.epoch_images)


def split_node_batch(node_batch: int, ranks_per_node: int) -> int:
    """The rank batch.

    Raises:
        InputError: The node batch does not divide.
    """
    if node_batch < 1 or node_batch % ranks_per_node:
        nearest = max(1, round(node_batch / ranks_per_node)) * ranks_per_node
        raise InputError(
            "--node-batch",
            node_batch,
            f"a positive multiple of the {ranks_per_node} ranks per node",
            f"--node-batch {nearest}",
        )
    return node_batch // ranks_per_node


def steps_in_epoch(train_images: int, global_batch: int) -> float:
    """Updates in one pass over the training images, 1 or more, not a whole number.

    Raises:
        InputError: One global batch is more than the whole data set.
    """
    if global_batch > train_images:
        raise InputError(
            "global batch",
            global_batch,
            f"at most the {train_images} training images",
            "use a smaller batch per rank, fewer ranks, or less accumulation",
        )
    return train_images / global_batch


def default_evaluate_epochs(source: DataSource, dataset: DatasetInfo) -> int:
    """The fewest epochs from one evaluation to the next that keep its share of the time.

    Made-up images have as few for evaluation as exercise the code: 1.
    """
    if source.kind == "synthetic":
        return 1
    evaluation = EVALUATION_COST * dataset.validation_images
    return math.ceil(evaluation / (MOST_EVALUATION_SHARE * dataset.train_images))


def make_plan(
    spec: TrainSpec,
    *,
    system: str,
    nodes: int,
    ranks_per_node: int,
    rank_batch: int,
    recipe: Recipe,
    source: DataSource,
    dataset: DatasetInfo,
) -> RunPlan:
    """The plan of a run.

    Args:
        spec: What the training is.
        system: Name of the system it runs on.
        nodes: Nodes.
        ranks_per_node: MPI ranks on each node.
        rank_batch: Images that a rank computes at once.
        recipe: The recipe that the spec names, in its own length.
        source: Where the images come from.
        dataset: What is there.

    Raises:
        InputError: The batch exceeds the data set, the recipe has a phase of less than a step,
            or the model is not possible or has fewer classes than the data.
    """
    model = spec.model_for(dataset.classes)
    if model.classes < dataset.classes:
        raise InputError(
            "--classes", model.classes, f"at least the {dataset.classes} classes of the data"
        )
    plan = RunPlan(
        system=system,
        nodes=nodes,
        ranks_per_node=ranks_per_node,
        rank_batch=rank_batch,
        accumulate=spec.accumulate,
        recipe=recipe if spec.epochs is None else stretch_recipe(recipe, spec.epochs),
        model=model,
        source=source,
        dataset=dataset,
        steps_per_epoch=steps_in_epoch(
            dataset.train_images, nodes * ranks_per_node * rank_batch * spec.accumulate
        ),
        stop_after_steps=spec.steps,
        evaluate_epochs=spec.evaluate_epochs or default_evaluate_epochs(source, dataset),
        seed=spec.seed,
    )
    make_schedule(plan.recipe, plan.global_batch, plan.steps_per_epoch)
    return plan
