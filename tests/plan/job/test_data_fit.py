"""Data that does not fit on a node is refused before the queue, and its copying takes time."""

from __future__ import annotations

import msgspec
import pytest

from hvdtrain.errors import InputError
from hvdtrain.plan.job.data_fit import DataSize, copy_minutes, fit_notes, training_bytes
from hvdtrain.plan.job.job_plan import JobPlan, ScriptOrigin, make_job
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.machine.system import System, load_system

KNL = load_system("stampede2-knl")


def job(data: DataSize | None, system: System = KNL, nodes: int = 256, **asked: object) -> JobPlan:
    origin = ScriptOrigin(command="c", hvdtrain="/h")
    request = msgspec.convert({"nodes": nodes, "data": "/d", **asked}, JobRequest)
    return make_job(request, system, origin, data)


def size(gigabytes: float, files: int = 1152, *, more: bool = False) -> DataSize:
    return DataSize(files=files, size_bytes=int(gigabytes * 1e9), more=more)


def test_what_a_node_cannot_hold_beside_the_training_is_refused() -> None:
    # 96 GB, of which one rank with 32 images takes 4.3.
    assert training_bytes(job(None).run) == pytest.approx(4.3e9)
    assert job(size(91)).walltime_min > 0
    with pytest.raises(InputError, match=r"--data: '92 GB' is not possible: at most 91.7 GB"):
        job(size(92))
    # Two ranks take more than one with the same images.
    with pytest.raises(InputError, match="--size 256"):
        job(size(91), ranks_per_node=2, node_batch=32)


def test_a_local_disk_has_its_own_size_and_an_unknown_one_refuses_nothing() -> None:
    def on_disk(local_gb: int) -> System:
        node = msgspec.structs.replace(KNL.node, staging="/tmp", local_gb=local_gb)
        return msgspec.structs.replace(KNL, node=node)

    assert job(size(106), on_disk(107)).notes
    with pytest.raises(InputError, match="at most 107 GB: what /tmp of a node holds"):
        job(size(108), on_disk(107))
    assert job(size(5000), on_disk(0)).notes


def test_the_nodes_share_what_the_file_system_gives() -> None:
    assert copy_minutes(size(40), 1) == 2
    assert copy_minutes(size(40), 1536) == 11
    usual, longer = job(None, nodes=1536), job(size(40), nodes=1536)
    assert longer.walltime_min == usual.walltime_min + 11
    assert job(size(40), nodes=1536, walltime="45").walltime_min == 45


def test_what_may_go_wrong_is_said() -> None:
    half = fit_notes(size(60), KNL.node, 256)
    assert len(half) == 1
    assert "holds half of the memory, 48 GB" in half[0]
    (many,) = fit_notes(size(1, 20_000, more=True), KNL.node, 256)
    assert "more than 20000 files, which each of 256 nodes opens" in many
    assert fit_notes(size(40), KNL.node, 256) == ()
