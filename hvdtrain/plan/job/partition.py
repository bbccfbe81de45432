"""Which partition takes a job and for how long, and what to say when none does."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hvdtrain.errors import InputError
from hvdtrain.files.fields import unknown_name
from hvdtrain.plan.machine.system import Partition, System
from hvdtrain.units import format_walltime


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job goes.

    Attributes:
        partition: Its partition.
        walltime_min: Minutes to ask for.
        fits: False when the forecast is longer than any partition allows, so that the job will
            be cut off.
    """

    partition: Partition
    walltime_min: int
    fits: bool = True


def candidates(system: System, name: str | None = None, qos: str | None = None) -> list[Partition]:
    """The partitions to choose from: the one named, those with the QOS, or the automatic ones.

    Raises:
        InputError: The system has no partition of that name.
    """
    if name is not None:
        named = [entry for entry in system.partition if entry.name == name]
        if not named:
            raise unknown_name("--partition", name, [entry.name for entry in system.partition])
        return named
    with_qos = [entry for entry in system.partition if qos is not None and entry.qos == qos]
    return with_qos or [entry for entry in system.partition if entry.auto]


def place_job(
    entries: Sequence[Partition],
    nodes: int,
    *,
    walltime_min: int | None = None,
    forecast_min: int | None = None,
) -> Placement:
    """The first partition that the job fits into.

    Without a wall time the forecast decides; without a forecast too, the limit of the first
    partition that takes so many nodes. A forecast beyond all limits gets the longest there is.

    Args:
        entries: The partitions to choose from, in order of preference.
        nodes: Nodes of the job.
        walltime_min: Minutes that the user asks for.
        forecast_min: Minutes that the job will take.

    Raises:
        InputError: No entry takes so many nodes, or so long a wall time; the message gives the
            limits and the nearest legal value.
    """
    fitting = [entry for entry in entries if entry.min_nodes <= nodes <= entry.max_nodes]
    if not fitting:
        raise _wrong_nodes(entries, nodes)
    longest = max(fitting, key=lambda entry: entry.max_walltime_min)
    wanted = walltime_min if walltime_min is not None else forecast_min
    if wanted is None:
        return Placement(partition=fitting[0], walltime_min=fitting[0].max_walltime_min)
    for entry in fitting:
        if entry.min_walltime_min <= wanted <= entry.max_walltime_min:
            return Placement(partition=entry, walltime_min=wanted)
    bounds = [
        bound for entry in fitting for bound in (entry.min_walltime_min, entry.max_walltime_min)
    ]
    if walltime_min is not None:
        nearest = min(bounds, key=lambda bound: abs(bound - wanted))
        raise InputError(
            "--walltime",
            format_walltime(wanted),
            f"for {nodes} nodes the limits are {_limits(entries)}",
            f"--walltime {format_walltime(nearest)}",
        )
    # A job may ask for more time than it takes, where its partition wants it to.
    longer = [entry for entry in fitting if entry.min_walltime_min > wanted]
    if longer:
        return Placement(partition=longer[0], walltime_min=longer[0].min_walltime_min)
    return Placement(partition=longest, walltime_min=longest.max_walltime_min, fits=False)


def _wrong_nodes(entries: Sequence[Partition], nodes: int) -> InputError:
    bounds = [bound for entry in entries for bound in (entry.min_nodes, entry.max_nodes)]
    nearest = min(bounds, key=lambda bound: abs(bound - nodes))
    return InputError("--nodes", nodes, f"the limits are {_limits(entries)}", f"--nodes {nearest}")


def _limits(entries: Sequence[Partition]) -> str:
    return "; ".join(entry.limits for entry in entries)
