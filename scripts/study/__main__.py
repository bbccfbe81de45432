"""Train every recipe of a study with every seed, and write what came out as Markdown.

    .venv/bin/python -m scripts.study --data cifar10 --results results/study

A run that is already completed is not made again, so a study that was stopped goes on.
"""

from __future__ import annotations

from pathlib import Path

import click

from hvdtrain.errors import HvdtrainError
from hvdtrain.files.atomic import write_output
from hvdtrain.files.decode import load_toml
from scripts.study.report import report_lines
from scripts.study.runs import find_ensemble, read_records, run_all
from scripts.study.spec import STUDY, Study


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
        write_output(results / "README.md", "\n".join(lines) + "\n")
    except HvdtrainError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
