"""Judges what the ranks of a preflight have said and measured. Pure, and the same on every rank."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence

from hvdtrain.names import name_ranks, name_some
from hvdtrain.runs.preflight import Check, Fault, Kind, NodeSpeed, RankAnswer, SlowNode
from hvdtrain.train.health.outliers import find_slow
from hvdtrain.units import format_cpu_list


def judge_shape(
    hosts: Sequence[str], nodes: int | None, ranks_per_node: int | None
) -> tuple[Fault, ...]:
    """Whether the launcher has started what was planned, evenly over the nodes.

    Args:
        hosts: Host name of every rank, in order of rank.
        nodes: Planned nodes; None: any number.
        ranks_per_node: Planned ranks on each node; None: any number.
    """
    counts = Counter(hosts)
    fix = "make --nodes and --ranks-per-node equal to what the launcher starts"
    if nodes is not None and ranks_per_node is not None and nodes * ranks_per_node != len(hosts):
        text = (
            f"the plan is for {nodes} nodes x {ranks_per_node} ranks and {len(hosts)} ranks were "
            f"started on {len(counts)} nodes"
        )
        return (Fault(check="world", text=text, fix=fix),)
    if len(set(counts.values())) > 1:
        most, fewest = counts.most_common()[0], counts.most_common()[-1]
        text = f"{most[1]} ranks were started on {most[0]} and {fewest[1]} on {fewest[0]}"
        return (Fault(check="world", text=text, fix="start as many ranks on every node"),)
    return ()


def judge_sameness(answers: Sequence[RankAnswer]) -> tuple[Fault, ...]:
    """Whether all ranks run the same program, make the same plan and see the same data."""
    faults = []
    versions = _odd_ranks(answers, lambda answer: answer.versions)
    if versions:
        fix = "give every node the same installation"
        faults.append(_fault("versions", "other versions of the stack", versions, answers, fix))
    data = _odd_ranks(answers, lambda answer: (answer.fingerprint, answer.input_error))
    if data:
        fix = "give every node the same files; a node may have run out of space for its copy"
        faults.append(_fault("data", "other data", data, answers, fix))
    plan = _odd_ranks(answers, lambda answer: answer.plan_sha256)
    if plan and not data:
        fix = "start every rank with the same options and the same recipe file"
        faults.append(_fault("plan", "another plan", plan, answers, fix))
    return tuple(faults)


def judge_sums(wrong: Sequence[tuple[int, ...]], hosts: Sequence[str]) -> tuple[Fault, ...]:
    """Whether every sum of the allreduce was right.

    Args:
        wrong: Of every rank: the sizes in bytes whose sum was wrong.
        hosts: Host name of every rank, in order of rank.
    """
    ranks = [rank for rank, sizes in enumerate(wrong) if sizes]
    if not ranks:
        return ()
    sizes = sorted({size for sizes in wrong for size in sizes})
    text = f"wrong sum of {', '.join(map(str, sizes))} bytes on {_name(ranks, hosts)}"
    fix = "try HOROVOD_CPU_OPERATIONS=MPI and another allreduce algorithm; report the nodes"
    # A wrong sum travels: the ranks that have it are not those that made it.
    return (Fault(check="allreduce", text=text, fix=fix),)


def find_slow_nodes(nodes: Sequence[NodeSpeed]) -> tuple[SlowNode, ...]:
    """Nodes that compute or move data slower than the others, slowest first."""
    speeds: tuple[tuple[Kind, list[float]], ...] = (
        ("compute", [1 / node.gflop_per_second for node in nodes]),
        ("memory", [1 / node.triad_gb_per_second for node in nodes]),
    )
    found = [
        SlowNode(host=nodes[slow.index].host, what=what, ratio=slow.ratio)
        for what, seconds in speeds
        for slow in find_slow(seconds)
    ]
    return tuple(sorted(found, key=lambda slow: -slow.ratio))


def exclude_option(hosts: Sequence[str]) -> str:
    """The option of sbatch that leaves nodes out; empty for none."""
    names = format_hostlist(node_name(host) for host in hosts)
    return f"--exclude={names}" if names else ""


def _odd_ranks(
    answers: Sequence[RankAnswer], key: Callable[[RankAnswer], Hashable]
) -> list[RankAnswer]:
    """Those that do not say what most say; in a tie, what the lowest rank says counts."""
    counts = Counter(key(answer) for answer in answers)
    usual = counts.most_common(1)[0][0]
    return [answer for answer in answers if key(answer) != usual]


def _fault(
    check: Check, what: str, odd: Sequence[RankAnswer], answers: Sequence[RankAnswer], fix: str
) -> Fault:
    hosts = [answer.host for answer in answers]
    errors = [answer.input_error for answer in odd if answer.input_error]
    text = f"{what} than most of the {len(answers)} ranks: {_name([a.rank for a in odd], hosts)}"
    if errors:
        text += f": {errors[0]}"
    bad = tuple(dict.fromkeys(answer.host for answer in odd))
    # Where a node's own ranks differ it is not the node.
    good = {answer.host for answer in answers} - set(bad)
    return Fault(check=check, text=text, fix=fix, hosts=bad if good else ())


def _name(ranks: Sequence[int], hosts: Sequence[str]) -> str:
    nodes = tuple(dict.fromkeys(hosts[rank] for rank in ranks))
    return f"{name_ranks(ranks)} on {name_some(nodes, what='nodes')}"


_NUMBERED = re.compile(r"(.*?)([0-9]{1,9})", re.ASCII)
_NODE_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?", re.ASCII)


def format_hostlist(names: Iterable[str]) -> str:
    """The names, each once, sorted, with ranges of numbers of equal width folded.

    What cannot be the name of a node is left out: the names come from the nodes themselves, and
    the list goes onto a command line.
    """
    groups: dict[tuple[str, int], set[int]] = {}
    plain = set()
    for name in names:
        if not _NODE_NAME.fullmatch(name):
            continue
        match = _NUMBERED.fullmatch(name)
        if match is None:
            plain.add(name)
        else:
            groups.setdefault((match[1], len(match[2])), set()).add(int(match[2]))
    folded = [_fold(prefix, width, numbers) for (prefix, width), numbers in sorted(groups.items())]
    return ",".join([*folded, *sorted(plain)])


def node_name(host: str) -> str:
    """What Slurm calls a node, from its host name: without the domain."""
    return host.partition(".")[0]


def _fold(prefix: str, width: int, numbers: set[int]) -> str:
    if len(numbers) == 1:
        return f"{prefix}{min(numbers):0{width}d}"
    ranges = re.sub(r"[0-9]+", lambda found: found[0].zfill(width), format_cpu_list(numbers))
    return f"{prefix}[{ranges}]"
