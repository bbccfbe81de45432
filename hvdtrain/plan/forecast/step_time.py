"""The seconds of a training step: what a node computes, and what of the ring allreduce shows."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hvdtrain.files.decode import FieldError
from hvdtrain.files.fields import Line
from hvdtrain.files.numbers import Fraction, WrittenPositiveInt, WrittenSeconds
from hvdtrain.plan.method.model import ModelSpec

BACKWARD_SHARE = 2 / 3
"""Of the computation: the backward pass multiplies twice where the forward pass does once."""


class Ring(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The ring allreduce of the gradients over the nodes, as seconds.

        2 (N - 1) hop + 2 (N - 1) / N (transfer + far crowding),  far = max(0, 1 - section / N)

    Each of the 2 (N - 1) messages of a ring takes a latency, and together they carry 2 (N - 1) / N
    times the gradients. Beyond a section of the machine, a neighbour in the ring is outside one's
    own section with the probability `far`, and what goes there shares the upper links.

    Attributes:
        hop_seconds: Latency of one message, seconds.
        transfer_seconds: Bytes of the gradients over the bandwidth of a node's link.
        crowding_seconds: What the same bytes take longer where all of them leave the section.
        section_nodes: Nodes up to which nothing is shared.
    """

    hop_seconds: WrittenSeconds = 0.0
    transfer_seconds: WrittenSeconds = 0.0
    crowding_seconds: WrittenSeconds = 0.0
    section_nodes: WrittenPositiveInt = 1

    def seconds(self, nodes: int) -> float:
        """Seconds of one allreduce over so many nodes; 0 on one."""
        hops, passes, far = ring_terms(nodes, self.section_nodes)
        transfer = passes * self.transfer_seconds + far * self.crowding_seconds
        return hops * self.hop_seconds + transfer


def ring_terms(nodes: int, section_nodes: int) -> tuple[float, float, float]:
    """Messages one after the other; times that the gradients pass a link; times that they go far.

    Source: 2 (N - 1) messages of 1 / N of the bytes each, Patarasuk and Yuan (2009).
    """
    passes = 2 * (nodes - 1) / nodes
    return 2.0 * (nodes - 1), passes, passes * max(0.0, 1 - section_nodes / nodes)


class StepTime(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the seconds of a training step follow from the images of a node and the nodes.

        compute = fixed + image x micro_batch
        step    = accumulate x compute + max(0, ring(nodes) - overlap x 2/3 x compute)

    A node's throughput saturates: at fixed / image images it is half of what it can be. Only the
    backward pass of the last micro-batch can hide the reduction, and 2/3 is its share.

    Attributes:
        image_seconds: Seconds per image of a node.
        fixed_seconds: Seconds of every pass over the network, however small the batch.
        overlap: Share of the backward pass in which the reduction makes progress.
        ring: Seconds of the ring allreduce.
        error: Largest relative error when each row is forecast from all others. The interval of a
            forecast is the step time times 1 - error and 1 + error.
        fitted_nodes: Fewest and most nodes that it was fitted to.
        fitted_batch: Smallest and largest node batch that it was fitted to.
        model: The model whose steps were measured. Another one computes and sends another amount.
        source: What it was fitted to, and whose software that was.
    """

    image_seconds: Annotated[float, Meta(gt=0, le=1e6)]
    fixed_seconds: WrittenSeconds
    overlap: Fraction = 0.0
    ring: Ring
    error: Fraction
    fitted_nodes: tuple[WrittenPositiveInt, WrittenPositiveInt]
    fitted_batch: tuple[WrittenPositiveInt, WrittenPositiveInt]
    model: ModelSpec = ModelSpec()
    source: Line

    def __post_init__(self) -> None:
        for field in ("fitted_nodes", "fitted_batch"):
            first, last = getattr(self, field)
            if first > last:
                raise FieldError(field, [first, last], "the smaller number first")

    def compute_seconds(self, micro_batch: int) -> float:
        """Seconds in which a node computes the gradients of so many images."""
        return self.fixed_seconds + self.image_seconds * micro_batch

    def step_seconds(self, micro_batch: int, nodes: int, accumulate: int = 1) -> float:
        """Seconds of one update.

        Args:
            micro_batch: Images of a node that are computed at once.
            nodes: Nodes of the ring, 1 or more.
            accumulate: Batches of a rank in one update, 1 or more.
        """
        compute = self.compute_seconds(micro_batch)
        hidden = self.overlap * BACKWARD_SHARE * compute
        return accumulate * compute + max(0.0, self.ring.seconds(nodes) - hidden)

    def is_fitted(self, micro_batch: int, nodes: int) -> bool:
        """Whether these lie within what it was fitted to."""
        fewest, most = self.fitted_nodes
        smallest, largest = self.fitted_batch
        return fewest <= nodes <= most and smallest <= micro_batch <= largest
