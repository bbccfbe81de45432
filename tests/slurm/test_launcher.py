"""The words of each launcher."""

from __future__ import annotations

import pytest

from hvdtrain.plan.machine.system import MpiFamily, Slurm
from hvdtrain.slurm.launcher import launch_words


def test_ibrun_takes_everything_from_the_job() -> None:
    assert launch_words(Slurm(launcher="ibrun", mpi="intel"), 1536, 1) == ("ibrun",)


def test_srun_is_told_everything() -> None:
    slurm = Slurm(launcher="srun", mpi="intel", launcher_options=("--mpi=pmi2",))
    assert launch_words(slurm, 4, 2, "64") == (
        "srun",
        "--nodes=4",
        "--ntasks=8",
        "--ntasks-per-node=2",
        "--cpus-per-task=64",
        "--cpu-bind=none",
        "--kill-on-bad-exit=1",
        "--mpi=pmi2",
    )
    assert not [word for word in launch_words(slurm, 4, 2) if "cpus" in word]


def test_srun_gets_no_hint_that_it_would_drop_beside_its_binding() -> None:
    slurm = Slurm(launcher="srun", mpi="mpich", launcher_options=("--hint=nomultithread", "-l"))
    assert launch_words(slurm, 4, 2, "64", one_thread=True)[4:] == (
        "--cpus-per-task=64",
        "--threads-per-core=1",
        "--cpu-bind=none",
        "--kill-on-bad-exit=1",
        "-l",
    )
    assert "--threads-per-core=1" in launch_words(slurm, 4, 1, one_thread=True)
    assert not [word for word in launch_words(slurm, 4, 2) if "hint" in word]


@pytest.mark.parametrize(
    ("mpi", "placement"),
    [
        ("intel", ("-ppn", "2")),
        ("mpich", ("-ppn", "2")),
        ("openmpi", ("--map-by", "ppr:2:node", "--bind-to", "none")),
    ],
)
def test_mpirun_places_by_node(mpi: MpiFamily, placement: tuple[str, ...]) -> None:
    slurm = Slurm(launcher="mpirun", mpi=mpi)
    assert launch_words(slurm, 4, 2) == ("mpirun", "-n", "8", *placement)
