"""Programs in place of Slurm's that answer what a test wants, and note how they were called."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

_PROGRAM = """#!/bin/bash
printf '%q ' "${{0##*/}}" "$@" >>{log}
echo >>{log}
{action}
"""


@dataclass(frozen=True)
class FakeSlurm:
    """A folder of programs, first on PATH.

    Attributes:
        folder: The folder; the scripts that sbatch was given are in it as `script-1` and so on.
    """

    folder: Path

    def answer(
        self, program: str, *, out: str = "", err: str = "", exit_code: int = 0, action: str = ""
    ) -> None:
        """Make a program that prints this and ends with this code."""
        lines = [
            action,
            f"printf %s {shlex.quote(out)}",
            f"printf %s {shlex.quote(err)} >&2",
            f"exit {exit_code}",
        ]
        path = self.folder / program
        path.write_text(_PROGRAM.format(log=self._log, action="\n".join(lines)))
        path.chmod(0o755)

    def accept(self, first: int = 11) -> None:
        """Make an sbatch that gives the numbers from `first` on, and keeps the scripts."""
        count = self.folder / "count"
        count.write_text(str(first))
        self.answer(
            "sbatch",
            action=f"n=$(<{count})\n/bin/cat >{self.folder}/script-$n\necho $n\n"
            f"echo $((n + 1)) >{count}",
        )

    def queue(self, *jobs: str, name: str = "x") -> None:
        """Make a squeue that holds `ID STATE [REASON]`."""
        self.answer("squeue", out="".join(f"{queue_line(job, name)}\n" for job in jobs))

    @property
    def _log(self) -> Path:
        return self.folder / "calls"

    @property
    def calls(self) -> list[str]:
        """What was called, in order, with its words."""
        return self._log.read_text().splitlines() if self._log.exists() else []

    def calls_of(self, program: str) -> list[list[str]]:
        """The words that a program was called with, each time."""
        words = [shlex.split(line) for line in self.calls]
        return [line[1:] for line in words if line[0] == program]


def queue_line(job: str, name: str) -> str:
    """A line of squeue, in the format that is asked for, from `ID STATE [REASON]`."""
    number, state, *reason = job.split()
    base, _, task = number.partition("_")
    times = "2026-03-14T15:00:00|2026-03-14T17:00:00" if state == "RUNNING" else "N/A|N/A"
    why = reason[0] if reason else "None"
    return f"{base}|{base}|{task or 'N/A'}|{state}|normal|(null)|{times}|{why}|{name}"


def make_fake_slurm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """No program at all on PATH until `answer` makes one."""
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for name in ("SBATCH_WAIT", "SBATCH_ARRAY_INX", "HVDTRAIN_SYSTEMS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nowhere")
    return FakeSlurm(folder)
