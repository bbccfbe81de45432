"""Whatever is no number on one rank ends the run of all, is named, and is never kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hvdtrain.files.decode import load_json
from hvdtrain.runs.names import METRICS_FILE, RECORD_FILE
from hvdtrain.runs.record import Record
from hvdtrain.train.checkpoint.archive import read_newest
from tests.ranks import run_ranks

pytestmark = [pytest.mark.tf, pytest.mark.ranks, pytest.mark.timeout(300)]

# Each time one thing of rank 1 alone is no number.
ONE_RANK = """
import json, pathlib, sys, types
import horovod.tensorflow as hvd
import numpy as np
import tensorflow as tf
from hvdtrain.train.health.divergence import DivergedError
from hvdtrain.train.state import RankState, first_state
from hvdtrain.train.optim.optimizer import MomentumSGD
from hvdtrain.train.reduction.mean import AllreduceMean
from hvdtrain.train.checkpoint.archive import write_checkpoint
from hvdtrain.train.checkpoint.resume import take_checkpoint
from hvdtrain.train.step import make_train_step
from hvdtrain.train.process.world import World
from tests.samples import sample_plan

hvd.init()
rank = hvd.rank()
tf.keras.utils.set_random_seed(3)
factor = tf.Variable(1.0, trainable=False)

@tf.custom_gradient
def scale_gradient(x):
    return tf.identity(x), lambda upstream: upstream * factor

model = tf.keras.Sequential([
    tf.keras.layers.Conv2D(4, 3, name="conv", input_shape=(6, 6, 3)),
    tf.keras.layers.Lambda(scale_gradient),
    tf.keras.layers.BatchNormalization(name="bn"),
    tf.keras.layers.ReLU(),
    tf.keras.layers.Flatten(),
    tf.keras.layers.Dense(3, name="logits"),
])
optimizer = MomentumSGD(model.trainable_variables)
step = make_train_step(model, optimizer, AllreduceMean(2), rank_batch=2, ranks=2)
variables = [*model.variables, *optimizer.slots]
start = [variable.numpy() for variable in variables]
bn = model.get_layer("bn")
places = {
    "gradient": factor, "kernel": model.get_layer("conv").kernel, "gamma": bn.gamma,
    "statistic": bn.moving_variance, "slot": optimizer.slots[0],
}
images = np.random.default_rng(2 + rank).normal(size=(2, 6, 6, 3)).astype(np.float32)

def look(images):
    result = step(images, np.array([0, 1]), 0.01, 0.0)
    return {
        "loss": bool(np.isfinite(float(result.loss))),
        "own": bool(np.isfinite(float(result.rank_loss))),
        "norm": str(float(result.gradient_norm)),
        "where": result.not_finite.numpy().decode(),
    }

seen = {"nothing": look(images), "images": look(images * np.nan if rank else images)}
for name, variable in places.items():
    for other, value in zip([*variables, factor], [*start, 1.0]):
        other.assign(value)
    if rank == 1:
        variable.assign(np.full(variable.shape, np.inf))
    seen[name] = look(images)

folder = pathlib.Path(sys.argv[1])
statistics = [bn.moving_mean, bn.moving_variance]
trainer = types.SimpleNamespace(replicated=variables, per_rank=statistics)
world = World(rank, 2, ("n1", "n2"), "MPI")
state = first_state(sample_plan(), "now")
state.step = 7

def save():
    try:
        checkpoint = take_checkpoint(trainer, state, RankState(), world)
        if checkpoint is not None:
            write_checkpoint(folder, checkpoint)
    except DivergedError as error:
        return error.message

saved = {}
for name in ("statistic", "slot", "nothing"):
    for other, value in zip(variables, start):
        other.assign(value)
    if rank == 1 and name != "nothing":
        places[name].assign(np.full(places[name].shape, np.nan))
    saved[name] = save()
    saved[name + " files"] = len(list(folder.glob("**/*.npz*"))) if rank == 0 else None
print(json.dumps({"seen": seen, "saved": saved}))
hvd.shutdown()
"""


def test_what_one_rank_holds_is_seen_by_all_and_never_kept(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    outputs = run_ranks(["-c", ONE_RANK, str(tmp_path / "run")], tmp_path / "out")
    first, second = (json.loads(output) for output in outputs)
    expected = {
        "images": "the images",
        "gradient": "the gradient of conv/bias",
        "kernel": "conv/kernel",
        "gamma": "bn/gamma",
        "statistic": "bn/moving_variance",
        "slot": "conv/kernel/momentum",
    }
    healthy = {"loss": True, "own": True, "norm": first["seen"]["nothing"]["norm"], "where": ""}
    assert first["seen"].pop("nothing") == second["seen"].pop("nothing") == healthy
    assert 0 < float(healthy["norm"]) < 100
    assert {name: seen["where"] for name, seen in second["seen"].items()} == expected
    for name in expected:
        assert (first["seen"][name]["loss"], first["seen"][name]["own"]) == (False, True)
        assert (second["seen"][name]["loss"], second["seen"][name]["own"]) == (False, False)
    told = "the state after step 7 is not finite; it is that of rank 1 on n2: NaN or infinity in "
    for name in ("statistic", "slot"):
        assert first["saved"][name] == second["saved"][name] == told + expected[name]
        assert first["saved"][f"{name} files"] == 0
    assert first["saved"]["nothing"] is second["saved"]["nothing"] is None
    assert first["saved"]["nothing files"] == 1


# `images`: those of rank 1 are no numbers from the seventh step on. `weights`: the last update
# leaves infinite ones.
BROKEN = """
import sys
import numpy as np
import tensorflow as tf
import hvdtrain.train.data.pipeline as pipelines
from hvdtrain.cli.main import main
from hvdtrain.train.optim.sgd import MomentumSGD

what, results = sys.argv[1:]
open_whole, apply_whole = pipelines.open_pipeline, MomentumSGD.apply

def open_broken(plan, rank, *more):
    pipeline = open_whole(plan, rank, *more)
    whole = pipeline.training

    def broken(first_step=0):
        for number, (images, labels) in enumerate(whole(first_step)):
            yield images * (np.nan if rank == 1 and number >= 6 else 1.0), labels

    pipeline.training = broken
    return pipeline

def apply_broken(self, *arguments):
    apply_whole(self, *arguments)
    if not hasattr(self, "count"):
        self.count = tf.Variable(0, trainable=False)
    factor = tf.where(self.count.assign_add(1) == 10, np.inf, 1.0)
    self._variables[0].assign(self._variables[0] * factor)

if what == "images":
    pipelines.open_pipeline = open_broken
else:
    MomentumSGD.apply = apply_broken
sys.argv = ["hvdtrain", "train", "--model", "small", "--image-size", "8", "--rank-batch", "4"]
sys.argv += ["--images-per-epoch", "40", "--epochs", "2", "--checkpoint-epochs", "1"]
sys.argv += ["--results", results, "--run-id", "run"]
main()
"""


def train_broken(what: str, folder: Path) -> tuple[Record, str]:
    """The record of a run of two epochs of five steps, and what the ranks said."""
    words = ["-c", BROKEN, what, str(folder)]
    run_ranks(words, folder / "out", expected_exit=1)
    said = "".join((folder / "out" / f"{rank}.err").read_text() for rank in (0, 1))
    return load_json(folder / "run" / RECORD_FILE, Record), said


def assert_nothing_bad_is_kept(folder: Path) -> None:
    assert not list(folder.glob("*.h5"))
    checkpoint, damaged = read_newest(folder / "checkpoints")
    assert checkpoint is not None
    assert (checkpoint.state.step, damaged) == (5, [])
    assert all(np.isfinite(array).all() for array in [*checkpoint.replicated, checkpoint.per_rank])


def test_a_run_with_images_that_are_no_numbers_ends_at_once(tmp_path: Path) -> None:
    record, said = train_broken("images", tmp_path)
    host = record.hosts[0]
    told = (
        "the loss at step 7 (epoch 2) is nan; it is that of rank 1 "
        f"on {host}: NaN or infinity in the images"
    )
    assert (record.status, record.failure, record.steps) == ("diverged", told, 7)
    assert f"{told}\n  fix: look for what is wrong with these images" in said
    assert_nothing_bad_is_kept(tmp_path / "run")
    metrics = (tmp_path / "run" / METRICS_FILE).read_text().splitlines()
    lines = [json.loads(line) for line in metrics]
    norms = [line["gradient_norm"] for line in lines if line["loss"] is not None]
    assert len(norms) == 6
    assert min(norms) > 0


def test_weights_that_the_last_update_made_infinite_are_not_kept(tmp_path: Path) -> None:
    record, _ = train_broken("weights", tmp_path)
    assert record.failure == (
        "the state after step 10 is not finite; it is that of ranks 0, 1 "
        f"on {record.hosts[0]}: NaN or infinity in stem_conv/kernel"
    )
    assert record.status == "diverged"
    assert_nothing_bad_is_kept(tmp_path / "run")
