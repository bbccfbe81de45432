"""Ends a rank that hangs.

A thread of the rank could not: MPI may hang while it holds Python's lock. So it is a process of
its own that waits beside the rank, made before the rank loads anything. It goes when the rank
goes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Callable

_HEARD_SECONDS = 2.0


def start_watchdog(
    deadline_seconds: float, speak: Callable[[], None], abort: Callable[[], None]
) -> None:
    """End this process with exit code 1 unless it ends by itself in time.

    Call it before there are threads.

    Args:
        deadline_seconds: Seconds from the call on.
        speak: Called in the watchdog's process; says why, or nothing.
        abort: Called there, too, a little later; asks the launcher to end the other ranks.
    """
    listening, held_open = os.pipe()
    rank = os.getpid()
    if os.fork():
        os.close(listening)
        # The kernel closes it with the process, and the watchdog sees that.
        os.set_inheritable(held_open, False)
        _exit_on_hangup()
        return
    os.close(held_open)
    status = 1
    try:
        # Ctrl-C and a scheduler's signals are for the rank.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        ended, _, _ = select.select([listening], [], [], deadline_seconds)
        if not ended:
            # Whatever goes wrong with the words, the rank must end.
            with contextlib.suppress(Exception):
                speak()
            # The launcher ends all ranks at once: let it be heard before.
            time.sleep(_HEARD_SECONDS)
            abort()
            _end(rank)
        status = 0
    finally:
        os._exit(status)


def _exit_on_hangup() -> None:
    """Let SIGHUP end this process with exit code 1, whatever it is doing.

    A handler in Python waits for Python's lock. This one is `_exit` itself: it is called with the
    number of the signal, which is 1.
    """
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    libc.signal.restype = ctypes.c_void_p
    libc.signal(int(signal.SIGHUP), ctypes.cast(libc._exit, ctypes.c_void_p))


def _end(rank: int) -> None:
    os.kill(rank, signal.SIGHUP)
    # A stopped process takes no signal but this one.
    time.sleep(_HEARD_SECONDS)
    os.kill(rank, signal.SIGKILL)
