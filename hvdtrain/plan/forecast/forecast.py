"""How long a run will take, from the step time that was fitted for a system."""

from __future__ import annotations

import math

import msgspec

from hvdtrain.plan.forecast.step_time import StepTime
from hvdtrain.plan.method.run_plan import EVALUATION_COST, RunPlan

STARTUP_MIN = 15
"""Minutes for staging, the world check and the first step, and for checkpoints.

Source: Table II, row 1. 90 epochs of 85 s are 127.5 minutes, and the paper took 140.
"""

OUTSIDE = 2.0
"""How much wider the interval is outside of what the step time was fitted to."""

_WIDEST = 0.9


class Interval(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A calculated value, and between what it is to be expected."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Interval:
        """All three, times a positive factor."""
        return Interval(value=self.value * factor, low=self.low * factor, high=self.high * factor)

    def under(self, numerator: float) -> Interval:
        """A positive number divided by each: what is slow at best is fast at worst."""
        return Interval(
            value=numerator / self.value, low=numerator / self.high, high=numerator / self.low
        )


class Forecast(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Calculated, not measured. The start-up is not in it.

    Attributes:
        epoch_seconds: Seconds of one epoch's updates.
        step_seconds: Seconds of one update.
        images_per_second: Throughput of all nodes together.
        efficiency: Images per second of a node, as a fraction of what one node alone would do.
        minutes_to_train: Minutes of all updates, evaluations left out.
        evaluation_minutes: Minutes of all evaluations.
        node_hours: Nodes times the hours of all updates.
    """

    epoch_seconds: Interval
    step_seconds: Interval
    images_per_second: Interval
    efficiency: Interval
    minutes_to_train: Interval
    evaluation_minutes: Interval
    node_hours: Interval

    @property
    def most_minutes(self) -> float:
        """Minutes of all updates and evaluations, at the upper end."""
        return self.minutes_to_train.high + self.evaluation_minutes.high

    @property
    def walltime_min(self) -> int:
        """Minutes to ask for: a job that is cut off costs more than one that ends early."""
        return math.ceil(self.most_minutes) + STARTUP_MIN


def find_forecast(plan: RunPlan, step_time: StepTime | None) -> Forecast | None:
    """The forecast of a plan; None: no step time is known, or only that of another model."""
    if step_time is None or step_time.model != plan.model:
        return None
    return make_forecast(plan, step_time)


def why_no_forecast(plan: RunPlan, step_time: StepTime | None) -> str:
    """What to say where `find_forecast` finds none."""
    if step_time is None:
        return f"no step time is known for {plan.system}"
    return (
        f"the step time of {plan.system} was fitted to {step_time.model.label}, "
        f"and says nothing of {plan.model.label}"
    )


def make_forecast(plan: RunPlan, step_time: StepTime) -> Forecast:
    """The forecast of a plan with the model, and on the system, that `step_time` was fitted to.

    The interval is that of the leave-one-out errors, and twice as wide where the plan lies outside
    of what was fitted.
    """
    micro_batch = plan.rank_batch * plan.ranks_per_node
    fitted = step_time.is_fitted(micro_batch, plan.nodes)
    error = min(_WIDEST, step_time.error * (1 if fitted else OUTSIDE))
    seconds = step_time.step_seconds(micro_batch, plan.nodes, plan.accumulate)
    step = Interval(value=seconds, low=seconds * (1 - error), high=seconds * (1 + error))
    alone = step_time.step_seconds(micro_batch, 1, plan.accumulate)
    efficiency = step.under(alone)
    minutes = step.times(plan.total_steps / 60)
    evaluated = plan.evaluations * plan.dataset.validation_images * EVALUATION_COST
    return Forecast(
        epoch_seconds=step.times(plan.dataset.train_images / plan.global_batch),
        step_seconds=step,
        images_per_second=step.under(plan.global_batch),
        efficiency=msgspec.structs.replace(efficiency, high=min(1.0, efficiency.high)),
        minutes_to_train=minutes,
        evaluation_minutes=step.times(evaluated / plan.global_batch / 60),
        node_hours=minutes.times(plan.nodes / 60),
    )
