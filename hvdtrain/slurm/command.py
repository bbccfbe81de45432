"""Runs a command of Slurm's and reads what it complains of."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from hvdtrain.errors import RunError
from hvdtrain.files.fields import printable

SUBMIT_SECONDS = 120.0
ANSWER_SECONDS = 30.0
"""Slurm's own commands give up after 10 s, or what the site has set; a busy site sets 100 s."""


class SlurmError(RunError):
    """Slurm is missing, does not answer, or its answer is not understood."""


class SlurmMissingError(SlurmError):
    """A command of Slurm cannot be started."""

    def __init__(self, program: str, reason: str = "there is none on PATH") -> None:
        super().__init__(
            f"{program} cannot be started: {reason}",
            "run this on a login node, or load the module that brings Slurm",
        )


def on_cluster(cluster: str | None) -> list[str]:
    """The option that names a cluster to any of Slurm's commands."""
    return [f"--clusters={cluster}"] if cluster else []


def plain_environ() -> dict[str, str]:
    """The environment in which Slurm's commands answer what their options ask, and here."""
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("SQUEUE_") and key != "SLURM_CLUSTERS"
    }


def run_slurm(
    words: Sequence[str], seconds: float, environ: Mapping[str, str], text: str = ""
) -> subprocess.CompletedProcess[str]:
    """What a command of Slurm's answers, whatever its exit code.

    Args:
        words: The command and its options.
        seconds: How long it may take.
        environ: Its environment.
        text: Its standard input.

    Raises:
        SlurmError: It cannot be started, or the time is up.
    """
    try:
        return subprocess.run(
            words,
            input=text,
            env=environ,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError:
        raise SlurmMissingError(words[0]) from None
    except OSError as error:
        raise SlurmMissingError(words[0], error.strerror or "") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(
            f"{words[0]} did not answer within {seconds:g} s", "try again when Slurm is less busy"
        ) from None


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """What a command that failed said, on one line."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    text = "; ".join(printable(line) for line in lines[-3:])
    return text[:600] or f"exit code {done.returncode}, and not a word why"


def not_understood(program: str, line: str) -> SlurmError:
    """What to raise at an answer of another form than Slurm's."""
    return SlurmError(
        f"the answer of {program} is not understood: {printable(line)[:200]!r}",
        f"call {program} by hand; something on this site may stand in for it",
    )
