"""Brings a rank to life in the one order that works: cores, then TensorFlow, then the world."""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from hvdtrain.errors import HvdtrainError, RunError
from hvdtrain.plan.machine.core_map import RankCores
from hvdtrain.plan.machine.environment import horovod_settings
from hvdtrain.runs.attempt import remove_hang, write_failure, write_hang
from hvdtrain.runs.job_identity import job_name_of
from hvdtrain.train.checkpoint.interrupt import INTERRUPTED_EXIT_CODE, Interrupted
from hvdtrain.train.health.guard import Duty
from hvdtrain.train.health.notes import notes_folder
from hvdtrain.train.health.watchdog import FIRST_FACTOR, Watchdog, start_watchdog
from hvdtrain.train.process.itex import enable_itex
from hvdtrain.train.process.pinning import pin_process, read_pins
from hvdtrain.train.process.rank_environment import (
    Launch,
    abort_job,
    host_name,
    read_launch,
    start_name,
)

if TYPE_CHECKING:
    from hvdtrain.train.process.context import RankContext

START_SECONDS = 1800.0
"""How long a rank may load what it needs, and half a second more for each rank.

From a cold file system that many ranks read it takes minutes. Then who is not there never comes.
"""

JOIN_SECONDS = 60.0
"""How long all ranks may take to start MPI when the last of them is ready, and a tenth of a second
more for each of them."""

_STALL_SHUTDOWN = "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS"


@contextlib.contextmanager
def started_rank(
    results: Path, hang_minutes: float, run_id: str | None = None
) -> Iterator[RankContext]:
    """Inside, this process works as the rank that the launcher made of it.

    What imports TensorFlow is imported there. When a rank fails, the others would wait for it
    forever, so it ends them all.

    Args:
        results: Folder of all runs, which all ranks see.
        hang_minutes: After this time a rank that comes no further is taken to hang.
        run_id: Where a job's script looks for why its run failed; None: nowhere.

    Raises:
        HvdtrainError: The work failed, and this rank is the only one.
        SystemExit: It failed, or it was interrupted and can be continued: code 85.
    """
    launch = read_launch(os.environ)
    folder = results / run_id if run_id else None
    fix = (
        "the same command goes on from the last checkpoint; look at that node, and leave it out "
        "with sbatch's --exclude if it happens again; --hang-minutes gives more time"
    )
    watchdog = watch_rank(launch, results, folder, hang_minutes * 60, "the run", fix)
    try:
        # The watchdog knows who hangs, and must come first.
        seconds = max(_horovod_seconds(), FIRST_FACTOR * hang_minutes * 60 + 60)
        os.environ[_STALL_SHUTDOWN] = str(int(seconds))
        cores, itex = load_stack(launch, watchdog, JOIN_SECONDS + launch.ranks / 10)
        from hvdtrain.train.process.context import make_rank_context
        from hvdtrain.train.process.world import leave_world

        yield make_rank_context(launch, cores, itex, watchdog)
        watchdog.watch("the end of the program")
        leave_world()
        watchdog.rest()
    except Interrupted as stop:
        # All ranks are here: nobody has to be ended.
        watchdog.watch("the end of the program")
        leave_world()
        if launch.rank == 0:
            print(f"hvdtrain: {stop}", file=sys.stderr, flush=True)
        sys.exit(INTERRUPTED_EXIT_CODE)
    except Exception as error:
        watchdog.watch("the end after an error")
        if isinstance(error, HvdtrainError):
            _leave_failure(folder, error)
        if launch.ranks == 1 and isinstance(error, HvdtrainError):
            raise
        end_all(error, launch)


def watch_rank(
    launch: Launch, results: Path, run_folder: Path | None, seconds: float, what: str, fix: str
) -> Watchdog:
    """Begin to watch this process, before anything heavy is loaded.

    Args:
        launch: Its place among the ranks.
        results: Folder of all runs, which all ranks see.
        run_folder: Where it is kept why the ranks were ended; None: nowhere.
        seconds: Limit of what has none of its own.
        what: What hangs when a rank does.
        fix: What to do then.
    """
    if run_folder is not None and launch.rank == 0:
        with contextlib.suppress(RunError):
            remove_hang(run_folder)

    def tell(text: str) -> None:
        error = RunError(f"{what} {text}", fix)
        os.write(2, f"hvdtrain: {error}\n".encode())
        if run_folder is not None:
            write_hang(run_folder, error.message)

    watchdog = start_watchdog(
        Duty(
            rank=launch.rank,
            ranks=launch.ranks,
            host=host_name(os.environ, launch, socket.gethostname()),
            folder=notes_folder(results, start_name(os.environ)) if launch.ranks > 1 else None,
            seconds=seconds,
            tell=tell,
            abort=lambda: abort_job(os.environ),
        )
    )
    watchdog.load(_start_seconds(launch))
    return watchdog


def load_stack(
    launch: Launch, watchdog: Watchdog, join_seconds: float
) -> tuple[RankCores | None, str | None]:
    """As `prepare_process`, and import TensorFlow: then this rank is ready for the others.

    Args:
        launch: Its place among them.
        watchdog: Of this process.
        join_seconds: Limit of what comes next, from when all are ready.

    Raises:
        RunError: The core map is not for this rank or this node.
    """
    cores, itex = prepare_process(launch)
    # From a cold file system this may take minutes, and here no rank waits for another.
    importlib.import_module("tensorflow")
    watchdog.join(_start_seconds(launch), join_seconds)
    return cores, itex


def _start_seconds(launch: Launch) -> float:
    return START_SECONDS + launch.ranks / 2


def _horovod_seconds() -> float:
    try:
        return float(os.environ.get(_STALL_SHUTDOWN, "0"))
    except ValueError:
        return 0.0


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
    os.environ.setdefault("ITEX_CPP_MIN_LOG_LEVEL", "1")  # Warnings and errors.
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
