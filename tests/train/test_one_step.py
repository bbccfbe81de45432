"""One training step is read from top to bottom in a few files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ranks import ROOT

pytestmark = [pytest.mark.tf, pytest.mark.timeout(300)]

MOST_FRAMES = 6
MOST_FILES = 5

# The modules of the package on the stack, from the command on: where the compiled step is called,
# and where it applies the optimizer, while it is compiled.
PROGRAM = """
import json, sys
import hvdtrain.train.step as steps
from hvdtrain.cli.main import main
from hvdtrain.train.optim.sgd import MomentumSGD

def package_stack():
    frame, found = sys._getframe(1), []
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("hvdtrain."):
            found.append(name)
        frame = frame.f_back
    found = found[::-1]
    return found[found.index("hvdtrain.commands.train"):]

seen = {}
make, apply = steps.make_train_step, MomentumSGD.apply

def make_seen(*arguments, **more):
    made = make(*arguments, **more)
    def update(*batch):
        seen["step"] = package_stack()
        return made.update(*batch)
    return steps.TrainStep(add=made.add, update=update)

def apply_seen(self, *arguments):
    seen["apply"] = [*package_stack(), apply.__module__]
    apply(self, *arguments)

steps.make_train_step, MomentumSGD.apply = make_seen, apply_seen
try:
    main()
finally:
    print(json.dumps(seen))
"""


def test_a_step_passes_few_frames_and_files(tmp_path: Path) -> None:
    words = ["train", "--model", "small", "--image-size", "8", "--rank-batch", "2"]
    words += ["--images-per-epoch", "4", "--steps", "1", "--results", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert set(seen["step"]) == {
        f"hvdtrain.{name}" for name in ("commands.train", "train.run", "train.loop")
    }
    assert len(seen["step"]) <= MOST_FRAMES, seen["step"]
    files = list(dict.fromkeys(seen["apply"]))
    assert files == [
        "hvdtrain.commands.train",
        "hvdtrain.train.run",
        "hvdtrain.train.loop",
        "hvdtrain.train.step",
        "hvdtrain.train.optim.sgd",
    ]
    assert len(files) <= MOST_FILES
