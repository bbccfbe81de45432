"""Ends all ranks when one of them hangs, and says which one, where, and what it was doing.

A thread of the rank could not: MPI may hang while it holds Python's lock, and a signal that stops
the process stops its threads. So it is a process of its own beside each rank, made before the rank
loads anything. The rank tells it through a pipe what it begins, which takes some microseconds in a
step. When nothing has come for too long, the process leaves a note in a shared folder, looks who
else has left one, and the first of them speaks. Then each ends its own rank, stopped or not.

With 1,536 ranks nothing is sent or written while all goes well. At the start each rank leaves two
notes and looks every two seconds for one file, and rank 0 lists the folder; then each looks every
ten seconds (with a limit of 5 minutes) whether a rank asks, which is 150 looks a second for the
file system. When the run hangs each rank leaves a note, and the one that speaks reads them.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import os
import signal
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec

from hvdtrain.train.health.guard import HOST_BYTES, Beat, Duty, Guard, start_notes

T = TypeVar("T")

FIRST_FACTOR = 6.0
"""What is done for the first time compiles, opens files and fills caches: it may take so much
longer."""

_QUIET, _ANSWER = 0.75, 0.1
"""Parts of a limit: so long a rank may be quiet, and so long it then hears others. The rest is for
the end of all."""

_FOR_EVER = 1e9


class Watchdog:
    """The rank's end. From `start_watchdog`.

    Args:
        duty: What is watched.
        pipe: Leads to the watchdog's process.
        hosts: Memory that both processes share.
    """

    def __init__(self, duty: Duty, pipe: int, hosts: mmap.mmap) -> None:
        self.seconds = duty.seconds
        self._notes = start_notes(duty)
        self._is_first = duty.rank == 0
        self._pipe = pipe
        self._hosts = hosts
        self._beat = Beat(doing="", count=0)

    def load(self, seconds: float) -> None:
        """The process begins to load what it needs; no rank waits for another."""
        self._send(Beat(doing="loading TensorFlow", count=0, seconds=seconds, start="load"))

    def join(self, seconds: float, join_seconds: float) -> None:
        """It has loaded it, and joins the others.

        Args:
            seconds: Until all ranks have come so far.
            join_seconds: From then on.
        """
        self._send(
            Beat(
                doing="starting MPI",
                count=1,
                seconds=seconds,
                start="join",
                join_seconds=join_seconds,
            )
        )

    def joined(self, hosts: Iterable[str]) -> None:
        """All ranks are there.

        Args:
            hosts: Host name of every rank, in order of rank.
        """
        for rank, host in enumerate(hosts):
            name = host.encode()[:HOST_BYTES].ljust(HOST_BYTES, b"\0")
            self._hosts[rank * HOST_BYTES : (rank + 1) * HOST_BYTES] = name
        if self._is_first:
            self._notes.remove()
        self._beat = Beat(doing=self._beat.doing, count=self._beat.count)

    def watch(self, doing: str, factor: float = 1.0, *, alone: bool = False) -> None:
        """The rank begins something, all ranks in the same order.

        Args:
            doing: What.
            factor: It may take so many times the limit; infinite: as long as it wants.
            alone: Whether it waits for no other rank meanwhile.
        """
        self._send(
            Beat(
                doing=doing,
                count=self._beat.count + 1,
                seconds=min(self.seconds * factor * _QUIET, _FOR_EVER),
                answer_seconds=self.seconds * _ANSWER,
                alone=alone,
            )
        )

    def go_on(self, doing: str) -> None:
        """The rank begins something within the limit that it has."""
        before = self._beat
        self._send(
            Beat(
                doing=doing,
                count=before.count + 1,
                start=before.start,
            )
        )

    def rest(self) -> None:
        """There is nothing to watch any more."""
        self.watch("the end", math.inf)

    def over(self, items: Iterable[T], doing: str, factor: float = 1.0) -> Iterator[T]:
        """The items, each of which may take the limit; the first one several times that.

        When this rank has seen all, it may wait for the others as long again as that took.
        """
        begin = time.monotonic()
        self.watch(doing, factor, alone=True)
        for item in items:
            yield item
            self._send(msgspec.structs.replace(self._beat, seconds=self.seconds * _QUIET))
        taken = (time.monotonic() - begin) / self.seconds
        self.watch(f"{doing}, waiting for the other ranks", 1 + taken)

    def _send(self, beat: Beat) -> None:
        self._beat = beat
        # A watchdog that is stopped or dead must not hold up its rank.
        with contextlib.suppress(OSError):
            os.write(self._pipe, msgspec.json.encode(beat) + b"\n")


def start_watchdog(duty: Duty) -> Watchdog:
    """Begin to watch this process. Call it before there are threads."""
    listening, telling = os.pipe()
    hosts = mmap.mmap(-1, duty.ranks * HOST_BYTES)
    rank = os.getpid()
    if os.fork():
        os.close(listening)
        os.set_blocking(telling, False)
        _exit_on_hangup()
        return Watchdog(duty, telling, hosts)
    os.close(telling)
    try:
        # Ctrl-C and a scheduler's signals are for the rank.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        Guard(duty, listening, hosts, rank).run()
    finally:
        os._exit(0)


def _exit_on_hangup() -> None:
    """Let SIGHUP end this process with exit code 1, whatever it is doing.

    A handler in Python waits for Python's lock. This one is `_exit` itself: it is called with the
    number of the signal, which is 1. Under `nohup` the signal stays ignored.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    libc.signal.restype = ctypes.c_void_p
    libc.signal(int(signal.SIGHUP), ctypes.cast(libc._exit, ctypes.c_void_p))
