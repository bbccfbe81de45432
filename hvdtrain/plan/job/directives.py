"""The #SBATCH directives of a job: every job's, the site's, and the user's changes."""

from __future__ import annotations

from hvdtrain.errors import InputError
from hvdtrain.plan.job.partition import Placement
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.machine.system import System
from hvdtrain.units import format_walltime

ONE_THREAD = "nomultithread"
"""The hint with which Slurm counts one hardware thread of each core."""


def make_directives(
    system: System,
    request: JobRequest,
    ranks_per_node: int,
    placement: Placement,
    job_name: str,
    notice_seconds: int,
) -> dict[str, str]:
    """The directives in the order of the script; "" is a bare flag.

    Raises:
        InputError: The site rejects a directive that the user set, or needs an account.
    """
    slurm = system.slurm
    assert slurm is not None
    for key in request.set_directives:
        if key in slurm.forbidden:
            raise InputError(
                f"--set {key}",
                request.set_directives[key],
                f"{system.name} does not allow it: {slurm.forbidden[key]}",
                f"leave out --set {key}",
            )
    if slurm.account_required and not request.account and "account" not in request.unset_directives:
        raise InputError("--account", None, f"{system.name} needs one", "--account PROJECT")
    partition = placement.partition
    hint = ONE_THREAD if f"--hint={ONE_THREAD}" in slurm.launcher_options else None
    hint = {"hint": hint, **slurm.directives, **request.set_directives}["hint"]
    if "hint" in request.unset_directives:
        hint = None
    given = {
        "job-name": job_name,
        "nodes": str(request.nodes),
        "ntasks-per-node": str(ranks_per_node),
        "cpus-per-task": _cpus_per_task(system, ranks_per_node, hint),
        # The steps count like the job, or they would not fit into it.
        "hint": hint,
        "time": format_walltime(placement.walltime_min),
        "partition": partition.partition,
        "qos": request.qos or partition.qos,
        "account": request.account,
        "output": "%x-%j.out",
        # A restarted job goes on in the same file.
        "open-mode": "append",
        "requeue": "" if slurm.requeue else None,
        # To the batch shell, which tells the ranks.
        "signal": f"B:USR1@{notice_seconds}",
        **slurm.directives,
        **request.set_directives,
    }
    return {
        key: value
        for key, value in given.items()
        if value is not None and key not in request.unset_directives
    }


def _cpus_per_task(system: System, ranks_per_node: int, hint: str | None) -> str | None:
    """Hardware threads of a rank, or cores where only these count.

    ibrun's sites give whole nodes and do not want the directive.
    """
    if system.slurm is not None and system.slurm.launcher == "ibrun":
        return None
    threads_per_core = 1 if hint == ONE_THREAD else system.node.threads_per_core
    return str(system.node.cores * threads_per_core // ranks_per_node)
