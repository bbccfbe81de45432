"""Brings a rank to life in the one order that works: cores, then TensorFlow, then the world."""

from __future__ import annotations

import os
import sys
import traceback

from hvdtrain.errors import HvdtrainError
from hvdtrain.plan.affinity import RankCores
from hvdtrain.train.interrupt import INTERRUPTED_EXIT_CODE, Interrupted
from hvdtrain.train.itex import enable_itex
from hvdtrain.train.launcher import Launch, read_launch
from hvdtrain.train.options import TrainOptions
from hvdtrain.train.pinning import pin_process, read_pins


def start_rank(options: TrainOptions) -> None:
    """Train as the rank that the launcher made of this process. Returns when the run is done.

    When a rank fails, the others would wait for it forever, so it ends them all.

    Raises:
        HvdtrainError: The run failed.
        SystemExit: It was interrupted and can be continued: code 85.
    """
    launch = read_launch(os.environ)
    try:
        pins, itex = prepare_process(launch)
        from hvdtrain.train.session import run_session

        run_session(options, launch, pins, itex)
    except Interrupted as stop:
        # All ranks are here: nobody has to be ended.
        if launch.rank == 0:
            print(f"hvdtrain: {stop}", file=sys.stderr, flush=True)
        sys.exit(INTERRUPTED_EXIT_CODE)
    except Exception as error:
        if launch.ranks == 1 and isinstance(error, HvdtrainError):
            raise
        end_all(error, launch)


def prepare_process(launch: Launch) -> tuple[RankCores | None, str | None]:
    """Put this process on its cores and make it ready to import TensorFlow.

    Returns:
        Its entry in the core map, None without one; and the version of Intel's TensorFlow
        extension, None where it stays out.

    Raises:
        RunError: The core map is not for this rank or this node.
    """
    pins = read_pins(os.environ, launch.local_rank)
    if pins is not None:
        pin_process(pins)
    # Remarks about processors, plug-ins and who started MPI would bury what matters.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CCL_LOG_LEVEL", "error")
    return pins, enable_itex()


def end_all(error: Exception, launch: Launch) -> None:
    """Say what failed and end every rank. Does not return."""
    _tell(error, launch)
    _end(launch, error.exit_code if isinstance(error, HvdtrainError) else 1)


def _tell(error: Exception, launch: Launch) -> None:
    known = isinstance(error, HvdtrainError)
    text = str(error) if known else "".join(traceback.format_exception(error))
    print(f"hvdtrain: rank {launch.rank}: {text}", file=sys.stderr, flush=True)


def _end(launch: Launch, exit_code: int) -> None:
    if launch.ranks == 1:
        sys.exit(exit_code)
    from hvdtrain.train.world import abort_world

    abort_world(exit_code)
