"""The tables of one run: its epochs, its slow ranks, and where its ranks ran."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hvdtrain.collect.report.grid import Cell, Grid, Head
from hvdtrain.collect.report.run_details import name_hosts
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.runs.record import EpochResult, RankPlacement
from hvdtrain.units import format_cpu_list


def epochs_grid(epochs: Sequence[EpochResult], name: str, plan: RunPlan, limit: int) -> Grid:
    """A row for each epoch, or for every so many where there are more than the limit."""
    every = -(-len(epochs) // limit) or 1
    # Counted from the end: the last epoch is the one that matters.
    shown = epochs[::-1][::every][::-1]
    caption = "Epochs" if every == 1 else f"Every {every}th epoch, to the last"
    headings = (
        *("epoch", "updates", "seconds", "images/s", "training loss", "learning rate"),
        *("top-1, %", "top-5, %", "evaluation loss", "evaluation seconds"),
    )
    return Grid(
        name=f"{name}-epochs",
        caption=f"{caption}. Seconds are those of training, without the evaluation.",
        columns=tuple(Head(heading=heading, number=True) for heading in headings),
        rows=tuple(tuple(_epoch_cells(epoch, plan)) for epoch in shown),
    )


def _epoch_cells(epoch: EpochResult, plan: RunPlan) -> Iterable[Cell]:
    evaluation = epoch.evaluation
    speed = epoch.steps * plan.global_batch / epoch.seconds if epoch.seconds else None
    yield from (_plain(str(epoch.epoch)), _plain(str(epoch.steps)))
    for value, form in (
        (epoch.seconds, ".1f"),
        (speed, ".1f"),
        (epoch.training_loss, ".4f"),
        (epoch.learning_rate, ".5g"),
        (100 * evaluation.top1 if evaluation else None, ".2f"),
        (100 * evaluation.top5 if evaluation else None, ".2f"),
        (evaluation.loss if evaluation else None, ".4f"),
        (epoch.evaluation_seconds if evaluation else None, ".1f"),
    ):
        yield _plain("" if value is None else format(value, form))


def _plain(text: str) -> Cell:
    return Cell(text=text)


def slow_grid(epochs: Sequence[EpochResult], name: str, limit: int) -> Grid:
    """Ranks for which the others waited; the slowest where there are many."""
    found = [(slow.ratio, epoch.epoch, slow) for epoch in epochs for slow in epoch.stragglers]
    found = sorted(found, key=lambda one: -one[0])[:limit]
    headings = ("epoch", "rank", "node", "seconds per update", "times the others'")
    return Grid(
        name=f"{name}-slow",
        caption="Ranks for which the others waited: their own seconds, without the reduction.",
        columns=tuple(Head(heading=heading, number=heading != "node") for heading in headings),
        rows=tuple(
            tuple(
                map(
                    _plain,
                    (str(epoch), str(slow.rank), slow.host, f"{slow.seconds:.4g}", f"{ratio:.3g}"),
                )
            )
            for ratio, epoch, slow in found
        ),
    )


def ranks_grid(placement: Sequence[RankPlacement], name: str) -> Grid:
    """Ranks with the same processors are one row: a thousand nodes are the same."""
    groups: dict[tuple[str, str, str], list[RankPlacement]] = {}
    for rank in placement:
        key = (rank.compute, rank.communication, rank.data)
        groups.setdefault(key, []).append(rank)
    headings = ("ranks", "nodes", "compute", "communication", "data")
    return Grid(
        name=f"{name}-ranks",
        caption="Where the threads of the ranks were allowed to run, read back from the kernel.",
        columns=tuple(Head(heading=heading) for heading in headings),
        rows=tuple(
            tuple(
                map(_plain, (_ranks(ranks), name_hosts([rank.host for rank in ranks]), *processors))
            )
            for processors, ranks in groups.items()
        ),
    )


def _ranks(ranks: Sequence[RankPlacement]) -> str:
    return format_cpu_list({rank.rank for rank in ranks})
