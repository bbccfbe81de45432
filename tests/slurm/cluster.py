"""A throw-away Slurm controller with the shape of a system file, to ask what it would accept.

Nobody is home on its nodes: they are CLOUD nodes, which count as usable although no slurmd ever
answers, in partitions that are DOWN, so a job is validated and never started. Everything lives in
one temporary folder, listens on the loopback address, and ends with the test.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hvdtrain.plan.machine.system import Partition, System

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
START_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """What sbatch said of a script."""

    accepted: bool
    text: str


@dataclass(frozen=True)
class Cluster:
    """A controller that runs.

    Attributes:
        conf: Its slurm.conf.
    """

    conf: Path

    def test_only(self, script: str) -> Answer:
        """Ask whether the script, given on stdin, would be queued."""
        done = self._run("sbatch", "--test-only", script=script)
        return Answer(done.returncode == 0, done.stderr.strip())

    def read_comment(self, script: str) -> str:
        """Queue the script, and give back what Slurm holds for its comment."""
        submitted = self._run("sbatch", "--parsable", script=script)
        job = submitted.stdout.strip()
        try:
            comment = self._run("squeue", "--noheader", "--jobs", job, "--format", "%k").stdout
            return comment.removesuffix("\n")
        finally:
            self._run("scancel", job)

    def _run(self, *words: str, script: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            input=script,
            env=slurm_environ(self.conf),
            cwd=self.conf.parent,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def slurm_environ(conf: Path) -> dict[str, str]:
    """The environment without anything of a Slurm job that the tests themselves may run in."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("SLURM", "SBATCH", "SRUN", "SALLOC"))
    }
    # The controller looks its own host up; where no name server answers, that must not take long.
    resolver = {"RES_OPTIONS": "timeout:1 attempts:1"}
    return {**kept, **resolver, "PATH": PATH, "SLURM_CONF": str(conf)}


@contextmanager
def start_munge() -> Iterator[Path]:
    """A munge daemon of our own; gives its socket."""
    # The path of a Unix socket may have 107 characters, so not pytest's long temporary folder.
    with tempfile.TemporaryDirectory(prefix="munge.") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # munge refuses a folder that its clients cannot enter
        key = folder / "key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        places = ("socket", "pid-file", "log-file", "seed-file")
        words = [f"--{place}={folder / place}" for place in places]
        words = ["munged", "--foreground", "--force", f"--key-file={key}", *words]
        stack.enter_context(daemon(words, {**os.environ, "PATH": PATH}, folder / "output"))
        wait_until(lambda: (folder / "socket").exists(), folder / "output")
        yield folder / "socket"


@contextmanager
def start_cluster(system: System, munge: Path) -> Iterator[Cluster]:
    """A controller for the nodes and partitions of a system."""
    folder = Path(tempfile.mkdtemp(prefix="slurm."))
    try:
        conf = folder / "slurm.conf"
        conf.write_text(make_conf(system, munge, folder, free_port()))
        environ = slurm_environ(conf)
        with daemon(["slurmctld", "-D", "-i", "-c"], environ, folder / "output"):
            wait_until(lambda: _answers(environ), folder / "output")
            yield Cluster(conf)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_conf(system: System, munge: Path, folder: Path, port: int) -> str:
    """A slurm.conf with the limits of the system file, and nothing running."""
    node = system.node
    count = max(entry.max_nodes for entry in system.partition)
    features = system.slurm.directives.get("constraint") if system.slurm else None
    user = "root" if os.geteuid() == 0 else str(os.geteuid())
    lines = [
        "ClusterName=hvdtrain",
        "SlurmctldHost=localhost(127.0.0.1)",
        f"SlurmctldPort={port}",
        f"SlurmUser={user}",
        "AuthType=auth/munge",
        f"AuthInfo=socket={munge}",
        "CommunicationParameters=NoCtldInAddrAny",
        f"StateSaveLocation={folder}/state",
        f"SlurmctldPidFile={folder}/slurmctld.pid",
        f"SlurmdSpoolDir={folder}/%n",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core",
        # More than a partition allows is refused at once, not left pending.
        "EnforcePartLimits=ALL",
        # CLOUD nodes need power saving; nothing is ever resumed. They are shown all the same.
        "PrivateData=cloud",
        "SuspendProgram=/bin/true",
        "ResumeProgram=/bin/true",
        "SuspendTime=300",
        "ResumeTimeout=65000",
        f"NodeName=n[1-{count}] NodeAddr=127.0.0.1 Port=9 State=CLOUD Sockets={node.sockets} "
        f"CoresPerSocket={node.cores_per_socket} ThreadsPerCore={node.threads_per_core} "
        f"RealMemory={node.memory_gb * 1000}" + (f" Features={features}" if features else ""),
        "PartitionName=DEFAULT Nodes=ALL OverSubscribe=EXCLUSIVE State=DOWN",
        *_partition_lines(system.partition),
        *_partition_lines(apart(system).partition),
    ]
    (folder / "state").mkdir()
    return "\n".join(lines) + "\n"


def apart(system: System) -> System:
    """The system with a Slurm partition of its own for every way to submit.

    So each has its own limits, also where a site has several QOSes in one partition.
    """
    entries = (
        msgspec.structs.replace(entry, partition=f"apart-{entry.name}", qos=None)
        for entry in system.partition
    )
    return msgspec.structs.replace(system, partition=tuple(entries))


def _partition_lines(entries: tuple[Partition, ...]) -> Iterator[str]:
    """One Slurm partition for each name; the limits of the QOSes in it become its own.

    Without an accounting database Slurm knows no QOS, so where several share a partition the
    widest limits hold, and where a site has no partitions the default one has them.
    """
    names = dict.fromkeys(entry.partition or "everything" for entry in entries)
    for name in names:
        own = [entry for entry in entries if (entry.partition or "everything") == name]
        yield (
            f"PartitionName={name} Default={'YES' if name == 'everything' else 'NO'} "
            f"MinNodes={min(entry.min_nodes for entry in own)} "
            f"MaxNodes={max(entry.max_nodes for entry in own)} "
            f"MaxTime={max(entry.max_walltime_min for entry in own)}"
        )


@contextmanager
def daemon(
    words: list[str], environ: Mapping[str, str], output: Path, end: str = "TERM"
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs as long as the context does, and not longer than the tests.

    Args:
        words: Its command line.
        environ: Its environment.
        output: Where what it prints goes.
        end: Name of the signal that ends it.
    """
    words = ["setpriv", "--pdeathsig", end, *words]
    with output.open("wb") as stream:
        process = subprocess.Popen(
            words, env=environ, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
        )
    try:
        yield process
    finally:
        process.send_signal(signal.Signals[f"SIG{end}"])
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(ready: Callable[[], bool], output: Path) -> None:
    """Wait for a daemon.

    Raises:
        TimeoutError: It takes too long; holds what it printed.
    """
    end = time.monotonic() + START_SECONDS
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(output.read_text(errors="replace")[-3000:])
        time.sleep(0.05)


def _answers(environ: dict[str, str]) -> bool:
    done = subprocess.run(
        ["scontrol", "ping"], env=environ, capture_output=True, text=True, timeout=20, check=False
    )
    return "is UP" in done.stdout


def free_port() -> int:
    """A port of the loopback address that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
