"""What ran: versions of the stack, and the commit of the source tree."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import horovod
import keras
import numpy as np
import tensorflow as tf

import hvdtrain
from hvdtrain.runs.record import Versions


def read_versions(mpi: str, itex: str | None) -> Versions:
    """The versions of this process.

    Args:
        mpi: The MPI library's own name and version.
        itex: Version of Intel's TensorFlow extension; None when it is not loaded.
    """
    return Versions(
        hvdtrain=hvdtrain.__version__,
        python=platform.python_version(),
        tensorflow=tf.__version__,
        keras=keras.__version__,
        horovod=horovod.__version__,
        numpy=np.__version__,
        mpi=mpi,
        itex=itex,
    )


def read_git_commit() -> str | None:
    """The commit of the checkout that this package runs from; None when it is installed."""
    tree = Path(hvdtrain.__file__).resolve().parent.parent
    if not (tree / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(tree), "rev-parse", "--verify", "--quiet", "HEAD"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
