"""A thread on another rank's core halves the speed of both, and nothing fails."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from hvdtrain.errors import RunError
from hvdtrain.plan.machine.core_map import RankCores
from hvdtrain.plan.machine.environment import COMM_CPUS, COMPUTE_CPUS, DATA_CPUS, HOROVOD_CPUS
from hvdtrain.train.process.pinning import LoaderThreads, allowed_cpus, read_pins, thread_ids

MAP = {
    COMPUTE_CPUS: "0-21:24-45",
    COMM_CPUS: "22-23:46-47",
    HOROVOD_CPUS: "70:94",
    DATA_CPUS: "71:95",
}


def test_each_local_rank_takes_its_own_entry() -> None:
    compute = tuple(range(22)), tuple(range(24, 46))
    assert read_pins(MAP, 0) == RankCores(compute=compute[0], comm=(22, 23), horovod=70, data=(71,))
    assert read_pins(MAP, 1) == RankCores(compute=compute[1], comm=(46, 47), horovod=94, data=(95,))


def test_a_rank_may_have_no_communication_cores() -> None:
    cores = read_pins({**MAP, COMM_CPUS: ":"}, 1)
    assert cores is not None
    assert cores.comm == ()


def test_without_a_map_nothing_is_pinned() -> None:
    assert read_pins({}, 0) is None


@pytest.mark.parametrize(
    ("environ", "local_rank"),
    [(MAP, 2), ({COMPUTE_CPUS: "0"}, 1), ({COMPUTE_CPUS: "0::"}, 1), ({COMPUTE_CPUS: "0:1"}, 1)],
)
def test_a_rank_without_an_entry_stops(environ: dict[str, str], local_rank: int) -> None:
    with pytest.raises(RunError, match=f"no entry for local rank {local_rank}"):
        read_pins(environ, local_rank)


def _on_one_cpu(code: str) -> str:
    """Run a script in a process of its own: a mask must not leak into the tests."""
    cpu = min(os.sched_getaffinity(0))
    imports = (
        "from hvdtrain.plan.machine.core_map import RankCores\n"
        "from hvdtrain.train.process.pinning import *"
    )
    script = f"cpu = {cpu}\n{imports}\nimport os\n{code}"
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    ).stdout.strip()


def test_pin_process_moves_the_process_and_tells_openmp() -> None:
    out = _on_one_cpu(
        "pin_process(RankCores(compute=(cpu,), comm=(), horovod=cpu, data=(cpu,)))\n"
        "print(os.sched_getaffinity(0) == {cpu}, os.environ['KMP_AFFINITY'])"
    )
    cpu = min(os.sched_getaffinity(0))
    assert out == f"True granularity=fine,proclist=[{cpu}],explicit"


def test_a_setting_of_the_script_is_kept() -> None:
    out = _on_one_cpu(
        "os.environ['KMP_AFFINITY'] = 'mine'\n"
        "pin_process(RankCores(compute=(cpu,), comm=(), horovod=cpu, data=(cpu,)))\n"
        "print(os.environ['KMP_AFFINITY'])"
    )
    assert out == "mine"


def test_cores_outside_the_job_stop_the_rank() -> None:
    out = _on_one_cpu(
        "from hvdtrain.errors import RunError\n"
        "try:\n    pin_process(RankCores(compute=(4095,), comm=(), horovod=4095, data=(4095,)))\n"
        "except RunError as error:\n    print(error)"
    )
    assert "the compute cores 4095 cannot be used" in out
    assert "hvdtrain cores --detect" in out


def test_loader_threads_are_those_of_the_first_batch() -> None:
    stop = threading.Event()

    def batches() -> Iterator[int]:
        threading.Thread(target=stop.wait, daemon=True).start()
        yield 1
        yield 2

    loaders = LoaderThreads()
    try:
        assert list(loaders.watch(batches())) == [1, 2]
        assert len(loaders.alive) == 1
        assert loaders.cpus == allowed_cpus(loaders.alive) == os.sched_getaffinity(0)
    finally:
        stop.set()


def test_a_thread_that_has_ended_has_no_processors() -> None:
    before = thread_ids()
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    started = thread_ids() - before
    stop.set()
    thread.join()
    while thread_ids() & started:
        pass
    assert allowed_cpus(started) == set()
