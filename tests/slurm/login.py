"""A login node of a Slurm on which jobs run, and a program in place of the training.

All that a job's script asks of hvdtrain is the real thing; the ranks are a script of the test.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ranks import ROOT
from tests.slurm.cluster import slurm_environ
from tests.slurm.nodes import Nodes

PROGRAM = Path(sys.executable).with_name("hvdtrain")
SYSTEMS = Path(__file__).parent / "systems"

# What the ranks do is in a file of its own for each subcommand, and nothing where there is none.
_PROGRAM = f"""#!/bin/bash
case $1 in
train | preflight | stage)
    if [ -e "$TEST_FOLDER/$1" ]; then exec bash "$TEST_FOLDER/$1" "$@"; fi
    ;;
*) exec {PROGRAM} "$@" ;;
esac
"""


@dataclass(frozen=True)
class Login:
    """A login node, in a working folder of its own.

    Attributes:
        nodes: The Slurm.
        folder: Where it works; the runs are in `results`.
    """

    nodes: Nodes
    folder: Path

    def ranks_do(self, script: str, command: str = "train") -> None:
        """What each rank does for a subcommand. `$@` are the words of hvdtrain."""
        (self.folder / command).write_text(script)

    @property
    def words(self) -> tuple[str, ...]:
        """Options of a job on one node, with the program in place of hvdtrain's."""
        program = self.folder / "hvdtrain"
        program.write_text(_PROGRAM)
        program.chmod(0o755)
        return (
            *("--system", "pair", "--systems-dir", str(SYSTEMS), "--hvdtrain", str(program)),
            *("--nodes", "1", "--walltime", "10", "--no-preflight"),
        )

    @property
    def environ(self) -> dict[str, str]:
        """Of the login node."""
        return {
            **slurm_environ(self.nodes.conf),
            "PYTHONPATH": str(ROOT),
            "TEST_FOLDER": str(self.folder),
        }

    def try_run(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program there."""
        return subprocess.run(
            words,
            cwd=self.folder,
            env=self.environ,
            input=given,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def run(self, *words: str, given: str = "") -> str:
        """Standard output of a program that must end well."""
        done = self.try_run(*words, given=given)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def hvdtrain(self, *words: str) -> str:
        """Standard output of an hvdtrain that must end well."""
        return self.run(str(PROGRAM), *words)

    def status(self) -> dict[str, dict[str, Any]]:
        """What `hvdtrain status` says of each run."""
        return {run["run"]: run for run in json.loads(self.hvdtrain("status", "--json"))}
