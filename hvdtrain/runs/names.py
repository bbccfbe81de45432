"""The names of what stands in a run's folder, and who writes each."""

from __future__ import annotations

SCRIPT_FILE = "job.sh"
"""The job's script, as `hvdtrain submit` gave it to Slurm."""

SUBMISSION_FILE = "submission.json"
"""`Submission`: which jobs were submitted, of what, since when."""

PREFLIGHT_FILE = "preflight.json"
"""`Preflight`: what the last preflight has found."""

PLAN_FILE = "plan.json"
"""`RunPlan`: written by rank 0 when the run starts, before the first step."""

METRICS_FILE = "metrics.jsonl"
"""`MetricsLine`: grows by a line for each step and each evaluation."""

CHECKPOINTS_FOLDER = "checkpoints"
"""Where the run can go on; removed when it is completed."""

SNAPSHOTS_FOLDER = "snapshots"
"""States of the run that its recipe asks to keep."""

WEIGHTS_FILE = "final.weights.h5"
"""The trained weights: there before the record says that the run is completed."""

RECORD_FILE = "record.json"
"""`Record`: written once, when the run has ended."""

OWNER_FILE = ".owner"
"""`Owner`: the process that works on the run."""

ATTEMPT_FILE = ".attempt"
"""`Attempt`: the present start, written by the job's script."""

STOP_FILE = ".stop"
"""While it is there, the ranks end after their step, with a checkpoint."""

HANG_FILE = ".hang"
"""Why a watchdog has ended the ranks; another start may end better."""

ENSEMBLE_FILE = "ensemble.json"
"""`Ensemble`: in a folder of its own beside those of the runs."""


def failure_file(job: str) -> str:
    """Why a job's ranks ended, when starting them again would not help.

    It has the job's number, because another job may fail just because this one is at work.
    """
    return f".failure-{job}"
