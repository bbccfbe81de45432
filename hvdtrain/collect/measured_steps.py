"""Measured steps to fit a step time to: of the paper's tables, or of a user's own runs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from hvdtrain.collect.paper.tables import TableNumber, load_paper_table
from hvdtrain.errors import InputError
from hvdtrain.plan.forecast.fit import TABLE_V, Assumptions, Point, fit_step_time, same_fabric
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.runs.record import Record

TABLE_OF: dict[str, TableNumber] = {"stampede2-knl": "V", "marenostrum4": "VI"}

PAPERS_EPOCH = 1_280_000
"""Images of the paper's epoch. Source: Table VI, throughput times seconds in every row."""


@dataclass(frozen=True)
class OwnSteps:
    """Steps of a user's runs.

    Attributes:
        points: One for each size of run: the median of its runs.
        model: What all of the runs trained.
        runs: Runs that are in the points.
        synthetic: How many of those had made-up images.
        other_models: Runs of the system that are left out, because they trained something else.
    """

    points: tuple[Point, ...]
    model: ModelSpec
    runs: int
    synthetic: int
    other_models: int


def paper_points(system: str) -> tuple[Point, ...]:
    """The steps of the paper's table of a system, in the order of its rows.

    Raises:
        InputError: The paper has no table of it.
    """
    if system not in TABLE_OF:
        raise InputError(
            "--system",
            system,
            f"a system of the paper, {' or '.join(TABLE_OF)}, or one with runs of your own",
            "--fit RESULTS names their folder",
        )
    table = load_paper_table(TABLE_OF[system])
    points = []
    for row in table.row:
        assert row.node_batch is not None and row.epoch_seconds is not None
        nodes = table.nodes_of(row)
        points.append(
            Point(
                micro_batch=row.node_batch,
                nodes=nodes,
                step_seconds=row.epoch_seconds * row.node_batch * nodes / PAPERS_EPOCH,
                name=f"Table {table.table}, row {row.row}",
            )
        )
    return tuple(points)


def paper_assumptions(system: str) -> Assumptions:
    """What is assumed of a system of the paper.

    Four rows cannot decide a ring. MareNostrum 4 has the fabric of Stampede2, and the paper ran the
    same library on both.
    """
    if TABLE_OF[system] == "V":
        return TABLE_V
    return same_fabric(fit_step_time(paper_points("stampede2-knl"), TABLE_V, "Table V").ring)


def own_steps(records: Iterable[Record], system: str, model: ModelSpec | None = None) -> OwnSteps:
    """The steps of the completed runs of one model on a system.

    Args:
        records: Of runs on any system; those of another one do not count.
        system: Name of the system.
        model: None: the one that most of the runs trained.

    Raises:
        InputError: There is none.
    """
    usable = [
        record
        for record in records
        if record.plan.system == system
        and record.status == "completed"
        and record.kind != "forecast"
        and record.seconds_per_step
    ]
    if not usable:
        raise InputError(
            "--fit",
            system,
            "a folder with completed runs on this system, of more than two updates each",
            "hvdtrain collect RESULTS lists the runs and their systems",
        )
    counts = Counter(record.plan.model for record in usable)
    model = model or counts.most_common(1)[0][0]
    if model not in counts:
        raise InputError(
            "--model",
            model.label,
            f"a model of the runs on {system}: {', '.join(each.label for each in counts)}",
        )
    kept = [record for record in usable if record.plan.model == model]
    by_size: dict[tuple[int, int, int], list[float]] = defaultdict(list)
    for record in kept:
        plan = record.plan
        assert record.seconds_per_step is not None
        size = (plan.rank_batch * plan.ranks_per_node, plan.nodes, plan.accumulate)
        by_size[size].append(record.seconds_per_step)
    return OwnSteps(
        points=tuple(
            Point(
                micro_batch=batch,
                nodes=nodes,
                step_seconds=median(seconds),
                accumulate=accumulate,
                name=f"{len(seconds)} {'run' if len(seconds) == 1 else 'runs'}",
            )
            for (batch, nodes, accumulate), seconds in sorted(by_size.items())
        ),
        model=model,
        runs=len(kept),
        synthetic=sum(record.kind == "synthetic" for record in kept),
        other_models=len(usable) - len(kept),
    )
