"""A system file of the cluster that this runs on, from what Slurm says of it.

Facts that Slurm does not know, or does not tell, are marked as unverified, with a value that a job
can begin with.
"""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from hvdtrain.errors import RunError
from hvdtrain.plan.machine.system import Cores, Node, Partition, Slurm, System
from hvdtrain.plan.machine.topology import make_topology, parse_lscpu
from hvdtrain.processor import ITEX_FLAGS
from hvdtrain.slurm.command import ANSWER_SECONDS, SlurmError, complaint, plain_environ, run_slurm
from hvdtrain.units import parse_walltime_min

PROBE_SECONDS = 900.0
"""How long a job of one node may wait in the queue."""

_UNLIMITED_MIN = 43_200
"""Thirty days: the wall time of a partition that sets no limit."""

_TACC_TEMPLATE = "tacc.sh.j2"

Ask = Callable[[Sequence[str], float], str]
Which = Callable[[str], str | None]


@dataclass(frozen=True)
class Shape:
    """One kind of node: its sockets, cores of a socket, and hardware threads of a core."""

    sockets: int
    cores: int
    threads: int


@dataclass
class Kind:
    """The nodes of one shape.

    Attributes:
        counts: How many each partition has.
        memory_mb: The least that a job may have of a node's memory.
        disk_mb: The least file system for temporary files.
        features: What --constraint can ask for, of any of them.
    """

    counts: dict[str, int]
    memory_mb: int
    disk_mb: int
    features: set[str]


@dataclass(frozen=True)
class Detected:
    """What was found.

    Attributes:
        system: The cluster, and the kind of node that it has most of.
        notes: What else there is, and what could not be found out.
    """

    system: System
    notes: tuple[str, ...]


def ask_slurm(words: Sequence[str], seconds: float = ANSWER_SECONDS) -> str:
    """What a command prints.

    Raises:
        SlurmError: It is missing, does not answer, or fails.
    """
    done = run_slurm(words, seconds, plain_environ())
    if done.returncode != 0:
        raise SlurmError(f"{words[0]}: {complaint(done)}")
    return done.stdout


def detect_system(
    today: str, *, probe: bool, ask: Ask = ask_slurm, which: Which = shutil.which
) -> Detected:
    """The system file of the cluster that this runs on.

    Args:
        today: The date, as YYYY-MM-DD.
        probe: Whether a job of one node may be started, to ask it about its processor.
        ask: Runs a command of Slurm's and gives what it prints.
        which: Finds a program.

    Raises:
        SlurmError: Slurm is missing or does not answer.
        RunError: It has no nodes for us.
    """
    config = _pairs(ask(["scontrol", "show", "config"], ANSWER_SECONDS), r"^(\w+)\s*=\s*(.*?)\s*$")
    kinds = _kinds(ask(["sinfo", "--noheader", "--all", _SINFO], ANSWER_SECONDS))
    if not kinds:
        raise RunError("Slurm shows no nodes without accelerators here", "ask on a login node")
    shape = max(kinds, key=lambda each: max(kinds[each].counts.values()))
    kind = kinds[shape]
    partitions, notes = _partitions(
        ask(["scontrol", "--oneliner", "show", "partition"], ANSWER_SECONDS), kind.counts
    )
    node, sure = _node(shape, kind, _probe(ask, partitions[0]) if probe else None)
    slurm, doubts = _slurm(config, which)
    name = config.get("ClusterName", "cluster")
    system = System(
        name=re.sub(r"[^A-Za-z0-9._-]", "-", name),
        title=f"{name}, as Slurm describes it",
        cluster=name,
        source=f"sinfo and scontrol on {socket.gethostname()}",
        checked=today,
        unverified=(*(f"node.{key}" for key in _OF_THE_NODE if key not in sure), *doubts, "cores"),
        node=node,
        cores=Cores(comm_cores=_comm_cores(node), source="a choice: see hvdtrain cores"),
        slurm=slurm,
        partition=tuple(partitions),
    )
    for other in kinds.keys() - {shape}:
        places = ", ".join(sorted(kinds[other].counts))
        notes.append(f"other nodes, in {places}, have {other.sockets} x {other.cores} cores")
    if kind.features:
        notes.append(f"--set constraint=FEATURE can ask for {', '.join(sorted(kind.features))}")
    return Detected(system, (*notes, *_qos_notes(ask)))


# Partition, nodes, sockets, cores, threads, MB of memory and disk, features, accelerators.
_SINFO = "--format=%R|%D|%X|%Y|%Z|%m|%d|%f|%G"
# What Slurm does not know of a node.
_OF_THE_NODE = ("processor", "numa_per_socket", "numbering", "avx512", "staging")
_BY_LSCPU = ("processor", "numa_per_socket", "numbering", "avx512")


def _pairs(text: str, pattern: str) -> dict[str, str]:
    return dict(re.findall(pattern, text, re.MULTILINE))


def _kinds(said: str) -> dict[Shape, Kind]:
    """The kinds of nodes without accelerators."""
    found: dict[Shape, Kind] = {}
    for line in said.splitlines():
        partition, nodes, *numbers, features, accelerators = line.split("|")
        if "gpu" in accelerators or not int(nodes):
            continue
        # Slurm writes 64000+ where the nodes of a line differ.
        sockets, cores, threads, memory, disk = (int(text.rstrip("+")) for text in numbers)
        kind = found.setdefault(Shape(sockets, cores, threads), Kind({}, memory, disk, set()))
        kind.counts[partition] = kind.counts.get(partition, 0) + int(nodes)
        kind.memory_mb = min(kind.memory_mb, memory)
        kind.disk_mb = min(kind.disk_mb, disk)
        kind.features |= {*features.split(",")} - {"(null)"}
    return found


def _partitions(said: str, nodes: dict[str, int]) -> tuple[list[Partition], list[str]]:
    """The partitions with nodes of the kind, and what is to be said of them."""
    found, notes = [], []
    for line in said.splitlines():
        keys = dict(re.findall(r"(\w+)=(\S*)", line))
        name = keys.get("PartitionName", "")
        if name not in nodes:
            continue
        most = keys.get("MaxNodes", "UNLIMITED")
        longest = keys.get("MaxTime", "UNLIMITED")
        if longest == "UNLIMITED":
            notes.append(f"{name} has no limit of wall time: 30 days are written")
        if keys.get("QoS", "N/A") != "N/A":
            notes.append(f"{name} has the limits of the QOS {keys['QoS']} too: look them up")
        found.append(
            Partition(
                name=name,
                partition=name,
                min_nodes=int(keys.get("MinNodes", "1") or 1) or 1,
                max_nodes=nodes[name] if most == "UNLIMITED" else min(int(most), nodes[name]),
                max_walltime_min=_UNLIMITED_MIN
                if longest == "UNLIMITED"
                else parse_walltime_min(longest, name),
            )
        )
    return found, notes


def _probe(ask: Ask, partition: Partition) -> str:
    """What lscpu says on a node of a partition."""
    words = [
        *("srun", "--nodes=1", "--ntasks=1", "--time=5", f"--partition={partition.partition}"),
        *("--quiet", "sh", "-c", "lscpu; echo; lscpu -p=CPU,CORE,SOCKET,NODE"),
    ]
    return ask(words, PROBE_SECONDS)


def _node(shape: Shape, kind: Kind, said: str | None) -> tuple[Node, tuple[str, ...]]:
    """The node, and which of its facts are certain beside those that Slurm knows."""
    node = Node(
        processor="unknown",
        sockets=shape.sockets,
        cores_per_socket=shape.cores,
        threads_per_core=shape.threads,
        numbering="detect",
        avx512="none",
        memory_gb=max(1, kind.memory_mb * 2**20 // 10**9),
        local_gb=kind.disk_mb * 2**20 // 10**9,
    )
    if said is None:
        return node, ()
    whole, _, table = said.partition("\n\n")
    facts = _pairs(whole, r"^\s*([A-Z][\w() ]*?):\s+(.*?)\s*$")
    flags = facts.get("Flags", "").split()
    domains = int(facts.get("NUMA node(s)", shape.sockets))
    wide = [flag in flags for flag in ITEX_FLAGS]
    node = msgspec.structs.replace(
        node,
        processor=facts.get("Model name", "unknown"),
        numa_per_socket=max(1, domains // shape.sockets),
        avx512="full" if all(wide) else "partial" if wide[0] else "none",
    )
    seen = parse_lscpu(table)
    for numbering in ("block", "interleaved"):
        guess = msgspec.structs.replace(node, numbering=numbering)
        if make_topology(guess) == seen:
            return guess, _BY_LSCPU
    return node, _BY_LSCPU


def _slurm(config: dict[str, str], which: Which) -> tuple[Slurm, list[str]]:
    """How jobs are started here, and what of it is a guess."""
    tacc = which("ibrun") is not None
    most_tasks = int(config.get("MaxArraySize", "1001"))
    forbidden = {} if most_tasks > 1 else {"array": "this Slurm takes no job arrays"}
    default = config.get("MpiDefault", "none")
    slurm = Slurm(
        launcher="ibrun" if tacc else "srun",
        launcher_options=() if tacc or default == "none" else (f"--mpi={default}",),
        mpi="openmpi" if default.startswith("pmix") else "intel",
        template=_TACC_TEMPLATE if tacc else "slurm.sh.j2",
        forbidden=forbidden,
        requeue=config.get("JobRequeue", "1") == "1",
        max_array_tasks=max(1, most_tasks - 1),
    )
    doubts = ["slurm.launcher", "slurm.mpi", "slurm.modules", "slurm.account_required"]
    return slurm, doubts


def _comm_cores(node: Node) -> int:
    """As in the paper on Skylake, 2 of a socket; none where there are few."""
    return 2 * node.sockets if node.cores_per_socket >= 16 else 0


def _qos_notes(ask: Ask) -> list[str]:
    """The QOS that there are, where the accounting may be asked."""
    words = ["sacctmgr", "--noheader", "--parsable2", "show", "qos", "format=name"]
    try:
        names = ask(words, ANSWER_SECONDS).split()
    except SlurmError:
        return ["the accounting does not tell its QOS: --qos is not checked"]
    return [f"QOS: {', '.join(names)}: their limits are not in the file"] if names else []
