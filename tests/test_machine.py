"""What this machine says of itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hvdtrain.errors import RunError
from hvdtrain.machine import local_mpirun, read_mpi_family, read_topology
from hvdtrain.plan.machine.system import MpiFamily


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


@pytest.mark.parametrize("family", ["intel", "openmpi", "mpich"])
def test_every_family_starts_the_ranks_asked_for(family: MpiFamily) -> None:
    words, variables = local_mpirun(3, family)
    assert words[0] == "mpirun"
    assert words[words.index("-n") + 1] == "3"
    assert variables
