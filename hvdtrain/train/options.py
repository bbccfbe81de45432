"""What a rank was asked to do, before anything heavy is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run looks after itself, whatever it does.

    Attributes:
        checkpoint_minutes: At most so many minutes of work are lost.
        checkpoint_epochs: A checkpoint is also written after every so many epochs.
        tensorboard: Whether to write TensorBoard's event files as well.
        no_attest: Whether to go on though threads are not where the core map has them.
    """

    checkpoint_minutes: float
    checkpoint_epochs: int
    tensorboard: bool
    no_attest: bool


@dataclass(frozen=True, kw_only=True)
class CollapseOptions(RunOptions):
    """The options of `hvdtrain collapse`.

    Attributes:
        run: Folder of the run that kept the snapshots.
        snapshot: The one to collapse; None: all of them.
        epochs: Length of the collapse; None: what the recipe says.
        data: Folder of the data, which must be those of the run; None: where the run found them.
        run_id: Name of the new run's folder, only for one snapshot; None: made from the run's.
    """

    run: Path
    snapshot: int | None
    epochs: float | None
    data: Path | None
    run_id: str | None


@dataclass(frozen=True, kw_only=True)
class EnsembleOptions:
    """The options of `hvdtrain ensemble`.

    Attributes:
        runs: Folders of the runs whose final weights are averaged.
        data: Folder of the data, which must be those of the runs; None: where the first found them.
    """

    runs: tuple[Path, ...]
    data: Path | None


@dataclass(frozen=True, kw_only=True)
class TrainOptions(RunOptions):
    """The options of `hvdtrain train`.

    Attributes:
        system: Name of the system, for the record.
        nodes: Nodes that were planned; None: as many as the ranks are on.
        ranks_per_node: Ranks on each; None: the ranks divided by the nodes.
        rank_batch: Images that a rank computes at once.
        accumulate: How many such batches make one update.
        recipe: Name of a shipped recipe, or path of a file.
        epochs: Stretches the recipe; None: its own length.
        steps: Ends the run early; None: the whole recipe.
        data: Folder of images or TFRecords; None: synthetic.
        images_per_epoch: Images of a synthetic epoch.
        model: `resnet50` or `small`.
        model_version: `v1` or `v1.5`.
        image_size: Pixels; None: 224 for resnet50 and 32 for small.
        classes: None: as many as the data has.
        precision: `fp32` or `bf16`.
        seed: Of weights, data order and augmentation.
        results: Folder of all runs.
        run_id: Name of this run's folder; None: made from the time and the plan. A run of this
            name that did not end is continued.
        allow_change: Whether a run may be continued with another plan.
    """

    system: str
    nodes: int | None
    ranks_per_node: int | None
    rank_batch: int
    accumulate: int
    recipe: str
    epochs: float | None
    steps: int | None
    data: Path | None
    images_per_epoch: int
    model: str
    model_version: str
    image_size: int | None
    classes: int | None
    precision: str
    seed: int
    results: Path
    run_id: str | None
    allow_change: bool
