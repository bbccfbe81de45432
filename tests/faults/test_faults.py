"""Whatever happens to a command, the same command brings it to the end it would have had."""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hvdtrain.files.decode import load_json
from hvdtrain.runs.names import METRICS_FILE, RECORD_FILE
from hvdtrain.runs.record import Record
from hvdtrain.train.data.manifest import MANIFEST_NAME
from tests.disk import mounted
from tests.faults.commands import (
    SHARDS,
    Bench,
    assert_all_whole,
    assert_nothing_lost,
    assert_same_run,
    assert_told,
    open_bench,
)
from tests.faults.drawn import DrawnFault, draw_faults
from tests.faults.warm import Fault
from tests.ranks import find_ranks, start_ranks
from tests.small_run import wait_for_steps

pytestmark = [pytest.mark.tf, pytest.mark.ranks, pytest.mark.timeout(900)]

# `make torture` draws 100 from another seed each time. The same seed draws the same faults.
SEED = int(os.environ.get("HVDTRAIN_SEED", "0"))
FAULTS = draw_faults(SEED, int(os.environ.get("HVDTRAIN_FAULTS", "10")))
DISK_BYTES = 64 * 2**20
HANG_SECONDS = 20.0
TWO_DAYS = 2 * 24 * 3600
LOCK_ERRORS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, 524)  # 524: ENOTSUPP, of NFS


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    print(f"HVDTRAIN_SEED={SEED}")
    with open_bench(tmp_path_factory.mktemp("bench")) as bench:
        yield bench


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_changes_nothing(fault: DrawnFault, bench: Bench, tmp_path: Path) -> None:
    print(f"HVDTRAIN_SEED={SEED}: {fault}")
    chance = random.Random(fault.seed)
    if fault.kind in ("rank-killed", "rank-stopped"):
        hit_ranks(bench, fault, tmp_path, chance)
    elif fault.kind == "disk-full":
        with mounted(tmp_path, DISK_BYTES) as disk:
            strike = Fault(
                action="fill",
                at=draw_moment(bench, fault.command, chance),
                amount=chance.choice([0, 4096, 65_536, 300_000]),
                disk=str(disk.path),
            )
            results = bench.prepare(fault.command, disk.path / "results")
            bench.start(fault.command, results, faults=(strike,))
            if (disk.path / "ballast").exists():
                disk.make_room()
            go_on(bench, fault, results)
    else:
        results = bench.prepare(fault.command, tmp_path / "results")
        strike_alone(bench, fault, results, chance)
        go_on(bench, fault, results)


def draw_moment(bench: Bench, command: str, chance: random.Random) -> int:
    """A call of fsync, of those that the command makes."""
    # One draw, however many there are: what is drawn next is the same on every machine.
    return 1 + int(chance.random() * bench.undisturbed(command).syncs)


def strike_alone(bench: Bench, fault: DrawnFault, results: Path, chance: random.Random) -> None:
    """Start a command as one process, and let something happen to it."""
    command = fault.command
    at = draw_moment(bench, command, chance)
    match fault.kind:
        case "killed":
            after = chance.uniform(0, bench.undisturbed(command).seconds)
            bench.start(command, results, kill_after=after)
        case "no-space":
            strike = Fault(action="no-space", at=at, amount=chance.choice([1, 10**6]))
            bench.start(command, results, faults=(strike,))
        case "no-locks":
            strike = Fault(action="no-locks", amount=chance.choice(LOCK_ERRORS))
            assert bench.start(command, results, faults=(strike,)).exit_code == 0
        case "clock":
            jump = Fault(action="clock", at=at, amount=chance.choice([-1, 1]) * TWO_DAYS)
            killed = Fault(action="kill", at=at + int(chance.random() * at))
            bench.start(command, results, faults=(jump, killed))
        case _:
            bench.start(command, results, faults=(Fault(action="kill", at=at),))
            cut_short(fault, results, chance)


def cut_short(fault: DrawnFault, results: Path, chance: random.Random) -> None:
    """Take the end of a file away, if the command has come so far as to write it."""
    if fault.command == "prepare-data":
        name = ".prepare-data.jsonl" if fault.kind == "metrics-cut" else "train-*"
        pattern = f"{SHARDS}/{name}"
    else:
        name = METRICS_FILE if fault.kind == "metrics-cut" else "checkpoints/*.npz"
        pattern = f"run{'-collapse-*' if fault.command == 'collapse' else ''}/{name}"
    # Nothing can bring back what a command that is done has left.
    found = sorted(
        path
        for path in results.glob(pattern)
        if not any((path.parent / name).exists() for name in (RECORD_FILE, MANIFEST_NAME))
    )
    # The newest file, or all of them.
    for path in found if chance.random() < 0.2 else found[-1:]:
        os.truncate(path, int(chance.random() * path.stat().st_size))


def go_on(bench: Bench, fault: DrawnFault, results: Path) -> None:
    """Repeat the command until it is done, and look at what it has left."""
    while (done := bench.start(fault.command, results)).exit_code != 0:
        if "this one has completed" in done.stderr:
            break
        follow(fault, done.stderr, results)
    # What a killed ensemble leaves aside may be another one's that is just being written.
    if fault.command != "ensemble" or fault.kind not in ("killed", "clock"):
        assert_all_whole(results)
    undisturbed = bench.undisturbed(fault.command).results
    whole = fault.kind != "metrics-cut"
    assert_nothing_lost(fault.command, results, undisturbed, metrics=whole)
    for path in results.glob(f"*/{RECORD_FILE}"):
        assert 0 < load_json(path, Record).seconds < TWO_DAYS / 2


def follow(fault: DrawnFault, said: str, results: Path) -> None:
    """Do what a command advises that cannot go on: only where files were cut short."""
    assert fault.kind in ("checkpoint-cut", "metrics-cut"), said
    if fault.command == "prepare-data":
        assert "give another folder" in said or "remove the folder" in said, said
        shutil.rmtree(results / SHARDS)
        return
    advised = re.search(r"to start again from the first step, remove (.*)", said)
    assert advised, said
    shutil.rmtree(advised[1])


def hit_ranks(bench: Bench, fault: DrawnFault, results: Path, chance: random.Random) -> None:
    """Kill or stop ranks of two, and continue the run."""
    words = ["-m", "hvdtrain", *bench.words("train", results)]
    if fault.kind == "rank-stopped":
        stop_somewhere(words, results, chance)
    else:
        for _ in range(chance.choice([1, 2])):
            if not is_completed(results):
                kill_somewhere(words, results, chance)
    if not is_completed(results):
        last = start_ranks(words, results / "out")
        said, _ = last.communicate(timeout=300)
        assert last.returncode == 0, said + read_errors(results)
    assert_same_run(results / "run", bench.undisturbed_ranks(), metrics=True)
    assert_all_whole(results)


def stop_somewhere(words: list[str], results: Path, chance: random.Random) -> None:
    """Start a run and stop one rank: all are ended, and it is said what to do."""
    running = start_ranks([*words, "--hang-minutes", str(HANG_SECONDS / 60)], results / "out")
    try:
        wait_for_steps(results / "run", running, chance.randrange(1, 10))
        rank = chance.randrange(2)
        stopped = find_ranks(str(results), rank=rank)
        for process in stopped:
            os.kill(process, signal.SIGSTOP)
        running.communicate(timeout=300)
        assert find_ranks(str(results)) == []
    finally:
        running.kill()
        for left in find_ranks(str(results)):
            os.kill(left, signal.SIGKILL)
    if stopped and not is_completed(results):
        assert f"rank {rank} on " in read_errors(results)
        assert_told(running.returncode, read_errors(results))


def kill_somewhere(words: list[str], results: Path, chance: random.Random) -> None:
    """Start a run, and kill one rank or both at some moment."""
    running = start_ranks(words, results / "out")
    try:
        coming_up = chance.random() < 0.1
        if not coming_up:
            wait_for_steps(results / "run", running, chance.randrange(1, 10))
            time.sleep(chance.uniform(0, 0.05))
        else:
            # A rank that is not there yet when the other one dies would wait for it.
            wait_for_processes(results, running)
            time.sleep(chance.uniform(0, 5))
        victims = find_ranks(str(results))
        # Intel MPI's launcher waits forever for a rank that died before MPI knew of it.
        if chance.random() < 0.7 and victims and not coming_up:
            victims = [chance.choice(victims)]
        for victim in victims:
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                continue
        running.communicate(timeout=300)
    finally:
        running.kill()
        for left in find_ranks(str(results)):
            os.kill(left, signal.SIGKILL)
    assert_told(0, read_errors(results))


def is_completed(results: Path) -> bool:
    # One that is killed as it leaves has nothing left to do.
    record = results / "run" / RECORD_FILE
    return record.exists() and load_json(record, Record).status == "completed"


def wait_for_processes(results: Path, running: subprocess.Popen[str]) -> None:
    """Wait until both ranks run, or have ended; at most as long as a test."""
    while running.poll() is None and len(find_ranks(str(results))) < 2:
        time.sleep(0.05)


def read_errors(results: Path) -> str:
    return "".join(path.read_text() for path in (results / "out").glob("*.err"))
