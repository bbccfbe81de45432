"""Make the runs of a study, and find those that are made."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from hvdtrain.machine import local_mpirun, read_mpi_family
from hvdtrain.runs.ensemble import Ensemble
from hvdtrain.runs.record import Record
from hvdtrain.runs.store import Malformed, read_ensembles, read_results
from hvdtrain.stack import stack_variables
from scripts.study.spec import ROOT, Run, Study, ensemble_words, runs_of, train_words

# One thread for each rank: the sums, and so the results, do not depend on the machine's cores.
VARIABLES = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "HOROVOD_CPU_OPERATIONS": "MPI",
    "I_MPI_THREAD_YIELD": "2",
}


def run_all(study: Study, data: Path, folder: Path) -> None:
    """Make the runs that are not there yet. One that diverged is a result, too."""
    environ = {**os.environ, **stack_variables(Path(sys.prefix), os.environ), **VARIABLES}
    mpirun, environ = local_mpirun(study.ranks, read_mpi_family(environ), environ)

    def start(words: Sequence[str]) -> int:
        command = [*mpirun, sys.executable, "-m", *words]
        return subprocess.run(
            command,
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            check=False,
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
