"""`hvdtrain train` on one rank."""

from __future__ import annotations

import datetime

from hvdtrain.train.carryout import carry_out
from hvdtrain.train.opening import open_run
from hvdtrain.train.options import TrainOptions
from hvdtrain.train.planning import make_run_id, make_run_plan
from hvdtrain.train.seat import Seat
from hvdtrain.train.session import Opened
from hvdtrain.train.world import check_plan_size


def run_training(options: TrainOptions, seat: Seat) -> None:
    """Train as one rank among all. Returns when the record is written. Collective.

    Raises:
        InputError: The data, the model or the plan is not possible.
        RunError: The run failed. Other ranks may be waiting for this one: the caller must end
            them.
        Interrupted: A signal asked the run to end. It has no record and can be continued. All
            ranks raise this, after the same step.
    """

    def begin() -> Opened:
        plan = make_run_plan(options, seat.world)
        check_plan_size(plan.ranks_per_node, plan.nodes, seat.world)
        run_id = options.run_id or make_run_id(plan, datetime.datetime.now(datetime.UTC))
        folder, checkpoint, lock = open_run(options.results, run_id, plan, options.allow_change)
        return Opened(plan, folder, checkpoint, lock)

    carry_out(seat, options, begin)
