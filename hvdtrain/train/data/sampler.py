"""Which examples each rank reads in each step: a pure function of seed, step and rank.

The permutations of the epochs follow one another without end. Step s takes the s-th block of
global_batch examples from that row, and each rank its part of that block. So no example comes twice
in an epoch, nor more than once more than any other in a whole run; every rank has the same number
of steps, a step's examples do not depend on how many ranks share them, and a run can start at any
step without reading what went before. A block may hold the rest of one epoch and the beginning of
the next.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hvdtrain.errors import RunError

Examples = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shard:
    """One rank's part of every global batch.

    Attributes:
        rank: 0 .. ranks - 1.
        ranks: Ranks of the whole run.
        rank_batch: Images that a rank computes at once.
        batches: Such batches of a rank in a step.
    """

    rank: int
    ranks: int
    rank_batch: int
    batches: int = 1

    @property
    def rank_images(self) -> int:
        """Images per rank and step."""
        return self.rank_batch * self.batches

    @property
    def global_batch(self) -> int:
        """Images per step over all ranks."""
        return self.ranks * self.rank_images


def permute(images: int, seed: int, epoch: int) -> Examples:
    """The order of all examples in one epoch: int64 [images], a permutation of 0 .. images - 1.

    Args:
        images: Training images, at least 1.
        seed: 0 .. 2^64 - 1.
        epoch: Epoch, counted from 0.
    """
    key = np.array([seed, epoch], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).permutation(images)


def augmentation_keys(seed: int, epoch: int) -> Examples:
    """Two numbers that, with an example's index, seed its random crop and its flip: int64 [2]."""
    state = np.random.SeedSequence([seed, epoch]).generate_state(2, np.uint64)
    return (state >> np.uint64(1)).astype(np.int64)


@dataclass(frozen=True)
class Part:
    """What a rank reads in one step from one epoch.

    Attributes:
        epoch: Counted from 0.
        first: Place of the first example in the permutation of the epoch.
        images: Examples, at least 1.
    """

    epoch: int
    first: int
    images: int


def step_parts(step: int, epoch_images: int, shard: Shard) -> Iterator[Part]:
    """Where a rank reads in one step: in one epoch, or at the end of one and in the next.

    Args:
        step: Step of the run, counted from 0.
        epoch_images: Examples that are taken from each permutation, from its first on.
        shard: The rank's part of every global batch.
    """
    position = step * shard.global_batch + shard.rank * shard.rank_images
    end = position + shard.rank_images
    while position < end:
        epoch, first = divmod(position, epoch_images)
        images = min(end - position, epoch_images - first)
        yield Part(epoch, first, images)
        position += images


def step_examples(
    permutation: Callable[[int], Examples],
    step: int,
    epoch_images: int,
    shard: Shard,
    corrupt: Collection[int] = (),
) -> tuple[Examples, Examples]:
    """What one rank reads in one step, batch after batch.

    Args:
        permutation: The order of examples in an epoch, int64 [images].
        step: Step of the run, counted from 0.
        epoch_images: Examples that are taken from each permutation, from its first on.
        shard: The rank's part of every global batch.
        corrupt: Examples that cannot be decoded; each is replaced by `substitute`.

    Returns:
        The examples, and the epoch of each, counted from 0: both int64 [rank_images].
    """
    parts = list(step_parts(step, epoch_images, shard))
    examples = np.concatenate([_read_part(permutation(p.epoch), p, corrupt) for p in parts])
    epochs = np.repeat([part.epoch for part in parts], [part.images for part in parts])
    return examples, epochs


def _read_part(permutation: Examples, part: Part, corrupt: Collection[int]) -> Examples:
    examples = permutation[part.first : part.first + part.images].copy()
    if corrupt:
        for i, example in enumerate(examples.tolist()):
            if example in corrupt:
                examples[i] = substitute(permutation, part.first + i, corrupt)
    return examples


def substitute(permutation: Examples, position: int, corrupt: Collection[int]) -> int:
    """The example that stands in for a corrupt one: the next sound one half an epoch away.

    It depends on the position in the order and on what is corrupt, not on when that was noticed.
    Half an epoch away it is as good as never in the same step.

    Raises:
        RunError: All examples are corrupt.
    """
    images = len(permutation)
    for distance in range(images):
        example = int(permutation[(position + images // 2 + distance) % images])
        if example not in corrupt:
            return example
    raise RunError("no training image can be decoded", "check the data")


def validation_batch(images: int, shard: Shard) -> int:
    """Images that a rank evaluates at once, the same on all ranks: at most 1.5 rank batches.

    The largest share is cut into equal batches, as many as come nearest to the rank batch, so that
    no rank makes a pass of its own for a last image. Evaluation keeps no activations: a somewhat
    larger batch needs less memory than training.
    """
    share = -(-images // shard.ranks)
    batches = max(1, (2 * share + shard.rank_batch) // (2 * shard.rank_batch))
    return -(-share // batches)


def validation_examples(images: int, shard: Shard) -> Examples:
    """The validation examples of one rank: every `ranks`-th, so ranks differ by at most one."""
    return np.arange(shard.rank, images, shard.ranks, dtype=np.int64)
