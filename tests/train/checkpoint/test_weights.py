"""Final weights: without a lock, whole or not there, and in the format that Keras reads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvdtrain.files.decode import load_json
from hvdtrain.runs.names import CHECKPOINTS_FOLDER, RECORD_FILE, WEIGHTS_FILE, failure_file
from hvdtrain.runs.record import Record
from tests.disk import Disk, mounted
from tests.preload import NO_LOCKS, build_library
from tests.ranks import ROOT, run_ranks

pytestmark = [pytest.mark.tf, pytest.mark.ranks, pytest.mark.timeout(300)]

SAVE_AND_LOAD = """
import sys
from pathlib import Path
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.train.checkpoint.digest import weights_sha256
from hvdtrain.train.checkpoint.weights import load_weights, save_weights
from hvdtrain.train.models.network import make_model

folder = Path(sys.argv[1])
model, other, third = (make_model(ModelSpec(name="small", image_size=8, classes=3)) for _ in "123")
try:
    model.save_weights(folder / "plain.weights.h5")
    print("locks work")
except OSError as error:
    print("plain", error.errno)
path = save_weights(model, folder)
print(path.name, weights_sha256(model.variables))
load_weights(other, folder, weights_sha256(model.variables))
print("loaded", weights_sha256(other.variables))
"""

KERAS_READS = """
import sys
from hvdtrain.plan.method.model import ModelSpec
from hvdtrain.train.checkpoint.digest import weights_sha256
from hvdtrain.train.models.network import make_model
model = make_model(ModelSpec(name="small", image_size=8, classes=3))
model.load_weights(sys.argv[1])
print(weights_sha256(model.variables))
"""


def python(program: str, *words: str, **variables: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_file_system_that_takes_no_locks_takes_the_weights(tmp_path: Path) -> None:
    """errno 37, as of an NFS server without its lock service."""
    preload = {"LD_PRELOAD": str(build_library(tmp_path, NO_LOCKS)), "FLOCK_ERRNO": "37"}
    plain, saved, loaded = python(SAVE_AND_LOAD, str(tmp_path), **preload)
    assert plain == "plain 37"  # what Keras does by itself
    name, sha256 = saved.split()
    assert name == WEIGHTS_FILE
    assert loaded == f"loaded {sha256}"
    assert python(KERAS_READS, str(tmp_path / WEIGHTS_FILE)) == [sha256]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path, 24 * 2**20) as disk:
        yield disk


# All is written but the weights when the disk fills up.
FILLS_THE_DISK = """
import os
from pathlib import Path
from hvdtrain.cli.main import main
from hvdtrain.train.checkpoint import weights
from tests.disk import Disk

write = weights.replace_file

def write_on_a_full_disk(*given):
    Disk(Path(os.environ["DISK"])).fill(int(os.environ["LEAVE"]))
    write(*given)

weights.replace_file = write_on_a_full_disk
main()
"""


@pytest.mark.parametrize("leave", [0, 64 * 1024])
def test_weights_that_cannot_be_written_fail_a_run_which_then_goes_on(
    disk: Disk, tmp_path: Path, leave: int
) -> None:
    words = ["train", "--model", "small", "--image-size", "8", "--rank-batch", "4"]
    words += ["--images-per-epoch", "80", "--steps", "20", "--checkpoint-epochs", "1"]
    words += ["--results", str(disk.path), "--run-id", "run"]
    job = {"DISK": str(disk.path), "LEAVE": str(leave), "SLURM_JOB_ID": "7"}
    program = ["-c", FILLS_THE_DISK, *words]
    run_ranks(program, tmp_path / "out", variables=job, expected_exit=1)
    folder = disk.path / "run"
    said = (tmp_path / "out" / "0.err").read_text()
    assert f"{WEIGHTS_FILE} cannot be written: No space left on device\n" in said
    assert said.count("  fix: make room on that file system; then start the run again") == 1
    assert "Traceback" not in said
    assert not [path for path in folder.rglob("*") if "weights" in path.name]
    assert [path.name for path in (folder / CHECKPOINTS_FOLDER).iterdir()] == [
        "checkpoint-0000000010.npz"
    ]
    assert (folder / failure_file("7")).exists()
    if leave == 0:
        assert not (folder / RECORD_FILE).exists()
        return
    failed = load_json(folder / RECORD_FILE, Record)
    assert failed.status == "failed"
    assert failed.failure is not None
    assert "No space left on device" in failed.failure
    disk.make_room()
    run_ranks(["-m", "hvdtrain", *words], tmp_path / "again")
    completed = load_json(folder / RECORD_FILE, Record)
    assert (completed.status, completed.resumed_at) == ("completed", (10,))
    assert (folder / WEIGHTS_FILE).stat().st_size > 100_000
    assert not (folder / CHECKPOINTS_FOLDER).exists()
