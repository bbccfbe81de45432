"""What ran: versions of the stack."""

from __future__ import annotations

import platform

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
