"""Changes jobs that are in the queue: cancels them, puts them back, leaves nodes out of them."""

from __future__ import annotations

from collections.abc import Sequence

from hvdtrain.slurm.command import (
    ANSWER_SECONDS,
    SUBMIT_SECONDS,
    SlurmError,
    complaint,
    on_cluster,
    plain_environ,
    run_slurm,
)


def cancel_jobs(jobs: Sequence[str], cluster: str | None = None) -> None:
    """Cancel these jobs of a cluster, in this order.

    Raises:
        SlurmError: Slurm is missing, does not answer, or refuses.
    """
    done = run_slurm(["scancel", *on_cluster(cluster), *jobs], ANSWER_SECONDS, plain_environ())
    if done.returncode != 0:
        raise SlurmError(f"scancel: {complaint(done)}")


def requeue_job(job: str) -> str:
    """Put the job that this process runs in, or another one of its cluster, into the queue again.

    Returns:
        Why Slurm did not; empty when it did.
    """
    return _complaint_of(["scontrol", "requeue", job], SUBMIT_SECONDS)


def exclude_nodes(job: str, hosts: str, cluster: str | None = None) -> str:
    """Leave more nodes out of a job that waits.

    Args:
        job: Its id.
        hosts: The nodes, as Slurm writes them: `n[1-3,7]`.
        cluster: The one that the job is on, as sbatch has named it.

    Returns:
        Why Slurm did not; empty when it did.
    """
    on = on_cluster(cluster)
    words = ["squeue", *on, "--noheader", f"--jobs={job}", "--format=%x"]
    try:
        done = run_slurm(words, ANSWER_SECONDS, plain_environ())
    except SlurmError as error:
        return error.message
    # With --clusters a line comes first that says which one it is.
    before = done.stdout.splitlines()[-1].strip() if done.stdout.strip() else ""
    both = hosts if before in ("", "(null)", "N/A") else f"{before},{hosts}"
    words = ["scontrol", *on, "update", f"jobid={job}", f"excnodelist={both}"]
    return _complaint_of(words, ANSWER_SECONDS)


def count_nodes(partition: str) -> int | None:
    """Nodes of a partition that work; None: Slurm does not say."""
    # Each node once, whatever partitions it is in; `up` in Slurm's words is none of these.
    states = "idle,allocated,mixed,completing,reserved,planned"
    words = ["sinfo", "--noheader", f"--partition={partition}", f"--states={states}", "--format=%D"]
    try:
        done = run_slurm(words, ANSWER_SECONDS, plain_environ())
    except SlurmError:
        return None
    counts = done.stdout.split()
    if done.returncode != 0 or not all(count.isdecimal() for count in counts):
        return None
    return sum(map(int, counts))


def _complaint_of(words: Sequence[str], seconds: float) -> str:
    """Why a command has not done what it was to do; empty when it has."""
    try:
        done = run_slurm(words, seconds, plain_environ())
    except SlurmError as error:
        return error.message
    return "" if done.returncode == 0 else complaint(done)
