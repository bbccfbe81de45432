"""What this machine says of itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hvdtrain.errors import RunError
from hvdtrain.machine import local_mpirun, read_mpi_family, read_topology
from hvdtrain.plan.machine.system import MpiFamily
from hvdtrain.stack import stack_variables


def test_the_topology_is_what_this_process_may_use() -> None:
    assert read_topology().cpus == os.sched_getaffinity(0)


@pytest.mark.parametrize(
    ("version", "family"),
    [
        ("Intel(R) MPI Library for Linux* OS, Version 2021.11 Build 20231005", "intel"),
        ("mpirun (Open MPI) 4.1.4", "openmpi"),
        ("HYDRA build details: Version: 4.0.2", "mpich"),
    ],
)
def test_the_family_is_read_from_mpirun(tmp_path: Path, version: str, family: MpiFamily) -> None:
    program = tmp_path / "mpirun"
    program.write_text(f"#!/bin/sh\necho '{version}'\n")
    program.chmod(0o755)
    assert read_mpi_family({"PATH": f"{tmp_path}:/usr/bin:/bin"}) == family


def test_no_mpirun_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="make setup"):
        read_mpi_family({"PATH": str(tmp_path)})


# What salloc on a login node, a job of two nodes, or another scheduler leaves behind.
ELSEWHERE = {
    "SLURM_JOBID": "7",
    "SLURM_JOB_ID": "7",
    "SLURM_NNODES": "2",
    "SLURM_NODELIST": "far-[1-2]",
    "SLURM_JOB_NODELIST": "far-[1-2]",
    "SLURM_TASKS_PER_NODE": "1(x2)",
    "SLURM_CPU_BIND": "quiet,mask_cpu:0x1",
    "PMI_RANK": "3",
    "PMI_SIZE": "4",
    "PMI_FD": "77",
    "PMIX_RANK": "3",
    "OMPI_COMM_WORLD_RANK": "3",
    "PBS_ENVIRONMENT": "PBS_BATCH",
    "PBS_JOBID": "7.far",
    "PBS_NODEFILE": "/nowhere/nodes",
    "LSB_HOSTS": "far-1 far-2",
    "PE_HOSTFILE": "/nowhere/nodes",
    "I_MPI_HYDRA_HOST_FILE": "/nowhere/hosts",
    "HYDRA_HOST_FILE": "/nowhere/hosts",
    "OMPI_MCA_orte_default_hostfile": "/nowhere/hosts",
}
KEPT = {
    "SLURM_CONF": "/etc/slurm.conf",
    "SLURM_CLUSTERS": "doduo",
    "PMIX_MCA_gds": "hash",
    "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
    "I_MPI_DEBUG": "5",
}


@pytest.mark.parametrize("family", ["intel", "openmpi", "mpich"])
def test_every_family_starts_the_ranks_asked_for_here(family: MpiFamily) -> None:
    words, environ = local_mpirun(3, family, {**ELSEWHERE, **KEPT})
    assert words[0] == "mpirun"
    assert words[words.index("-n") + 1] == "3"
    assert any("localhost" in word for word in words)
    assert not ELSEWHERE.keys() & environ.keys()
    assert environ.items() > KEPT.items()


@pytest.mark.ranks
@pytest.mark.parametrize("elsewhere", [{}, ELSEWHERE], ids=["alone", "inside a job"])
def test_the_ranks_stay_on_this_machine(elsewhere: dict[str, str]) -> None:
    environ = {**os.environ, **stack_variables(Path(sys.prefix), os.environ), **elsewhere}
    words, environ = local_mpirun(2, read_mpi_family(environ), environ)
    done = subprocess.run(
        [*words, "hostname"],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.split()) == (0, [socket.gethostname()] * 2), done.stderr
