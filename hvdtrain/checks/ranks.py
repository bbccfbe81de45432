"""TensorFlow, MPI and Horovod, each tried in a process of its own: a crash is an answer too."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hvdtrain.checks.check import Check
from hvdtrain.checks.installation import SETUP_FIX
from hvdtrain.errors import RunError
from hvdtrain.machine import local_mpirun, read_mpi_family
from hvdtrain.stack import stack_variables

TENSORFLOW = "import tensorflow; print(tensorflow.__version__)"
MPI = "from mpi4py import MPI; print(MPI.Get_library_version().splitlines()[0])"
HOROVOD = """
import json, horovod, horovod.tensorflow as hvd
built = {"MPI": hvd.mpi_built(), "Gloo": hvd.gloo_built(), "oneCCL": hvd.ccl_built()}
print(json.dumps([horovod.__version__, [name for name in built if built[name]]]))
"""
# 4 MB per rank: beyond what MPI sends eagerly. Rank 0 gives 1 and rank 1 gives 2, so the sum is 3.
# A rank's line is one write: with PYTHONUNBUFFERED, print() makes several, and the ranks' mix.
ALLREDUCE = """
import os, tensorflow as tf, horovod.tensorflow as hvd
hvd.init()
total = hvd.allreduce(tf.fill([1 << 20], float(hvd.rank() + 1)), op=hvd.Sum)
low, high = float(tf.reduce_min(total)), float(tf.reduce_max(total))
os.write(1, f"{hvd.size()} {low} {high}\\n".encode())
"""
ALLREDUCE_EXPECTED = "2 3.0 3.0"

# Remarks of the libraries would hide a fault; both ranks may have to share one core.
QUIET_VARIABLES = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_NUM_INTRAOP_THREADS": "1",
    "CCL_LOG_LEVEL": "error",
    "CCL_WORKER_COUNT": "1",
}


@dataclass(frozen=True)
class Answer:
    """What a process said and how it ended. `said` is all of stdout, `fault` one line or empty."""

    said: str
    fault: str = ""


def check_tensorflow() -> Check:
    """Whether TensorFlow can be imported."""
    answer = _ask_python(TENSORFLOW)
    if answer.fault:
        return Check("tensorflow", "fail", answer.fault, SETUP_FIX)
    return Check("tensorflow", "ok", answer.said)


def check_mpi() -> Check:
    """Which MPI library the ranks get."""
    answer = _ask_python(MPI)
    if answer.fault:
        return Check("mpi", "fail", answer.fault, SETUP_FIX)
    return Check("mpi", "ok", answer.said)


def check_horovod() -> Check:
    """Which reduction back ends Horovod was built with."""
    answer = _ask_python(HOROVOD)
    if answer.fault:
        return Check("horovod", "fail", answer.fault, SETUP_FIX)
    version, backends = json.loads(answer.said)
    return judge_horovod(version, backends)


def judge_horovod(version: str, backends: Sequence[str]) -> Check:
    """Without MPI no rank starts; without oneCCL a rank has one communication core at most."""
    detail = f"{version} with {', '.join(backends) or 'no back end'}"
    if "MPI" not in backends:
        return Check("horovod", "fail", detail, SETUP_FIX)
    if "oneCCL" not in backends:
        detail += "; no oneCCL, so one communication core per rank at most"
        return Check("horovod", "warn", detail, "make setup MPI=intel, where Intel MPI may be used")
    return Check("horovod", "ok", detail)


def check_allreduce(backend: str) -> Check:
    """Whether two ranks started by mpirun get the right sum.

    Args:
        backend: `MPI` or `CCL`, as HOROVOD_CPU_OPERATIONS has it.
    """
    name = f"allreduce {backend}"
    environ = _environment({"HOROVOD_CPU_OPERATIONS": backend})
    try:
        words, environ = local_mpirun(2, read_mpi_family(environ), environ)
    except RunError as error:
        return Check(name, "fail", error.message, error.fix)
    command = [*words, sys.executable, "-P", "-c", ALLREDUCE]
    answer = ask(command, environ, timeout_seconds=90)
    return judge_allreduce(name, answer, shutil.which("mpirun", path=environ["PATH"]) or "mpirun")


def judge_allreduce(name: str, answer: Answer, mpirun: str) -> Check:
    """Each rank has to say that there are two, and the sum."""
    lines = answer.said.splitlines()
    if not answer.fault and lines == [ALLREDUCE_EXPECTED] * 2:
        return Check(name, "ok", f"right on 2 ranks of {mpirun}")
    if lines and all(line.startswith("1 ") for line in lines):
        detail = f"each process of {mpirun} runs alone: it belongs to another MPI than Horovod"
        return Check(
            name, "fail", detail, f"load the MPI that Horovod was built for, or {SETUP_FIX}"
        )
    fix = "look at /dev/shm and memory above; I_MPI_DEBUG=10 makes Intel MPI say more"
    return Check(name, "fail", answer.fault or f"wrong: {answer.said!r}", fix)


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    stack = stack_variables(Path(sys.prefix), os.environ)
    # The programs that are asked look for modules where hvdtrain does, and in that order.
    folders = {"PYTHONPATH": os.pathsep.join(sys.path)}
    return {**os.environ, **folders, **stack, **QUIET_VARIABLES, **more}


def _ask_python(program: str) -> Answer:
    return ask([sys.executable, "-P", "-c", program], _environment({}), timeout_seconds=90)


def ask(command: Sequence[str], environ: Mapping[str, str], timeout_seconds: float) -> Answer:
    """Run a command; on a time-out end it with all that it started."""
    process = subprocess.Popen(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, complaint = process.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Answer("", f"no answer within {timeout_seconds:.0f} s")
    if process.returncode == 0:
        return Answer(said.strip())
    last = complaint.strip().splitlines()[-1:]
    return Answer(said.strip(), ": ".join([describe_exit(process.returncode), *last]))


def describe_exit(code: int) -> str:
    """An exit code of `subprocess` for people: `exit 1`, `ended by SIGILL`."""
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
