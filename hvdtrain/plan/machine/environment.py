"""One core map, spelled out for every layer that has threads: OpenMP, TensorFlow, oneCCL, MPI."""

from __future__ import annotations

import msgspec

from hvdtrain.plan.machine.core_map import CoreMap
from hvdtrain.plan.machine.system import MpiFamily
from hvdtrain.units import format_cpu_list

COMPUTE_CPUS = "HVDTRAIN_COMPUTE_CPUS"
COMM_CPUS = "HVDTRAIN_COMM_CPUS"
HOROVOD_CPUS = "HVDTRAIN_HOROVOD_CPUS"
DATA_CPUS = "HVDTRAIN_DATA_CPUS"


class Setting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An environment variable of a rank.

    Attributes:
        name: Name of the variable, such as `OMP_NUM_THREADS`.
        value: Its value, not quoted.
        from_map: Whether it names processor ids, so that another numbering changes it.
    """

    name: str
    value: str
    from_map: bool = False


class Layer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of one layer, with a line for people on what they do."""

    title: str
    settings: tuple[Setting, ...]


def make_settings(core_map: CoreMap, mpi: MpiFamily, itex: bool) -> tuple[Layer, ...]:
    """Consistent settings of all layers for every rank of a node.

    The same values serve all ranks of the node: a variable that differs from rank to rank is
    given as a list over the local ranks, and each rank takes its own entry.

    Args:
        core_map: The cores of the node's ranks.
        mpi: The MPI library's family; each has variables of its own.
        itex: Whether the nodes can run Intel's TensorFlow extension.
    """
    return (
        _own_layer(core_map),
        _compute_layer(core_map, itex),
        *((_ccl_layer(core_map),) if uses_ccl(core_map, mpi) else ()),
        _horovod_layer(core_map, mpi),
        _mpi_layer(core_map, mpi),
    )


def uses_ccl(core_map: CoreMap, mpi: MpiFamily) -> bool:
    """Whether oneCCL reduces.

    It takes communication cores of their own to be worth it, and its MPI transport needs Intel
    MPI or another MPICH.
    """
    return core_map.comm_per_rank > 0 and mpi == "intel"


def _per_rank(lists: list[tuple[int, ...]]) -> str:
    """One list for each local rank: `0-21:24-45`."""
    return ":".join(format_cpu_list(cpus) for cpus in lists)


def _own_layer(core_map: CoreMap) -> Layer:
    ranks = core_map.ranks
    return Layer(
        "The core map: one list for each rank of the node, divided by colons",
        (
            Setting(COMPUTE_CPUS, _per_rank([rank.compute for rank in ranks]), True),
            Setting(COMM_CPUS, _per_rank([rank.comm for rank in ranks]), True),
            Setting(HOROVOD_CPUS, _per_rank([(rank.horovod,) for rank in ranks]), True),
            Setting(DATA_CPUS, _per_rank([rank.data for rank in ranks]), True),
        ),
    )


def _compute_layer(core_map: CoreMap, itex: bool) -> Layer:
    threads = str(len(core_map.ranks[0].compute))
    settings = [Setting("OMP_NUM_THREADS", threads)]
    if len(core_map.ranks) == 1:
        settings.append(Setting("KMP_AFFINITY", kmp_affinity(core_map.ranks[0].compute), True))
    settings += [
        Setting("KMP_BLOCKTIME", "1"),
        Setting("TF_NUM_INTRAOP_THREADS", threads),
        Setting("TF_NUM_INTEROP_THREADS", "1"),
        Setting("TF_ENABLE_ONEDNN_OPTS", "1"),
    ]
    if itex:
        settings.append(Setting("ITEX_OMP_THREADPOOL", "1"))
    title = "Compute threads: OpenMP and TensorFlow"
    if len(core_map.ranks) > 1:
        title += " (each rank sets KMP_AFFINITY to its own list of compute cores)"
    return Layer(title, tuple(settings))


def kmp_affinity(compute: tuple[int, ...]) -> str:
    """OpenMP's pinning of one thread to each compute core."""
    return f"granularity=fine,proclist=[{format_cpu_list(compute)}],explicit"


def _ccl_layer(core_map: CoreMap) -> Layer:
    workers = ",".join(str(cpu) for rank in core_map.ranks for cpu in rank.comm)
    return Layer(
        "oneCCL: its threads on the communication cores, of all ranks of the node; ring",
        (
            Setting("CCL_WORKER_COUNT", str(core_map.comm_per_rank)),
            Setting("CCL_WORKER_AFFINITY", workers, True),
            Setting("CCL_ALLREDUCE", "ring"),
        ),
    )


def _horovod_layer(core_map: CoreMap, mpi: MpiFamily) -> Layer:
    threads = ",".join(str(rank.horovod) for rank in core_map.ranks)
    return Layer(
        "Horovod: a dead rank ends the job instead of hanging it",
        (
            Setting("HOROVOD_CPU_OPERATIONS", "CCL" if uses_ccl(core_map, mpi) else "MPI"),
            Setting("HOROVOD_THREAD_AFFINITY", threads, True),
            *horovod_settings(core_map.comm_per_rank > 0),
        ),
    )


def horovod_settings(has_comm_cores: bool) -> tuple[Setting, ...]:
    """What every rank needs of Horovod: the same sums in each run, and no waiting for ever.

    A rank that is started without them sets them itself.

    Args:
        has_comm_cores: Whether communication has cores of its own.
    """
    # A background thread that shares the compute cores must not wake up every millisecond: at
    # the default cycle it costs two ranks on two cores 40 % of their speed.
    cycle_ms = "1" if has_comm_cores else "10"
    return (
        Setting("HOROVOD_CYCLE_TIME", cycle_ms),
        # Groups that happen to be ready together would be added in another order each time.
        Setting("HOROVOD_DISABLE_GROUP_FUSION", "1"),
        Setting("HOROVOD_STALL_CHECK_TIME_SECONDS", "60"),
        Setting("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", "300"),
    )


def _mpi_layer(core_map: CoreMap, mpi: MpiFamily) -> Layer:
    match mpi:
        case "intel":
            masks = ",".join(_mask(rank.all) for rank in core_map.ranks)
            waiting = () if core_map.comm_per_rank else (Setting("I_MPI_THREAD_YIELD", "2"),)
            return Layer(
                "Intel MPI: each rank on its own cores; ring allreduce",
                (
                    Setting("I_MPI_PIN", "1"),
                    Setting("I_MPI_PIN_DOMAIN", f"[{masks}]", True),
                    Setting("I_MPI_ADJUST_ALLREDUCE", "8"),
                    *waiting,
                ),
            )
        case "openmpi":
            waiting = (
                () if core_map.comm_per_rank else (Setting("OMPI_MCA_mpi_yield_when_idle", "1"),)
            )
            return Layer(
                "Open MPI: no binding, the ranks pin themselves; ring allreduce",
                (
                    Setting("OMPI_MCA_hwloc_base_binding_policy", "none"),
                    Setting("OMPI_MCA_coll_tuned_use_dynamic_rules", "1"),
                    Setting("OMPI_MCA_coll_tuned_allreduce_algorithm", "4"),
                    *waiting,
                ),
            )
        case "mpich":
            return Layer(
                "MPICH: the library's own choice of algorithm",
                (Setting("MPICH_MAX_THREAD_SAFETY", "multiple"),),
            )


def _mask(cpus: tuple[int, ...]) -> str:
    """Processor ids as Intel MPI's hexadecimal mask, bit 0 the lowest."""
    return f"{sum(1 << cpu for cpu in cpus):x}"
