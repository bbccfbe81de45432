"""`hvdtrain systems --detect` writes a file that plans jobs which the cluster takes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from hvdtrain.errors import InputError
from hvdtrain.files.decode import decode_toml
from hvdtrain.plan.job.job_plan import ScriptOrigin, make_job
from hvdtrain.plan.job.request import JobRequest
from hvdtrain.plan.machine.system import System, load_system, system_files
from hvdtrain.slurm.command import SlurmError
from hvdtrain.slurm.detect import detect_system
from hvdtrain.slurm.render import render_script
from hvdtrain.slurm.system_file import format_system
from hvdtrain.units import format_walltime
from tests.ranks import ROOT
from tests.slurm.cluster import Cluster, slurm_environ

CONFIG = """Configuration data as of 2026-11-26
ClusterName             = big_cluster
JobRequeue              = 0
MaxArraySize            = 1
MpiDefault              = pmix
"""
NODES = """cpu|900|2|64|2|515000+|0|milan,rack1|(null)
cpu|100|2|64|2|512000|0|milan,rack2|(null)
all|1000|2|64|2|512000|0|milan,rack2|(null)
all|20|1|64|2|256000|0|gpu|gpu:a100:4
old|50|2|12|1|64000|100000|haswell|(null)
"""
PARTITIONS = """PartitionName=cpu QoS=N/A MaxNodes=UNLIMITED MaxTime=1-00:00:00 MinNodes=0
PartitionName=all AllowQos=ALL QoS=wide MaxNodes=512 MaxTime=UNLIMITED MinNodes=2
PartitionName=old AllowQos=ALL QoS=N/A MaxNodes=UNLIMITED MaxTime=1:00:00 MinNodes=1
"""
LSCPU = """Architecture:        x86_64
Model name:          AMD EPYC 7763 64-Core Processor
NUMA node(s):        8
Flags:               fpu avx2

# CPU,Core,Socket,Node
"""


def block_table() -> str:
    """What lscpu -p prints of 2 x 64 cores with two threads and 4 domains in a socket."""
    lines = []
    for cpu in range(256):
        core = cpu % 128
        lines.append(f"{cpu},{core},{core // 64},{core // 16}")
    return "\n".join(lines) + "\n"


def answer(words: Sequence[str], _seconds: float) -> str:
    match words[0]:
        case "sinfo":
            return NODES
        case "srun":
            assert "--partition=cpu" in words
            return LSCPU + block_table()
        case "sacctmgr":
            raise SlurmError("sacctmgr: access denied")
    return CONFIG if "config" in words else PARTITIONS


def test_the_kind_of_node_that_there_are_most_of_is_described() -> None:
    found = detect_system("2026-11-26", probe=False, ask=answer, which=lambda _: None)
    system = found.system
    assert (system.name, system.cluster) == ("big_cluster", "big_cluster")
    assert system.checked == "2026-11-26"
    node = system.node
    assert (node.sockets, node.cores_per_socket, node.threads_per_core) == (2, 64, 2)
    assert (node.memory_gb, node.local_gb) == (536, 0)
    assert [entry.limits for entry in system.partition] == [
        "cpu (1-1000 nodes, 1-00:00:00)",
        "all (2-512 nodes, 30-00:00:00)",
    ]
    slurm = system.slurm
    assert slurm is not None
    assert (slurm.launcher, slurm.launcher_options) == ("srun", ("--mpi=pmix",))
    assert not slurm.requeue
    assert slurm.forbidden.keys() == {"array"}
    assert {"node.numbering", "node.avx512", "slurm.modules"} <= {*system.unverified}
    said = "\n".join(found.notes)
    for note in (
        "all has no limit of wall time",
        "limits of the QOS wide",
        "other nodes, in old, have 2 x 12 cores",
        "can ask for milan, rack1, rack2",
        "does not tell its QOS",
    ):
        assert note in said


def test_a_node_is_asked_what_slurm_does_not_know() -> None:
    found = detect_system("2026-11-26", probe=True, ask=answer, which=lambda _: "/usr/bin/ibrun")
    node = found.system.node
    assert node.processor == "AMD EPYC 7763 64-Core Processor"
    assert (node.numa_per_socket, node.numbering, node.avx512) == (4, "block", "none")
    assert "node.numbering" not in found.system.unverified
    assert found.system.slurm is not None
    assert found.system.slurm.launcher == "ibrun"


@pytest.mark.parametrize("name", sorted(system_files(None)))
def test_the_file_of_a_system_is_the_system(name: str) -> None:
    system = msgspec.structs.replace(load_system(name), step_time=None)
    assert decode_toml(format_system(system), System, name) == system


@pytest.mark.slurm
@pytest.mark.parametrize("cluster", ["stampede2-knl", "frontera", "leonardo-dcgp"], indirect=True)
def test_jobs_planned_by_the_file_are_taken_at_each_limit_and_not_beyond(
    cluster: Cluster, tmp_path: Path
) -> None:
    file = tmp_path / "here.toml"
    done = subprocess.run(
        [sys.executable, "-m", "hvdtrain", "systems", "--detect", "-o", file],
        env={**slurm_environ(cluster.conf), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    system = load_system("here", tmp_path)
    assert system.cluster == "hvdtrain"
    origin = ScriptOrigin(command="c", hvdtrain="/h")

    def render(**asked: object) -> str:
        request = msgspec.convert({"system": "here", **asked}, JobRequest)
        return render_script(make_job(request, system, origin))

    for entry in system.partition:
        limit = format_walltime(entry.max_walltime_min)
        legal = render(partition=entry.name, nodes=entry.max_nodes, walltime=limit)
        answer = cluster.test_only(legal)
        assert answer.accepted, f"{entry.limits}: {answer.text}"
        for before, after, asked in (
            (
                f"--nodes={entry.max_nodes}\n",
                f"--nodes={entry.max_nodes + 1}\n",
                {"nodes": entry.max_nodes + 1, "walltime": limit},
            ),
            (
                f"--time={limit}\n",
                f"--time={format_walltime(entry.max_walltime_min + 1)}\n",
                {
                    "nodes": entry.max_nodes,
                    "walltime": format_walltime(entry.max_walltime_min + 1),
                },
            ),
        ):
            assert before in legal
            assert not cluster.test_only(legal.replace(before, after)).accepted
            with pytest.raises(InputError):
                render(partition=entry.name, **asked)
