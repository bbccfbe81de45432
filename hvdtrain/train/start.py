"""Brings a rank to life in the one order that works: cores, then TensorFlow, then the world."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from hvdtrain.errors import HvdtrainError
from hvdtrain.train.interrupt import INTERRUPTED_EXIT_CODE, Interrupted
from hvdtrain.train.itex import enable_itex
from hvdtrain.train.launcher import Launch, read_launch
from hvdtrain.train.options import CollapseOptions, EnsembleOptions, TrainOptions
from hvdtrain.train.pinning import pin_process, read_pins

if TYPE_CHECKING:
    from hvdtrain.plan.ensemble import Ensemble
    from hvdtrain.train.seat import Seat

T = TypeVar("T")


def start_training(options: TrainOptions) -> None:
    """`hvdtrain train`; see `_start_rank`."""

    def work(seat: Seat) -> None:
        from hvdtrain.train.training import run_training

        run_training(options, seat)

    _start_rank(work)


def start_collapses(options: CollapseOptions) -> None:
    """`hvdtrain collapse`; see `_start_rank`."""

    def work(seat: Seat) -> None:
        from hvdtrain.train.collapse import run_collapses

        run_collapses(options, seat)

    _start_rank(work)


def start_ensemble(options: EnsembleOptions) -> tuple[Path, Ensemble] | None:
    """`hvdtrain ensemble`; see `_start_rank`. The file and what it holds on rank 0, else None."""

    def work(seat: Seat) -> tuple[Path, Ensemble] | None:
        from hvdtrain.train.ensemble import run_ensemble

        return run_ensemble(options, seat)

    return _start_rank(work)


def _start_rank(work: Callable[[Seat], T]) -> T:
    """Work as the rank that the launcher made of this process. Returns when the work is done.

    When a rank fails, the others would wait for it forever, so it ends them all.

    Args:
        work: Imports what imports TensorFlow.

    Raises:
        HvdtrainError: The work failed.
        SystemExit: It was interrupted and can be continued: code 85.
    """
    launch = read_launch(os.environ)
    pins = read_pins(os.environ, launch.local_rank)
    if pins is not None:
        pin_process(pins)
    # Remarks about processors, plug-ins and who started MPI would bury what matters.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CCL_LOG_LEVEL", "error")
    itex = enable_itex()
    from hvdtrain.train.seat import take_seat
    from hvdtrain.train.world import leave_world

    try:
        made = work(take_seat(launch, pins, itex))
        leave_world()
    except Interrupted as stop:
        # All ranks are here: nobody has to be ended.
        leave_world()
        if launch.rank == 0:
            print(f"hvdtrain: {stop}", file=sys.stderr, flush=True)
        sys.exit(INTERRUPTED_EXIT_CODE)
    except Exception as error:
        if launch.ranks == 1 and isinstance(error, HvdtrainError):
            raise
        _tell(error, launch)
        _end(launch, error.exit_code if isinstance(error, HvdtrainError) else 1)
    return made


def _tell(error: Exception, launch: Launch) -> None:
    known = isinstance(error, HvdtrainError)
    text = str(error) if known else "".join(traceback.format_exception(error))
    print(f"hvdtrain: rank {launch.rank}: {text}", file=sys.stderr, flush=True)


def _end(launch: Launch, exit_code: int) -> NoReturn:
    if launch.ranks == 1:
        sys.exit(exit_code)
    from hvdtrain.train.world import abort_world

    abort_world(exit_code)
