"""The rows of a sweep: planned, compared with the results, and put together for submission."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hvdtrain.cli.job_options import Planner
from hvdtrain.errors import InputError, RunError
from hvdtrain.plan.job.chain import jobs_needed, plan_chained
from hvdtrain.plan.job.job_plan import JobPlan
from hvdtrain.plan.job.request import spread_model
from hvdtrain.plan.job.sweep import SweepRow
from hvdtrain.runs.folder import find_submission
from hvdtrain.runs.submission import MOST_JOBS, Submission, make_submission
from hvdtrain.slurm.client import own_jobs


@dataclass(frozen=True)
class Entry:
    """A row of the sweep, planned.

    Attributes:
        row: From the file.
        plan: Its job.
        submission: What was submitted of it earlier, or what would be now.
        done: Whether it was submitted earlier.
    """

    row: SweepRow
    plan: JobPlan
    submission: Submission
    done: bool

    @property
    def node_hours(self) -> float | None:
        """Forecast; None: nothing is known."""
        return self.plan.forecast.node_hours.value if self.plan.forecast else None

    @property
    def most_node_hours(self) -> float:
        """When every job uses its whole wall time."""
        submission = self.submission
        return submission.nodes * submission.walltime_min * submission.chain / 60


def plan_row(planner: Planner, row: SweepRow) -> Entry:
    """The row's plan, and whether it is in the results already.

    Raises:
        InputError: It is not possible, or a run of its name was something else.
        RunError: It is not known whether it was submitted.
    """
    request = msgspec.structs.replace(planner.override(row.request), job_name=row.run_id)
    try:
        plan = planner.plan(request, submitted=True)
    except InputError as error:
        field = f"row {row.run_id} ({row.label}): {error.field}"
        raise InputError(field, error.value, error.allowed, error.fix) from None
    chain = _chain(plan, row)
    plan = msgspec.structs.replace(plan_chained(plan, chain), run_id=row.run_id)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    fresh = make_submission(plan, row.run_id, now, chain)
    earlier = find_submission(Path(plan.request.results), row.run_id)
    if earlier is None:
        return Entry(row, plan, fresh, done=False)
    if spread_model(earlier.request) != plan.request:
        raise InputError(
            "run",
            row.run_id,
            f"{plan.request.results} holds a run of this name that was another job",
            "give the sweep another name, or another folder with --results",
        )
    if not earlier.jobs:
        raise RunError(
            f"it is not known whether {row.run_id} was submitted: sbatch was called, and its "
            "answer is missing",
            f"look for {earlier.job_name} in squeue; remove "
            f"{plan.request.results}/{row.run_id} when there is none",
        )
    return Entry(row, plan, earlier, done=True)


def _chain(plan: JobPlan, row: SweepRow) -> int:
    """The jobs that the row takes."""
    if plan.forecast is None or plan.request.walltime is not None:
        return 1
    needed = jobs_needed(plan.forecast, plan.walltime_min)
    if needed is None or needed > MOST_JOBS:
        raise InputError(f"row {row.run_id}", row.label, f"at most {MOST_JOBS} jobs in a chain")
    return needed


def within_limits(entries: Sequence[Entry]) -> list[Entry]:
    """The first rows, as many as the site takes jobs of a user at a time.

    Raises:
        SlurmError: There is a limit, and Slurm does not say what is in the queue.
    """
    if all(entry.plan.partition.max_jobs is None for entry in entries):
        return list(entries)
    queue = own_jobs()
    counts: Counter[str] = Counter()
    for partition in {
        entry.plan.partition.name: entry.plan.partition for entry in entries
    }.values():
        own = (
            job.qos == partition.qos if partition.qos else job.partition == partition.partition
            for job in queue
        )
        counts[partition.name] = sum(own)
    taken = []
    for entry in entries:
        partition = entry.plan.partition
        counts[partition.name] += entry.submission.chain
        if partition.max_jobs is None or counts[partition.name] <= partition.max_jobs:
            taken.append(entry)
    return taken


def batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Rows that are submitted together: one alone, or those of an array."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        slurm, own = entry.plan.slurm, {**entry.plan.directives, "job-name": ""}
        alone = "array" in slurm.forbidden or entry.submission.chain > 1
        same = f"{entry.plan.system.name} {own} {entry.plan.request.results}"
        key = entry.row.run_id if alone else same
        groups.setdefault(key, []).append(entry)
    for group in groups.values():
        size = group[0].plan.slurm.max_array_tasks
        yield from (group[first : first + size] for first in range(0, len(group), size))
