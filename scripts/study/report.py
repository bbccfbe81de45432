"""What came out of a study, as Markdown."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Iterator, Sequence

from hvdtrain.runs.ensemble import Ensemble
from hvdtrain.runs.record import Record
from scripts.study.runs import VARIABLES
from scripts.study.spec import Experiment, Run, Study, ensemble_words, runs_of, train_words


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
        f"minus {first}, seed by seed | told | loss in training |"
    )
    yield "| ---: | --- | ---: | ---: | ---: | --- | --- | --- | ---: |"
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
    pairs = [
        (value, other)
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
        " ".join(f"{value - other:+.2f}" for value, other in pairs),
        tell(pairs) if base else "",
        f"{statistics.mean(losses):.4f}" if losses else "",
    ]
    return f"| {' | '.join(cells)} |"


def tell(pairs: Sequence[tuple[float, float]]) -> str:
    """Whether the first of each pair is better, seed by seed and beyond the noise of both."""
    if len(pairs) < 2:
        return "nothing"
    differences = [value - other for value, other in pairs]
    noise = max(statistics.stdev(column) for column in zip(*pairs, strict=True))
    if abs(statistics.mean(differences)) <= noise:
        return "nothing"
    if min(differences) > 0:
        return "better"
    return "worse" if max(differences) < 0 else "nothing"


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
    yield "Made by `make study DATA=FOLDER`, from `jobs/study`. A difference is told where it has"
    yield "the same sign for every seed, and is on average larger than both standard deviations."
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
