"""Table XI: the snapshots of the cycles, what they collapse to, and their ensemble."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from hvdtrain.collect.paper.match import is_papers_model
from hvdtrain.collect.paper.row import PaperRow
from hvdtrain.collect.paper.tables import load_paper_table
from hvdtrain.collect.runs import Run
from hvdtrain.collect.tables.paper_columns import make_reproduced_table
from hvdtrain.collect.tables.paper_rows import (
    Provenance,
    ReproducedRow,
    make_empty_row,
    make_reproduced_row,
)
from hvdtrain.collect.tables.table import Table
from hvdtrain.plan.method.snapshot import EvaluationResult
from hvdtrain.runs.ensemble import Ensemble

RECIPE = "collapsed-ensemble-120"
GLOBAL_BATCH = 4096
ENSEMBLE_TOP1_PERCENT = 77.5
"""Of five collapsed models. Source: Section VI, which also gives the batch of the schedule."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What one model gave.

    Attributes:
        snapshot: `3` for a snapshot, `3c` after a collapse, `ensemble`.
        run_id: The run, or the folder of the ensemble.
        date: When it was made, UTC.
        system: Where; empty for an ensemble.
        evaluation: Loss, top-1 and top-5.
    """

    snapshot: str
    run_id: str
    date: str
    system: str
    evaluation: EvaluationResult


def make_snapshot_table(
    runs: Iterable[Run], ensembles: Iterable[tuple[str, Ensemble]]
) -> Table[ReproducedRow]:
    """The table, with measured snapshots and collapses of the paper's schedule and batch.

    What the paper's table does not have comes after its rows: the 2c that the text names, and
    the ensemble.
    """
    table = load_paper_table("XI")
    results: dict[str, list[Result]] = defaultdict(list)
    for result in [*_of_runs(runs), *_of_ensembles(ensembles)]:
        results[result.snapshot].append(result)
    last = len(table.row)
    more = [
        PaperRow(row=last + 1, snapshot="2c"),
        PaperRow(row=last + 2, snapshot="ensemble", top1_percent=ENSEMBLE_TOP1_PERCENT),
    ]
    rows: list[ReproducedRow] = []
    for row in (*table.row, *more):
        found = results[row.snapshot or ""]
        if found:
            rows += _rows(row, found)
        elif row not in more:
            rows.append(make_empty_row(table, row))
    made = make_reproduced_table(table, rows)
    if len({row.paper.row for row in rows}) == last:
        return made
    note = f"after row {last}: not in the paper's table; the ensemble's 77.5 % is in Section VI"
    return dataclasses.replace(made, notes=(*made.notes, note))


def _rows(row: PaperRow, results: Sequence[Result]) -> Iterator[ReproducedRow]:
    """A row for each system."""
    table = load_paper_table("XI")
    by_system: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_system[result.system].append(result)
    for system, group in sorted(by_system.items()):
        values = [
            (row.snapshot, e.loss, 100 * e.top1, 100 * e.top5)
            for e in (result.evaluation for result in group)
        ]
        provenance = Provenance(
            run_ids=tuple(sorted(result.run_id for result in group)),
            date=max(result.date for result in group),
            system=system,
            kind="measured",
        )
        yield make_reproduced_row(table, row, values, provenance)


def _of_runs(runs: Iterable[Run]) -> Iterator[Result]:
    """Each snapshot once, though several collapses and its own run tell of it."""
    known: set[tuple[str, int]] = set()
    for run in filter(_counts, runs):
        told = list(enumerate(run.snapshots, start=1)) if run.whole else []
        parent = run.run_id
        if run.origin is not None:
            told, parent = [(run.origin.snapshot, run.origin.evaluation)], run.origin.run_id
            if run.final is not None:
                yield _result(run, f"{run.origin.snapshot}c", run.run_id, run.final)
        for number, evaluation in told:
            if evaluation is not None and (parent, number) not in known:
                known.add((parent, number))
                yield _result(run, str(number), parent, evaluation)


def _counts(run: Run) -> bool:
    return (
        run.status == "completed"
        and run.kind == "measured"
        and run.recipe == RECIPE
        and run.global_batch == GLOBAL_BATCH
        and run.imagenet
        and is_papers_model(run.model)
    )


def _result(run: Run, snapshot: str, run_id: str, evaluation: EvaluationResult) -> Result:
    return Result(
        snapshot=snapshot,
        run_id=run_id,
        date=run.date,
        system=run.system,
        evaluation=evaluation,
    )


def _of_ensembles(ensembles: Iterable[tuple[str, Ensemble]]) -> Iterator[Result]:
    for name, ensemble in ensembles:
        if ensemble.kind == "measured" and is_papers_model(ensemble.model):
            yield Result(
                snapshot="ensemble",
                run_id=name,
                date=ensemble.made[:10],
                system="",
                evaluation=ensemble.evaluation,
            )
