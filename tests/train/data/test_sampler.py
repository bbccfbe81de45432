"""The order of examples: what would train wrong without anyone noticing."""

from __future__ import annotations

from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdtrain.errors import RunError
from hvdtrain.train.data.sampler import (
    Shard,
    augmentation_keys,
    permute,
    step_examples,
    substitute,
    validation_examples,
)

SEEDS = st.integers(0, 2**31 - 1)
EPOCHS = st.integers(0, 1000)


def epoch_of(images: int, seed: int, epoch: int, shard: Shard) -> list[list[int]]:
    """One rank's examples of each step."""
    permutation = permute(images, seed, epoch)
    steps = images // shard.global_batch
    return [step_examples(permutation, step, shard).tolist() for step in range(steps)]


@settings(deadline=None)
@given(SEEDS, EPOCHS, st.integers(1, 500), st.integers(1, 7), st.integers(1, 9))
def test_no_example_comes_twice_and_every_rank_gets_the_same_number(
    seed: int, epoch: int, images: int, ranks: int, rank_batch: int
) -> None:
    shards = [Shard(rank, ranks, rank_batch) for rank in range(ranks)]
    by_rank = [epoch_of(images, seed, epoch, shard) for shard in shards]
    steps = images // (ranks * rank_batch)
    assert all([len(batch) for batch in rank] == [rank_batch] * steps for rank in by_rank)
    seen = [example for rank in by_rank for batch in rank for example in batch]
    assert len(seen) == len(set(seen)) == steps * ranks * rank_batch
    assert all(0 <= example < images for example in seen)


@settings(deadline=None)
@given(SEEDS, EPOCHS, st.integers(24, 500))
def test_a_step_has_the_same_examples_however_many_ranks_share_them(
    seed: int, epoch: int, images: int
) -> None:
    def steps_over(ranks: int) -> list[list[int]]:
        parts = [epoch_of(images, seed, epoch, Shard(r, ranks, 24 // ranks)) for r in range(ranks)]
        return [[*chain(*batches)] for batches in zip(*parts, strict=True)]

    assert steps_over(1) == steps_over(2) == steps_over(3) == steps_over(8)


def test_the_order_is_pinned() -> None:
    """A checkpoint names a position in this order, so it must never change."""
    assert permute(10, seed=1, epoch=2).tolist() == [1, 4, 5, 0, 7, 6, 8, 2, 3, 9]


def test_the_order_changes_with_seed_and_epoch() -> None:
    orders = [permute(100, seed, epoch).tolist() for seed, epoch in [(0, 0), (0, 1), (1, 0)]]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert all(a != b for a, b in [*pairwise(orders), (orders[0], orders[2])])


def test_the_dropped_rest_differs_between_epochs() -> None:
    dropped = {tuple(sorted(permute(10, 0, epoch)[8:].tolist())) for epoch in range(20)}
    assert len(dropped) > 10


def test_augmentation_keys_differ_between_epochs_and_seeds_and_fit_int64() -> None:
    keys = [augmentation_keys(seed, epoch) for seed in range(10) for epoch in range(10)]
    assert len({number for pair in keys for number in pair.tolist()}) == 200
    assert all(pair.dtype == np.int64 and (pair >= 0).all() for pair in keys)


@settings(deadline=None)
@given(st.integers(2, 60), st.data())
def test_a_substitute_does_not_depend_on_when_corrupt_examples_were_found(
    images: int, data: st.DataObject
) -> None:
    permutation = permute(images, 3, 4)
    corrupt = data.draw(st.sets(st.integers(0, images - 1), min_size=1, max_size=images - 1))
    shard = Shard(0, 1, images)
    known = step_examples(permutation, 0, shard, corrupt).tolist()
    met: set[int] = set()
    found = []
    for i in range(images):
        while (example := int(step_examples(permutation, 0, shard, met)[i])) in corrupt:
            met.add(example)
        found.append(example)
    assert known == found
    sound = [e for e in permutation.tolist() if e not in corrupt]
    assert [e for e, own in zip(known, permutation, strict=True) if e == own] == sound


def test_nothing_can_stand_in_when_all_are_corrupt() -> None:
    with pytest.raises(RunError, match="no training image"):
        substitute(permute(3, 0, 0), 0, {0, 1, 2})


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 40))
def test_validation_shares_are_disjoint_complete_and_differ_by_one(images: int, ranks: int) -> None:
    shares = [validation_examples(images, Shard(rank, ranks, 4)).tolist() for rank in range(ranks)]
    assert sorted(chain(*shares)) == list(range(images))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(SEEDS, st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_accumulated_batches_are_the_examples_of_one_large_batch(
    seed: int, ranks: int, rank_batch: int, batches: int
) -> None:
    for rank in range(ranks):
        parts = Shard(rank, ranks, rank_batch, batches)
        whole = Shard(rank, ranks, rank_batch * batches)
        assert parts.global_batch == whole.global_batch
        assert epoch_of(70, seed, 0, parts) == epoch_of(70, seed, 0, whole)
