"""What is said to be in force must be what the settings say."""

from __future__ import annotations

import pytest

from hvdtrain.plan.machine.core_map import make_core_map
from hvdtrain.plan.machine.environment import make_settings
from hvdtrain.plan.machine.system import MpiFamily, load_system
from hvdtrain.plan.machine.topology import make_topology
from hvdtrain.runs.record import ReductionBackend
from hvdtrain.train.preflight.allreduce import allreduce_algorithm

pytestmark = pytest.mark.tf

INTEL = "Intel(R) MPI Library 2021.11 for Linux* OS"
OPENMPI = "Open MPI v4.1.4, package: Debian OpenMPI"


@pytest.mark.parametrize(
    ("reduction", "mpi", "environ", "expected"),
    [
        ("none", INTEL, {}, "none: one rank"),
        ("GLOO", INTEL, {"I_MPI_ADJUST_ALLREDUCE": "8"}, "ring (Gloo has no other)"),
        ("CCL", INTEL, {"CCL_ALLREDUCE": "ring"}, "ring (CCL_ALLREDUCE=ring)"),
        ("CCL", INTEL, {"I_MPI_ADJUST_ALLREDUCE": "8"}, "oneCCL's own choice"),
        ("MPI", INTEL, {"I_MPI_ADJUST_ALLREDUCE": "8"}, "ring (I_MPI_ADJUST_ALLREDUCE=8)"),
        ("MPI", INTEL, {}, "Intel MPI's own choice"),
        (
            *("MPI", INTEL, {"I_MPI_ADJUST_ALLREDUCE": "8:0-1024;2"}),
            "8:0-1024;2 (I_MPI_ADJUST_ALLREDUCE=8:0-1024;2)",
        ),
        # Open MPI does not look at the number without the switch.
        (
            *("MPI", OPENMPI, {"OMPI_MCA_coll_tuned_allreduce_algorithm": "4"}),
            "Open MPI's own choice",
        ),
        ("MPI", "MPICH Version: 4.0", {}, "the MPI library's own choice"),
    ],
)
def test_in_words(
    reduction: ReductionBackend, mpi: str, environ: dict[str, str], expected: str
) -> None:
    assert allreduce_algorithm(reduction, mpi, environ) == expected


@pytest.mark.parametrize(("family", "mpi"), [("intel", INTEL), ("openmpi", OPENMPI)])
@pytest.mark.parametrize("comm_cores", [0, 4])
def test_the_settings_of_a_plan_ask_for_a_ring(
    family: MpiFamily, mpi: str, comm_cores: int
) -> None:
    core_map = make_core_map(make_topology(load_system("marenostrum4").node), 2, comm_cores)
    layers = make_settings(core_map, family, itex=False)
    environ = {setting.name: setting.value for layer in layers for setting in layer.settings}
    reduction: ReductionBackend = "CCL" if environ["HOROVOD_CPU_OPERATIONS"] == "CCL" else "MPI"
    assert allreduce_algorithm(reduction, mpi, environ).startswith("ring")
