"""Whether the training data fits on a node, and how long the nodes take to copy it."""

from __future__ import annotations

import math

import msgspec

from hvdtrain.errors import InputError
from hvdtrain.files.numbers import Count
from hvdtrain.plan.machine.packed import Packed
from hvdtrain.plan.machine.system import Node
from hvdtrain.plan.method.run_plan import RunPlan
from hvdtrain.units import format_bytes

MEMORY_FOLDER = "/dev/shm"
"""What lies here takes memory of the node; by the kernel's default at most half of it."""

RANK_BYTES, IMAGE_BYTES = 1.1e9, 0.1e9
"""Memory of a rank, and for each image of its batch: ResNet-50 with 32 images of 224 x 224 in fp32
takes 4.3 GB (docs/performance.md)."""

NODE_BYTES_PER_SECOND = 0.5e9
SHARED_BYTES_PER_SECOND = 100e9
"""Assumed, not measured: what a node copies and checks, and what all nodes together read."""

MANY_FILES = 20_000
"""More of them than a training needs shards. Every node opens each of them once."""


class DataSize(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a job will copy to each node.

    Attributes:
        files: How many files.
        size_bytes: Of all of them.
        more: Whether there are more, which nobody has counted.
    """

    files: Count
    size_bytes: Count
    more: bool = False


def require_room(data: DataSize, node: Node, run: RunPlan, packed: Packed | None) -> None:
    """Raise where the data cannot be on a node while it trains.

    Raises:
        InputError: It cannot; the message says what fits.
    """
    room = _room(node, run, packed)
    if room is not None and data.size_bytes > room:
        raise InputError(
            "--data",
            format_bytes(data.size_bytes),
            f"at most {format_bytes(max(room, 0))}: what {node.staging} of a node holds beside the "
            "training",
            "hvdtrain prepare-data FOLDER SHARDS --shards 1024 --size 256 makes 40 GB of ImageNet; "
            "or name a local disk as node.staging in the system file",
        )


def copy_minutes(data: DataSize, nodes: int) -> int:
    """Whole minutes until every node has its copy."""
    seconds = max(
        data.size_bytes / NODE_BYTES_PER_SECOND, data.size_bytes * nodes / SHARED_BYTES_PER_SECOND
    )
    return math.ceil(seconds / 60)


def fit_notes(data: DataSize, node: Node, nodes: int) -> tuple[str, ...]:
    """What is worth saying of data that fits."""
    notes = []
    half = node.memory_gb * 1e9 / 2
    if node.staging.startswith(MEMORY_FOLDER) and data.size_bytes > half:
        notes.append(
            f"the data takes {format_bytes(data.size_bytes)}: {node.staging} holds half of the "
            f"memory, {format_bytes(half)}, unless the site has changed that"
        )
    if data.files >= MANY_FILES:
        count = f"{'more than ' if data.more else ''}{data.files} files"
        notes.append(
            f"the data is {count}, which each of {nodes} nodes opens: `hvdtrain prepare-data` "
            "makes shards of them"
        )
    return tuple(notes)


def _room(node: Node, run: RunPlan, packed: Packed | None) -> float | None:
    """Bytes of a node for the data; None: not known."""
    program = packed.unpacked_bytes if packed else 0
    if not node.staging.startswith(MEMORY_FOLDER):
        return node.local_gb * 1e9 - program if node.local_gb else None
    return node.memory_gb * 1e9 - program - training_bytes(run)


def training_bytes(run: RunPlan) -> float:
    """Memory that the ranks of a node train in."""
    pixels = (run.model.image_size / 224) ** 2
    image = IMAGE_BYTES * pixels if run.model.name == "resnet50" else 0
    return run.ranks_per_node * (RANK_BYTES + run.rank_batch * image)
