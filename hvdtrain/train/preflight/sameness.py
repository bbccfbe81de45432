"""Every rank makes the plan for itself, from what its own node has, and says what came out."""

from __future__ import annotations

import sys

from hvdtrain.errors import InputError
from hvdtrain.runs.plan_diff import plan_sha256
from hvdtrain.runs.preflight import RankAnswer
from hvdtrain.train.open_run import make_run_plan
from hvdtrain.train.options import TrainOptions
from hvdtrain.train.process.provenance import read_versions
from hvdtrain.train.process.world import World, allgather, leave_world, library_version


def compare_ranks(options: TrainOptions, world: World, itex: str | None) -> tuple[RankAnswer, ...]:
    """The answers of all ranks. Collective.

    Raises:
        InputError: No rank can make a plan; on rank 0.
        SystemExit: The same, on the other ranks.
    """
    plan, error = None, None
    try:
        plan = make_run_plan(options, world)
    except InputError as refused:
        error = refused
    answers = tuple(
        allgather(
            RankAnswer(
                rank=world.rank,
                host=world.hosts[world.rank],
                versions=read_versions(library_version(), itex),
                plan_sha256=plan_sha256(plan) if plan else None,
                fingerprint=plan.dataset.fingerprint if plan else "",
                input_error=str(error) if error else None,
            )
        )
    )
    if all(answer.plan_sha256 is None for answer in answers):
        leave_world()
        if error is not None and world.is_first:
            raise error
        sys.exit(InputError.exit_code)
    return answers
