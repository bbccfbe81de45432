"""The environment that follows from a core map is the same in every layer."""

from __future__ import annotations

import pytest

from hvdtrain.plan.machine.core_map import make_core_map
from hvdtrain.plan.machine.environment import Layer, make_settings
from hvdtrain.plan.machine.system import MpiFamily, load_system
from hvdtrain.plan.machine.topology import make_topology, parse_lscpu

TWO_CORES = parse_lscpu("0,0,0,0\n1,1,0,0\n")


def flat(layers: tuple[Layer, ...]) -> dict[str, str]:
    names = [setting.name for layer in layers for setting in layer.settings]
    assert len(set(names)) == len(names), "a variable is set twice"
    return {setting.name: setting.value for layer in layers for setting in layer.settings}


def settings_of(system: str, ranks: int = 1, itex: bool = True) -> dict[str, str]:
    known = load_system(system)
    core_map = make_core_map(make_topology(known.node), ranks, known.cores.comm_cores)
    assert known.slurm is not None
    return flat(make_settings(core_map, known.slurm.mpi, itex))


def test_knights_landing_spells_out_the_papers_map() -> None:
    settings = settings_of("stampede2-knl", itex=False)
    expected = {
        "OMP_NUM_THREADS": "64",
        "KMP_AFFINITY": "granularity=fine,proclist=[0-63],explicit",
        "TF_NUM_INTRAOP_THREADS": "64",
        "TF_NUM_INTEROP_THREADS": "1",
        "CCL_WORKER_COUNT": "4",
        "CCL_WORKER_AFFINITY": "64,65,66,67",
        "CCL_ALLREDUCE": "ring",
        "HOROVOD_CPU_OPERATIONS": "CCL",
        "HOROVOD_THREAD_AFFINITY": "132",
        "I_MPI_ADJUST_ALLREDUCE": "8",
        "HVDTRAIN_COMPUTE_CPUS": "0-63",
        "HVDTRAIN_COMM_CPUS": "64-67",
        "HVDTRAIN_HOROVOD_CPUS": "132",
    }
    assert expected.items() <= settings.items()
    assert not [name for name in settings if name.startswith("ITEX")]


def test_the_mask_of_intel_mpi_holds_exactly_the_ranks_own_processors() -> None:
    known = load_system("stampede2-skx")
    core_map = make_core_map(make_topology(known.node), 2, 4)
    masks = flat(make_settings(core_map, "intel", True))["I_MPI_PIN_DOMAIN"]
    found = [int(mask, 16) for mask in masks.strip("[]").split(",")]
    assert [
        tuple(bit for bit in range(mask.bit_length()) if mask >> bit & 1) for mask in found
    ] == [rank.all for rank in core_map.ranks]


def test_two_ranks_take_their_own_entries() -> None:
    settings = settings_of("marenostrum4", ranks=2)
    assert settings["HVDTRAIN_COMPUTE_CPUS"] == "0-21:24-45"
    assert settings["OMP_NUM_THREADS"] == "22"
    # oneCCL wants one list for all local ranks, Horovod one processor for each.
    assert settings["CCL_WORKER_AFFINITY"] == "22,23,46,47"
    assert settings["CCL_WORKER_COUNT"] == "2"
    assert settings["HOROVOD_THREAD_AFFINITY"] == "22,46"
    # One list would pin the threads of both ranks to the same cores.
    assert "KMP_AFFINITY" not in settings


@pytest.mark.parametrize(
    ("mpi", "ring"),
    [
        ("intel", {"I_MPI_ADJUST_ALLREDUCE": "8"}),
        (
            "openmpi",
            {
                "OMPI_MCA_coll_tuned_use_dynamic_rules": "1",
                "OMPI_MCA_coll_tuned_allreduce_algorithm": "4",
            },
        ),
    ],
)
def test_the_ring_is_asked_of_every_mpi_that_can(mpi: MpiFamily, ring: dict[str, str]) -> None:
    assert ring.items() <= flat(make_settings(make_core_map(TWO_CORES, 1, 1), mpi, False)).items()


@pytest.mark.parametrize("mpi", ["openmpi", "mpich"])
def test_oneccl_stays_out_where_it_has_no_transport(mpi: MpiFamily) -> None:
    settings = flat(make_settings(make_core_map(TWO_CORES, 1, 1), mpi, False))
    assert settings["HOROVOD_CPU_OPERATIONS"] == "MPI"
    assert not [name for name in settings if name.startswith("CCL_")]


def test_a_background_thread_that_shares_the_compute_cores_wakes_up_rarely() -> None:
    shared = flat(make_settings(make_core_map(TWO_CORES, 2, 0), "intel", False))
    assert shared["HOROVOD_CYCLE_TIME"] == "10"
    assert shared["I_MPI_THREAD_YIELD"] == "2"
    own = flat(make_settings(make_core_map(TWO_CORES, 1, 1), "intel", False))
    assert own["HOROVOD_CYCLE_TIME"] == "1"
    assert "I_MPI_THREAD_YIELD" not in own


def test_a_dead_rank_ends_the_job() -> None:
    assert int(settings_of("stampede2-knl")["HOROVOD_STALL_SHUTDOWN_TIME_SECONDS"]) > 0


def test_what_names_processors_is_marked() -> None:
    known = load_system("marenostrum4")
    assert known.slurm is not None
    core_map = make_core_map(make_topology(known.node), 1, 4)
    layers = make_settings(core_map, known.slurm.mpi, True)
    marked = {setting.name for layer in layers for setting in layer.settings if setting.from_map}
    assert marked == {
        "HVDTRAIN_COMPUTE_CPUS",
        "HVDTRAIN_COMM_CPUS",
        "HVDTRAIN_DATA_CPUS",
        "HVDTRAIN_HOROVOD_CPUS",
        "KMP_AFFINITY",
        "CCL_WORKER_AFFINITY",
        "HOROVOD_THREAD_AFFINITY",
        "I_MPI_PIN_DOMAIN",
    }
