"""What a study compares, and the commands that make its runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

ROOT = Path(__file__).resolve().parent.parent.parent
STUDY = ROOT / "jobs" / "study"
Names = Annotated[tuple[str, ...], Meta(min_length=1)]
Numbers = Annotated[tuple[Annotated[int, Meta(ge=1)], ...], Meta(min_length=1)]


class Experiment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Recipes that are compared with the first one, at the same global batch.

    Attributes:
        title: For people.
        paper: What the paper found.
        recipes: Names of shipped recipes, or of files beside the study.
        batches: Global batches, images, in the order of running.
        epochs: What each recipe is stretched to.
    """

    title: str
    paper: str
    recipes: Names
    batches: Numbers
    epochs: Annotated[int, Meta(ge=1)]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One training run of a study."""

    recipe: str
    batch: int
    epochs: int
    seed: int

    @property
    def run_id(self) -> str:
        """The same in every experiment that has this run."""
        return f"{self.recipe}-b{self.batch}-e{self.epochs}-s{self.seed}"


class EnsembleStudy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A recipe with snapshots, the collapse of each, and the average of some of their models.

    Attributes:
        title: For people.
        paper: What the paper found.
        recipe: Name of a shipped recipe.
        batch: Global batch, images.
        epochs: What the recipe is stretched to.
        collapse_epochs: Length of each collapse.
        members: Snapshots, counted from 1, whose models are averaged.
    """

    title: str
    paper: str
    recipe: str
    batch: Annotated[int, Meta(ge=1)]
    epochs: Annotated[int, Meta(ge=1)]
    collapse_epochs: Annotated[float, Meta(gt=0)]
    members: Numbers

    def run(self, seed: int) -> Run:
        """The run that leaves the snapshots."""
        return Run(recipe=self.recipe, batch=self.batch, epochs=self.epochs, seed=seed)


class Study(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All experiments, with what they have in common.

    Attributes:
        title: For people.
        ranks: MPI ranks of each run.
        rank_batch: Images of a rank in one pass; larger global batches are accumulated.
        image_size: Pixels.
        seeds: One run for each.
        experiment: In the order of running.
        ensemble: Comes last.
    """

    title: str
    ranks: Annotated[int, Meta(ge=1)]
    rank_batch: Annotated[int, Meta(ge=1)]
    image_size: Annotated[int, Meta(ge=8, le=64)]
    seeds: Numbers
    experiment: tuple[Experiment, ...]
    ensemble: EnsembleStudy


def runs_of(study: Study) -> list[Run]:
    """Every run once, in the order of the experiments, their batches and their recipes."""
    runs = [
        Run(recipe=recipe, batch=batch, epochs=experiment.epochs, seed=seed)
        for experiment in study.experiment
        for batch in experiment.batches
        for recipe in experiment.recipes
        for seed in study.seeds
    ]
    return list(dict.fromkeys([*runs, *(study.ensemble.run(seed) for seed in study.seeds)]))


def train_words(study: Study, run: Run, data: str, results: str) -> list[str]:
    """The command of every rank, after `mpirun -n RANKS`.

    Raises:
        ValueError: The global batch is no multiple of what all ranks take in one pass.
    """
    accumulate, rest = divmod(run.batch, study.ranks * study.rank_batch)
    if rest:
        raise ValueError(f"batch {run.batch} is no multiple of {study.ranks} x {study.rank_batch}")
    own = STUDY / f"{run.recipe}.toml"
    return [
        *("hvdtrain", "train", "--model", "small", "--image-size", str(study.image_size)),
        *("--data", data, "--rank-batch", str(study.rank_batch), "--accumulate", str(accumulate)),
        *("--recipe", str(own.relative_to(ROOT)) if own.exists() else run.recipe),
        *("--epochs", str(run.epochs), "--seed", str(run.seed)),
        *("--results", results, "--run-id", run.run_id),
    ]


def ensemble_words(study: Study, seed: int, data: str, results: str) -> list[list[str]]:
    """The commands that make an ensemble of a run's snapshots, after `mpirun -n RANKS`."""
    run, spec = f"{results}/{study.ensemble.run(seed).run_id}", study.ensemble
    members = [f"{run}-collapse-{number}" for number in spec.members]
    collapse = ["hvdtrain", "collapse", run, "--epochs", f"{spec.collapse_epochs:g}"]
    return [[*collapse, "--data", data], ["hvdtrain", "ensemble", *members, "--data", data]]
