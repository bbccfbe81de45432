"""Runs hvdtrain in forks of a process that has loaded TensorFlow, with faults from below it.

Only what is asked of Python and of the C library fails: the program under test is as it is. A
moment is the number of a call of `os.fsync`, for all that a command keeps passes by there.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import datetime
import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NoReturn

import msgspec

from hvdtrain.stack import stack_variables
from tests.disk import Disk
from tests.preload import NO_LOCKS, build_library
from tests.ranks import RANK_VARIABLES, ROOT


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to a process.

    Attributes:
        action: `kill`: SIGKILL. `no-space`: fsync fails for want of space. `fill`: the disk is
            full. `clock`: the clock jumps. `no-locks`: the file system takes no locks, from the
            start on.
        at: Before this call of fsync, counted from 1.
        amount: Calls that fail, bytes left on the disk, seconds of the jump, or the error number.
        disk: Where the disk is mounted that is filled.
    """

    action: Literal["kill", "no-space", "fill", "clock", "no-locks"]
    at: int = 0
    amount: int = 0
    disk: str = ""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A command to run.

    Attributes:
        words: What follows `hvdtrain`.
        output: Folder for what it prints.
        faults: What happens to it.
        kill_after: SIGKILL after so many seconds; None: never.
    """

    words: tuple[str, ...]
    output: str
    faults: tuple[Fault, ...] = ()
    kill_after: float | None = None


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended.

    Attributes:
        exit_code: Of the process; below 0 the signal that ended it.
        seconds: How long it ran.
        stderr: What it told people.
        syncs: Calls of fsync that it made; 0 when it was killed.
    """

    exit_code: int
    seconds: float
    stderr: str = ""
    syncs: int = 0


class WarmProcess:
    """The end of the test. From `warm_process`."""

    def __init__(self, server: subprocess.Popen[bytes]) -> None:
        self._server = server

    def run(self, order: Order) -> Done:
        """Run a command to its end."""
        output = Path(order.output)
        output.mkdir(parents=True, exist_ok=True)
        (output / "syncs").unlink(missing_ok=True)
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(msgspec.json.encode(order) + b"\n")
        self._server.stdin.flush()
        done = msgspec.json.decode(self._server.stdout.readline(), type=Done)
        syncs = output / "syncs"
        return msgspec.structs.replace(
            done,
            stderr=(output / "stderr").read_text(),
            syncs=int(syncs.read_text()) if syncs.exists() else 0,
        )


@contextlib.contextmanager
def warm_process(folder: Path) -> Iterator[WarmProcess]:
    """A process that has loaded TensorFlow; `folder` is for what it needs and says."""
    environ = {**os.environ, **stack_variables(Path(sys.prefix), os.environ), **RANK_VARIABLES}
    environ["LD_PRELOAD"] = str(build_library(folder, NO_LOCKS))
    environ["PYTHONPATH"] = str(ROOT)
    with (folder / "stderr").open("wb") as said:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.warm"],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
        )
    try:
        yield WarmProcess(server)
    finally:
        server.communicate()


def serve() -> None:
    """Carry out what standard input asks for."""
    import tensorflow  # noqa: F401

    # A fork has one thread: what others hold stays locked for ever.
    assert len(os.listdir("/proc/self/task")) == 1, os.listdir("/proc/self/task")
    for line in sys.stdin.buffer:
        order = msgspec.json.decode(line, type=Order)
        begin = time.monotonic()
        child = os.fork()
        if child == 0:
            _become(order)
        exit_code = _wait(child, order.kill_after)
        done = Done(exit_code=exit_code, seconds=time.monotonic() - begin)
        sys.stdout.buffer.write(msgspec.json.encode(done) + b"\n")
        sys.stdout.buffer.flush()


def _wait(child: int, kill_after: float | None) -> int:
    deadline = time.monotonic() + (kill_after or 0)
    while kill_after is not None:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            os.kill(child, signal.SIGKILL)
            break
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _become(order: Order) -> NoReturn:
    """Run the command, as `python -m hvdtrain` does."""
    output = Path(order.output)
    for number, path in enumerate((Path(os.devnull), output / "stdout", output / "stderr")):
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = ["hvdtrain", *order.words]
    _trap_fsync(order.faults, output / "syncs")
    for fault in order.faults:
        if fault.action == "no-locks":
            _take_no_locks(fault.amount)
    from hvdtrain.cli.main import main

    main()
    raise AssertionError("main ends the process")


def _trap_fsync(faults: tuple[Fault, ...], count_file: Path) -> None:
    real, count = os.fsync, 0
    atexit.register(lambda: count_file.write_text(str(count)))

    def fsync(fd: Any) -> None:
        nonlocal count
        count += 1
        for fault in faults:
            if fault.action == "no-space" and fault.at <= count < fault.at + fault.amount:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if fault.at == count:
                _strike(fault)
        real(fd)

    os.fsync = fsync


def _strike(fault: Fault) -> None:
    match fault.action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "fill":
            Disk(Path(fault.disk)).fill(fault.amount)
        case "clock":
            _move_clock(fault.amount)


def _move_clock(seconds: int) -> None:
    shift, now = datetime.timedelta(seconds=seconds), time.time

    class Shifted(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Shifted:
            return super().now(tz) + shift

    datetime.datetime = Shifted  # type: ignore[misc]
    time.time = lambda: now() + seconds


def _take_no_locks(number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    fcntl.lockf = fcntl.flock = refuse
    ctypes.c_int.in_dll(ctypes.CDLL(None), "flock_errno").value = number


if __name__ == "__main__":
    serve()
