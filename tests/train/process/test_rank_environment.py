"""Which rank a process is decides what it trains on and whether it writes the result."""

from __future__ import annotations

import os

import pytest

from hvdtrain.errors import RunError
from hvdtrain.plan.machine.environment import COMM_CPUS, COMPUTE_CPUS, DATA_CPUS, HOROVOD_CPUS
from hvdtrain.train.process.rank_environment import (
    Launch,
    abort_job,
    host_name,
    read_launch,
    start_name,
)
from hvdtrain.train.start import prepare_process


@pytest.mark.parametrize(
    ("environ", "launch"),
    [
        ({}, Launch("no launcher", 0, 1, 0)),
        (
            {"PMI_RANK": "5", "PMI_SIZE": "8", "MPI_LOCALRANKID": "1"},
            Launch("Intel MPI", 5, 8, 1),
        ),
        (
            {
                "OMPI_COMM_WORLD_RANK": "3",
                "OMPI_COMM_WORLD_SIZE": "4",
                "OMPI_COMM_WORLD_LOCAL_RANK": "1",
            },
            Launch("Open MPI", 3, 4, 1),
        ),
        (
            {"SLURM_PROCID": "1535", "SLURM_STEP_NUM_TASKS": "1536", "SLURM_LOCALID": "0"},
            Launch("Slurm", 1535, 1536, 0),
        ),
        # srun with PMI-2: the ranks carry PMI's numbers and Slurm's local rank.
        (
            {"PMI_RANK": "3", "PMI_SIZE": "4", "SLURM_LOCALID": "1", "SLURM_PROCID": "3"},
            Launch("Intel MPI", 3, 4, 1),
        ),
        # mpirun inside a job: Slurm's variables are those of mpirun, a single task.
        (
            {
                "PMI_RANK": "1",
                "PMI_SIZE": "2",
                "MPI_LOCALRANKID": "1",
                "SLURM_PROCID": "0",
                "SLURM_STEP_NUM_TASKS": "1",
                "SLURM_LOCALID": "0",
            },
            Launch("Intel MPI", 1, 2, 1),
        ),
        # A batch shell: job variables, but no step of several tasks.
        ({"SLURM_NTASKS": "1536", "SLURM_PROCID": "0"}, Launch("no launcher", 0, 1, 0)),
    ],
)
def test_reads_what_the_launcher_left(environ: dict[str, str], launch: Launch) -> None:
    assert read_launch(environ) == launch


@pytest.mark.parametrize(
    "environ",
    [
        {"PMI_RANK": "2", "PMI_SIZE": "2", "MPI_LOCALRANKID": "0"},
        {"PMI_RANK": "-1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "0"},
        {"PMI_RANK": "one", "PMI_SIZE": "2", "MPI_LOCALRANKID": "0"},
        {"PMI_RANK": "0", "PMI_SIZE": "2", "MPI_LOCALRANKID": "1"},
    ],
)
def test_refuses_a_place_that_cannot_be(environ: dict[str, str]) -> None:
    with pytest.raises(RunError, match="no place in a world"):
        read_launch(environ)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "c1.site.org"),
        # srun tells every process its own node.
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURMD_NODENAME": "n2"}, "n2"),
        # mpirun's processes have what mpirun had, or what its helper on the node has.
        (
            {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURMD_NODENAME": "n1"},
            "c1.site.org",
        ),
        ({"SLURMD_NODENAME": "n1"}, "c1.site.org"),
        # The helper of Intel's mpirun is started by srun: here the fourth of four, as its rank.
        (
            {
                "SLURM_PROCID": "3",
                "SLURM_STEP_NUM_TASKS": "4",
                "SLURMD_NODENAME": "n1",
                "MPI_LOCALRANKID": "0",
            },
            "c1.site.org",
        ),
    ],
)
def test_the_node_has_slurms_name_where_srun_says_it(
    environ: dict[str, str], expected: str
) -> None:
    assert host_name(environ, Launch("Slurm", 3, 4, 1), "c1.site.org") == expected


def test_intels_mpirun_is_asked_to_end_the_job_and_no_other() -> None:
    reading, writing = os.pipe()
    abort_job({"PMI_FD": str(writing)})
    abort_job({"PMI_FD": str(writing), "I_MPI_HYDRA_UUID": "1"})
    abort_job({"PMI_FD": "nonsense", "I_MPI_HYDRA_UUID": "1"})
    os.close(writing)
    with os.fdopen(reading) as said:
        assert said.read() == "cmd=abort exitcode=1\n"


ALONE = Launch("no launcher", 0, 1, 0)


@pytest.fixture
def without_horovod(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing of Horovod; it comes back after the test."""
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if "HOROVOD" not in k})
    return monkeypatch


def test_a_rank_sets_what_the_same_sums_need_where_nobody_has(
    without_horovod: pytest.MonkeyPatch,
) -> None:
    del without_horovod
    prepare_process(ALONE)
    assert os.environ["HOROVOD_DISABLE_GROUP_FUSION"] == "1"
    assert os.environ["HOROVOD_STALL_SHUTDOWN_TIME_SECONDS"] == "300"
    assert os.environ["HOROVOD_CYCLE_TIME"] == "10"


def test_what_the_environment_says_of_horovod_stays(without_horovod: pytest.MonkeyPatch) -> None:
    without_horovod.setitem(os.environ, "HOROVOD_CYCLE_TIME", "3.5")
    without_horovod.setitem(os.environ, "HOROVOD_DISABLE_GROUP_FUSION", "0")
    prepare_process(ALONE)
    assert os.environ["HOROVOD_CYCLE_TIME"] == "3.5"
    assert os.environ["HOROVOD_DISABLE_GROUP_FUSION"] == "0"


def test_with_cores_of_its_own_communication_wakes_up_often(
    without_horovod: pytest.MonkeyPatch,
) -> None:
    allowed = os.sched_getaffinity(0)
    cpu = str(min(allowed))
    for name in (COMPUTE_CPUS, COMM_CPUS, HOROVOD_CPUS, DATA_CPUS):
        without_horovod.setitem(os.environ, name, cpu)
    try:
        prepare_process(ALONE)
    finally:
        os.sched_setaffinity(0, allowed)
    assert os.environ["HOROVOD_CYCLE_TIME"] == "1"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "alone"),
        ({"I_MPI_HYDRA_UUID": "ce0d-2f", "SLURM_JOB_ID": "7"}, "ce0d-2f"),
        ({"PMIX_NAMESPACE": "prterun@n1/1"}, "prterun-n1-1"),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "2"}, "7-2-0"),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "2", "SLURM_RESTART_COUNT": "1"}, "7-2-1"),
    ],
)
def test_every_start_has_a_name_of_its_own(environ: dict[str, str], expected: str) -> None:
    assert start_name(environ) == expected
