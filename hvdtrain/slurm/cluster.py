"""The cluster that this runs on, by the name that Slurm gives it."""

from __future__ import annotations

import os
import re
import shutil

_PATIENCE_SECONDS = 5.0
"""A command that only plans does not wait for a controller that is away."""


def this_cluster() -> str | None:
    """Slurm's ClusterName; None: there is no Slurm here, or it does not answer."""
    known = os.environ.get("SLURM_CLUSTER_NAME")
    if known or shutil.which("scontrol") is None:
        return known
    # Start-up time counts, and most calls end before here.
    from hvdtrain.slurm.command import SlurmError, plain_environ, run_slurm

    try:
        done = run_slurm(["scontrol", "show", "config"], _PATIENCE_SECONDS, plain_environ())
    except SlurmError:
        return None
    found = re.search(r"^ClusterName\s*=\s*(\S+)", done.stdout, re.MULTILINE)
    return found[1] if found else None
