"""The rows of a sweep as a table, with what they cost together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hvdtrain.cli.sweep_rows import Entry
from hvdtrain.collect.tables.table import Column, Table
from hvdtrain.units import format_walltime


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A row as it is printed; of the total only the node-hours are known."""

    run: str
    what: str = ""
    nodes: str = ""
    batch: str = ""
    partition: str = ""
    jobs: str = ""
    node_hours: float | None
    most_node_hours: float
    state: str = ""


def make_table(entries: Sequence[Entry]) -> Table[_Line]:
    """The rows, and the total of their node-hours; forecast: of those that have a forecast."""
    known = [entry.node_hours for entry in entries if entry.node_hours is not None]
    total = _Line(
        run="total",
        node_hours=sum(known) if known else None,
        most_node_hours=sum(entry.most_node_hours for entry in entries),
    )
    return Table(columns=_COLUMNS, rows=(*map(_line, entries), total))


def _line(entry: Entry) -> _Line:
    submission = entry.submission
    jobs = format_walltime(submission.walltime_min)
    return _Line(
        run=entry.row.run_id,
        what=entry.row.label,
        nodes=str(submission.nodes),
        batch=str(submission.global_batch),
        partition=entry.plan.partition.name,
        jobs=f"{submission.chain} x {jobs}" if submission.chain > 1 else jobs,
        node_hours=entry.node_hours,
        most_node_hours=entry.most_node_hours,
        state=f"job {submission.jobs[0]}" if entry.done else "new",
    )


def _whole(hours: float | None) -> str:
    return "" if hours is None else f"{hours:.0f}"


_COLUMNS: tuple[Column[_Line], ...] = (
    Column("run", lambda line: line.run, shown="narrow"),
    Column("what", lambda line: line.what, shown="narrow"),
    Column("nodes", lambda line: line.nodes, number=True, shown="narrow"),
    Column("batch", lambda line: line.batch, number=True),
    Column("partition", lambda line: line.partition),
    Column("jobs", lambda line: line.jobs, number=True, shown="narrow"),
    Column("node-hours", lambda line: line.node_hours, _whole, number=True, shown="narrow"),
    Column("at most", lambda line: line.most_node_hours, _whole, number=True, shown="narrow"),
    Column("state", lambda line: line.state, shown="narrow"),
)
