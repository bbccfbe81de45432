"""`hvdtrain preflight`: trust the machine before spending node-hours."""

from __future__ import annotations

import sys
from typing import Any

import click

from hvdtrain.cli.output import print_json, say_error, tell
from hvdtrain.commands.train import make_train_options, train_options
from hvdtrain.errors import RunError
from hvdtrain.files.fields import printable
from hvdtrain.plan.job.request import DEADLINE_HELP, DEADLINE_RANGE
from hvdtrain.runs.preflight import Preflight

_SHOWN_RANKS = 16
_EXAMPLE = """\b
Example:
  mpirun -n 2 hvdtrain preflight --model small --json
"""


@click.command(epilog=_EXAMPLE)
@train_options
@click.option(
    "--deadline",
    "deadline_seconds",
    type=click.FloatRange(*DEADLINE_RANGE),
    help=DEADLINE_HELP,
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON on stdout.")
def command(*, deadline_seconds: float | None, as_json: bool, **options: Any) -> None:
    """Check the ranks and their nodes before a training, with the options of that training.

    Started like `hvdtrain train`. The launcher, MPI and Horovod must see the same ranks; versions,
    plan and data must be the same on all; the sums of an allreduce must be right; and every
    thread must be on the cores of the core map. Slow nodes are named. The report goes to stderr,
    and to preflight.json in the run's folder when there is a --run-id.

    Exit code 0: nothing speaks against training. 1: a fault, or the time was up, which is no
    verdict on the nodes; every rank ends with it.
    """
    from hvdtrain.stack import ensure_stack

    ensure_stack()
    from hvdtrain.train.preflight.rank import run_preflight

    report = run_preflight(make_train_options(options), deadline_seconds)
    if report is None:
        return
    show_report(report)
    if as_json:
        print_json(report)
    if report.faults:
        sys.exit(1)


def show_report(report: Preflight) -> None:
    """The report for people, on stderr."""
    _say(
        f"preflight: {_count(report.ranks, 'rank')} on {_count(len(report.hosts), 'node')}, "
        f"started by {report.launcher}; "
        f"{report.seconds:.0f} s"
    )
    _show_allreduce(report)
    _show_speed(report)
    _show_placement(report)
    for slow in report.slow:
        _say(
            f"slow node: {slow.host}: {slow.what} takes {slow.ratio:.2f} times the median of the "
            "others"
        )
    for fault in report.faults:
        say_error(RunError(f"{fault.check}: {fault.text}", fault.fix))
    if report.exclude:
        _say(f"for the next job: sbatch {report.exclude}")
    _say("preflight: no training" if report.faults else "preflight: fine")


def _say(text: str) -> None:
    tell(f"{printable(text)}\n")


def _show_allreduce(report: Preflight) -> None:
    if not report.allreduce:
        return
    _say(f"allreduce over {report.reduction}: {report.algorithm}")
    for point in report.allreduce:
        _say(
            f"  {_size(point.bytes):>7}  {point.seconds * 1e3:9.2f} ms  "
            f"{point.bus_gb_per_second(report.ranks):7.3f} GB/s"
        )


def _show_speed(report: Preflight) -> None:
    compute = sorted(node.gflop_per_second for node in report.nodes)
    memory = sorted(node.triad_gb_per_second for node in report.nodes)
    for what, speeds, unit in (
        ("convolution", compute, "GFLOP/s"),
        ("triad", memory, "GB/s"),
    ):
        middle = speeds[len(speeds) // 2]
        text = f"{what + ', per node':<24}{middle:.3g} {unit}"
        if len(speeds) > 1:
            text += f" (median of {speeds[0]:.3g} to {speeds[-1]:.3g})"
        _say(text)


def _show_placement(report: Preflight) -> None:
    if not report.placement:
        _say("no core map (HVDTRAIN_COMPUTE_CPUS): the threads were not attested")
        return
    attested = "attested" if report.attested else "not attested"
    _say(f"where the threads may run, by the kernel's word ({attested}):")
    for place in report.placement[:_SHOWN_RANKS]:
        text = f"  rank {place.rank} on {place.host}: compute {place.compute}"
        text += f"; communication {place.communication}; Horovod {place.horovod}"
        _say(text + (f"; data {place.data}" if place.data else ""))
    if len(report.placement) > _SHOWN_RANKS:
        _say(f"  and {len(report.placement) - _SHOWN_RANKS} more in preflight.json")


def _size(count: int) -> str:
    return f"{count // 2**20} MB" if count >= 2**20 else f"{count // 2**10} KB"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
