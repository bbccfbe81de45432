"""`hvdtrain doctor`: is everything there, and does it work on this machine?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import click

from hvdtrain.checks.check import Check
from hvdtrain.checks.installation import check_itex, check_packages, check_python
from hvdtrain.checks.machine import check_cores, check_memory, check_shared_memory, check_slurm
from hvdtrain.checks.place import check_glibc, check_place, check_quota
from hvdtrain.checks.ranks import check_allreduce, check_horovod, check_mpi, check_tensorflow
from hvdtrain.cli.output import print_json, print_styled

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red", "skipped": "cyan"}

CHECKS: tuple[Callable[[], Check], ...] = (
    check_python,
    check_glibc,
    check_place,
    check_quota,
    check_packages,
    check_tensorflow,
    check_itex,
    check_mpi,
    check_cores,
    check_memory,
    check_shared_memory,
    check_slurm,
)


@click.command("doctor", short_help="Check the installation and this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array instead of lines.")
def command(as_json: bool) -> None:
    """Check the installation and this machine, in about half a minute.

    One line per check: ok, warn, fail or skipped, and a fix for what is not right. The exit code
    is 1 when a check fails. Warnings and skipped checks do not stop a training run.

    \b
    Example:
      hvdtrain doctor --json | jq '.[] | select(.status == "fail")'
    """
    found = []
    for check in run_checks():
        found.append(check)
        if not as_json:
            print_styled(format_check(check) + "\n")
    if as_json:
        print_json(found)
    if any(check.status == "fail" for check in found):
        sys.exit(1)


def run_checks() -> Iterator[Check]:
    """Every check, one after the other: the later ones start ranks and take seconds."""
    for check in CHECKS:
        yield check()
    horovod = check_horovod()
    yield horovod
    for backend, built in (("MPI", horovod.status != "fail"), ("CCL", horovod.status == "ok")):
        if built:
            yield check_allreduce(backend)
        else:
            yield Check(f"allreduce {backend}", "skipped", "Horovod is without this back end")


def format_check(check: Check) -> str:
    """A check on one line, its fix on a second one."""
    status = click.style(f"{check.status:<7}", fg=COLOURS[check.status])
    line = f"{status}  {check.name:<13}  {check.detail}"
    return f"{line}\n{'':24}fix: {check.fix}" if check.fix else line
