"""Two jobs never work on one run, and what a dead one has left stops nobody."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hvdtrain.errors import InputError, RunError
from hvdtrain.runs import lock
from hvdtrain.runs.lock import Owner, take_lock, this_process
from hvdtrain.runs.names import OWNER_FILE
from tests.ranks import ROOT

# Takes the lock, says so, and keeps it until its input ends.
HOLDER = """
import sys
from pathlib import Path
from hvdtrain.errors import HvdtrainError
from hvdtrain.runs import lock
lock.GRACE_SECONDS = 0.0
try:
    lock.take_lock(Path(sys.argv[1]))
except HvdtrainError:
    print("refused", flush=True)
else:
    print("taken", flush=True)
sys.stdin.read()
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "GRACE_SECONDS", 0.3)
    monkeypatch.setattr(lock, "WATCH_SECONDS", 0.5)
    for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts processes that want the lock."""
    started: list[subprocess.Popen[str]] = []

    def start_one(**environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path / "run")],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def leave_owner(folder: Path, **changes: Any) -> Path:
    """The file of somebody who holds no lock."""
    folder.mkdir(exist_ok=True)
    owner = msgspec.structs.replace(this_process(os.environ), **changes)
    (folder / OWNER_FILE).write_bytes(msgspec.json.encode(owner))
    return folder


def test_comes_and_goes_without_a_trace(tmp_path: Path) -> None:
    for _ in range(2):
        taken = take_lock(tmp_path / "runs" / "run")
        owner = msgspec.json.decode((tmp_path / "runs/run" / OWNER_FILE).read_bytes(), type=Owner)
        assert owner == this_process(os.environ)
        taken.release()
        taken.release()
        assert list((tmp_path / "runs" / "run").iterdir()) == []


def test_what_a_process_left_that_was_killed_while_it_asked_is_removed(tmp_path: Path) -> None:
    for name in (".owner.0a1b2c3d.partial", ".plan.json.0a1b2c3d.partial"):
        (tmp_path / name).touch()
    taken = take_lock(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [OWNER_FILE, ".plan.json.0a1b2c3d.partial"]
    taken.release()


def test_a_live_process_keeps_others_out_and_a_dead_one_does_not(
    start: Start, tmp_path: Path
) -> None:
    first = start(SLURM_JOB_ID="41")
    assert answer(first) == "taken"
    with pytest.raises(InputError) as caught:
        take_lock(tmp_path / "run")
    assert caught.value.field == "--run-id"
    assert f"process {first.pid} on " in caught.value.allowed
    assert "(Slurm job 41) works on this one" in caught.value.allowed
    first.send_signal(signal.SIGKILL)
    first.wait()
    take_lock(tmp_path / "run").release()


def test_of_many_one_gets_what_a_dead_one_has_left(start: Start, tmp_path: Path) -> None:
    leave_owner(tmp_path / "run", pid=2**22 + 1)
    assert sorted(answer(process) for process in [start() for _ in range(4)]) == [
        *["refused"] * 3,
        "taken",
    ]


def test_a_restarted_job_takes_over_from_itself(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its earlier start still has the lock, as a node that is cut off may on a file server.
    assert answer(start(SLURM_JOB_ID="7", SLURM_RESTART_COUNT="1")) == "taken"
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with pytest.raises(InputError, match="Slurm job 7"):
        take_lock(tmp_path / "run")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    taken = take_lock(tmp_path / "run")
    assert b'"slurm_restarts":2' in (tmp_path / "run" / OWNER_FILE).read_bytes()
    taken.release()
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize("changes", [{"pid": 2**22 + 1}, {"started": 1}, {"boot": "before"}])
def test_a_process_of_this_node_that_is_gone_is_seen_at_once(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "WATCH_SECONDS", 1e9)
    take_lock(leave_owner(tmp_path / "run", **changes)).release()


@pytest.mark.slow
def test_a_dead_process_of_another_node_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    take_lock(leave_owner(tmp_path / "run", host="n5", slurm_job_id="3")).release()
    assert "run was left by process " in capsys.readouterr().err
    (tmp_path / "run" / OWNER_FILE).write_text("{")
    take_lock(tmp_path / "run").release()


def test_a_sign_of_life_from_another_node_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system that does not pass locks on."""
    monkeypatch.setattr(lock, "WATCH_SECONDS", 60.0)
    path = leave_owner(tmp_path / "run", host="n5") / OWNER_FILE
    beat = threading.Timer(0.2, lambda: os.utime(path))
    beat.start()
    with pytest.raises(InputError, match="on n5 works on this one"):
        take_lock(tmp_path / "run")
    beat.join()
    assert b'"n5"' in path.read_bytes()


def test_an_owner_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.01)
    taken = take_lock(tmp_path / "run")
    path = tmp_path / "run" / OWNER_FILE
    os.utime(path, ns=(0, 0))
    seen = threading.Event()
    for _ in range(3000):
        if path.stat().st_mtime_ns > 0 or seen.wait(0.01):
            break
    assert path.stat().st_mtime_ns > 0
    taken.release()


def test_without_locks_the_file_alone_decides(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    first = start()
    assert answer(first) == "taken"
    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.raises(InputError, match=f"process {first.pid} "):
        take_lock(tmp_path / "run")
    first.kill()
    first.wait()
    take_lock(tmp_path / "run").release()


def test_a_link_and_a_file_in_its_place_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / OWNER_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match=r"\.owner cannot be written: Too many levels"):
        take_lock(tmp_path / "run")
    assert not (tmp_path / "elsewhere").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="does not hold yet"):
        take_lock(tmp_path / "file")
