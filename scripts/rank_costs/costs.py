"""What ranks do together, and what one of them does with the rows or files of all."""

from __future__ import annotations

import math
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from hvdtrain.plan.forecast.fit import OMNI_PATH_BYTES_PER_SECOND
from hvdtrain.plan.forecast.gradient_groups import MESSAGE_SECONDS
from hvdtrain.plan.method.dataset import DatasetInfo, DataSource
from hvdtrain.plan.method.recipe import load_recipe
from hvdtrain.plan.method.run_plan import RunPlan, make_plan
from hvdtrain.plan.method.train_spec import TrainSpec
from hvdtrain.runs.folder import RunFolder
from hvdtrain.runs.preflight import RankAnswer
from hvdtrain.runs.record import RankPlacement, Record, Versions
from hvdtrain.train.data.tfrecords import index_split
from hvdtrain.train.health.notes import Note, Notes, describe_start
from hvdtrain.train.health.outliers import name_stragglers
from hvdtrain.train.preflight.verdict import judge_sameness
from hvdtrain.train.state import RankState, StepTimes, first_state

if TYPE_CHECKING:
    from hvdtrain.train.process.world import World

STATISTICS = 53_120
"""Moving means and variances of ResNet-50, a row of float32."""

SHARDS, RECORDS = 1024, 1251
"""Those of ImageNet: 1,281,024 records."""

VERSIONS = Versions(
    hvdtrain="0.1.0",
    python="3.11.9",
    tensorflow="2.15.1",
    keras="2.15.0",
    horovod="0.28.1",
    numpy="1.26.4",
    mpi="Intel(R) MPI Library 2021.11 for Linux* OS",
)
OWN_STATE = RankState(times=StepTimes(steps=83_000, counted=82_998, seconds=1e4 / 3))


@dataclass(frozen=True)
class Cost:
    """Something that ranks do.

    Attributes:
        name: What it is.
        when: How often it is done.
        alone: alone(ranks): what one rank does with what all ranks have sent.
        together: Done by all ranks of MPI; None: they send nothing.
        trees: Messages one after the other that go from rank to rank as in a tree.
        rings: Times that each rank's row passes through the link of rank 0.
        row_bytes: Bytes of a rank's row.
        grows: Whether it depends on the ranks at all.
    """

    name: str
    when: str
    alone: Callable[[int], object]
    together: Callable[[], object] | None = None
    trees: int = 0
    rings: int = 0
    row_bytes: int = 0
    grows: bool = True

    def message_seconds(self, ranks: int) -> float:
        """Of an exchange over nodes: latency and bandwidth as in `group_bytes`."""
        messages = self.trees * math.ceil(math.log2(ranks)) + self.rings * (ranks - 1)
        passed = self.rings * ranks * self.row_bytes
        return messages * MESSAGE_SECONDS + passed / OMNI_PATH_BYTES_PER_SECOND


@cache
def plan_of(ranks: int) -> RunPlan:
    """ResNet-50 on so many nodes, with a rank each."""
    return make_plan(
        TrainSpec(),
        system="stampede2-knl",
        nodes=ranks,
        ranks_per_node=1,
        rank_batch=32,
        recipe=load_recipe("linear-90"),
        source=DataSource(),
        dataset=DatasetInfo(train_images=1_281_167, validation_images=50_000, classes=1000),
    )


def hosts_of(ranks: int) -> tuple[str, ...]:
    """Node names as clusters have them."""
    return tuple(f"c{rank // 64:03d}-{rank % 64:03d}.cluster.example" for rank in range(ranks))


def world_here() -> World:
    """The ranks of MPI that this process is one of."""
    from mpi4py import MPI

    from hvdtrain.train.process.world import World

    ranks = MPI.COMM_WORLD.Get_size()
    return World(MPI.COMM_WORLD.Get_rank(), ranks, hosts_of(ranks), "MPI")


def receive(value: object, ranks: int) -> list[Any]:
    """Such a value from every rank, as mpi4py unpacks it."""
    packed = pickle.dumps(value)
    return [pickle.loads(packed) for _ in range(ranks)]


def name_slow(ranks: int) -> object:
    """The stragglers of an epoch, half of the ranks above the median."""
    seconds = 0.6 + 0.02 * np.random.default_rng(7).random(ranks)
    return name_stragglers(seconds.tolist(), hosts_of(ranks))


def end_epoch(ranks: int) -> object:
    """NaN, corrupt images of both splits, stragglers."""
    union = [frozenset().union(*receive(frozenset(), ranks)) for _ in range(2)]
    return union, name_slow(ranks)


def end_epoch_together() -> None:
    """The same, on all ranks."""
    from hvdtrain.train.data.corrupt import CorruptLog, count_corrupt
    from hvdtrain.train.health.stragglers import StragglerWatch
    from hvdtrain.train.process.world import is_true_anywhere

    is_true_anywhere(False)
    StragglerWatch(world_here(), print).find(0.6)
    for split in ("training", "validation"):
        count_corrupt(CorruptLog(split, str, 10))


def keep_state(ranks: int) -> bytes:
    """Digests and states of all ranks, in the JSON of a checkpoint."""
    assert len({row.tobytes() for row in np.zeros((2 * ranks, 32), np.uint8)}) == 1
    state = msgspec.structs.replace(
        first_state(plan_of(1), "now"), ranks=tuple(receive(OWN_STATE, ranks))
    )
    return msgspec.json.encode(state)


def keep_state_together() -> None:
    """The same, on all ranks."""
    from hvdtrain.train.process.world import allgather_row, gather

    for _ in range(2):
        allgather_row(np.zeros(32, np.uint8))
    gather(OWN_STATE)


def take_rows(ranks: int) -> object:
    """The moving statistics of all ranks, as they arrive on rank 0."""
    rows = np.empty((ranks, STATISTICS), np.float32)
    rows[:] = np.zeros(STATISTICS, np.float32)
    return rows


def gather_rows_together() -> None:
    """The same, on all ranks."""
    from hvdtrain.train.process.world import gather_rows

    gather_rows(np.zeros(STATISTICS, np.float32))


def vote() -> None:
    """Of a step: whether to save or to stop."""
    from hvdtrain.train.process.world import RankAgreement

    agreement = RankAgreement()
    agreement.propose(0)
    agreement.result()


def start(ranks: int) -> object:
    """Versions that are compared, and the state of a run that goes on, from rank 0."""
    state = first_state(plan_of(ranks), "now")
    return receive(VERSIONS, ranks), receive(state, 1)


def start_together() -> None:
    """The same, on all ranks."""
    from hvdtrain.train.process.world import bcast_from_root, require_equal

    world = world_here()
    require_equal("versions", VERSIONS, world)
    bcast_from_root(lambda: first_state(plan_of(world.ranks), "now"), world)


def answer(rank: int) -> RankAnswer:
    """What a rank says in the preflight."""
    name = hosts_of(rank + 1)[rank]
    return RankAnswer(rank=rank, host=name, versions=VERSIONS, plan_sha256="0" * 64)


def judge(ranks: int) -> object:
    """Whether all ranks have made the same plan."""
    return judge_sameness(receive(answer(0), ranks))


def judge_together() -> None:
    """The same, on all ranks."""
    from hvdtrain.train.process.world import allgather

    judge_sameness(allgather(answer(world_here().rank)))


def leave_notes(ranks: int) -> None:
    """The notes of ranks that start: made, counted, read and removed, in memory."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        notes = [Notes(Path(folder) / "notes", rank, ranks) for rank in range(ranks)]
        for each in notes:
            each.leave(Note(host="n", doing="load TensorFlow"))
            each.be_ready()
        assert notes[0].are_all_ready()
        describe_start(notes[0].read(), notes[0].ready(), ranks)
        notes[0].remove()


def write_record(ranks: int) -> None:
    """The record of a run with the places of all ranks."""
    hosts = hosts_of(ranks)
    record = Record(
        run_id="run",
        kind="measured",
        status="completed",
        started="now",
        seconds=1.0,
        plan=plan_of(ranks),
        versions=VERSIONS,
        hosts=hosts,
        reduction="MPI",
        steps=1,
        rank_seconds=(1 / 3,) * ranks,
        placement=tuple(
            RankPlacement(rank=rank, host=host, compute="0-63", communication="64-66", data="67")
            for rank, host in enumerate(hosts)
        ),
    )
    with tempfile.TemporaryDirectory() as folder:
        RunFolder(Path(folder)).close(record)


def index_shards(_: int) -> object:
    """Where the records of ImageNet's shards are: every node finds out for its own copy."""
    with tempfile.TemporaryDirectory() as folder:
        frame = (84).to_bytes(8, "little") + bytes(8 + 84)
        (Path(folder) / "shard").write_bytes(frame * RECORDS)
        return index_split(Path(folder), ("shard",) * SHARDS)


ANSWER_BYTES = len(pickle.dumps(answer(0)))
COSTS = (
    Cost("vote on saving and stopping", "step", lambda _: None, vote, trees=2, row_bytes=4),
    Cost("NaN, corrupt images, stragglers", "epoch", end_epoch, end_epoch_together, 2, 3, 40),
    Cost("digests and states of ranks", "checkpoint", keep_state, keep_state_together, 0, 3, 128),
    Cost(
        "moving statistics, within an epoch",
        *("checkpoint", take_rows, gather_rows_together),
        *(0, 1, 4 * STATISTICS),
    ),
    Cost("versions and state", "start", start, start_together, 2, 1, len(pickle.dumps(VERSIONS))),
    Cost("index of 1,281,024 records, per node", "start", index_shards, grows=False),
    Cost("notes, by one process", "start", leave_notes),
    Cost("plans compared", "preflight", judge, judge_together, 0, 1, ANSWER_BYTES),
    Cost("record", "end", write_record),
)
