"""What the launcher told this process: which rank it is, and of how many."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from hvdtrain.errors import RunError
from hvdtrain.runs.job_identity import read_job_identity


@dataclass(frozen=True)
class LauncherVariables:
    """Where a launcher keeps the three numbers. Five lines port hvdtrain to another one."""

    name: str
    rank: str
    ranks: str
    local_rank: str


_HYDRA = "MPI_LOCALRANKID"
"""Hydra sets it for every rank; srun does not."""

LAUNCHERS = (
    LauncherVariables("Intel MPI", "PMI_RANK", "PMI_SIZE", _HYDRA),
    LauncherVariables(
        "Open MPI",
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
    ),
    LauncherVariables(
        "MVAPICH2", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK"
    ),
    # Last: inside a job, mpirun's processes carry Slurm's variables of mpirun itself.
    LauncherVariables("Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
)


@dataclass(frozen=True)
class Launch:
    """A process as its launcher sees it. Alone, it is rank 0 of 1."""

    launcher: str
    rank: int
    ranks: int
    local_rank: int


def read_launch(environ: Mapping[str, str]) -> Launch:
    """What the first launcher that left its variables says.

    Slurm's batch shell is a step of one task, so a process started there without srun is alone.

    Raises:
        RunError: A variable is not a number, or the rank is not below the number of ranks.
    """
    for names in LAUNCHERS:
        # srun with PMI sets PMI_RANK and PMI_SIZE, and the local rank in a variable of its own.
        local_rank = environ.get(names.local_rank, environ.get("SLURM_LOCALID", "0"))
        if names.rank not in environ or names.ranks not in environ:
            continue
        try:
            launch = Launch(
                names.name, int(environ[names.rank]), int(environ[names.ranks]), int(local_rank)
            )
        except ValueError:
            launch = None
        if launch is None or not 0 <= launch.local_rank <= launch.rank < launch.ranks:
            raise RunError(
                f"{names.name} says {names.rank}={environ[names.rank]!r}, "
                f"{names.ranks}={environ[names.ranks]!r}, local rank {local_rank!r}: "
                "this is no place in a world",
                "start hvdtrain train with mpirun, srun or ibrun, or alone",
            )
        return launch
    return Launch("no launcher", 0, 1, 0)


def host_name(environ: Mapping[str, str], launch: Launch, host: str) -> str:
    """The name of this process's node.

    Slurm's own name for it is that which can be excluded, but only srun gives each process its
    node's: what mpirun starts has inherited the name of the first node. Hydra, the mpirun of Intel
    MPI and MPICH, starts a helper on every node with srun, and its ranks have the helper's place.
    With one rank on each node that is also their own.

    Args:
        environ: The environment of this process.
        launch: Its place in the world.
        host: What the node calls itself.
    """
    place = (environ.get("SLURM_PROCID"), environ.get("SLURM_STEP_NUM_TASKS"))
    started_by_srun = place == (str(launch.rank), str(launch.ranks)) and _HYDRA not in environ
    return environ.get("SLURMD_NODENAME", host) if started_by_srun else host


def start_name(environ: Mapping[str, str]) -> str:
    """What the ranks that one launcher has started have in common, and no others.

    Source: Hydra names each mpirun, PMIx each job of its server, and Slurm counts steps and starts.
    """
    named = environ.get("I_MPI_HYDRA_UUID") or environ.get("PMIX_NAMESPACE")
    job = read_job_identity(environ)
    if named is None and job is not None:
        named = f"{job.name}-{environ.get('SLURM_STEP_ID', '')}-{job.restarts}"
    return re.sub(r"[^A-Za-z0-9.-]", "-", named or "alone")[-100:]


def abort_job(environ: Mapping[str, str]) -> None:
    """Ask Intel's mpirun to end all ranks, as MPI_Abort does. For a process whose MPI hangs.

    Others end the ranks when one has failed; this one waits for those that have not joined yet.
    """
    if "I_MPI_HYDRA_UUID" in environ and "PMI_FD" in environ:
        # Source: the wire protocol of PMI 1, which MPICH and Intel MPI share.
        with contextlib.suppress(OSError, ValueError):
            os.write(int(environ["PMI_FD"]), b"cmd=abort exitcode=1\n")
