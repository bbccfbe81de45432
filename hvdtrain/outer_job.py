"""What a process inherits from the job that it runs in, and must not hand on.

A job that is submitted from inside another one, and ranks that are to stay on this machine, must
not find the variables of that other job: they name its nodes, its memory and its processes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# Slurm's, of a job and of a step, and what srun, Hydra and Open MPI tell the processes that they
# start. SLURM_CONF and SLURM_CLUSTERS say which Slurm is meant, PMIX_MCA_ how PMIx works here.
# Sources: "Environment variables" of the man pages of sbatch and srun; Open MPI's FAQ.
_OF_A_JOB = re.compile(
    r"SLURM(?!_CONF$|_CLUSTERS$)|SRUN_|PMI2?_|PMIX_(?!MCA_)|MPI_LOCAL|HYDI_|I_MPI_HYDRA_UUID$|"
    r"(OMPI|MV2)_COMM_WORLD_|OMPI_UNIVERSE_SIZE$|OMPI_MCA_(ess|orte)_"
)
# What makes mpirun look for other nodes: the schedulers that it knows, and lists of hosts.
_OF_OTHER_NODES = re.compile(
    r"PBS_|LSB_|LSF_|PE_HOSTFILE$|LOADL_|COBALT_|FLUX_|(I_MPI_)?HYDRA_|I_MPI_PERHOST$|"
    r"(OMPI|PRTE)_MCA_\w*host"
)


def is_of_a_job(name: str) -> bool:
    """Whether a variable of this name tells of the job that a process runs in."""
    return _OF_A_JOB.match(name) is not None


def stay_here(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what leads an mpirun to other machines than this one."""
    return {
        name: value
        for name, value in environ.items()
        if not is_of_a_job(name) and not _OF_OTHER_NODES.match(name)
    }
