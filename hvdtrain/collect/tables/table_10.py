"""Table X: accuracy at very large batches, of the paper, of others, and of the user's runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import msgspec

from hvdtrain.collect.paper.column import PaperColumn
from hvdtrain.collect.paper.match import is_papers_model
from hvdtrain.collect.paper.row import PaperRow
from hvdtrain.collect.paper.tables import PaperTable, load_paper_table
from hvdtrain.collect.runs import Run
from hvdtrain.collect.tables.paper_columns import notes_of
from hvdtrain.collect.tables.rounding import difference_percent, format_signed
from hvdtrain.collect.tables.table import Column, Table

_OWN = "your best run"
_DIFFERENCE = "difference % from this work"
# Heading, attribute of a run, and field.
_OF_RUNS = (
    ("run", "run_id", "run_ids"),
    ("date", "date", "date"),
    ("system", "system", "system"),
    ("kind", "kind", "kind"),
)


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """A row.

    Attributes:
        work: Whose accuracy it is, or what is calculated.
        row: Of the paper's table, counted from 1; None: not in the paper.
        top1_percent: One for each batch; None: there is none.
        runs: The run of each batch; None: the paper, or no run.
    """

    work: str
    row: int | None = None
    top1_percent: tuple[float | None, ...]
    runs: tuple[Run | None, ...]


def make_literature_table(runs: Iterable[Run]) -> Table[Work]:
    """The table, with the user's best measured run at each batch, whatever the recipe."""
    table = load_paper_table("X")
    columns = table.column[1:]
    candidates = list(runs)
    best = [_best_at(_batch_of(column), candidates) for column in columns]
    quantities = table.quantities
    return Table(
        title=f"Table X. {table.title}",
        name="X",
        columns=(
            Column(
                table.column[0].heading,
                lambda work: work.work,
                field=quantities[0],
                shown="narrow",
            ),
            *(
                each
                for position, column in enumerate(columns)
                for each in _batch_columns(table, position, column)
            ),
            Column("row", lambda work: work.row, field="row", shown="data"),
            *(
                Column(heading, partial(_each, columns, attribute), field=field)
                for heading, attribute, field in _OF_RUNS
            ),
            Column("paper flag", partial(_flags, table), field="paper_flag", shown="data"),
        ),
        rows=tuple(_works(table, columns, best)),
        notes=notes_of(table),
    )


def _works(
    table: PaperTable, columns: Sequence[PaperColumn], best: Sequence[Run | None]
) -> list[Work]:
    nobody = (None,) * len(columns)
    printed = [
        Work(work=row.work or "", row=row.row, top1_percent=_printed(row, columns), runs=nobody)
        for row in table.row
    ]
    own = tuple(run.top1_percent if run else None for run in best)
    differences = map(difference_percent, own, printed[-1].top1_percent)
    return [
        *printed,
        Work(work=_OWN, top1_percent=own, runs=tuple(best)),
        Work(work=_DIFFERENCE, top1_percent=tuple(differences), runs=nobody),
    ]


def _printed(row: PaperRow, columns: Sequence[PaperColumn]) -> tuple[float | None, ...]:
    values = [row.value(column.quantity[0]) for column in columns]
    return tuple(value if isinstance(value, int | float) else None for value in values)


def _batch_of(column: PaperColumn) -> int:
    """`8K` is 8 x 1024: 48K is the 49,152 of Table IX."""
    return 1024 * int(column.heading.removesuffix("K"))


def _best_at(batch: int, runs: Sequence[Run]) -> Run | None:
    candidates = [
        run
        for run in runs
        if run.status == "completed"
        and run.whole
        and run.imagenet
        and run.global_batch == batch
        and is_papers_model(run.model)
        and run.top1_percent is not None
    ]
    return max(candidates, key=lambda run: (run.top1_percent or 0.0, run.run_id), default=None)


def _batch_columns(
    table: PaperTable, position: int, column: PaperColumn
) -> tuple[Column[Work], Column[Work]]:
    """The accuracies at a batch, as people and as programs see them."""

    def cell(work: Work) -> str:
        value = work.top1_percent[position]
        if work.row is not None:
            row = table.row[work.row - 1]
            return table.printed(row, column) + ("*" if row.reason(column.quantity[0]) else "")
        if work.work == _DIFFERENCE:
            return format_signed(value)
        return column.blank if value is None else f"{value:.2f}%"

    return (
        Column(column.heading, cell, number=True, shown="narrow"),
        Column(
            column.heading,
            lambda work: work.top1_percent[position],
            field=column.quantity[0],
            shown="data",
        ),
    )


def _each(columns: Sequence[PaperColumn], attribute: str, work: Work) -> str | None:
    """An attribute of the runs, with the batch that each belongs to; None: there is no run."""
    told = (
        f"{column.heading}: {getattr(run, attribute)}"
        for column, run in zip(columns, work.runs, strict=True)
        if run is not None
    )
    return ", ".join(told) or None


def _flags(table: PaperTable, work: Work) -> str | None:
    return None if work.row is None else table.row[work.row - 1].flags
