"""Keeps two jobs from working on one run.

The file `.owner` in the run's folder says which process does. It is made exclusively, and that
process keeps a lock of the operating system on it (fcntl), which ends with the process. Not every
shared file system passes such locks on from node to node, so the owner also touches the file every
few seconds, and who finds the file of another node unlocked waits for a sign of life.

What a dead owner has left stops nobody: a process of this node that is gone is seen at once, and a
job that Slurm has started again takes over from its own earlier start without waiting.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from hvdtrain.errors import InputError
from hvdtrain.files.atomic import create_file, remove_leftovers, run_errors
from hvdtrain.runs.job_identity import read_job_identity
from hvdtrain.runs.names import OWNER_FILE

BEAT_SECONDS = 15.0
WATCH_SECONDS = 90.0
"""NFS may show a node for up to 60 s what it knew before."""

GRACE_SECONDS = 5.0
"""A process that is being killed keeps its lock until it is gone."""

_POLL_SECONDS = 0.2
_HELD = {errno.EAGAIN, errno.EACCES}


class Owner(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The process that works on a run.

    Attributes:
        host: Its node.
        boot: The kernel's own name for the time since the node was started.
        pid: Its number there.
        started: When it began, in ticks of the kernel since then.
        slurm_job_id: None outside Slurm.
        slurm_restarts: How often Slurm had started that job again.
    """

    host: str
    boot: str
    pid: int
    started: int | None
    slurm_job_id: str | None = None
    slurm_restarts: int = 0

    def __str__(self) -> str:
        job = f" (Slurm job {self.slurm_job_id})" if self.slurm_job_id else ""
        return f"process {self.pid} on {self.host}{job}"


class RunLock:
    """The right to write to a run's folder, until it is released or this process ends.

    Args:
        path: The file that names the owner.
        descriptor: The same file, open and locked.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="owner", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Give it up, and remove the file if it is still this one's."""
        if self._released.is_set():
            return
        self._released.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            if _is_at(self._path, self._descriptor):
                self._path.unlink()
        os.close(self._descriptor)

    def _beat(self) -> None:
        while not self._released.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self._descriptor)


def take_lock(folder: Path) -> RunLock:
    """Become the one that works on a run.

    Args:
        folder: Of the run; made when it is missing.

    Raises:
        InputError: Another process works on it.
        RunError: The folder cannot be written to.
    """
    path = folder / OWNER_FILE
    with run_errors(f"{path} cannot be written"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            allowed = f"a name that {folder.parent} does not hold yet"
            raise InputError("--run-id", folder.name, allowed) from None
        lock = RunLock(path, _take(path, this_process(os.environ)))
    # Another process that is just trying finds the place taken, with or without its own file.
    remove_leftovers(folder, OWNER_FILE.removeprefix("."))
    return lock


def this_process(environ: Mapping[str, str]) -> Owner:
    """This process, as others can find it."""
    job = read_job_identity(environ)
    return Owner(
        host=socket.gethostname(),
        boot=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        pid=os.getpid(),
        started=_start_time(os.getpid()),
        slurm_job_id=job.name if job else None,
        slurm_restarts=job.restarts if job else 0,
    )


def _take(path: Path, me: Owner) -> int:
    """The owner file, open, locked, and with this process in it."""
    deadline = time.monotonic() + GRACE_SECONDS
    while True:
        create_file(path, msgspec.json.encode(me))
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:  # released a moment ago
            continue
        try:
            if _try_take(path, descriptor, me, may_wait=time.monotonic() < deadline):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        time.sleep(_POLL_SECONDS)


def _try_take(path: Path, descriptor: int, me: Owner, *, may_wait: bool) -> bool:
    """Whether the open file is this process's now; False: it may be soon.

    Raises:
        InputError: It is another one's.
    """
    is_free = _lock(descriptor)
    owner = _read(descriptor)
    if owner == me:
        return is_free and _is_at(path, descriptor)
    is_own_job = owner is not None and _is_earlier_start(owner, me)
    if not is_free:
        if is_own_job:
            # Slurm runs a job once. The server has not yet noticed that the node is gone.
            path.unlink(missing_ok=True)
        elif not may_wait:
            raise _taken(path, owner)
        return False
    if not _is_at(path, descriptor):
        return False
    if not is_own_job and _lives(path, owner, me):
        raise _taken(path, owner)
    encoded = msgspec.json.encode(me)
    os.pwrite(descriptor, encoded, 0)
    os.ftruncate(descriptor, len(encoded))
    os.fsync(descriptor)
    return True


def _lock(descriptor: int) -> bool:
    """Lock an open file; False: another process has. True also where there are no locks."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _HELD
    return True


def _read(descriptor: int) -> Owner | None:
    try:
        return msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Owner)
    except msgspec.DecodeError:
        return None


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the name still stands for the open file."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _is_earlier_start(owner: Owner, me: Owner) -> bool:
    is_same_job = me.slurm_job_id is not None and owner.slurm_job_id == me.slurm_job_id
    return is_same_job and owner.slurm_restarts < me.slurm_restarts


def _lives(path: Path, owner: Owner | None, me: Owner) -> bool:
    """Whether the owner of a file that this process could lock is alive all the same."""
    if owner is not None and (owner.host, owner.boot) == (me.host, me.boot):
        return owner.started is not None and _start_time(owner.pid) == owner.started
    if owner is not None and owner.host == me.host:
        return False
    print(
        f"hvdtrain: {path.parent.name} was left by {owner or 'somebody'}; waiting "
        f"{WATCH_SECONDS:.0f} s for a sign of life",
        file=sys.stderr,
        flush=True,
    )
    # By name: to close a second descriptor of the file would end this process's lock on it.
    touched = os.stat(path).st_mtime_ns
    deadline = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < deadline:
        if os.stat(path).st_mtime_ns != touched:
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _start_time(pid: int) -> int | None:
    """When a process of this node began, in ticks since the node did; None: there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The name in brackets may hold anything; it is the second of the fields, this is the 22nd.
    return int(stat.rpartition(")")[2].split()[19])


def _taken(path: Path, owner: Owner | None) -> InputError:
    return InputError(
        "--run-id",
        path.parent.name,
        f"a run that nobody else works on; {owner or 'another process'} works on this one",
        "wait until that one ends, or use another --run-id; if it hangs, end it",
    )
