"""A plan that was followed must pass on every system, and every way not to follow it must not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdtrain.plan.machine.core_map import RankCores, make_core_map
from hvdtrain.plan.machine.environment import make_settings
from hvdtrain.plan.machine.system import load_system
from hvdtrain.plan.machine.topology import Topology, make_topology, parse_lscpu
from hvdtrain.train.health.binding_rules import (
    RankUse,
    ThreadMasks,
    find_shared,
    judge_settings,
    sort_threads,
)
from hvdtrain.units import format_cpu_list

KNL = RankCores(
    compute=tuple(range(64)), comm=(64, 65, 66, 67), horovod=132, data=(133, 134, 135, 200)
)
LAPTOP = RankCores(compute=(1,), comm=(), horovod=1, data=(1,))
COUNTS = {"OMP_NUM_THREADS": "64", "TF_NUM_INTRAOP_THREADS": "64"}


def followed(cores: RankCores, uses_ccl: bool) -> ThreadMasks:
    """The threads of a rank whose libraries have done what they were told."""
    masks = {format_cpu_list(cores.compute): len(cores.compute) + 3}
    pinned = [cores.horovod, *(cores.comm if uses_ccl else ())]
    for text in (*map(str, pinned), format_cpu_list(cores.data)):
        masks[text] = masks.get(text, 0) + 1
    return ThreadMasks(all=masks, horovod=(str(cores.horovod),))


TOPOLOGIES = [
    parse_lscpu("0,0,0,0\n1,1,0,0\n"),
    *(
        make_topology(load_system(name).node)
        for name in ("stampede2-knl", "stampede2-skx", "lumi-c")
    ),
]


def test_loaders_that_may_run_beside_both_are_neither() -> None:
    topology = make_topology(load_system("marenostrum4").node)
    (cores,) = make_core_map(topology, 1, 4).ranks
    use = sort_threads(cores, followed(cores, uses_ccl=True))
    assert use.compute == set(cores.compute)
    assert use.communication == set(cores.comm)
    assert use.data == set(cores.data)


@given(st.sampled_from(TOPOLOGIES), st.sampled_from([1, 2]), st.sampled_from([0, 2, 4]))
def test_a_plan_that_was_followed_passes(topology: Topology, ranks: int, comm_cores: int) -> None:
    comm_cores = comm_cores if len(topology.cores) > 4 else 0
    core_map = make_core_map(topology, ranks, comm_cores)
    layers = make_settings(core_map, "intel", itex=False)
    environ = {setting.name: setting.value for layer in layers for setting in layer.settings}
    uses_ccl = environ["HOROVOD_CPU_OPERATIONS"] == "CCL"
    uses = []
    for rank, cores in enumerate(core_map.ranks):
        masks = followed(cores, uses_ccl)
        assert judge_settings(cores, masks, environ, uses_ccl) == ()
        use = sort_threads(cores, masks)
        assert use.compute == set(cores.compute)
        assert cores.horovod in use.communication
        working = use.compute | use.communication
        siblings = {cpu: core.cpu for core in topology.cores for cpu in core.cpus}
        first = frozenset(siblings[cpu] for cpu in working)
        uses.append(RankUse(rank=rank, host="n1", cores=first))
    assert find_shared(uses) == ()


def test_what_the_threads_are_for() -> None:
    use = sort_threads(KNL, followed(KNL, uses_ccl=True))
    assert use.compute == set(range(64))
    assert use.communication == {64, 65, 66, 67, 132}
    assert use.data == {133, 134, 135, 200}


def test_on_a_laptop_communication_shares_the_compute_core_by_plan() -> None:
    masks = ThreadMasks(all={"1": 9}, horovod=("1",))
    use = sort_threads(LAPTOP, masks)
    assert use.compute == use.communication == {1}
    environ = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
    assert judge_settings(LAPTOP, masks, environ, uses_ccl=False) == ()


def with_threads(text: str, count: int) -> ThreadMasks:
    """A plan that was followed, but for some more threads, or fewer."""
    return ThreadMasks(all=followed(KNL, True).all | {text: count}, horovod=("132",))


@pytest.mark.parametrize(
    ("masks", "environ", "expected"),
    [
        (with_threads("0-271", 3), COUNTS, "3 threads may run on 0-271"),
        (with_threads("0-64", 1), COUNTS, "1 thread may run on 0-64"),
        (
            ThreadMasks(all=followed(KNL, True).all, horovod=("0-63",)),
            COUNTS,
            "Horovod's thread may run on 0-63, the plan has 132",
        ),
        (ThreadMasks(all=followed(KNL, True).all, horovod=()), COUNTS, "run on nowhere"),
        (followed(KNL, False), COUNTS, "no thread of oneCCL is pinned to 64-67"),
        (followed(KNL, True), {**COUNTS, "OMP_NUM_THREADS": "272"}, "OMP_NUM_THREADS is 272"),
        (
            *(followed(KNL, True), {"OMP_NUM_THREADS": "64"}),
            "TF_NUM_INTRAOP_THREADS is not set, the plan has 64 compute cores",
        ),
        (
            *(with_threads("0-63", 2), COUNTS),
            "2 threads are on the 64 compute cores",
        ),
    ],
)
def test_a_setting_that_was_ignored_is_named(
    masks: ThreadMasks, environ: dict[str, str], expected: str
) -> None:
    (said,) = judge_settings(KNL, masks, environ, uses_ccl=True)
    assert expected in said


def use(rank: int, host: str, *cores: int) -> RankUse:
    return RankUse(rank=rank, host=host, cores=frozenset(cores))


def test_shared_cores_are_named_once_for_each_group() -> None:
    uses = [use(0, "n1", 0, 1, 2), use(1, "n1", 2, 3), use(2, "n2", 0, 1), use(3, "n2", 0, 1)]
    assert find_shared(uses) == (
        "ranks 0, 1 share core 2 on n1",
        "ranks 2, 3 share cores 0-1 on n2",
    )


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.frozensets(st.integers(0, 5), max_size=3)), max_size=6)
)
def test_ranks_of_different_nodes_share_nothing(places: list[tuple[int, frozenset[int]]]) -> None:
    uses = [use(rank, f"n{node}", *cores) for rank, (node, cores) in enumerate(places)]
    overlaps = any(
        a.host == b.host and a.cores & b.cores for a in uses for b in uses if a.rank < b.rank
    )
    assert bool(find_shared(uses)) is overlaps
