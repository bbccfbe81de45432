"""What grows with the ranks, as a Markdown table: measured, and calculated where it cannot be.

    .venv/bin/python -m scripts.rank_costs

Up to 32 ranks exchange what the ranks of a training do, without TensorFlow: 32 of it do not fit on
a small machine. More ranks are one process that does what rank 0 does with the rows or files of
all of them; the messages that it would wait for are calculated.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import click
import numpy as np

from hvdtrain.stack import stack_variables
from scripts.rank_costs.costs import COSTS, Cost, world_here

TOGETHER = (2, 4, 8, 16, 32)
ALONE = (256, 1536)
REPETITIONS = 3


def least_seconds(
    work: Callable[[], object], clock: Callable[[], float], before: Callable[[], object] = int
) -> float:
    """The least of a few repetitions: on a shared machine the others hold what others did."""
    found = []
    for _ in range(REPETITIONS):
        before()
        begin = clock()
        work()
        found.append(clock() - begin)
    return min(found)


def measure_as_rank() -> None:
    """On one of the ranks that `measure_together` starts; rank 0 prints seconds by name."""
    # The modules of the ranks name Horovod, and use it for gradients alone.
    for name in ("horovod", "horovod.tensorflow"):
        sys.modules[name] = types.ModuleType(name)
    from hvdtrain.train.process.world import allgather_row, barrier

    seconds = {}
    for cost in COSTS:
        if cost.together is not None:
            mine = least_seconds(cost.together, time.perf_counter, barrier)
            seconds[cost.name] = float(allgather_row(np.array([mine])).max())
    if world_here().is_first:
        print(json.dumps(seconds))


def measure_together(ranks: int) -> dict[str, float]:
    """Seconds of what so many ranks do together on this machine, by name."""
    environ = {**os.environ, **stack_variables(Path(sys.prefix), os.environ)}
    environ |= {"I_MPI_THREAD_YIELD": "2", "I_MPI_PIN": "0", "OMPI_ALLOW_RUN_AS_ROOT": "1"}
    environ |= {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1"}
    mpirun = shutil.which("mpirun", path=environ["PATH"])
    if mpirun is None:
        raise click.ClickException("mpirun is not on PATH: make setup")
    words = [mpirun, "-n", str(ranks), sys.executable, "-m", "scripts.rank_costs", "--as-rank"]
    done = subprocess.run(
        words, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def table_lines() -> Iterator[str]:
    """The table, in milliseconds."""
    together = {ranks: measure_together(ranks) for ranks in TOGETHER}
    yield f"| ms | every | {' | '.join(f'{ranks:,}' for ranks in (*TOGETHER, *ALONE))} |"
    yield "| --- | --- " + "| --: " * len((*TOGETHER, *ALONE)) + "|"
    for cost in COSTS:
        cells = [
            format_ms(together[ranks].get(cost.name) or measure_alone(cost, ranks))
            for ranks in TOGETHER
        ]
        for ranks in ALONE:
            calculated = cost.message_seconds(ranks)
            text = format_ms(measure_alone(cost, ranks) + calculated)
            cells.append(f"*{text}*" if calculated else text)
        yield f"| {cost.name} | {cost.when} | {' | '.join(cells)} |"


def measure_alone(cost: Cost, ranks: int) -> float:
    """Processor seconds of one process that does what rank 0 does for so many."""
    if not cost.grows:
        return _measure_once(cost)
    return least_seconds(lambda: cost.alone(ranks), time.process_time)


@cache
def _measure_once(cost: Cost) -> float:
    return least_seconds(lambda: cost.alone(1), time.process_time)


def format_ms(seconds: float) -> str:
    """Milliseconds with two digits that count, and all before the point."""
    return f"{1000 * seconds:.2g}" if seconds < 0.1 else f"{1000 * seconds:,.0f}"


@click.command()
@click.option("--as-rank", is_flag=True, hidden=True)
def main(as_rank: bool) -> None:
    """Measure, and print the table."""
    if as_rank:
        measure_as_rank()
    else:
        click.echo("\n".join(table_lines()))


if __name__ == "__main__":
    main()
