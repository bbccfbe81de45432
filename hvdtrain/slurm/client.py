"""Gives jobs to Slurm and asks for them: sbatch and squeue.

Nothing here needs an accounting database. squeue with a format of our own is asked, because every
version has it and one call answers for all jobs; its answer is checked letter by letter.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from hvdtrain.errors import RunError
from hvdtrain.outer_job import is_of_a_job
from hvdtrain.runs.job_identity import job_name_of
from hvdtrain.runs.slurm_job import SlurmJob
from hvdtrain.slurm.command import (
    ANSWER_SECONDS,
    SUBMIT_SECONDS,
    SlurmError,
    complaint,
    not_understood,
    on_cluster,
    plain_environ,
    run_slurm,
)

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
        words += [*on_cluster(after.cluster), f"--dependency=afterany:{after.job}"]
    if tasks is not None:
        words.append(f"--array=0-{tasks - 1}")
    done = run_slurm(words, SUBMIT_SECONDS, environ, script)
    if done.returncode != 0:
        text = complaint(done)
        if any(words in text for words in _NO_ANSWER):
            raise SlurmError(f"sbatch: {text}", "the job may be in the queue all the same")
        raise SlurmRefusedError(f"sbatch did not take the job: {text}")
    found = {
        *_PARSABLE.findall(done.stdout),
        *_SUBMITTED.findall(f"{done.stdout}\n{done.stderr}"),
    }
    if len(found) != 1:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        raise not_understood("sbatch", lines[-1] if lines else "")
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


def _queue(cluster: str | None, *options: str) -> list[SlurmJob]:
    words = ["squeue", *on_cluster(cluster), "--noheader", "--array", f"--format={_FORMAT}"]
    words += options
    done = run_slurm(words, ANSWER_SECONDS, {**plain_environ(), "SLURM_TIME_FORMAT": "standard"})
    if done.returncode != 0:
        if _UNKNOWN_JOB in done.stderr:
            return []
        raise SlurmError(f"squeue: {complaint(done)}")
    # With --clusters it says before the jobs of each which one that is.
    lines = [line for line in done.stdout.splitlines() if not line.startswith("CLUSTER: ")]
    return [_parse_line(line) for line in lines if line.strip()]


def _parse_line(line: str) -> SlurmJob:
    match = _LINE.fullmatch(line)
    if match is None:
        raise not_understood("squeue", line)
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
