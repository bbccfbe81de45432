"""Train every recipe of a study with every seed, and write what came out as Markdown.

    .venv/bin/python -m scripts.study --data cifar10 --results results/study

A run that is already completed is not made again, so a study that was stopped goes on.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import click
import msgspec
from msgspec import Meta

from hvdtrain.collect.output import write_atomically
from hvdtrain.collect.store import Malformed, read_ensembles, read_results
from hvdtrain.errors import HvdtrainError
from hvdtrain.machine import local_mpirun, read_mpi_family
from hvdtrain.plan.decode import load_toml
from hvdtrain.plan.ensemble import Ensemble
from hvdtrain.plan.record import Record
from hvdtrain.stack import stack_variables

ROOT = Path(__file__).resolve().parent.parent
STUDY = ROOT / "jobs" / "study"

# One thread for each rank: the sums, and so the results, do not depend on the machine's cores.
VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "HOROVOD_CPU_OPERATIONS": "MPI",
    "I_MPI_THREAD_YIELD": "2",
}
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


def run_all(study: Study, data: Path, folder: Path) -> None:
    """Make the runs that are not there yet. One that diverged is a result, too."""
    environ = {**os.environ, **stack_variables(Path(sys.prefix), os.environ), **VARIABLES}
    mpirun, variables = local_mpirun(study.ranks, read_mpi_family(environ))

    def start(words: Sequence[str]) -> int:
        command = [*mpirun, sys.executable, "-m", *words]
        return subprocess.run(
            command, cwd=ROOT, env={**environ, **variables}, stdout=sys.stderr, check=False
        ).returncode

    made = read_records(folder)
    todo = [run for run in runs_of(study) if run.run_id not in made]
    for number, run in enumerate(todo, start=1):
        click.echo(f"{number}/{len(todo)} {run.run_id}", err=True)
        code = start(train_words(study, run, str(data), str(folder)))
        if code != 0 and run.run_id not in read_records(folder):
            raise click.ClickException(f"{run.run_id} ended with exit code {code}")
    for seed in study.seeds:
        if find_ensemble(study.ensemble.run(seed), folder) is None:
            for words in ensemble_words(study, seed, str(data), str(folder)):
                if code := start(words):
                    raise click.ClickException(f"{' '.join(words)} ended with exit code {code}")


def find_ensemble(run: Run, folder: Path) -> Ensemble | None:
    """The ensemble of a run's snapshots; None: there is none yet."""
    for found in read_ensembles(folder) if folder.exists() else ():
        if not isinstance(found, Malformed):
            _, ensemble = found
            origins = {member.origin.run_id for member in ensemble.members if member.origin}
            if origins == {run.run_id}:
                return ensemble
    return None


def read_records(folder: Path) -> dict[str, Record]:
    """The runs that trained to their end, or diverged on the way, by run id."""
    if not folder.exists():
        return {}
    records = [found for found in read_results(folder) if isinstance(found, Record)]
    ended = [record for record in records if record.status in ("completed", "diverged")]
    return {record.run_id: record for record in ended}


def final_top1(record: Record) -> float | None:
    """Top-1 of the last epoch in percent; None of a run that diverged."""
    if record.status != "completed" or not record.epochs:
        return None
    evaluation = record.epochs[-1].evaluation
    return None if evaluation is None else 100 * evaluation.top1


def result_lines(study: Study, experiment: Experiment, records: dict[str, Record]) -> Iterator[str]:
    """A Markdown table: a line for each batch and recipe, beside the first recipe's."""
    first = experiment.recipes[0]
    yield (
        f"| batch | recipe | runs | top-1 %, mean | standard deviation | of each seed | "
        f"minus {first}, seed by seed | loss in training |"
    )
    yield "| ---: | --- | ---: | ---: | ---: | --- | --- | ---: |"
    for batch in sorted(experiment.batches):
        base = _of_seeds(study, experiment, first, batch, records)
        for recipe in experiment.recipes:
            found = _of_seeds(study, experiment, recipe, batch, records)
            if found:
                yield _result_line(batch, recipe, found, base if recipe != first else {})


def _of_seeds(
    study: Study, experiment: Experiment, recipe: str, batch: int, records: dict[str, Record]
) -> dict[int, Record]:
    runs = [
        Run(recipe=recipe, batch=batch, epochs=experiment.epochs, seed=seed) for seed in study.seeds
    ]
    return {run.seed: records[run.run_id] for run in runs if run.run_id in records}


def _result_line(batch: int, recipe: str, found: dict[int, Record], base: dict[int, Record]) -> str:
    top1 = {seed: final_top1(record) for seed, record in found.items()}
    whole = [value for value in top1.values() if value is not None]
    losses = [
        record.epochs[-1].training_loss for record in found.values() if record.status == "completed"
    ]
    differences = [
        f"{value - other:+.2f}"
        for seed, value in top1.items()
        if value is not None and seed in base and (other := final_top1(base[seed])) is not None
    ]
    cells = [
        str(batch),
        recipe,
        str(len(found)),
        f"{statistics.mean(whole):.2f}" if whole else "",
        f"{statistics.stdev(whole):.2f}" if len(whole) > 1 else "",
        " ".join("diverged" if value is None else f"{value:.2f}" for value in top1.values()),
        " ".join(differences),
        f"{statistics.mean(losses):.4f}" if losses else "",
    ]
    return f"| {' | '.join(cells)} |"


def ensemble_lines(ensembles: dict[int, Ensemble]) -> Iterator[str]:
    """A Markdown table: for each seed the models, and what their average adds in points."""
    yield "| seed | top-1 % of each model | mean | best | ensemble | minus mean | minus best |"
    yield "| ---: | --- | ---: | ---: | ---: | ---: | ---: |"
    for seed, ensemble in ensembles.items():
        alone = [100 * member.evaluation.top1 for member in ensemble.members]
        together = 100 * ensemble.evaluation.top1
        mean, best = statistics.mean(alone), max(alone)
        yield (
            f"| {seed} | {' '.join(f'{value:.2f}' for value in alone)} | {mean:.2f} | {best:.2f} "
            f"| {together:.2f} | {together - mean:+.2f} | {together - best:+.2f} |"
        )


def report_lines(
    study: Study, records: dict[str, Record], ensembles: dict[int, Ensemble]
) -> Iterator[str]:
    """The whole report."""
    wanted = {run.run_id: run for run in runs_of(study)}
    made = [records[run_id] for run_id in wanted if run_id in records]
    yield f"# {study.title}"
    yield ""
    yield (
        f"{len(made)} of {len(wanted)} runs of the small residual network, {study.ranks} ranks x "
        f"{study.rank_batch} images of {study.image_size} pixels, {len(study.seeds)} seeds each. "
        f"They took {sum(record.seconds for record in made) / 60:.0f} minutes."
    )
    for data in sorted({_describe_data(record) for record in made}):
        yield f"Data: {data}. Larger batches are accumulated over several passes."
    yield ""
    yield "Made by `make study DATA=FOLDER`, from `jobs/study`. Three seeds tell a difference only"
    yield "where it has the same sign in each of them and is larger than their standard deviations."
    for number, experiment in enumerate(study.experiment):
        yield from ("", f"## ({chr(ord('a') + number)}) {experiment.title}", "", experiment.paper)
        yield from ("", *result_lines(study, experiment, records))
    letter = chr(ord("a") + len(study.experiment))
    yield from ("", f"## ({letter}) {study.ensemble.title}", "", study.ensemble.paper)
    yield from ("", *ensemble_lines(ensembles))
    yield from ("", "## The commands", "", "```sh")
    yield from (f"export {name}={value}" for name, value in VARIABLES.items())
    for run in wanted.values():
        words = train_words(study, run, "cifar10", "results/study/runs")
        yield shlex.join(["mpirun", "-n", str(study.ranks), *words])
    for seed in study.seeds:
        for words in ensemble_words(study, seed, "cifar10", "results/study/runs"):
            yield shlex.join(["mpirun", "-n", str(study.ranks), *words])
    yield "```"


def _describe_data(record: Record) -> str:
    dataset = record.plan.dataset
    return f"{dataset.train_images} images to train, {dataset.validation_images} to evaluate"


@click.command()
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--results", required=True, type=click.Path(path_type=Path))
def main(data: Path, results: Path) -> None:
    """Run the study in jobs/study and write RESULTS/README.md."""
    try:
        study = load_toml(STUDY / "study.toml", Study)
        run_all(study, data.resolve(), results.resolve() / "runs")
        runs = results / "runs"
        found = {seed: find_ensemble(study.ensemble.run(seed), runs) for seed in study.seeds}
        ensembles = {seed: ensemble for seed, ensemble in found.items() if ensemble}
        lines = report_lines(study, read_records(runs), ensembles)
        write_atomically(results / "README.md", "\n".join(lines) + "\n")
    except HvdtrainError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
