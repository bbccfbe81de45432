"""This machine, as it is: its cores, and the launcher of its MPI."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from hvdtrain.errors import RunError
from hvdtrain.outer_job import stay_here
from hvdtrain.plan.machine.system import MpiFamily
from hvdtrain.plan.machine.topology import Topology, parse_lscpu


def read_topology() -> Topology:
    """The cores that this process may use.

    Raises:
        RunError: lscpu is missing or fails.
    """
    listing = _ask(["lscpu", "-p=CPU,CORE,SOCKET,NODE"], "install util-linux, which has lscpu")
    return parse_lscpu(listing, os.sched_getaffinity(0))


def read_mpi_family(environ: Mapping[str, str]) -> MpiFamily:
    """The family of the mpirun on the PATH of `environ`.

    Raises:
        RunError: There is no mpirun.
    """
    version = _ask(["mpirun", "--version"], "run `make setup`, or load the site's MPI", environ)
    if "Intel" in version:
        return "intel"
    return "openmpi" if "Open MPI" in version or "OpenRTE" in version else "mpich"


def local_mpirun(
    ranks: int, family: MpiFamily, environ: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """The words and the environment that start ranks on this machine and nowhere else.

    Inside a job, or with a list of hosts in the environment, mpirun would look for other nodes.
    """
    match family:
        case "intel":
            words = ["-hosts", "localhost"]
            variables = {"I_MPI_HYDRA_BOOTSTRAP": "fork", "I_MPI_FABRICS": "shm"}
        case "openmpi":
            words = ["--host", f"localhost:{ranks}"]
            variables = {
                "OMPI_ALLOW_RUN_AS_ROOT": "1",
                "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                "OMPI_MCA_plm": "isolated",
                "OMPI_MCA_ras": "^slurm",
                "OMPI_MCA_btl": "self,vader",
            }
        case "mpich":
            words = ["-hosts", "localhost"]
            variables = {"HYDRA_BOOTSTRAP": "fork"}
    return ["mpirun", *words, "-n", str(ranks)], {**stay_here(environ), **variables}


def _ask(words: list[str], fix: str, environ: Mapping[str, str] | None = None) -> str:
    try:
        answer = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env=environ,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise RunError(f"{' '.join(words)}: {error}", fix) from None
    return answer.stdout
