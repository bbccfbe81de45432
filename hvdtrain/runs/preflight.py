"""The report of `hvdtrain preflight`: what the ranks found out about themselves before training."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from hvdtrain.files.numbers import Count, NonNegativeFloat, PositiveFloat, PositiveInt
from hvdtrain.runs.record import RankPlacement, ReductionBackend, Versions

SCHEMA_VERSION: Final = 1
Check = Literal["world", "versions", "plan", "data", "allreduce", "affinity"]
Kind = Literal["compute", "memory"]


class AllreduceTime(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One size of the checked allreduce.

    Attributes:
        bytes: What each rank gives.
        seconds: Mean over the repetitions, of the slowest rank; one that is slow is not repeated.
    """

    bytes: PositiveInt
    seconds: PositiveFloat

    def bus_gb_per_second(self, ranks: int) -> float:
        """What each rank must send and receive in any algorithm, per second: 2 (n - 1) / n."""
        return 2 * (ranks - 1) / ranks * self.bytes / self.seconds / 1e9


class NodeSpeed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a node's ranks reach together, on their compute cores, at the same time.

    Attributes:
        host: Name of the node.
        gflop_per_second: A 3x3 convolution of 256 channels, fp32.
        triad_gb_per_second: v = v - s x on arrays that no cache holds; 12 bytes for each element.
    """

    host: str
    gflop_per_second: PositiveFloat
    triad_gb_per_second: PositiveFloat


class SlowNode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A node that is slower than the others: see `hvdtrain.train.health.outliers` for the rule.

    Attributes:
        host: Name of the node.
        what: `compute` or `memory`.
        ratio: Median speed of the others divided by its own.
    """

    host: str
    what: Kind
    ratio: PositiveFloat


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Why a job should not train.

    Attributes:
        check: What was looked at.
        text: What is wrong, and on which ranks.
        fix: What to do about it.
        hosts: Nodes that the next job had better leave out.
    """

    check: Check
    text: str
    fix: str
    hosts: tuple[str, ...] = ()


class Preflight(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `preflight.json` holds.

    Attributes:
        started: UTC, ISO 8601.
        seconds: From the start of rank 0, before it loads anything, to the report.
        launcher: Who started the ranks.
        ranks: The launcher's word, MPI's and Horovod's: they agree.
        hosts: Node names, in order of rank, each once.
        versions: Of rank 0.
        plan_sha256: Of rank 0's plan; None where it could not make one.
        fingerprint: Of the data that rank 0 sees; empty for synthetic images.
        reduction: Horovod's back end.
        algorithm: Of the allreduce, as far as the environment says.
        allreduce: Its time for each size; empty for one rank.
        nodes: How fast each node is, in the order of `hosts`.
        slow: Nodes that are slower than the others, slowest first.
        placement: Where the threads of every rank may run.
        attested: Whether that was compared with a core map; False without one, or when the
            user did not want it.
        faults: Why not to train; empty: nothing speaks against it.
        exclude: The option of sbatch that leaves out the nodes at fault and the slow ones; empty
            when there are none.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    started: str
    seconds: NonNegativeFloat
    launcher: str
    ranks: PositiveInt
    hosts: tuple[str, ...]
    versions: Versions
    plan_sha256: str | None
    fingerprint: str
    reduction: ReductionBackend
    algorithm: str
    allreduce: tuple[AllreduceTime, ...]
    nodes: tuple[NodeSpeed, ...]
    slow: tuple[SlowNode, ...]
    placement: tuple[RankPlacement, ...]
    attested: bool
    faults: tuple[Fault, ...]
    exclude: str

    @property
    def excluded(self) -> str:
        """The nodes to leave out, as Slurm writes them: `n[1-3,7]`; empty: none."""
        return self.exclude.partition("=")[2]

    @property
    def excluded_hosts(self) -> int:
        """How many these are."""
        slow = {node.host for node in self.slow}
        return len(slow.union(*(fault.hosts for fault in self.faults)))


class RankAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What one rank says before anything is measured.

    Attributes:
        rank: From 0.
        host: Name of its node.
        versions: What it has loaded.
        plan_sha256: Of the plan that it makes; None: it cannot.
        fingerprint: Of the data that it sees; empty: synthetic images, or it sees none.
        input_error: Why it cannot make a plan.
    """

    rank: Count
    host: str
    versions: Versions
    plan_sha256: str | None = None
    fingerprint: str = ""
    input_error: str | None = None
