"""Start real MPI ranks from a test and give back what each of them printed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hvdtrain.stack import stack_variables

ROOT = Path(__file__).resolve().parent.parent

# Two ranks share a small machine: one thread each, and a communication thread that waits politely.
RANK_VARIABLES = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "HOROVOD_CPU_OPERATIONS": "MPI",
    "HOROVOD_CYCLE_TIME": "1",
    "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "60",
    "I_MPI_THREAD_YIELD": "2",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}

# Each rank writes to files of its own: output passed through mpirun can interleave within a line.
# The rank is the launcher's word: Intel MPI says PMI_RANK, Open MPI says OMPI_COMM_WORLD_RANK.
RANK_NAMES = (b"PMI_RANK=", b"OMPI_COMM_WORLD_RANK=")
_KEEP_APART = (
    'rank=${PMI_RANK:-$OMPI_COMM_WORLD_RANK}; exec "$@" >"$RANK_OUTPUT/$rank.out" '
    '2>"$RANK_OUTPUT/$rank.err"'
)


def run_ranks(
    arguments: Sequence[str],
    folder: Path,
    *,
    ranks: int = 2,
    timeout_seconds: float = 120,
    variables: Mapping[str, str] | None = None,
    expected_exit: int = 0,
) -> list[str]:
    """Run `python ARGUMENTS...` on MPI ranks of this machine.

    Args:
        arguments: What follows the interpreter: `["-c", PROGRAM]`, `["-m", "hvdtrain", ...]`, or a
            script and its arguments.
        folder: An empty or new folder for the output, usually below `tmp_path`.
        ranks: How many.
        timeout_seconds: After this time all ranks are stopped and the test fails.
        variables: Environment on top of the usual one.
        expected_exit: The exit code that mpirun should have.

    Returns:
        Standard output of each rank, in the order of the ranks.

    Raises:
        AssertionError: Wrong exit code or time-out; holds what every rank wrote to stderr.
    """
    launcher = start_ranks(arguments, folder, ranks=ranks, variables=variables)
    try:
        said, _ = launcher.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        said = f"stopped after {timeout_seconds} s\n{_stop(launcher)}"
    errors = "\n".join(
        f"--- rank {rank}\n{_read(folder / f'{rank}.err')[-4000:]}" for rank in range(ranks)
    )
    assert launcher.returncode == expected_exit, f"{said}\n{errors}"
    return [_read(folder / f"{rank}.out") for rank in range(ranks)]


def start_ranks(
    arguments: Sequence[str],
    folder: Path,
    *,
    ranks: int = 2,
    variables: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start `python ARGUMENTS...` on MPI ranks and return mpirun; see `run_ranks`."""
    folder.mkdir(parents=True, exist_ok=True)
    environ = {**os.environ, **stack_variables(Path(sys.prefix), os.environ), **RANK_VARIABLES}
    environ["PYTHONPATH"] = os.pathsep.join(
        folder for folder in (str(ROOT), environ.get("PYTHONPATH", "")) if folder
    )
    environ["RANK_OUTPUT"] = str(folder)
    environ.update(variables or {})
    mpirun = shutil.which("mpirun", path=environ["PATH"])
    assert mpirun, "mpirun is not on PATH"
    separate = ["bash", "-c", _KEEP_APART, "bash"]
    command = [mpirun, "-n", str(ranks), *separate, sys.executable, *arguments]
    return subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def find_ranks(argument: str, rank: int | None = None) -> list[int]:
    """Process ids of the ranks of `hvdtrain train` that were started with an argument.

    What a rank has forked is found only when the rank is gone.

    Args:
        argument: One that no other process has, such as a folder below `tmp_path`.
        rank: Only this one; None: all.
    """
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text(errors="replace")
            words = (folder / "cmdline").read_bytes().split(b"\0")
            environ = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        is_rank = argument.encode() in words and words[0].endswith(sys.executable.encode())
        entries = [entry for name in RANK_NAMES for entry in environ if entry.startswith(name)]
        if is_rank and entries and (rank is None or entries[0].endswith(b"=%d" % rank)):
            # The second field is a name in brackets; the fourth is the parent.
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    return [process for process, parent in parents.items() if parent not in parents]


def _stop(launcher: subprocess.Popen[str]) -> str:
    """End mpirun so that it can end its ranks; harder when it does not."""
    launcher.send_signal(signal.SIGTERM)
    try:
        return launcher.communicate(timeout=10)[0]
    except subprocess.TimeoutExpired:
        launcher.kill()
        return launcher.communicate()[0]


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
