"""The order of examples: what would train wrong without anyone noticing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import chain, count, islice, pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hvdtrain.errors import RunError
from hvdtrain.train.data.sampler import (
    Examples,
    Shard,
    augmentation_keys,
    permute,
    step_examples,
    substitute,
    validation_batch,
    validation_examples,
)

SEEDS = st.integers(0, 2**31 - 1)


Order = Callable[[int], Examples]


def order_of(images: int, seed: int) -> Order:
    return functools.cache(lambda epoch: permute(images, seed, epoch))


def steps_of(
    images: int, seed: int, shard: Shard, steps: range, epoch_images: int | None = None
) -> list[list[int]]:
    """One rank's examples of each step."""
    order = order_of(images, seed)
    found = (step_examples(order, step, epoch_images or images, shard) for step in steps)
    return [examples.tolist() for examples, _ in found]


@settings(deadline=None)
@given(SEEDS, st.integers(1, 200), st.integers(1, 5), st.integers(1, 7), st.integers(0, 60))
def test_every_example_is_seen_equally_often_and_every_rank_gets_the_same_number(
    seed: int, images: int, ranks: int, rank_batch: int, steps: int
) -> None:
    assume(ranks * rank_batch <= images)
    shards = [Shard(rank, ranks, rank_batch) for rank in range(ranks)]
    by_rank = [steps_of(images, seed, shard, range(steps)) for shard in shards]
    assert all([len(batch) for batch in rank] == [rank_batch] * steps for rank in by_rank)
    in_turn = [example for batches in zip(*by_rank, strict=True) for example in chain(*batches)]
    seen = np.bincount(np.array(in_turn, np.int64), minlength=images)
    assert len(seen) == images and seen.sum() == steps * ranks * rank_batch
    assert seen.max() - seen.min() <= 1
    # Epoch after epoch: whatever is seen is the permutations one behind the other.
    order = order_of(images, seed)
    whole = chain.from_iterable(order(epoch).tolist() for epoch in count())
    assert in_turn == list(islice(whole, len(in_turn)))


@settings(deadline=None)
@given(SEEDS, st.integers(1, 200), st.integers(1, 7), st.integers(0, 40), st.integers(0, 40))
def test_a_step_is_the_same_wherever_a_run_goes_on(
    seed: int, images: int, rank_batch: int, first: int, more: int
) -> None:
    assume(2 * rank_batch <= images)
    for rank in range(2):
        shard = Shard(rank, 2, rank_batch)
        whole = steps_of(images, seed, shard, range(first + more))
        assert steps_of(images, seed, shard, range(first, first + more)) == whole[first:]


@settings(deadline=None)
@given(SEEDS, st.integers(1, 200), st.integers(1, 5), st.integers(1, 7), st.integers(0, 30))
def test_an_epoch_of_whole_batches_leaves_out_the_rest_as_earlier_versions_did(
    seed: int, images: int, ranks: int, rank_batch: int, step: int
) -> None:
    shard = Shard(ranks - 1, ranks, rank_batch)
    assume(shard.global_batch <= images)
    whole = images // shard.global_batch
    epoch, within = divmod(step, whole)
    first = within * shard.global_batch + shard.rank * shard.rank_images
    (found,) = steps_of(images, seed, shard, range(step, step + 1), whole * shard.global_batch)
    assert found == permute(images, seed, epoch)[first : first + rank_batch].tolist()


def test_a_step_names_the_epoch_of_each_example() -> None:
    # 10 images in steps of 8: the second step has 2 images of the first epoch, 6 of the second.
    shards = [Shard(rank, 2, 4) for rank in range(2)]
    epochs = [step_examples(order_of(10, 0), 1, 10, shard)[1].tolist() for shard in shards]
    assert epochs == [[0, 0, 1, 1], [1, 1, 1, 1]]


@settings(deadline=None)
@given(SEEDS, st.integers(0, 1000), st.integers(24, 500))
def test_a_step_has_the_same_examples_however_many_ranks_share_them(
    seed: int, first: int, images: int
) -> None:
    def steps_over(ranks: int) -> list[list[int]]:
        shards = [Shard(rank, ranks, 24 // ranks) for rank in range(ranks)]
        parts = [steps_of(images, seed, shard, range(first, first + 30)) for shard in shards]
        return [[*chain(*batches)] for batches in zip(*parts, strict=True)]

    assert steps_over(1) == steps_over(2) == steps_over(3) == steps_over(8)


def test_the_order_is_pinned() -> None:
    """A checkpoint names a position in this order, so it must never change."""
    assert permute(10, seed=1, epoch=2).tolist() == [1, 4, 5, 0, 7, 6, 8, 2, 3, 9]


def test_the_order_changes_with_seed_and_epoch() -> None:
    orders = [permute(100, seed, epoch).tolist() for seed, epoch in [(0, 0), (0, 1), (1, 0)]]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert all(a != b for a, b in [*pairwise(orders), (orders[0], orders[2])])


def test_augmentation_keys_differ_between_epochs_and_seeds_and_fit_int64() -> None:
    keys = [augmentation_keys(seed, epoch) for seed in range(10) for epoch in range(10)]
    assert len({number for pair in keys for number in pair.tolist()}) == 200
    assert all(pair.dtype == np.int64 and (pair >= 0).all() for pair in keys)


@settings(deadline=None)
@given(st.integers(2, 60), st.data())
def test_a_substitute_does_not_depend_on_when_corrupt_examples_were_found(
    images: int, data: st.DataObject
) -> None:
    order = order_of(images, 3)
    permutation = order(0)
    corrupt = data.draw(st.sets(st.integers(0, images - 1), min_size=1, max_size=images - 1))
    shard = Shard(0, 1, images)
    known = step_examples(order, 0, images, shard, corrupt)[0].tolist()
    met: set[int] = set()
    found = []
    for i in range(images):
        while (example := int(step_examples(order, 0, images, shard, met)[0][i])) in corrupt:
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


@given(st.integers(1, 10**5), st.integers(1, 2000), st.integers(1, 64))
def test_no_rank_makes_a_pass_of_its_own_for_a_last_image(
    images: int, ranks: int, rank_batch: int
) -> None:
    shards = [Shard(rank, ranks, rank_batch) for rank in (0, ranks - 1)]
    batch = validation_batch(images, shards[0])
    assert batch == validation_batch(images, shards[1])
    assert batch <= max(1, 1.5 * rank_batch)
    shares = [len(validation_examples(images, shard)) for shard in shards]
    passes = [-(-share // batch) for share in shares]
    # Ranks whose shares differ by one image differ by a pass only where a share has no image more.
    assert passes[0] - passes[1] <= 1
    if shares[1] > rank_batch:
        assert passes[0] * batch - shares[0] < passes[0]


def test_the_validation_images_of_imagenet_on_1536_ranks_are_one_pass() -> None:
    # 848 ranks have 33 images, the others 32.
    assert validation_batch(50_000, Shard(0, 1536, 32)) == 33
    # 196 images on each of 256 ranks: 6 batches of 33, not 6 of 32 and one of 4.
    assert validation_batch(50_000, Shard(0, 256, 32)) == 33


@given(SEEDS, st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_accumulated_batches_are_the_examples_of_one_large_batch(
    seed: int, ranks: int, rank_batch: int, batches: int
) -> None:
    for rank in range(ranks):
        parts = Shard(rank, ranks, rank_batch, batches)
        whole = Shard(rank, ranks, rank_batch * batches)
        assert parts.global_batch == whole.global_batch
        assert steps_of(70, seed, parts, range(9)) == steps_of(70, seed, whole, range(9))
