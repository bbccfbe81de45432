"""What a rank was asked to do, before anything heavy is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from hvdtrain.files.numbers import WrittenPositiveInt
from hvdtrain.plan.method.train_spec import RunOptions, TrainSpec

__all__ = ["CollapseOptions", "EnsembleOptions", "RunOptions", "TrainOptions"]


class CollapseOptions(RunOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The options of `hvdtrain collapse`.

    Attributes:
        run: Folder of the run that kept the snapshots.
        snapshot: The one to collapse; None: all of them.
        epochs: Length of the collapse; None: what the recipe says.
        data: Folder of the data, which must be those of the run; None: where the run found them.
        run_id: Name of the new run's folder, only for one snapshot; None: made from the run's.
    """

    run: Path
    snapshot: int | None = None
    epochs: float | None = None
    data: Path | None = None
    run_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class EnsembleOptions:
    """The options of `hvdtrain ensemble`.

    Attributes:
        runs: Folders of the runs whose final weights are averaged.
        data: Folder of the data, which must be those of the runs; None: where the first found them.
    """

    runs: tuple[Path, ...]
    data: Path | None


class TrainOptions(TrainSpec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The options of `hvdtrain train`: a training, and the ranks and the folder that it has."""

    system: Annotated[str, Meta(description="Name kept in the record.")] = "local"
    nodes: Annotated[
        WrittenPositiveInt | None, Meta(description="Planned nodes; checked at the start.")
    ] = None
    ranks_per_node: Annotated[
        WrittenPositiveInt | None, Meta(description="Planned ranks on each node.")
    ] = None
    rank_batch: Annotated[
        WrittenPositiveInt, Meta(description="Images that a rank computes at once.")
    ] = 32
    results: Annotated[Path, Meta(description="Folder of all runs.")] = Path("results")
    run_id: Annotated[
        str | None,
        Meta(
            description="Name of this run's folder. Default: from the time and the plan. A run of "
            "this name that did not end is continued from its last checkpoint."
        ),
    ] = None
