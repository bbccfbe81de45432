"""Brings a rank to life in the one order that works: cores, then TensorFlow, then the world."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from hvdtrain.errors import HvdtrainError
from hvdtrain.plan.machine.core_map import RankCores
from hvdtrain.plan.machine.environment import horovod_settings
from hvdtrain.runs.attempt import write_failure
from hvdtrain.runs.job_identity import job_name_of
from hvdtrain.train.checkpoint.interrupt import INTERRUPTED_EXIT_CODE, Interrupted
from hvdtrain.train.process.itex import enable_itex
from hvdtrain.train.process.pinning import pin_process, read_pins
from hvdtrain.train.process.rank_environment import Launch, read_launch

if TYPE_CHECKING:
    from hvdtrain.train.process.context import RankContext

JOIN_SECONDS = 60.0
"""How long a rank waits for the others to start MPI, and a tenth of a second more for each of them.

One that dies before it has joined is not always seen by the launcher: Intel's mpirun waits for
ever when another rank of the same node goes on.
"""


@contextlib.contextmanager
def started_rank(run_folder: Path | None = None) -> Iterator[RankContext]:
    """Inside, this process works as the rank that the launcher made of it.

    What imports TensorFlow is imported there. When a rank fails, the others would wait for it
    forever, so it ends them all.

    Args:
        run_folder: Where a job's script looks for why its run failed; None: nowhere.

    Raises:
        HvdtrainError: The work failed, and this rank is the only one.
        SystemExit: It failed, or it was interrupted and can be continued: code 85.
    """
    launch = read_launch(os.environ)
    try:
        cores, itex = prepare_process(launch)
        # From a cold file system this may take minutes, and here no rank waits for another.
        importlib.import_module("tensorflow")
        # Inside MPI no Python runs, so no handler and no thread of ours could end the wait.
        faulthandler.dump_traceback_later(JOIN_SECONDS + launch.ranks / 10, exit=True)
        from hvdtrain.train.process.context import make_rank_context
        from hvdtrain.train.process.world import leave_world

        faulthandler.cancel_dump_traceback_later()
        yield make_rank_context(launch, cores, itex)
        leave_world()
    except Interrupted as stop:
        # All ranks are here: nobody has to be ended.
        leave_world()
        if launch.rank == 0:
            print(f"hvdtrain: {stop}", file=sys.stderr, flush=True)
        sys.exit(INTERRUPTED_EXIT_CODE)
    except Exception as error:
        if isinstance(error, HvdtrainError):
            _leave_failure(run_folder, error)
        if launch.ranks == 1 and isinstance(error, HvdtrainError):
            raise
        end_all(error, launch)


def _leave_failure(run_folder: Path | None, error: HvdtrainError) -> None:
    """Tell the job's script that another start would end in the same way.

    The exit code cannot: a launcher that ends the other ranks gives back what they died of.
    """
    job = job_name_of(os.environ)
    if run_folder is not None and job:
        write_failure(run_folder, job, str(error))


def prepare_process(launch: Launch) -> tuple[RankCores | None, str | None]:
    """Put this process on its cores and make it ready to import TensorFlow and Horovod.

    Returns:
        Its entry in the core map, None without one; and the version of Intel's TensorFlow
        extension, None where it stays out.

    Raises:
        RunError: The core map is not for this rank or this node.
    """
    cores = read_pins(os.environ, launch.local_rank)
    if cores is not None:
        pin_process(cores)
    for setting in horovod_settings(cores is not None and bool(cores.comm)):
        os.environ.setdefault(setting.name, setting.value)
    # Remarks about processors, plug-ins and who started MPI would bury what matters.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CCL_LOG_LEVEL", "error")
    return cores, enable_itex()


def end_all(error: Exception, launch: Launch) -> NoReturn:
    """Say what failed and end every rank."""
    _tell(error, launch)
    _end(launch, error.exit_code if isinstance(error, HvdtrainError) else 1)


def _tell(error: Exception, launch: Launch) -> None:
    known = isinstance(error, HvdtrainError)
    text = str(error) if known else "".join(traceback.format_exception(error))
    print(f"hvdtrain: rank {launch.rank}: {text}", file=sys.stderr, flush=True)


def _end(launch: Launch, exit_code: int) -> NoReturn:
    if launch.ranks == 1:
        sys.exit(exit_code)
    from hvdtrain.train.process.world import abort_world

    abort_world(exit_code)
