"""The only module that runs Slurm's commands: sbatch, squeue, scancel.

Nothing here needs an accounting database. squeue with a format of our own is asked, because every
version has it and one call answers for all jobs; its answer is checked letter by letter.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from hvdtrain.errors import RunError
from hvdtrain.files.fields import printable
from hvdtrain.outer_job import is_of_a_job
from hvdtrain.runs.job_identity import job_name_of
from hvdtrain.runs.slurm_job import SlurmJob

SUBMIT_SECONDS = 120.0
ANSWER_SECONDS = 30.0
"""Slurm's own commands give up after 10 s, or what the site has set; a busy site sets 100 s."""

# Job, base and number of an array's task, state, partition, QOS, start, end, reason, name. The name
# comes last: it is the user's own text and may hold anything.
_FORMAT = "%A|%F|%K|%T|%P|%q|%S|%e|%r|%j"
_LINE = re.compile(
    r"(?P<job>\d+)\|(?P<base>\d+)\|(?P<task>\d+|N/A)\|(?P<state>[A-Z_]+)\|(?P<partition>[^|]*)\|"
    r"(?P<qos>[^|]*)\|(?P<starts>[^|]*)\|(?P<ends>[^|]*)\|(?P<reason>[^|]*)\|(?P<name>.*)"
)
# What sbatch says by itself, and with --parsable. A site's wrapper may do without --parsable, put
# its own words around the answer, and print to either stream.
_SUBMITTED = re.compile(r"\bSubmitted batch job (\d{1,10})\b(?: on cluster ([\w.-]+))?")
_PARSABLE = re.compile(r"^[ \t]*(\d{1,10})(?:;([\w.-]+))?[ \t\r]*$", re.MULTILINE)
_UNKNOWN_JOB = "Invalid job id specified"
# What sbatch says when its request went out and no answer came: the job may be in the queue.
_NO_ANSWER = (
    *("timed out", "Zero Bytes", "Connection reset"),
    *("send failure", "receive failure", "shutdown failure"),
)

# Variables that would overrule a line of the script, and the directive they overrule.
_OVERRULES = {
    "SBATCH_ACCOUNT": "account",
    "SBATCH_CLUSTERS": "clusters",
    "SBATCH_CONSTRAINT": "constraint",
    "SBATCH_ERROR": "error",
    "SBATCH_EXCLUSIVE": "exclusive",
    "SBATCH_EXPORT": "export",
    "SBATCH_JOB_NAME": "job-name",
    "SBATCH_NO_REQUEUE": "requeue",
    "SBATCH_OPEN_MODE": "open-mode",
    "SBATCH_OUTPUT": "output",
    "SBATCH_PARTITION": "partition",
    "SBATCH_QOS": "qos",
    "SBATCH_REQUEUE": "requeue",
    "SBATCH_RESERVATION": "reservation",
    "SBATCH_SIGNAL": "signal",
    "SBATCH_TIMELIMIT": "time",
    "SLURM_CLUSTERS": "clusters",
}
# One would make an array of the run, the other would wait for its end.
_NEVER_WANTED = ("SBATCH_ARRAY_INX", "SBATCH_WAIT")


class SlurmError(RunError):
    """Slurm is missing, does not answer, or its answer is not understood."""


class SlurmMissingError(SlurmError):
    """A command of Slurm cannot be started."""

    def __init__(self, program: str, reason: str = "there is none on PATH") -> None:
        super().__init__(
            f"{program} cannot be started: {reason}",
            "run this on a login node, or load the module that brings Slurm",
        )


class SlurmRefusedError(RunError):
    """sbatch refused the job: nothing was submitted."""


@dataclass(frozen=True)
class Accepted:
    """What sbatch answered. `cluster` is None where it names none: there is one, or it is usual."""

    job: str
    cluster: str | None


def submit_script(
    script: str,
    environ: Mapping[str, str],
    *,
    after: Accepted | None = None,
    tasks: int | None = None,
) -> Accepted:
    """Give a script to sbatch on its standard input.

    Args:
        script: The job's script, passed to sbatch on its standard input.
        environ: The environment for sbatch, and so for the job.
        after: A job that must have ended, in whatever way, before this one starts. Slurm knows
            it on its own cluster only, so this one goes there too.
        tasks: Make it an array of so many tasks, counted from 0.

    Raises:
        SlurmRefusedError: sbatch refused it.
        SlurmError: It is not known whether the job is in the queue, or there is no sbatch.
    """
    words = ["sbatch", "--parsable"]
    if after is not None:
        words += [*_on(after.cluster), f"--dependency=afterany:{after.job}"]
    if tasks is not None:
        words.append(f"--array=0-{tasks - 1}")
    done = _run(words, SUBMIT_SECONDS, environ, script)
    if done.returncode != 0:
        text = _complaint(done)
        if any(words in text for words in _NO_ANSWER):
            raise SlurmError(f"sbatch: {text}", "the job may be in the queue all the same")
        raise SlurmRefusedError(f"sbatch did not take the job: {text}")
    found = {
        *_PARSABLE.findall(done.stdout),
        *_SUBMITTED.findall(f"{done.stdout}\n{done.stderr}"),
    }
    if len(found) != 1:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        raise _not_understood("sbatch", lines[-1] if lines else "")
    ((job, cluster),) = found
    return Accepted(job, cluster or None)


def script_environ(
    environ: Mapping[str, str], directives: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """The environment for sbatch, and what of the user's own was left out of it.

    sbatch hands its environment on to the job. What would overrule the script stays out, and so
    does what tells of the job that this process runs in itself: its memory or its binding would
    make the first srun of the new job fail.
    """
    dropped = [
        name
        for name in environ
        if name in _NEVER_WANTED or _OVERRULES.get(name, "no directive") in directives
    ]
    inherited = [name for name in environ if is_of_a_job(name)]
    kept = {name: value for name, value in environ.items() if name not in {*dropped, *inherited}}
    is_inside = job_name_of(environ) is not None
    return kept, dropped if is_inside else [*dropped, *inherited]


def find_jobs(jobs: Sequence[str], cluster: str | None = None) -> dict[str, SlurmJob]:
    """What the queue holds of these jobs, in one call. Slurm forgets a job soon after its end.

    Of an array, whose number stands for all its tasks, it holds every task.

    Args:
        jobs: Their ids.
        cluster: The one that they are on, as sbatch has named it.

    Raises:
        SlurmError: Slurm is missing, does not answer, or its answer is not understood.
    """
    if not jobs:
        return {}
    bases = list(dict.fromkeys(job.partition("_")[0] for job in jobs))
    # A single job that Slurm has forgotten would be an error; the same one twice is none.
    found = _queue(cluster, f"--jobs={','.join([*bases, bases[0]])}", "--states=all")
    return {job.job: job for job in found if job.job.partition("_")[0] in bases}


def own_jobs() -> list[SlurmJob]:
    """All jobs of this user that wait or run, where sbatch would submit another one.

    Raises:
        SlurmError: Slurm is missing, does not answer, or its answer is not understood.
    """
    return _queue(os.environ.get("SLURM_CLUSTERS"), f"--user={os.getuid()}")


def cancel_jobs(jobs: Sequence[str], cluster: str | None = None) -> None:
    """Cancel these jobs of a cluster, in this order.

    Raises:
        SlurmError: Slurm is missing, does not answer, or refuses.
    """
    done = _run(["scancel", *_on(cluster), *jobs], ANSWER_SECONDS, _plain_environ())
    if done.returncode != 0:
        raise SlurmError(f"scancel: {_complaint(done)}")


def _on(cluster: str | None) -> list[str]:
    """The option that names a cluster to any of Slurm's commands."""
    return [f"--clusters={cluster}"] if cluster else []


def _plain_environ() -> dict[str, str]:
    """The environment in which Slurm's commands answer what their options ask, and here."""
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("SQUEUE_") and key != "SLURM_CLUSTERS"
    }


def _queue(cluster: str | None, *options: str) -> list[SlurmJob]:
    words = ["squeue", *_on(cluster), "--noheader", "--array", f"--format={_FORMAT}", *options]
    done = _run(words, ANSWER_SECONDS, {**_plain_environ(), "SLURM_TIME_FORMAT": "standard"})
    if done.returncode != 0:
        if _UNKNOWN_JOB in done.stderr:
            return []
        raise SlurmError(f"squeue: {_complaint(done)}")
    # With --clusters it says before the jobs of each which one that is.
    lines = [line for line in done.stdout.splitlines() if not line.startswith("CLUSTER: ")]
    return [_parse_line(line) for line in lines if line.strip()]


def _parse_line(line: str) -> SlurmJob:
    match = _LINE.fullmatch(line)
    if match is None:
        raise _not_understood("squeue", line)
    reason = match["reason"]
    return SlurmJob(
        job=match["job"] if match["task"] == "N/A" else f"{match['base']}_{match['task']}",
        name=match["name"],
        partition=match["partition"],
        qos=match["qos"],
        state=match["state"],
        reason="" if reason == "None" else reason,
        starts=_parse_time(match["starts"]),
        ends=_parse_time(match["ends"]),
    )


def _parse_time(text: str) -> float | None:
    """Seconds since 1970 of Slurm's local time; None: it gives none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _run(
    words: Sequence[str], seconds: float, environ: Mapping[str, str], text: str = ""
) -> subprocess.CompletedProcess[str]:
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


def _complaint(done: subprocess.CompletedProcess[str]) -> str:
    """What a command that failed said, on one line."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    text = "; ".join(printable(line) for line in lines[-3:])
    return text[:600] or f"exit code {done.returncode}, and not a word why"


def _not_understood(program: str, line: str) -> SlurmError:
    return SlurmError(
        f"the answer of {program} is not understood: {printable(line)[:200]!r}",
        f"call {program} by hand; something on this site may stand in for it",
    )


def requeue_job(job: str) -> str:
    """Put the job that this process runs in, or another one of its cluster, into the queue again.

    Returns:
        Why Slurm did not; empty when it did.
    """
    try:
        done = _run(["scontrol", "requeue", job], SUBMIT_SECONDS, _plain_environ())
    except SlurmError as error:
        return error.message
    return "" if done.returncode == 0 else _complaint(done)
